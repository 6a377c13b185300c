//! Decode plans: for every column what its bytes look like and where they lie in a row image.

use super::charset::Charset;
use super::op::{Op, Size};
use super::table_map::{Labels, TableMap};
use super::types::{Column, ColumnType};
use super::wire::{self, WireType};
use dujiang_core::{Code, Error, Result, TableId};

/// One column of a plan.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub op: Op,
    pub size: Size,
    /// The dense segment the cell lies in, and its distance from the segment's begin.
    pub segment: usize,
    pub offset: u32,
}

/// A run of cells of fixed size, then at most one of variable size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub fixed: u32,
    pub tail: Option<Size>,
}

/// How row images of one table map, or result rows, are laid out.
#[derive(Debug, Clone)]
pub(super) struct RowPlan {
    pub steps: Vec<Step>,
    /// Layout of a row without NULLs.
    pub segments: Vec<Segment>,
    /// Bytes before the NULL bitmap.
    pub lead: usize,
    /// Bit of the first column in the NULL bitmap.
    pub first_bit: usize,
    /// The bits of the NULL bitmap that stand for a column.
    pub null_mask: Vec<u8>,
}

impl RowPlan {
    /// The plan for row images after `map`.
    ///
    /// # Errors
    /// `SchemaMismatch` when the map does not fit `columns`; `LogDamaged` when it cannot be read.
    pub fn for_table_map(table: &TableId, columns: &[Column], map: &TableMap<'_>) -> Result<Self> {
        if map.types.len() != columns.len() {
            let found = format!("the log has {} columns, the schema {}", map.types.len(), columns.len());
            return Err(mismatch(table, &found));
        }
        compare_names(table, columns, map)?;
        compare_labels(table, columns, map)?;
        compare_signs(table, columns, map)?;
        let mut metadata = wire::Metadata::new(map.metadata);
        let mut cells = Vec::with_capacity(columns.len());
        for (column, code) in columns.iter().zip(map.types) {
            let found = metadata.next(*code)?;
            let cell = wire::log_cell(column, found).ok_or_else(|| {
                let declared = column.field.metadata().get(dujiang_core::schema::META_SOURCE_TYPE);
                let declared = declared.map_or("?", String::as_str);
                mismatch(table, &format!("column {} is {declared} in the schema and {found} in the log", column.name))
            })?;
            cells.push(match cell {
                (Op::Json { .. }, size) => (Op::Json { old: map.old_json }, size),
                cell => cell,
            });
        }
        Ok(Self::lay_out(cells, 0, 0))
    }

    /// The plan for result rows of the binary protocol with exactly these columns.
    pub fn for_binary_rows(columns: &[Column]) -> Self {
        Self::lay_out(columns.iter().map(wire::binary_cell).collect(), 1, 2)
    }

    fn lay_out(cells: Vec<(Op, Size)>, lead: usize, first_bit: usize) -> Self {
        let mut null_mask = vec![0u8; (cells.len() + first_bit).div_ceil(8)];
        let mut segments = vec![];
        let mut open = Segment { fixed: 0, tail: None };
        let mut steps = Vec::with_capacity(cells.len());
        for (index, (op, size)) in cells.into_iter().enumerate() {
            let bit = index + first_bit;
            null_mask[bit / 8] |= 1 << (bit % 8);
            steps.push(Step { op, size, segment: segments.len(), offset: open.fixed });
            if let Size::Fixed(n) = size {
                open.fixed += n;
            } else {
                segments.push(Segment { tail: Some(size), ..open });
                open = Segment { fixed: 0, tail: None };
            }
        }
        if open.fixed > 0 {
            segments.push(open);
        }
        Self { steps, segments, lead, first_bit, null_mask }
    }

    /// Bytes before the first cell.
    pub fn header(&self) -> usize {
        self.lead + self.null_mask.len()
    }
}

/// F43: a change of the table that was not logged shows here, if the server writes names.
fn compare_names(table: &TableId, columns: &[Column], map: &TableMap<'_>) -> Result<()> {
    let Some(names) = map.column_names()? else { return Ok(()) };
    match columns.iter().zip(&names).position(|(column, name)| *column.name != **name) {
        None => Ok(()),
        Some(at) => {
            let found = format!("column {} is {} in the schema and {} in the log", at + 1, columns[at].name, names[at]);
            Err(mismatch(table, &found))
        }
    }
}

