//! P12: no file passes its size or age limit by more than one batch, and none is empty.

use crate::support::*;
use dujiang_core::Epoch;
use dujiang_core::sink::{SinkContext, Writer};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

/// One batch: rows, table, and how long after the one before it comes.
type Step = (i64, usize, i64);

const TABLES: [&str; 3] = ["a", "b/b", "C"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((1i64..200, 0usize..TABLES.len(), 0i64..40_000_000), 1..30)
}

async fn write_all(steps: &[Step], format: &'static str, roll_bytes: u64, spill: bool) -> Result<(), TestCaseError> {
    let dir = scratch();
    let size = roll_bytes.to_string();
    let sink =
        sink(dir.path(), &[("format", format), ("roll.size", &size), ("roll.age", "60s"), ("compression", "none")]);
    let clock = clock();
    let mut context = context(1);
    context.clock = clock.clone();
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    let mut next_id = 0;
    let mut rows_of: HashMap<usize, i64> = HashMap::new();
    for &(rows, table_index, pause) in steps {
        clock.0.fetch_add(pause, Ordering::Relaxed);
        writer.write(&inserts(&table(TABLES[table_index]), next_id..next_id + rows)).await.unwrap();
        if spill {
            writer.spill().await.unwrap();
        } else {
            settle(&*writer, &context).await;
        }
        next_id += rows;
        *rows_of.entry(table_index).or_default() += rows;
    }
    let tokens = writer.prepare(Epoch(1)).await.unwrap();
    prop_assert!(visible(dir.path()).is_empty());
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    prop_assert!(context.budget.used() == 0, "everything counted was given back: {}", context.budget.used());

    // A batch of 200 rows has fewer than 40 kB in every format used here.
    let limit = roll_bytes + 60_000;
    let mut rows = 0;
    for file in visible(dir.path()) {
        let bytes = std::fs::metadata(&file).unwrap().len();
        prop_assert!(bytes > 0 && bytes < limit, "{} has {bytes} bytes", file.display());
    }
    for token in &tokens {
        let record: serde_json::Value = serde_json::from_slice(&token.0).unwrap();
        prop_assert!(record["rows"].as_i64().unwrap() > 0, "no file is empty");
        rows += record["rows"].as_i64().unwrap();
    }
    prop_assert_eq!(rows, next_id);
    prop_assert!(tokens.len() >= rows_of.len());
    if format == "json" {
        let mut ids = visible_ids(dir.path());
        ids.sort_unstable();
        prop_assert_eq!(ids, (0..next_id).collect::<Vec<_>>());
    }
    Ok(())
}

/// Waits until the lane has taken everything sent so far: a batch in the queue counts against the budget, but is in no
/// buffer.
async fn settle(writer: &dyn Writer, context: &SinkContext) {
    while context.budget.used() > writer.buffered() {
        tokio::task::yield_now().await;
    }
}

fn run(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn p12_files_roll_by_size_and_none_is_empty(
        steps in steps(),
        format in prop::sample::select(vec!["json", "csv", "parquet"]),
        size in 2_000u64..80_000,
        spill in any::<bool>(),
    ) {
        run(write_all(&steps, format, size, spill))?;
    }
}

#[tokio::test]
async fn p12_files_roll_by_age() {
    let dir = scratch();
    let sink = sink(dir.path(), &[("format", "json"), ("roll.age", "60s")]);
    let clock = clock();
    let mut context = context(1);
    context.clock = clock.clone();
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    for batch in 0..7 {
        writer.write(&inserts(&table("t"), batch..batch + 1)).await.unwrap();
        settle(&*writer, &context).await;
        clock.0.fetch_add(20_000_000, Ordering::Relaxed);
    }
    let tokens = writer.prepare(Epoch(1)).await.unwrap();
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    let rows: Vec<_> =
        visible(dir.path()).iter().map(|f| std::fs::read_to_string(f).unwrap().lines().count()).collect();
    assert_eq!(rows, [3, 3, 1]);
    assert_eq!(visible_ids(dir.path()), (0..7).collect::<Vec<_>>());
}

#[tokio::test]
async fn p13_names_rise_even_when_the_clock_falls() {
    let dir = scratch();
    let mut names = Vec::new();
    for generation in 1..=3u64 {
        let sink = sink(dir.path(), &[("format", "json")]);
        let clock = clock();
        clock.0.fetch_sub(generation as i64 * 1_000_000, Ordering::Relaxed);
        let mut context = context(generation);
        context.clock = clock;
        let mut committer = opened(&sink, &context).await;
        let mut writer = writer(&sink, 0, &context).await;
        writer.write(&inserts(&table("t"), 0..1)).await.unwrap();
        let tokens = writer.prepare(Epoch(generation)).await.unwrap();
        committer.commit(&request(generation, generation, &tokens)).await.unwrap();
        names.push(visible(dir.path()).pop().unwrap());
    }
    assert!(names.is_sorted() && names[0] != names[1] && names[1] != names[2], "{names:?}");
}
