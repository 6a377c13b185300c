//! What `doctor` says of a source: every finding is provoked, and the statements it names mend it.

use crate::source::harness::{self, Pipeline, own, with};
use dujiang_core::connector::PipelineOptions;
use dujiang_core::examine::{Examination, Outcome, Visit};
use dujiang_core::options::{Place, RawOption};
use dujiang_core::source::Source;
use dujiang_core::{Code, Error};
use dujiang_postgres::SPEC;
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};
use dujiang_testkit::examination::{complaints, in_order, outcome, remedies, visit};

const PASSWORD: &str = "hunter2-hunter2";

fn built(server: &Postgres, user: &str, tables: &str, more: &[(&str, &str)]) -> Box<dyn Source> {
    let (port, password) = (server.port().to_string(), if user == "postgres" { "" } else { PASSWORD });
    let must =
        [("hostname", "127.0.0.1"), ("port", &*port), ("username", user), ("password", password), ("tables", tables)];
    let raw: Vec<_> = must.iter().chain(more).map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
    let pipeline = PipelineOptions { name: "test".into(), parallelism: 1, memory_limit: 128 << 20 };
    (SPEC.build)(&raw, &pipeline).unwrap()
}

async fn examine_as(server: &Postgres, user: &str, tables: &str, more: &[(&str, &str)], visit: &Visit) -> Examination {
    let examination = built(server, user, tables, more).examine(visit).await;
    assert!(!format!("{examination:?}").contains(PASSWORD), "{examination:?}");
    examination
}

async fn examine(server: &Postgres) -> Examination {
    examine_as(server, "postgres", SHOP, &[], &visit(0)).await
}

const SHOP: &str = r"postgres.shop.\.*";

/// The one complaint.
#[track_caller]
fn only<'a>(examination: &'a Examination, name: &str, finding: bool, code: Code) -> &'a Error {
    let all = complaints(examination);
    let told: Vec<_> = all.iter().map(|c| (c.0, c.1, c.2.code())).collect();
    assert_eq!(told, [(name, finding, code)], "{examination:?}");
    all[0].2
}

