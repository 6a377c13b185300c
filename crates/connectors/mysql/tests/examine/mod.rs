//! What `doctor` says of a source: every finding is provoked, and the statements it names mend it.

use crate::source::harness::{self, Pipeline};
use crate::support::{own, reads_as_written};
use dujiang_core::connector::PipelineOptions;
use dujiang_core::examine::{Examination, Outcome, Visit};
use dujiang_core::options::{Place, RawOption};
use dujiang_core::{Code, Error};
use dujiang_mysql::SPECS;
use dujiang_mysql::client::Connection;
use dujiang_scratch::{Family, Kind, Options, Server};
use dujiang_testkit::examination::{complaints, in_order, outcome, remedies, visit};

const PASSWORD: &str = "hunter2-hunter2";

async fn examine_as(port: u16, user: &str, tables: &str, more: &[(&str, &str)], visit: &Visit) -> Examination {
    let (port, password) = (port.to_string(), if user == "root" { "" } else { PASSWORD });
    let must = [
        ("hostname", "127.0.0.1"),
        ("port", &*port),
        ("username", user),
        ("password", password),
        ("tables", tables),
        ("server-id", "4711"),
    ];
    let raw: Vec<_> = must.iter().chain(more).map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
    let pipeline = PipelineOptions { name: "test".into(), parallelism: 1, memory_limit: 128 << 20 };
    let examination = (SPECS[1].build)(&raw, &pipeline).unwrap().examine(visit).await;
    assert!(!format!("{examination:?}").contains(PASSWORD), "{examination:?}");
    examination
}

async fn examine(server: &Server, tables: &str) -> Examination {
    examine_as(server.port(), "root", tables, &[], &visit(0)).await
}

/// The one complaint.
fn only<'a>(examination: &'a Examination, name: &str, code: Code) -> &'a Error {
    let all = complaints(examination);
    assert_eq!(all.iter().map(|c| (c.0, c.2.code())).collect::<Vec<_>>(), [(name, code)], "{examination:?}");
    all[0].2
}

