//! The chain of transforms, with its account of images.

use super::EpochPart;
use super::ledger::Images;
use super::letters;
use crate::runtime::job::ErrorPolicy;
use dujiang_core::checkpoint::Lineage;
use dujiang_core::dead_letter::Stage;
use dujiang_core::schema::SchemaChange;
use dujiang_core::transform::{RowError, Transform};
use dujiang_core::{ChangeBatch, Code, Error, Result, TableId, TableSchema};
use std::sync::Arc;

/// The transforms of a pipeline, in order.
pub(crate) struct Chain {
    transforms: Vec<Box<dyn Transform>>,
    policy: ErrorPolicy,
}

impl Chain {
    pub(crate) fn new(transforms: Vec<Box<dyn Transform>>, policy: ErrorPolicy) -> Self {
        Self { transforms, policy }
    }

    /// The shape in which a table reaches the sink; `None` when it does not.
    pub(crate) fn output_schema(&self, table: &Arc<TableSchema>) -> Result<Option<Arc<TableSchema>>> {
        let mut schema = table.clone();
        for transform in &self.transforms {
            match transform.output_schema(&schema)? {
                Some(next) => schema = next,
                None => return Ok(None),
            }
        }
        Ok(Some(schema))
    }

    /// A change of shape as the sink sees it; `None` when it does not.
    #[expect(clippy::type_complexity, reason = "the pair is the two arguments of Committer::apply_schema")]
    pub(crate) fn output_change(
        &self,
        change: &SchemaChange,
    ) -> Result<Option<(Option<Arc<TableSchema>>, Arc<TableSchema>)>> {
        let before = match &change.before {
            Some(before) => self.output_schema(before)?,
            None => None,
        };
        Ok(self.output_schema(&change.after)?.map(|after| (before, after)))
    }

    /// Sends a batch through all transforms. Failed rows become letters in `part`, or the error that halts.
    pub(crate) fn apply(
        &self,
        lineage: &Lineage,
        batch: ChangeBatch,
        part: &mut EpochPart,
    ) -> Result<Vec<ChangeBatch>> {
        let table = batch.schema.id.clone();
        part.ledger.count(&table, Images { read: batch.images() as u64, ..Images::default() });
        let mut batches = vec![batch];
        for transform in &self.transforms {
            let mut next = Vec::with_capacity(batches.len());
            for batch in batches {
                next.extend(self.one(&**transform, lineage, &table, batch, part)?);
            }
            batches = next;
        }
        Ok(batches)
    }

    fn one(
        &self,
        transform: &dyn Transform,
        lineage: &Lineage,
        table: &TableId,
        batch: ChangeBatch,
        part: &mut EpochPart,
    ) -> Result<Vec<ChangeBatch>> {
        let input = batch.clone();
        let mut done = transform.apply(batch)?;
        let mut dead = 0;
        if !done.failed.is_empty() {
            if self.policy == ErrorPolicy::Halt {
                return Err(halting(done.failed.swap_remove(0), table));
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

/// The error of a record that halts the pipeline.
pub(crate) fn halting(failed: RowError, table: &TableId) -> Error {
    failed
        .error
        .fact("table", table.to_string())
        .help("mend the record at the source, or set error.policy to dead-letter so that the others go on")
}