/// Runs what mends the complaints; returns how many statements that were.
#[track_caller]
fn mend(server: &Postgres, examination: &Examination) -> usize {
    let statements = remedies(examination);
    for statement in &statements {
        server.sql(statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    statements.len()
}

/// One table in a schema of its own.
fn filled(server: Postgres) -> Postgres {
    server
        .sql("CREATE SCHEMA shop; CREATE TABLE shop.orders (id int PRIMARY KEY, v int); ALTER TABLE shop.orders REPLICA IDENTITY FULL")
        .unwrap();
    server
}

fn shop() -> Postgres {
    filled(own())
}

#[tokio::test]
async fn a_good_server_is_in_order() {
    for kind in PostgresKind::ALL {
        let server = filled(Postgres::start_with(&PostgresOptions::default().on(kind)).unwrap());
        let examination = examine(&server).await;
        in_order(&examination);
        assert!(examination.of.starts_with("PostgreSQL 1"), "{}", examination.of);
        assert!(examination.expected_bytes.is_some());
        let names: Vec<_> = examination.checks.iter().map(|check| check.name).collect();
        for name in ["connection", "log level", "slot", "log kept", "publication", "keys", "clock", "position"] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        assert_eq!(server.sql("SELECT count(*) FROM pg_replication_slots, pg_publication").unwrap().trim(), "0");
    }
}

#[tokio::test]
async fn the_log_level_is_mended_by_the_statement_told_and_a_restart() {
    let mut server = filled(with(&["wal_level=replica"]));
    only(&examine(&server).await, "log level", true, Code::WalLevel);
    mend(&server, &examine(&server).await);
    server.restart().unwrap();
    in_order(&examine(&server).await);
}

#[tokio::test]
async fn a_lack_of_slots_or_senders_is_told_before_a_run() {
    let server = filled(with(&["max_replication_slots=1", "max_wal_senders=1"]));
    server.sql("SELECT pg_create_physical_replication_slot('other', true)").unwrap();
    let examination = examine(&server).await;
    let error = only(&examination, "slot", true, Code::NoSlotsLeft);
    assert_eq!(error.remedies()[0].statement, "ALTER SYSTEM SET max_replication_slots = '10'");
    assert!(error.facts().iter().any(|(_, text)| text.starts_with("other, which holds back")), "{error:?}");
    let pipeline = {
        server.sql("SELECT pg_drop_replication_slot('other')").unwrap();
        let mut pipeline = Pipeline::new(harness::source(&server, "postgres.shop.orders", &[]));
        pipeline.until("caught-up").await.unwrap();
        pipeline
    };
    let examination = examine(&server).await;
    let told: Vec<_> = complaints(&examination).iter().map(|c| (c.0, c.2.code())).collect();
    assert_eq!(told, [("slot", Code::NoSlotsLeft), ("replication", Code::NoSlotsLeft)], "{examination:?}");
    drop(pipeline);
}

#[tokio::test]
async fn tables_are_mended_by_statements_that_ask_for_care() {
    let server = shop();
    server.sql("CREATE TABLE shop.log (row_id int, t text); INSERT INTO shop.log VALUES (1, 'x')").unwrap();
    let examination = examine(&server).await;
    let found = complaints(&examination);
    assert_eq!(
        found.iter().map(|c| (c.1, c.2.code())).collect::<Vec<_>>(),
        [(true, Code::ReplicaIdentity), (false, Code::NoKey)]
    );
    assert!(found.iter().flat_map(|c| c.2.remedies()).all(|remedy| remedy.caution.is_some()));
    assert_eq!(mend(&server, &examination), 2);
    in_order(&examine(&server).await);
    assert_eq!(server.sql("SELECT row_id_2 FROM shop.log").unwrap(), "1\n");
}

#[tokio::test]
async fn a_role_without_any_privilege_gets_all_of_them_by_what_is_told() {
    for kind in PostgresKind::ALL {
        let server = filled(Postgres::start_with(&PostgresOptions::default().on(kind)).unwrap());
        server
            .sql(&format!(
                "CREATE ROLE \"it's me\" LOGIN PASSWORD '{PASSWORD}'; ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY"
            ))
            .unwrap();
        let me = async || examine_as(&server, "it's me", SHOP, &[], &visit(0)).await;
        let examination = me().await;
        let names: Vec<_> = complaints(&examination).iter().map(|c| c.0).collect();
        assert_eq!(names, ["replication role", "table privileges", "row security", "publication"], "{examination:#?}");
        assert_eq!(mend(&server, &examination), 5);
        in_order(&me().await);
        // The publication that an owner of the tables made is used as it is.
        let options = [("username", "it's me"), ("password", PASSWORD), ("publication.name", "dujiang_test")];
        let mut pipeline = Pipeline::new(harness::source(&server, "postgres.shop.orders", &options));
        pipeline.until("caught-up").await.unwrap();
    }
}

#[tokio::test]
async fn a_publication_is_brought_up_to_date_by_what_is_told() {
    let server = shop();
    server
        .sql(
            "CREATE TABLE shop.parts (id int PRIMARY KEY) PARTITION BY RANGE (id); ALTER TABLE shop.parts REPLICA IDENTITY FULL;
             CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM (0) TO (9); ALTER TABLE shop.parts_1 REPLICA IDENTITY FULL;
             CREATE PUBLICATION mine FOR TABLE shop.parts WITH (publish = 'insert')",
        )
        .unwrap();
    let named = async || examine_as(&server, "postgres", SHOP, &[("publication.name", "mine")], &visit(0)).await;
    let examination = named().await;
    let error = only(&examination, "publication", true, Code::Publication);
    assert!(error.facts().contains(&("left out", "update, delete, truncate".into())), "{error:?}");
    // `plan` asks the same.
    let survey = built(&server, "postgres", SHOP, &[("publication.name", "mine")]).survey().await;
    assert_eq!(survey.refusals.iter().map(Error::remedies).collect::<Vec<_>>(), [error.remedies()], "{survey:?}");
    assert_eq!(mend(&server, &examination), 3);
    in_order(&named().await);
    server.sql("DROP PUBLICATION mine").unwrap();
    assert_eq!(mend(&server, &named().await), 1);
    in_order(&named().await);
}

/// A publication of somebody else may leave out columns and rows: that is no mistake, and it is told.
#[tokio::test]
async fn what_a_publication_leaves_out_is_told() {
    for server in harness::every() {
        let server = filled(server);
        server.sql("CREATE PUBLICATION mine FOR TABLE shop.orders (id) WHERE (id > 5)").unwrap();
        let options = [("publication.name", "mine"), ("replica-identity", "key")];
        let survey = built(&server, "postgres", SHOP, &options).survey().await;
        let told =
            ["`mine` publishes only rows of shop.orders where (id > 5)", "`mine` does not publish of shop.orders: v"];
        assert_eq!((survey.refusals.len(), &survey.warnings[..]), (0, &told.map(str::to_owned)[..]), "{survey:?}");
        let columns: Vec<&String> = survey.tables[0].schema.arrow.fields().iter().map(|field| field.name()).collect();
        assert_eq!(columns, ["id"]);
        let examination = examine_as(&server, "postgres", SHOP, &options, &visit(0)).await;
        let Outcome::Ok(found) = outcome(&examination, "publication") else { panic!("{examination:?}") };
        assert!(told.iter().all(|told| found.contains(told)), "{found}");
    }
}

/// A publication that the pipeline cannot make is told by `plan`, not only by the start.
#[tokio::test]
async fn a_publication_that_cannot_be_made_is_told_before() {
    let server = shop();
    server
        .sql(&format!("CREATE ROLE me LOGIN REPLICATION PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA shop TO me; GRANT SELECT ON shop.orders TO me"))
        .unwrap();
    let survey = built(&server, "me", SHOP, &[]).survey().await;
    let [error] = &survey.refusals[..] else { panic!("{survey:?}") };
    assert!(
        error.facts().contains(&("why it is not made by the pipeline", "the role does not own shop.orders".into()))
    );
    server.sql(&error.remedies()[0].statement).unwrap();
    assert!(built(&server, "me", SHOP, &[]).survey().await.refusals.is_empty());
    assert!(built(&server, "postgres", SHOP, &[("slot.name", "other")]).survey().await.refusals.is_empty());
}

#[tokio::test]
async fn a_log_that_is_kept_too_short_is_told_and_mended() {
    let server = filled(with(&[]));
    server.sql("SELECT pg_stat_reset_shared('wal'); ALTER SYSTEM SET max_slot_wal_keep_size = '100MB'").unwrap();
    server.reload().unwrap();
    // How much was written is counted once the session says so, at the latest after its end.
    let bulk = "CREATE TABLE bulk AS SELECT repeat('x', 500) FROM generate_series(1, 60000); SELECT pg_stat_force_next_flush()";
    server.sql(bulk).unwrap();
    let examination = examine(&server).await;
    let error = only(&examination, "log kept", false, Code::LogRetention);
    assert!(error.message().contains("100 MB"), "{error}");
    assert_eq!(mend(&server, &examination), 2);
    in_order(&examine(&server).await);
}

#[tokio::test]
async fn idle_slots_that_are_given_up_early_are_told_and_mended() {
    let server = filled(Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap());
    server.sql("ALTER SYSTEM SET idle_replication_slot_timeout = '2h'").unwrap();
    server.reload().unwrap();
    let examination = examine(&server).await;
    only(&examination, "idle slots", false, Code::LogRetention);
    assert_eq!(mend(&server, &examination), 2);
    in_order(&examine(&server).await);
}

#[tokio::test]
async fn a_slot_that_is_given_up_or_of_another_kind_is_told() {
    let server = filled(with(&["max_slot_wal_keep_size=1MB", "min_wal_size=32MB", "max_wal_size=32MB"]));
    server.sql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").unwrap();
    server.sql("CREATE TABLE o AS SELECT n, repeat('x', 500) FROM generate_series(1, 80000) n; SELECT pg_switch_wal(); CHECKPOINT; SELECT pg_switch_wal(); CHECKPOINT").unwrap();
    let with_slot = async || examine_as(&server, "postgres", SHOP, &[("slot.name", "s")], &visit(0)).await;
    let examination = with_slot().await;
    let Outcome::Finding(error) = outcome(&examination, "slot") else { panic!("{examination:?}") };
    assert_eq!((error.code(), error.remedies().len()), (Code::SlotInvalid, 1));
    server.sql(&error.remedies()[0].statement).unwrap();
    server.sql("SELECT pg_create_physical_replication_slot('s')").unwrap();
    let examination = with_slot().await;
    assert!(matches!(outcome(&examination, "slot"), Outcome::Finding(error) if error.code() == Code::SlotForeign));
}

#[tokio::test]
async fn f18_transactions_that_are_open_for_long_are_named_with_what_ends_them() {
    let server = shop();
    server.sql("BEGIN; INSERT INTO shop.orders VALUES (1); PREPARE TRANSACTION 'it''s held'").unwrap();
    let examination = examine_as(&server, "postgres", SHOP, &[], &visit(3600)).await;
    let Outcome::Advice(error) = outcome(&examination, "transactions") else { panic!("{examination:?}") };
    let from = error.facts()[0].1.split_once("since ").unwrap().1.to_owned();
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, &[(&from, "<time>")]);
    server.sql(&error.remedies()[0].statement).unwrap();
    let examination = examine_as(&server, "postgres", SHOP, &[], &visit(3600)).await;
    assert!(matches!(outcome(&examination, "transactions"), Outcome::Ok(_)), "{examination:?}");
}

#[tokio::test]
async fn a_server_that_waits_for_any_standby_is_told() {
    let server = shop();
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (*)'").unwrap();
    server.reload().unwrap();
    let examination = examine(&server).await;
    let error = only(&examination, "synchronous standbys", true, Code::SynchronousStandby);
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, &[]);
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (a, b)'").unwrap();
    server.reload().unwrap();
    in_order(&examine(&server).await);
}

