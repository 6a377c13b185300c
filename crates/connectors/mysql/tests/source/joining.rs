//! Tables that join while the pipeline runs, are added to it, or leave it; and online schema changes.

use super::harness::*;
use crate::support;
use dujiang_core::Kind as Change;
use dujiang_scratch::{Family, Kind, Options, Random, Server};

async fn caught_up(server: &Server, pipeline: &mut Pipeline) {
    pipeline.until_gtid(&last_gtid(server)).await.unwrap();
    while pipeline.status().snapshot.iter().any(|table| !table.done) {
        pipeline.step().await.unwrap();
    }
    pipeline.until_gtid(&last_gtid(server)).await.unwrap();
}

fn reads(pipeline: &Pipeline, table: &str) -> usize {
    pipeline.sink.images.iter().filter(|i| i.table == table && i.kind == Change::Read).count()
}

/// R11, F46: tables created at once under load; every row is there, and is still after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_eight_tables_created_at_once_under_load() {
    for kind in Kind::ALL {
        r11_eight_tables_created_at_once_under_load_on(own_on(kind)).await;
    }
}

async fn r11_eight_tables_created_at_once_under_load_on(server: Server) {
    sql(&server, "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, r"d.\.*", &[("scan.incremental.snapshot.chunk.size", "10")]));
    pipeline.until("caught-up").await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let mut session = server.session().unwrap();
            std::thread::spawn(move || {
                // Every second one may have been there, as far as its statement says, and is read.
                let maybe = if n % 2 == 0 { "IF NOT EXISTS " } else { "" };
                session.run(&format!("CREATE TABLE {maybe}d.n{n} (id INT PRIMARY KEY, v INT)")).unwrap();
                for id in 0..150 {
                    session.run(&format!("INSERT INTO d.n{n} VALUES ({id}, 0)")).unwrap();
                    session
                        .run(&format!(
                            "UPDATE d.n{n} SET v = v + 1 WHERE id = {}; INSERT INTO d.t VALUES ({}, 1)",
                            id / 2,
                            n * 1000 + id
                        ))
                        .unwrap();
                }
                session.run(&format!("ALTER TABLE d.n{n} ADD w INT; UPDATE d.n{n} SET w = 1 WHERE id < 10")).unwrap();
            })
        })
        .collect();
    let mut random = Random::new(11);
    while writers.iter().any(|w| !w.is_finished()) {
        pipeline.step().await.unwrap();
        if random.chance(20) {
            pipeline.barrier().unwrap();
        }
        if random.chance(3) && pipeline.crashes < 20 {
            pipeline.crash();
        }
    }
    writers.into_iter().for_each(|w| w.join().unwrap());
    caught_up(&server, &mut pipeline).await;
    for table in (0..8).map(|n| format!("d.n{n}")).chain(["d.t".to_owned()]) {
        assert_same(&server, &pipeline.sink, &table, 1);
    }
    assert!([1, 3, 5, 7].iter().any(|n| reads(&pipeline, &format!("d.n{n}")) == 0), "no creation was met");
    pipeline.barrier().unwrap();
    pipeline.crash();
    sql(&server, "INSERT INTO d.n3 VALUES (999, 9, 9)").unwrap();
    caught_up(&server, &mut pipeline).await;
    assert_same(&server, &pipeline.sink, "d.n3", 1);
}

/// A table that is added to `tables` gets its snapshot beside the stream, and the others do not notice; one that is left
/// out is forgotten, and begins anew when it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_f46_tables_are_added_and_removed_on_restart() {
    for kind in Kind::ALL {
        f24_f46_tables_are_added_and_removed_on_restart_on(own_on(kind)).await;
    }
}

