//! D1: the power fails. What was promised to be durable is there afterwards; without the fsync of folders it is not,
//! which shows that the test would see a bug (D4). Needs the right to mount.

use crate::crash::{SABOTEUR, install};
use crate::support::*;
use dujiang_core::Epoch;
use dujiang_core::checkpoint::Token;
use dujiang_testkit::power::Disk;
use std::path::Path;
use tempfile::tempdir;

/// When the power fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// The checkpoint that names the files is published, nothing is committed.
    Prepared,
    Committed,
}

async fn write(root: &Path, moment: Moment) -> Vec<Token> {
    let (sink, context) = (sink(root, &[("format", "json")]), context(1));
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    writer.write(&inserts(&table("t"), 0..1000)).await.unwrap();
    writer.write(&inserts(&table("u"), 1000..1500)).await.unwrap();
    let tokens = writer.prepare(Epoch(1)).await.unwrap();
    if moment == Moment::Committed {
        committer.commit(&request(1, 1, &tokens)).await.unwrap();
    }
    tokens
}

/// Writes an epoch, cuts the power, and commits the epoch again as the next start does; the rows visible then, or why
/// there are none.
fn survive(moment: Moment, thread: &str) -> Result<Vec<i64>, String> {
    install();
    let folder = tempdir().unwrap();
    let disk = Disk::mount(folder.path(), 16).unwrap_or_else(|why| panic!("the test needs to mount a disk: {why}"));
    let root = folder.path().join("sink");
    let runtime = || tokio::runtime::Builder::new_current_thread().thread_name(thread).build().unwrap();
    let tokens = runtime().block_on(write(&root, moment));
    disk.cut().unwrap();
    disk.restore().unwrap();
    if moment == Moment::Committed {
        return Ok(visible_ids(&root));
    }
    runtime().block_on(async {
        let (sink, context) = (sink(&root, &[("format", "json")]), context(2));
        let mut committer = opened(&sink, &context).await;
        committer.commit(&request(1, 2, &tokens)).await.map_err(|error| error.to_string())?;
        Ok(visible_ids(&root))
    })
}

#[test]
fn p15_what_is_prepared_or_committed_survives_a_power_cut() {
    for moment in [Moment::Prepared, Moment::Committed] {
        assert_eq!(survive(moment, "power"), Ok((0..1500).collect::<Vec<_>>()), "{moment:?}");
    }
}

#[test]
fn without_the_fsync_of_folders_a_power_cut_loses_data() {
    // ext4 keeps the name of a new file together with its bytes; it is the renames of the commit that are lost.
    let outcome = survive(Moment::Committed, SABOTEUR);
    assert!(outcome != Ok((0..1500).collect::<Vec<_>>()), "the harness does not see the saboteur");
}
