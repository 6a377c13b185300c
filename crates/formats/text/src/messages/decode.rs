//! Messages into changes.

use super::cells::Manner;
use super::envelope::{Found, Placed, find};
use super::explained::{Explained, explain};
use super::fault::Fault;
use super::growing::Column;
use super::options::{MessageFormat, MessageOptions};
use super::reading::Reading;
use super::record::Fields;
use super::rows::DecodedRows;
use super::scan::{Items, Members, Raw, Shape};
use dujiang_core::{Code, Error, Kind, Origin, Result, TableId, TableSchema};
use std::sync::Arc;

/// Reads messages of one table whose shape is known.
#[derive(Debug)]
pub struct Decoder {
    table: Arc<TableSchema>,
    format: MessageFormat,
    null: String,
    /// One a column.
    readings: Vec<Reading>,
    explained: Explained,
    /// Where the values of a row stand, one a column: as it was and as it is.
    before: Vec<Option<Raw>>,
    after: Vec<Option<Raw>>,
    scratch: Vec<u8>,
    transaction: String,
    position: String,
}

/// What a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// So many changes were appended.
    Changes(u64),
    /// It changes nothing: a tombstone behind a delete, or a mark of the tool.
    Nothing,
}

/// The table that a message is about, as far as it says so. A part that is missing is empty.
///
/// # Errors
/// As [`Decoder::decode`].
pub fn table_of(format: MessageFormat, value: &[u8]) -> Result<Option<TableId>> {
    let name = format.name();
    if !format.has_envelope() {
        return Ok(None);
    }
    let text = utf8(value).map_err(|fault| fault.into_error(name))?;
    let Some(found) = find(format, text).map_err(|fault| fault.into_error(name))? else { return Ok(None) };
    let mut scratch = Vec::new();
    let mut part = |raw: Option<Raw>| match raw {
        Some(raw) => raw.text(text, &mut scratch).map(str::to_owned).map_err(|fault| fault.into_error(name)),
        None => Ok(String::new()),
    };
    Ok(Some(TableId::new(part(found.database)?, part(found.table)?)))
}

impl Decoder {
    /// Prepares what all messages of a table have in common.
    ///
    /// # Errors
    /// [`Code::UnknownType`] for a column that cannot be read from messages.
    pub fn new(table: &Arc<TableSchema>, options: &MessageOptions) -> Result<Self> {
        let manner = match options.value {
            MessageFormat::Json | MessageFormat::Csv => Manner::Plain,
            MessageFormat::DebeziumJson => Manner::Spaced,
            MessageFormat::DebeziumJsonWithSchema => Manner::Debezium,
            MessageFormat::CanalJson => Manner::Canal,
            MessageFormat::MaxwellJson => Manner::Maxwell,
        };
        Self::with_manner(table, options, manner)
    }