async fn f24_f46_tables_are_added_and_removed_on_restart_on(server: Server) {
    sql(&server, "CREATE DATABASE d; USE d; CREATE TABLE a (id INT PRIMARY KEY, v INT); CREATE TABLE b LIKE a; INSERT INTO a SELECT seq, 1 FROM seq_1_to_500; \
                INSERT INTO b SELECT seq, 2 FROM seq_1_to_500").unwrap();
    let chunks = [("scan.incremental.snapshot.chunk.size", "50")];
    let mut pipeline = Pipeline::new(source(&server, "d.a", &chunks));
    pipeline.until("caught-up").await.unwrap();
    pipeline.crash();
    // What happens to it before it joins is in its snapshot, whatever it was.
    sql(&server, "USE d; UPDATE b SET v = 3 WHERE id < 100; ALTER TABLE b ADD w INT FIRST; UPDATE b SET w = id; DELETE FROM b WHERE id > 490; INSERT INTO a VALUES (501, 1)").unwrap();
    pipeline.source = source(&server, "d.a, d.b", &chunks);
    let mut events = 0;
    while !pipeline.events.iter().skip(2).any(|e| *e == "caught-up") {
        pipeline.step().await.unwrap();
        events += 1;
        if events % 7 == 0 {
            sql(&server, &format!("UPDATE d.b SET v = v + 1 WHERE id % 7 = {}", events % 5)).unwrap();
            pipeline.barrier().unwrap();
            pipeline.crash();
        }
        assert!(events < 3000);
    }
    caught_up(&server, &mut pipeline).await;
    assert_same(&server, &pipeline.sink, "d.a", 1);
    let told = pipeline.changes.iter().filter(|c| *c.after.id.table == *"b" && c.before.is_none()).count();
    assert!(told >= 1 && reads(&pipeline, "d.a") == 500 && reads(&pipeline, "d.b") == 490, "{told}");
    same_by_second(&server, &pipeline, "d.b");
    pipeline.barrier().unwrap();
    pipeline.crash();
    pipeline.source = source(&server, "d.a", &chunks);
    sql(&server, "DELETE FROM d.b WHERE id < 400; INSERT INTO d.a VALUES (502, 1)").unwrap();
    caught_up(&server, &mut pipeline).await;
    assert_same(&server, &pipeline.sink, "d.a", 1);
    pipeline.sink.rows.remove("d.b");
    pipeline.barrier().unwrap();
    pipeline.crash();
    pipeline.source = source(&server, "d.a, d.b", &chunks);
    pipeline.open().await.unwrap();
    while pipeline.sink.count("d.b") < 91 {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    same_by_second(&server, &pipeline, "d.b");
    let versions: Vec<_> =
        pipeline.changes.iter().filter(|c| *c.after.id.table == *"b").map(|c| c.after.version).collect();
    assert!(versions.is_sorted() && versions.first() < versions.last(), "{versions:?}");
}

/// The key is the second column.
fn same_by_second(server: &Server, pipeline: &Pipeline, table: &str) {
    let expected: Vec<Vec<String>> = rows_of(server, table, 2).into_values().collect();
    let mut actual: Vec<Vec<String>> = pipeline.sink.rows[table].values().cloned().collect();
    let mut expected = expected;
    actual.sort();
    expected.sort();
    assert_eq!(actual, expected);
}

/// With `latest-offset` a table that is added is captured from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_snapshot_a_table_joins_empty_handed() {
    for kind in Kind::ALL {
        without_a_snapshot_a_table_joins_empty_handed_on(own_on(kind)).await;
    }
}

async fn without_a_snapshot_a_table_joins_empty_handed_on(server: Server) {
    sql(&server, "CREATE DATABASE d; USE d; CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b LIKE a; INSERT INTO b VALUES (1)").unwrap();
    let latest = [("scan.startup.mode", "latest-offset")];
    let mut pipeline = Pipeline::new(source(&server, "d.a", &latest));
    pipeline.until("caught-up").await.unwrap();
    pipeline.crash();
    pipeline.source = source(&server, "d.a, d.b", &latest);
    pipeline.until("caught-up").await.unwrap();
    sql(&server, "INSERT INTO d.b VALUES (2); CREATE TABLE d.c LIKE d.b; RENAME TABLE d.c TO d.e").unwrap();
    caught_up(&server, &mut pipeline).await;
    let rows: Vec<_> = pipeline.sink.rows["d.b"].keys().cloned().collect();
    assert_eq!(rows, [["2"]]);
}

/// What is switched off is not captured, and said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_tables_can_be_left_alone() {
    for kind in Kind::ALL {
        new_tables_can_be_left_alone_on(own_on(kind)).await;
    }
}

async fn new_tables_can_be_left_alone_on(server: Server) {
    sql(&server, "CREATE DATABASE d; USE d; CREATE TABLE a (id INT PRIMARY KEY)").unwrap();
    let off = [("scan.newly-added-table.enabled", "false"), ("scan.binlog.newly-added-table.enabled", "false")];
    let mut pipeline = Pipeline::new(source(&server, r"d.\.*", &off));
    pipeline.until("caught-up").await.unwrap();
    sql(&server, "USE d; CREATE TABLE b LIKE a; INSERT INTO b VALUES (1); INSERT INTO a VALUES (1)").unwrap();
    caught_up(&server, &mut pipeline).await;
    pipeline.crash();
    sql(&server, "USE d; INSERT INTO b VALUES (2); INSERT INTO a VALUES (2)").unwrap();
    caught_up(&server, &mut pipeline).await;
    assert_eq!((pipeline.sink.count("d.a"), pipeline.sink.count("d.b"), pipeline.changes.len()), (2, 0, 0));
}

