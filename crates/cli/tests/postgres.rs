//! The real binary on a real PostgreSQL server: it is killed again and again, the server is killed, columns come and go, long
//! transactions overlap, and afterwards its files are the source.
//!
//! Transactions of more than 64 kB are sent while they are in progress; each life has a server of another version, and the last one
//! reads a slot made with `two_phase`.
//!
//! `DUJIANG_KILLS` sets how many kills there are at least (200 by default); `DUJIANG_SEED` repeats a run's choices, which every
//! failure prints.

use crate::river::Run;
use crate::support::{Place, number, seed};
use dujiang_core::fault::POINTS;
use dujiang_scratch::{Postgres, PostgresKind, PostgresOptions, Random};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;
/// Pipelines that are begun anew, each from its snapshot: one on a server of each version.
const LIVES: [PostgresKind; 2] = PostgresKind::ALL;
/// Every so many kills of the pipeline the server is killed as well.
const SERVER_KILLS: u64 = 25;
const IN_SNAPSHOT: [&str; 2] = ["snapshot.chunk-read", "snapshot.hand-off"];
const IN_RECOVERY: [&str; 2] = ["recovery.acquired", "recovery.committed"];

/// Captured tables and their key columns: a number, a text in byte order, a composite key, and one that is read as a whole.
const TABLES: &[(&str, &str)] = &[("a", "id"), ("b", "k"), ("c", "x, y"), ("w", "k")];
const TABLES_SQL: &str = "
CREATE TABLE a (id int PRIMARY KEY, v int NOT NULL, t text);
CREATE TABLE b (k text COLLATE \"C\" PRIMARY KEY, v int NOT NULL);
CREATE TABLE c (x smallint, y bigint, v int NOT NULL, d numeric(12, 2), PRIMARY KEY (x, y));
CREATE TABLE w (k text COLLATE \"en-x-icu\" PRIMARY KEY, v int NOT NULL);
ALTER TABLE a REPLICA IDENTITY FULL; ALTER TABLE b REPLICA IDENTITY FULL; ALTER TABLE c REPLICA IDENTITY FULL;
ALTER TABLE w REPLICA IDENTITY FULL;
INSERT INTO a SELECT n, 0, 'text of ' || n FROM generate_series(1, 6000) n;
INSERT INTO b SELECT 'k' || n, 0 FROM generate_series(1, 4000) n;
INSERT INTO c SELECT n % 40, n, 0, n / 7.0 FROM generate_series(1, 4000) n;
INSERT INTO w SELECT 'w' || n, 0 FROM generate_series(1, 500) n;";

const LATE_SQL: &str = "
CREATE TABLE late (id int PRIMARY KEY, v int NOT NULL); ALTER TABLE late REPLICA IDENTITY FULL;
INSERT INTO late SELECT n, 0 FROM generate_series(1, 3000) n; UPDATE late SET v = 1 WHERE id % 3 = 0;";

/// One server, its load, and one pipeline at a time.
struct Hunt {
    place: Place,
    server: Postgres,
    random: Random,
    life: u64,
    kills: u64,
    points: BTreeMap<&'static str, u64>,
    load: Option<(Arc<AtomicBool>, Vec<JoinHandle<()>>)>,
    loads: u64,
    /// Transactions that were sent while they were in progress, as far as the server could tell before it was killed.
    in_pieces: u64,
}

#[test]
fn p01_files_are_the_postgres_source_after_any_number_of_kills() {
    let wanted = number("DUJIANG_KILLS", 200);
    let seed = seed();
    let mut hunt = Hunt {
        place: Place::new(),
        server: server(LIVES[0]),
        random: Random::new(seed),
        life: 0,
        kills: 0,
        points: BTreeMap::new(),
        load: None,
        loads: seed % 1000,
        in_pieces: 0,
    };
    for (life, kind) in LIVES.into_iter().enumerate() {
        if life > 0 {
            hunt.server = server(kind);
        }
        eprintln!("life {}: PostgreSQL {}", life + 1, hunt.server.version());
        hunt.live(wanted.div_ceil(LIVES.len() as u64), life + 1 == LIVES.len());
    }
    eprintln!("{} kills, {} transactions in pieces, {:?}", hunt.kills, hunt.in_pieces, hunt.points);
    assert!(hunt.in_pieces > 0, "no transaction was sent while it was in progress");
}

fn server(kind: PostgresKind) -> Postgres {
    let options = PostgresOptions::default()
        .on(kind)
        .set("fsync=on")
        .set("wal_writer_delay=20ms")
        .set("logical_decoding_work_mem=64kB")
        .set("max_prepared_transactions=30");
    let server = Postgres::start_with(&options).expect("a PostgreSQL server");
    server.sql(TABLES_SQL).expect("the tables");
    server
}

impl Hunt {
    /// One pipeline from its snapshot to the verdict, from a slot of two phases or not.
    fn live(&mut self, kills: u64, two_phase: bool) {
        self.life += 1;
        self.write_pipeline();
        if two_phase {
            let sql = format!("SELECT pg_create_logical_replication_slot('{}', 'pgoutput', false, true)", self.slot());
            self.server.sql(&sql).expect("a slot of two phases");
        }
        self.start_load();
        let end = self.kills + kills;
        for attempt in 0..kills / 4 {
            self.kill_at(IN_SNAPSHOT[attempt as usize % 2], 12);
        }
        // A table that comes in the midst of it: it joins once, wherever that is interrupted.
        let late = format!("late{}", self.life);
        self.server.sql(&LATE_SQL.replace("late", &late)).expect("a table that comes later");
        while self.kills < end {
            self.kill_somehow();
            if self.kills.is_multiple_of(SERVER_KILLS) {
                self.kill_server();
            }
        }
        self.stop_load();
        let status = self.spawn("", &["--until", "caught-up"]).wait();
        assert!(status.success(), "the last run ended with {status}:\n{}", self.log());
        for table in TABLES.iter().map(|(table, _)| *table).chain([late.as_str()]) {
            self.must_be_the_source(table);
        }
        self.count_pieces();
        self.must_halt_without_its_slot();
    }

    fn count_pieces(&mut self) {
        let sql = "SELECT coalesce(sum(stream_txns), 0) FROM pg_stat_replication_slots";
        self.in_pieces += self.server.sql(sql).expect("statistics").trim().parse::<u64>().expect("a number");
    }

    fn slot(&self) -> String {
        format!("dujiang_river{}", self.life)
    }

    /// INV-6: the log of before is gone with the slot, and a new slot begins later.
    fn must_halt_without_its_slot(&mut self) {
        let slot = self.slot();
        self.server
            .sql(&format!("SELECT pg_drop_replication_slot('{slot}'); DELETE FROM a WHERE id = 1"))
            .expect("no slot");
        self.must_halt("E0262");
        self.server
            .sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"))
            .expect("a new slot");
        self.must_halt("E0265");
        self.server
            .sql(&format!("SELECT pg_drop_replication_slot('{slot}')"))
            .expect("the slot of the life that is over");
    }

    fn must_halt(&self, code: &str) {
        let status = self.spawn("", &["--until", "caught-up"]).wait();
        assert_eq!(status.code(), Some(65), "{}", self.log());
        assert!(self.log().contains(code), "{code} in {}", self.log());
    }

    fn write_pipeline(&self) {
        let text = format!(
            "source:\n  type: postgres\n  hostname: 127.0.0.1\n  port: {}\n  username: postgres\n  password: ''\n  \
             tables: postgres.public.[abcw], postgres.public.late{}\n  scan.incremental.snapshot.chunk.size: 150\nsink:\n  type: file\n  path: {}\n  \
             format: json\n  before-images: rows\npipeline:\n  name: river{}\n  parallelism: 2\n  checkpoint.interval: 50ms\n",
            self.server.port(),
            self.life,
            self.out().display(),
            self.life,
        );
        self.place.file("river.yaml", &text);
    }

    fn out(&self) -> PathBuf {
        self.place.path(&format!("out-{}", self.life)).join("files")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.path("river.log")).unwrap_or_default()
    }

    fn spawn(&self, faults: &str, arguments: &[&str]) -> Run {
        let mut command = self.place.dujiang();
        command.args(["run", "river.yaml"]).args(arguments);
        Run::start(command, self.place.path("river.log"), faults)
    }

    /// Kills at a fail point, at one of its first `most` hits, if the run gets there; else at that moment.
    fn kill_at(&mut self, point: &'static str, most: u64) {
        let hit = 1 + self.random.below(most);
        let mut run = self.spawn(&format!("{point}@{hit}"), &[]);
        let deadline = Instant::now() + Duration::from_secs(3);
        let missed = run.wait_until(|| Instant::now() > deadline);
        self.finish(run);
        if !missed {
            *self.points.entry(point).or_default() += 1;
        }
    }

    fn kill_somehow(&mut self) {
        if self.random.chance(30) {
            let run = self.spawn("", &[]);
            return self.kill_after(run, 500);
        }
        let elsewhere = POINTS.iter().copied().filter(|point| !IN_SNAPSHOT.contains(point));
        let rarest = elsewhere.min_by_key(|point| self.points.get(point).copied().unwrap_or(0));
        let rarest = rarest.expect("invariant: there are points");
        let most = match rarest {
            "file.step" => 100,
            point if IN_RECOVERY.contains(&point) => 1,
            _ => 4,
        };
        self.kill_at(rarest, most);
    }

    fn kill_after(&mut self, mut run: Run, longest: u64) {
        let moment = Instant::now() + Duration::from_millis(self.random.below(longest));
        run.wait_until(|| Instant::now() > moment);
        self.finish(run);
    }

    /// A run that ends by itself has met an error; there is none to meet but one: the load has changed a table's columns between two
    /// looks of a first start, which then says what to do, and is done so by the next run.
    fn finish(&mut self, mut run: Run) {
        if let Some(status) = run.ended() {
            let changed = "the table was changed while the pipeline started: start it again";
            if status.code() == Some(65) && self.log().contains(changed) {
                return;
            }
            assert_eq!(status.signal(), Some(SIGKILL), "a run ended with {status}:\n{}", self.log());
        }
        run.kill();
        self.kills += 1;
    }

    /// The server dies under a running pipeline, and comes back; then the pipeline is killed too.
    fn kill_server(&mut self) {
        let mut run = self.spawn("", &[]);
        let moment = Instant::now() + Duration::from_millis(200 + self.random.below(300));
        run.wait_until(|| Instant::now() > moment);
        self.count_pieces();
        self.server.kill9();
        self.stop_load();
        self.server.restart().expect("the server comes back");
        self.start_load();
        self.kill_after(run, 800);
    }

    fn start_load(&mut self) {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = |number: u64| {
            let (stop, seed) = (stop.clone(), self.loads + number);
            let (socket, port) = (self.server.socket_dir().to_owned(), self.server.port());
            std::thread::spawn(move || write(&socket, port, seed, &stop))
        };
        let threads = (0..3).map(writer).collect();
        self.loads += 3;
        self.load = Some((stop, threads));
    }

    fn stop_load(&mut self) {
        let Some((stop, threads)) = self.load.take() else { return };
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("a writer");
        }
        // What was prepared when the server died is decided now.
        let prepared = self.server.sql("SELECT gid FROM pg_prepared_xacts").unwrap_or_default();
        for (at, gid) in prepared.lines().enumerate() {
            let how = if at % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
            self.server.sql(&format!("{how} PREPARED '{gid}'")).expect("a prepared transaction is decided");
        }
    }

    /// Images that came and did not go are the rows of the source, each once; no event id stands twice.
    fn must_be_the_source(&self, table: &str) {
        let mut balance: HashMap<String, i64> = HashMap::new();
        let (mut ids, mut images) = (HashSet::new(), 0);
        for line in lines(&self.out().join(format!("public.{table}"))) {
            let row: BTreeMap<String, Value> = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let came = match (text("__op").as_str(), text("__image").as_str()) {
                ("d", _) | ("u", "before") => -1,
                _ => 1,
            };
            assert!(ids.insert((text("__event_id"), came)), "event id twice: {line}");
            *balance.entry(cells(&row)).or_default() += came;
            images += 1;
        }
        balance.retain(|_, count| *count != 0);
        let rows = self.server.sql(&format!("SELECT to_jsonb(whole_row) FROM {table} whole_row")).expect("the rows");
        for line in rows.lines() {
            let row: BTreeMap<String, Value> = serde_json::from_str(line).expect("JSON");
            *balance.entry(cells(&row)).or_default() -= 1;
        }
        let wrong: Vec<_> = balance.into_iter().filter(|(_, count)| *count != 0).take(20).collect();
        assert!(
            wrong.is_empty(),
            "life {}, table {table}, {images} images: too many (+) or missing (-): {wrong:#?}",
            self.life
        );
        eprintln!("life {}, table {table}: {images} images, {} rows", self.life, rows.lines().count());
    }
}

