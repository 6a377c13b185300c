use super::harness::*;
use dujiang_scratch::{Postgres, Random};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tables of all kinds of keys: number, composite, text in byte order, uuid, bytes; and one that is read as a whole.
pub const TABLES: &[(&str, &str, usize)] = &[
    ("n", "id int PRIMARY KEY, v int, x text", 1),
    ("c", "a smallint, b bigint, v int, x text, PRIMARY KEY (a, b)", 2),
    ("s", "k text COLLATE \"C\" PRIMARY KEY, v int, x text", 1),
    ("w", "k text COLLATE \"en-x-icu\" PRIMARY KEY, v int, x text", 1),
];

fn key(table: &str, random: &mut Random) -> String {
    let n = random.below(400);
    let word = ["ab", "AB", "é", "z ", "日本", "😀x", "ß", "a b"][(n % 8) as usize];
    match table {
        "n" => format!("{}", n as i64 - 200),
        "c" => format!("{}, {}", n as i64 % 20 - 10, i64::MAX - n as i64 / 20),
        _ => format!("'{word}{}'", n / 8),
    }
}

fn columns(table: &str) -> &'static str {
    match table {
        "c" => "a, b",
        "n" => "id",
        _ => "k",
    }
}

pub fn create(server: &Postgres, schema: &str) {
    let mut random = Random::new(7);
    let mut script = format!("CREATE SCHEMA {schema}; SET search_path = {schema};\n");
    for (table, definition, _) in TABLES {
        script += &format!("CREATE TABLE {table} ({definition}); ALTER TABLE {table} REPLICA IDENTITY FULL;\n");
        for _ in 0..300 {
            script += &insert(table, &mut random);
        }
    }
    server.sql(&script).unwrap();
}

fn insert(table: &str, random: &mut Random) -> String {
    let (names, key, v) = (columns(table), key(table, random), random.below(1000));
    format!("INSERT INTO {table} ({names}, v) VALUES ({key}, {v}) ON CONFLICT DO NOTHING;\n")
}

/// One transaction over several tables, with savepoints; some are rolled back, some prepared, some change keys.
pub fn transaction(random: &mut Random, number: u64) -> String {
    let mut script = "BEGIN;\n".to_owned();
    for _ in 0..1 + random.below(6) {
        let (table, ..) = TABLES[random.below(TABLES.len() as u64) as usize];
        let (names, place) = (columns(table), key(table, random));
        let to = key(table, random);
        let filter = format!("({names}) = ({place})");
        script += &match random.below(12) {
            0..3 => insert(table, random),
            3..7 => format!("UPDATE {table} SET v = v + 1 WHERE {filter};\n"),
            7 => format!(
                "UPDATE {table} SET ({names}) = ROW({to}) WHERE {filter} AND NOT EXISTS (SELECT FROM {table} WHERE ({names}) = ({to}));\n"
            ),
            8 => format!("DELETE FROM {table} WHERE {filter};\n"),
            9 => format!("SAVEPOINT a; UPDATE {table} SET v = -1 WHERE v % 7 = 0; ROLLBACK TO a;\n"),
            10 => format!("SAVEPOINT a; UPDATE {table} SET v = v + 2 WHERE {filter}; RELEASE a;\n"),
            _ => format!("UPDATE {table} SET v = v + 1 WHERE v % 50 = {};\n", random.below(50)),
        };
    }
    script += &match random.below(20) {
        0..2 => "ROLLBACK;\n".to_owned(),
        2 => format!("PREPARE TRANSACTION 'x{number}'; COMMIT PREPARED 'x{number}';\n"),
        3 => format!("PREPARE TRANSACTION 'x{number}'; ROLLBACK PREPARED 'x{number}';\n"),
        _ => "COMMIT;\n".to_owned(),
    };
    script
}