/// A table that was made without being logged joins with its first row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_whose_creation_is_not_logged_joins() {
    for kind in Kind::ALL {
        a_table_whose_creation_is_not_logged_joins_on(own_on(kind)).await;
    }
}

async fn a_table_whose_creation_is_not_logged_joins_on(server: Server) {
    sql(&server, "CREATE DATABASE d; USE d; CREATE TABLE a (id INT PRIMARY KEY)").unwrap();
    let mut pipeline = Pipeline::new(source(&server, r"d.\.*", &[]));
    pipeline.until("caught-up").await.unwrap();
    sql(&server, "USE d; SET sql_log_bin = 0; CREATE TABLE b (id INT PRIMARY KEY); INSERT INTO b VALUES (1); SET sql_log_bin = 1; INSERT INTO b VALUES (2); INSERT INTO b VALUES (3)").unwrap();
    caught_up(&server, &mut pipeline).await;
    assert_same(&server, &pipeline.sink, "d.b", 1);
}

/// What happens to a table while its snapshot is under way: emptied, dropped and made anew, replaced, another key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_change_while_their_snapshot_is_under_way() {
    for kind in Kind::ALL {
        let pauses: &[u32] = if kind == Kind::MariaDb { &[1, 6] } else { &[4] };
        change_under_way(own_on(kind), pauses).await;
    }
}

async fn change_under_way(server: Server, pauses: &[u32]) {
    for (n, statements) in [
        "TRUNCATE t; INSERT INTO t SELECT seq, 7 FROM seq_1_to_30",
        "DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY, w INT, v INT); INSERT INTO t SELECT seq, 1, 2 FROM seq_1_to_100",
        "DROP TABLE t",
        "CREATE TABLE o (id INT PRIMARY KEY, v INT); INSERT INTO o SELECT seq, 9 FROM seq_100_to_300; RENAME TABLE t TO gone, o TO t; INSERT INTO t VALUES (1, 1)",
        "ALTER TABLE t DROP PRIMARY KEY, ADD COLUMN k INT NOT NULL DEFAULT 0, ADD PRIMARY KEY (v, id); UPDATE t SET v = v + 5 WHERE id < 30",
        "ALTER TABLE t ADD w INT FIRST; UPDATE t SET w = 1 WHERE id % 3 = 0; ALTER TABLE t DROP v; DELETE FROM t WHERE id % 5 = 0",
        "RENAME TABLE t TO away; RENAME TABLE away TO t; UPDATE t SET v = 5 WHERE id < 50",
    ]
    .into_iter()
    .enumerate()
    {
        for &pause in pauses {
            let database = format!("d{n}_{pause}");
            sql(&server, &format!("CREATE DATABASE {database}; USE {database}; CREATE TABLE t (id INT PRIMARY KEY, v INT NOT NULL); CREATE TABLE u LIKE t; INSERT INTO t SELECT seq, 1 FROM seq_1_to_600; INSERT INTO u SELECT seq, 1 FROM seq_1_to_200")).unwrap();
            let options = [("scan.incremental.snapshot.chunk.size", "20"), ("scan.incremental.snapshot.parallelism", "2")];
            let mut pipeline = Pipeline::new(source(&server, &format!("{database}.[tu]"), &options));
            for _ in 0..pause {
                pipeline.step().await.unwrap();
            }
            sql(&server, &format!("USE {database}; {statements}; INSERT INTO u VALUES (1000, 1)")).unwrap();
            for step in 0..40 {
                if pipeline.step().await.unwrap() == "idle" {
                    break;
                }
                if step % 9 == 0 {
                    pipeline.barrier().unwrap();
                    pipeline.crash();
                }
            }
            caught_up(&server, &mut pipeline).await;
            let table = format!("{database}.t");
            assert_same(&server, &pipeline.sink, &format!("{database}.u"), 1);
            match n {
                2 => assert_eq!(pipeline.sink.count(&table), 0),
                4 => assert_eq!(pipeline.sink.count(&table), 600),
                5 => assert_eq!(pipeline.sink.count(&table), 480),
                _ => assert_same(&server, &pipeline.sink, &table, 1),
            }
        }
    }
}

