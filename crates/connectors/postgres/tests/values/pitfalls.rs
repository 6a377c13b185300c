//! Values that other tools lose or bend.

use crate::support::{Db, Known, decoded, images, literals, on, on_every_server, unfit};
use arrow_schema::DataType;
use dujiang_core::{Code, Kind};
use dujiang_postgres::pgoutput::Message;
use dujiang_postgres::shape::Shape;
use dujiang_postgres::values::{Keep, PgKind, Refused, RowChange, ValueForm, ValueSettings};
use dujiang_scratch::PostgresOptions;
use std::collections::HashMap;

fn tables(name: &str, known: &Known) -> HashMap<String, dujiang_postgres::shape::Decodable> {
    HashMap::from([(name.to_owned(), known.decodable.clone())])
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn f54_infinities_and_times_out_of_range_are_errors_of_their_record_alone() {
    on_every_server(async |db: &mut Db| {
        db.publish().await;
        db.run("CREATE TABLE public.t (id int PRIMARY KEY, d date, t time, ts timestamp, tz timestamptz, n numeric(5,2), a int[])")
            .await;
        db.run("ALTER TABLE public.t REPLICA IDENTITY FULL").await;
        let bad = [
            ("d", "infinity"),
            ("d", "-infinity"),
            ("t", "24:00:00"),
            ("ts", "infinity"),
            ("ts", "294276-12-31 23:59:59.999999"),
            ("tz", "-infinity"),
            ("n", "NaN"),
            ("a", "{{1},{2}}"),
            ("a", "[0:1]={1,2}"),
        ];
        for (id, (column, value)) in bad.iter().enumerate() {
            db.run(&format!("INSERT INTO public.t (id, {column}) VALUES ({}, '{value}')", id * 2)).await;
            db.run(&format!("INSERT INTO public.t (id) VALUES ({})", id * 2 + 1)).await;
        }
        let known = db.know("public.t").await;
        let (copied, mut refused) = db.copied("public.t", &known.decodable).await;
        let copied = copied.unwrap();
        let hurt: Vec<usize> = copied.unfit_records().iter().map(|(row, _)| *row).collect();
        assert_eq!(hurt, (0..bad.len()).map(|at| at * 2).collect::<Vec<_>>(), "and no row beside them");
        assert_eq!(copied.images(), bad.len() * 2);
        for binary in [false, true] {
            let messages = db.messages(true, binary).await;
            let told = decoded(db, &messages, &tables("t", &known));
            assert_eq!(told.batches["t"].images(), bad.len() * 2);
            refused.extend(told.refused);
        }
        assert_eq!(refused.len(), 3 * bad.len());
        for (refusal, (column, _)) in refused.iter().zip(bad.iter().cycle()) {
            assert!(refusal.starts_with(&format!("E0700: public.t, column {column}:")), "{refusal}");
        }
        as_text(db, &bad).await;
    });
}

/// The same values, carried as text: none is refused.
async fn as_text(db: &mut Db, bad: &[(&str, &str)]) {
    let native = db.settings;
    db.settings = ValueSettings { arrays: ValueForm::Text, times: ValueForm::Text, ..native };
    db.run("ALTER TABLE public.t DROP COLUMN n; DELETE FROM public.t WHERE id % 2 = 1 OR id = 12").await;
    let known = db.know("public.t").await;
    let (copied, refused) = db.copied("public.t", &known.decodable).await;
    assert!(refused.is_empty(), "{refused:?}");
    let rows = images(&copied.unwrap(), &[Kind::Read]);
    for (row, (_, value)) in rows.iter().zip(bad.iter().filter(|(column, _)| *column != "n")) {
        assert!(row.contains(&text(value)), "{row:?} {value}");
    }
    db.settings = native;
}

#[test]
fn f56_an_untouched_large_value_comes_from_the_old_row_or_is_asked_for() {
    on_every_server(async |db: &mut Db| {
        db.publish().await;
        db.run("CREATE TABLE public.t (id int PRIMARY KEY, small int, big text, list int[], bytes bytea)").await;
        db.run("ALTER TABLE public.t ALTER big SET STORAGE EXTERNAL, ALTER list SET STORAGE EXTERNAL, ALTER bytes SET STORAGE EXTERNAL")
            .await;
        let big = "repeat('x', 10000), array(SELECT pg_catalog.generate_series(1, 3000)), pg_catalog.decode(repeat('ff', 5000), 'hex')";
        db.run("ALTER TABLE public.t REPLICA IDENTITY FULL").await;
        db.run(&format!("INSERT INTO public.t SELECT 1, 1, {big}; UPDATE public.t SET small = 2")).await;
        let known = db.know("public.t").await;
        for binary in [false, true] {
            let messages = db.messages(true, binary).await;
            let told = decoded(db, &messages, &tables("t", &known));
            let all = images(&told.batches["t"], &[Kind::Insert, Kind::UpdateBefore, Kind::UpdateAfter]);
            assert_eq!(all.len(), 3);
            assert_eq!((&all[0], &all[0][2..]), (&all[1], &all[2][2..]));
            assert_eq!((all[2][1].clone(), all[2][2].as_ref().unwrap().len()), (text("2"), 10_000));
        }
        db.messages(false, false).await;
        without_old_row(db).await;
    });
}

/// With the key alone in the log the builder says which values it lacks, and takes them when they are found.
async fn without_old_row(db: &mut Db) {
    db.run("ALTER TABLE public.t REPLICA IDENTITY DEFAULT; UPDATE public.t SET small = 3").await;
    let known = db.know_published("public.t", None, true).await;
    assert!(
        known.decodable.schema.arrow.field(1).is_nullable() && !known.decodable.schema.arrow.field(0).is_nullable()
    );
    let messages = db.messages(false, false).await;
    let change = messages.iter().find(|m| m[0] == b'U').unwrap();
    let Message::Update { old, new, .. } = Message::read(change, false).unwrap().0 else { panic!("no update") };
    let change = RowChange::Update { old, new };
    let mut builder = db.builder(&known.decodable);
    builder.append(change, Keep::Whole, &[]).unwrap();
    let batch = builder.finish().unwrap().unwrap();
    let lacks: Vec<(u32, u32)> = batch.unfit.iter().map(|cell| (cell.row, cell.column)).collect();
    assert_eq!(lacks, [(1, 2), (1, 3), (1, 4)]);
    assert!(unfit(&batch)[0].contains("REPLICA IDENTITY FULL"), "{:?}", unfit(&batch));
    let found = [(2, Some(&b"found"[..])), (3, None), (4, Some(&b"\\x00"[..]))];
    builder.append(change, Keep::Whole, &found).unwrap();
    let batch = builder.finish().unwrap().unwrap();
    assert!(batch.unfit.is_empty());
    assert_eq!(literals(&batch.rows, 0), [text("1"), None, None, None, None]);
    assert_eq!(literals(&batch.rows, 1), [text("1"), text("3"), text("found"), None, text("\\x00")]);
    // A table that is told to have whole old rows never takes a key for one.
    let whole = db.know("public.t").await;
    let mut builder = db.builder(&whole.decodable);
    let Refused::Other(error) = builder.append(change, Keep::Whole, &found).unwrap_err() else { panic!("not refused") };
    assert_eq!(error.code(), Code::ReplicaIdentity);
}

#[test]
fn f58_identity_by_an_index_of_another_order_keeps_its_columns_apart() {
    on_every_server(async |db: &mut Db| {
        db.publish().await;
        db.run(
            "CREATE TABLE public.t (a int NOT NULL, b text NOT NULL, c int NOT NULL, d int, PRIMARY KEY (c));
             CREATE UNIQUE INDEX i ON public.t (b, a); ALTER TABLE public.t REPLICA IDENTITY USING INDEX i;
             INSERT INTO public.t VALUES (1, 'x', 10, 100); UPDATE public.t SET b = 'y'; UPDATE public.t SET d = 5;
             DELETE FROM public.t",
        )
        .await;
        let known = db.know_published("public.t", None, true).await;
        assert_eq!(known.shape.key, [1, 0], "old rows hold no other key");
        assert_eq!(db.know("public.t").await.shape.key, [2], "whole old rows hold the primary key");
        let messages = db.messages(false, false).await;
        let told = decoded(db, &messages, &tables("t", &known));
        assert!(told.refused.is_empty() && known.shape.fits(&told.relations[0]), "{:?}", told.refused);
        let old = images(&told.batches["t"], &[Kind::UpdateBefore, Kind::Delete]);
        let key = |b: &str| vec![text("1"), text(b), None, None];
        assert_eq!(old, [key("x"), key("y"), key("y")]);
        let new = images(&told.batches["t"], &[Kind::UpdateAfter]);
        assert_eq!(new[1], [text("1"), text("y"), text("10"), text("5")]);
        // The identity may have been another one when the pipeline began: a key is never NULL.
        let shape = Shape { key: vec![2], ..known.shape.clone() };
        let known = HashMap::from([("t".to_owned(), shape.decodable())]);
        let told = decoded(db, &messages, &known);
        assert_eq!(told.refused.len(), 3, "{:?}", told.refused);
        assert!(told.refused[0].contains("key of old rows"), "{:?}", told.refused);
    });
}

#[test]
fn f49_labels_of_an_enum_that_changes_are_those_of_their_time() {
    on_every_server(async |db: &mut Db| {
        db.publish().await;
        db.run(
            "CREATE SCHEMA one; CREATE SCHEMA two; CREATE TYPE one.mood AS ENUM ('a', 'b'); CREATE TYPE two.mood AS ENUM ('x');
             CREATE TABLE public.t (id int PRIMARY KEY, m one.mood, n two.mood, l one.mood[]);
             INSERT INTO public.t VALUES (1, 'a', 'x', '{a,b}');
             ALTER TYPE one.mood ADD VALUE 'c' BEFORE 'a'",
        )
        .await;
        db.run("INSERT INTO public.t VALUES (2, 'c', 'x', '{c,NULL}')").await;
        db.run("ALTER TYPE one.mood RENAME VALUE 'a' TO 'z'; INSERT INTO public.t VALUES (3, 'z', NULL, NULL)").await;
        let known = db.know("public.t").await;
        let fields = known.decodable.schema.arrow.clone();
        assert_eq!(fields.field(1).metadata()["dujiang.source_type"], "one.mood");
        assert_eq!(fields.field(2).metadata()["dujiang.source_type"], "two.mood");
        for binary in [false, true] {
            let messages = db.messages(true, binary).await;
            let told = decoded(db, &messages, &tables("t", &known));
            let rows = images(&told.batches["t"], &[Kind::Insert]);
            assert_eq!(rows[1], [text("2"), text("c"), text("x"), text("{\"c\",NULL}")]);
            assert_eq!(rows[2][1], text("z"));
        }
    });
}

#[test]
fn f50_text_of_other_encodings_comes_as_utf8_and_of_none_is_checked() {
    let latin = PostgresOptions { encoding: "LATIN1", locale: "C", ..PostgresOptions::default() };
    on(&latin, &async |db: &mut Db| {
        db.publish().await;
        db.run("CREATE TABLE public.\"tä\" (id int PRIMARY KEY, \"ö\" text, l text[], j jsonb)").await;
        db.run("INSERT INTO public.\"tä\" VALUES (1, 'ü§', '{ß}', '\"é\"')").await;
        let known = db.know("public.\"tä\"").await;
        let (copied, _) = db.copied("public.\"tä\"", &known.decodable).await;
        let copied = images(&copied.unwrap(), &[Kind::Read]);
        assert_eq!(copied, [[text("1"), text("ü§"), text("{\"ß\"}"), text("\"é\"")]]);
        for binary in [false, true] {
            let messages = db.messages(true, binary).await;
            let told = decoded(db, &messages, &tables("tä", &known));
            assert_eq!(images(&told.batches["tä"], &[Kind::Insert]), copied);
        }
    });
    let none = PostgresOptions { encoding: "SQL_ASCII", locale: "C", ..PostgresOptions::default() };
    on(&none, &async |db: &mut Db| {
        assert!(db.settings.unchecked_text);
        db.publish().await;
        db.run("CREATE TABLE public.t (id int PRIMARY KEY, c text, l text[])").await;
        db.run("INSERT INTO public.t VALUES (1, 'ü', '{ü}'), (2, E'\\xfc', NULL), (3, NULL, ARRAY[E'\\xfc']), (4, 'x', NULL)").await;
        let known = db.know("public.t").await;
        let (copied, refused) = db.copied("public.t", &known.decodable).await;
        assert_eq!((copied.unwrap().images(), refused.len()), (4, 2), "{refused:?}");
        let messages = db.messages(false, false).await;
        let told = decoded(db, &messages, &tables("t", &known));
        assert_eq!((told.batches["t"].images(), told.refused.len()), (4, 2));
    });
}

#[test]
fn f55_generated_columns_are_left_out_unless_the_server_publishes_them() {
    on_every_server(async |db: &mut Db| {
        db.run("CREATE TABLE public.t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED, z int)").await;
        db.publish().await;
        db.run("INSERT INTO public.t (id, z) VALUES (1, 7)").await;
        let known = db.know("public.t").await;
        assert_eq!(known.detail.columns.len(), 3);
        let names: Vec<&str> = known.shape.columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["id", "z"]);
        let messages = db.messages(false, false).await;
        let told = decoded(db, &messages, &tables("t", &known));
        assert!(known.shape.fits(&told.relations[0]));
        let (copied, _) = db.copied("public.t", &known.decodable).await;
        assert_eq!(images(&copied.unwrap(), &[Kind::Read]), images(&told.batches["t"], &[Kind::Insert]));
        if db.version < 180_000 {
            return;
        }
        db.run("DROP PUBLICATION p; CREATE PUBLICATION p FOR ALL TABLES WITH (publish_generated_columns = stored)")
            .await;
        db.run("INSERT INTO public.t (id, z) VALUES (2, 8)").await;
        let published = dujiang_postgres::catalog::read::published(&mut db.connection, "p", db.version).await.unwrap();
        let known = db.know_published("public.t", published[0].columns.as_deref(), false).await;
        let messages = db.messages(false, false).await;
        let told = decoded(db, &messages, &tables("t", &known));
        assert!(known.shape.fits(&told.relations[0]));
        assert_eq!(images(&told.batches["t"], &[Kind::Insert]), [[text("2"), text("4"), text("8")]]);
    });
}

