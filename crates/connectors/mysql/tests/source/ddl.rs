//! Every kind of DDL, with a crash at each: the change is met again, and rows before and after it are decoded with the
//! columns in force at their place (INV-10).

use super::harness::*;
use crate::support::reads_as_written;
use dujiang_core::evolution::SchemaEvent;
use dujiang_core::schema::SchemaChange;
use dujiang_core::{Code, Result};
use dujiang_scratch::{Family, Kind as ServerKind, Options, Server, ServerBinary};

/// The servers on which DDL is tested.
fn servers() -> Vec<Server> {
    let kinds = [ServerKind::MariaDb, ServerKind::Mysql57, ServerKind::MysqlNewest];
    kinds.map(|kind| Server::start(&silent(kind)).unwrap()).into()
}

/// Servers whose table maps tell no names.
fn silent(kind: ServerKind) -> Options {
    Options {
        row_metadata: if kind == ServerKind::MariaDb { "NO_LOG" } else { "MINIMAL" },
        ..Options::default().on(kind)
    }
}

/// The dialect's events of a change.
fn tags(change: &SchemaChange) -> String {
    let events = SchemaEvent::of_change(change.before.as_deref(), &change.after, &change.ddl);
    let tags: Vec<_> = events.iter().map(SchemaEvent::tag).collect();
    format!("{} {}", change.after.id.table, if tags.is_empty() { "-".into() } else { tags.join("+") })
}

/// Goes on to the end of the log, with a crash at a change of every statement; returns what was told, in order.
async fn follow(pipeline: &mut Pipeline, server: &Server) -> Result<Vec<String>> {
    let from = pipeline.changes.len();
    let wanted = sequence(&last_gtid(server));
    let mut crashed = String::new();
    loop {
        let event = pipeline.step().await?;
        let of_last = |p: &Pipeline| p.changes.last().map(|c| c.statement.clone()).unwrap_or_default();
        let statement = of_last(pipeline);
        if event == "schema-change" && statement != crashed {
            let told = pipeline.changes[from..].iter().filter(|c| c.statement == statement).count();
            if told > pipeline.crashes % 3 {
                crashed = statement.clone();
                pipeline.crash();
                while pipeline.changes.len() > from && of_last(pipeline) == statement {
                    pipeline.changes.pop();
                }
            }
        } else if event != "schema-change" && sequence(&pipeline.status().position) >= wanted {
            pipeline.barrier()?;
            return Ok(pipeline.changes[from..].iter().map(tags).collect());
        }
    }
}

/// As [`follow`], without crashes.
async fn follow_on(pipeline: &mut Pipeline, server: &Server) -> Result<Vec<String>> {
    let from = pipeline.changes.len();
    pipeline.until_gtid(&last_gtid(server)).await?;
    Ok(pipeline.changes[from..].iter().map(tags).collect())
}

