//! Distributed transactions that are committed while a snapshot is read. Some servers show their rows neither with their commit
//! in the log nor in its order.

use super::harness::*;
use crate::support::stopped::{Stopped, thread_of};
use crate::support::{self, numbers};
use dujiang_scratch::{Family, Kind, Options, Random, Server, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Who commits a distributed transaction.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    /// The session that has prepared it.
    Itself,
    /// Another one; the first is gone.
    Another,
    /// The session that began it, which never prepares it.
    OnePhase,
}

fn server(kind: Kind) -> Server {
    // It tells the threads of MySQL.
    let options = Options::default().on(kind).arg("--sync-binlog=1").arg("--performance-schema=ON");
    let server = support::own(&options);
    let rows = format!("INSERT INTO t SELECT seq, 0 FROM {}", numbers(4000));
    let tables =
        "CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE TABLE other LIKE t; INSERT INTO other VALUES (1, 0)";
    server.sql(&format!("CREATE DATABASE d; USE d; {tables}; {rows}")).unwrap();
    server
}

/// Commits wait for others, and are logged with them.
fn group(server: &Server, waits: bool) {
    let sql = match (server.family(), waits) {
        (Family::MariaDb, true) => "SET GLOBAL binlog_commit_wait_usec = 500000, GLOBAL binlog_commit_wait_count = 9",
        (Family::MariaDb, false) => "SET GLOBAL binlog_commit_wait_count = 0, GLOBAL binlog_commit_wait_usec = 0",
        (Family::MySql, true) => "SET GLOBAL binlog_group_commit_sync_delay = 500000",
        (Family::MySql, false) => "SET GLOBAL binlog_group_commit_sync_delay = 0",
    };
    server.sql(sql).unwrap();
}

/// A session that has only the commit of the transaction left to do, its thread, and the statement.
fn ready(server: &Server, by: By, name: &str, change: &str) -> (Session, i32, String) {
    let mut session = server.session().unwrap();
    let mut thread = thread_of(server, &mut session);
    session.run(&format!("USE d; XA START '{name}'; {change}; XA END '{name}'")).unwrap();
    if by == By::OnePhase {
        return (session, thread, format!("XA COMMIT '{name}' ONE PHASE"));
    }
    session.run(&format!("XA PREPARE '{name}'")).unwrap();
    if by == By::Another {
        session = session.renewed().unwrap();
        thread = thread_of(server, &mut session);
    }
    (session, thread, format!("XA COMMIT '{name}'"))
}

/// A distributed transaction whose commit is in the log, and its thread, which stands still.
struct Logged {
    stopped: Stopped,
    committing: JoinHandle<()>,
    visible: bool,
}

impl Logged {
    /// Commits one in one group with another transaction that waits for it, and stops its thread there; whoever leads the group
    /// writes both into the log and goes on.
    fn stop(server: &Server, by: By, value: i64) -> Option<Self> {
        let change = format!("UPDATE t SET v = {value} WHERE id IN (1, 700, 2500, 3999)");
        let (mut session, thread, sql) = ready(server, by, &format!("x{value}"), &change);
        let before = sequence(&last_gtid(server));
        let mut leader = server.session().unwrap();
        group(server, true);
        let leading = std::thread::spawn(move || drop(leader.run("UPDATE d.other SET v = v + 1").unwrap()));
        until_it_waits(server, "UPDATE d.other");
        let committing = std::thread::spawn(move || drop(session.run(&sql).unwrap()));
        until_it_waits(server, "XA COMMIT");
        let stopped = Stopped::thread(thread);
        leading.join().unwrap();
        group(server, false);
        if sequence(&last_gtid(server)) != before + 2 {
            drop(stopped);
            committing.join().unwrap();
            return None;
        }
        let mut session = server.session().unwrap();
        let visible = session.number("SELECT v FROM d.t WHERE id = 700").unwrap() == value;
        Some(Self { stopped, committing, visible })
    }

    /// As [`Logged::stop`]; whether the thread is met in the right moment is its own business.
    fn new(server: &Server, by: By) -> Self {
        (1..30).find_map(|value| Self::stop(server, by, value)).expect("no commit was stopped behind the log")
    }

    fn go_on(self) {
        drop(self.stopped);
        self.committing.join().unwrap();
    }
}

/// Until the statement has begun, and had some time to come into the log.
fn until_it_waits(server: &Server, statement: &str) {
    let sql = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '{statement}%'");
    let mut session = server.session().unwrap();
    (0..200).find(|_| session.number(&sql).unwrap() > 0);
    (0..50).for_each(|_| _ = session.number(&sql).unwrap());
}