/// A row as text, without what the sink adds. A column that came later is NULL in the rows of before; one that is dropped again
/// (`gone`) is in some images of a row and not in others.
fn cells(row: &BTreeMap<String, Value>) -> String {
    let counts = |name: &str, value: &Value| !name.starts_with("__") && name != "gone" && !value.is_null();
    let cells = row.iter().filter(|(name, value)| counts(name, value));
    cells.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn lines(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "json"));
    files
        .flat_map(|path| std::fs::read_to_string(path).expect("a file").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// One session that writes until told to stop, or until the server is gone.
fn write(socket: &Path, port: u16, seed: u64, stop: &AtomicBool) {
    let mut client = Command::new("psql")
        .args([
            "-X",
            "-q",
            "-U",
            "postgres",
            "-d",
            "postgres",
            "-p",
            &port.to_string(),
            "-o",
            "/dev/null",
            "-f",
            "-",
            "-h",
        ])
        .arg(socket)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql");
    let mut input = client.stdin.take().expect("invariant: piped");
    let mut random = Random::new(seed);
    let mut number = 0;
    // Changes of columns lock the whole table, and others wait behind them.
    input.write_all(b"SET lock_timeout = '1s'; SET deadlock_timeout = '100ms';\n").expect("psql reads");
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        if input.write_all(transaction(&mut random, seed, number).as_bytes()).is_err() {
            break;
        }
    }
    drop(input);
    let _ = client.wait();
}

