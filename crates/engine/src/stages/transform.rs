//! The chain of transforms, with its account of images.

use super::EpochPart;
use super::ledger::Images;
use super::letters;
use crate::runtime::job::ErrorPolicy;
use bytes::Bytes;
use dujiang_core::checkpoint::Lineage;
use dujiang_core::dead_letter::Stage;
use dujiang_core::routing::Routing;
use dujiang_core::schema::SchemaChange;
use dujiang_core::source::ToldTwice;
use dujiang_core::transform::{RowError, Transform, Transformed};
use dujiang_core::{ChangeBatch, Code, Error, Result, TableId, TableSchema};
use std::sync::Arc;

/// The transforms of a pipeline, in order, and after them its routing.
pub(crate) struct Chain {
    transforms: Vec<Box<dyn Transform>>,
    routing: Option<Box<dyn Routing>>,
    policy: ErrorPolicy,
}

impl Chain {
    pub(crate) fn new(
        transforms: Vec<Box<dyn Transform>>,
        routing: Option<Box<dyn Routing>>,
        policy: ErrorPolicy,
    ) -> Self {
        Self { transforms, routing, policy }
    }

    pub(crate) fn routing(&self) -> Option<&dyn Routing> {
        self.routing.as_deref()
    }

    /// Whether rows of several tables may become one table of the sink.
    pub(crate) fn merges(&self) -> bool {
        self.routing.as_ref().is_some_and(|routing| routing.merges())
    }

    /// Whether one row of the sink may be several of the source, so that a snapshot's chunks must come at their place in the stream: a
    /// row that moves to another key of the source, and keeps its key of the sink, would be read there, and then deleted here.
    pub(crate) fn joins_rows(&self) -> bool {
        self.told_twice() != ToldTwice::None
    }

    /// Of which tables rows may come twice rather than be missing. Tables that are merged have keys; one that has other keys at the sink may
    /// have none at the source.
    pub(crate) fn told_twice(&self) -> ToldTwice {
        match (self.transforms.iter().any(|transform| transform.changes_keys()), self.merges()) {
            (true, _) => ToldTwice::All,
            (false, true) => ToldTwice::Keyed,
            (false, false) => ToldTwice::None,
        }
    }

    /// What the next checkpoint keeps of the sink's shapes.
    pub(crate) fn kept(&self) -> Bytes {
        self.routing.as_ref().map_or_else(Bytes::new, |routing| routing.kept())
    }

    /// The shapes in which tables reach the sink at a start; `kept` is what the checkpoint kept.
    pub(crate) fn start(&self, tables: &[Arc<TableSchema>], kept: &[u8]) -> Result<Vec<Arc<TableSchema>>> {
        let mut shapes = Vec::with_capacity(tables.len());
        for table in tables {
            shapes.extend(self.output_schema(table)?);
        }
        match &self.routing {
            Some(routing) => routing.start(&shapes, kept),
            None => Ok(shapes),
        }
    }

