//! Columns as a table map with full metadata (`binlog_row_metadata=FULL`) describes them: enough to decode rows of a table
//! of which nothing else is known.

use super::cursor::{Cursor, Malformed};
use super::table_map::{Charsets, TableMap};
use super::types::Column;
use super::wire::{self, Metadata, WireType};
use dujiang_core::Result;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// Its type, as the catalog would spell it but for lengths; none if it cannot be told.
    pub column_type: Option<String>,
    /// Number of the collation of a character column.
    pub collation: Option<u16>,
    /// Whether it may be NULL.
    pub nullable: bool,
    wire: WireType,
}

impl Described {
    /// Whether values of this column can be those of a column that is known from elsewhere, as far as their bytes go.
    pub fn can_be(&self, known: &Column) -> bool {
        wire::log_cell(known, self.wire).is_some()
    }
}

/// The collation in which bytes are bytes.
const BINARY: u16 = 63;

/// The columns; none without names in the map. `years`: whether a YEAR counts among the columns with a sign.
///
/// # Errors
/// `LogDamaged` when the metadata does not hold together.
pub fn described(map: &TableMap<'_>, years: bool) -> Result<Option<Vec<Described>>> {
    let Some(names) = map.column_names()? else { return Ok(None) };
    let mut wires = Vec::with_capacity(names.len());
    let mut metadata = Metadata::new(map.metadata);
    for code in map.types {
        wires.push(metadata.next(*code)?);
    }
    let signs = map.signedness()?.unwrap_or_default();
    let texts = collations(map.charsets()?, wires.iter().filter(|w| w.is_text()).count())?;
    let lists = collations(map.label_charsets()?, wires.iter().filter(|w| w.is_list()).count())?;
    let (mut enums, mut sets) = (map.enum_labels()?, map.set_labels()?);
    let (mut sign, mut text, mut list) = (0, 0, 0);
    let mut out = Vec::with_capacity(names.len());
    for (at, (name, wire)) in names.iter().zip(&wires).enumerate() {
        let mut unsigned = false;
        if WireType::has_sign(wire.code, years) {
            unsigned = signs.get(sign / 8).is_some_and(|byte| byte & (0x80 >> (sign % 8)) != 0);
            sign += 1;
        }
        let mut collation = None;
        if wire.is_text() {
            collation = texts.get(text).copied();
            text += 1;
        }
        let mut labels = None;
        if wire.is_list() {
            collation = lists.get(list).copied();
            list += 1;
            let source = if wire.is_enum() { &mut enums } else { &mut sets };
            labels = source.as_mut().map(|l| l.next_column()).transpose()?.flatten();
        }
        let is_bytes = collation == Some(BINARY);
        out.push(Described {
            name: (*name).to_owned(),
            column_type: wire.spelled(unsigned, is_bytes, labels.as_deref()),
            collation: collation.filter(|_| !is_bytes),
            nullable: map.nullable.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0),
            wire: *wire,
        });
    }
    Ok(Some(out))
}

fn collations(charsets: Option<Charsets<'_>>, columns: usize) -> Result<Vec<u16>, Malformed> {
    let number = |n: u64, c: &Cursor<'_>| u16::try_from(n).map_err(|_| c.malformed());
    match charsets {
        None => Ok(Vec::new()),
        Some(Charsets::Each(bytes)) => {
            let mut c = Cursor::new(bytes, "the character sets of a table map");
            (0..columns).map(|_| c.lenenc().and_then(|n| number(n, &c))).collect()
        }
        Some(Charsets::Default(bytes)) => {
            let mut c = Cursor::new(bytes, "the character sets of a table map");
            let default = c.lenenc()?;
            let mut all = vec![number(default, &c)?; columns];
            while !c.is_empty() {
                let (at, collation) = (c.lenenc()?, c.lenenc()?);
                *all.get_mut(at as usize).ok_or_else(|| c.malformed())? = number(collation, &c)?;
            }
            Ok(all)
        }
    }
}