/// A transaction over several tables: many rows of one statement, savepoints, key changes, two phases, rollbacks, and pauses
/// in which others commit.
fn transaction(random: &mut Random, seed: u64, number: u64) -> String {
    match random.below(60) {
        0 => return long(random, seed, number),
        1 => return columns(random, number),
        _ => {}
    }
    let mut script = "BEGIN;\n".to_owned();
    for _ in 0..1 + random.below(4) {
        let id = 1 + random.below(8000);
        let fresh = 10_000 + seed * 100_000 + number * 10 + random.below(10);
        script += &match random.below(12) {
            0..3 => format!("UPDATE a SET v = v + 1 WHERE id = {id};\n"),
            3 => format!("UPDATE b SET v = v + 1 WHERE k = 'k{id}';\n"),
            4 => format!("UPDATE c SET v = v + 1, d = d + 0.01 WHERE x = {} AND y % 97 = {};\n", id % 40, id % 97),
            5 => format!("UPDATE w SET v = v + 1 WHERE k = 'w{}';\n", id % 500),
            // One record of the log, with one place, for all rows.
            6 => {
                let rows: String = (0..10).map(|n| format!("{fresh}{n}\t0\tnew\n")).collect();
                format!("COPY a (id, v, t) FROM stdin;\n{rows}\\.\n")
            }
            7 => format!("DELETE FROM a WHERE id = {id};\n"),
            8 => format!("UPDATE b SET k = 'n{fresh}', v = v + 1 WHERE k = 'k{id}';\n"),
            9 => format!("SAVEPOINT s; UPDATE a SET v = v + 1000 WHERE id % 500 = {}; ROLLBACK TO s;\n", id % 500),
            10 => format!("SAVEPOINT s; INSERT INTO b VALUES ('s{fresh}', 0) ON CONFLICT DO NOTHING; RELEASE s;\n"),
            _ => format!("SELECT pg_sleep(0.0{});\n", random.below(6)),
        };
    }
    let gid = format!("x{seed}-{number}");
    script += &match random.below(12) {
        0 => "ROLLBACK;\n".to_owned(),
        1 => format!("PREPARE TRANSACTION '{gid}'; COMMIT PREPARED '{gid}';\n"),
        2 => format!("PREPARE TRANSACTION '{gid}'; ROLLBACK PREPARED '{gid}';\n"),
        _ => "COMMIT;\n".to_owned(),
    };
    script
}

