//! Keys in a form whose bytes compare as the server orders them. Pure.
//!
//! Only for types whose order is that of their values on every server; text only where the server compares bytes (the
//! collations `C`, `POSIX` and the like), which the caller has to know.

use crate::catalog::Collates;
use crate::client::wire::Reader;
use crate::pgoutput::{Cell, Tuple};
use crate::shape::Shape;
use crate::values::PgKind;
use dujiang_core::{Code, Error, Result};

/// How one column of a key is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A signed number.
    Signed,
    /// An unsigned number.
    Unsigned,
    /// 16 bytes.
    Uuid,
    /// Bytes of a text.
    Text,
    /// Bytes of a text, without the blanks at its end.
    Padded,
    /// Bytes.
    Bytea,
    /// False before true.
    Bool,
}

/// How a table's keys are ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOrder {
    /// Columns in key order.
    parts: Vec<(usize, Part)>,
    /// No index of the server has this order.
    sorted: bool,
}

/// `pg_type.oid` of `char(n)`.
const BPCHAR: u32 = 1042;

impl KeyOrder {
    /// How the key of this shape is ordered; `None` when there is none, or the server alone can tell. `collations` are those
    /// of the columns by their places.
    pub fn new(shape: &Shape, collations: &[Collates]) -> Option<Self> {
        let collates = |at: usize| collations.get(at).copied().unwrap_or_default();
        let part = |&at: &usize| {
            let column = &shape.columns[at];
            let part = match &column.kind {
                PgKind::Int2 | PgKind::Int4 | PgKind::Int8 => Part::Signed,
                PgKind::Oid => Part::Unsigned,
                PgKind::Uuid => Part::Uuid,
                PgKind::Bytea => Part::Bytea,
                PgKind::Bool => Part::Bool,
                PgKind::Text if collates(at) == Collates::Unknown => return None,
                PgKind::Text if column.type_oid == BPCHAR => Part::Padded,
                PgKind::Text => Part::Text,
                _ => return None,
            };
            Some((at, part))
        };
        let parts = shape.key.iter().map(part).collect::<Option<Vec<_>>>()?;
        let text = |(at, part): &(usize, Part)| matches!(part, Part::Text | Part::Padded).then_some(*at);
        let sorted = parts.iter().filter_map(text).any(|at| collates(at) == Collates::Language);
        (!parts.is_empty()).then_some(Self { parts, sorted })
    }

    /// Whether the server has to sort the table to read it in this order.
    pub fn is_sorted(&self) -> bool {
        self.sorted
    }

    /// Whether another order compares the same, wherever the columns stand.
    pub fn is_like(&self, other: &Self) -> bool {
        self.sorted == other.sorted
            && self.parts.iter().map(|(_, part)| part).eq(other.parts.iter().map(|(_, part)| part))
    }

    /// The key of a row of a binary copy, as the texts of its values.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn texts(&self, row: &[u8]) -> Result<Vec<String>> {
        let text = |(at, part): &(usize, Part)| {
            let mut r = Reader::new(row, "a row of a copy");
            r.take(2)?;
            for _ in 0..*at {
                let length = r.i32()?;
                r.take(usize::try_from(length).unwrap_or(0))?;
            }
            let length = usize::try_from(r.i32()?).map_err(|_| bad())?;
            read_binary(*part, r.take(length)?)
        };
        self.parts.iter().map(text).collect()
    }

    /// Appends the key of an image.
    ///
    /// # Errors
    /// `SchemaMismatch` when the image does not hold the key, `Protocol` when a value cannot be read.
    pub fn write(&self, image: Tuple<'_>, out: &mut Vec<u8>) -> Result<()> {
        // Keys are few columns, most often the first: going through the image once per column costs less than keeping places.
        for (at, part) in &self.parts {
            match image.cells().nth(*at) {
                Some(Cell::Text(text)) => write_text(*part, text, out)?,
                Some(Cell::Binary(bytes)) => write_binary(*part, bytes, out)?,
                other => {
                    let found = other.map_or("no such column", |_| "NULL or nothing");
                    return Err(Error::new(Code::SchemaMismatch, "a change does not hold the key of its row")
                        .fact("found", found)
                        .help("somebody changed the table's primary key or replica identity; start a new snapshot"));
                }
            }
        }
        Ok(())
    }

    /// Appends a key given as the texts of its values.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn write_texts(&self, key: &[String], out: &mut Vec<u8>) -> Result<()> {
        for ((_, part), text) in self.parts.iter().zip(key) {
            write_text(*part, text.as_bytes(), out)?;
        }
        Ok(())
    }
}