    /// The tables of a position without those that the rules no longer fit, because they were edited for a shape to come:
    /// all rows of such a table's old shape have been handed out, and its next event is the change to a shape that they fit.
    /// `now` are the tables as they are at the source.
    ///
    /// # Errors
    /// The mistake in the rules, if they fit neither shape.
    pub(crate) fn without_outgrown(
        &self,
        tables: Vec<Arc<TableSchema>>,
        now: &[Arc<TableSchema>],
    ) -> Result<Vec<Arc<TableSchema>>> {
        let mut fitting = Vec::with_capacity(tables.len());
        for table in tables {
            match self.output_schema(&table) {
                Ok(_) => fitting.push(table),
                Err(error) => match now.iter().find(|now| now.id == table.id) {
                    Some(now) if self.output_schema(now).is_ok() => {
                        tracing::info!(table = %table.id, "the rules fit the table as it is now: a change of its shape is to come");
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(fitting)
    }

    /// Whether the rules fit all these tables.
    pub(crate) fn fits(&self, tables: &[Arc<TableSchema>]) -> bool {
        tables.iter().all(|table| self.output_schema(table).is_ok())
    }

    /// The shape of a table after the transforms; `None` when they drop it.
    fn output_schema(&self, table: &Arc<TableSchema>) -> Result<Option<Arc<TableSchema>>> {
        let mut schema = table.clone();
        for transform in &self.transforms {
            match transform.output_schema(&schema)? {
                Some(next) => schema = next,
                None => return Ok(None),
            }
        }
        Ok(Some(schema))
    }

    /// A schema change as it looks after the transforms; `None` when they drop the table.
    pub(crate) fn output_change(&self, change: &SchemaChange) -> Result<Option<SchemaChange>> {
        // Rules that do not fit the shape before were edited for the one after: for the sink the table is new.
        let before = change.before.as_ref().and_then(|before| self.output_schema(before).ok().flatten());
        let after = self.output_schema(&change.after)?;
        Ok(after.map(|after| SchemaChange { before, after, ..change.clone() }))
    }

    /// Sends a batch through all transforms and the routing. Failed rows become letters in `part`, or the error that halts.
    pub(crate) fn apply(
        &self,
        lineage: &Lineage,
        batch: ChangeBatch,
        part: &mut EpochPart,
    ) -> Result<Vec<ChangeBatch>> {
        let table = batch.schema.id.clone();
        part.ledger.count(&table, Images { read: batch.images() as u64, ..Images::default() });
        let batch = self.without_unfit(lineage, &table, batch, part)?;
        let mut batches = if batch.images() > 0 { vec![batch] } else { Vec::new() };
        for transform in &self.transforms {
            let mut next = Vec::with_capacity(batches.len());
            for batch in batches {
                next.extend(self.one(|batch| transform.apply(batch), lineage, &table, batch, part)?);
            }
            batches = next;
        }
        let Some(routing) = &self.routing else { return Ok(batches) };
        let mut routed = Vec::with_capacity(batches.len());
        for batch in batches.into_iter().filter(|batch| batch.images() > 0) {
            routed.extend(self.one(|batch| routing.apply(batch), lineage, &table, batch, part)?);
        }
        Ok(routed)
    }

    /// Records whose values the source could not carry become letters, or the error that halts.
    fn without_unfit(
        &self,
        lineage: &Lineage,
        table: &TableId,
        batch: ChangeBatch,
        part: &mut EpochPart,
    ) -> Result<ChangeBatch> {
        if batch.unfit.is_empty() {
            return Ok(batch);
        }
        let mut failed: Vec<RowError> =
            batch.unfit_records().into_iter().map(|(row, error)| RowError { row, error }).collect();
        if self.policy == ErrorPolicy::Halt {
            return Err(letters::halting(table, &batch, failed.swap_remove(0)));
        }
        let letters = letters::build(lineage, table, Stage::Source, &batch, &failed)?;
        part.letters.extend(letters.letters);
        part.ledger.count(table, Images { dead: letters.images, ..Images::default() });
        let is_good = |&row: &usize| failed.binary_search_by_key(&batch.first_image(row), |error| error.row).is_err();
        let good: Vec<u32> = (0..batch.images()).filter(is_good).map(|row| row as u32).collect();
        batch.take(&good)
    }

    fn one(
        &self,
        hop: impl FnOnce(ChangeBatch) -> Result<Transformed>,
        lineage: &Lineage,
        table: &TableId,
        batch: ChangeBatch,
        part: &mut EpochPart,
    ) -> Result<Vec<ChangeBatch>> {
        let input = batch.clone();
        let mut done = hop(batch)?;
        let mut dead = 0;
        if !done.failed.is_empty() {
            if self.policy == ErrorPolicy::Halt {
                return Err(letters::halting(table, &input, done.failed.swap_remove(0)));
            }
            let failed = letters::build(lineage, table, Stage::Transform, &input, &done.failed)?;
            dead = failed.images;
            part.letters.extend(failed.letters);
        }
        let out: u64 = done.batches.iter().map(|b| b.images() as u64).sum();
        let accounted = out + dead + done.filtered;
        let Some(copies) = accounted.checked_sub(input.images() as u64) else {
            return Err(Error::new(Code::Bug, format!("a transform lost images of {table} (INV-8)"))
                .fact("images in", input.images().to_string())
                .fact("accounted for", accounted.to_string()));
        };
        part.ledger.count(table, Images { copies, filtered: done.filtered, dead, ..Images::default() });
        Ok(done.batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rekeys(bool);

    impl Transform for Rekeys {
        fn output_schema(&self, input: &Arc<TableSchema>) -> Result<Option<Arc<TableSchema>>> {
            Ok(Some(input.clone()))
        }

        fn apply(&self, batch: ChangeBatch) -> Result<Transformed> {
            Ok(Transformed { batches: vec![batch], ..Transformed::default() })
        }

        fn changes_keys(&self) -> bool {
            self.0
        }
    }

    #[test]
    fn f22_rows_with_keys_of_their_own_at_the_sink_come_in_order() {
        let chain = |rekeys| Chain::new(vec![Box::new(Rekeys(rekeys))], None, ErrorPolicy::Halt);
        assert!(chain(true).joins_rows() && !chain(true).merges());
        assert!(!chain(false).joins_rows());
    }
}