/// A transaction that is sent before its end: it is long, most of it may be rolled back, and others commit meanwhile.
fn long(random: &mut Random, seed: u64, number: u64) -> String {
    let first = 1_000_000_000 + seed % 500 * 2_000_000 + number * 2000;
    let rows = |first: u64| {
        format!(
            "INSERT INTO a SELECT n, 0, repeat(md5(n::text), 8) FROM generate_series({first}, {}) n ON CONFLICT DO NOTHING;\n",
            first + 250
        )
    };
    let pause = format!("SELECT pg_sleep(0.{}{});\n", random.below(2), random.below(10));
    let part = if random.chance(50) { "ROLLBACK TO s" } else { "RELEASE s" };
    let end = match random.below(4) {
        0 => "ROLLBACK".to_owned(),
        1 => format!("PREPARE TRANSACTION 'l{seed}-{number}'; {pause} COMMIT PREPARED 'l{seed}-{number}'"),
        2 => format!("PREPARE TRANSACTION 'l{seed}-{number}'; {pause} ROLLBACK PREPARED 'l{seed}-{number}'"),
        _ => "COMMIT".to_owned(),
    };
    let (one, two, three) = (rows(first), rows(first + 500), rows(first + 1000));
    format!(
        "BEGIN;\n{one}{pause}SAVEPOINT s;\n{two}{pause}{part};\n{three}UPDATE a SET v = v + 1 WHERE id BETWEEN {first} AND {first} + 50;\n{end};\n"
    )
}

/// Columns come and go while others write.
fn columns(random: &mut Random, number: u64) -> String {
    let end = if random.chance(20) { "ROLLBACK" } else { "COMMIT" };
    let column = random.below(4);
    match random.below(3) {
        0 => "ALTER TABLE c ADD COLUMN IF NOT EXISTS gone int; ALTER TABLE c DROP COLUMN IF EXISTS gone;\n".to_owned(),
        1 => format!(
            "BEGIN; ALTER TABLE b ADD COLUMN IF NOT EXISTS e{column} text; UPDATE b SET e{column} = 'e{number}' WHERE v = 0 AND k LIKE '%7'; {end};\n"
        ),
        _ => format!(
            "BEGIN; ALTER TABLE c ADD COLUMN IF NOT EXISTS e{column} int; UPDATE c SET e{column} = {number} WHERE y % 50 = {column}; {end};\n"
        ),
    }
}