/// A column that became UNSIGNED without a trace would give negative values.
fn compare_signs(table: &TableId, columns: &[Column], map: &TableMap<'_>) -> Result<()> {
    let Some(bits) = map.signedness()? else { return Ok(()) };
    // Servers do not agree whether a YEAR has a bit: only what is wrong either way is refused.
    let (with, without) = (other_sign(columns, map, bits, true), other_sign(columns, map, bits, false));
    let Some(at) = with.and(without) else { return Ok(()) };
    let found =
        format!("column {} is signed in one of the schema and the log, and unsigned in the other", columns[at].name);
    Err(mismatch(table, &found))
}

/// The first integer whose sign is another in the log.
fn other_sign(columns: &[Column], map: &TableMap<'_>, bits: &[u8], years: bool) -> Option<usize> {
    let mut bit = 0;
    for (at, (column, code)) in columns.iter().zip(map.types).enumerate() {
        if !WireType::has_sign(*code, years) {
            continue;
        }
        let unsigned = bits.get(bit / 8).map(|byte| byte & (0x80 >> (bit % 8)) != 0);
        bit += 1;
        if let (Some(declared), Some(unsigned)) = (column.column_type.is_unsigned(), unsigned)
            && declared != unsigned
        {
            return Some(at);
        }
    }
    None
}

/// A label that was moved or renamed without a trace would give wrong values.
///
/// The log has labels in the column's character set, the catalog in UTF-8.
fn compare_labels(table: &TableId, columns: &[Column], map: &TableMap<'_>) -> Result<()> {
    let (mut enums, mut sets) = (map.enum_labels()?, map.set_labels()?);
    for column in columns {
        let (known, logged) = match &column.column_type {
            ColumnType::Enum { labels } => (labels, &mut enums),
            ColumnType::Set { labels } => (labels, &mut sets),
            _ => continue,
        };
        let Some(logged) = logged.as_mut().map(Labels::next_column).transpose()?.flatten() else { continue };
        if logged.len() != known.len() {
            let found = format!("column {} has {} labels, {} in the log", column.name, known.len(), logged.len());
            return Err(mismatch(table, &found));
        }
        // A collation's name begins with its character set's.
        let charset = column.collation.as_deref().and_then(|name| Charset::by_name(name.split('_').next()?));
        let Some(charset) = charset else { continue };
        let differs = |at: &usize| {
            let mut label = Vec::new();
            charset.append(logged[*at], &mut label).is_err() || label != known[*at].as_bytes()
        };
        if let Some(at) = (0..known.len()).find(differs) {
            let (known, logged) = (&known[at], String::from_utf8_lossy(logged[at]));
            let found =
                format!("label {} of column {} is {known} in the schema and {logged} in the log", at + 1, column.name);
            return Err(mismatch(table, &found));
        }
    }
    Ok(())
}

#[cold]
fn mismatch(table: &TableId, found: &str) -> Error {
    Error::new(Code::SchemaMismatch, format!("rows of {table} do not fit the schema known for them: {found}"))
        .help("the table was changed in a way the log does not show; take a new snapshot of it")
}

/// Shows a wire type as in the messages of a mismatch.
impl std::fmt::Display for WireType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (type {}, metadata {})", self.name(), self.code, self.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{CatalogColumn, column};
    use super::*;

    #[test]
    fn a_sign_that_changed_without_a_trace_is_refused() {
        let column = |name, column_type| {
            column(CatalogColumn { name, column_type, charset: None, collation: None, nullable: false }).unwrap()
        };
        let columns =
            [column("d", "date"), column("y", "year(4)"), column("a", "int(11)"), column("b", "int unsigned")];
        let plan = |bits: u8| {
            let map = TableMap {
                table_id: 1,
                flags: 0,
                database: "d",
                table: "t",
                types: &[10, 13, 3, 3],
                metadata: &[],
                nullable: &[0],
                optional: &[1, 1, bits],
                old_json: false,
            };
            RowPlan::for_table_map(&TableId::new("d", "t"), &columns, &map).map(drop).map_err(|e| e.code())
        };
        assert_eq!(plan(0b1010_0000), Ok(()), "the year has a bit");
        assert_eq!(plan(0b0100_0000), Ok(()), "it has none");
        assert_eq!(plan(0b1110_0000), Err(Code::SchemaMismatch));
        assert_eq!(plan(0), Err(Code::SchemaMismatch));
        let error = mismatch(&TableId::new("shop", "orders"), "the log has 4 columns, the schema has 3");
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }
}
