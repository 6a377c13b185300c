//! Turns failed rows into dead letters.

use dujiang_core::checkpoint::Lineage;
use dujiang_core::dead_letter::{DeadLetter, Stage};
use dujiang_core::text::{write_event_id, write_json_row, write_plain_value};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Error, Kind, Origin, Result, TableId};

/// The failed rows of one batch.
pub(crate) struct Failed {
    /// One letter per record.
    pub(crate) letters: Vec<DeadLetter>,
    /// Images they stand for: two for an update.
    pub(crate) images: u64,
}

/// Makes a letter of every failed record of `batch`; `table` is the table's name at the source.
///
/// # Errors
/// `Bug` when an error names a row that is not there.
pub(crate) fn build(
    lineage: &Lineage,
    table: &TableId,
    stage: Stage,
    batch: &ChangeBatch,
    failed: &[RowError],
) -> Result<Failed> {
    let mut out = Failed { letters: Vec::with_capacity(failed.len()), images: 0 };
    let mut by_row: Vec<&RowError> = failed.iter().collect();
    by_row.sort_by_key(|e| e.row);
    let mut wanted = by_row.into_iter().peekable();
    for (row, (ordinal, origin)) in batch.ordinals().enumerate() {
        let Some(error) = wanted.next_if(|e| e.row == row) else {
            continue;
        };
        out.images += if batch.kinds[row] == Kind::UpdateBefore { 2 } else { 1 };
        out.letters.push(letter(lineage, table, stage, batch, &error.error, (row, ordinal, origin)));
    }
    match wanted.next() {
        None => Ok(out),
        Some(error) => Err(Error::new(Code::Bug, format!("a failed row of {table} is named twice or is not there"))
            .fact("row", error.row.to_string())
            .fact("rows", batch.images().to_string())),
    }
}

/// The error of a record that halts the pipeline. It names the record by its key and its place; what else is in the row is
/// for dead letters, not for logs.
#[cold]
pub(crate) fn halting(table: &TableId, batch: &ChangeBatch, failed: RowError) -> Error {
    const OTHERWISE: &str = "set `pipeline.error.policy: dead-letter` so that the others go on";
    let RowError { row, error } = failed;
    let help = match error.help_text() {
        Some(help) => format!("{help}; or {OTHERWISE}"),
        None => format!("mend the record at the source, or {OTHERWISE}"),
    };
    let mut error = error.fact("table", table.to_string());
    let key = key(batch, row);
    if !key.is_empty() {
        error = error.fact("record", key);
    }
    match batch.ordinals().nth(row) {
        Some((_, origin)) if !origin.position.is_empty() => error.fact("position", origin.position).help(help),
        _ => error.help(help),
    }
}

/// `id=7, day=2026-11-28`; nothing for a table without a key.
fn key(batch: &ChangeBatch, row: usize) -> String {
    let one = |at: &usize| {
        if let Some(unfit) = batch.unfit_cell(row, *at) {
            // The column has only a placeholder.
            return Some(format!("{}={}", batch.schema.arrow.field(*at).name(), unfit.text));
        }
        let (field, column) = (batch.schema.arrow.field(*at), batch.rows.columns().get(*at)?);
        if row >= column.len() || column.data_type() != field.data_type() {
            return None;
        }
        let mut value = Vec::new();
        write_plain_value(field, column.as_ref(), row, &mut value);
        Some(format!("{}={}", field.name(), text(value)))
    };
    batch.schema.key.iter().filter_map(one).collect::<Vec<_>>().join(", ")
}

/// Bytes a letter takes in memory, about.
pub(crate) fn memory(letter: &DeadLetter) -> usize {
    let rows = [&letter.before, &letter.after].into_iter().flatten().map(String::len).sum::<usize>();
    let texts = [&letter.event_id, &letter.table, &letter.position, &letter.transaction, &letter.message];
    size_of::<DeadLetter>() + rows + texts.iter().map(|text| text.len()).sum::<usize>()
}

fn letter(
    lineage: &Lineage,
    table: &TableId,
    stage: Stage,
    batch: &ChangeBatch,
    error: &Error,
    (row, ordinal, origin): (usize, u64, Origin<'_>),
) -> DeadLetter {
    let (before, after) = match batch.kinds[row] {
        Kind::UpdateBefore => (Some(row), Some(row + 1)),
        Kind::Delete => (Some(row), None),
        Kind::Insert | Kind::UpdateAfter | Kind::Read => (None, Some(row)),
    };
    let mut event_id = Vec::new();
    write_event_id(lineage, batch, row, ordinal, &origin, &mut event_id);
    DeadLetter {
        event_id: text(event_id),
        table: table.to_string(),
        op: batch.kinds[row].letter(),
        before: before.map(|row| json(batch, row)),
        after: after.map(|row| json(batch, row)),
        position: origin.position.to_owned(),
        transaction: origin.transaction.to_owned(),
        commit_micros: origin.commit_micros,
        stage,
        code: error.code(),
        message: format!("{error:?}"),
    }
}

fn json(batch: &ChangeBatch, row: usize) -> String {
    let mut out = Vec::new();
    write_json_row(batch, row, &mut out);
    text(out)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
