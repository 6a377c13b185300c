//! A log in a scratch folder, as a capture and as a delivery see it.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity, Token};
use dujiang_core::clock::Standing;
use dujiang_core::connector::{Log, PipelineOptions};
use dujiang_core::options::{Place, RawOption};
use dujiang_core::sink::{CommitRequest, Committer, SinkContext, Writer};
use dujiang_core::source::{Source, SourceContext};
use dujiang_core::{ChangeBatch, Epoch, Kind, Origin, Origins, Position, TableId, TableSchema};
use dujiang_log::inspect::{Consumer, View};
use dujiang_log::{Entry, LOG, SOURCE};
use std::path::Path;
use std::sync::Arc;

pub const NOW: i64 = 1_700_000_000_000_000;

/// Demands that an error reads as it is written down in `tests/snapshots`.
#[track_caller]
pub fn reads_as_written(error: &dujiang_core::Error, hide: &[(&str, &str)]) {
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, hide);
}

pub fn pipeline(name: &str) -> PipelineOptions {
    PipelineOptions { name: name.to_owned(), parallelism: 1, memory_limit: 64 << 20 }
}

pub fn raw(path: &Path, more: &[(&str, &str)]) -> Vec<RawOption> {
    let path = path.to_str().expect("a path in UTF-8").to_owned();
    let path = [RawOption::new("path", path, Place::CommandLine)];
    path.into_iter().chain(more.iter().map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine))).collect()
}

pub fn log(path: &Path, more: &[(&str, &str)]) -> Log {
    (LOG.build)(&raw(path, more), &pipeline("p")).map_err(|problems| format!("{problems:?}")).expect("a log")
}

pub fn source(path: &Path, more: &[(&str, &str)]) -> Box<dyn Source> {
    let built = (SOURCE.build)(&raw(path, more), &pipeline("reader"));
    built.map_err(|problems| format!("{problems:?}")).expect("a source")
}

pub fn identity() -> PipelineIdentity {
    PipelineIdentity { name: "p".into(), lineage: Lineage("00000000000000aa".into()) }
}

pub fn sink_context(generation: u64) -> SinkContext {
    SinkContext {
        identity: identity(),
        generation: Generation(generation),
        clock: Arc::new(Standing(NOW)),
        budget: Budget::new(64 << 20),
        retries: Default::default(),
    }
}

pub fn source_context() -> SourceContext {
    let budget = Budget::new(64 << 20);
    SourceContext { identity: identity(), clock: Arc::new(Standing(NOW)), budget, work_dir: "unused".into() }
}

/// The side that captures.
pub struct Capture {
    _log: Log,
    pub committer: Box<dyn Committer>,
    pub writer: Box<dyn Writer>,
    generation: u64,
    pub epoch: u64,
}

impl Capture {
    pub async fn open(path: &Path, more: &[(&str, &str)], generation: u64, shapes: &[Arc<TableSchema>]) -> Self {
        let log = log(path, more);
        let context = sink_context(generation);
        let mut committer = log.sink.committer(context.clone()).await.unwrap();
        let state = committer.open().await.unwrap();
        let epoch = match state {
            dujiang_core::sink::SinkState::Holds { epoch, .. } => epoch.0,
            _ => 0,
        };
        committer.abort_except(&[]).await.unwrap();
        committer.apply_shapes(shapes).await.unwrap();
        let writer = log.sink.writer(0, context).await.unwrap();
        Self { _log: log, committer, writer, generation, epoch }
    }

    pub async fn write(&mut self, batch: &ChangeBatch) {
        assert!(self.writer.write(batch).await.unwrap().is_empty());
    }

    pub async fn prepare(&mut self) -> Vec<Token> {
        self.writer.prepare(Epoch(self.epoch + 1)).await.unwrap()
    }

    pub async fn commit(&mut self, tokens: Vec<Token>) {
        self.epoch += 1;
        let request = CommitRequest {
            epoch: Epoch(self.epoch),
            generation: Generation(self.generation),
            tokens,
            position: Position::new(format!("p{}", self.epoch).into_bytes()),
            position_text: format!("place {}", self.epoch),
        };
        self.committer.commit(&request).await.unwrap();
    }

    pub async fn write_epoch(&mut self, batches: &[ChangeBatch]) {
        for batch in batches {
            self.write(batch).await;
        }
        let tokens = self.prepare().await;
        self.commit(tokens).await;
    }
}

/// The ids of all rows that a reader of the folder sees, in order.
pub fn ids(path: &Path) -> Vec<i64> {
    View::open(path).map_or_else(|_| Vec::new(), |view| ids_of(&view))
}

/// The same of any log.
pub fn ids_of(view: &View) -> Vec<i64> {
    let mut ids = Vec::new();
    let first = view.offsets().start;
    view.each(first, |placed| {
        if let Some(Entry::Batch(batch)) = placed.entry {
            ids.extend_from_slice(batch.rows.column(0).as_primitive::<Int64Type>().values());
        }
        Ok(true)
    })
    .unwrap();
    ids
}

/// Rows of the conformance suite's table with these ids, as this kind.
pub fn rows(schema: &Arc<TableSchema>, ids: &[i64]) -> ChangeBatch {
    dujiang_testkit::conformance::sink::rows(schema, ids)
}

pub fn table(name: &str) -> Arc<TableSchema> {
    let like = dujiang_testkit::conformance::sink::table(1);
    Arc::new(TableSchema { id: TableId::new("d", name), ..(*like).clone() })
}

/// A batch with all kinds of changes, several origins, and a table it was read from under another name.
pub fn mixed(schema: &Arc<TableSchema>, first: i64) -> ChangeBatch {
    let ids: Vec<i64> = (first..first + 6).collect();
    let plain = rows(schema, &ids);
    let kinds = vec![Kind::Read, Kind::Insert, Kind::UpdateBefore, Kind::UpdateAfter, Kind::Delete, Kind::Insert];
    let mut origins = Origins::default();
    let origin = |transaction, position, precision, first_ordinal| Origin {
        transaction,
        position,
        commit_micros: first,
        precision,
        first_ordinal,
    };
    origins.push(1, origin("snapshot:1", "bin.1:4", TimePrecision::Seconds, 7));
    origins.push_in_turn(4, origin("0-1-17", "bin.1:99", TimePrecision::Micros, 0), 17);
    origins.push(5, origin("0-1-17", "bin.1:200", TimePrecision::Micros, 2));
    origins.push(6, origin("", "", TimePrecision::Seconds, u64::MAX));
    origins.keep_table(&TableId::new("elsewhere", "ö"));
    ChangeBatch::new(schema.clone(), plain.rows, kinds, origins).unwrap()
}

/// Writes how far the one consumer has come, as its delivery does.
pub fn acknowledge(disk: &dyn dujiang_log::Disk, offset: u64, now: i64) -> dujiang_core::Result<()> {
    let consumer = Consumer { name: "one".into(), offset, written_micros: now };
    dujiang_log::inspect::acknowledge(disk, &consumer)
}

/// How far it has come.
pub fn acknowledged(disk: &dyn dujiang_log::Disk) -> dujiang_core::Result<Option<u64>> {
    Ok(dujiang_log::inspect::consumers(disk)?.first().map(|consumer| consumer.offset))
}
