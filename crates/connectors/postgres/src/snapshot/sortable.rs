//! Values in a form whose bytes compare as the server orders them. Pure.
//!
//! Only for types whose order is that of their values on every server; a test compares each with a server's own order.

use super::literal;
use crate::values::ordered;
use dujiang_core::{Code, Error, Result};

/// How the values of a column are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A signed number.
    Signed,
    /// An unsigned number.
    Unsigned,
    /// A floating-point number of 4 bytes: NaN after all others, one zero.
    Float4,
    /// The same of 8 bytes.
    Float8,
    /// `numeric`: NaN after all others, whatever the zeros at the end.
    Numeric,
    /// Days since 2000, with both infinities.
    Date,
    /// Microseconds since 2000, with both infinities.
    Timestamp,
    /// The same, as an instant.
    Timestamptz,
    /// Microseconds of a day.
    Time,
    /// `money`.
    Money,
    /// 16 bytes.
    Uuid,
    /// Bytes of a text.
    Text,
    /// Bytes of a text, without the blanks at its end.
    Padded,
    /// Bytes of a text's first characters.
    Head,
    /// Bytes.
    Bytea,
    /// False before true.
    Bool,
}

/// Characters of a text's [`Part::Head`].
pub(super) const HEAD: usize = 32;

#[cold]
pub(super) fn bad() -> Error {
    Error::new(Code::Protocol, "a key of the server cannot be read")
}

/// Appends a value given as text.
pub(super) fn write_text(part: Part, text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match part {
        Part::Signed => signed(number(text)?, out),
        Part::Unsigned => out.extend(number::<u64>(text)?.to_be_bytes()),
        Part::Float4 => float(number::<f32>(text)?.into(), out),
        Part::Float8 => float(number(text)?, out),
        Part::Numeric => numeric_text(text, out)?,
        Part::Date => signed(ordered::date(text).map_err(|_| bad())?, out),
        Part::Timestamp => signed(ordered::timestamp(text, false).map_err(|_| bad())?, out),
        Part::Timestamptz => signed(ordered::timestamp(text, true).map_err(|_| bad())?, out),
        Part::Time => signed(ordered::time(text).map_err(|_| bad())?, out),
        Part::Money => signed(ordered::money(text).map_err(|_| bad())?, out),
        Part::Bool => out.push(u8::from(matches!(text, b"t" | b"true"))),
        Part::Uuid => uuid(text, out)?,
        Part::Text => terminated(text, out),
        Part::Padded => terminated(without_blanks(text), out),
        Part::Head => terminated(head(text), out),
        Part::Bytea => {
            let hex = text.strip_prefix(b"\\x").ok_or_else(bad)?;
            let bytes = hex.chunks(2).map(byte).collect::<Option<Vec<u8>>>().ok_or_else(bad)?;
            escaped(&bytes, out);
        }
    }
    Ok(())
}

/// Appends a value in binary.
pub(super) fn write_binary(part: Part, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match part {
        Part::Signed | Part::Date | Part::Timestamp | Part::Timestamptz | Part::Time | Part::Money => {
            signed(whole(bytes)?, out);
        }
        Part::Unsigned => {
            let number = match bytes.len() {
                4 => bytes.try_into().map(u32::from_be_bytes).map(u64::from),
                _ => bytes.try_into().map(u64::from_be_bytes),
            };
            out.extend(number.map_err(|_| bad())?.to_be_bytes());
        }
        Part::Float4 => float(bytes.try_into().map(f32::from_be_bytes).map_err(|_| bad())?.into(), out),
        Part::Float8 => float(bytes.try_into().map(f64::from_be_bytes).map_err(|_| bad())?, out),
        Part::Numeric => numeric_binary(bytes, out)?,
        Part::Bool => out.push(u8::from(bytes != [0])),
        Part::Uuid if bytes.len() == 16 => out.extend_from_slice(bytes),
        Part::Uuid => return Err(bad()),
        Part::Text => terminated(bytes, out),
        Part::Padded => terminated(without_blanks(bytes), out),
        Part::Head => terminated(head(bytes), out),
        Part::Bytea => escaped(bytes, out),
    }
    Ok(())
}

