use super::harness::*;
use crate::support;
use dujiang_scratch::{Kind, Options, Random, Server, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tables of all kinds of keys: number, composite, unsigned, text whose collation folds case and spaces, binary, time.
const TABLES: &[(&str, &str, usize)] = &[
    ("n", "id INT PRIMARY KEY, v INT, x VARCHAR(30)", 1),
    ("c", "a SMALLINT, b BIGINT UNSIGNED, v INT, x VARCHAR(30), PRIMARY KEY (a, b)", 2),
    ("s", "k VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v INT, x VARCHAR(30)", 1),
    ("m", "k VARCHAR(20) CHARACTER SET latin1, d DATETIME(3), v INT, PRIMARY KEY (k, d)", 2),
];

fn key(table: &str, random: &mut Random) -> String {
    let n = random.below(400);
    let word = ["ab", "AB", "é", "z ", "日本", "😀x", "ß", "a b"][(n % 8) as usize];
    match table {
        "n" => format!("{}", n as i64 - 200),
        "c" => format!("{}, {}", n as i64 % 20 - 10, u64::MAX - n / 20),
        "s" => format!("'{word}{}'", n / 8),
        _ => {
            format!("'{}{}', '20{:02}-01-01 00:00:00.5'", ["a", "B", "é", "c "][(n % 4) as usize], n / 40, n % 40 + 10)
        }
    }
}

fn columns(table: &str) -> &'static str {
    match table {
        "c" => "a, b",
        "m" => "k, d",
        "n" => "id",
        _ => "k",
    }
}

pub fn create(server: &Server, database: &str) {
    let mut session = server.session().unwrap();
    session.run(&format!("CREATE DATABASE {database}; USE {database}")).unwrap();
    let mut random = Random::new(7);
    for (table, definition, _) in TABLES {
        session.run(&format!("CREATE TABLE {table} ({definition})")).unwrap();
        for _ in 0..300 {
            session.run(&format!("INSERT IGNORE INTO {table} SET {}", assign(table, &mut random))).unwrap();
        }
    }
}

fn assign(table: &str, random: &mut Random) -> String {
    let key = key(table, random);
    let names = columns(table).split(", ");
    let parts: Vec<_> = names.zip(key.split(", ")).map(|(n, v)| format!("{n} = {v}")).collect();
    format!("{}, v = {}", parts.join(", "), random.below(1000))
}

/// One transaction over several tables; one in eight is rolled back, one in ten changes keys.
pub fn transaction(session: &mut Session, random: &mut Random) {
    session.run("BEGIN").unwrap();
    for _ in 0..1 + random.below(6) {
        let (table, ..) = TABLES[random.below(TABLES.len() as u64) as usize];
        let (assigned, place) = (assign(table, random), key(table, random));
        let filter = format!("({}) = ({place})", columns(table));
        let sql = match random.below(10) {
            0..3 => format!("INSERT IGNORE INTO {table} SET {assigned}"),
            3..7 => format!("UPDATE {table} SET v = v + 1 WHERE {filter}"),
            7 => format!("UPDATE IGNORE {table} SET {assigned} WHERE {filter}"),
            8 => format!("DELETE FROM {table} WHERE {filter}"),
            _ => format!("UPDATE {table} SET v = v + 1 WHERE v % 50 = {}", random.below(50)),
        };
        session.run(&sql).unwrap();
    }
    session.run(if random.chance(12) { "ROLLBACK" } else { "COMMIT" }).unwrap();
}

/// Writes until told to stop, at least so many transactions.
pub fn writer(
    server: &Server,
    database: &str,
    seed: u64,
    least: usize,
) -> (Arc<AtomicBool>, std::thread::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut session = server.session().unwrap();
    session.run(&format!("USE {database}")).unwrap();
    let told = stop.clone();
    let thread = std::thread::spawn(move || {
        let mut random = Random::new(seed);
        let mut done = 0;
        while done < least || !told.load(Ordering::Relaxed) {
            transaction(&mut session, &mut random);
            done += 1;
        }
    });
    (stop, thread)
}