/// One psql that is fed with transactions.
pub fn client(server: &Postgres, schema: &str) -> Child {
    let mut child = Command::new("psql")
        .args(["-X", "-q", "-U", "postgres", "-d", "postgres", "-h"])
        .arg(server.socket_dir())
        .args(["-p", &server.port().to_string(), "-o", "/dev/null", "-f", "-"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "SET search_path = {schema};").unwrap();
    child
}

/// Writes until told to stop, at least so many transactions. A lost server ends it.
pub fn writer(
    server: &Postgres,
    schema: &str,
    seed: u64,
    least: u64,
) -> (Arc<AtomicBool>, std::thread::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, mut client) = (stop.clone(), client(server, schema));
    let thread = std::thread::spawn(move || {
        let mut random = Random::new(seed);
        let mut input = client.stdin.take().unwrap();
        for number in 0.. {
            let script = transaction(&mut random, seed * 1_000_000 + number);
            if input.write_all(script.as_bytes()).is_err() {
                break;
            }
            if told.load(Ordering::Relaxed) && number >= least {
                break;
            }
            // The pipe holds many: what is told to stop would go on for long.
            if number % 8 == 0 {
                std::thread::yield_now();
            }
        }
        drop(input);
        client.wait().unwrap();
    });
    (stop, thread)
}

pub fn compare(server: &Postgres, schema: &str, sink: &Sink) {
    for (table, _, key) in TABLES {
        let name = format!("{schema}.{table}");
        let expected = rows_of(server, &name, *key);
        let found = sink.rows.get(&name).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{name}");
    }
}

/// P02: snapshot and stream together are what the server has, under load, with crashes and barriers at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_snapshot_and_stream_meet_exactly_under_load() {
    under_load("load", false).await;
}

/// The same when rows of several tables become one table of the sink, and chunks come at their place in the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_chunks_at_their_place_in_the_stream_hold_nothing_up() {
    under_load("ordered", true).await;
}

async fn under_load(schema: &str, in_order: bool) {
    let server = own();
    create(&server, schema);
    let (stop, thread) = writer(&server, schema, 3, 300);
    let options = [("scan.incremental.snapshot.chunk.size", "20"), ("slot.name", schema)];
    let mut pipeline = Pipeline::new(source(&server, &format!(r"postgres.{schema}.\.*"), &options));
    pipeline.in_order = in_order;
    let mut random = Random::new(4);
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
        if random.chance(20) {
            pipeline.barrier().unwrap();
            if random.chance(30) {
                pipeline.crash();
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    pipeline.open().await.unwrap();
    pipeline.until_now(&server).await.unwrap();
    compare(&server, schema, &pipeline.sink);
}

/// DDL while the snapshot is read: chunks come with the columns of before and of after, changes too, whichever is first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_change_while_the_snapshot_is_read_are_carried_through() {
    let server = own();
    create(&server, "ddl");
    let options = [("scan.incremental.snapshot.chunk.size", "10"), ("slot.name", "ddl")];
    let mut pipeline = Pipeline::new(source(&server, r"postgres.ddl.\.*", &options));
    let mut random = Random::new(9);
    let (mut altered, mut steps) = (0, 0);
    // A crash between the last chunk and the event leaves none to tell.
    let over = |pipeline: &Pipeline| ["snapshot-done", "caught-up"].iter().any(|event| pipeline.events.contains(event));
    while !over(&pipeline) {
        pipeline.step().await.unwrap();
        steps += 1;
        if steps % 8 == 0 && altered < 6 {
            altered += 1;
            let (table, _, _) = TABLES[altered % 3];
            let sql = format!("SET search_path = ddl; ALTER TABLE {table} ADD COLUMN e{altered} int;");
            let change = format!("UPDATE {table} SET e{altered} = {altered} WHERE v % 3 = {};", altered % 3);
            // Every other time nobody changes a row, so that the stream does not tell of the new column.
            server.sql(&if altered % 2 == 0 { sql } else { sql + &change }).unwrap();
        }
        if random.chance(30) {
            pipeline.barrier().unwrap();
            if random.chance(50) {
                pipeline.crash();
            }
        }
    }
    while !pipeline.events.contains(&"caught-up") {
        pipeline.step().await.unwrap();
    }
    pipeline.open().await.unwrap();
    server
        .sql("SET search_path = ddl; UPDATE n SET v = v + 1; UPDATE c SET v = v + 1; UPDATE s SET v = v + 1")
        .unwrap();
    pipeline.until_now(&server).await.unwrap();
    assert!(altered == 6, "{altered}");
    compare(&server, "ddl", &pipeline.sink);
}