/// A value in binary, as a text that the server reads as the same value.
pub(super) fn read_binary(part: Part, bytes: &[u8]) -> Result<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let utf8 = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| bad());
    Ok(match part {
        Part::Signed => whole(bytes)?.to_string(),
        Part::Unsigned => {
            let mut key = Vec::new();
            write_binary(part, bytes, &mut key)?;
            u64::from_be_bytes(key.try_into().map_err(|_| bad())?).to_string()
        }
        Part::Float4 => literal::float(bytes.try_into().map(f32::from_be_bytes).map_err(|_| bad())?),
        Part::Float8 => literal::float(bytes.try_into().map(f64::from_be_bytes).map_err(|_| bad())?),
        Part::Numeric => {
            let mut text = Vec::new();
            ordered::append_numeric(bytes, &mut text).map_err(|_| bad())?;
            utf8(&text)?
        }
        Part::Date => literal::date(whole(bytes)?),
        Part::Timestamp => literal::timestamp(whole(bytes)?, ""),
        Part::Timestamptz => literal::timestamp(whole(bytes)?, "+00"),
        Part::Time => literal::time(whole(bytes)?),
        Part::Money => literal::money(whole(bytes)?),
        Part::Bool => if bytes == [0] { "f" } else { "t" }.to_owned(),
        Part::Uuid => hex(bytes),
        Part::Bytea => format!("\\x{}", hex(bytes)),
        Part::Text | Part::Padded => utf8(bytes)?,
        Part::Head => utf8(head(bytes))?,
    })
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)
}

/// A whole number of 2, 4 or 8 bytes. Of a date of 4 bytes the infinities are the limits, as they are of a timestamp's 8.
fn whole(bytes: &[u8]) -> Result<i64> {
    let number = match bytes.len() {
        2 => bytes.try_into().map(i16::from_be_bytes).map(i64::from),
        4 => bytes.try_into().map(i32::from_be_bytes).map(i64::from),
        _ => bytes.try_into().map(i64::from_be_bytes),
    };
    number.map_err(|_| bad())
}

fn signed(number: i64, out: &mut Vec<u8>) {
    out.extend((number ^ i64::MIN).to_be_bytes());
}

fn float(number: f64, out: &mut Vec<u8>) {
    let key = match number.to_bits() {
        _ if number.is_nan() => u64::MAX,
        // Both zeros are equal.
        _ if number == 0.0 => 1 << 63,
        bits if number < 0.0 => !bits,
        bits => bits | 1 << 63,
    };
    out.extend(key.to_be_bytes());
}

fn numeric_text(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match text {
        b"-Infinity" => out.push(BELOW_ALL),
        b"Infinity" => out.push(ABOVE_ALL),
        b"NaN" => out.push(NOT_A_NUMBER),
        _ => {
            let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
            let point = digits.iter().position(|b| *b == b'.');
            let (whole, fraction) = point.map_or((digits, &[][..]), |at| (&digits[..at], &digits[at + 1..]));
            if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
                return Err(bad());
            }
            let (first, rest) = whole.split_at(whole.len() % 4);
            let first = (!first.is_empty()).then_some(first).into_iter();
            let value = |group: &[u8]| group.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
            let groups = first.chain(rest.chunks(4)).map(value);
            let fraction = fraction.chunks(4).map(|group| value(group) * 10u16.pow(4 - group.len() as u32));
            let weight = whole.len().div_ceil(4) as i32 - 1;
            numeric(negative, weight, groups.chain(fraction), out);
        }
    }
    Ok(())
}

