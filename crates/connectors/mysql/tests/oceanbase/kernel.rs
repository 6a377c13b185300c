//! Against the real kernel of OceanBase, which has no Binlog Service: login, catalog, and reading as of a snapshot.

use super::{MARKERS, Now, build, visit};
use crate::source::harness::cell;
use async_trait::async_trait;
use dujiang_core::budget::Budget;
use dujiang_core::examine::Outcome;
use dujiang_core::{Code, Result, Secret, TableId};
use dujiang_mysql::catalog;
use dujiang_mysql::client::{Connection, Endpoint, TlsMode};
use dujiang_mysql::decode::ZeroDates;
use dujiang_mysql::gtid::GtidSet;
use dujiang_mysql::place::Place;
use dujiang_mysql::server::Instance;
use dujiang_mysql::shape::Shape;
use dujiang_mysql::snapshot::told_place::Heads;
use dujiang_mysql::snapshot::{ChunkRead, Handoff, Job, LaggingLog, Snapshot, SnapshotContext, Window, lock};
use dujiang_scratch::OceanBase;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

static KERNEL: LazyLock<OceanBase> = LazyLock::new(|| {
    let kernel = OceanBase::start().unwrap();
    kernel.session().unwrap().run("CREATE DATABASE kernel").unwrap();
    kernel
});

fn endpoint(user: &str) -> Endpoint {
    let endpoint = Endpoint::new("127.0.0.1", KERNEL.port(), user, Secret::default());
    Endpoint { tls: TlsMode::Disabled.into(), oceanbase: true, ..endpoint }
}