/// The columns of `d.t`.
fn columns(server: &Server) -> String {
    let sql = "SELECT GROUP_CONCAT(COLUMN_NAME) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'd' AND TABLE_NAME = 't'";
    server.session().unwrap().run(sql).unwrap()[0][0].clone().unwrap()
}

/// The statements of gh-ost (v1.1) for one migration: the copy is written by a client that reads the log.
fn gh_ost(server: &Server, alter: &str) {
    let columns = columns(server);
    sql(server, &format!("USE d; DROP TABLE IF EXISTS _t_ghc, _t_gho; \
        CREATE /* gh-ost */ TABLE `d`.`_t_ghc` (id bigint unsigned auto_increment, last_update timestamp not null DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, hint varchar(64) charset ascii not null, value varchar(4096) charset ascii not null, primary key(id), unique key hint_uidx(hint)) auto_increment=256; \
        CREATE /* gh-ost */ TABLE `d`.`_t_gho` LIKE `d`.`t`; ALTER /* gh-ost */ TABLE `d`.`_t_gho` {alter}; \
        INSERT /* gh-ost */ INTO _t_ghc (id, hint, value) VALUES (2, 'state', 'GhostTableMigrated'); \
        INSERT /* gh-ost */ IGNORE INTO _t_gho ({columns}) SELECT {columns} FROM t; \
        CREATE /* gh-ost */ TABLE `d`.`_t_del` (id int auto_increment primary key) engine=InnoDB comment='ghost-cut-over-sentry'; \
        DROP TABLE IF EXISTS `d`.`_t_del`; \
        RENAME /* gh-ost */ TABLE `d`.`t` TO `d`.`_t_del`, `d`.`_t_gho` TO `d`.`t`; \
        DROP TABLE IF EXISTS _t_ghc; DROP /* gh-ost */ TABLE IF EXISTS `d`.`_t_del`")).unwrap();
}

/// The statements of pt-online-schema-change (3.5) for one migration: the copy is written by triggers.
fn pt_osc(server: &Server, alter: &str) {
    let columns = columns(server);
    let definition = server.session().unwrap().run("SHOW CREATE TABLE d.t").unwrap()[0][1].clone().unwrap();
    let definition = definition.replacen("`t`", "`d`.`_t_new`", 1);
    sql(server, &format!("USE d; {definition}; ALTER TABLE `d`.`_t_new` {alter}; \
        CREATE TRIGGER `pt_osc_d_t_del` AFTER DELETE ON `d`.`t` FOR EACH ROW DELETE IGNORE FROM `d`.`_t_new` WHERE `d`.`_t_new`.`id` <=> OLD.`id`; \
        INSERT LOW_PRIORITY IGNORE INTO `d`.`_t_new` ({columns}) SELECT {columns} FROM `d`.`t` LOCK IN SHARE MODE /*pt-online-schema-change 1 copy table*/; \
        ANALYZE TABLE `d`.`_t_new` /* pt-online-schema-change */; \
        RENAME TABLE `d`.`t` TO `d`.`_t_old`, `d`.`_t_new` TO `d`.`t`; DROP TABLE IF EXISTS `d`.`_t_old`; \
        DROP TRIGGER IF EXISTS `d`.`pt_osc_d_t_del`")).unwrap();
}

async fn online(kind: Kind, tables: &str, option: &str, away: bool) -> (Server, Pipeline) {
    let server = own_on(kind);
    sql(&server, "CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t SELECT seq, 1 FROM seq_1_to_100").unwrap();
    let options = [("scan.parse.online.schema.changes.enabled", option)];
    let mut pipeline = Pipeline::new(source(&server, tables, &options));
    pipeline.until("caught-up").await.unwrap();
    for round in 0..2 {
        if away {
            pipeline.crash();
        }
        gh_ost(&server, &format!("ADD COLUMN g{round} INT, MODIFY v BIGINT"));
        sql(
            &server,
            &format!("INSERT INTO d.t (id, v) VALUES (20{round}, 1); UPDATE d.t SET g{round} = 5 WHERE id = 20{round}"),
        )
        .unwrap();
        pt_osc(&server, &format!("ADD COLUMN p{round} VARCHAR(9) FIRST"));
        sql(
            &server,
            &format!("INSERT INTO d.t (id, v) VALUES (30{round}, 1); DELETE FROM d.t WHERE id = {}", round + 1),
        )
        .unwrap();
        if !away {
            caught_up(&server, &mut pipeline).await;
        }
    }
    caught_up(&server, &mut pipeline).await;
    (server, pipeline)
}

