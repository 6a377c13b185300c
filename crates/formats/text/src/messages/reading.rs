//! One value of a message into a column.

use super::cells::Manner;
use super::decimals;
use super::fault::Fault;
use super::growing::{Column, Growing};
use super::moments;
use super::native::{Native, per_second};
use super::scan::{Items, Raw, Shape, document};
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dujiang_core::schema::{self, LOGICAL_JSON, LOGICAL_NUMBER, LOGICAL_SET};

/// What stands for a large value that an update did not touch and that PostgreSQL has not told Debezium.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// How the values of a column are read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    nullable: bool,
    how: How,
    manner: Manner,
}

#[derive(Debug, Clone)]
enum How {
    Boolean,
    Integer,
    Float,
    /// Digits in all and behind the point, and whether text is the base64 of the whole number's bytes.
    Decimal(u8, i8, bool),
    Text,
    /// A JSON document, as such or as text.
    Document,
    /// A number or the text of one.
    NumberText,
    /// Labels, as an array or with commas.
    Labels,
    Binary,
    Date,
    /// Wall clock or instant. A number counts this unit.
    Moment {
        unit: TimeUnit,
        instant: bool,
        number: TimeUnit,
    },
    /// Time of day (which ends) or length of time. A number counts this unit.
    Time {
        unit: TimeUnit,
        of_day: bool,
        number: TimeUnit,
    },
    /// A bit string.
    Bits,
    List(Box<Reading>),
}