#[cold]
fn bad() -> Error {
    Error::new(Code::Protocol, "a key of the server cannot be read")
}

fn write_text(part: Part, text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let number = |text| std::str::from_utf8(text).ok().and_then(|t: &str| t.parse::<i64>().ok()).ok_or_else(bad);
    match part {
        Part::Signed => signed(number(text)?, out),
        Part::Unsigned => out.extend((number(text)? as u64).to_be_bytes()),
        Part::Bool => out.push(u8::from(matches!(text, b"t" | b"true"))),
        Part::Uuid => uuid(text, out)?,
        Part::Text => terminated(text, out),
        Part::Padded => terminated(without_blanks(text), out),
        Part::Bytea => {
            let hex = text.strip_prefix(b"\\x").ok_or_else(bad)?;
            let bytes = hex.chunks(2).map(byte).collect::<Option<Vec<u8>>>().ok_or_else(bad)?;
            escaped(&bytes, out);
        }
    }
    Ok(())
}

fn write_binary(part: Part, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match part {
        Part::Signed => {
            let number = match bytes.len() {
                2 => bytes.try_into().map(i16::from_be_bytes).map(i64::from),
                4 => bytes.try_into().map(i32::from_be_bytes).map(i64::from),
                _ => bytes.try_into().map(i64::from_be_bytes),
            };
            signed(number.map_err(|_| bad())?, out);
        }
        Part::Unsigned => {
            let number = u32::from_be_bytes(bytes.try_into().map_err(|_| bad())?);
            out.extend(u64::from(number).to_be_bytes());
        }
        Part::Bool => out.push(u8::from(bytes != [0])),
        Part::Uuid if bytes.len() == 16 => out.extend_from_slice(bytes),
        Part::Uuid => return Err(bad()),
        Part::Text => terminated(bytes, out),
        Part::Padded => terminated(without_blanks(bytes), out),
        Part::Bytea => escaped(bytes, out),
    }
    Ok(())
}

/// A value in binary, as the server prints it.
fn read_binary(part: Part, bytes: &[u8]) -> Result<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(match part {
        Part::Signed | Part::Unsigned => {
            let mut key = Vec::new();
            write_binary(part, bytes, &mut key)?;
            let number = u64::from_be_bytes(key.try_into().map_err(|_| bad())?);
            if part == Part::Unsigned { number.to_string() } else { (number as i64 ^ i64::MIN).to_string() }
        }
        Part::Bool => if bytes == [0] { "f" } else { "t" }.to_owned(),
        Part::Uuid | Part::Bytea => format!("{}{}", if part == Part::Bytea { "\\x" } else { "" }, hex(bytes)),
        Part::Text | Part::Padded => std::str::from_utf8(bytes).map_err(|_| bad())?.to_owned(),
    })
}

fn signed(number: i64, out: &mut Vec<u8>) {
    out.extend((number ^ i64::MIN).to_be_bytes());
}

/// Texts have no zero byte: one at the end puts a text before all that begin with it.
fn terminated(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
    out.push(0);
}

fn without_blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&b| b != b' ').map_or(0, |at| at + 1);
    &text[..end]
}

/// A zero byte becomes 0 255, the end 0 0.
fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(255);
        }
    }
    out.extend([0, 0]);
}

fn byte(pair: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)
}