#[test]
fn f59_values_of_many_megabytes_pass_and_leave_no_room_behind() {
    on(&PostgresOptions::default(), &async |db: &mut Db| {
        db.publish().await;
        db.run("CREATE TABLE public.t (id int PRIMARY KEY, c text, b bytea)").await;
        db.run("INSERT INTO public.t SELECT 1, pg_catalog.repeat('x', 40000000), pg_catalog.decode(pg_catalog.repeat('ab', 20000000), 'hex')")
            .await;
        let known = db.know("public.t").await;
        let messages = db.messages(false, false).await;
        let told = decoded(db, &messages, &tables("t", &known));
        let row = literals(&told.batches["t"].rows, 0);
        assert_eq!((row[1].as_ref().unwrap().len(), row[2].as_ref().unwrap().len()), (40_000_000, 40_000_002));
        let (copied, _) = db.copied("public.t", &known.decodable).await;
        assert_eq!(literals(&copied.unwrap().rows, 0), row);
    });
}

#[test]
fn money_counts_in_the_units_of_the_databases_own_locale() {
    on_every_server(async |db: &mut Db| {
        assert_eq!(db.settings.money_scale, 2);
        db.run("CREATE TABLE public.t (id int PRIMARY KEY, m money)").await;
        let known = db.know("public.t").await;
        assert_eq!(known.decodable.schema.arrow.field(1).data_type(), &DataType::Decimal128(19, 2));
        // What another locale would give: a yen has no digits after the point.
        let settings = ValueSettings { money_scale: 0, ..db.settings };
        let shape = Shape::of_catalog(&known.detail, None, &known.types, &settings, false).unwrap();
        assert_eq!(shape.columns[1].kind, PgKind::Money { scale: 0 });
    });
}

