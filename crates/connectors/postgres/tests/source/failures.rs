use super::harness::*;
use super::session::Session;
use dujiang_core::{Code, Error};
use dujiang_postgres::client::{Connection, Endpoint, Session as Purpose};
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};

pub const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1)";

pub async fn followed(server: &Postgres) -> Pipeline {
    let mut pipeline =
        Pipeline::new(source(server, "postgres.public.t", &[("slot.name", "s"), ("heartbeat.interval", "100ms")]));
    pipeline.until("caught-up").await.unwrap();
    // The end that was there at the start may be reached before the stream has begun.
    let active = || server.sql("SELECT active FROM pg_replication_slots WHERE slot_name = 's'").unwrap().trim() == "t";
    while !active() {}
    pipeline.crash();
    // The session that is gone lets go of the slot.
    while active() {}
    pipeline
}

pub async fn error(pipeline: &mut Pipeline) -> Error {
    loop {
        if let Err(error) = pipeline.step().await {
            assert!(error.help_text().is_some(), "{error:?} says what to do");
            return error;
        }
    }
}

/// F7, R19: INV-6: a slot that is gone, or was made anew, is said; nothing is passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r19_a_slot_that_is_gone_or_made_anew_halts() {
    for server in every() {
        r19_a_slot_that_is_gone_or_made_anew_halts_on(&server).await;
    }
}

async fn r19_a_slot_that_is_gone_or_made_anew_halts_on(server: &dujiang_scratch::Postgres) {
    server.sql(TABLE).unwrap();
    let mut pipeline = followed(server).await;
    server.sql("SELECT pg_drop_replication_slot('s'); INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::SlotLost);
    server.sql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::SlotForeign);
    server.sql("SELECT pg_drop_replication_slot('s'); SELECT pg_create_physical_replication_slot('s')").unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::SlotForeign);
}

/// The server gives up a slot that holds too much of its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_an_invalidated_slot_halts() {
    let server = with(&["max_slot_wal_keep_size=1MB", "min_wal_size=32MB", "max_wal_size=32MB"]);
    server.sql(TABLE).unwrap();
    let mut pipeline = followed(&server).await;
    server.sql("CREATE TABLE o AS SELECT n, repeat('x', 500) FROM generate_series(1, 80000) n; SELECT pg_switch_wal(); CHECKPOINT; SELECT pg_switch_wal(); CHECKPOINT").unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::SlotInvalid);
}

/// Since 18 a slot that nobody reads for long is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_was_idle_for_too_long_halts_with_its_reason() {
    let options = PostgresOptions::default().on(PostgresKind::Newest).set("idle_replication_slot_timeout=1s");
    let server = Postgres::start_with(&options).unwrap();
    server.sql(TABLE).unwrap();
    let mut pipeline = followed(&server).await;
    let reason = "SELECT invalidation_reason FROM pg_replication_slots";
    while server.sql(reason).unwrap().trim().is_empty() {
        server.sql("CHECKPOINT").unwrap();
    }
    let error = error(&mut pipeline).await;
    assert_eq!(error.code(), Code::SlotInvalid);
    assert!(error.help_text().unwrap().contains("idle_replication_slot_timeout"), "{error:?}");
    assert_eq!(error.remedies()[0].statement, "SELECT pg_drop_replication_slot('s')");
}

/// The attribute is taken away while the pipeline runs: the session goes on, the next one is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_replicate_no_more_halts() {
    let server = own();
    server
        .sql(&format!("CREATE ROLE capture LOGIN REPLICATION; {TABLE}; GRANT SELECT ON t TO capture; CREATE PUBLICATION p FOR TABLE t"))
        .unwrap();
    let options = [("username", "capture"), ("slot.name", "s"), ("publication.name", "p")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    // The end that was there at the start may be reached before the stream has begun.
    while server.sql("SELECT active FROM pg_replication_slots").unwrap().trim() != "t" {}
    server
        .sql("ALTER ROLE capture NOREPLICATION; SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
        .unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::ReplicationRole);
}

/// A clean restart of the server interrupts, and loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r06_a_restarted_server_is_followed_on() {
    let mut server = own();
    server.sql(TABLE).unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[("slot.name", "s")]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO t SELECT generate_series(2, 1000)").unwrap();
    // A server that shuts down sends all it has before: somebody has to read it.
    let restarting = tokio::task::spawn_blocking(move || server.restart().map(|()| server));
    while !restarting.is_finished() {
        pipeline.step().await.unwrap();
    }
    let server = restarting.await.unwrap().unwrap();
    server.sql("INSERT INTO t SELECT generate_series(1001, 2000)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// INV-5: a position belongs to its server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_behind_the_same_address_halts() {
    let (server, other) = (own(), own());
    for server in [&server, &other] {
        server.sql(TABLE).unwrap();
    }
    let mut pipeline = followed(&server).await;
    pipeline.source = source(&other, "postgres.public.t", &[("slot.name", "s")]);
    assert_eq!(error(&mut pipeline).await.code(), Code::OtherServer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_is_gone_or_lacks_a_table_halts() {
    for server in every() {
        a_publication_that_is_gone_or_lacks_a_table_halts_on(&server).await;
    }
}

async fn a_publication_that_is_gone_or_lacks_a_table_halts_on(server: &dujiang_scratch::Postgres) {
    server.sql(TABLE).unwrap();
    let mut pipeline = followed(server).await;
    let name = server.sql("SELECT pubname FROM pg_publication").unwrap().trim().to_owned();
    server.sql(&format!("CREATE TABLE o (id int PRIMARY KEY); ALTER PUBLICATION {name} SET TABLE o")).unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::Publication);
    server.sql(&format!("DROP PUBLICATION {name}")).unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::Publication);
}

