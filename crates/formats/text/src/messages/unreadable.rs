//! Messages that are no changes of their table: each is a record of its own, which goes to the dead letters.

use arrow_array::{ArrayRef, RecordBatch, make_array, new_null_array};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field};
use dujiang_core::{ChangeBatch, Code, Error, Kind, Origin, Origins, Result, ResultExt, TableSchema, UnfitCell};
use std::sync::Arc;

/// More of a message than this is not kept.
const MOST_TEXT: usize = 64 << 10;

/// A batch of one row that stands for a message that cannot be read: its first cell is the message, and what is wrong with it.
///
/// # Errors
/// [`Code::UnknownType`] for a key of a type that messages cannot have.
pub fn unreadable(
    table: &Arc<TableSchema>,
    origin: Origin<'_>,
    payload: Option<&[u8]>,
    why: &Error,
) -> Result<ChangeBatch> {
    let columns = table.arrow.fields().iter().map(|field| placeholder(field)).collect::<Result<Vec<_>>>()?;
    let rows = RecordBatch::try_new(table.arrow.clone(), columns)
        .or_code(Code::Bug, || format!("no row can stand for a message of {}", table.id))?;
    let mut origins = Origins::default();
    origins.push(1, origin);
    let payload = payload.unwrap_or_default();
    let text = String::from_utf8_lossy(&payload[..payload.len().min(MOST_TEXT)]);
    let cell = UnfitCell { row: 0, column: 0, text: text.into(), why: why.message().into() };
    Ok(ChangeBatch::new(table.clone(), rows, vec![Kind::Insert], origins)?.with_unfit(vec![cell]))
}

/// NULL, or where that cannot be, zero or nothing.
fn placeholder(field: &Field) -> Result<ArrayRef> {
    if field.is_nullable() {
        return Ok(new_null_array(field.data_type(), 1));
    }
    let zeros = || Buffer::from(MutableBuffer::from_len_zeroed(64));
    let data = ArrayData::builder(field.data_type().clone()).len(1);
    let data = match field.data_type() {
        DataType::Utf8 | DataType::Binary => data.add_buffer(zeros()).add_buffer(zeros()),
        DataType::List(item) => data.add_buffer(zeros()).add_child_data(ArrayData::new_empty(item.data_type())),
        _ => data.add_buffer(zeros()),
    };
    let data =
        data.build().or_code(Code::UnknownType, || format!("column `{}` cannot be a key of messages", field.name()))?;
    Ok(make_array(data))
}
