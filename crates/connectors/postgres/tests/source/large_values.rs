//! Large (TOAST) values that an update does not touch are not in the log.

use super::harness::*;
use super::window::{WaitingCommits, end};
use dujiang_core::source::SourceEvent;
use dujiang_core::{ChangeBatch, Kind};
use dujiang_postgres::lsn::Lsn;
use dujiang_scratch::Postgres;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What comes of three updates: of a row that stays, of one that is changed again, and of one that is gone.
async fn updates(server: &Postgres, options: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
    server
        .sql(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int, x text, n numeric); \
             ALTER TABLE t ALTER x SET STORAGE EXTERNAL; INSERT INTO t SELECT n, 0, repeat(n::text, 5000), n FROM generate_series(1, 3) n",
        )
        .unwrap();
    let slot = format!("s{}", options.len());
    let all = [&[("replica-identity", "key"), ("slot.name", slot.as_str())], options].concat();
    let source = source(server, "postgres.public.t", &all);
    let (mut reader, _acker) = source.open(None, context()).await.unwrap();
    let mut batches = Vec::new();
    loop {
        match reader.next().await.unwrap() {
            SourceEvent::CaughtUp => break,
            _ => reader.barrier(&mut Vec::new()).unwrap(),
        };
    }
    server
        .sql(
            "BEGIN; UPDATE t SET v = 1; UPDATE t SET x = repeat('9', 5000) WHERE id = 2; DELETE FROM t WHERE id = 3; COMMIT",
        )
        .unwrap();
    let afters = |batches: &[ChangeBatch]| -> Vec<(String, Option<String>)> {
        let of = |batch: &ChangeBatch| {
            let unfit: Vec<u32> = batch.unfit.iter().filter(|cell| cell.column == 2).map(|cell| cell.row).collect();
            let rows = images(batch).into_iter().enumerate().filter(|(_, i)| i.kind == Kind::UpdateAfter);
            let value = |(row, image): (usize, Image)| {
                let shown = image.cells[2].chars().take(3).collect();
                (image.cells[0].clone(), (!unfit.contains(&(row as u32))).then_some(shown))
            };
            rows.map(value).collect::<Vec<_>>()
        };
        batches.iter().flat_map(of).collect()
    };
    while afters(&batches).len() < 4 {
        let event = tokio::time::timeout(Duration::from_secs(30), reader.next()).await.unwrap();
        if let SourceEvent::Batch(batch) = event.unwrap() {
            batches.push(batch);
        }
    }
    afters(&batches)
}

fn shown(id: &str, value: Option<&str>) -> (String, Option<String>) {
    (id.to_owned(), value.map(str::to_owned))
}

/// F56: it is read from the table, as it is by now; of a row that is gone it stays unknown. It is never NULL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f56_a_large_value_that_is_not_logged_is_read_again_or_said_to_be_missing() {
    let server = own();
    let changed = shown("2", Some("999"));
    let found = updates(&server, &[("values.unchanged", "reread")]).await;
    assert_eq!(found, [shown("1", Some("111")), changed.clone(), shown("3", None), changed.clone()]);
    let found = updates(&server, &[]).await;
    assert_eq!(found, [shown("1", None), shown("2", None), shown("3", None), changed]);
}

/// Tables with a large value in what tells their rows apart: the primary key, an index beside one, and both columns of an index.
const LARGE_KEYS: &str = "\
    CREATE TABLE p (k text COLLATE \"C\" PRIMARY KEY, v int, x text); \
    CREATE TABLE i (id int PRIMARY KEY, k text COLLATE \"C\" NOT NULL UNIQUE, v int, x text); \
    ALTER TABLE i REPLICA IDENTITY USING INDEX i_k_key; \
    CREATE TABLE b (a int NOT NULL, k text COLLATE \"C\" NOT NULL, v int, x text, UNIQUE (a, k)); \
    ALTER TABLE b REPLICA IDENTITY USING INDEX b_a_k_key;";

/// Rows by table and key, as a sink keeps them that looks at nothing but keys in old images.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<(String, Vec<String>), Vec<String>>,
    is_read: bool,
}

impl Rows {
    fn take(&mut self, event: SourceEvent) {
        self.is_read |= matches!(event, SourceEvent::SnapshotDone);
        let SourceEvent::Batch(batch) = event else { return };
        let large = batch.schema.arrow.fields().len() as u32 - 1;
        assert!(batch.unfit.iter().all(|cell| cell.column == large), "only what is in no key may be unknown");
        for image in images(&batch) {
            let key: Vec<String> = batch.schema.key.iter().map(|&at| image.cells[at].clone()).collect();
            assert!(key.iter().all(|cell| cell != "NULL"), "{:?} of {} without a key", image.kind, image.table);
            let place = (image.table.clone(), key);
            if matches!(image.kind, Kind::Read | Kind::Insert | Kind::UpdateAfter) {
                assert!(self.rows.insert(place, image.cells).is_none(), "{:?} of a row that is there", image.kind);
            } else {
                assert!(self.rows.remove(&place).is_some(), "{:?} of a row that is not there", image.kind);
            }
        }
    }