/// The server passes over changes of a table that is not published any more, without a word: that is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_taken_out_of_the_publication_or_dropped_halts_a_running_pipeline() {
    let server = own();
    server.sql(TABLE).unwrap();
    let options = [("publication.name", "p"), ("heartbeat.interval", "100ms"), ("slot.name", "s")];
    server.sql("CREATE TABLE o (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t, o").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    server.sql("ALTER PUBLICATION p DROP TABLE t").unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::Publication);
    server.sql("ALTER PUBLICATION p ADD TABLE t").unwrap();
    pipeline.crash();
    assert_eq!(error(&mut pipeline).await.code(), Code::Publication, "what was written meanwhile is missing");
    let options = [("publication.name", "p"), ("heartbeat.interval", "100ms"), ("slot.name", "anew")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    pipeline.until("caught-up").await.unwrap();
    server.sql("DROP TABLE t").unwrap();
    assert_eq!(error(&mut pipeline).await.code(), Code::TableGone);
}

/// Everything that the user has to mend is told before anything is touched, with what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_is_told_at_once() {
    let server = with(&["wal_level=replica"]);
    server.sql("CREATE ROLE weak LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE n (v int)").unwrap();
    let source = source(&server, r"postgres.public.\.*", &[("username", "weak")]);
    let survey = source.survey().await;
    let codes: Vec<_> = survey.refusals.iter().map(Error::code).collect();
    for code in [Code::WalLevel, Code::ReplicationRole, Code::MissingPrivilege, Code::ReplicaIdentity] {
        assert!(codes.contains(&code), "{code:?} in {codes:?}");
    }
    assert!(survey.refusals.iter().all(|refusal| refusal.help_text().is_some()));
    assert_eq!(server.sql("SELECT count(*) FROM pg_publication").unwrap().trim(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_refused_says_why() {
    let server = own();
    server.sql(TABLE).unwrap();
    let missing = source_at(server.port(), "nowhere.public.t", &[]);
    assert_eq!(missing.discover().await.unwrap_err().code(), Code::UnknownDatabase);
    let nobody = source(&server, "postgres.public.t", &[("username", "nobody")]);
    assert_eq!(nobody.discover().await.unwrap_err().code(), Code::LoginRefused);
    let nothing = source(&server, "postgres.public.x", &[]);
    let error = nothing.discover().await.unwrap_err();
    assert_eq!(error.code(), Code::NoTable);
    assert!(error.facts().contains(&("there are", "postgres.public.t".to_owned())), "{error:?}");
}

/// F19: a session that died without a word still holds the slot; the next one waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_slot_in_use_is_waited_for() {
    let server = with(&["wal_sender_timeout=2s"]);
    server.sql(TABLE).unwrap();
    let options = [("slot.name", "s"), ("heartbeat.interval", "100ms")];
    let mut first = Pipeline::new(source(&server, "postgres.public.t", &options));
    first.until("caught-up").await.unwrap();
    let mut second = Pipeline::new(source(&server, "postgres.public.t", &options));
    second.position.clone_from(&first.position);
    second.open().await.unwrap();
    while second.status().disconnected.is_none() {
        second.step().await.unwrap();
    }
    first.crash();
    server.sql("INSERT INTO t VALUES (2)").unwrap();
    second.until_now(&server).await.unwrap();
    assert_eq!(second.sink.images.len(), 1);
}

/// F19: messages come in the language of the server (German where its package has that), and mean the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_server_of_another_language_is_understood() {
    for kind in PostgresKind::ALL {
        let options = PostgresOptions { language: Some("de"), ..PostgresOptions::default() };
        let server = Postgres::start_with(&options.on(kind).set("lc_messages=C")).unwrap();
        server.sql("ALTER SYSTEM SET lc_messages = 'C.UTF-8'").unwrap();
        server.reload().unwrap();
        println!("PostgreSQL {}: {}", server.version(), server.sql("SELECT 1 / 0").unwrap_err());
        another_language_is_understood_on(&server).await;
    }
}

