//! Schema changes as relation messages tell them, while the catalog is somewhere else in time.

use crate::support::{Db, Known, literals, on_every_server};
use dujiang_core::evolution::SchemaEvent;
use dujiang_core::schema::Ddl;
use dujiang_postgres::catalog::read;
use dujiang_postgres::evolve::Evolution;
use dujiang_postgres::pgoutput::{Message, Relation};
use dujiang_postgres::shape::Shape;
use dujiang_postgres::values::{Keep, RowChange};

/// Names and values.
type Row = Vec<(String, Option<String>)>;

/// What a replay met: each schema change as the dialect's events, and each row with its shape's version.
#[derive(Debug, Default, PartialEq)]
struct Replay {
    changes: Vec<String>,
    rows: Vec<(u32, Row)>,
}

/// Replays what the slot holds from the shape known at its place; `late` asks the catalog as it is now, otherwise as if the
/// table was gone.
async fn replay(db: &mut Db, shape: &Shape, messages: &[Vec<u8>], late: bool) -> Replay {
    let mut shape = shape.clone();
    let mut out = Replay::default();
    for message in messages {
        let change = match Message::read(message, false).unwrap().0 {
            // With a partition's root its own shape is told as well.
            Message::Relation(relation) if relation.oid != shape.relation => continue,
            Message::Relation(relation) => {
                if let Some((next, told)) = followed(db, &shape, &relation, late).await {
                    out.changes.push(told);
                    shape = next;
                }
                continue;
            }
            Message::Insert { new, .. } => RowChange::Insert(new),
            Message::Update { old, new, .. } => RowChange::Update { old, new },
            _ => continue,
        };
        let decodable = shape.decodable();
        let mut builder = db.builder(&decodable);
        if let RowChange::Insert(_) = change {
            builder.append(change, Keep::Whole, &[]).unwrap();
            let batch = builder.finish().unwrap().unwrap();
            let names = shape.columns.iter().map(|c| c.name.clone());
            out.rows.push((shape.version, names.zip(literals(&batch.rows, 0)).collect()));
        }
    }
    out
}

async fn followed(db: &mut Db, shape: &Shape, relation: &Relation, late: bool) -> Option<(Shape, String)> {
    let details = read::details(&mut db.connection, &[relation.oid]).await.unwrap();
    let catalog = details.first().filter(|_| late);
    let types = read::types(&mut db.connection, relation.columns.iter().map(|c| c.type_oid)).await.unwrap();
    match shape.follow(relation, catalog, &types, &db.settings).unwrap() {
        Evolution::Same => None,
        Evolution::Columns { shape: next, renamed } => {
            let (before, after) = (shape.decodable().schema, next.decodable().schema);
            assert_eq!(after.version, before.version + 1);
            let events = SchemaEvent::of_change(Some(&before), &after, &Ddl::Columns { renamed });
            Some((next, events.iter().map(shown).collect::<Vec<_>>().join("; ")))
        }
        other => panic!("{other:?}"),
    }
}

fn shown(event: &SchemaEvent) -> String {
    match event {
        SchemaEvent::AddColumns(added) => {
            let names: Vec<&str> = added.iter().map(|c| c.field.name().as_str()).collect();
            format!("add {}", names.join(","))
        }
        SchemaEvent::AlterTypes(altered) => {
            let types: Vec<String> =
                altered.iter().map(|c| format!("{} {}", c.to.name(), c.to.metadata()["dujiang.source_type"])).collect();
            format!("alter {}", types.join(","))
        }
        SchemaEvent::RenameColumns(renamed) => format!("rename {renamed:?}"),
        SchemaEvent::DropColumns(dropped) => format!("drop {}", dropped.join(",")),
        other => format!("{other:?}"),
    }
}

async fn start(db: &mut Db) -> Known {
    db.publish().await;
    db.run("CREATE TABLE public.t (id int PRIMARY KEY, a int, b text NOT NULL, c int)").await;
    db.run("ALTER TABLE public.t REPLICA IDENTITY FULL; INSERT INTO public.t VALUES (0, 1, 'x', 3)").await;
    let known = db.know("public.t").await;
    db.messages(false, false).await;
    known
}

fn row(cells: &[(&str, &str)]) -> Row {
    cells.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect()
}

#[test]
fn f60_every_row_is_read_with_the_columns_of_its_time_however_late_it_is_read() {
    on_every_server(async |db: &mut Db| {
        let known = start(db).await;
        for sql in [
            "INSERT INTO public.t VALUES (1, 1, 'x', 3)",
            "ALTER TABLE public.t ADD COLUMN d timestamptz",
            "INSERT INTO public.t VALUES (2, 1, 'x', 3, '2026-01-01 00:00:00+00')",
            "ALTER TABLE public.t RENAME COLUMN a TO aa",
            "INSERT INTO public.t VALUES (3, 1, 'x', 3, '2026-01-01 00:00:00+00')",
            "ALTER TABLE public.t ALTER COLUMN c TYPE text USING 'was ' || c::text",
            "INSERT INTO public.t VALUES (4, 1, 'x', 'now text', '2026-01-01 00:00:00+00')",
            "ALTER TABLE public.t DROP COLUMN b, DROP COLUMN d",
            "INSERT INTO public.t VALUES (5, 1, 'z')",
        ] {
            db.run(sql).await;
        }
        let messages = db.messages(true, false).await;
        let replayed = replay(db, &known.shape, &messages, true).await;
        // Asked after the last change, the catalog still tells that `aa` was `a`.
        assert_eq!(replayed.changes, ["add d", "rename [(\"a\", \"aa\")]", "alter c text", "drop b,d"]);
        let at = "2026-01-01 00:00:00.000000+00";
        let expected = [
            (1, row(&[("id", "1"), ("a", "1"), ("b", "x"), ("c", "3")])),
            (2, row(&[("id", "2"), ("a", "1"), ("b", "x"), ("c", "3"), ("d", at)])),
            (3, row(&[("id", "3"), ("aa", "1"), ("b", "x"), ("c", "3"), ("d", at)])),
            (4, row(&[("id", "4"), ("aa", "1"), ("b", "x"), ("c", "now text"), ("d", at)])),
            (5, row(&[("id", "5"), ("aa", "1"), ("c", "z")])),
        ];
        assert_eq!(replayed.rows, expected);
        // A second reading, as after a crash, gives the same; without the catalog at all, too.
        assert_eq!(replay(db, &known.shape, &messages, true).await, replayed);
        assert_eq!(replay(db, &known.shape, &messages, false).await, replayed);
        if db.version >= 150_000 {
            let binary = db.messages(true, true).await;
            assert_eq!(replay(db, &known.shape, &binary, true).await, replayed);
        }
    });
}