pub fn compare(server: &Server, database: &str, sink: &Sink) {
    for (table, _, key) in TABLES {
        let name = format!("{database}.{table}");
        let mut expected = rows_of(server, &name, *key);
        if *table == "m" {
            expected = expected.into_values().map(with_micros).map(|r| (r[..2].to_vec(), r)).collect();
        }
        assert_eq!(sink.rows[&name], expected, "{name}");
    }
}

/// DATETIME as the test's sink shows it: microseconds since 1970. All are the first of January, half a second past
/// midnight.
fn with_micros(mut row: Vec<String>) -> Vec<String> {
    let year: i64 = row[1][..4].parse().unwrap();
    let days = (1970..year).map(|y| if y % 4 == 0 { 366 } else { 365 }).sum::<i64>();
    row[1] = (days * 86_400_000_000 + 500_000).to_string();
    row
}

/// P01, P39: a snapshot in small chunks beside a stream under load, with barriers and crashes at random.
async fn run(server: &Server, database: &str, seed: u64, crash_percent: u64) -> Pipeline {
    create(server, database);
    let (stop, thread) = writer(server, database, seed, 300);
    // F20: connections that read side by side, each under a view of its own.
    let connections = if seed % 2 == 1 { "3" } else { "1" };
    let options = [
        ("scan.incremental.snapshot.chunk.size", "20"),
        ("scan.incremental.snapshot.parallelism", connections),
        ("heartbeat.interval", "1s"),
    ];
    let mut pipeline = Pipeline::new(source(server, &format!("{database}.\\.*"), &options));
    let mut random = Random::new(seed + 1);
    let mut caught_up = false;
    let mut rounds = 0;
    while !caught_up || rounds < 150 {
        caught_up |= pipeline.step().await.unwrap() == "caught-up";
        rounds += 1;
        if random.chance(30) {
            pipeline.barrier().unwrap();
        }
        if random.chance(crash_percent) && pipeline.crashes < 60 {
            pipeline.crash();
        }
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    // Without GTIDs only the log itself tells where its end is.
    let mut session = server.session().unwrap();
    session.run(&format!("INSERT INTO {database}.n VALUES (100000, 0, NULL)")).unwrap();
    while !pipeline.has(&format!("{database}.n"), "100000") {
        pipeline.step().await.unwrap();
        pipeline.barrier().unwrap();
    }
    compare(server, database, &pipeline.sink);
    pipeline
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_f20_f22_snapshot_beside_load_is_exact() {
    let server = own();
    run(&server, "plain", 1, 0).await;
}

/// On servers of every kind, also without GTIDs: other ways to a hand-off point, other logs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_f39_snapshot_beside_load_is_exact_on_every_server() {
    for (kind, gtid) in [
        (Kind::MariaDbNewest, true),
        (Kind::Mysql57, true),
        (Kind::Mysql57, false),
        (Kind::MysqlNewest, true),
        (Kind::MysqlNewest, false),
    ] {
        let server = support::own(&Options { gtid, ..Options::default().on(kind) });
        println!("{kind:?}, {}, GTIDs {gtid}", server.version());
        run(&server, "every", 21, 8).await;
    }
}

/// F21, F23, F25, F26: a crash within a chunk, between chunks and where the stream takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_f21_f25_snapshot_beside_load_is_exact_through_crashes() {
    let server = own();
    for seed in 10..13 {
        let pipeline = run(&server, &format!("crash{seed}"), seed, 10).await;
        assert!(pipeline.crashes >= 10, "{}", pipeline.crashes);
    }
}

/// Whoever asks a MariaDB server for its status at the same moment may get our place, and we theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_snapshot_beside_load_is_exact_while_others_watch_the_server() {
    let server = own();
    let watching = Arc::new(AtomicBool::new(true));
    let watchers = std::array::from_fn::<_, 4, _>(|_| {
        let (watching, mut session) = (watching.clone(), server.session().unwrap());
        std::thread::spawn(move || {
            while watching.load(Ordering::Relaxed) {
                session.run("SHOW GLOBAL STATUS LIKE 'Uptime'").unwrap();
            }
        })
    });
    run(&server, "watched", 5, 5).await;
    watching.store(false, Ordering::Relaxed);
    watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
}