impl Reading {
    /// None for a type that no message can hold.
    pub(super) fn new(field: &Field, manner: Manner) -> Option<Self> {
        let native = Native::of(field);
        let number = native.unit();
        let how = match field.data_type() {
            DataType::Boolean => How::Boolean,
            DataType::UInt64 if matches!(native, Native::Bit | Native::Bits(_)) => How::Bits,
            DataType::UInt64 if manner == Manner::Debezium => How::Decimal(20, 0, true),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => How::Integer,
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => How::Integer,
            DataType::Float32 | DataType::Float64 => How::Float,
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                How::Decimal(*precision, *scale, manner == Manner::Debezium)
            }
            DataType::Utf8 => match schema::logical(field) {
                Some(LOGICAL_JSON) => How::Document,
                Some(LOGICAL_NUMBER) => How::NumberText,
                Some(LOGICAL_SET) => How::Labels,
                _ => How::Text,
            },
            DataType::Binary => How::Binary,
            DataType::Date32 => How::Date,
            DataType::Timestamp(unit, zone) => How::Moment { unit: *unit, instant: zone.is_some(), number },
            DataType::Time32(unit) | DataType::Time64(unit) => How::Time { unit: *unit, of_day: true, number },
            DataType::Duration(unit) => How::Time { unit: *unit, of_day: false, number },
            DataType::List(item) => How::List(Box::new(Self::new(item, manner)?)),
            _ => return None,
        };
        Some(Self { nullable: field.is_nullable(), how, manner })
    }

    /// The same where the message's own schema names the type of the values: literal and semantic.
    pub(super) fn explained(&self, literal: &str, semantic: &str) -> Self {
        let mut reading = self.clone();
        match (&mut reading.how, semantic) {
            (How::Decimal(_, _, base64), _) => *base64 = literal == "bytes",
            (How::Moment { number, .. }, "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp")
            | (How::Time { number, .. }, "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time") => {
                *number = TimeUnit::Millisecond;
            }
            (How::Moment { number, .. }, "io.debezium.time.MicroTimestamp")
            | (How::Time { number, .. }, "io.debezium.time.MicroTime") => *number = TimeUnit::Microsecond,
            (How::Moment { number, .. }, "io.debezium.time.NanoTimestamp")
            | (How::Time { number, .. }, "io.debezium.time.NanoTime") => *number = TimeUnit::Nanosecond,
            _ => {}
        }
        reading
    }

    /// Appends a JSON value.
    pub(super) fn append(&self, text: &str, raw: Raw, column: &mut Column, scratch: &mut Vec<u8>) -> Result<(), Fault> {
        match (&self.how, raw.shape) {
            (_, Shape::Null) => return self.append_null(raw.start, column),
            (How::Document, shape) if shape != Shape::String || !self.documents_are_text() => {
                self.append_known(raw.json(text), column).map_err(|fault| fault.at(raw.start))?;
            }
            (How::List(item), Shape::Array) => return item.append_items(text, raw, column, scratch),
            (How::Labels, Shape::Array) => append_labels(text, raw, column, scratch)?,
            (_, Shape::String) => {
                let value = raw.text(text, scratch)?;
                return self.append_text(value, column).map_err(|fault| fault.at(raw.start));
            }
            (How::Boolean | How::Bits, Shape::True | Shape::False) => self.append_known(raw.json(text), column)?,
            (How::Text | How::Document | How::Labels | How::Binary | How::List(_), shape) => {
                return Err(Fault::field(raw.start, format!("{} is no {}", shape.name(), self.name())));
            }
            (How::Date | How::Moment { .. } | How::Time { .. }, Shape::Number) => {
                let counted = self.append_count(raw.json(text), column);
                counted.ok_or_else(|| self.ill_typed(raw.json(text)).at(raw.start))?;
            }
            (How::Decimal(precision, scale, true), Shape::Number) => {
                let plain = Self { how: How::Decimal(*precision, *scale, false), ..self.clone() };
                plain.append_known(raw.json(text), column).map_err(|fault| fault.at(raw.start))?;
            }
            (How::Bits, Shape::Number) => {
                let count = whole(raw.json(text)).and_then(|bits| push_integer(bits, column));
                count.ok_or_else(|| self.ill_typed(raw.json(text)).at(raw.start))?;
            }
            (_, Shape::Number) => {
                self.append_known(raw.json(text), column).map_err(|fault| fault.at(raw.start))?;
            }
            (_, shape) => return Err(Fault::field(raw.start, format!("{} is no {}", shape.name(), self.name()))),
        }
        column.end();
        Ok(())
    }

    /// Whether documents come as text, so that a string is one to be read.
    fn documents_are_text(&self) -> bool {
        !matches!(self.manner, Manner::Plain | Manner::Maxwell)
    }

    pub(super) fn append_null(&self, at: usize, column: &mut Column) -> Result<(), Fault> {
        if !self.nullable {
            return Err(Fault::field(at, "it is NULL and must not be"));
        }
        column.push_null();
        Ok(())
    }

    /// Appends a value from its text.
    pub(super) fn append_text(&self, value: &str, column: &mut Column) -> Result<(), Fault> {
        let debezium = matches!(self.manner, Manner::Spaced | Manner::Debezium);
        if debezium && value == UNAVAILABLE && matches!(self.how, How::Text | How::Document | How::Binary) {
            return Err(Fault::field(0, "its value was not told: PostgreSQL does not log large values that stay"));
        }
        if let How::List(item) = &self.how {
            let raw = document(value)?;
            if raw.shape != Shape::Array {
                return Err(Fault::field(0, format!("{} is no {}", raw.shape.name(), self.name())));
            }
            return item.append_items(value, raw, column, &mut Vec::new());
        }
        self.append_known(value, column)?;
        column.end();
        Ok(())
    }

    fn append_items(&self, text: &str, array: Raw, column: &mut Column, scratch: &mut Vec<u8>) -> Result<(), Fault> {
        let Growing::List(ends, items) = &mut column.cells else { return Err(broken()) };
        let mut walk = Items::of(text, array);
        while let Some(item) = walk.next()? {
            self.append(text, item, items, scratch)?;
        }
        ends.push(end_of(items.len())?);
        column.end();
        Ok(())
    }

    /// Appends the value of a text; the cell is not ended.
    fn append_known(&self, value: &str, column: &mut Column) -> Result<(), Fault> {
        let appended = match &self.how {
            How::Boolean => boolean(value).and_then(|value| push_boolean(value, column)),
            How::Integer => whole(value).and_then(|value| push_integer(value, column)),
            How::Float => push_float(value, column),
            How::Decimal(precision, scale, base64) => {
                decimal(value, *precision, *scale, *base64).and_then(|value| push_decimal(value, column))
            }
            How::Bits => bits(value, self.manner == Manner::Debezium).and_then(|value| push_integer(value, column)),
            How::Date => moments::date(value).and_then(|days| push_integer(days, column)),
            How::Moment { instant: true, .. } if self.manner == Manner::Counted => self.append_count(value, column),
            How::Moment { unit, instant, .. } => {
                self.moment(value, *unit, *instant).and_then(|count| push_integer(count, column))
            }
            How::Time { unit, of_day, .. } => {
                let count = moments::duration(value, *unit).filter(|&count| !of_day || is_of_day(count, *unit));
                count.and_then(|count| push_integer(count, column))
            }
            How::Text | How::Document | How::NumberText | How::Labels => push_text(value.as_bytes(), column),
            How::Binary => return self.append_binary(value, column),
            How::List(_) => None,
        };
        appended.ok_or_else(|| self.ill_typed(value))
    }

    /// A wall clock has no zone. An instant has one, but at Canal and Maxwell, whose times are UTC here.
    fn moment(&self, value: &str, unit: TimeUnit, instant: bool) -> Option<i128> {
        let (count, zoned) = moments::moment(value, unit)?;
        let unzoned = !instant || matches!(self.manner, Manner::Canal | Manner::Maxwell);
        (zoned && instant || !zoned && unzoned).then_some(count)
    }

    /// Appends the time that a number counts.
    fn append_count(&self, digits: &str, column: &mut Column) -> Option<()> {
        let count = whole(digits)?;
        match self.how {
            How::Date => push_integer(count, column),
            How::Moment { unit, number, .. } => push_integer(converted(count, number, unit)?, column),
            How::Time { unit, of_day, number } => {
                let count = converted(count, number, unit)?;
                (!of_day || is_of_day(count, unit)).then_some(())?;
                push_integer(count, column)
            }
            _ => None,
        }
    }

    fn append_binary(&self, value: &str, column: &mut Column) -> Result<(), Fault> {
        let Growing::Bytes(ends, bytes) = &mut column.cells else { return Err(broken()) };
        if self.manner == Manner::Canal {
            for character in value.chars() {
                bytes.push(u8::try_from(character).map_err(|_| self.ill_typed(value))?);
            }
        } else {
            STANDARD.decode_vec(value, bytes).map_err(|_| self.ill_typed(value))?;
        }
        ends.push(end_of(bytes.len())?);
        Ok(())
    }

    fn ill_typed(&self, value: &str) -> Fault {
        let shown: String = value.chars().take(40).collect();
        let more = if shown.len() < value.len() { "..." } else { "" };
        Fault::field(0, format!("`{shown}{more}` is no {} that it can hold", self.name()))
    }

    /// For people.
    fn name(&self) -> &'static str {
        match self.how {
            How::Boolean => "truth value",
            How::Integer => "whole number",
            How::Float => "number",
            How::Decimal(_, _, true) => "base64 of a decimal",
            How::Decimal(_, _, false) => "decimal",
            How::Text => "text",
            How::Document => "JSON document",
            How::NumberText => "number",
            How::Labels => "list of labels",
            How::Binary if self.manner == Manner::Canal => "text of single bytes",
            How::Binary => "base64",
            How::Date => "date",
            How::Moment { instant: true, .. } => "instant",
            How::Moment { .. } => "date and time",
            How::Time { .. } => "time",
            How::Bits => "bit string",
            How::List(_) => "array",
        }
    }
}