    fn compare(&self, server: &Postgres, table: &str, with_large: bool) {
        let columns = |row: Vec<String>| if with_large { row } else { row[..row.len() - 1].to_vec() };
        let of_table = self.rows.iter().filter(|((of, _), _)| *of == format!("public.{table}"));
        let ours: BTreeSet<Vec<String>> = of_table.map(|(_, row)| columns(row.clone())).collect();
        let text = server.sql(&format!("SELECT * FROM {table}")).unwrap();
        let theirs = text.lines().map(|line| columns(line.split('\t').map(str::to_owned).collect())).collect();
        assert!(!ours.is_empty() && ours == theirs, "{table}: {} rows, {} of them", ours.len(), theirs.len());
    }
}

/// F56: a key that no update touches, and that the new row therefore lacks, is in the old row: stream and hand-off take it from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f56_a_large_value_in_a_key_that_is_not_touched_is_known() {
    for server in every() {
        server.sql(LARGE_KEYS).unwrap();
        let long = "lpad(n::text, 2300, 'k'), 0, repeat(n::text, 3000)";
        for (table, first) in [("p", ""), ("i", "n,"), ("b", "n,")] {
            let external = "ALTER COLUMN k SET STORAGE EXTERNAL, ALTER COLUMN x SET STORAGE EXTERNAL";
            let insert = format!("INSERT INTO {table} SELECT {first} {long} FROM generate_series(1, 30) n");
            server.sql(&format!("ALTER TABLE {table} {external}; REINDEX TABLE {table}; {insert}")).unwrap();
        }
        for (slot, unchanged) in [("s", "reread"), ("t", "dead-letter")] {
            let options = [
                ("replica-identity", "key"),
                ("values.unchanged", unchanged),
                ("slot.name", slot),
                ("scan.incremental.snapshot.chunk.size", "3"),
            ];
            let source = source(&server, "postgres.public.[pib]", &options);
            let (mut reader, _acker) = source.open(None, context()).await.unwrap();
            let mut rows = Rows::default();
            let mut round = 0;
            while !rows.is_read {
                rows.take(reader.next().await.unwrap());
                round += 1;
                let some = format!("WHERE (abs(hashtext(k)) + {round}) % 4 = 0");
                server
                    .sql(&format!(
                        "BEGIN; UPDATE p SET v = v + 1 {some}; UPDATE i SET v = v + 1 {some}; UPDATE b SET v = v + 1 {some}; \
                         UPDATE b SET a = -a WHERE abs(a) % 7 = {round} % 7; UPDATE i SET id = id + 100 WHERE id % 9 = {round} % 9; COMMIT"
                    ))
                    .unwrap();
            }
            let gone = format!("WHERE abs(hashtext(k)) % 5 = {}", u8::from(unchanged == "reread"));
            server.sql(&format!("DELETE FROM p {gone}; DELETE FROM i {gone}; DELETE FROM b {gone}")).unwrap();
            let end = end_of_log(&server);
            while Lsn::parse(&reader.status().position).unwrap() < end {
                rows.take(tokio::time::timeout(Duration::from_secs(60), reader.next()).await.unwrap().unwrap());
            }
            let mut rest = Vec::new();
            reader.barrier(&mut rest).unwrap();
            rest.into_iter().for_each(|batch| rows.take(SourceEvent::Batch(batch)));
            for table in ["p", "i", "b"] {
                rows.compare(&server, table, unchanged == "reread");
            }
        }
    }
}

/// F56: a commit is in the log before it is visible, here while it waits for a standby: a value that is read then would be that of
/// before the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f56_a_value_that_is_read_again_is_never_older_than_its_change() {
    let server = own();
    server
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, v int, x text); ALTER TABLE t ALTER x SET STORAGE EXTERNAL; \
             INSERT INTO t VALUES (1, 0, repeat('1', 5000))",
        )
        .unwrap();
    let options = [("replica-identity", "key"), ("values.unchanged", "reread"), ("scan.startup.mode", "latest-offset")];
    let source = source(&server, "postgres.public.t", &options);
    let (mut reader, _acker) = source.open(None, context()).await.unwrap();
    while !matches!(reader.next().await.unwrap(), SourceEvent::CaughtUp) {}
    let before = end(&server);
    let mut waiting = Some(WaitingCommits::on(&server));
    let update = "BEGIN; UPDATE t SET x = repeat('2', 5000); UPDATE t SET v = 1; COMMIT";
    let found = std::thread::scope(|scope| {
        let writing = scope.spawn(|| server.sql(update).unwrap());
        while end(&server) == before {
            std::thread::yield_now();
        }
        let reading = async {
            let mut found = Vec::new();
            // Now it is in the log only.
            let begun = std::time::Instant::now();
            while found.len() < 2 {
                if begun.elapsed() > Duration::from_millis(700) {
                    waiting = None;
                }
                let next = tokio::time::timeout(Duration::from_millis(100), reader.next()).await;
                assert!(begun.elapsed() < Duration::from_secs(60), "no value: {found:?}");
                if let SourceEvent::Batch(batch) = next.map_or(SourceEvent::Idle, Result::unwrap) {
                    found.extend(images(&batch).into_iter().filter(|image| image.kind == Kind::UpdateAfter));
                }
            }
            // Values that came too early came while the commit was held.
            drop(waiting);
            found
        };
        let found = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(reading));
        writing.join().unwrap();
        found
    });
    let shown: Vec<(&str, &str)> = found.iter().map(|image| (&*image.cells[1], &image.cells[2][..3])).collect();
    assert_eq!(shown, [("0", "222"), ("1", "222")]);
}
