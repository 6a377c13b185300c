//! MySQL's binary JSON: from its bytes to the text the server prints.
//!
//! Layout as in the server's `json_binary.h`: one type byte, then the value. Objects and arrays hold a count, their size,
//! entries for keys and values, and then the keys and values themselves, at offsets from the container's begin; small
//! containers use two bytes for each of these numbers, large ones four. Text as in `Json_wrapper::to_string`.

use super::cursor::Cursor;
use super::decimal::DecimalPlan;
use super::value::BadValue;
use std::io::Write;

pub(super) const SMALL_OBJECT: u8 = 0;
pub(super) const LARGE_OBJECT: u8 = 1;
pub(super) const LARGE_ARRAY: u8 = 3;
pub(super) const LITERAL: u8 = 4;
pub(super) const INT16: u8 = 5;
pub(super) const UINT16: u8 = 6;
pub(super) const INT32: u8 = 7;
pub(super) const UINT32: u8 = 8;
pub(super) const INT64: u8 = 9;
pub(super) const UINT64: u8 = 10;
pub(super) const DOUBLE: u8 = 11;
pub(super) const STRING: u8 = 12;
pub(super) const OPAQUE: u8 = 15;

// Field types of opaque values.
const TIMESTAMP: u8 = 7;
const DATE: u8 = 10;
const TIME: u8 = 11;
const DATETIME: u8 = 12;
const NEWDECIMAL: u8 = 246;
const VAR_STRING: u8 = 253;

/// The server allows 100.
pub(super) const MAX_DEPTH: usize = 100;
/// No value takes more text than this many times its bytes: a control character takes six, a number of three bytes eight.
const MAX_EXPANSION: usize = 16;

type Result = std::result::Result<(), BadValue>;

#[cold]
fn damaged() -> BadValue {
    BadValue::corrupt("a JSON document")
}

/// Appends the text of a document. An empty one stands for `null`, as the server reads it. `old`: MySQL before 8 prints whole
/// floating numbers without a point, and strings of bytes as base64.
pub(super) fn append_text(document: &[u8], old: bool, out: &mut Vec<u8>) -> Result {
    let Some((kind, value)) = document.split_first() else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    let limit = out.len() + document.len() * MAX_EXPANSION + 64;
    Printer { out, old, limit }.value(*kind, value, 0)
}

struct Printer<'o> {
    out: &'o mut Vec<u8>,
    old: bool,
    /// Offsets could be made to point at one value many times; this bounds what comes of it.
    limit: usize,
}

/// A container's numbers.
#[derive(Clone, Copy)]
pub(super) struct Container<'a> {
    bytes: &'a [u8],
    pub count: usize,
    large: bool,
    pub is_object: bool,
}

impl<'a> Container<'a> {
    pub fn parse(kind: u8, bytes: &'a [u8]) -> Option<Self> {
        let large = matches!(kind, LARGE_OBJECT | LARGE_ARRAY);
        let is_object = matches!(kind, SMALL_OBJECT | LARGE_OBJECT);
        let mut c = Cursor::new(bytes, "a JSON document");
        let width = if large { 4 } else { 2 };
        let count = c.uint(width).ok()? as usize;
        let size = c.uint(width).ok()? as usize;
        let container = Self { bytes: bytes.get(..size)?, count, large, is_object };
        (container.value_entry(count)? <= size).then_some(container)
    }

    fn width(self) -> usize {
        if self.large { 4 } else { 2 }
    }

    fn key_entry(self, index: usize) -> Option<usize> {
        (2 * self.width()).checked_add(index.checked_mul(self.width() + 2)?)
    }

    fn value_entry(self, index: usize) -> Option<usize> {
        let keys = if self.is_object { self.key_entry(self.count)? } else { 2 * self.width() };
        keys.checked_add(index.checked_mul(self.width() + 1)?)
    }

    fn number(self, at: usize, width: usize) -> Option<usize> {
        Cursor::new(self.bytes.get(at..)?, "").uint(width).ok().map(|n| n as usize)
    }