#[tokio::test]
async fn clocks_that_differ_are_told() {
    let server = shop();
    for (moved, words) in [(3600, "3600 s behind"), (-3600, "3600 s ahead of")] {
        let examination = examine_as(&server, "postgres", SHOP, &[], &visit(moved)).await;
        let error = only(&examination, "clock", false, Code::ClockSkew);
        assert!(error.message().contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_whose_table_or_slot_is_gone_is_told_before_a_run() {
    let server = shop();
    let options = [("slot.name", "s")];
    let mut pipeline = Pipeline::new(harness::source(&server, "postgres.shop.orders", &options));
    pipeline.until("caught-up").await.unwrap();
    let with = Visit { position: pipeline.position.clone(), running: true, ..visit(0) };
    // Its publication has the name of the pipeline in the harness.
    let publication = server.sql("SELECT pubname FROM pg_publication").unwrap().trim().to_owned();
    let options = [("slot.name", "s"), ("publication.name", &*publication)];
    in_order(&examine_as(&server, "postgres", SHOP, &options, &with).await);
    pipeline.crash();
    while server.sql("SELECT active FROM pg_replication_slots").unwrap().trim() == "t" {}
    server.sql("ALTER TABLE shop.orders RENAME TO renamed").unwrap();
    let examination = examine_as(&server, "postgres", SHOP, &options, &with).await;
    only(&examination, "publication", true, Code::TableGone);
    server.sql("ALTER TABLE shop.renamed RENAME TO orders").unwrap();
    server.sql("SELECT pg_drop_replication_slot('s')").unwrap();
    let examination = examine_as(&server, "postgres", SHOP, &options, &with).await;
    only(&examination, "position", true, Code::SlotLost);
}

#[tokio::test]
async fn a_refused_login_tells_the_line_that_pg_hba_conf_lacks() {
    let server = shop();
    server.sql("CREATE ROLE outsider LOGIN").unwrap();
    server.let_in(&["host all postgres all trust"]).unwrap();
    let examination = examine_as(&server, "outsider", SHOP, &[], &visit(0)).await;
    assert!(matches!(outcome(&examination, "connection"), Outcome::Ok(_)));
    let error = only(&examination, "login", true, Code::LoginRefused);
    let help = error.help_text().unwrap();
    assert!(help.contains("`host postgres outsider 127.0.0.1/32 scram-sha-256`"), "{help}");
    assert!(matches!(outcome(&examination, "the rest"), Outcome::Unknown(_)));
    server.let_in(&["host postgres outsider 127.0.0.1/32 trust", "host all postgres all trust"]).unwrap();
    let examination = examine_as(&server, "outsider", SHOP, &[], &visit(0)).await;
    assert!(matches!(outcome(&examination, "login"), Outcome::Ok(_)), "{examination:?}");
    let nobody = examine_as(&server, "postgres", "nowhere.public.t", &[], &visit(0)).await;
    only(&nobody, "login", true, Code::UnknownDatabase);
}

#[tokio::test]
async fn without_a_server_the_rest_is_not_looked_at() {
    let mut server = shop();
    server.stop();
    let nobody = examine(&server).await;
    only(&nobody, "connection", true, Code::SourceUnreachable);
}

/// What a standby lacks as a source (F62): its own settings are mended there, the publication at the primary server.
#[tokio::test]
async fn f62_a_standby_is_told_what_it_lacks() {
    let mut primary = filled(Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap());
    let standby = primary.standby(&["hot_standby_feedback=off"]).unwrap();
    let examination = examine(&standby).await;
    let told: Vec<_> = complaints(&examination).iter().map(|c| (c.0, c.1, c.2.code())).collect();
    assert_eq!(
        told,
        [("standby", true, Code::ServerVersion), ("publication", true, Code::Publication)],
        "{examination:?}"
    );
    let all = remedies(&examination);
    let (here, there): (Vec<_>, Vec<_>) = all.iter().partition(|statement| !statement.contains("PUBLICATION"));
    assert_eq!((here.len(), there.len()), (2, 1), "{all:?}");
    for statement in here {
        standby.sql(statement).unwrap();
    }
    primary.sql(there[0]).unwrap();
    let end = harness::end_of_log(&primary);
    while standby.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")).unwrap().trim() != "t" {}
    in_order(&examine(&standby).await);
}
