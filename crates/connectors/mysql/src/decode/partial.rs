//! Updates whose after image has only what changed: completed from the before image.
//!
//! Two kinds are exact, since their before image is full: partial updates of MySQL (`PARTIAL_UPDATE_ROWS_EVENT`, where a JSON
//! value may be given as differences), and after images without unchanged columns (MariaDB's
//! `binlog_row_image=FULL_NODUP`). An image without the columns before is not completed: nobody knows them.

use super::cursor::{Cursor, Malformed};
use super::json_diff;
use super::op::Op;
use super::plan::RowPlan;
use super::rows::{RowsEvent, RowsKind};
use super::walk::after;

const TORN: Malformed = Malformed("a row of a partial update");
/// The only value option there is (`PARTIAL_JSON_UPDATES`).
const PARTIAL_JSON: u64 = 1;

fn bit(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 != 0)
}

/// Whether an event has to be completed, and can be.
pub(super) fn is_partial(plan: &RowPlan, rows: &RowsEvent<'_>) -> bool {
    let full = |bits: &[u8]| (0..plan.steps.len()).all(|column| bit(bits, column));
    let update = rows.kind == RowsKind::Update && rows.columns == plan.steps.len() && full(rows.present);
    update && (rows.partial || !full(rows.present_after))
}

/// Writes the images of the event to `out` (cleared first), with full after images.
pub(super) fn complete(plan: &RowPlan, rows: &RowsEvent<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.clear();
    let mut rest = rows.images;
    let mut cells = Vec::with_capacity(plan.steps.len());
    while !rest.is_empty() {
        let end = before(plan, rest, &mut cells)?;
        let (image, tail) = rest.split_at_checked(end).ok_or(TORN)?;
        out.extend_from_slice(image);
        rest = write_after(plan, rows, &cells, tail, out)?;
    }
    Ok(())
}

/// The cells of the full image that `bytes` begin with, length prefixes included, `None` for NULL; and where it ends.
fn before<'a>(plan: &RowPlan, bytes: &'a [u8], cells: &mut Vec<Option<&'a [u8]>>) -> Result<usize, Malformed> {
    cells.clear();
    let mut at = plan.null_mask.len();
    let nulls = bytes.get(..at).ok_or(TORN)?;
    for (column, step) in plan.steps.iter().enumerate() {
        if bit(nulls, column) {
            cells.push(None);
            continue;
        }
        let end = after(step.size, bytes, at).ok_or(TORN)?;
        cells.push(Some(bytes.get(at..end).ok_or(TORN)?));
        at = end;
    }
    Ok(at)
}

/// Writes the full after image; returns what follows it in the event.
fn write_after<'a>(
    plan: &RowPlan,
    rows: &RowsEvent<'_>,
    cells: &[Option<&[u8]>],
    bytes: &'a [u8],
    out: &mut Vec<u8>,
) -> Result<&'a [u8], Malformed> {
    let mut c = Cursor::new(bytes, "a row of a partial update");
    let options = if rows.partial { c.lenenc()? } else { 0 };
    if options & !PARTIAL_JSON != 0 {
        return Err(Malformed("the value options of a partial update"));
    }
    let documents = plan.steps.iter().filter(|step| matches!(step.op, Op::Json { .. })).count();
    let differs = if options & PARTIAL_JSON != 0 { c.take(documents.div_ceil(8))? } else { &[] };
    let present = (0..plan.steps.len()).filter(|column| bit(rows.present_after, *column)).count();
    let nulls = c.take(present.div_ceil(8))?;
    let bytes = c.take_rest();
    let head = out.len();
    out.resize(head + plan.null_mask.len(), 0);
    let (mut at, mut document, mut shown) = (0, 0, 0);
    for (column, step) in plan.steps.iter().enumerate() {
        let is_document = matches!(step.op, Op::Json { .. });
        let by_difference = is_document && bit(differs, document);
        document += usize::from(is_document);
        let is_shown = bit(rows.present_after, column);
        let is_null = if is_shown { bit(nulls, shown) } else { cells[column].is_none() };
        shown += usize::from(is_shown);
        if is_null {
            out[head + column / 8] |= 1 << (column % 8);
            continue;
        }
        let old = cells[column];
        if !is_shown {
            out.extend_from_slice(old.ok_or(TORN)?);
            continue;
        }
        let end = after(step.size, bytes, at).ok_or(TORN)?;
        let cell = bytes.get(at..end).ok_or(TORN)?;
        at = end;
        if by_difference { write_document(old.ok_or(TORN)?, cell, out)? } else { out.extend_from_slice(cell) }
    }
    bytes.get(at..).ok_or(TORN)
}

/// Applies the differences in `cell` to the document in `old`; both with their length of four bytes.
fn write_document(old: &[u8], cell: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let unfit = Malformed("a partial update of a JSON value, which does not fit the value before it");
    let (document, differences) = (old.get(4..).ok_or(TORN)?, cell.get(4..).ok_or(TORN)?);
    if differences.is_empty() {
        out.extend_from_slice(old);
        return Ok(());
    }
    let head = out.len();
    out.extend_from_slice(&[0; 4]);
    json_diff::apply(document, differences, out).ok_or(unfit)?;
    let length = u32::try_from(out.len() - head - 4).map_err(|_| unfit)?;
    out[head..head + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}