/// (statements, events expected). `t` is captured.
const STEPS: &[(&str, &str)] = &[
    ("ALTER TABLE t ADD a INT UNSIGNED AFTER id, ADD b VARCHAR(9) CHARACTER SET latin1 FIRST", "t add.column"),
    ("INSERT INTO t VALUES ('é', 2, 4294967295, 2)", ""),
    (
        "ALTER TABLE t MODIFY v BIGINT UNSIGNED FIRST; INSERT INTO t VALUES (18446744073709551615, 'x', 3, 3)",
        "t alter.column.type",
    ),
    (
        "UPDATE t SET a = 7 WHERE a IS NULL; ALTER TABLE t CHANGE a a2 INT UNSIGNED NOT NULL DEFAULT 7; INSERT INTO t VALUES (1, 'y', 4, 4)",
        "t rename.column+alter.column.type",
    ),
    ("ALTER TABLE t MODIFY b VARCHAR(9) CHARACTER SET utf8mb4; INSERT INTO t VALUES (1, '日本', 5, 5)", "t -"),
    (
        "DELETE FROM t WHERE id = 5; ALTER TABLE t CONVERT TO CHARACTER SET latin1, MODIFY a2 INT UNSIGNED AFTER v; INSERT INTO t VALUES (1, 5, 'ß', 5)",
        "t alter.column.type",
    ),
    ("ALTER TABLE t ALTER COLUMN v SET DEFAULT 3, COMMENT 'x'; CREATE INDEX i ON t (v); ANALYZE TABLE t", ""),
    (
        "ALTER TABLE t ADD e ENUM('a','b') NOT NULL DEFAULT 'b', ADD UNIQUE u (e, id); INSERT INTO t VALUES (1, 2, 'z', 6, 'a')",
        "t add.column",
    ),
    (
        "ALTER TABLE t MODIFY e ENUM('b','a','c') NOT NULL; INSERT INTO t VALUES (1, 2, 'z', 7, 'c'); UPDATE t SET v = 2 WHERE id = 6",
        "t alter.column.type",
    ),
    (
        "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id, a2); INSERT INTO t VALUES (1, 9, 'q', 8, 'a')",
        "t alter.column.type",
    ),
    ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (id), MODIFY a2 INT UNSIGNED", "t alter.column.type"),
    (
        "ALTER TABLE t DROP INDEX u, DROP COLUMN e, DROP a2, ADD d DECIMAL(10,2), ADD j JSON; INSERT INTO t VALUES (1, 'w', 9, 2.50, NULL)",
        "t add.column+drop.column",
    ),
    (
        "ALTER TABLE t /*!50000 ADD COLUMN */ /*!40000 (x1 INT) */ /*!99999 , DROP v */; INSERT INTO t VALUES (1, 'w', 10, 2.50, NULL, 1)",
        "t add.column",
    ),
    ("TRUNCATE TABLE t; INSERT INTO t VALUES (1, 'w', 11, 2.50, NULL, 1)", "t truncate.table"),
    (
        "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'; ALTER TABLE \"t\" ADD \"se\"\"l`ect;\" VARCHAR(5) DEFAULT '\\', \
      ADD \"表\" INT; INSERT INTO t VALUES (1, 'w', 12, 2.50, NULL, 1, 'k', 2); SET SESSION sql_mode = ''",
        "t add.column",
    ),
    ("DROP TABLE t", "t drop.table"),
    (
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, b VARCHAR(5)) DEFAULT CHARSET utf8mb4; INSERT INTO t VALUES (1, 1, '日')",
        "t create.table",
    ),
    (
        "USE other; ALTER TABLE d.t ADD z INT; ALTER TABLE t ADD z INT; INSERT INTO d.t VALUES (2, 2, 'x', 2); USE d",
        "t add.column",
    ),
    ("CREATE TABLE l LIKE t; INSERT INTO l VALUES (1, 1, 'l', 1), (2, 2, 'm', 2)", "l create.table"),
    (
        "DROP TABLE t, l; CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY, v INT)",
        "l drop.table, t drop.table, t create.table",
    ),
    ("CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY, other INT); INSERT INTO t VALUES (1, 5)", ""),
    ("RENAME TABLE t TO l; INSERT INTO l VALUES (2, 6)", "l create.table, t drop.table"),
    ("ALTER TABLE l RENAME TO t, ADD w INT; INSERT INTO t VALUES (3, 7, 8)", "l drop.table, t create.table"),
    ("RENAME TABLE t TO x; INSERT INTO x VALUES (4, 7, 8)", "t drop.table"),
    ("RENAME TABLE x TO t; INSERT INTO t VALUES (5, 7, 8)", "t create.table"),
    (
        "CREATE TABLE l (id INT PRIMARY KEY, q VARCHAR(9)); INSERT INTO l VALUES (1, 'l'); RENAME TABLE t TO swap, l TO t, swap TO l; \
      INSERT INTO t VALUES (9, 'm'); INSERT INTO l VALUES (19, 1, 1)",
        "l create.table, l truncate.table, l add.column+drop.column, \
      t truncate.table, t add.column+drop.column",
    ),
    (
        "DROP DATABASE d; CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)",
        "l drop.table, t drop.table, t create.table",
    ),
    (
        "ALTER TABLE t PARTITION BY HASH (id) PARTITIONS 2; INSERT INTO t VALUES (3); ALTER TABLE t REMOVE PARTITIONING; INSERT INTO t VALUES (4)",
        "",
    ),
];