    pub fn key(self, index: usize) -> Option<&'a [u8]> {
        let entry = self.key_entry(index)?;
        let begin = self.number(entry, self.width())?;
        let length = self.number(entry + self.width(), 2)?;
        self.bytes.get(begin..)?.get(..length)
    }

    /// Type and bytes of a value; small numbers and literals lie in the entry itself.
    pub fn value(self, index: usize) -> Option<(u8, &'a [u8])> {
        let entry = self.value_entry(index)?;
        let kind = *self.bytes.get(entry)?;
        let inlined = match kind {
            LITERAL | INT16 | UINT16 => true,
            INT32 | UINT32 => self.large,
            _ => false,
        };
        let begin = if inlined { entry + 1 } else { self.number(entry + 1, self.width())? };
        Some((kind, self.bytes.get(begin..)?))
    }
}

impl Printer<'_> {
    fn value(&mut self, kind: u8, bytes: &[u8], depth: usize) -> Result {
        if self.out.len() > self.limit {
            return Err(damaged());
        }
        let fixed = |n: usize| Cursor::new(bytes, "").uint(n).map_err(|_| damaged());
        match kind {
            SMALL_OBJECT..=LARGE_ARRAY => self.container(kind, bytes, depth + 1),
            LITERAL => self.literal(bytes),
            INT16 => self.number(fixed(2)? as i16),
            UINT16 => self.number(fixed(2)?),
            INT32 => self.number(fixed(4)? as i32),
            UINT32 => self.number(fixed(4)?),
            INT64 => self.number(fixed(8)?.cast_signed()),
            UINT64 => self.number(fixed(8)?),
            DOUBLE => self.double(f64::from_bits(fixed(8)?)),
            STRING => self.string(counted(bytes)?),
            OPAQUE => self.opaque(bytes),
            _ => Err(damaged()),
        }
    }

    fn container(&mut self, kind: u8, bytes: &[u8], depth: usize) -> Result {
        if depth > MAX_DEPTH {
            return Err(damaged());
        }
        let container = Container::parse(kind, bytes).ok_or_else(damaged)?;
        let (open, close) = if container.is_object { (b'{', b'}') } else { (b'[', b']') };
        self.out.push(open);
        for index in 0..container.count {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            if container.is_object {
                self.string(container.key(index).ok_or_else(damaged)?)?;
                self.out.extend_from_slice(b": ");
            }
            let (kind, value) = container.value(index).ok_or_else(damaged)?;
            self.value(kind, value, depth)?;
        }
        self.out.push(close);
        Ok(())
    }

    fn literal(&mut self, bytes: &[u8]) -> Result {
        let text: &[u8] = match bytes.first() {
            Some(0) => b"null",
            Some(1) => b"true",
            Some(2) => b"false",
            _ => return Err(damaged()),
        };
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn number(&mut self, n: impl std::fmt::Display) -> Result {
        write!(self.out, "{n}").map_err(|_| damaged())
    }

    /// The shortest digits that give the number back, without exponent from 1e-15 up to 15 digits before the point
    /// (`my_gcvt` with the width of a JSON number).
    fn double(&mut self, n: f64) -> Result {
        if !n.is_finite() {
            return Err(damaged());
        }
        let mut buffer = [0u8; 32];
        let mut rest = &mut buffer[..];
        write!(rest, "{:e}", n.abs()).map_err(|_| damaged())?;
        let used = 32 - rest.len();
        let text = std::str::from_utf8(&buffer[..used]).map_err(|_| damaged())?;
        let (mantissa, exponent) = text.split_once('e').ok_or_else(damaged)?;
        let exponent: i32 = exponent.parse().map_err(|_| damaged())?;
        let digits: Vec<u8> = mantissa.bytes().filter(|b| *b != b'.').collect();
        if n.is_sign_negative() {
            self.out.push(b'-');
        }
        let point = if n == 0.0 { 1 } else { exponent + 1 };
        if point >= -14 && (point <= 15 || digits.len() as i32 > point) {
            self.fixed(&digits, point);
            Ok(())
        } else {
            self.scientific(&digits, point - 1)
        }
    }

    fn fixed(&mut self, digits: &[u8], point: i32) {
        let Ok(point) = usize::try_from(point) else {
            self.out.extend_from_slice(b"0.");
            self.out.extend(std::iter::repeat_n(b'0', point.unsigned_abs() as usize));
            self.out.extend_from_slice(digits);
            return;
        };
        let whole = &digits[..point.min(digits.len())];
        self.out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
        self.out.extend(std::iter::repeat_n(b'0', point - whole.len()));
        let fraction = &digits[whole.len()..];
        match fraction {
            [] if self.old => {}
            [] => self.out.extend_from_slice(b".0"),
            _ => {
                self.out.push(b'.');
                self.out.extend_from_slice(fraction);
            }
        }
    }

    fn scientific(&mut self, digits: &[u8], exponent: i32) -> Result {
        self.out.push(digits[0]);
        if digits.len() > 1 {
            self.out.push(b'.');
            self.out.extend_from_slice(&digits[1..]);
        }
        write!(self.out, "e{exponent}").map_err(|_| damaged())
    }

    fn string(&mut self, bytes: &[u8]) -> Result {
        self.out.push(b'"');
        let mut plain = bytes;
        while let Some(at) = plain.iter().position(|b| *b < 0x20 || matches!(b, b'"' | b'\\')) {
            self.out.extend_from_slice(&plain[..at]);
            self.escape(plain[at]);
            plain = &plain[at + 1..];
        }
        self.out.extend_from_slice(plain);
        self.out.push(b'"');
        Ok(())
    }

    fn escape(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let short = match byte {
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            b'"' | b'\\' => byte,
            _ => {
                let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
                self.out.extend_from_slice(b"\\u00");
                self.out.extend_from_slice(&digits);
                return;
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }

    fn opaque(&mut self, bytes: &[u8]) -> Result {
        let (kind, rest) = bytes.split_first().ok_or_else(damaged)?;
        let value = counted(rest)?;
        match *kind {
            NEWDECIMAL => self.decimal(value),
            TIMESTAMP | DATETIME => self.temporal(value, true, true),
            DATE => self.temporal(value, true, false),
            TIME => self.temporal(value, false, true),
            VAR_STRING if !self.old => self.string(value),
            other => self.base64(other, value),
        }
    }

    /// Precision, scale, and the digits as in a DECIMAL column.
    fn decimal(&mut self, value: &[u8]) -> Result {
        let [precision, scale, digits @ ..] = value else { return Err(damaged()) };
        if *precision > 65 || *scale > *precision || *precision == 0 {
            return Err(damaged());
        }
        let text = DecimalPlan::new(*precision, *scale).decode256(digits).ok_or_else(damaged)?.to_string();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text.as_str()),
        };
        let width = usize::from(*scale) + 1;
        let digits = format!("{digits:0>width$}");
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(*scale));
        let point = if fraction.is_empty() { "" } else { "." };
        write!(self.out, "{sign}{whole}{point}{fraction}").map_err(|_| damaged())
    }

    /// Packed as in `TIME_from_longlong_datetime_packed`: microseconds 24 bits, second 6, minute 6, hour; above, for dates
    /// hour has 5 bits, day 5, then year * 13 + month.
    fn temporal(&mut self, value: &[u8], has_date: bool, has_time: bool) -> Result {
        let packed = i64::from_le_bytes(value.try_into().map_err(|_| damaged())?);
        let absolute = packed.unsigned_abs();
        let (micros, clock) = (absolute & 0xff_ffff, absolute >> 24);
        let (second, minute) = (clock & 63, clock >> 6 & 63);
        let hour = if has_date { clock >> 12 & 31 } else { clock >> 12 & 1023 };
        self.out.push(b'"');
        if has_date {
            let (day, months) = (clock >> 17 & 31, clock >> 22);
            write!(self.out, "{:04}-{:02}-{day:02}", months / 13, months % 13).map_err(|_| damaged())?;
        } else if packed < 0 {
            self.out.push(b'-');
        }
        if has_time {
            let gap = if has_date { " " } else { "" };
            write!(self.out, "{gap}{hour:02}:{minute:02}:{second:02}.{micros:06}").map_err(|_| damaged())?;
        }
        self.out.push(b'"');
        Ok(())
    }

    /// `"base64:type15:..."`, broken into lines of 76 characters whose ends are then escaped.
    fn base64(&mut self, kind: u8, value: &[u8]) -> Result {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        write!(self.out, "\"base64:type{kind}:").map_err(|_| damaged())?;
        for (index, group) in value.chunks(3).enumerate() {
            if index > 0 && index % 19 == 0 {
                self.out.extend_from_slice(b"\\n");
            }
            let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
            let word = at(0) << 16 | at(1) << 8 | at(2);
            for place in 0..4usize {
                let letter = ALPHABET[(word >> (18 - 6 * place) & 63) as usize];
                self.out.push(if place <= group.len() { letter } else { b'=' });
            }
        }
        self.out.push(b'"');
        Ok(())
    }
}

