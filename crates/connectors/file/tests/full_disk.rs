//! D9: a full disk stops the writer, and nothing is lost when space returns. Needs the right to mount a tmpfs.

use crate::support::*;
use dujiang_core::{Code, Epoch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::task::Poll;
use tempfile::{TempDir, tempdir};

/// A file system of a few megabytes, unmounted when dropped.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let folder = tempdir().unwrap();
        let options = format!("size={size}");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .output()
            .expect("the test needs the `mount` command");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the test needs to mount a tmpfs (run it as root): {why}");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no more than `spare` bytes free.
    fn fill(&self, spare: usize) -> PathBuf {
        let ballast = self.path().join("ballast");
        let piece = vec![0; 64 << 10];
        let mut file = fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(spare as u64)).unwrap();
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_loses_nothing() {
    let disk = SmallDisk::mount("64m");
    let root = disk.path().join("sink");
    let (sink, context) = (sink(&root, &[("format", "json"), ("roll.size", "200kb")]), context(1));
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    let ballast = disk.fill(256 << 10);

    let mut accepted = 0;
    let mut refused = None;
    for _ in 0..1000 {
        match writer.write(&inserts(&table("t"), accepted..accepted + 500)).await {
            Ok(_) => accepted += 500,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let error = refused.expect("256 KB fill up");
    assert_eq!(error.code(), Code::SinkFull);
    reads_as_written(&error, disk.path());
    let again = writer.write(&inserts(&table("t"), accepted..accepted + 500)).await.unwrap_err();
    assert_eq!(again.code(), Code::SinkFull, "a refused batch may be offered again");

    fs::remove_file(ballast).unwrap();
    writer.write(&inserts(&table("t"), accepted..accepted + 500)).await.unwrap();
    let tokens = writer.prepare(Epoch(1)).await.unwrap();
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    assert_eq!(visible_ids(&root), (0..accepted + 500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_end_of_the_epoch_keeps_the_epoch_waiting() {
    let disk = SmallDisk::mount("4m");
    let root = disk.path().join("sink");
    let (sink, context) = (sink(&root, &[("format", "json")]), context(1));
    let mut committer = opened(&sink, &context).await;
    let mut writer = writer(&sink, 0, &context).await;
    writer.write(&inserts(&table("t"), 0..500)).await.unwrap();
    let ballast = disk.fill(0);
    let mut first = writer.prepare(Epoch(1));
    // Rows of the next epoch are taken until the lane has met the full disk.
    let mut next = 500;
    while writer.write(&inserts(&table("t"), next..next + 1)).await.is_ok() {
        next += 1;
        tokio::task::yield_now().await;
    }
    let waits = std::future::poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending())).await;
    assert!(waits, "an epoch that cannot end is neither ended nor failed");

    fs::remove_file(ballast).unwrap();
    let tokens = first.await.unwrap();
    let ballast = disk.fill(0);
    assert_eq!(committer.commit(&request(1, 1, &tokens)).await.unwrap_err().code(), Code::SinkFull);
    assert!(visible(&root).is_empty());
    fs::remove_file(ballast).unwrap();
    committer.commit(&request(1, 1, &tokens)).await.unwrap();
    assert_eq!(visible_ids(&root), (0..500).collect::<Vec<_>>(), "no row of the next epoch slipped in");
    let tokens = writer.prepare(Epoch(2)).await.unwrap();
    committer.commit(&request(2, 1, &tokens)).await.unwrap();
    assert_eq!(visible_ids(&root), (0..next).collect::<Vec<_>>());
}
