//! A sink, a service, and batches of a table.

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Generation, PipelineIdentity};
use dujiang_core::clock::Standing;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::options::{Place, RawOption};
use dujiang_core::sink::{Committer, Sink, SinkContext, Writer};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Kind, Lineage, Origin, Origins, Result, TableId, TableSchema};
use dujiang_testkit::datahub::{ACCESS_ID, ACCESS_KEY, Datahub, PROJECT, Stored};
use std::sync::Arc;

pub(crate) const CLOCK: Standing = Standing(1_795_186_800_000_000);

/// Where the service is asked, and as whom.
pub(crate) const PROJECT_OPTIONS: [(&str, &str); 3] =
    [("project", PROJECT), ("access-id", ACCESS_ID), ("access-key", ACCESS_KEY)];

pub(crate) fn table(columns: usize) -> Arc<TableSchema> {
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    fields.extend((1..columns).map(|index| Field::new(format!("c{index}"), DataType::Utf8, true)));
    TableSchema::by_value(TableId::new("shop", "orders"), fields, vec![0])
}

/// Inserts of these ids in one transaction; all other columns have the text.
pub(crate) fn inserts(table: &Arc<TableSchema>, transaction: &str, ids: &[i64], text: Option<&str>) -> ChangeBatch {
    changes(table, transaction, &ids.iter().map(|id| (Kind::Insert, *id)).collect::<Vec<_>>(), text)
}

pub(crate) fn changes(
    table: &Arc<TableSchema>,
    transaction: &str,
    rows: &[(Kind, i64)],
    text: Option<&str>,
) -> ChangeBatch {
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, id)| *id)))];
    for _ in 1..table.arrow.fields().len() {
        columns.push(Arc::new(StringArray::from(vec![text; rows.len()])));
    }
    let batch = RecordBatch::try_new(table.arrow.clone(), columns).unwrap();
    let mut origins = Origins::default();
    let (precision, commit_micros) = (TimePrecision::Micros, 1_795_000_000_000_001);
    let origin = Origin { transaction, position: "bin.1:4", commit_micros, precision, first_ordinal: 0 };
    origins.push(rows.len(), origin);
    ChangeBatch::new(table.clone(), batch, rows.iter().map(|(kind, _)| *kind).collect(), origins).unwrap()
}

pub(crate) struct Hub {
    pub(crate) service: Datahub,
    sink: Box<dyn Sink>,
    context: SinkContext,
    pub(crate) committer: Box<dyn Committer>,
    pub(crate) writer: Box<dyn Writer>,
}

/// Options of a sink: these, and where they do not say otherwise those of the service.
pub(crate) fn options(endpoint: &str, more: &[(&str, &str)]) -> Vec<RawOption> {
    let mut options =
        vec![("endpoint", endpoint), ("project", PROJECT), ("access-id", ACCESS_ID), ("access-key", ACCESS_KEY)];
    options.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
    options.extend_from_slice(more);
    options.iter().map(|(key, value)| RawOption::new(*key, *value, Place::CommandLine)).collect()
}

pub(crate) fn pipeline() -> PipelineOptions {
    PipelineOptions { name: "river".into(), parallelism: 2, memory_limit: 64 << 20 }
}

impl Hub {
    pub(crate) async fn start(more: &[(&str, &str)]) -> Self {
        let service = Datahub::start().await;
        let raw = options(&service.endpoint(), more);
        let pipeline = pipeline();
        let sink = (dujiang_datahub::SINK.build)(&raw, &pipeline).unwrap_or_else(|all| panic!("{all:?}"));
        let context = SinkContext {
            identity: PipelineIdentity { name: "river".into(), lineage: Lineage("00000000000000aa".into()) },
            generation: Generation(1),
            clock: Arc::new(CLOCK),
            budget: Budget::new(64 << 20),
            retries: Default::default(),
        };
        let committer = sink.committer(context.clone()).await.unwrap();
        let writer = sink.writer(0, context.clone()).await.unwrap();
        Self { service, sink, context, committer, writer }
    }

    pub(crate) async fn another_writer(&self) -> Box<dyn Writer> {
        self.sink.writer(1, self.context.clone()).await.unwrap()
    }

    /// As the engine does: again and again, without the pauses.
    pub(crate) async fn write(&mut self, batch: &ChangeBatch, tries: usize) -> Result<Vec<RowError>> {
        let mut written = self.writer.write(batch).await;
        for _ in 1..tries {
            if written.is_ok() {
                break;
            }
            written = self.writer.write(batch).await;
        }
        written
    }

    pub(crate) async fn examine(&self) -> Examination {
        let (pipeline, clock) = ("river".to_owned(), self.context.clock.clone());
        let (lineage, position, expected_bytes) = (None, None, None);
        self.sink.examine(&Visit { pipeline, clock, lineage, position, running: false, expected_bytes }).await
    }

    pub(crate) fn records(&self) -> Vec<Stored> {
        self.service.records("orders")
    }

    /// First values of all records.
    pub(crate) fn ids(&self) -> Vec<i64> {
        self.records().iter().map(|record| record.values[0].as_deref().unwrap().parse().unwrap()).collect()
    }

    pub(crate) fn fair(&self) {
        assert_eq!(self.service.violations(), Vec::<String>::new());
    }
}
