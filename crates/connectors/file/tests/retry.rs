//! P04 for files: writes that fail a while have taken nothing, and none of the rows is lost or repeated.

use crate::support::*;
use dujiang_core::{Code, Epoch};
use proptest::prelude::*;
use std::fs;

/// Offers batches until one is refused because the folder of staged files is away, then `failures - 1` times more.
async fn fail_and_recover(batch_rows: i64, failures: u32) -> Result<(), TestCaseError> {
    let dir = scratch();
    let (sink, context) = (sink(dir.path(), &[("format", "json"), ("roll.size", "400")]), context(1));
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    let (staged, away) = (dir.path().join(".dujiang/staged"), dir.path().join(".dujiang/away"));
    fs::rename(&staged, &away).unwrap();
    let mut next = 0;
    let mut refused = 0;
    while refused < failures {
        match writer.write(&inserts(&table("t"), next..next + batch_rows)).await {
            Ok(_) => next += batch_rows,
            Err(error) => {
                // Rows taken before are in trouble, not those offered now: nobody may send these to the dead letters.
                prop_assert_eq!(error.code(), Code::SinkUnwritten);
                prop_assert!(writer.trouble().is_some());
                reads_as_written(&error, dir.path());
                refused += 1;
            }
        }
        tokio::task::yield_now().await;
    }
    fs::rename(&away, &staged).unwrap();
    writer.write(&inserts(&table("t"), next..next + batch_rows)).await.unwrap();
    let tokens = writer.prepare(Epoch(1)).await.unwrap();
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    prop_assert_eq!(visible_ids(dir.path()), (0..next + batch_rows).collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn p04_failed_writes_take_nothing(batch_rows in 1i64..20, failures in 1u32..=3) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(fail_and_recover(batch_rows, failures))?;
    }
}
