//! The columns that expressions read, built for one batch.

use super::Context;
use super::compile::Expressions;
use crate::eval::cast::arrow_cast;
use crate::expr::input::{InputKind, Meta};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray};
use dujiang_core::checkpoint::Lineage;
use dujiang_core::{ChangeBatch, Code, Kind, Result, ResultExt, text};
use std::sync::Arc;

/// The batch on which expressions are evaluated.
pub(super) fn inputs(expressions: &Expressions, batch: &ChangeBatch, context: &Context) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(expressions.inputs.len());
    for input in &expressions.inputs {
        columns.push(match input.kind {
            InputKind::Column(index) => {
                let column = batch.rows.column(index);
                let wanted = input.ty.arrow();
                if *column.data_type() == wanted { column.clone() } else { arrow_cast(column, &wanted)? }
            }
            InputKind::Meta(meta) => column(meta, batch, context),
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.images()));
    RecordBatch::try_new_with_options(expressions.schema.clone(), columns, &options)
        .or_code(Code::Bug, || "put together what expressions read".to_owned())
}

fn column(meta: Meta, batch: &ChangeBatch, context: &Context) -> ArrayRef {
    let rows = batch.images();
    let same = |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) as ArrayRef;
    match meta {
        Meta::Namespace => Arc::new(StringArray::new_null(rows)),
        Meta::Schema => same(&batch.schema.id.database),
        Meta::Table => same(&batch.schema.id.table),
        Meta::EventType => Arc::new(StringArray::from_iter_values(batch.kinds.iter().map(|kind| event_type(*kind)))),
        Meta::CommitMillis => Arc::new(commit_millis(batch)),
        Meta::Now => {
            let now = context.clock.now_micros();
            Arc::new(TimestampMicrosecondArray::from_value(now, rows).with_timezone(crate::types::UTC))
        }
        Meta::Identity => Arc::new(identities(batch)),
    }
}

fn event_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Insert | Kind::Read => "+I",
        Kind::UpdateBefore => "-U",
        Kind::UpdateAfter => "+U",
        Kind::Delete => "-D",
    }
}

/// The dialect's `op_ts`: 0 for rows of the snapshot.
fn commit_millis(batch: &ChangeBatch) -> Int64Array {
    let mut millis = Vec::with_capacity(batch.images());
    for (rows, origin) in batch.origins.iter() {
        let commit = origin.commit_micros.div_euclid(1_000);
        millis.extend(rows.map(|row| if batch.kinds[row] == Kind::Read { 0 } else { commit }));
    }
    Int64Array::from(millis)
}

fn identities(batch: &ChangeBatch) -> StringArray {
    let lineage = Lineage(String::new().into());
    let mut ids = arrow_array::builder::StringBuilder::new();
    let mut id = Vec::new();
    for (row, (ordinal, origin)) in batch.ordinals().enumerate() {
        id.clear();
        text::write_event_id(&lineage, batch, row, ordinal, &origin, &mut id);
        ids.append_value(String::from_utf8_lossy(&id));
    }
    ids.finish()
}
