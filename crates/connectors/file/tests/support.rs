//! What the tests of this crate share.

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::Token;
use dujiang_core::clock::Clock;
use dujiang_core::options::{Place, RawOption};
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkContext, Writer};
use dujiang_core::{
    ChangeBatch, Epoch, Generation, Kind, Lineage, Origin, Origins, PipelineIdentity, Position, TableId, TableSchema,
};
use dujiang_file::FileSink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::{TempDir, tempdir, tempdir_in};

/// 2026-11-20T17:38:25.123456Z
pub const NOW: i64 = 1_795_196_305_123_456;

pub struct FakeClock(pub AtomicI64);

impl Clock for FakeClock {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock(AtomicI64::new(NOW)))
}

/// A scratch folder in memory where there is one: these tests make thousands of files durable.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempdir_in(memory) } else { tempdir() }.unwrap()
}

/// Demands that an error reads as it is written down in `tests/snapshots`.
#[track_caller]
pub fn reads_as_written(error: &dujiang_core::Error, folder: &Path) {
    let hide = folder.display().to_string();
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, &[(&hide, "<folder>")]);
}

pub fn identity(name: &str, lineage: &str) -> PipelineIdentity {
    PipelineIdentity { name: name.into(), lineage: Lineage(lineage.into()) }
}

pub fn context(generation: u64) -> SinkContext {
    SinkContext {
        identity: identity("orders", "00000000000000aa"),
        generation: Generation(generation),
        clock: clock(),
        budget: Budget::new(128 << 20),
        retries: Default::default(),
    }
}

pub fn sink(path: &Path, options: &[(&str, &str)]) -> FileSink {
    let path = path.display().to_string();
    let all = [("path", path.as_str())].into_iter().chain(options.iter().copied());
    let raw: Vec<_> = all.map(|(k, v)| RawOption::new(k, v, Place::CommandLine)).collect();
    FileSink::from_options(&raw).unwrap()
}

pub async fn opened(sink: &FileSink, context: &SinkContext) -> Box<dyn Committer> {
    let mut committer = sink.committer(context.clone()).await.unwrap();
    committer.open().await.unwrap();
    committer
}

pub async fn writer(sink: &FileSink, lane: usize, context: &SinkContext) -> Box<dyn Writer> {
    sink.writer(lane, context.clone()).await.unwrap()
}

pub fn request(epoch: u64, generation: u64, tokens: &[Token]) -> CommitRequest {
    CommitRequest {
        epoch: Epoch(epoch),
        generation: Generation(generation),
        tokens: tokens.to_vec(),
        position: Position::default(),
        position_text: format!("bin.000001:{epoch}"),
    }
}

pub fn origin(transaction: &str, commit_micros: i64) -> Origin<'_> {
    Origin { transaction, position: "bin.000001:4", commit_micros, precision: TimePrecision::Micros, first_ordinal: 0 }
}

/// The table `shop.<name>` with a number and a text.
pub fn table(name: &str) -> Arc<TableSchema> {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
    TableSchema::by_value(TableId::new("shop", name), fields, vec![0])
}

/// Inserts `ids` in one transaction.
pub fn inserts(table: &Arc<TableSchema>, ids: std::ops::Range<i64>) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(StringArray::from_iter(ids.map(|id| (id % 3 != 0).then(|| format!("name {id}"))))),
    ];
    changes(table, columns, |_| Kind::Insert, NOW)
}

pub fn changes(
    table: &Arc<TableSchema>,
    columns: Vec<ArrayRef>,
    kind: impl Fn(usize) -> Kind,
    commit_micros: i64,
) -> ChangeBatch {
    let rows = RecordBatch::try_new(table.arrow.clone(), columns).unwrap();
    let kinds: Vec<_> = (0..rows.num_rows()).map(kind).collect();
    let mut origins = Origins::default();
    origins.push(rows.num_rows(), origin("0-1-99", commit_micros));
    ChangeBatch::new(table.clone(), rows, kinds, origins).unwrap()
}

/// Every file under a folder that `keep` says yes to, by relative path, sorted.
pub fn files(root: &Path, keep: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if keep(&path.strip_prefix(root).unwrap().to_string_lossy()) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What a reader of `<path>/*/**` sees: everything outside dot folders.
pub fn visible(root: &Path) -> Vec<PathBuf> {
    files(root, |relative| !relative.starts_with('.'))
}

/// The `id`s of every visible JSON file, in order of file names.
pub fn visible_ids(root: &Path) -> Vec<i64> {
    let mut ids = Vec::new();
    for file in visible(root) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            ids.push(row["id"].as_i64().unwrap());
        }
    }
    ids
}