/// Bytes behind a length of up to five bytes, seven bits each, lowest first.
fn counted(bytes: &[u8]) -> std::result::Result<&[u8], BadValue> {
    let (begin, end) = counted_range(bytes).ok_or_else(damaged)?;
    bytes.get(begin..end).ok_or_else(damaged)
}

/// Bytes that a text takes together with its length.
pub(super) fn counted_length(bytes: &[u8]) -> Option<usize> {
    counted_range(bytes).map(|(_, end)| end)
}

fn counted_range(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 1, index + 1 + length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(document: &[u8]) -> String {
        let mut out = Vec::new();
        append_text(document, false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn double(n: f64) -> String {
        text(&[&[DOUBLE][..], &n.to_le_bytes()].concat())
    }

    #[test]
    fn numbers_as_the_server_prints_them() {
        for (n, expected) in [
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e14, "100000000000000.0"),
            (1e15, "1e15"),
            (123_456_789_012_345.0, "123456789012345.0"),
            (1_234_567_890_123_456.7, "1234567890123456.8"),
            (1e-5, "0.00001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (1.5e300, "1.5e300"),
            (-2.5e-300, "-2.5e-300"),
        ] {
            assert_eq!(double(n), expected);
        }
        assert_eq!(text(&[INT16, 0xff, 0xff]), "-1");
        assert_eq!(text(&[UINT16, 0xff, 0xff]), "65535");
        assert_eq!(text(&[UINT64, 255, 255, 255, 255, 255, 255, 255, 255]), "18446744073709551615");
        assert_eq!(text(&[LITERAL, 1]), "true");
        assert_eq!(text(&[]), "null");
    }

    #[test]
    fn containers_and_opaque_values() {
        // {"a": 1, "bc": [true, "x\n"]}; type 2 is a small array
        let array = [&[2, 0, 13, 0, LITERAL, 1, 0, STRING, 10, 0][..], &[2, b'x', b'\n']].concat();
        let mut object = vec![SMALL_OBJECT, 2, 0, 34, 0, 18, 0, 1, 0, 19, 0, 2, 0, INT16, 1, 0, 2, 21, 0];
        object.extend_from_slice(b"abc");
        object.extend_from_slice(&array);
        assert_eq!(text(&object), r#"{"a": 1, "bc": [true, "x\n"]}"#);
        // DECIMAL(4,2) -0.50 and DATETIME 2015-01-15 23:24:25.000120
        assert_eq!(text(&[OPAQUE, NEWDECIMAL, 4, 4, 2, 0x7f, 0xcd]), "-0.50");
        let packed = (((2015 * 13 + 1) << 5 | 15) << 17 | 23 << 12 | 24 << 6 | 25i64) << 24 | 120;
        let datetime = [&[OPAQUE, DATETIME, 8][..], &packed.to_le_bytes()].concat();
        assert_eq!(text(&datetime), r#""2015-01-15 23:24:25.000120""#);
        assert_eq!(text(&[OPAQUE, 15, 3, b'a', b'b', b'c']), r#""base64:type15:YWJj""#);
        let long = [&[OPAQUE, 252, 58][..], &[0; 58]].concat();
        assert_eq!(text(&long), format!(r#""base64:type252:{}\nAA==""#, "A".repeat(76)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn p02_any_bytes_are_read_or_refused(kind in 0u8..16, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            let _ = append_text(&[&[kind][..], &bytes].concat(), kind & 1 == 0, &mut out);
            prop_assert!(out.len() <= (bytes.len() + 1) * 32 + 4096);
        }

        #[test]
        fn p02_doubles_read_back(bits in any::<u64>()) {
            let n = f64::from_bits(bits);
            prop_assume!(n.is_finite());
            prop_assert_eq!(double(n).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
