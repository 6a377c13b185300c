//! Numbers: text and PostgreSQL's binary `numeric`.

use super::bad::BadValue;
use arrow_buffer::i256;

const NOT_A_DECIMAL: &str =
    "a decimal column holds neither NaN nor infinities; a column declared `numeric` without precision does, as text";

/// A whole number as the server prints it.
pub(super) fn integer<T: TryFrom<i128>>(text: &[u8]) -> Result<T, BadValue> {
    let corrupt = || BadValue::corrupt("an integer");
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 20 {
        return Err(corrupt());
    }
    // Up to 18 digits fit into 64 bits; only the largest numbers need more.
    let value = if digits.len() <= 18 { i128::from(small(digits)?) } else { long(digits)? };
    T::try_from(if negative { -value } else { value }).map_err(|_| corrupt())
}

/// Up to 18 digits.
#[inline]
fn small(digits: &[u8]) -> Result<i64, BadValue> {
    let mut value = 0i64;
    let mut bad = 0u8;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        bad |= u8::from(digit > 9);
        value = value * 10 + i64::from(digit & 15);
    }
    if bad != 0 { Err(BadValue::corrupt("a number")) } else { Ok(value) }
}

/// Up to 38 digits.
fn long(digits: &[u8]) -> Result<i128, BadValue> {
    let mut value = 0i128;
    for chunk in digits.chunks(18) {
        let scale = 10i128.pow(chunk.len() as u32);
        let next = value.checked_mul(scale).and_then(|v| Some(v + i128::from(small(chunk).ok()?)));
        value = next.ok_or_else(|| BadValue::corrupt("a number"))?;
    }
    Ok(value)
}

/// Sign, digits before the point, digits after it.
fn parts(text: &[u8]) -> Result<(bool, &[u8], &[u8]), BadValue> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if matches!(digits, b"NaN" | b"Infinity") {
        return Err(BadValue::unrepresentable(text, NOT_A_DECIMAL));
    }
    let point = digits.iter().position(|b| *b == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &digits[digits.len()..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(BadValue::corrupt("a numeric"));
    }
    Ok((negative, whole, fraction))
}

/// Leading zeros do not count as digits.
fn trim(whole: &[u8]) -> &[u8] {
    &whole[whole.iter().take_while(|b| **b == b'0').count()..]
}

/// A decimal of up to 38 digits as the server prints it, times 10^scale.
pub(super) fn decimal128(text: &[u8], scale: i8) -> Result<i128, BadValue> {
    let (negative, whole, fraction) = parts(text)?;
    let corrupt = || BadValue::corrupt("a numeric with more digits than its column has");
    let missing = (scale as usize).checked_sub(fraction.len()).ok_or_else(corrupt)?;
    let whole = trim(whole);
    if whole.len() + fraction.len() + missing > 38 {
        return Err(corrupt());
    }
    let value = if whole.len() + fraction.len() <= 18 {
        let high = i128::from(small(whole)?) * 10i128.pow(fraction.len() as u32);
        high + i128::from(small(fraction)?)
    } else {
        long(whole)? * 10i128.pow(fraction.len() as u32) + long(fraction)?
    };
    let value = value * 10i128.pow(missing as u32);
    Ok(if negative { -value } else { value })
}

/// As [`decimal128`], up to 76 digits.
pub(super) fn decimal256(text: &[u8], scale: i8) -> Result<i256, BadValue> {
    let (negative, whole, fraction) = parts(text)?;
    let corrupt = || BadValue::corrupt("a numeric with more digits than its column has");
    let missing = (scale as usize).checked_sub(fraction.len()).ok_or_else(corrupt)?;
    let whole = trim(whole);
    if whole.len() + fraction.len() + missing > 76 {
        return Err(corrupt());
    }
    let mut value = i256::ZERO;
    for chunk in whole.chunks(18).chain(fraction.chunks(18)) {
        value = shifted(value, chunk.len() as u32).wrapping_add(i256::from_i128(i128::from(small(chunk)?)));
    }
    let value = shifted(value, missing as u32);
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// Times a power of ten; the caller knows that it fits.
fn shifted(value: i256, digits: u32) -> i256 {
    let mut value = value;
    let mut rest = digits;
    while rest > 0 {
        let step = rest.min(38);
        value = value.wrapping_mul(i256::from_i128(10i128.pow(step)));
        rest -= step;
    }
    value
}

/// `money` as the server prints it under `lc_monetary=C`: `-$1,234.56`.
pub(crate) fn money(text: &[u8]) -> Result<i128, BadValue> {
    let corrupt = || BadValue::corrupt("a money");
    let mut value = 0i128;
    let mut digits = 0;
    for byte in text {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                value = value * 10 + i128::from(byte - b'0');
            }
            b'-' | b'$' | b',' | b'.' => {}
            _ => return Err(corrupt()),
        }
        if digits > 20 {
            return Err(corrupt());
        }
    }
    if digits == 0 {
        return Err(corrupt());
    }
    Ok(if text.starts_with(b"-") { -value } else { value })
}

