use super::harness::{Pipeline, UntilNow, own, rows_of, source};
use super::window::{WaitingCommits, end};
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions};
use std::process::Command;

/// `inet` has no binary form that is read here, `int` has: the stream starts in binary and goes on as text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_column_that_is_not_read_in_binary_turns_the_stream_to_text() {
    let server = own();
    server
        .sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1)")
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO t VALUES (2); ALTER TABLE t ADD COLUMN a inet; INSERT INTO t VALUES (3, '10.0.0.1/8'), (4, NULL)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    server.sql("UPDATE t SET a = '::1' WHERE id = 1; DELETE FROM t WHERE id = 2").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    assert_eq!(pipeline.changes.len(), 1);
}

/// The catalog that is asked when the row is read says NOT NULL again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_null_of_the_past_makes_its_column_nullable() {
    let server = own();
    server
        .sql("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 1)")
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server
        .sql(
            "BEGIN; INSERT INTO t VALUES (2, 2); ALTER TABLE t ALTER v DROP NOT NULL; INSERT INTO t VALUES (3, NULL); COMMIT;
             UPDATE t SET v = 3 WHERE id = 3; ALTER TABLE t ALTER v SET NOT NULL; INSERT INTO t VALUES (4, 4)",
        )
        .unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    let nullable: Vec<bool> = pipeline.changes.iter().map(|c| c.after.arrow.field(1).is_nullable()).collect();
    assert_eq!(nullable, [true]);
}

/// The server's process that sends the stream, stopped; it goes on when dropped.
struct Stopped(String);

impl Stopped {
    fn of(server: &Postgres, slot: &str) -> Self {
        let sql = format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{slot}'");
        let pid = std::iter::repeat_with(|| server.sql(&sql).unwrap().trim().to_owned()).find(|pid| !pid.is_empty());
        let pid = pid.unwrap();
        signal("-STOP", &pid);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("-CONT", &self.0);
    }
}

fn signal(which: &str, pid: &str) {
    assert!(Command::new("kill").args([which, pid]).status().unwrap().success(), "{pid}");
}

/// A chunk is read with columns that the stream has not come to, and then its table gets others, with a change of rows that the
/// chunk has: the stream, which tells of the last columns only, waits for the chunk, and the chunk for columns between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_has_columns_between_those_that_the_stream_tells_of() {
    let server = own();
    server
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL;
             INSERT INTO t SELECT n, 0 FROM generate_series(1, 100) n",
        )
        .unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "10"), ("slot.name", "s")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    while pipeline.step().await.unwrap() != "batch" {}
    let stopped = Stopped::of(&server, "s");
    server.sql("ALTER TABLE t ADD COLUMN a int; ALTER TABLE t RENAME v TO w").unwrap();
    while pipeline.step().await.unwrap() != "idle" {}
    server.sql("ALTER TABLE t ADD COLUMN b int; UPDATE t SET a = 3, b = 4").unwrap();
    drop(stopped);
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    let columns =
        |change: &SchemaChange| change.after.arrow.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    let told: Vec<Vec<String>> = pipeline.changes.iter().map(columns).collect();
    assert_eq!(told, [vec!["id", "w", "a"], vec!["id", "w", "a", "b"]]);
}

/// The only chunk of `b` waits for columns that the stream comes to only later: it lies behind a change of `c`, logged and not yet
/// visible, for which the stream waits for the only chunk of `c`. Both are read over one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_waits_for_columns_does_not_keep_that_of_another_table_away() {
    let server = own();
    for (table, rows) in [("a", 100), ("b", 9), ("c", 9)] {
        let rows = format!("INSERT INTO {table} SELECT n, 0 FROM generate_series(1, {rows}) n");
        let create =
            format!("CREATE TABLE {table} (id int PRIMARY KEY, v int); ALTER TABLE {table} REPLICA IDENTITY FULL");
        server.sql(&format!("{create}; {rows}")).unwrap();
    }
    let one = ("scan.incremental.snapshot.parallelism", "1");
    let options = [("scan.incremental.snapshot.chunk.size", "10"), ("slot.name", "s"), one];
    let mut pipeline = Pipeline::new(source(&server, r"postgres.public.\.*", &options));
    while pipeline.step().await.unwrap() != "batch" {}
    let stopped = Stopped::of(&server, "s");
    let waiting = WaitingCommits::on(&server);
    let before = end(&server);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| server.sql("UPDATE c SET v = 1").unwrap());
        while end(&server) == before {
            std::thread::yield_now();
        }
        server.sql("SET synchronous_commit = local; ALTER TABLE b ADD COLUMN x int").unwrap();
        let stepping = async {
            while pipeline.step().await.unwrap() != "idle" {}
            drop(stopped);
            while pipeline.sink.count("public.c") == 0 {
                pipeline.step().await.unwrap();
                pipeline.barrier().unwrap();
            }
            drop(waiting);
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(stepping));
        writing.join().unwrap();
    });
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    for table in ["a", "b", "c"] {
        assert_eq!(pipeline.sink.rows[&format!("public.{table}")], rows_of(&server, table, 1));
    }
}

/// A column gets another name, of which the stream tells, and a third one, of which only the rows of chunks tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_is_renamed_once_more_before_its_chunk_is_read() {
    let server = own();
    server
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL;
             INSERT INTO t SELECT n, n FROM generate_series(1, 100) n",
        )
        .unwrap();
    let options = [("scan.incremental.snapshot.chunk.size", "10"), ("slot.name", "s")];
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &options));
    while pipeline.step().await.unwrap() != "batch" {}
    server.sql("ALTER TABLE t RENAME v TO w; UPDATE t SET w = w + 1 WHERE id = 1").unwrap();
    while pipeline.step().await.unwrap() != "schema-change" {}
    server.sql("ALTER TABLE t RENAME w TO x").unwrap();
    pipeline.until("caught-up").await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    let renamed = |change: &SchemaChange| match &change.ddl {
        Ddl::Columns { renamed } => renamed.clone(),
        other => panic!("{other:?}"),
    };
    let renamed: Vec<_> = pipeline.changes.iter().flat_map(renamed).collect();
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(renamed, [pair("v", "w"), pair("w", "x")]);
}

/// From 18 on a NOT NULL constraint may be there without holding for the rows that were there before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constraint_that_is_not_validated_promises_nothing() {
    let server = Postgres::start_with(&PostgresOptions::default().on(PostgresKind::Newest)).unwrap();
    server
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, v int); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, NULL), (2, 2); \
             ALTER TABLE t ADD CONSTRAINT there NOT NULL v NOT VALID; CREATE UNIQUE INDEX ON t (v)",
        )
        .unwrap();
    let mut pipeline = Pipeline::new(source(&server, "postgres.public.t", &[]));
    pipeline.until("caught-up").await.unwrap();
    server.sql("INSERT INTO t VALUES (3, 3); DELETE FROM t WHERE id = 1; ALTER TABLE t VALIDATE CONSTRAINT there; INSERT INTO t VALUES (4, 4)").unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert_eq!(pipeline.sink.rows["public.t"], rows_of(&server, "t", 1));
    assert_eq!(pipeline.changes.len(), 0);
}