#[test]
fn a_null_that_the_catalog_does_not_know_of_any_more_is_met_and_not_lost() {
    on_every_server(async |db: &mut Db| {
        db.publish().await;
        db.run("CREATE TABLE public.t (id int PRIMARY KEY, c int); INSERT INTO public.t VALUES (1, NULL)").await;
        db.run("UPDATE public.t SET c = 1; ALTER TABLE public.t ALTER c SET NOT NULL").await;
        let known = db.know("public.t").await;
        let messages = db.messages(false, false).await;
        let told = decoded(db, &messages, &tables("t", &known));
        // The update has no old row, the table's identity not being full.
        assert_eq!((told.refused.len(), told.refused[0].as_str()), (2, "Null(1)"));
        let relaxed = known.shape.relaxed(1);
        assert_eq!(relaxed.version, 2);
        let mut builder = db.builder(&relaxed.decodable());
        let insert = messages.iter().find(|m| m[0] == b'I').unwrap();
        let Message::Insert { new, .. } = Message::read(insert, false).unwrap().0 else { panic!("no insert") };
        builder.append(RowChange::Insert(new), Keep::Whole, &[]).unwrap();
        assert_eq!(literals(&builder.finish().unwrap().unwrap().rows, 0), [text("1"), None]);
    });
}
