//! A type's name -> a field.

use crate::schema::{LOGICAL_JSON, field};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use std::sync::Arc;

/// Types within types go no deeper.
const MAX_DEPTH: usize = 32;

/// The field for a column declared with a type of the dialect, e.g. `VARCHAR(17) NOT NULL`. Case does not matter.
///
/// # Errors
/// A sentence that says what is wrong with the name.
pub fn parse_field(name: &str, declared: &str) -> Result<Field, String> {
    let mut reader = Reader { rest: declared.trim(), depth: 0 };
    let field = reader.field(name)?;
    match reader.rest.trim_start() {
        "" => Ok(field),
        rest => Err(format!("`{rest}` makes no sense after the type in `{declared}`")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn field(&mut self, name: &str) -> Result<Field, String> {
        let before = self.rest;
        let (data_type, logical) = self.data_type()?;
        let mut source = before[..before.len() - self.rest.len()].trim().to_owned();
        if matches!(data_type, DataType::Timestamp(..)) && !source.contains('(') {
            // Said, because MySQL's type of this name has another default.
            let word = source.find(' ').unwrap_or(source.len());
            source.insert_str(word, "(6)");
        }
        let nullable = !self.words(&["NOT", "NULL"]);
        if nullable {
            self.words(&["NULL"]);
        }
        Ok(field(name, data_type, nullable, &source, logical))
    }

    fn data_type(&mut self) -> Result<(DataType, Option<&'static str>), String> {
        let word = self.word().ok_or("a type is missing")?.to_ascii_uppercase();
        let plain = |data_type| Ok((data_type, None));
        match word.as_str() {
            "BOOLEAN" => plain(DataType::Boolean),
            "TINYINT" => plain(DataType::Int8),
            "SMALLINT" => plain(DataType::Int16),
            "INT" | "INTEGER" => plain(DataType::Int32),
            "BIGINT" => plain(DataType::Int64),
            "FLOAT" => plain(DataType::Float32),
            "DOUBLE" => plain(DataType::Float64),
            "STRING" => plain(DataType::Utf8),
            "BYTES" => plain(DataType::Binary),
            "DATE" => plain(DataType::Date32),
            "VARIANT" => Ok((DataType::Utf8, Some(LOGICAL_JSON))),
            "DECIMAL" | "NUMERIC" | "DEC" => self.decimal().and_then(plain),
            "CHAR" | "VARCHAR" => self.length(&word).map(|_| (DataType::Utf8, None)),
            "BINARY" | "VARBINARY" => self.length(&word).map(|_| (DataType::Binary, None)),
            "TIME" => Ok((DataType::Time64(self.unit(0)?), None)),
            "TIMESTAMP" => self.timestamp().and_then(plain),
            "TIMESTAMP_LTZ" => plain(DataType::Timestamp(self.unit(6)?, Some("UTC".into()))),
            "ARRAY" => self.array().and_then(plain),
            "MAP" => self.map().and_then(plain),
            "ROW" => self.row().and_then(plain),
            _ => Err(format!("there is no type `{word}` in the dialect")),
        }
    }

    fn decimal(&mut self) -> Result<DataType, String> {
        let arguments = self.arguments()?;
        let (precision, scale) = match arguments[..] {
            [] => (10, 0),
            [precision] => (precision, 0),
            [precision, scale] => (precision, scale),
            _ => return Err("DECIMAL takes two numbers: digits, and how many of them follow the point".into()),
        };
        if precision == 0 || precision > 38 || scale > precision {
            return Err(format!(
                "DECIMAL({precision}, {scale}) is none: 1 to 38 digits, no more of them after the point"
            ));
        }
        Ok(DataType::Decimal128(precision as u8, scale as i8))
    }

    /// Types of a length may stand without one: then it is 1.
    fn length(&mut self, word: &str) -> Result<u32, String> {
        match self.arguments()?[..] {
            [] => Ok(1),
            [length] if length > 0 => Ok(length),
            _ => Err(format!("{word} takes one length of at least 1")),
        }
    }

    fn unit(&mut self, default: u32) -> Result<TimeUnit, String> {
        let digits = match self.arguments()?[..] {
            [] => default,
            [digits] => digits,
            _ => return Err("a time takes one number: the digits of its seconds' fraction".into()),
        };
        match digits {
            0..=6 => Ok(TimeUnit::Microsecond),
            7..=9 => Ok(TimeUnit::Nanosecond),
            _ => Err(format!("a second has at most 9 digits, not {digits}")),
        }
    }

    fn timestamp(&mut self) -> Result<DataType, String> {
        let unit = self.unit(6)?;
        let zoned = self.words(&["WITH", "LOCAL", "TIME", "ZONE"]) || self.words(&["WITH", "TIME", "ZONE"]);
        Ok(DataType::Timestamp(unit, zoned.then(|| "UTC".into())))
    }

    fn array(&mut self) -> Result<DataType, String> {
        let item = self.nested(|reader| reader.field("item"))?;
        Ok(DataType::List(Arc::new(item)))
    }

    fn map(&mut self) -> Result<DataType, String> {
        let (key, value) = self.nested(|reader| {
            let key = reader.field("key")?;
            reader.expect(',')?;
            Ok((key, reader.field("value")?))
        })?;
        let entries = DataType::Struct(Fields::from(vec![key, value]));
        Ok(DataType::Map(Arc::new(Field::new("entries", entries, false)), false))
    }

    fn row(&mut self) -> Result<DataType, String> {
        let fields = self.nested(|reader| {
            let mut fields = Vec::new();
            loop {
                let name = reader.name().ok_or("a field of a ROW needs a name")?;
                fields.push(reader.field(&name)?);
                if reader.expect(',').is_err() {
                    return Ok(fields);
                }
            }
        })?;
        Ok(DataType::Struct(Fields::from(fields)))
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("types within types go more than {MAX_DEPTH} deep"));
        }
        self.expect('<')?;
        let inner = read(self)?;
        self.expect('>')?;
        self.depth -= 1;
        Ok(inner)
    }

    /// Numbers in brackets; none without brackets.
    fn arguments(&mut self) -> Result<Vec<u32>, String> {
        let Some(rest) = self.rest.trim_start().strip_prefix('(') else { return Ok(Vec::new()) };
        let (inside, rest) = rest.split_once(')').ok_or("a bracket is not closed")?;
        self.rest = rest;
        let number = |text: &str| text.trim().parse().map_err(|_| format!("`{}` is not a number", text.trim()));
        inside.split(',').map(number).collect()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        let rest = self.rest.trim_start().strip_prefix(wanted).ok_or_else(|| format!("`{wanted}` is missing"))?;
        self.rest = rest;
        Ok(())
    }

    fn word(&mut self) -> Option<&str> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// A plain word, or a name in backticks in which two stand for one.
    fn name(&mut self) -> Option<String> {
        let rest = self.rest.trim_start();
        let Some(quoted) = rest.strip_prefix('`') else { return self.word().map(str::to_owned) };
        let mut name = String::new();
        let mut characters = quoted.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            if character != '`' {
                name.push(character);
            } else if characters.next_if(|(_, next)| *next == '`').is_some() {
                name.push('`');
            } else {
                self.rest = &quoted[at + 1..];
                return Some(name);
            }
        }
        None
    }

    /// Takes the words if they all come next.
    fn words(&mut self, words: &[&str]) -> bool {
        let start = self.rest;
        for word in words {
            if !self.word().is_some_and(|found| found.eq_ignore_ascii_case(word)) {
                self.rest = start;
                return false;
            }
        }
        true
    }
}
