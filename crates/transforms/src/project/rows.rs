//! One batch through a compiled rule.

use super::Source;
use super::compile::{Compiled, Expressions};
use super::meta;
use crate::eval::row_error;
use crate::expr::input::InputKind;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array};
use arrow_schema::{DataType, Field, Schema};
use datafusion_physical_expr::PhysicalExpr;
use dujiang_core::transform::{RowError, Transformed};
use dujiang_core::{ChangeBatch, Code, Error, Kind, Result, ResultExt};
use std::sync::{Arc, LazyLock};

/// The shape of a batch whose values nobody looks at.
static NOTHING: LazyLock<Arc<Schema>> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("nothing", DataType::Null, true)])));

/// What one run over a batch gives.
struct Run {
    batch: Option<ChangeBatch>,
    filtered: u64,
}

impl Compiled {
    /// Sends a batch through the rule. A row whose expression fails is handed back; the others go on.
    ///
    /// # Errors
    /// [`Code::Bug`] only.
    pub fn apply(&self, batch: &ChangeBatch) -> Result<Transformed> {
        let mut done = Transformed::default();
        match self.run(batch) {
            Ok(run) => add(&mut done, run),
            Err(error) if is_of_a_row(&error) => self.apply_apart(batch, &mut done)?,
            Err(error) => return Err(error),
        }
        Ok(done)
    }

    /// The part of the work that is not this program's: the filter, picking its rows out of the columns, and the
    /// expressions, as Arrow and DataFusion do them. For the bench, as the yardstick of [`Compiled::apply`].
    ///
    /// # Errors
    /// As the rows have it.
    #[doc(hidden)]
    pub fn evaluate_only(&self, batch: &ChangeBatch) -> Result<Vec<ArrayRef>> {
        let evaluate = |expressions: &Expressions, rows: &RecordBatch| -> Result<Vec<ArrayRef>> {
            let column = |input: &crate::expr::input::Input| match input.kind {
                InputKind::Column(index) => rows.column(index).clone(),
                InputKind::Meta(_) => new_null_array(&input.ty.arrow(), rows.num_rows()),
            };
            let columns = expressions.inputs.iter().map(column).collect();
            let input =
                RecordBatch::try_new(expressions.schema.clone(), columns).or_code(Code::Bug, || "bench".to_owned())?;
            let value = |e: &Arc<dyn PhysicalExpr>| {
                e.evaluate(&input).and_then(|value| value.into_array(input.num_rows())).map_err(row_error)
            };
            expressions.exprs.iter().map(value).collect()
        };
        let Some(filter) = &self.filter else { return evaluate(&self.computed, &batch.rows) };
        let found = evaluate(filter, &batch.rows)?;
        let kept = arrow_select::filter::filter_record_batch(&batch.rows, found[0].as_boolean())
            .or_code(Code::Bug, || "bench".to_owned())?;
        evaluate(&self.computed, &kept)
    }

    /// Finds the rows that fail by halving, then runs the others together.
    fn apply_apart(&self, batch: &ChangeBatch, done: &mut Transformed) -> Result<()> {
        let changes = changes(batch);
        self.find_failing(batch, &changes, &mut done.failed)?;
        let mut failed = done.failed.iter().map(|f| f.row).peekable();
        let good: Vec<(usize, usize)> =
            changes.into_iter().filter(|(start, _)| failed.next_if_eq(start).is_none()).collect();
        self.run_in_pieces(batch, &good, done)
    }

    /// Runs changes each of which is fine alone. All of them may still be too large for one batch; then they are halved
    /// until they fit.
    fn run_in_pieces(&self, batch: &ChangeBatch, changes: &[(usize, usize)], done: &mut Transformed) -> Result<()> {
        let rows = rows_of(changes);
        if rows.is_empty() {
            return Ok(());
        }
        match (self.run(&batch.take(&rows)?), changes) {
            (Ok(run), _) => add(done, run),
            (Err(error), _) if !is_of_a_row(&error) => return Err(error),
            (Err(error), [(row, _)]) => done.failed.push(RowError { row: *row, error }),
            (Err(_), _) => {
                let (left, right) = changes.split_at(changes.len() / 2);
                self.run_in_pieces(batch, left, done)?;
                self.run_in_pieces(batch, right, done)?;
            }
        }
        Ok(())
    }

    fn find_failing(&self, batch: &ChangeBatch, changes: &[(usize, usize)], failed: &mut Vec<RowError>) -> Result<()> {
        let rows = rows_of(changes);
        if rows.is_empty() {
            return Ok(());
        }
        match (self.run(&batch.take(&rows)?), changes) {
            (Ok(_), _) => {}
            (Err(error), _) if !is_of_a_row(&error) => return Err(error),
            (Err(error), [(row, _)]) => failed.push(RowError { row: *row, error }),
            (Err(_), _) => {
                let (left, right) = changes.split_at(changes.len() / 2);
                self.find_failing(batch, left, failed)?;
                self.find_failing(batch, right, failed)?;
            }
        }
        Ok(())
    }

    fn run(&self, batch: &ChangeBatch) -> Result<Run> {
        let Some(filter) = &self.filter else {
            return Ok(Run {
                batch: Some(self.project(batch, soft(batch.kinds.to_vec(), self.soft_delete))?),
                filtered: 0,
            });
        };
        let found = self.values(filter, batch)?;
        let kept = Kept::of(&batch.kinds, found[0].as_boolean());
        let filtered = (batch.images() - kept.rows.len()) as u64;
        if kept.rows.is_empty() {
            return Ok(Run { batch: None, filtered });
        }
        let kinds = soft(kept.kinds, self.soft_delete);
        let out = if kept.rows.len() == batch.images() {
            self.project(batch, kinds)?
        } else {
            self.project(&self.picked(batch, &kept.rows, &found[0])?, kinds)?
        };
        Ok(Run { batch: Some(out), filtered })
    }

