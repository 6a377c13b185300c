//! The `blackhole` sink: counts what it is given and keeps nothing. For benches, and for trying out a source.
//!
//! It takes part in the epoch protocol as a staged sink whose staged work is empty, so that a pipeline into it takes
//! exactly the way of one that writes files. It keeps no record of what it has seen: after a restart it cannot tell.

#![warn(missing_docs)]

use async_trait::async_trait;
use bytes::Bytes;
use dujiang_core::checkpoint::Token;
use dujiang_core::connector::SinkSpec;
use dujiang_core::evolution::SinkChange;
use dujiang_core::sink::{
    CommitRequest, Committer, Detached, Sink, SinkClass, SinkContext, SinkFigures, SinkState, Writer,
};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Epoch, Result, TableSchema};
use std::sync::Arc;

dujiang_core::options! {
    /// Options of the `blackhole` sink: none.
    pub struct BlackholeOptions {}
}

/// The sink type, for the command's registry.
pub const SPEC: SinkSpec = SinkSpec {
    kind: "blackhole",
    summary: "counts changes and drops them, exactly once; for benches",
    options: BlackholeOptions::DEFS,
    build: |raw, _| BlackholeOptions::parse(raw).map(|_| Box::new(Blackhole) as Box<dyn Sink>),
};

/// The sink.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blackhole;

#[async_trait]
impl Sink for Blackhole {
    fn class(&self) -> SinkClass {
        SinkClass::Staged
    }

    fn unit(&self) -> (&'static str, &'static str) {
        ("row image", "row images")
    }

    async fn committer(&self, _context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(Nothing))
    }

    async fn writer(&self, _lane: usize, _context: SinkContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(Counter::default()))
    }
}

/// Counts images and bytes of one lane; an epoch's token is the number of its images, for people.
#[derive(Default)]
struct Counter {
    images: u64,
    bytes: u64,
    in_epoch: u64,
}

#[async_trait]
impl Writer for Counter {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        let images = batch.images() as u64;
        self.images += images;
        self.in_epoch += images;
        self.bytes += batch.rows.get_array_memory_size() as u64;
        Ok(Vec::new())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Detached<Vec<Token>> {
        let images = std::mem::take(&mut self.in_epoch);
        let tokens = if images == 0 { Vec::new() } else { vec![Token(Bytes::from(format!("{images} images")))] };
        Box::pin(async move { Ok(tokens) })
    }

    fn buffered(&self) -> usize {
        0
    }

    async fn spill(&mut self) -> Result<()> {
        Ok(())
    }

    fn figures(&self) -> SinkFigures {
        SinkFigures { units: self.images, bytes: self.bytes }
    }
}

struct Nothing;

#[async_trait]
impl Committer for Nothing {
    async fn open(&mut self) -> Result<SinkState> {
        Ok(SinkState::Unknown)
    }

    async fn commit(&mut self, _epoch: &CommitRequest) -> Result<()> {
        Ok(())
    }

    async fn abort_except(&mut self, _keep: &[Token]) -> Result<()> {
        Ok(())
    }

    async fn apply_schema(&mut self, _expected: Option<&Arc<TableSchema>>, _next: &Arc<TableSchema>) -> Result<()> {
        Ok(())
    }

    async fn apply_event(&mut self, _change: &SinkChange) -> Result<()> {
        Ok(())
    }

    async fn withdraw_after(&mut self, _epoch: Epoch) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field};
    use dujiang_core::options::{Place, RawOption};
    use dujiang_core::{Code, Kind, Origin, Origins, TableId, batch::TimePrecision};

    fn batch(rows: usize) -> ChangeBatch {
        let fields = vec![Field::new("id", DataType::Int64, false)];
        let schema = TableSchema::by_value(TableId::new("d", "t"), fields, vec![0]);
        let ids = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        let mut origins = Origins::default();
        let precision = TimePrecision::Seconds;
        let origin = Origin { transaction: "t", position: "p", commit_micros: 0, precision, first_ordinal: 0 };
        origins.push(rows, origin);
        let rows = RecordBatch::try_new(schema.arrow.clone(), vec![ids]).unwrap();
        let kinds = vec![Kind::Insert; rows.num_rows()];
        ChangeBatch::new(schema, rows, kinds, origins).unwrap()
    }

    #[tokio::test]
    async fn it_counts_and_keeps_nothing() {
        let mut writer = Counter::default();
        writer.write(&batch(3)).await.unwrap();
        writer.write(&batch(4)).await.unwrap();
        assert_eq!(writer.prepare(Epoch(1)).await.unwrap(), [Token(Bytes::from("7 images"))]);
        assert!(writer.prepare(Epoch(2)).await.unwrap().is_empty());
        assert_eq!((writer.figures().units, writer.buffered()), (7, 0));
        assert_eq!(Nothing.open().await.unwrap(), SinkState::Unknown);
    }

    #[test]
    fn it_knows_no_option() {
        let raw = [RawOption::new("path", "/x", Place::CommandLine)];
        assert_eq!(BlackholeOptions::parse(&raw).unwrap_err()[0].code, Code::UnknownKey);
    }
}