fn rows_by_id(server: &Server, pipeline: &Pipeline) {
    let mut session = server.session().unwrap();
    let count = session.number("SELECT COUNT(*) FROM d.t").unwrap();
    assert_eq!(pipeline.sink.count("d.t") as i64, count);
    let shape = pipeline.changes.iter().rev().find(|c| *c.after.id.table == *"t").unwrap();
    let names: Vec<_> = shape.after.arrow.fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["p1", "p0", "id", "v", "g0", "g1"]);
    for row in session.run("SELECT * FROM d.t").unwrap() {
        let row: Vec<String> = row.into_iter().map(|c| c.unwrap_or_else(|| "NULL".into())).collect();
        let found = pipeline.sink.rows["d.t"].get(&row[2..3]);
        assert!(found.is_some_and(|found| same_row(found, &row)), "{row:?}, sink {found:?}");
    }
}

/// F44: with the option, online schema changes one after another are changes of columns, and no row is read again; their
/// copies are not captured, even if the pattern means them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f44_online_schema_changes_are_followed() {
    for (kind, tables, away) in [
        (Kind::MariaDb, "d.t", false),
        (Kind::MariaDb, r"d.\.*", false),
        (Kind::MariaDb, "d.t", true),
        (Kind::Mysql57, "d.t", true),
        (Kind::MysqlNewest, r"d.\.*", false),
    ] {
        let (server, pipeline) = online(kind, tables, "true", away).await;
        rows_by_id(&server, &pipeline);
        assert_eq!((reads(&pipeline, "d.t"), pipeline.changes.len()), (100, 4), "{tables} {away}");
        assert_eq!(pipeline.sink.rows.keys().collect::<Vec<_>>(), ["d.t"]);
    }
}

/// Without it, the table that takes the place is another table: it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f44_without_the_option_the_copy_is_read() {
    for (kind, tables) in [(Kind::MariaDb, "d.t"), (Kind::MariaDb, r"d.\.*"), (Kind::MysqlNewest, "d.t")] {
        let (server, pipeline) = online(kind, tables, "false", false).await;
        rows_by_id(&server, &pipeline);
        assert!(reads(&pipeline, "d.t") > 100);
    }
}

/// A view is listed among tables and renamed as they are, and a sequence is a table with a row: they are none (F43).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_looks_like_a_table_does_not_join() {
    for kind in Kind::ALL {
        let server = support::own(&Options::default().on(kind));
        server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1)").unwrap();
        let mut pipeline = Pipeline::new(source(&server, r"d.\.*", &[]));
        pipeline.until("caught-up").await.unwrap();
        server
            .sql("CREATE VIEW d.v AS SELECT * FROM d.t; RENAME TABLE d.v TO d.w; INSERT INTO d.t VALUES (2)")
            .unwrap();
        if server.family() == Family::MariaDb {
            server.sql("CREATE SEQUENCE d.s; SELECT NEXTVAL(d.s); RENAME TABLE d.s TO d.q; SELECT NEXTVAL(d.q); INSERT INTO d.t VALUES (3)").unwrap();
        }
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        assert!(pipeline.changes.is_empty(), "{:?}", pipeline.changes);
        assert_same(&server, &pipeline.sink, "d.t", 1);
    }
}

/// A table that gets a history is refused while the stream runs as it is at a start: some of its rows would be of the past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn system_versioned_tables_are_refused_by_name() {
    let server = support::own(&Options::default());
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)").unwrap();
    let explicit = "CREATE TABLE d.w (id INT PRIMARY KEY, a TIMESTAMP(6) GENERATED ALWAYS AS ROW START, b TIMESTAMP(6) GENERATED ALWAYS AS ROW END, \
                    PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING";
    for statement in ["ALTER TABLE d.t ADD SYSTEM VERSIONING", explicit] {
        let mut pipeline = Pipeline::new(source(&server, r"d.\.*", &[]));
        pipeline.until("caught-up").await.unwrap();
        server.sql(statement).unwrap();
        let error = failure(&mut pipeline).await;
        assert_eq!(error.code(), dujiang_core::Code::NotSupported, "{error:?}");
        assert!(error.message().ends_with("SYSTEM VERSIONED"), "{error:?}");
        if statement != explicit {
            dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
            server.sql("ALTER TABLE d.t DROP SYSTEM VERSIONING").unwrap();
        }
    }
}