    /// The rows that pass, without the values nobody reads.
    fn picked(&self, batch: &ChangeBatch, rows: &[u32], found: &ArrayRef) -> Result<ChangeBatch> {
        let pick = || "pick the rows that pass a filter".to_owned();
        let found = found.as_boolean();
        // The function expects a mask that has NULLs.
        let passes =
            if found.nulls().is_some() { arrow_select::filter::prep_null_mask_filter(found) } else { found.clone() };
        let predicate = arrow_select::filter::FilterBuilder::new(&passes).optimize().build();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.rows.num_columns());
        for (column, read) in batch.rows.columns().iter().zip(&self.reads) {
            let picked = if *read { predicate.filter(column) } else { Ok(new_null_array(&DataType::Null, rows.len())) };
            columns.push(picked.or_code(Code::Bug, pick)?);
        }
        let data = RecordBatch::try_new(self.picked_schema.clone(), columns).or_code(Code::Bug, pick)?;
        // Kinds and origins alone; the columns are picked faster by the mask.
        let nothing = RecordBatch::try_new(NOTHING.clone(), vec![new_null_array(&DataType::Null, batch.images())]);
        let frame = ChangeBatch { rows: nothing.or_code(Code::Bug, pick)?, ..batch.clone() };
        Ok(ChangeBatch { rows: data, ..frame.take(rows)? })
    }

    fn values(&self, expressions: &Expressions, batch: &ChangeBatch) -> Result<Vec<ArrayRef>> {
        if expressions.exprs.is_empty() {
            return Ok(Vec::new());
        }
        let input = meta::inputs(expressions, batch, &self.context)?;
        if batch.images() == 0 {
            let empty = |e: &Arc<dyn PhysicalExpr>| {
                e.data_type(&expressions.schema).map(|ty| new_empty_array(&ty)).map_err(row_error)
            };
            return expressions.exprs.iter().map(empty).collect();
        }
        let rows = batch.images();
        let value = |(at, expr): (usize, &Arc<dyn PhysicalExpr>)| {
            let value = expr.evaluate(&input).and_then(|value| value.into_array(rows)).map_err(row_error);
            value.map_err(|error| expressions.placed(at, error))
        };
        expressions.exprs.iter().enumerate().map(value).collect()
    }

    fn project(&self, batch: &ChangeBatch, kinds: Vec<Kind>) -> Result<ChangeBatch> {
        let computed = self.values(&self.computed, batch)?;
        let column = |source: &Source| match source {
            Source::Column(index) => batch.rows.column(*index).clone(),
            Source::Computed(index) => computed[*index].clone(),
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(column).collect();
        if self.new_key {
            self.check_key(&columns)?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.images()));
        let rows = RecordBatch::try_new_with_options(self.output.arrow.clone(), columns, &options)
            .or_code(Code::Bug, || format!("put together the output of {}", self.output.id))?;
        Ok(ChangeBatch { schema: self.output.clone(), rows, kinds: kinds.into(), ..batch.clone() })
    }

    fn check_key(&self, columns: &[ArrayRef]) -> Result<()> {
        for at in &self.output.key {
            if columns[*at].logical_null_count() > 0 {
                let name = self.output.arrow.field(*at).name();
                return Err(Error::new(
                    Code::BadRecord,
                    format!("the key column `{name}` of {} is NULL", self.output.id),
                )
                .help("name other primary-keys, or filter such rows out"));
            }
        }
        Ok(())
    }
}

fn add(done: &mut Transformed, run: Run) {
    done.batches.extend(run.batch);
    done.filtered += run.filtered;
}

/// Whether an error is some row's rather than the program's.
fn is_of_a_row(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::DivisionByZero | Code::ValueOutOfRange | Code::BadCast | Code::BadArgument | Code::BadRecord
    )
}

/// The changes of a batch: (first row, number of rows).
fn changes(batch: &ChangeBatch) -> Vec<(usize, usize)> {
    let starts = batch.kinds.iter().enumerate().filter(|(_, kind)| **kind != Kind::UpdateAfter);
    starts.map(|(row, kind)| (row, if *kind == Kind::UpdateBefore { 2 } else { 1 })).collect()
}

/// The rows of changes, in order.
fn rows_of(changes: &[(usize, usize)]) -> Vec<u32> {
    changes.iter().flat_map(|(start, length)| *start..start + length).map(|row| row as u32).collect()
}

/// The rows a filter lets through, and what they are then.
struct Kept {
    rows: Vec<u32>,
    kinds: Vec<Kind>,
}

impl Kept {
    /// An update whose images are both let through stays one; with the before image alone it is a delete, with the after
    /// image alone an insert.
    fn of(kinds: &[Kind], found: &BooleanArray) -> Self {
        let passes = |row: usize| found.is_valid(row) && found.value(row);
        let (mut rows, mut kept) = (Vec::with_capacity(kinds.len()), Vec::with_capacity(kinds.len()));
        for (row, kind) in kinds.iter().enumerate() {
            if !passes(row) {
                continue;
            }
            rows.push(row as u32);
            kept.push(match kind {
                Kind::UpdateBefore if !passes(row + 1) => Kind::Delete,
                Kind::UpdateAfter if !passes(row - 1) => Kind::Insert,
                kind => *kind,
            });
        }
        Self { rows, kinds: kept }
    }
}

fn soft(mut kinds: Vec<Kind>, soft_delete: bool) -> Vec<Kind> {
    if soft_delete {
        kinds.iter_mut().filter(|kind| **kind == Kind::Delete).for_each(|kind| *kind = Kind::Insert);
    }
    kinds
}
