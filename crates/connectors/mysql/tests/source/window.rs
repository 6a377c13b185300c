use super::harness::*;
use crate::support::{self, numbers};
use dujiang_scratch::{Family, Kind, Options, Server};

/// How a commit is made to wait between the log and the tables.
#[derive(Clone, Copy, PartialEq)]
enum Window {
    /// For a replica that never comes (semi-synchronous replication, `AFTER_SYNC`).
    Replica,
    /// For others to be committed with it (`binlog_group_commit_sync_delay`).
    Group,
}

/// A server on which commits wait, and how.
struct Waiting {
    server: Server,
    window: Window,
}

impl Waiting {
    fn start(kind: Kind, gtid: bool) -> Self {
        let options = Options { gtid, ..Options::default().on(kind) };
        // MySQL 5.7 comes without the plugin.
        let window = if kind == Kind::Mysql57 { Window::Group } else { Window::Replica };
        let options = match window {
            Window::Replica => options.semi_sync(kind.family()),
            Window::Group => options.arg("--sync-binlog=1"),
        };
        let waiting = Self { server: support::own(&options), window };
        waiting.millis(0);
        let rows = format!("INSERT INTO t SELECT seq, 0 FROM {}", numbers(4000));
        waiting
            .server
            .sql(&format!("CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, v INT); {rows}"))
            .unwrap();
        waiting
    }

    /// How long the next commits wait.
    fn millis(&self, wait: u32) {
        let (prefix, nobody) = match self.server.family() {
            Family::MariaDb => ("rpl_semi_sync_master", "no_slave"),
            Family::MySql => ("rpl_semi_sync_source", "no_replica"),
        };
        let sql = match (self.window, wait) {
            (Window::Group, _) => format!("SET GLOBAL binlog_group_commit_sync_delay = {}", wait * 1000),
            (Window::Replica, 0) => format!("SET GLOBAL {prefix}_enabled = 0"),
            (Window::Replica, _) => format!(
                "SET GLOBAL {prefix}_enabled = 0; SET GLOBAL {prefix}_timeout = {wait}; SET GLOBAL {prefix}_wait_{nobody} = 1; \
                 SET GLOBAL {prefix}_enabled = 1"
            ),
        };
        self.server.sql(&sql).unwrap();
    }

    fn end_of_log(&self) -> String {
        let mut session = self.server.session().unwrap();
        let status = session.run("SHOW MASTER STATUS").or_else(|_| session.run("SHOW BINARY LOG STATUS")).unwrap();
        format!("{}:{}", status[0][0].as_deref().unwrap(), status[0][1].as_deref().unwrap())
    }

    /// Begins a commit, and comes back when it is in the log and not in the tables.
    async fn begin_commit(&self, value: u32) -> std::thread::JoinHandle<()> {
        let before = self.end_of_log();
        let mut writer = self.server.session().unwrap();
        let sql = format!("UPDATE d.t SET v = {value} WHERE id IN (1, 700, 2500, 3999)");
        let thread = std::thread::spawn(move || drop(writer.run(&sql).unwrap()));
        while self.end_of_log() == before {
            tokio::task::yield_now().await;
        }
        assert_ne!(
            self.server.sql("SELECT v FROM d.t WHERE id = 700").unwrap(),
            format!("{value}\n"),
            "no window was open"
        );
        thread
    }
}

/// The log moves before rows become visible: a commit that waits is in the log and in no read view. The snapshot goes on
/// meanwhile, in chunks before, at and behind the row.
async fn a_waiting_commit(kind: Kind, gtid: bool) {
    let waiting = Waiting::start(kind, gtid);
    let server = &waiting.server;
    for round in 1..=3 {
        waiting.millis(700);
        let options = [("scan.incremental.snapshot.chunk.size", "100"), ("server-id", &*format!("{}", 7000 + round))];
        let mut pipeline = Pipeline::new(source(server, "d.t", &options));
        for _ in 0..round * 5 {
            pipeline.step().await.unwrap();
        }
        let thread = waiting.begin_commit(round).await;
        while !pipeline.events.contains(&"caught-up") {
            pipeline.step().await.unwrap();
        }
        thread.join().unwrap();
        // The snapshot may have ended before the commit did.
        waiting.millis(0);
        server.sql(&format!("INSERT INTO d.t VALUES ({}, 0)", 9000 + round)).unwrap();
        while !pipeline.has("d.t", &(9000 + round).to_string()) {
            pipeline.step().await.unwrap();
            pipeline.barrier().unwrap();
        }
        assert_eq!(pipeline.sink.rows["d.t"], rows_of(server, "d.t", 1), "{kind:?}, round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_commit_that_waits_for_a_replica_is_in_exactly_one_part() {
    a_waiting_commit(Kind::MariaDb, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_commit_that_waits_is_in_exactly_one_part_on_the_newest_mariadb() {
    a_waiting_commit(Kind::MariaDbNewest, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_commit_that_waits_is_in_exactly_one_part_on_mysql() {
    a_waiting_commit(Kind::MysqlNewest, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_commit_that_waits_is_in_exactly_one_part_on_mysql_without_gtid() {
    a_waiting_commit(Kind::MysqlNewest, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_commit_that_waits_is_in_exactly_one_part_on_mysql_57() {
    a_waiting_commit(Kind::Mysql57, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_commit_that_waits_is_in_exactly_one_part_on_mysql_57_without_gtid() {
    a_waiting_commit(Kind::Mysql57, false).await;
}

/// A rotation sets the place that read views carry to the end of the log, past a commit that waits for a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_rotation_while_a_commit_waits_hides_nothing() {
    let waiting = Waiting::start(Kind::MariaDb, true);
    let server = &waiting.server;
    waiting.millis(3000);
    let mut pipeline = Pipeline::new(source(server, "d.t", &[("scan.incremental.snapshot.chunk.size", "20")]));
    for _ in 0..5 {
        pipeline.step().await.unwrap();
    }
    let writing = waiting.begin_commit(1).await;
    let mut rotator = server.session().unwrap();
    let rotating = std::thread::spawn(move || rotator.run("FLUSH BINARY LOGS").unwrap());
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
    }
    writing.join().unwrap();
    rotating.join().unwrap();
    pipeline.until_gtid(&last_gtid(server)).await.unwrap();
    assert_eq!(pipeline.sink.rows["d.t"], rows_of(server, "d.t", 1));
}