fn append_labels(text: &str, array: Raw, column: &mut Column, scratch: &mut Vec<u8>) -> Result<(), Fault> {
    let mut walk = Items::of(text, array);
    let Growing::Bytes(ends, bytes) = &mut column.cells else { return Err(broken()) };
    let start = bytes.len();
    while let Some(label) = walk.next()? {
        if label.shape != Shape::String {
            return Err(Fault::field(label.start, format!("{} is no label", label.shape.name())));
        }
        let value = label.text(text, scratch)?;
        if value.is_empty() || value.contains(',') {
            return Err(Fault::field(label.start, "a label is empty or has a comma in it"));
        }
        if bytes.len() > start {
            bytes.push(b',');
        }
        bytes.extend_from_slice(value.as_bytes());
    }
    ends.push(end_of(bytes.len())?);
    Ok(())
}

fn end_of(length: usize) -> Result<i32, Fault> {
    i32::try_from(length).map_err(|_| Fault::field(0, "more than 2 GiB of text in one batch"))
}

/// A column whose cells are of another kind than its type says: never.
fn broken() -> Fault {
    Fault::field(0, "its column is of another type")
}

fn push_text(value: &[u8], column: &mut Column) -> Option<()> {
    let Growing::Bytes(ends, bytes) = &mut column.cells else { return None };
    let end = i32::try_from(bytes.len() + value.len()).ok()?;
    bytes.extend_from_slice(value);
    ends.push(end);
    Some(())
}