fn numeric_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let (head, digits) = bytes.split_first_chunk::<8>().ok_or_else(bad)?;
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    // Layout: `numeric_send` of numeric.c.
    match word(4) {
        0xC000 => out.push(NOT_A_NUMBER),
        0xD000 => out.push(ABOVE_ALL),
        0xF000 => out.push(BELOW_ALL),
        sign @ (0 | 0x4000) if digits.len() == usize::from(word(0)) * 2 => {
            let groups = digits.chunks_exact(2).map(|d| u16::from_be_bytes([d[0], d[1]]));
            numeric(sign != 0, i32::from(word(2) as i16), groups, out);
        }
        _ => return Err(bad()),
    }
    Ok(())
}

const BELOW_ALL: u8 = 0;
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;
const ABOVE_ALL: u8 = 4;
const NOT_A_NUMBER: u8 = 5;

/// A number of groups of four digits, the first of which stands for 10,000^weight: its class, the weight, and the groups without
/// zeros at either end, each one more than it is, and 0 at the end. Of a negative number all but the class is inverted.
fn numeric(negative: bool, mut weight: i32, groups: impl Iterator<Item = u16>, out: &mut Vec<u8>) {
    let class = out.len();
    out.push(ZERO);
    let mut end = out.len();
    for group in groups {
        if end == class + 1 {
            if group == 0 {
                weight -= 1;
                continue;
            }
            out.extend((weight ^ i32::MIN).to_be_bytes());
        }
        out.extend((group + 1).to_be_bytes());
        if group != 0 {
            end = out.len();
        }
    }
    out.truncate(end);
    if end > class + 1 {
        out.extend([0, 0]);
        out[class] = if negative { NEGATIVE } else { POSITIVE };
        let flip = if negative { 255 } else { 0 };
        out[class + 1..].iter_mut().for_each(|byte| *byte ^= flip);
    }
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

/// The first characters of a text in UTF-8.
fn head(text: &[u8]) -> &[u8] {
    let begins = |(_, byte): &(usize, &u8)| **byte & 0xC0 != 0x80;
    let end = text.iter().enumerate().filter(begins).nth(HEAD).map_or(text.len(), |(at, _)| at);
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

        /// Numbers of up to 12 digits on either side of the point, alone and before another column.
        #[test]
        fn numerics_compare_by_value(a in -1_000_000_000_000i64..1_000_000_000_000, b in -1_000_000_000_000i64..1_000_000_000_000, places in 0usize..12) {
            let text = |n: i64| {
                let digits = format!("{:013}", n.abs());
                let (whole, fraction) = digits.split_at(digits.len() - places);
                format!("{}{whole}.{fraction}00", if n < 0 { "-" } else { "" })
            };
            let pair = |n: i64, next: i64| [of_text(Part::Numeric, &text(n)), of_text(Part::Signed, &next.to_string())].concat();
            prop_assert_eq!(pair(a, 1).cmp(&pair(b, 0)), (a, 1).cmp(&(b, 0)));
            prop_assert_eq!(pair(a, 1).cmp(&pair(-a, 0)), (a, 1).cmp(&(-a, 0)));
        }

        #[test]
        fn floats_compare_as_numbers(a: f64, b: f64) {
            let expected = a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
            prop_assert_eq!(of_text(Part::Float8, &literal::float(a)).cmp(&of_binary(Part::Float8, &b.to_be_bytes())), expected);
        }
    }

    #[test]
    fn both_forms_of_a_value_give_the_same_key() {
        let numeric = [0u8, 2, 0, 0, 64, 0, 0, 2, 0, 12, 19, 136];
        let head: String = "é".repeat(HEAD);
        let long = format!("{head}x");
        let day = 86_400_000_000i64;
        let cases: &[(Part, &str, &[u8], &str)] = &[
            (Part::Signed, "-5", &(-5i32).to_be_bytes(), "-5"),
            (Part::Unsigned, "4294967295", &[255; 4], "4294967295"),
            (Part::Unsigned, "18446744073709551615", &[255; 8], "18446744073709551615"),
            (Part::Bool, "true", &[1], "t"),
            (
                Part::Uuid,
                "00112233-4455-6677-8899-aabbccddeeff",
                &std::array::from_fn::<u8, 16, _>(|n| n as u8 * 0x11),
                "00112233445566778899aabbccddeeff",
            ),
            (Part::Bytea, "\\x00ab", &[0, 171], "\\x00ab"),
            (Part::Text, "ä", "ä".as_bytes(), "ä"),
            (Part::Padded, "a", b"a  ", "a  "),
            (Part::Head, &long, long.as_bytes(), &head),
            (Part::Float4, "0.1", &0.1f32.to_be_bytes(), "0.1"),
            (Part::Float4, "1e+38", &1e38f32.to_be_bytes(), "100000000000000000000000000000000000000"),
            (Part::Float8, "-0", &0f64.to_be_bytes(), "0"),
            (Part::Float8, "-Infinity", &f64::NEG_INFINITY.to_be_bytes(), "-Infinity"),
            (Part::Float8, "NaN", &f64::NAN.to_be_bytes(), "NaN"),
            (Part::Numeric, "-12.5000", &numeric, "-12.50"),
            (Part::Numeric, "Infinity", &[0, 0, 0, 0, 0xD0, 0, 0, 0], "Infinity"),
            (Part::Date, "2000-01-02", &1i32.to_be_bytes(), "2000-01-02"),
            (Part::Date, "4714-11-24 BC", &(-2_451_545i32).to_be_bytes(), "4714-11-24 BC"),
            (Part::Date, "5874897-12-31", &2_145_031_948i32.to_be_bytes(), "5874897-12-31"),
            (Part::Date, "infinity", &i32::MAX.to_be_bytes(), "infinity"),
            (Part::Date, "-infinity", &i32::MIN.to_be_bytes(), "-infinity"),
            (Part::Timestamp, "1999-12-31 23:59:59.999999", &(-1i64).to_be_bytes(), "1999-12-31 23:59:59.999999"),
            (
                Part::Timestamp,
                "294276-12-31 23:59:59.999999",
                &9_223_371_331_199_999_999i64.to_be_bytes(),
                "294276-12-31 23:59:59.999999",
            ),
            (Part::Timestamp, "infinity", &i64::MAX.to_be_bytes(), "infinity"),
            (Part::Timestamptz, "2000-01-02 01:00:00+01", &day.to_be_bytes(), "2000-01-02 00:00:00.000000+00"),
            (
                Part::Timestamptz,
                "0001-01-01 00:00:00+00 BC",
                &(-730_485 * day).to_be_bytes(),
                "0001-01-01 00:00:00.000000+00 BC",
            ),
            (Part::Time, "24:00:00", &day.to_be_bytes(), "24:00:00.000000"),
            (Part::Money, "-$1,234.05", &(-123_405i64).to_be_bytes(), "-1234.05"),
        ];
        for (part, text, bytes, literal) in cases {
            assert_eq!(of_text(*part, text), of_binary(*part, bytes), "{part:?} {text}");
            assert_eq!(read_binary(*part, bytes).unwrap(), *literal, "{part:?} {text}");
            assert_eq!(of_text(*part, literal), of_binary(*part, bytes), "{part:?} {literal}");
        }
        for (part, text) in [
            (Part::Signed, "x"),
            (Part::Uuid, "00"),
            (Part::Bytea, "ab"),
            (Part::Numeric, "1e5"),
            (Part::Numeric, ""),
            (Part::Date, "2000-13-01"),
            (Part::Float8, "one"),
        ] {
            assert!(write_text(part, text.as_bytes(), &mut Vec::new()).is_err(), "{part:?} {text}");
        }
    }

    #[test]
    fn what_is_no_number_lies_where_the_server_puts_it() {
        let order = [
            "-Infinity",
            "-10000.0001",
            "-10000",
            "-9999.9999",
            "-0.00001",
            "0.000",
            "0.00001",
            "1",
            "9999",
            "10000",
            "Infinity",
            "NaN",
        ];
        let keys: Vec<Vec<u8>> = order.iter().map(|text| of_text(Part::Numeric, text)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert_eq!(of_text(Part::Numeric, "-0.0"), of_text(Part::Numeric, "0"));
    }
}