/// Runs what mends the complaints; returns how many statements that were.
fn mend(server: &Server, examination: &Examination) -> usize {
    let statements = remedies(examination);
    for statement in &statements {
        server.sql(statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    statements.len()
}

/// A server of the test's own with a database `shop` of one table.
fn shop(options: &Options) -> Server {
    let server = own(options);
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, v INT)").unwrap();
    server
}

#[tokio::test]
async fn a_good_server_is_in_order() {
    for kind in Kind::ALL {
        let server = shop(&Options::default().on(kind));
        let examination = examine(&server, "shop.orders").await;
        in_order(&examination);
        let family = if kind.family() == Family::MariaDb { "MariaDB 1" } else { "MySQL " };
        assert!(examination.of.starts_with(family), "{}", examination.of);
        assert_eq!(examination.expected_bytes, Some(16384));
    }
    let server = shop(&Options::default());
    let examination = examine(&server, "shop.orders").await;
    let names: Vec<_> = examination.checks.iter().map(|check| check.name).collect();
    for name in ["connection", "login", "binlog", "retention", "gtid", "server id", "keys", "clock", "position"] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
}

#[tokio::test]
async fn every_setting_is_mended_by_the_statement_told() {
    let both = [
        ("binlog_format='MIXED'", "binlog format", Code::BinlogFormat, true),
        ("binlog_row_image='NOBLOB'", "row images", Code::BinlogRowImage, true),
        ("binlog_checksum='NONE'", "checksums", Code::NoChecksums, false),
    ];
    let days = ("expire_logs_days=1", "retention", Code::LogRetention, false);
    let metadata = |what| (what, "column names", Code::LogMetadata, false);
    for kind in Kind::ALL {
        let more = match kind {
            Kind::MariaDb | Kind::MariaDbNewest => vec![days, metadata("binlog_row_metadata='NO_LOG'")],
            Kind::Mysql57 => vec![days],
            Kind::MysqlNewest => vec![
                ("binlog_expire_logs_seconds=86400", "retention", Code::LogRetention, false),
                metadata("binlog_row_metadata='MINIMAL'"),
            ],
        };
        let mut server = shop(&Options::default().on(kind));
        for (setting, name, code, finding) in both.into_iter().chain(more) {
            server.sql(&format!("SET GLOBAL {setting}")).unwrap();
            let examination = examine(&server, "shop.orders").await;
            let error = only(&examination, name, code);
            let elsewhere = [Code::BinlogFormat, Code::BinlogRowImage].contains(&code);
            if kind == Kind::MariaDb && !elsewhere {
                reads_as_written(error, &[]);
            }
            assert_eq!(complaints(&examination)[0].1, finding, "{kind:?} {setting}");
            assert_eq!(mend(&server, &examination), 1, "{kind:?} {setting}");
            in_order(&examine(&server, "shop.orders").await);
        }
        if kind == Kind::MysqlNewest {
            server.restart().unwrap();
            in_order(&examine(&server, "shop.orders").await);
        }
    }
}

#[tokio::test]
async fn gtids_are_switched_on_by_the_steps_told() {
    for kind in Kind::MYSQL {
        let server = shop(&Options { gtid: false, ..Options::default().on(kind) });
        let examination = examine(&server, "shop.orders").await;
        let error = only(&examination, "gtid", Code::NoGtid);
        assert!(error.remedies().iter().all(|remedy| remedy.caution.is_some()), "{error:?}");
        if kind == Kind::Mysql57 {
            reads_as_written(error, &[]);
        }
        assert_eq!(mend(&server, &examination), 4);
        in_order(&examine(&server, "shop.orders").await);
    }
}

#[tokio::test]
async fn a_log_that_is_shorter_than_the_snapshot_is_a_finding() {
    let server = shop(&Options::default());
    // 4 seconds, by the careful guess.
    server
        .sql(
            "USE shop; INSERT INTO orders SELECT seq, seq FROM seq_1_to_210000; ANALYZE TABLE shop.orders;
              SET GLOBAL binlog_expire_logs_seconds = 5",
        )
        .unwrap();
    let examination = examine(&server, "shop.orders").await;
    only(&examination, "retention", Code::LogRetention);
    assert!(complaints(&examination)[0].1, "{examination:?}");
    mend(&server, &examination);
    in_order(&examine(&server, "shop.orders").await);
}

#[tokio::test]
async fn a_server_without_binlog_or_with_filters_is_told_to_change_its_file() {
    let server = shop(&Options { binlog: false, ..Options::default() });
    let examination = examine(&server, "shop.orders").await;
    let found = complaints(&examination);
    assert_eq!(found[0].2.code(), Code::BinlogOff);
    assert!(found[0].2.remedies().is_empty() && found[0].2.help_text().unwrap().contains("log_bin=binlog"));
    let server = shop(&Options::default().arg("--binlog-ignore-db=shop"));
    only(&examine(&server, "shop.orders").await, "binlog filters", Code::BinlogOff);
}

#[tokio::test]
async fn tables_are_mended_by_statements_that_ask_for_care() {
    for kind in [Kind::MariaDb, Kind::Mysql57] {
        tables_are_mended(&shop(&Options::default().on(kind)), kind).await;
    }
}

async fn tables_are_mended(server: &Server, kind: Kind) {
    server
        .sql("USE shop; CREATE TABLE log (row_id INT, t TEXT); INSERT INTO log VALUES (1, 'x');
              CREATE TABLE items (id INT PRIMARY KEY, `order` INT, CONSTRAINT `f``k` FOREIGN KEY (`order`) REFERENCES orders (id) ON DELETE CASCADE)")
        .unwrap();
    let examination = examine(server, r"shop.\.*").await;
    let found = complaints(&examination);
    assert_eq!(found.iter().map(|c| c.2.code()).collect::<Vec<_>>(), [Code::NoKey, Code::CascadingKey]);
    assert!(found.iter().flat_map(|c| c.2.remedies()).all(|remedy| remedy.caution.is_some()));
    assert_eq!(mend(server, &examination), 3);
    in_order(&examine(server, r"shop.\.*").await);
    // Whoever names no columns does not see the new one, where the server can hide it.
    let insert = if kind == Kind::Mysql57 { "INSERT INTO shop.log (row_id, t)" } else { "INSERT INTO shop.log" };
    server.sql(&format!("{insert} VALUES (2, 'y')")).unwrap();
    assert_eq!(server.sql("SELECT row_id_2 FROM shop.log ORDER BY 1").unwrap(), "1\n2\n");
}

#[tokio::test]
async fn a_user_without_any_privilege_gets_all_of_them_by_what_is_told() {
    for kind in Kind::ALL {
        a_user_gets_all(&shop(&Options::default().on(kind)), kind).await;
    }
}

async fn a_user_gets_all(server: &Server, kind: Kind) {
    server.sql(&format!("CREATE USER 'it''s me'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")).unwrap();
    let me = async || examine_as(server.port(), "it's me", "shop.orders", &[], &visit(0)).await;
    let examination = me().await;
    let names: Vec<_> = complaints(&examination).iter().map(|c| c.0).collect();
    assert_eq!(names, ["binlog privileges", "tables", "locks"], "{examination:#?}");
    mend(server, &examination);
    let examination = me().await;
    assert!(complaints(&examination).is_empty(), "{examination:#?}");
    let shown = matches!(outcome(&examination, "server id"), Outcome::Ok(_));
    assert_eq!(shown, kind.family() == Family::MySql, "{examination:#?}");
}

#[tokio::test]
async fn a_server_id_in_use_is_told_unless_it_is_our_own() {
    for kind in [Kind::MariaDb, Kind::Mysql57, Kind::MysqlNewest] {
        a_server_id_is_told(&shop(&Options::default().on(kind))).await;
    }
}

async fn a_server_id_is_told(server: &Server) {
    let endpoint = crate::support::root(server);
    let mut other = Connection::connect(&endpoint).await.unwrap();
    other.register_replica(4711).await.unwrap();
    only(&examine(server, "shop.orders").await, "server id", Code::ServerIdTaken);
    let running = Visit { running: true, ..visit(0) };
    in_order(&examine_as(server.port(), "root", "shop.orders", &[], &running).await);
    other.close().await;
    let own_id = examine_as(server.port(), "root", "shop.orders", &[("server-id", "1")], &visit(0)).await;
    let found = complaints(&own_id);
    assert!(found.iter().any(|c| c.2.code() == Code::ServerIdTaken && c.2.message().contains("the server's own")));
}

#[tokio::test]
async fn clocks_that_differ_are_told() {
    let server = shop(&Options::default());
    for (moved, words) in [(3600, "3600 s behind"), (-3600, "3600 s ahead of")] {
        let examination = examine_as(server.port(), "root", "shop.orders", &[], &visit(moved)).await;
        let error = only(&examination, "clock", Code::ClockSkew);
        assert!(error.message().contains(words), "{error}");
        if moved > 0 {
            reads_as_written(error, &[]);
        }
    }
}

#[tokio::test]
async fn a_position_that_is_purged_is_told_before_a_run() {
    let server = shop(&Options::default());
    let mut pipeline = Pipeline::new(harness::source(&server, "shop.orders", &[]));
    pipeline.until("caught-up").await.unwrap();
    let position = pipeline.position.clone();
    let with = Visit { position, ..visit(0) };
    in_order(&examine_as(server.port(), "root", "shop.orders", &[], &with).await);
    drop(pipeline);
    server.sql("INSERT INTO shop.orders VALUES (1, 1); RESET MASTER").unwrap();
    let examination = examine_as(server.port(), "root", "shop.orders", &[], &with).await;
    let (name, finding, error) = complaints(&examination)[0];
    assert!(name == "position" && finding, "{examination:?}");
    assert!(matches!(error.code(), Code::PositionLost | Code::OtherServer), "{error:?}");
}

#[tokio::test]
async fn without_a_session_the_rest_is_not_looked_at() {
    let server = shop(&Options::default());
    let refused = examine_as(server.port(), "nobody", "shop.orders", &[], &visit(0)).await;
    assert!(matches!(outcome(&refused, "connection"), Outcome::Ok(_)));
    only(&refused, "login", Code::LoginRefused);
    assert!(matches!(outcome(&refused, "the rest"), Outcome::Unknown(_)));
    let nobody = examine_as(dujiang_scratch::free_port(), "root", "shop.orders", &[], &visit(0)).await;
    only(&nobody, "connection", Code::SourceUnreachable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f55_generated_columns_that_the_log_will_lack_are_told_beforehand() {
    let create = "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v INT, w INT AS (v * 2) STORED); \
                  CREATE TABLE shop.u (id INT PRIMARY KEY, v INT DEFAULT (1 + 1))";
    for (kind, told) in [(Kind::MariaDbNewest, true), (Kind::MariaDb, false)] {
        let server = own(&Options::default().on(kind));
        server.sql(create).unwrap();
        let examination = examine(&server, r"shop.\.*").await;
        let advice = complaints(&examination).into_iter().find(|c| c.0 == "generated columns").map(|c| c.2);
        assert_eq!(advice.is_some(), told, "{kind:?}: {examination:?}");
        let Some(error) = advice else { continue };
        assert_eq!((error.code(), error.facts()), (Code::BinlogRowImage, &[("column", "shop.t.w".to_owned())][..]));
    }
}