fn sql(statements: &str) {
    let mut session = KERNEL.session().unwrap();
    statements.split(';').for_each(|statement| drop(session.run(statement).unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_binlog_service_says_so() {
    sql("CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY)");
    let source = build(KERNEL.port(), "root", &[MARKERS, ("tls.mode", "disabled")]).unwrap();
    let examination = source.examine(&visit()).await;
    assert!(examination.of.starts_with("OceanBase ("), "{examination:#?}");
    let outcome = |name: &str| &examination.checks.iter().find(|check| check.name == name).unwrap().outcome;
    let Outcome::Finding(error) = outcome("binlog") else { panic!("{examination:#?}") };
    assert_eq!(error.code(), Code::BinlogServiceOff);
    // Everything else of the catalog could be read.
    for name in ["connection", "login", "tables", "table privileges", "keys", "column types", "undo retention"] {
        assert!(matches!(outcome(name), Outcome::Ok(_)), "{name}: {examination:#?}");
    }
    let refused = source.discover().await.unwrap_err();
    assert_eq!(refused.code(), Code::BinlogServiceOff, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_the_tenant_logs_in_and_one_of_another_does_not() {
    sql("CREATE USER app IDENTIFIED BY 'pw'");
    for user in ["root", "root@sys"] {
        Connection::connect(&endpoint(user)).await.unwrap();
    }
    let app = |user: &str, password: &str| Endpoint { password: Secret::new(password), ..endpoint(user) };
    Connection::connect(&app("app@sys", "pw")).await.unwrap();
    for (user, password) in [("app", "wrong"), ("app@elsewhere", "pw"), ("nobody", "pw")] {
        let error = Connection::connect(&app(user, password)).await.err().expect("a refusal");
        assert_eq!(error.code(), Code::LoginRefused, "{user}: {error:?}");
    }
}

/// A log that has nothing: everything is in the snapshot.
struct Silent(AtomicU64);

#[async_trait]
impl LaggingLog for Silent {
    async fn known(&self, _: &mut Connection) -> Result<GtidSet> {
        Ok(GtidSet::default())
    }

    async fn window(&self, _: &GtidSet, _: &Shape) -> Result<Window> {
        let point = Place::of_number(self.0.fetch_add(1, Ordering::SeqCst));
        Ok(Window { point, altered: false, changes: Vec::new(), held: Budget::new(1 << 20).hold(0) })
    }

    async fn end(&self, _: &mut Connection) -> Result<Place> {
        Ok(Place::of_number(self.0.load(Ordering::SeqCst)))
    }
}

/// A table's chunks, with what is done after the first.
async fn chunks(table: &str, then: impl FnOnce()) -> Vec<Vec<String>> {
    let mut connection = Connection::connect(&endpoint("root")).await.unwrap();
    let id = TableId::new("kernel", table);
    let shape = catalog::shapes(&mut connection, &[id], ZeroDates::Error).await.unwrap().remove(0);
    let context = SnapshotContext {
        endpoint: endpoint("root"),
        server: Instance::of(&mut connection).await.unwrap(),
        chunk_rows: 3,
        clock: Arc::new(Now),
        budget: Budget::new(64 << 20),
        heads: Heads::default(),
        lagging: Some(Arc::new(Silent(AtomicU64::new(10)))),
    };
    let handoff = Arc::new(Mutex::new(Handoff::new(Place::of_number(1))));
    let transaction = "snapshot:x".into();
    let job = Job { at: 0, shape, handoff: handoff.clone(), frontier: None, rows: 0, transaction };
    let mut snapshot = Snapshot::start(Arc::new(context), vec![job], 1);
    let (mut rows, mut then) = (Vec::new(), Some(then));
    while let Some(chunk) = snapshot.next(&[]).await {
        let ChunkRead { batch, .. } = chunk.unwrap();
        lock(&handoff).hand_out();
        if let Some(batch) = batch {
            let of = |row| batch.rows.columns().iter().map(|column| cell(column.as_ref(), row)).collect();
            rows.extend((0..batch.rows.num_rows()).map(of).collect::<Vec<Vec<String>>>());
        }
        if let Some(then) = then.take() {
            then();
        }
    }
    rows
}

const TABLE: &str = "CREATE TABLE kernel.{} (k VARCHAR(20) PRIMARY KEY, v INT UNSIGNED, d DECIMAL(20,5), f FLOAT)";

fn create(table: &str) {
    sql(&TABLE.replace("{}", table));
    let rows: Vec<String> = (0..11).map(|n| format!("('{}{n:02}', {n}, {n}.5, NULL)", ["a", "B"][n % 2])).collect();
    sql(&format!("INSERT INTO kernel.{table} VALUES {}", rows.join(", ")));
}

/// Rows that are changed after the first chunk are read as they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_read_as_of_one_snapshot() {
    create("still");
    let rows = chunks("still", || sql("DELETE FROM kernel.still WHERE v > 4; UPDATE kernel.still SET v = 100")).await;
    let expected =
        |n: usize| vec![format!("{}{n:02}", ["a", "B"][n % 2]), n.to_string(), format!("{n}.50000"), "NULL".into()];
    let in_order: Vec<_> = [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9].map(expected).into();
    assert_eq!(rows, in_order);
}

/// What the database answers where a snapshot cannot be read any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_cannot_be_read_has_a_code() {
    create("gone");
    let mut connection = Connection::connect(&endpoint("root")).await.unwrap();
    let mut code = async |sql: &str| connection.query(sql).await.err().map(|error| error.code());
    // Before the table was made.
    assert_eq!(code("SELECT k FROM kernel.gone AS OF SNAPSHOT 1").await, Some(Code::SnapshotGone));
    let future = "SELECT k FROM kernel.gone AS OF SNAPSHOT 4000000000000000000";
    assert_eq!(code(future).await, Some(Code::SnapshotGone));
    let now = KERNEL.session().unwrap().number("SELECT current_scn()").unwrap();
    let read = format!("SELECT k FROM kernel.gone AS OF SNAPSHOT {now}");
    assert_eq!(code(&read).await, None);
    assert_eq!(code("SET SESSION ob_query_timeout = 1").await, None);
    assert_eq!(code(&read).await, Some(Code::QueryTimeout));
}

/// An added column is there for every row, whichever snapshot is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_altered_is_read_with_its_columns() {
    create("altered");
    let rows = chunks("altered", || sql("ALTER TABLE kernel.altered ADD COLUMN w INT DEFAULT 7")).await;
    assert_eq!(rows.iter().map(|row| row[0].clone()).collect::<std::collections::BTreeSet<_>>().len(), 11);
    let widths: Vec<_> = rows.iter().map(Vec::len).collect();
    assert!(widths.is_sorted() && widths.starts_with(&[4, 4, 4]) && widths.ends_with(&[5]), "{widths:?}");
    assert!(rows.iter().filter(|row| row.len() == 5).all(|row| row[4] == "7"), "{rows:?}");
}