async fn another_language_is_understood_on(server: &Postgres) {
    server.sql(&format!("{TABLE}; CREATE ROLE capture LOGIN; CREATE DATABASE closed")).unwrap();
    server.sql("REVOKE CONNECT ON DATABASE closed FROM PUBLIC").unwrap();
    let refused = async |database: &str, purpose| {
        let endpoint = Endpoint::new("127.0.0.1", server.port(), database, "capture");
        Connection::connect(&endpoint, purpose).await.map(drop).unwrap_err()
    };
    let error = refused("postgres", Purpose::Replication).await;
    assert_eq!(error.code(), Code::ReplicationRole, "{error:?}");
    assert_eq!(error.remedies()[0].statement, "ALTER ROLE \"capture\" WITH REPLICATION");
    assert!(error.facts().iter().all(|(name, _)| *name != "password"), "{error:?}");
    let error = refused("closed", Purpose::Ordinary).await;
    assert_eq!(error.code(), Code::MissingPrivilege, "{error:?}");

    let options = [("slot.name", "s"), ("heartbeat.interval", "100ms")];
    let mut first = Pipeline::new(source(server, "postgres.public.t", &options));
    first.until("caught-up").await.unwrap();
    let mut second = Pipeline::new(source(server, "postgres.public.t", &options));
    second.position.clone_from(&first.position);
    second.open().await.unwrap();
    while second.status().disconnected.is_none() {
        second.step().await.unwrap();
    }
    let waits = second.status().disconnected.unwrap();
    let holder = server.sql("SELECT active_pid FROM pg_replication_slots").unwrap();
    assert!(
        waits.starts_with("E0264") && waits.contains(&format!("process {}, application", holder.trim())),
        "{waits}"
    );
}

/// F18: a slot waits for transactions under way; what they are is said, and nothing is lost of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_transaction_under_way_holds_the_slot_up_and_is_not_lost() {
    let server = own();
    server.sql(TABLE).unwrap();
    server.sql("BEGIN; INSERT INTO t VALUES (7); PREPARE TRANSACTION 'held'").unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
    let opened = tokio::time::timeout(std::time::Duration::from_millis(300), pipeline.open()).await;
    assert!(opened.is_err(), "the slot waits");
    server.sql("COMMIT PREPARED 'held'").unwrap();
    while server.sql("SELECT count(*) FROM pg_replication_slots WHERE active").unwrap().trim() != "0" {}
    pipeline.until("caught-up").await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
}

/// F18: a start that is stopped while its slot is made leaves the server making it: the next start does not take what vanishes for
/// its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_slot_that_is_half_made_is_waited_for() {
    for server in every() {
        server.sql(TABLE).unwrap();
        server.sql("BEGIN; INSERT INTO t VALUES (7); PREPARE TRANSACTION 'held'").unwrap();
        let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
        let stopped = async |pipeline: &mut Pipeline| {
            tokio::time::timeout(std::time::Duration::from_millis(300), pipeline.open()).await.is_err()
        };
        assert!(stopped(&mut pipeline).await, "the slot is being made");
        let half = "SELECT count(*) FROM pg_replication_slots WHERE active AND confirmed_flush_lsn IS NULL";
        assert_eq!(server.sql(half).unwrap().trim(), "1");
        assert!(stopped(&mut pipeline).await, "by a session that nobody waits for");
        server.sql("COMMIT PREPARED 'held'").unwrap();
        pipeline.until("caught-up").await.unwrap();
        assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    }
}

/// A slot that was there before the publication cannot read with it what was written before it: the server says that it does not
/// exist, at every start again. The slot begins behind that, and what has to end before is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_a_slot_that_is_there_begins_behind_what_was_written_before_the_publication() {
    let server = own();
    for two_phase in [false, true] {
        a_slot_that_is_there_begins_behind_on(&server, two_phase).await;
    }
}

async fn a_slot_that_is_there_begins_behind_on(server: &Postgres, two_phase: bool) {
    let slot = if two_phase { "two" } else { "one" };
    server.sql(&format!("DROP TABLE IF EXISTS t; {TABLE}")).unwrap();
    server
        .sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput', false, {two_phase})"))
        .unwrap();
    let mut open = Session::new(server);
    open.run("BEGIN; INSERT INTO t VALUES (7)");
    server.sql("BEGIN; INSERT INTO t VALUES (8); PREPARE TRANSACTION 'early'").unwrap();
    let mut pipeline = Pipeline::new(source(server, "postgres.public.t", &[("slot.name", slot)]));
    let waits = async |pipeline: &mut Pipeline| {
        tokio::time::timeout(std::time::Duration::from_millis(300), pipeline.open()).await.is_err()
    };
    assert!(waits(&mut pipeline).await, "{slot}: for the one that is open");
    // The publication is there now, and made by a start that was given up.
    open.run("COMMIT");
    if !two_phase {
        assert!(waits(&mut pipeline).await, "{slot}: for the prepared one, which comes with its commit");
        server.sql("COMMIT PREPARED 'early'").unwrap();
    }
    pipeline.open().await.unwrap();
    if two_phase {
        server.sql("COMMIT PREPARED 'early'").unwrap();
    }
    server.sql("INSERT INTO t VALUES (9)").unwrap();
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(server, "t", 1));
}
