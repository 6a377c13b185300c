//! Tables, partitions, publications and privileges, on every server.

use crate::support::{Db, on_every_server};
use dujiang_postgres::catalog::{IdentityDemand, IdentityKind, OldRows, check_identity, key_of, old_rows, read};
use dujiang_postgres::client::{Connection, Endpoint, Session, TlsMode};

#[test]
fn tables_are_found_with_what_keeps_them_from_being_captured() {
    on_every_server(async |db: &mut Db| {
        db.run(
            "CREATE SCHEMA \"Ä b\"; CREATE TABLE \"Ä b\".\"T\" (x int); CREATE UNLOGGED TABLE public.u (x int);
             CREATE VIEW public.v AS SELECT 1; CREATE MATERIALIZED VIEW public.m AS SELECT 1; CREATE SEQUENCE public.s;
             CREATE TEMPORARY TABLE tmp (x int); CREATE TABLE public.hidden (x int, y int); CREATE ROLE reader LOGIN;
             CREATE TABLE public.p (id int) PARTITION BY RANGE (id);
             CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM (0) TO (10);
             GRANT SELECT ON \"Ä b\".\"T\" TO reader; GRANT USAGE ON SCHEMA \"Ä b\" TO reader; GRANT SELECT (x) ON public.hidden TO reader",
        )
        .await;
        let found = read::tables(&mut db.connection).await.unwrap();
        let names: Vec<String> = found.iter().map(|t| t.id().to_string()).collect();
        assert_eq!(names, ["public.hidden", "public.m", "public.p", "public.p1", "public.u", "Ä b.T"]);
        let fit: Vec<bool> = found.iter().map(|t| t.unfit().is_none()).collect();
        assert_eq!(fit, [true, false, true, true, false, true]);
        assert_eq!(found[3].root, Some(found[2].oid));
        assert!(found.iter().all(|t| t.readable));
        let mut endpoint = Endpoint::new("127.0.0.1", db.server.port(), "postgres", "reader");
        endpoint.tls.mode = TlsMode::Disabled;
        let mut reader = Connection::connect(&endpoint, Session::Ordinary).await.unwrap();
        let seen = read::tables(&mut reader).await.unwrap();
        let readable: Vec<bool> = seen.iter().map(|t| t.readable).collect();
        assert_eq!(readable, [true, false, false, false, false, true]);
        let hidden = read::details(&mut reader, &[seen[0].oid]).await.unwrap();
        let columns: Vec<bool> = hidden[0].columns.iter().map(|c| c.readable).collect();
        assert_eq!(columns, [true, false]);
        assert_eq!(read::details(&mut db.connection, &[1]).await.unwrap(), []);
    });
}

/// F60: a query's snapshot has them still, the server's functions have not.
#[test]
fn f60_what_goes_while_the_catalog_is_read_is_no_puzzle() {
    on_every_server(async |db: &mut Db| {
        db.run("CREATE TABLE public.t (a int, b int); CREATE TABLE public.u (a int)").await;
        let oids: Vec<u32> = read::tables(&mut db.connection).await.unwrap().iter().map(|t| t.oid).collect();
        db.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
        db.server.sql("ALTER TABLE t DROP COLUMN b; DROP TABLE u").unwrap();
        assert!(read::tables(&mut db.connection).await.unwrap().iter().all(|table| table.readable));
        let details = read::details(&mut db.connection, &oids).await.unwrap();
        let columns = |at: usize| details[at].columns.iter().map(|c| (&*c.name, c.readable)).collect::<Vec<_>>();
        assert_eq!(columns(0), [("a", true), ("b", true)]);
        assert_eq!(columns(1), [("a", true)]);
        db.run("COMMIT").await;
    });
}