async fn every_step(server: &Server, crashes: bool) {
    server.sql("CREATE DATABASE d; CREATE DATABASE other; CREATE TABLE other.t (id INT); USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT) DEFAULT CHARSET utf8mb4; INSERT INTO t VALUES (1, 1)").unwrap();
    let mut pipeline = Pipeline::new(source(server, "d.t, d.l", &[]));
    pipeline.until("caught-up").await.unwrap();
    let mut session = server.session().unwrap();
    session.run("USE d").unwrap();
    for (sql, expected) in STEPS {
        session.run(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let told = match crashes {
            true => follow(&mut pipeline, server).await,
            false => follow_on(&mut pipeline, server).await,
        };
        let told = told.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let expected: Vec<&str> = expected.split(", ").map(str::trim).filter(|e| !e.is_empty()).collect();
        assert_eq!(told, expected, "{sql}");
        settle(&mut pipeline).await;
        for table in ["t", "l"] {
            let exists = format!(
                "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'd' AND TABLE_NAME = '{table}'"
            );
            if session.number(&exists).unwrap() == 1 {
                let shape = pipeline.changes.iter().rev().find(|c| *c.after.id.table == *table);
                let key = shape.map_or(vec![0], |c| c.after.key.clone());
                same_rows(server, &pipeline.sink, &format!("d.{table}"), &key);
            } else {
                assert_eq!(pipeline.sink.count(&format!("d.{table}")), 0, "{sql}");
            }
        }
    }
    assert_eq!(pipeline.status().snapshot.iter().filter(|t| !t.done).count(), 0);
}

/// Until tables that joined are read.
async fn settle(pipeline: &mut Pipeline) {
    for _ in 0..200 {
        if pipeline.status().snapshot.iter().all(|table| table.done) {
            break;
        }
        pipeline.step().await.unwrap();
    }
    pipeline.barrier().unwrap();
}

fn same_rows(server: &Server, sink: &Sink, table: &str, key: &[usize]) {
    let mut session = server.session().unwrap();
    let rows = session.run(&format!("SELECT * FROM {table}")).unwrap();
    let text = |row: Vec<Option<String>>| -> Vec<String> {
        row.into_iter().map(|c| c.unwrap_or_else(|| "NULL".into())).collect()
    };
    let expected: Vec<Vec<String>> = rows.into_iter().map(text).collect();
    let actual = sink.rows.get(table).cloned().unwrap_or_default();
    assert_eq!(actual.len(), expected.len(), "{table}: {actual:?}, server {expected:?}");
    for row in expected {
        let place: Vec<String> = key.iter().map(|&k| row[k].clone()).collect();
        let found = actual.get(&place);
        assert!(found.is_some_and(|found| same_row(found, &row)), "{table}: {row:?}, sink {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_f43_every_ddl_is_followed() {
    for server in servers() {
        println!("{}", server.version());
        every_step(&server, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_r18_every_ddl_is_met_again_after_a_crash() {
    for server in servers() {
        println!("{}", server.version());
        every_step(&server, true).await;
    }
}

/// A start of the server empties MEMORY tables; it says so when one is used for the first time: a captured one is empty then, which is
/// met again after a crash. What such a table gets later is what it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_tables_are_empty_when_the_server_says_so() {
    for kind in [ServerKind::MariaDb, ServerKind::Mysql57, ServerKind::MysqlNewest] {
        let mut server = own_on(kind);
        println!("{}", server.version());
        let columns = "(id INT PRIMARY KEY, v INT) ENGINE=MEMORY";
        server.sql(&format!("CREATE DATABASE d; CREATE TABLE d.m {columns}; CREATE TABLE d.n {columns}; CREATE TABLE d.foreign_one {columns}")).unwrap();
        server.sql("INSERT INTO d.m VALUES (1, 1), (2, 2); INSERT INTO d.n VALUES (1, 1)").unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.m, d.n", &[]));
        pipeline.until("caught-up").await.unwrap();
        pipeline.crash();
        server.restart().unwrap();
        server
            .sql("SELECT * FROM d.m; INSERT INTO d.foreign_one VALUES (1, 1); INSERT INTO d.n VALUES (2, 2)")
            .unwrap();
        let told = follow(&mut pipeline, &server).await.unwrap();
        assert_eq!(told, ["m truncate.table", "n truncate.table"]);
        server.sql("INSERT INTO d.m VALUES (2, 7)").unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        for table in ["d.m", "d.n"] {
            assert_eq!(pipeline.sink.rows[table], rows_of(&server, table, 1), "{table}");
            assert_eq!(pipeline.sink.count(table), 1);
        }
    }
}

/// (statement, the row inserted after it). Parts of a statement name columns as they were before it; none has a type of its own
/// that would give a mistake away.
const AT_ONCE: &[(&str, &str)] = &[
    ("CHANGE a b INT, CHANGE b a INT", "2, 20, 200, 'é'"),
    ("CHANGE a b INT AFTER id, CHANGE b c1 INT, ADD a INT FIRST", "30, 3, 300, 3000, 'é'"),
    ("MODIFY a INT AFTER b, MODIFY c1 INT FIRST, ADD d INT AFTER b", "4, 40, 400, 4000, 40000, 'é'"),
    ("DROP PRIMARY KEY, ADD PRIMARY KEY (a), CHANGE id a INT, CHANGE a id INT", "5, 50, 500, 5000, 50000, 'é'"),
    ("ADD s1 VARCHAR(5) DEFAULT 'a', DEFAULT CHARSET latin1", "6, 60, 600, 6000, 60000, 'é', 'ü'"),
    ("ADD s2 VARCHAR(5), CONVERT TO CHARACTER SET utf8mb4", "7, 70, 700, 7000, 70000, '日', 'ü', '本'"),
    ("DROP d, ADD d VARCHAR(9) FIRST, DROP s2", "'d', 8, 80, 800, 80000, '日', '語'"),
];

/// The statements are met when later ones have changed the table again: what they say is all there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f43_parts_of_a_statement_take_effect_at_once() {
    for server in servers() {
        println!("{}", server.version());
        server.sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL, b INT, s VARCHAR(9)) DEFAULT CHARSET utf8mb4; INSERT INTO t VALUES (1, 10, 100, 'é')").unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
        pipeline.until("caught-up").await.unwrap();
        pipeline.crash();
        let mut session = server.session().unwrap();
        for (alteration, row) in AT_ONCE {
            let sql = format!("ALTER TABLE d.t {alteration}; INSERT INTO d.t VALUES ({row})");
            session.run(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        if server.family() == Family::MariaDb {
            let row = "REPEAT('x', 150), 'd', 9, 90, 900, 90000, '日', '語'";
            session
                .run(&format!("ALTER TABLE d.t ADD z VARCHAR(200) COMPRESSED FIRST; INSERT INTO d.t VALUES ({row})"))
                .unwrap();
        }
        session.run("ALTER TABLE d.t ADD last INT").unwrap();
        follow_on(&mut pipeline, &server).await.unwrap();
        let key = pipeline.changes.last().unwrap().after.key.clone();
        same_rows(&server, &pipeline.sink, "d.t", &key);
    }
}

/// All of it happened while nobody looked: the catalog tells nothing of what was in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f43_ddl_while_the_pipeline_was_away() {
    for server in servers() {
        println!("{}", server.version());
        server.sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT, b VARCHAR(9)) DEFAULT CHARSET latin1; INSERT INTO t VALUES (1, 1, 'é')").unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
        pipeline.until("caught-up").await.unwrap();
        pipeline.crash();
        server.sql("USE d; ALTER TABLE t ADD c VARCHAR(5) FIRST; INSERT INTO t VALUES ('ß', 2, 2, 'é'); \
                    ALTER TABLE t CHANGE b c2 VARCHAR(9) CHARACTER SET utf8mb4 AFTER id, MODIFY v BIGINT UNSIGNED; \
                    INSERT INTO t VALUES ('ß', 3, '日', 18446744073709551615); \
                    ALTER TABLE t DROP c, ADD x SMALLINT FIRST; INSERT INTO t VALUES (5, 4, 'q', 4); \
                    ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4; ALTER TABLE t MODIFY x TEXT; INSERT INTO t VALUES ('日', 5, 'q', 4)").unwrap();
        let told = follow_on(&mut pipeline, &server).await.unwrap();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_same_rows(
            &pipeline,
            "d.t",
            &[
                &["ß", "2", "2", "é"],
                &["ß", "3", "日", "18446744073709551615"],
                &["5", "4", "q", "4"],
                &["日", "5", "q", "4"],
            ],
        );
        same_rows(&server, &pipeline.sink, "d.t", &[1]);
    }
}

/// The inserted rows, as they were decoded.
fn assert_same_rows(pipeline: &Pipeline, table: &str, expected: &[&[&str]]) {
    let inserted = pipeline.sink.images.iter().filter(|i| i.table == table && i.kind == dujiang_core::Kind::Insert);
    let cells: Vec<Vec<&str>> = inserted.map(|i| i.cells.iter().map(String::as_str).collect()).collect();
    assert_eq!(cells, expected);
}

/// Changes that are not logged are noticed at the next row, and never decoded wrongly: with the log's own description of
/// the columns, or the catalog, the stream goes on; if neither tells them, it halts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f43_ddl_that_is_not_logged() {
    let telling =
        [ServerKind::MariaDb, ServerKind::MysqlNewest].map(|kind| Server::start(&Options::default().on(kind)).unwrap());
    let telling = telling.into_iter().map(|server| (server, true));
    for (server, full) in servers().into_iter().map(|server| (server, false)).chain(telling) {
        println!("{} {full}", server.version());
        let mut session = server.session().unwrap();
        session
            .run("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT) DEFAULT CHARSET latin1")
            .unwrap();
        let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
        pipeline.until("caught-up").await.unwrap();
        // The catalog tells it.
        session.run("SET sql_log_bin = 0; ALTER TABLE t ADD x VARCHAR(9) AFTER id; SET sql_log_bin = 1; INSERT INTO t VALUES (1, 'é', 2, 3)").unwrap();
        follow_on(&mut pipeline, &server).await.unwrap();
        same_rows(&server, &pipeline.sink, "d.t", &[0]);
        // It has been changed again since.
        session.run("SET sql_log_bin = 0; ALTER TABLE t ADD y BIGINT UNSIGNED, DROP v; SET sql_log_bin = 1; INSERT INTO t VALUES (2, 'é', 2, 3); \
                     ALTER TABLE t DROP y, ADD z INT; INSERT INTO t VALUES (3, 'z', 4, 5)").unwrap();
        if full {
            follow_on(&mut pipeline, &server).await.unwrap();
            assert_same_rows(&pipeline, "d.t", &[&["1", "é", "2", "3"], &["2", "é", "2", "3"], &["3", "z", "4", "5"]]);
            same_rows(&server, &pipeline.sink, "d.t", &[0]);
            // Names alone tell that columns have changed places.
            session.run("SET sql_log_bin = 0; ALTER TABLE t MODIFY z INT AFTER id, MODIFY w INT FIRST; SET sql_log_bin = 1; INSERT INTO t VALUES (8, 4, 9, 'w')").unwrap();
            follow_on(&mut pipeline, &server).await.unwrap();
            same_rows(&server, &pipeline.sink, "d.t", &[1]);
        } else {
            let error = follow_on(&mut pipeline, &server).await.unwrap_err();
            assert_eq!(error.code(), Code::SchemaMismatch, "{error:?}");
        }
    }
}

/// A statement that is not understood: the catalog tells what it did, unless the table has been changed again since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f43_ddl_that_is_not_understood() {
    let server = Server::start(&silent(ServerKind::MariaDb)).unwrap();
    server.sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, r"d.\.*", &[]));
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(pipeline.status().not_understood, None);
    server
        .sql("USE d; SET sql_mode = ORACLE; ALTER TABLE t ADD n VARCHAR2(9); INSERT INTO t VALUES (2, 2, 'n')")
        .unwrap();
    follow_on(&mut pipeline, &server).await.unwrap();
    let met = pipeline.status().not_understood.expect("the statement is told");
    assert_eq!((met.count, met.table.to_string().as_str(), met.kind), (1, "d.t", "ALTER"));
    server.sql("USE d; SET sql_mode = ORACLE; \
                ALTER TABLE t ADD o VARCHAR2(9); CREATE TABLE o (id NUMBER(9) PRIMARY KEY, v CLOB); INSERT INTO o VALUES (1, 'x'); INSERT INTO t VALUES (3, 2, 'n', 'o')").unwrap();
    follow_on(&mut pipeline, &server).await.unwrap();
    settle(&mut pipeline).await;
    same_rows(&server, &pipeline.sink, "d.t", &[0]);
    same_rows(&server, &pipeline.sink, "d.o", &[0]);
    // Twice, and nobody looked in between.
    let twice = "USE d; SET sql_mode = ORACLE; ALTER TABLE t ADD p VARCHAR2(9); INSERT INTO t VALUES (4, 2, 'n', 'o', 'p'); ALTER TABLE t DROP v; INSERT INTO t VALUES (5, 'n', 'o', 'p')";
    server.sql(twice).unwrap();
    let error = follow_on(&mut pipeline, &server).await.unwrap_err();
    assert_eq!(error.code(), Code::ShapeUnknown, "{error:?}");
    reads_as_written(&error, &[]);
    assert!(error.facts().iter().any(|(name, text)| *name == "statement" && text.contains("VARCHAR2")), "{error:?}");
    // What the log itself tells of its rows is enough.
    let server = own();
    server
        .sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT, n VARCHAR(9), o VARCHAR(9))")
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server.sql(twice).unwrap();
    follow_on(&mut pipeline, &server).await.unwrap();
    same_rows(&server, &pipeline.sink, "d.t", &[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_go_are_accepted_if_asked() {
    let server = own();
    server.sql("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (5), \
                PARTITION q VALUES LESS THAN MAXVALUE); INSERT INTO t VALUES (1), (7)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[("partitions.unlogged.accept", "true")]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("ALTER TABLE d.t DROP PARTITION p; INSERT INTO d.t VALUES (8)").unwrap();
    follow_on(&mut pipeline, &server).await.unwrap();
    assert_eq!(pipeline.sink.count("d.t"), 3);
}

/// Names that differ in case are one table where the server says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_any_case_mean_the_table() {
    let binary = ServerBinary::of(ServerKind::MariaDb).unwrap();
    let server = Server::start_with(&binary, &Options::default().arg("--lower-case-table-names=1")).unwrap();
    server.sql("CREATE DATABASE D; CREATE TABLE D.T (id INT PRIMARY KEY)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, r"d.\.*", &[]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("USE D; ALTER TABLE T ADD v INT; INSERT INTO T VALUES (1, 1); CREATE TABLE NEW (id INT PRIMARY KEY); INSERT INTO New VALUES (5); \
                RENAME TABLE NEW TO Newer; DROP TABLE T").unwrap();
    let told = follow_on(&mut pipeline, &server).await.unwrap();
    assert_eq!(told, ["t add.column", "new create.table", "new drop.table", "newer create.table", "t drop.table"]);
    settle(&mut pipeline).await;
    same_rows(&server, &pipeline.sink, "d.newer", &[0]);
}