#[test]
fn a_last_column_of_another_name_is_renamed_or_new_as_the_catalog_tells() {
    on_every_server(async |db: &mut Db| {
        let known = start(db).await;
        db.run("ALTER TABLE public.t RENAME COLUMN c TO cc; INSERT INTO public.t VALUES (1, 1, 'x', 3)").await;
        let messages = db.messages(false, false).await;
        let replayed = replay(db, &known.shape, &messages, true).await;
        assert_eq!(replayed.changes, ["rename [(\"c\", \"cc\")]"]);
        let renamed = db.know("public.t").await;
        db.run("ALTER TABLE public.t DROP COLUMN cc, ADD COLUMN cd int; INSERT INTO public.t VALUES (2, 1, 'x', 3)")
            .await;
        let messages = db.messages(false, false).await;
        let replayed = replay(db, &renamed.shape, &messages, true).await;
        assert_eq!(replayed.changes, ["add cd; drop cc"]);
    });
}

#[test]
fn a_column_may_become_nullable_and_never_silently_not_null() {
    on_every_server(async |db: &mut Db| {
        let known = start(db).await;
        db.run("ALTER TABLE public.t ALTER b DROP NOT NULL; ALTER TABLE public.t ALTER a SET NOT NULL, ADD e int NOT NULL DEFAULT 5").await;
        db.run("INSERT INTO public.t VALUES (1, 1, NULL, 3)").await;
        let messages = db.messages(false, false).await;
        let replayed = replay(db, &known.shape, &messages, true).await;
        assert_eq!(replayed.changes, ["add e; alter b text"]);
        assert_eq!(replayed.rows[0].1[2], ("b".to_owned(), None));
    });
}

#[test]
fn a_table_of_the_same_name_and_one_of_another_are_told_apart() {
    on_every_server(async |db: &mut Db| {
        let known = start(db).await;
        db.run("ALTER TABLE public.t RENAME TO moved; INSERT INTO public.moved VALUES (1, 1, 'x', 3)").await;
        db.run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1)").await;
        let messages = db.messages(false, false).await;
        let mut relations = messages.iter().filter_map(|m| match Message::read(m, false).unwrap().0 {
            Message::Relation(relation) => Some(relation),
            _ => None,
        });
        let (moved, other) = (relations.next().unwrap(), relations.next().unwrap());
        let Evolution::Moved(shape) = known.shape.follow(&moved, None, &known.types, &db.settings).unwrap() else {
            panic!("not moved")
        };
        assert_eq!((shape.id().to_string().as_str(), shape.version), ("public.moved", 1));
        let other = known.shape.follow(&other, None, &known.types, &db.settings).unwrap();
        assert_eq!(other, Evolution::Recreated);
        // A key column that is gone halts, by name.
        let detail = db.detail("public.moved").await.unwrap();
        let mut short = moved.clone();
        short.columns.remove(0);
        let error = shape.follow(&short, Some(&detail), &known.types, &db.settings).unwrap_err();
        assert_eq!(error.code(), dujiang_core::Code::SchemaChange);
    });
}

#[test]
fn f57_partitions_come_and_go_under_the_name_of_their_root() {
    on_every_server(async |db: &mut Db| {
        db.run(
            "CREATE PUBLICATION p FOR ALL TABLES WITH (publish_via_partition_root = true);
             CREATE TABLE public.r (id int, x text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
             CREATE TABLE public.r1 PARTITION OF public.r FOR VALUES FROM (0) TO (10);
             CREATE TABLE public.other (x text, gone int, id int NOT NULL); ALTER TABLE public.other DROP gone",
        )
        .await;
        db.slot().await;
        let known = db.know("public.r").await;
        db.run("INSERT INTO public.r VALUES (1, 'a')").await;
        // Its columns have another order than its root's.
        db.run("ALTER TABLE public.r ATTACH PARTITION public.other FOR VALUES FROM (10) TO (20)").await;
        db.run("INSERT INTO public.r VALUES (11, 'b'); INSERT INTO public.other VALUES ('c', 12)").await;
        db.run("ALTER TABLE public.r DETACH PARTITION public.r1; INSERT INTO public.r VALUES (13, 'd')").await;
        let messages = db.messages(false, false).await;
        let replayed = replay(db, &known.shape, &messages, true).await;
        assert_eq!(replayed.changes, [""; 0]);
        let rows: Vec<_> = replayed.rows.iter().map(|(_, row)| row.clone()).collect();
        let pair = |id, x| row(&[("id", id), ("x", x)]);
        assert_eq!(rows, [pair("1", "a"), pair("11", "b"), pair("12", "c"), pair("13", "d")]);
    });
}
