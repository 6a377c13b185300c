//! `source.type: oceanbase` against a stand-in for its proxy and Binlog Service.

mod dump;
mod kernel;
mod snapshot;
mod stand_in;
mod wire;

use crate::source::harness::{Pipeline, UntilGtid, last_gtid, purge, rows_of, until_nobody_reads};
use crate::support::own;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::examine::{Outcome, Visit};
use dujiang_core::options::{Place, Presence, Problem, RawOption};
use dujiang_core::source::Source;
use dujiang_core::{Code, Lineage};
use dujiang_mysql::SPECS;
use dujiang_scratch::{Kind, Options, Server};
use stand_in::{Manners, StandIn};
use std::sync::Arc;

fn build(port: u16, user: &str, more: &[(&str, &str)]) -> Result<Box<dyn Source>, Vec<Problem>> {
    let port = port.to_string();
    let must = [
        ("hostname", "127.0.0.1"),
        ("port", &*port),
        ("username", user),
        ("password", ""),
        ("tables", r"shop.\.*"),
        ("heartbeat.interval", "1s"),
    ];
    let raw: Vec<_> = must.iter().chain(more).map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
    let pipeline = PipelineOptions { name: "test".into(), parallelism: 1, memory_limit: 128 << 20 };
    assert_eq!(SPECS[2].kind, "oceanbase");
    (SPECS[2].build)(&raw, &pipeline)
}

/// A table for markers in a database of its own, so that its rows are none of those that are captured.
const MARKERS: (&str, &str) = ("scan.marker.table", "ops.marker");
const MARKER_TABLE: &str = "CREATE DATABASE ops; \
     CREATE TABLE ops.marker (pipeline VARCHAR(255) NOT NULL PRIMARY KEY, token CHAR(32) NOT NULL)";

fn source(port: u16) -> Box<dyn Source> {
    build(port, "root", &[("scan.startup.mode", "latest-offset")]).unwrap()
}

async fn tenant() -> (Server, StandIn) {
    let server = own(&Options::default().on(Kind::Mysql57));
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, v VARCHAR(9), f FLOAT)").unwrap();
    let stand_in = StandIn::before(&server, Manners::default()).await;
    (server, stand_in)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_followed_by_identifiers_alone() {
    let (server, service) = tenant().await;
    let mut pipeline = Pipeline::new(source(service.port));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO shop.orders VALUES (1, 'a', 1.5), (2, 'b', NULL), (3, 'c', 0)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    // Another file, as at another node of the service; nothing of it is in the position that counts.
    server
        .sql("FLUSH BINARY LOGS; UPDATE shop.orders SET v = 'x' WHERE id = 1; DELETE FROM shop.orders WHERE id = 2")
        .unwrap();
    pipeline.crash();
    server.sql("INSERT INTO shop.orders VALUES (4, 'd', 4)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    assert_eq!(pipeline.sink.rows["shop.orders"], rows_of(&server, "shop.orders", 1));
    // An idle tenant is caught up as soon as everything is read, although signs of life move nothing.
    pipeline.crash();
    pipeline.events.clear();
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(service.strange(), Vec::<u8>::new(), "commands that the service does not understand");
}

/// What a statement does not explain is looked up in the log, up to its end and no further: nothing comes behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_are_looked_up_in_an_idle_tenant() {
    let (server, service) = tenant().await;
    let mut pipeline = Pipeline::new(source(service.port));
    pipeline.until("caught-up").await.unwrap();
    let unlogged = "SET sql_log_bin = 0; ALTER TABLE shop.orders ADD COLUMN n INT; SET sql_log_bin = 1";
    server.sql(&format!("{unlogged}; ALTER TABLE shop.orders ADD COLUMN w INT")).unwrap();
    pipeline.until("schema-change").await.unwrap();
    let names: Vec<_> = pipeline.changes[0].after.arrow.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "v", "f", "n", "w"]);
}

/// Rows that foreign keys change are in the tenant's log: a table with such a key is captured from the start, and later on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_with_cascades_are_captured() {
    let (server, service) = tenant().await;
    let key = "FOREIGN KEY (o) REFERENCES shop.orders (id) ON DELETE CASCADE";
    let create = |name: &str| server.sql(&format!("CREATE TABLE shop.{name} (id INT PRIMARY KEY, o INT, {key})"));
    create("first").unwrap();
    let options = [("scan.startup.mode", "latest-offset"), ("scan.binlog.newly-added-table.enabled", "true")];
    let mut pipeline = Pipeline::new(build(service.port, "root", &options).unwrap());
    pipeline.until("caught-up").await.unwrap();
    create("second").unwrap();
    server.sql("INSERT INTO shop.orders VALUES (1, 'a', 1); INSERT INTO shop.second VALUES (7, 1)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    assert!(pipeline.has("shop.second", "7"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv5_a_task_made_anew_and_a_purged_log_are_refused() {
    let (server, service) = tenant().await;
    let mut pipeline = Pipeline::new(source(service.port));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO shop.orders VALUES (1, 'a', 1)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    pipeline.crash();
    // A file that is still being sent would be kept, and nothing were lost.
    until_nobody_reads(&server);
    server.sql("FLUSH BINARY LOGS; INSERT INTO shop.orders VALUES (2, 'b', 2); FLUSH BINARY LOGS").unwrap();
    purge(&server);
    // The service does not tell what it has purged before it is asked for it.
    let error = run_until_error(&mut pipeline).await;
    assert_eq!(error.code(), Code::PositionLost, "{error:?}");
    server.sql("RESET MASTER").unwrap();
    pipeline.crash();
    let error = run_until_error(&mut pipeline).await;
    assert_eq!(error.code(), Code::OtherServer, "{error:?}");
    assert!(error.message().contains("made anew"), "{error:?}");
}

