//! The suites that every sink and every source pass.

use crate::support::*;
use crate::virtual_disk::VirtualDisk;
use dujiang_core::checkpoint::Generation;
use dujiang_core::connector::Log;
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, Writer};
use dujiang_core::{Code, Epoch, Position};
use dujiang_log::inspect::View;
use dujiang_testkit::conformance;
use dujiang_testkit::conformance::sink::SinkUnderTest;
use std::path::Path;
use std::sync::Arc;
use tempfile::{TempDir, tempdir};

struct Folder {
    dir: TempDir,
    codec: &'static str,
}

impl SinkUnderTest for Folder {
    fn open(&mut self) -> Box<dyn Sink> {
        log(&self.dir.path().join("log"), &[("compression", self.codec)]).sink
    }

    fn visible(&mut self) -> Vec<i64> {
        ids(&self.dir.path().join("log"))
    }
}

#[tokio::test]
async fn the_log_conforms_as_a_sink() {
    for codec in ["none", "lz4", "zstd"] {
        conformance::sink::all(&mut Folder { dir: tempdir().unwrap(), codec }).await;
    }
}

/// In memory, shared by whoever opens it.
struct Memory {
    disk: VirtualDisk,
    log: Arc<Log>,
}

/// A sink is asked for again and again, and each is the same log.
struct Shared(Arc<Log>);

#[async_trait::async_trait]
impl Sink for Shared {
    fn class(&self) -> SinkClass {
        self.0.sink.class()
    }

    async fn committer(&self, context: SinkContext) -> dujiang_core::Result<Box<dyn Committer>> {
        self.0.sink.committer(context).await
    }

    async fn writer(&self, lane: usize, context: SinkContext) -> dujiang_core::Result<Box<dyn Writer>> {
        self.0.sink.writer(lane, context).await
    }
}

impl SinkUnderTest for Memory {
    fn open(&mut self) -> Box<dyn Sink> {
        Box::new(Shared(self.log.clone()))
    }

    fn visible(&mut self) -> Vec<i64> {
        View::on(Arc::new(self.disk.clone())).map_or_else(|_| Vec::new(), |view| ids_of(&view))
    }
}

fn in_memory(more: &[(&str, &str)]) -> (VirtualDisk, Arc<Log>) {
    let disk = VirtualDisk::default();
    let log = dujiang_log::on_disk(Arc::new(disk.clone()), &raw(Path::new("memory"), more));
    (disk, Arc::new(log.map_err(|problems| format!("{problems:?}")).expect("a log")))
}

#[tokio::test]
async fn a_log_in_memory_conforms() {
    let (disk, log) = in_memory(&[]);
    conformance::sink::all(&mut Memory { disk, log }).await;
    let (_disk, log) = in_memory(&[("segment.size", "4kb"), ("max-bytes", "1mb")]);
    let shape = table("t");
    let context = sink_context(1);
    let mut committer = log.sink.committer(context.clone()).await.unwrap();
    committer.open().await.unwrap();
    committer.apply_shapes(std::slice::from_ref(&shape)).await.unwrap();
    let mut writer = log.sink.writer(0, context).await.unwrap();
    for epoch in 1..=20 {
        writer.write(&rows(&shape, &[epoch * 10, epoch * 10 + 1])).await.unwrap();
        let tokens = writer.prepare(Epoch(epoch as u64)).await.unwrap();
        let (position, position_text) = (Position::default(), String::new());
        let generation = Generation(1);
        let request = CommitRequest { epoch: Epoch(epoch as u64), generation, tokens, position, position_text };
        committer.commit(&request).await.unwrap();
    }
    conformance::source::all(|| (log.deliver)("reader"), 40).await;
}

/// k failures in a row of writing to the log, k <= 3, end in success; nothing is dropped, nothing changes its place. The
/// engine makes the pauses and applies the error policy (P04 of the engine).
#[tokio::test]
async fn p04_writing_to_the_log_is_tried_again() {
    for failures in 0..=3 {
        let (disk, log) = in_memory(&[("compression", "none"), ("segment.size", "16mb"), ("max-bytes", "100mb")]);
        let shape = table("t");
        let context = sink_context(1);
        let mut committer = log.sink.committer(context.clone()).await.unwrap();
        committer.open().await.unwrap();
        committer.apply_shapes(std::slice::from_ref(&shape)).await.unwrap();
        let mut writer = log.sink.writer(0, context).await.unwrap();
        disk.fail_writes(failures);
        let (mut expected, mut refused) = (Vec::new(), 0);
        for part in 0..12 {
            let ids: Vec<i64> = (part * 20_000..(part + 1) * 20_000).collect();
            let batch = rows(&shape, &ids);
            while let Err(error) = writer.write(&batch).await {
                assert_eq!(error.code(), Code::SinkUnwritten, "no record is at fault");
                refused += 1;
            }
            expected.extend(ids);
        }
        let tokens = writer.prepare(Epoch(1)).await.unwrap();
        let (position, position_text) = (Position::default(), String::new());
        let generation = Generation(1);
        let request = CommitRequest { epoch: Epoch(1), generation, tokens, position, position_text };
        committer.commit(&request).await.unwrap();
        assert!(refused <= failures, "{refused} of {failures}");
        assert_eq!(ids_of(&View::on(Arc::new(disk.clone())).unwrap()), expected);
    }
}

#[tokio::test]
async fn the_log_conforms_as_a_source() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let (one, two) = (table("one"), table("two"));
    let options = [("segment.size", "4kb"), ("max-bytes", "1mb")];
    let mut capture = Capture::open(&path, &options, 1, &[one.clone(), two.clone()]).await;
    for epoch in 0..30 {
        let batches = [rows(&one, &[epoch * 10, epoch * 10 + 1]), rows(&two, &[1000 + epoch * 10])];
        capture.write_epoch(&batches).await;
    }
    conformance::source::all(|| source(&path, &[]), 90).await;
    // The same as another process sees it.
    drop(capture);
    conformance::source::all(|| source(&path, &[]), 90).await;
}