#[test]
fn f57_a_partitioned_table_is_known_with_all_its_leaves() {
    on_every_server(async |db: &mut Db| {
        db.run(
            "CREATE TABLE public.p (id int, k int, PRIMARY KEY (id, k)) PARTITION BY RANGE (id);
             CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM (0) TO (10);
             CREATE TABLE public.p2 PARTITION OF public.p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (k);
             CREATE TABLE public.p21 PARTITION OF public.p2 DEFAULT;
             ALTER TABLE public.p REPLICA IDENTITY FULL; ALTER TABLE public.p1 REPLICA IDENTITY FULL",
        )
        .await;
        let detail = db.detail("public.p").await.unwrap();
        let leaves: Vec<(&str, IdentityKind)> = detail.leaves.iter().map(|l| (l.table.as_str(), l.identity)).collect();
        assert_eq!(leaves, [("p1", IdentityKind::Full), ("p21", IdentityKind::Default)]);
        assert_eq!(old_rows(&detail), OldRows::Key(vec![1, 2]));
        let error = check_identity(std::slice::from_ref(&detail), IdentityDemand::Full).unwrap_err();
        let help = error.help_text().unwrap();
        let statement = help.split("run ").nth(1).unwrap().split(';').next().unwrap();
        assert_eq!(statement, "ALTER TABLE \"public\".\"p21\" REPLICA IDENTITY FULL");
        // The statement that is told does what it says.
        db.run(statement).await;
        let detail = db.detail("public.p").await.unwrap();
        check_identity(&[detail], IdentityDemand::Full).unwrap();
        db.run("ALTER TABLE public.p DETACH PARTITION public.p1").await;
        let detail = db.detail("public.p").await.unwrap();
        assert_eq!(detail.leaves.iter().map(|l| l.table.as_str()).collect::<Vec<_>>(), ["p21"]);
    });
}

#[test]
fn f58_keys_and_identities_are_what_the_server_acts_on() {
    on_every_server(async |db: &mut Db| {
        db.run(
            "CREATE TABLE public.a (x int, y int NOT NULL, z text, PRIMARY KEY (z, x));
             CREATE TABLE public.b (x int NOT NULL, y int, UNIQUE (y), UNIQUE (x) DEFERRABLE);
             CREATE TABLE public.c (x int NOT NULL); CREATE UNIQUE INDEX c1 ON public.c (x) WHERE x > 0;
             CREATE UNIQUE INDEX c2 ON public.c ((x + 1)); CREATE UNIQUE INDEX c3 ON public.c (x) INCLUDE (x);
             CREATE TABLE public.d (x int NOT NULL UNIQUE); ALTER TABLE public.d REPLICA IDENTITY USING INDEX d_x_key",
        )
        .await;
        let mut key = async |table: &str| {
            let detail = db.detail(table).await.unwrap();
            (key_of(&detail).map(|index| index.columns.clone()), old_rows(&detail))
        };
        assert_eq!(key("public.a").await, (Some(vec![3, 1]), OldRows::Key(vec![1, 3])));
        assert_eq!(key("public.b").await, (None, OldRows::None));
        assert_eq!(key("public.c").await, (Some(vec![1]), OldRows::None));
        assert_eq!(key("public.d").await, (Some(vec![1]), OldRows::Key(vec![1])));
    });
}

#[test]
fn what_a_publication_publishes_is_known() {
    on_every_server(async |db: &mut Db| {
        db.run("CREATE TABLE public.a (x int PRIMARY KEY, y int, z int); CREATE TABLE public.b (x int)").await;
        db.run("CREATE PUBLICATION p FOR TABLE public.a (x, z) WHERE (x > 5), public.b").await;
        let published = read::published(&mut db.connection, "p", db.version).await.unwrap();
        let columns = published[0].columns.clone().unwrap();
        assert_eq!(
            (published[0].id().to_string().as_str(), columns.as_slice()),
            ("public.a", &["x".to_owned(), "z".to_owned()][..])
        );
        assert_eq!((published[0].filter.as_deref(), published[1].filter.as_deref()), (Some("(x > 5)"), None));
        let known = db.know_published("public.a", Some(&columns), true).await;
        assert_eq!(known.shape.columns.len(), 2);
        assert_eq!(read::published(&mut db.connection, "o'dd", db.version).await.unwrap(), []);
        // What servers before 15 are asked works everywhere.
        let old = read::published(&mut db.connection, "p", 140_000).await.unwrap();
        assert_eq!((old.len(), old[0].columns.as_ref()), (2, None));
    });
}