/// A commit that is in the log and in no read view, beside a snapshot.
async fn a_logged_commit(kind: Kind, by: By) {
    let server = server(kind);
    let mut pipeline = Pipeline::new(source(&server, "d.t", &[("scan.incremental.snapshot.chunk.size", "100")]));
    for _ in 0..5 {
        pipeline.step().await.unwrap();
    }
    let logged = Logged::new(&server, by);
    assert!(!logged.visible, "no window was open");
    // The snapshot may have to wait for the commit.
    let waited = tokio::time::timeout(Duration::from_secs(1), pipeline.until("caught-up")).await;
    logged.go_on();
    match waited {
        Ok(done) => done.unwrap(),
        Err(_) => pipeline.until("caught-up").await.unwrap(),
    }
    pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
    assert_eq!(pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1), "{kind:?}, {by:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_logged_commit_of_another_sessions_transaction_is_in_exactly_one_part() {
    a_logged_commit(Kind::MariaDb, By::Another).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_logged_commit_of_a_prepared_transaction_is_in_exactly_one_part() {
    a_logged_commit(Kind::MariaDb, By::Itself).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_logged_commit_in_one_phase_is_in_exactly_one_part_on_mysql_57() {
    a_logged_commit(Kind::Mysql57, By::OnePhase).await;
}

/// Where views are believed beside distributed transactions, their rows are visible as soon as others of the group are.
#[test]
fn commits_of_the_newest_mysql_are_visible_with_their_group() {
    let server = server(Kind::MysqlNewest);
    for by in [By::Itself, By::Another, By::OnePhase] {
        let value = if by == By::Itself { 1 } else { 100 };
        let logged = (value..).take(30).find_map(|value| Logged::stop(&server, by, value)).expect("none was stopped");
        assert!(logged.visible, "{by:?}");
        logged.go_on();
    }
}

/// Sessions that change rows in distributed transactions, each its own, as fast as they can.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Busy {
    fn start(server: &Server, kind: Kind) -> Self {
        // 5.7 may forget locks of a transaction that another session commits.
        let leaves = if kind == Kind::Mysql57 { 0 } else { 50 };
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |number: u64| {
            let (stop, socket) = (stop.clone(), server.socket().to_owned());
            std::thread::spawn(move || {
                let mut session = Session::connect(&socket).unwrap();
                session.run("USE d").unwrap();
                let mut random = Random::new(number);
                let mut done = 0;
                while done == 0 || !stop.load(Ordering::Relaxed) {
                    done += 1;
                    let (name, id) = (format!("b{number}-{done}"), 1 + 4 * random.below(1000) + number);
                    session
                        .run(&format!("XA START '{name}'; UPDATE t SET v = v + 1 WHERE id = {id}; XA END '{name}'"))
                        .unwrap();
                    if random.chance(30) {
                        session.run(&format!("XA COMMIT '{name}' ONE PHASE")).unwrap();
                        continue;
                    }
                    session.run(&format!("XA PREPARE '{name}'")).unwrap();
                    if random.chance(leaves) {
                        session = session.renewed().unwrap();
                        session.run("USE d").unwrap();
                    }
                    session.run(&format!("XA COMMIT '{name}'")).unwrap();
                }
                done
            })
        };
        Self { threads: (0..4).map(thread).collect(), stop }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            assert!(thread.join().unwrap() > 0);
        }
    }
}

async fn beside_commits(kind: Kind) {
    let server = server(kind);
    for round in 0..3 {
        let options = [("scan.incremental.snapshot.chunk.size", "100"), ("server-id", &*format!("{}", 7000 + round))];
        let mut pipeline = Pipeline::new(source(&server, "d.t", &options));
        pipeline.open().await.unwrap();
        let busy = Busy::start(&server, kind);
        let outcome = pipeline.until("caught-up").await;
        busy.end();
        outcome.unwrap();
        server.sql("UPDATE d.t SET v = v + 1 WHERE id = 1").unwrap();
        pipeline.until_gtid(&last_gtid(&server)).await.unwrap();
        let (found, held) = (&pipeline.sink.rows["d.t"], rows_of(&server, "d.t", 1));
        let differ: Vec<_> = held.iter().filter(|(key, row)| found.get(*key) != Some(row)).collect();
        assert!(differ.is_empty() && found.len() == held.len(), "{kind:?}, round {round}, the server holds {differ:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_distributed_commits_beside_a_snapshot_are_in_exactly_one_part() {
    for kind in Kind::ALL {
        let began = std::time::Instant::now();
        beside_commits(kind).await;
        eprintln!("{kind:?} {:?}", began.elapsed());
    }
}
