//! Large (TOAST) values that an update does not touch are not in the log.

use super::harness::*;
use super::window::{end, waiting_commits};
use dujiang_core::source::SourceEvent;
use dujiang_core::{ChangeBatch, Kind};
use dujiang_scratch::Postgres;
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
    waiting_commits(&server, true);
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
            let mut held = true;
            while found.len() < 2 {
                if held && begun.elapsed() > Duration::from_millis(700) {
                    held = false;
                    waiting_commits(&server, false);
                }
                let next = tokio::time::timeout(Duration::from_millis(100), reader.next()).await;
                assert!(begun.elapsed() < Duration::from_secs(60), "no value: {found:?}");
                if let SourceEvent::Batch(batch) = next.map_or(SourceEvent::Idle, Result::unwrap) {
                    found.extend(images(&batch).into_iter().filter(|image| image.kind == Kind::UpdateAfter));
                }
            }
            // Values that came too early came while the commit was held.
            if held {
                waiting_commits(&server, false);
            }
            found
        };
        let found = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(reading));
        writing.join().unwrap();
        found
    });
    let shown: Vec<(&str, &str)> = found.iter().map(|image| (&*image.cells[1], &image.cells[2][..3])).collect();
    assert_eq!(shown, [("0", "222"), ("1", "222")]);
}