fn uuid(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let digits: Vec<u8> = text.iter().copied().filter(|&b| b != b'-').collect();
    let bytes = digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().filter(|bytes| bytes.len() == 16);
    out.extend(bytes.ok_or_else(bad)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_text(part: Part, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_text(part, text.as_bytes(), &mut out).unwrap();
        out
    }

    fn of_binary(part: Part, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_binary(part, bytes, &mut out).unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn numbers_compare_as_numbers(a: i64, b: i64) {
            prop_assert_eq!(of_text(Part::Signed, &a.to_string()).cmp(&of_binary(Part::Signed, &b.to_be_bytes())), a.cmp(&b));
            let (a, b) = (a as i16, b as i32);
            let (x, y) = (of_binary(Part::Signed, &a.to_be_bytes()), of_text(Part::Signed, &b.to_string()));
            prop_assert_eq!(x.cmp(&y), i32::from(a).cmp(&b));
        }

        /// Composite keys: the first column decides, whatever comes after it.
        #[test]
        fn texts_and_bytes_compare_as_bytes(a in "[ -~é]{0,4}", b in "[ -~é]{0,4}", x: Vec<u8>, y: Vec<u8>) {
            let pair = |t: &str, n: i64| [of_text(Part::Text, t), of_text(Part::Signed, &n.to_string())].concat();
            prop_assert_eq!(pair(&a, 1).cmp(&pair(&b, 0)), (a.as_bytes(), 1).cmp(&(b.as_bytes(), 0)));
            let pair = |t: &[u8], n: i64| [of_binary(Part::Bytea, t), of_text(Part::Signed, &n.to_string())].concat();
            prop_assert_eq!(pair(&x, 1).cmp(&pair(&y, 0)), (&x, 1).cmp(&(&y, 0)));
            let hex: String = x.iter().map(|b| format!("{b:02x}")).collect();
            prop_assert_eq!(of_text(Part::Bytea, &format!("\\x{hex}")), of_binary(Part::Bytea, &x));
        }
    }

    #[test]
    fn both_forms_of_a_value_give_the_same_key() {
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let bytes: Vec<u8> = (0..16).map(|n| n * 0x11).collect();
        assert_eq!(of_text(Part::Uuid, text), of_binary(Part::Uuid, &bytes));
        assert_eq!(of_text(Part::Bool, "t"), of_binary(Part::Bool, &[1]));
        assert_eq!(of_text(Part::Unsigned, "4294967295"), of_binary(Part::Unsigned, &[255; 4]));
        let bytes_of = |part, text: &str| match part {
            Part::Signed => text.parse::<i32>().unwrap().to_be_bytes().to_vec(),
            Part::Unsigned => text.parse::<u32>().unwrap().to_be_bytes().to_vec(),
            Part::Bool => vec![u8::from(text == "t")],
            Part::Uuid => bytes.clone(),
            Part::Bytea => vec![0, 171],
            Part::Text | Part::Padded => text.as_bytes().to_vec(),
        };
        let parts = [
            (Part::Signed, "-5"),
            (Part::Unsigned, "4294967295"),
            (Part::Bool, "t"),
            (Part::Uuid, "00112233445566778899aabbccddeeff"),
            (Part::Bytea, "\\x00ab"),
            (Part::Text, "ä"),
            (Part::Padded, "a "),
        ];
        let order =
            KeyOrder { parts: parts.iter().enumerate().map(|(at, (part, _))| (at, *part)).collect(), sorted: true };
        let mut row = (parts.len() as u16).to_be_bytes().to_vec();
        for (part, text) in parts {
            let bytes = bytes_of(part, text);
            row.extend((bytes.len() as i32).to_be_bytes());
            row.extend(bytes);
        }
        assert_eq!(order.texts(&row).unwrap(), parts.map(|(_, text)| text));
        assert!(order.texts(&row[..9]).is_err());
        assert_eq!(of_text(Part::Padded, "ab  "), of_text(Part::Padded, "ab"));
        for (part, text) in [(Part::Signed, "x"), (Part::Uuid, "00"), (Part::Bytea, "ab")] {
            assert!(write_text(part, text.as_bytes(), &mut Vec::new()).is_err());
        }
    }
}