    /// For records that are no messages but the texts of their values ([`Decoder::decode_row`]), in which an instant is a
    /// count of microseconds.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn of_rows(table: &Arc<TableSchema>) -> Result<Self> {
        Self::with_manner(table, &MessageOptions::new(MessageFormat::Csv, ""), Manner::Counted)
    }

    fn with_manner(table: &Arc<TableSchema>, options: &MessageOptions, manner: Manner) -> Result<Self> {
        let reading = |field: &arrow_schema::FieldRef| {
            let readable = Column::new(field.data_type()).and_then(|_| Reading::new(field, manner));
            readable.ok_or_else(|| {
                let message = format!("column `{}` of {} cannot be read from messages", field.name(), table.id);
                Error::new(Code::UnknownType, message).fact("type", field.data_type().to_string())
            })
        };
        let readings = table.arrow.fields().iter().map(reading).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            table: table.clone(),
            format: options.value,
            null: options.csv.null.clone(),
            before: vec![None; readings.len()],
            after: vec![None; readings.len()],
            readings,
            explained: Explained::default(),
            scratch: Vec::new(),
            transaction: String::new(),
            position: String::new(),
        })
    }

    /// Room for rows.
    pub fn rows(&self) -> DecodedRows {
        let columns = self.table.arrow.fields().iter().map(|field| {
            Column::new(field.data_type()).expect("invariant: the decoder was made for types that can be read")
        });
        DecodedRows::new(&self.table, columns.collect())
    }

    /// Appends the changes of a message. `origin` says where it was found; what the message itself tells of its origin goes
    /// before it. A message that is at fault appends nothing.
    ///
    /// # Errors
    /// [`Code::MessageSyntax`], [`Code::MessageKind`] and [`Code::MessageField`], with the place: errors of this record alone.
    pub fn decode(&mut self, value: Option<&[u8]>, origin: &Origin<'_>, rows: &mut DecodedRows) -> Result<Decoded> {
        let images = rows.len();
        let decoded = self.decode_value(value, origin, rows);
        decoded.map_err(|fault| {
            rows.truncate(images);
            fault.into_error(self.format.name()).fact("table", self.table.id.to_string())
        })
    }

    /// Appends a row by the texts of its values, one a column; what is missing at the end is NULL. A row that is at fault
    /// appends nothing.
    ///
    /// # Errors
    /// [`Code::MessageField`]; [`Code::MessageKind`] for an update, whose old row nobody tells.
    pub fn decode_row<'a>(
        &mut self,
        kind: Kind,
        mut values: impl Iterator<Item = Option<&'a [u8]>>,
        origin: &Origin<'_>,
        rows: &mut DecodedRows,
    ) -> Result<()> {
        let images = rows.len();
        let appended = self.append_texts(kind, &mut values, rows);
        appended.map_err(|fault| {
            rows.truncate(images);
            fault.into_error("rows").fact("table", self.table.id.to_string())
        })?;
        rows.end(origin, 1);
        Ok(())
    }

    fn append_texts(
        &self,
        kind: Kind,
        values: &mut dyn Iterator<Item = Option<&[u8]>>,
        rows: &mut DecodedRows,
    ) -> Result<(), Fault> {
        if matches!(kind, Kind::UpdateBefore | Kind::UpdateAfter) {
            return Err(Fault::kind(0, "an update without the old row"));
        }
        for (index, (reading, column)) in self.readings.iter().zip(&mut rows.columns).enumerate() {
            let appended = match values.next().flatten() {
                None => reading.append_null(0, column),
                Some(value) => utf8(value).and_then(|value| reading.append_text(value, column)),
            };
            appended.map_err(|fault| fault.of_column(self.table.arrow.field(index).name()))?;
        }
        if values.next().is_some() {
            return Err(Fault::field(0, "there are more values than columns"));
        }
        rows.kinds.push(kind);
        Ok(())
    }

    fn decode_value(
        &mut self,
        value: Option<&[u8]>,
        origin: &Origin<'_>,
        rows: &mut DecodedRows,
    ) -> Result<Decoded, Fault> {
        let Some(value) = value else { return self.tombstone() };
        let text = utf8(value)?;
        if self.format == MessageFormat::Csv {
            self.append_record(text, rows)?;
            rows.kinds.push(Kind::Insert);
            rows.end(origin, 1);
            return Ok(Decoded::Changes(1));
        }
        let Some(found) = find(self.format, text)? else { return Ok(Decoded::Nothing) };
        let schema = found.schema.filter(|_| self.format == MessageFormat::DebeziumJsonWithSchema);
        explain(&mut self.explained, text, schema, &self.table, &self.readings)?;
        let changes = self.append_rows(text, &found, rows)?;
        if changes == 0 {
            return Ok(Decoded::Nothing);
        }
        self.end(text, &found, origin, changes, rows)?;
        Ok(Decoded::Changes(changes))
    }

    /// Where deletes have messages of their own, a tombstone only says that the key may be forgotten.
    fn tombstone(&self) -> Result<Decoded, Fault> {
        if self.format.has_envelope() {
            return Ok(Decoded::Nothing);
        }
        Err(Fault::kind(0, "it is a tombstone, and the deleted row is not in it"))
    }

    fn append_rows(&mut self, text: &str, found: &Found, rows: &mut DecodedRows) -> Result<u64, Fault> {
        match found.rows {
            Placed::Images { before, after } => {
                let (before, after) = needed(found.kind, before, after)?;
                self.append_change(text, found.kind, before, after, false, rows)?;
                Ok(1)
            }
            Placed::Row { data, old } => {
                self.append_partial(text, found.kind, data, old, rows)?;
                Ok(1)
            }
            Placed::Rows { data, old } => {
                let mut old = old.map(|old| Items::of(text, old));
                let mut data = Items::of(text, data);
                let mut changes = 0;
                while let Some(row) = data.next()? {
                    let before = match &mut old {
                        Some(old) => old.next()?,
                        None => None,
                    };
                    self.append_partial(text, found.kind, row, before, rows)?;
                    changes += 1;
                }
                let surplus = match &mut old {
                    Some(old) => old.next()?,
                    None => None,
                };
                match surplus {
                    Some(raw) => Err(Fault::kind(raw.start, "it has more old rows than rows")),
                    None => Ok(changes),
                }
            }
        }
    }

    /// A row, and of an update what was otherwise before.
    fn append_partial(
        &mut self,
        text: &str,
        kind: Kind,
        data: Raw,
        old: Option<Raw>,
        rows: &mut DecodedRows,
    ) -> Result<(), Fault> {
        match kind {
            Kind::UpdateAfter => {
                let Some(old) = old else { return Err(Fault::kind(data.start, "an update without old values")) };
                self.append_change(text, kind, Some(old), Some(data), true, rows)
            }
            Kind::Delete => self.append_change(text, kind, Some(data), None, false, rows),
            _ => self.append_change(text, kind, None, Some(data), false, rows),
        }
    }

    fn append_change(
        &mut self,
        text: &str,
        kind: Kind,
        before: Option<Raw>,
        after: Option<Raw>,
        partial: bool,
        rows: &mut DecodedRows,
    ) -> Result<(), Fault> {
        let (mut was, mut is) = (std::mem::take(&mut self.before), std::mem::take(&mut self.after));
        let appended = (|| {
            if let Some(after) = after {
                is.fill(None);
                self.locate(text, after, &mut is)?;
            }
            if let Some(before) = before {
                if partial {
                    was.copy_from_slice(&is)
                } else {
                    was.fill(None)
                }
                self.locate_over(text, before, &mut was, partial)?;
                let first = if kind == Kind::Delete { Kind::Delete } else { Kind::UpdateBefore };
                self.append_image(text, before, &was, first, rows)?;
            }
            match after {
                Some(after) => self.append_image(text, after, &is, kind, rows),
                None => Ok(()),
            }
        })();
        (self.before, self.after) = (was, is);
        appended
    }

    fn locate(&mut self, text: &str, object: Raw, places: &mut [Option<Raw>]) -> Result<(), Fault> {
        self.locate_over(text, object, places, false)
    }

    /// Finds the values of an object's members, column by column. Those of a partial one stand over others.
    fn locate_over(&mut self, text: &str, object: Raw, places: &mut [Option<Raw>], partial: bool) -> Result<(), Fault> {
        if object.shape != Shape::Object {
            return Err(Fault::kind(object.start, format!("{} where a row is expected", object.shape.name())));
        }
        let fields = self.table.arrow.fields();
        let mut members = Members::of(text, object);
        let mut expected = 0;
        while let Some((name, value)) = members.next()? {
            let named = name.text(text, &mut self.scratch)?;
            let column = match fields.get(expected) {
                Some(field) if field.name() == named => Some(expected),
                _ => fields.iter().position(|field| field.name() == named),
            };
            let Some(column) = column else {
                return Err(Fault::field(name.start, format!("the table has no column `{named}`")));
            };
            if !partial && places[column].is_some() {
                return Err(Fault::field(name.start, format!("column `{named}` stands in it twice")));
            }
            places[column] = Some(value);
            expected = column + 1;
        }
        Ok(())
    }

    fn append_image(
        &mut self,
        text: &str,
        object: Raw,
        places: &[Option<Raw>],
        kind: Kind,
        rows: &mut DecodedRows,
    ) -> Result<(), Fault> {
        let readings = self.explained.readings().unwrap_or(&self.readings);
        for (index, (reading, place)) in readings.iter().zip(places).enumerate() {
            let name = self.table.arrow.field(index).name();
            let Some(raw) = place else {
                return Err(Fault::field(object.start, format!("column `{name}` is missing")));
            };
            let appended = reading.append(text, *raw, &mut rows.columns[index], &mut self.scratch);
            appended.map_err(|fault| fault.of_column(name))?;
        }
        rows.kinds.push(kind);
        Ok(())
    }

    fn append_record(&mut self, text: &str, rows: &mut DecodedRows) -> Result<(), Fault> {
        let mut fields = Fields::of(text);
        for (index, reading) in self.readings.iter().enumerate() {
            let name = self.table.arrow.field(index).name();
            let Some(cell) = fields.next()? else {
                return Err(Fault::field(text.len(), format!("column `{name}` is missing")));
            };
            let column = &mut rows.columns[index];
            let value = cell.text(&mut self.scratch);
            let appended = match !cell.quoted && value == self.null {
                true => reading.append_null(cell.start, column),
                false => reading.append_text(value, column).map_err(|fault| fault.at(cell.start)),
            };
            appended.map_err(|fault| fault.of_column(name))?;
        }
        match fields.next()? {
            None => Ok(()),
            Some(cell) => Err(Fault::field(cell.start, "there are more fields than columns")),
        }
    }

    /// Gives the changes their origin: the message's own where it is whole, else the one it was found at, with its time.
    fn end(
        &mut self,
        text: &str,
        found: &Found,
        origin: &Origin<'_>,
        changes: u64,
        rows: &mut DecodedRows,
    ) -> Result<(), Fault> {
        let (commit_micros, precision) = found.time.unwrap_or((origin.commit_micros, origin.precision));
        let own = match (found.transaction, found.position, found.ordinal) {
            (Some(transaction), Some(position), Some(ordinal)) => Some((transaction, position, ordinal)),
            _ => None,
        };
        let Some((transaction, position, first_ordinal)) = own else {
            rows.end(&Origin { commit_micros, precision, ..*origin }, changes);
            return Ok(());
        };
        for (part, raw) in [(&mut self.transaction, transaction), (&mut self.position, position)] {
            part.clear();
            part.push_str(raw.text(text, &mut self.scratch)?);
        }
        let (transaction, position) = (self.transaction.as_str(), self.position.as_str());
        rows.end(&Origin { transaction, position, commit_micros, precision, first_ordinal }, changes);
        Ok(())
    }
}

/// The images that a change of this kind must have.
fn needed(kind: Kind, before: Option<Raw>, after: Option<Raw>) -> Result<(Option<Raw>, Option<Raw>), Fault> {
    match (kind, before, after) {
        (Kind::UpdateAfter, Some(_), Some(_)) => Ok((before, after)),
        (Kind::UpdateAfter, None, _) => {
            Err(Fault::kind(0, "an update without `before`: the source does not tell old rows (REPLICA IDENTITY FULL)"))
        }
        (Kind::Delete, Some(_), _) => Ok((before, None)),
        (Kind::Delete, None, _) => Err(Fault::kind(0, "a delete without `before`")),
        (Kind::Insert | Kind::Read, _, Some(_)) => Ok((None, after)),
        _ => Err(Fault::kind(0, "a change without `after`")),
    }
}

fn utf8(value: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(value).map_err(|error| Fault::syntax(error.valid_up_to(), "it is not UTF-8"))
}