fn push_boolean(value: bool, column: &mut Column) -> Option<()> {
    let Growing::Boolean(values) = &mut column.cells else { return None };
    values.push(value);
    Some(())
}

/// None if the column cannot hold it.
fn push_integer(value: i128, column: &mut Column) -> Option<()> {
    match &mut column.cells {
        Growing::I8(values) => values.push(value.try_into().ok()?),
        Growing::I16(values) => values.push(value.try_into().ok()?),
        Growing::I32(values) => values.push(value.try_into().ok()?),
        Growing::I64(values) => values.push(value.try_into().ok()?),
        Growing::U8(values) => values.push(value.try_into().ok()?),
        Growing::U16(values) => values.push(value.try_into().ok()?),
        Growing::U32(values) => values.push(value.try_into().ok()?),
        Growing::U64(values) => values.push(value.try_into().ok()?),
        _ => return None,
    }
    Some(())
}

/// None if it is no number, or one beyond the range of the column.
fn push_float(value: &str, column: &mut Column) -> Option<()> {
    let named = matches!(value, "NaN" | "Infinity" | "-Infinity");
    let digits = value.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '+');
    let word = value.ends_with(|last: char| last.is_ascii_alphabetic());
    if !named && (word || !digits) {
        return None;
    }
    match &mut column.cells {
        Growing::F32(values) => values.push(value.parse().ok().filter(|number: &f32| named || number.is_finite())?),
        Growing::F64(values) => values.push(value.parse().ok().filter(|number: &f64| named || number.is_finite())?),
        _ => return None,
    }
    Some(())
}

fn push_decimal(value: i256, column: &mut Column) -> Option<()> {
    match &mut column.cells {
        Growing::I128(values) => values.push(value.to_i128()?),
        Growing::I256(values) => values.push(value),
        Growing::U64(values) => values.push(value.to_i128()?.try_into().ok()?),
        _ => return None,
    }
    Some(())
}

fn decimal(value: &str, precision: u8, scale: i8, base64: bool) -> Option<i256> {
    if !base64 {
        return decimals::decimal(value, precision, scale);
    }
    let mut bytes = [0; 48];
    let length = STANDARD.decode_slice(value, &mut bytes).ok()?;
    decimals::whole(&bytes[..length]).filter(|&whole| decimals::fits(whole, precision))
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn whole(digits: &str) -> Option<i128> {
    digits.parse().ok()
}

/// A truth value or digits; at Debezium a text is the base64 of bytes, the lowest first.
fn bits(value: &str, base64: bool) -> Option<i128> {
    match value {
        "true" => return Some(1),
        "false" => return Some(0),
        _ if !base64 => return whole(value),
        _ => {}
    }
    let mut bytes = [0; 16];
    let length = STANDARD.decode_slice(value, &mut bytes).ok()?;
    (1..=8).contains(&length).then(|| i128::from_le_bytes(bytes))
}

fn is_of_day(count: i128, unit: TimeUnit) -> bool {
    (0..86_400 * per_second(unit)).contains(&count)
}

/// None if a coarser unit would lose something.
fn converted(count: i128, from: TimeUnit, to: TimeUnit) -> Option<i128> {
    let scaled = count.checked_mul(per_second(to))?;
    (scaled % per_second(from) == 0).then(|| scaled / per_second(from))
}