async fn run_until_error(pipeline: &mut Pipeline) -> dujiang_core::Error {
    loop {
        if let Err(error) = pipeline.step().await {
            return error;
        }
    }
}

#[test]
fn a_beginning_that_cannot_be_exact_is_refused() {
    let refused = |more: &[(&str, &str)]| build(2883, "app@shop#prod", more).err().expect("a refusal").swap_remove(0);
    let problem = refused(&[]);
    assert_eq!(problem.code, Code::MarkerTable, "{problem:?}");
    assert!(problem.message.contains("`scan.marker.table`"), "{problem:?}");
    let problem = refused(&[("scan.startup.mode", "earliest-offset"), MARKERS]);
    assert_eq!(problem.code, Code::NotSupported, "{problem:?}");
    let problem = refused(&[("scan.marker.table", "marker")]);
    assert_eq!((problem.code, problem.place), (Code::BadValue, Place::CommandLine));
    assert_eq!(problem.message, "`scan.marker.table` is `marker`, not `database.table`");
    build(2883, "app", &[MARKERS]).unwrap();
    let port = SPECS[2].options.iter().find(|option| option.name == "port").unwrap();
    assert_eq!(port.presence, Presence::Default("2883"));
    assert!(SPECS[2].options.iter().any(|option| option.name == MARKERS.0));
}

struct Now;

impl dujiang_core::clock::Clock for Now {
    fn now_micros(&self) -> i64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64
    }
}

fn visit() -> Visit {
    Visit {
        pipeline: "test".into(),
        clock: Arc::new(Now),
        lineage: Some(Lineage("00112233aabbccdd".into())),
        position: None,
        running: false,
        expected_bytes: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_looks_at_the_service_and_not_at_the_settings() {
    let (_server, service) = tenant().await;
    let examination = source(service.port).examine(&visit()).await;
    let bad: Vec<_> = examination.checks.iter().filter(|check| !matches!(check.outcome, Outcome::Ok(_))).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(examination.of.starts_with("OceanBase ("), "{}", examination.of);
    // A server without a binlog answers as a tenant without the service does: with no row.
    let server = own(&Options { binlog: false, gtid: false, ..Options::default().on(Kind::Mysql57) });
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY)").unwrap();
    let service = StandIn::before(&server, Manners::default()).await;
    let examination = source(service.port).examine(&visit()).await;
    let binlog = examination.checks.iter().find(|check| check.name == "binlog").unwrap();
    let Outcome::Finding(error) = &binlog.outcome else { panic!("{examination:#?}") };
    assert_eq!(error.code(), Code::BinlogServiceOff);
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_in_oracle_mode_is_refused() {
    let (server, _) = tenant().await;
    let service = StandIn::before(&server, Manners { oracle: true, ..Manners::default() }).await;
    let examination = source(service.port).examine(&visit()).await;
    let binlog = examination.checks.iter().find(|check| check.name == "binlog").unwrap();
    let Outcome::Finding(error) = &binlog.outcome else { panic!("{examination:#?}") };
    assert_eq!(error.code(), Code::OracleMode);
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, &[]);
    assert_eq!(Pipeline::new(source(service.port)).step().await.unwrap_err().code(), Code::OracleMode);
}

/// What holds of OceanBase's log (rows that foreign keys change are in it) does not of another server's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_is_not_taken_for_a_tenant() {
    let (server, _service) = tenant().await;
    let error = source(server.port()).discover().await.unwrap_err();
    assert_eq!(error.code(), Code::NotADatabase, "{error:?}");
    assert!(error.help_text().is_some_and(|help| help.contains("type: mysql")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_tenant_and_cluster_are_the_proxys_business() {
    let (server, service) = tenant().await;
    let named = build(service.port, "root@shop#prod", &[("scan.startup.mode", "latest-offset")]).unwrap();
    let mut pipeline = Pipeline::new(named);
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO shop.orders VALUES (1, 'a', 1)").unwrap();
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    assert!(service.users().iter().all(|user| user == "root@shop#prod"), "{:?}", service.users());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_tells_how_to_make_the_table_for_markers() {
    let (server, service) = tenant().await;
    let examined = async || {
        let examination = build(service.port, "root", &[MARKERS]).unwrap().examine(&visit()).await;
        examination.checks.into_iter().find(|check| check.name == "marker table").unwrap().outcome
    };
    let Outcome::Finding(error) = examined().await else { panic!("no finding") };
    assert_eq!(error.code(), Code::MarkerTable);
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    server.sql("CREATE DATABASE ops").unwrap();
    let mut session = server.session().unwrap();
    let create = error.remedies().iter().find(|remedy| remedy.statement.starts_with("CREATE TABLE")).unwrap();
    session.run(&create.statement).unwrap();
    assert!(matches!(examined().await, Outcome::Ok(_)));
    assert_eq!(server.sql("SELECT COUNT(*) FROM ops.marker").unwrap(), "0\n", "doctor has written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_tells_when_old_rows_are_kept_too_short() {
    let (server, _) = tenant().await;
    let service = StandIn::before(&server, Manners { undo_retention: Some("60"), ..Manners::default() }).await;
    let examination = source(service.port).examine(&visit()).await;
    let outcome = &examination.checks.iter().find(|check| check.name == "undo retention").unwrap().outcome;
    let Outcome::Advice(error) = outcome else { panic!("{examination:#?}") };
    assert_eq!(error.code(), Code::SnapshotGone);
    assert_eq!(error.remedies()[0].statement, "ALTER SYSTEM SET undo_retention = 1800");
}