/// A binary `numeric`: digits to the base 10,000.
///
/// Layout: src/backend/utils/adt/numeric.c, `numeric_send`: count of digits, weight of the first one, sign, digits after
/// the point, all 16 bits, then the digits.
struct Wide<'a> {
    digits: &'a [u8],
    weight: i32,
    negative: bool,
    scale: usize,
}

impl<'a> Wide<'a> {
    /// The number; `Err` in the inner result is the text of what is no number.
    fn read(bytes: &'a [u8]) -> Result<Result<Self, &'static str>, BadValue> {
        let corrupt = || BadValue::corrupt("a numeric");
        let (head, digits) = bytes.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if digits.len() != usize::from(word(0)) * 2 {
            return Err(corrupt());
        }
        let negative = match word(4) {
            0 => false,
            0x4000 => true,
            0xC000 => return Ok(Err("NaN")),
            0xD000 => return Ok(Err("Infinity")),
            0xF000 => return Ok(Err("-Infinity")),
            _ => return Err(corrupt()),
        };
        if digits.chunks_exact(2).any(|d| u16::from_be_bytes([d[0], d[1]]) > 9_999) {
            return Err(corrupt());
        }
        let weight = i32::from(i16::from_be_bytes([head[2], head[3]]));
        Ok(Ok(Self { digits, weight, negative, scale: usize::from(word(6)) }))
    }

    fn count(&self) -> usize {
        self.digits.len() / 2
    }

    fn digit(&self, at: usize) -> u16 {
        self.digits.get(at * 2..at * 2 + 2).map_or(0, |d| u16::from_be_bytes([d[0], d[1]]))
    }
}

/// A binary decimal of up to 38 digits, times 10^scale.
pub(super) fn binary_decimal128(bytes: &[u8], scale: i8) -> Result<i128, BadValue> {
    let corrupt = || BadValue::corrupt("a numeric with more digits than its column has");
    let wide = Wide::read(bytes)?.map_err(|text| BadValue::unrepresentable(text.as_bytes(), NOT_A_DECIMAL))?;
    let mut value = 0i128;
    // The power of ten that one unit of the digit at hand stands for, in units of the result.
    let mut power = 4 * wide.weight + i32::from(scale);
    for at in 0..wide.count() {
        let digit = i128::from(wide.digit(at));
        let (factor, digit) = split(power, digit).ok_or_else(corrupt)?;
        value = value.checked_mul(factor).and_then(|v| v.checked_add(digit)).ok_or_else(corrupt)?;
        power -= 4;
    }
    // `power` is now 4 below that of the last digit.
    let missing = (power + 4).max(0).unsigned_abs();
    let value = if value == 0 {
        0
    } else {
        10i128.checked_pow(missing).and_then(|p| value.checked_mul(p)).ok_or_else(corrupt)?
    };
    Ok(if wide.negative { -value } else { value })
}

/// As [`binary_decimal128`], up to 76 digits.
pub(super) fn binary_decimal256(bytes: &[u8], scale: i8) -> Result<i256, BadValue> {
    let corrupt = || BadValue::corrupt("a numeric with more digits than its column has");
    let wide = Wide::read(bytes)?.map_err(|text| BadValue::unrepresentable(text.as_bytes(), NOT_A_DECIMAL))?;
    let mut value = i256::ZERO;
    let mut power = 4 * wide.weight + i32::from(scale);
    for at in 0..wide.count() {
        let digit = i128::from(wide.digit(at));
        let (factor, digit) = split(power, digit).ok_or_else(corrupt)?;
        let next = value.checked_mul(i256::from_i128(factor));
        value = next.and_then(|v| v.checked_add(i256::from_i128(digit))).ok_or_else(corrupt)?;
        power -= 4;
    }
    let missing = (power + 4).max(0).unsigned_abs();
    if value != i256::ZERO {
        if missing > 76 {
            return Err(corrupt());
        }
        value = i256::from_i128(10).checked_pow(missing).and_then(|p| value.checked_mul(p)).ok_or_else(corrupt)?;
    }
    Ok(if wide.negative { value.wrapping_neg() } else { value })
}

/// What a digit of the base 10,000, whose unit stands for 10^power units of the result, multiplies and adds; `None` when it
/// says more than the result holds.
fn split(power: i32, digit: i128) -> Option<(i128, i128)> {
    match power {
        0.. => Some((10_000, digit)),
        -3..=-1 => {
            let below = 10i128.pow(power.unsigned_abs());
            (digit % below == 0).then_some((10_000 / below, digit / below))
        }
        _ => (digit == 0).then_some((1, 0)),
    }
}

/// Appends a binary `numeric` as the server prints it (`get_str_from_var` of numeric.c).
pub(crate) fn append_numeric(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let wide = match Wide::read(bytes)? {
        Ok(wide) => wide,
        Err(text) => {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
    };
    if wide.negative {
        out.push(b'-');
    }
    if wide.weight < 0 {
        out.push(b'0');
    } else {
        for at in 0..=wide.weight as usize {
            append_digits(wide.digit(at), at == 0, out);
        }
    }
    if wide.scale > 0 {
        out.push(b'.');
        let end = out.len() + wide.scale;
        // The first digit after the point is the one whose weight is -1.
        let mut at = i64::from(wide.weight) + 1;
        while out.len() < end {
            append_digits(usize::try_from(at).map_or(0, |at| wide.digit(at)), false, out);
            at += 1;
        }
        out.truncate(end);
    }
    Ok(())
}

/// Four digits; of the first group without zeros before.
fn append_digits(group: u16, first: bool, out: &mut Vec<u8>) {
    let digits = [group / 1_000, group / 100 % 10, group / 10 % 10, group % 10].map(|d| b'0' + d as u8);
    let skip = if first { digits[..3].iter().take_while(|d| **d == b'0').count() } else { 0 };
    out.extend_from_slice(&digits[skip..]);
}

/// A floating-point number as the server prints it.
pub(super) fn float<T: std::str::FromStr>(text: &[u8]) -> Result<T, BadValue> {
    let text = std::str::from_utf8(text).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| BadValue::corrupt("a floating-point number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let mut out = vec![];
        out.extend((digits.len() as u16).to_be_bytes());
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend(scale.to_be_bytes());
        digits.iter().for_each(|d| out.extend(d.to_be_bytes()));
        out
    }

    #[test]
    fn binary_numbers_read_as_the_server_prints_them() {
        let cases: [(Vec<u8>, &str); 8] = [
            (wide(0, 0, 0, &[]), "0"),
            (wide(0, 0, 3, &[]), "0.000"),
            (wide(0, 0x4000, 2, &[1, 5_000]), "-1.50"),
            (wide(2, 0, 0, &[12, 3_456]), "1234560000"),
            (wide(-2, 0, 8, &[7]), "0.00000007"),
            (wide(-1, 0x4000, 1, &[5_000]), "-0.5"),
            (wide(1, 0, 5, &[1, 0, 1]), "10000.00010"),
            (wide(0, 0xC000, 0, &[]), "NaN"),
        ];
        for (bytes, expected) in cases {
            let mut out = vec![];
            append_numeric(&bytes, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            if expected != "NaN" {
                assert_eq!(binary_decimal128(&bytes, 8).unwrap(), decimal128(expected.as_bytes(), 8).unwrap());
                let long = binary_decimal256(&bytes, 8).unwrap();
                assert_eq!(long.to_i128(), Some(decimal128(expected.as_bytes(), 8).unwrap()));
            }
        }
    }

    #[test]
    fn whole_numbers_are_read_to_their_limits() {
        assert_eq!(integer::<i64>(b"-9223372036854775808").unwrap(), i64::MIN);
        assert_eq!(integer::<u64>(b"18446744073709551615").unwrap(), u64::MAX);
        assert_eq!(integer::<i16>(b"-32768").unwrap(), i16::MIN);
        for bad in ["", "-", "32768", "1x", "+1", "999999999999999999999"] {
            assert!(integer::<i16>(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(money(b"-$92,233,720,368,547,758.08").unwrap(), i128::from(i64::MIN));
    }

    #[test]
    fn decimals_are_read_to_their_limits() {
        let nines = "9".repeat(38);
        assert_eq!(decimal128(nines.as_bytes(), 0).unwrap(), 10i128.pow(38) - 1);
        assert_eq!(decimal128(format!("-0.{nines}").as_bytes(), 38).unwrap(), 1 - 10i128.pow(38));
        assert!(decimal128(b"1.234", 2).is_err());
        assert!(decimal128(b"NaN", 2).unwrap_err().is_of_the_record());
        let nines = "9".repeat(76);
        assert_eq!(decimal256(nines.as_bytes(), 0).unwrap().to_string(), nines);
        assert!(decimal256(format!("1{nines}").as_bytes(), 0).is_err());
    }
}
