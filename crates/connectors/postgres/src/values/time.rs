//! Dates and times: text under `DateStyle=ISO` and `IntervalStyle=iso_8601`, and binary.
//!
//! The server counts days and microseconds from 2000-01-01, Arrow from 1970-01-01. The server's dates all fit; of its
//! timestamps those of the last 29 years (from 294247-01-10 04:00:54.775808 on) do not fit into 64 bits of microseconds since
//! 1970.

use super::bad::BadValue;
use dujiang_core::calendar::day_number;

const DAYS_TO_2000: i32 = 10_957;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const MICROS_TO_2000: i64 = DAYS_TO_2000 as i64 * MICROS_PER_DAY;

const INFINITE: &str = "no file has infinite times; `values.times: text` carries dates and times as text";
const TOO_LATE: &str = "it lies after the last time of 64 bits of microseconds since 1970; `values.times: text` carries dates and times as text";
const MIDNIGHT: &str = "a time of day ends before 24:00:00; `values.times: text` carries dates and times as text";

fn corrupt() -> BadValue {
    BadValue::corrupt("a date or time")
}

/// Walks over the server's text.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// A number of at least one and at most nine digits, and how many it has.
    #[inline]
    fn number(&mut self) -> Result<(i64, usize), BadValue> {
        let start = self.at;
        let mut value = 0;
        while let Some(digit) = self.text.get(self.at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
            value = value * 10 + i64::from(digit);
            self.at += 1;
            if self.at - start > 9 {
                return Err(corrupt());
            }
        }
        if self.at == start { Err(corrupt()) } else { Ok((value, self.at - start)) }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), BadValue> {
        if self.eat(byte) { Ok(()) } else { Err(corrupt()) }
    }

    fn end(&self) -> Result<(), BadValue> {
        if self.at == self.text.len() { Ok(()) } else { Err(corrupt()) }
    }

    /// Year, month, day; the year counts as the text does, without its era.
    fn date(&mut self) -> Result<(i64, i64, i64), BadValue> {
        let year = self.number()?.0;
        self.expect(b'-')?;
        let month = self.number()?.0;
        self.expect(b'-')?;
        let day = self.number()?.0;
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(corrupt());
        }
        Ok((year, month, day))
    }

    /// Microseconds of `12:34:56.5`.
    fn clock(&mut self) -> Result<i64, BadValue> {
        let hour = self.number()?.0;
        self.expect(b':')?;
        let minute = self.number()?.0;
        self.expect(b':')?;
        let second = self.number()?.0;
        if hour > 24 || minute > 59 || second > 60 {
            return Err(corrupt());
        }
        let mut micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND;
        if self.eat(b'.') {
            let (fraction, digits) = self.number()?;
            if digits > 6 {
                return Err(corrupt());
            }
            micros += fraction * 10i64.pow(6 - digits as u32);
        }
        Ok(micros)
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Result<i64, BadValue> {
        let negative = self.eat(b'-');
        if !negative {
            self.expect(b'+')?;
        }
        let mut seconds = self.number()?.0 * 3_600;
        if self.eat(b':') {
            seconds += self.number()?.0 * 60;
            if self.eat(b':') {
                seconds += self.number()?.0;
            }
        }
        Ok(if negative { -seconds } else { seconds })
    }

    /// Days since 1970, once the era is known.
    fn days(&mut self, (year, month, day): (i64, i64, i64)) -> Result<i64, BadValue> {
        let before = self.eat(b' ');
        if before {
            self.expect(b'B')?;
            self.expect(b'C')?;
        }
        self.end()?;
        // There is no year 0: 1 BC is the year before 1.
        day_number(if before { 1 - year } else { year }, month, day).ok_or_else(corrupt)
    }
}

fn infinite(text: &[u8]) -> Result<(), BadValue> {
    if matches!(text, b"infinity" | b"-infinity") {
        return Err(BadValue::unrepresentable(text, INFINITE));
    }
    Ok(())
}

/// Days since 1970.
pub(super) fn date(text: &[u8]) -> Result<i32, BadValue> {
    infinite(text)?;
    let mut scanner = Scanner::new(text);
    let day = scanner.date()?;
    i32::try_from(scanner.days(day)?).map_err(|_| corrupt())
}

/// Days since 1970.
pub(super) fn binary_date(bytes: [u8; 4]) -> Result<i32, BadValue> {
    match i32::from_be_bytes(bytes) {
        i32::MAX => infinite(b"infinity").map(|()| 0),
        i32::MIN => infinite(b"-infinity").map(|()| 0),
        days => days.checked_add(DAYS_TO_2000).ok_or_else(corrupt),
    }
}

/// Microseconds of a day.
pub(super) fn time(text: &[u8]) -> Result<i64, BadValue> {
    let mut scanner = Scanner::new(text);
    let micros = scanner.clock()?;
    scanner.end()?;
    of_day(micros)
}

/// Microseconds of a day.
pub(super) fn binary_time(bytes: [u8; 8]) -> Result<i64, BadValue> {
    of_day(i64::from_be_bytes(bytes))
}

fn of_day(micros: i64) -> Result<i64, BadValue> {
    match micros {
        0..MICROS_PER_DAY => Ok(micros),
        MICROS_PER_DAY => Err(BadValue::unrepresentable(b"24:00:00", MIDNIGHT)),
        _ => Err(corrupt()),
    }
}

/// Microseconds since 1970, of wall clock (`zoned` false) or instant.
pub(super) fn timestamp(text: &[u8], zoned: bool) -> Result<i64, BadValue> {
    infinite(text)?;
    i64::try_from(micros(text, zoned)?).map_err(|_| BadValue::unrepresentable(text, TOO_LATE))
}

/// Microseconds since 1970 of what is finite, whether or not they fit into 64 bits.
fn micros(text: &[u8], zoned: bool) -> Result<i128, BadValue> {
    let mut scanner = Scanner::new(text);
    let day = scanner.date()?;
    scanner.expect(b' ')?;
    let mut micros = scanner.clock()?;
    if zoned {
        micros -= scanner.zone()? * MICROS_PER_SECOND;
    }
    let days = scanner.days(day)?;
    Ok(i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros))
}

/// Days and times as the server itself counts them, which order every value it has, the infinite ones among them.
pub(super) mod ordered {
    use super::*;

    /// Days since 2000, in 32 bits.
    pub fn date(text: &[u8]) -> Result<i64, BadValue> {
        match text {
            b"infinity" => Ok(i32::MAX.into()),
            b"-infinity" => Ok(i32::MIN.into()),
            _ => super::date(text).map(|days| i64::from(days) - i64::from(DAYS_TO_2000)),
        }
    }

    /// Microseconds since 2000.
    pub fn timestamp(text: &[u8], zoned: bool) -> Result<i64, BadValue> {
        match text {
            b"infinity" => Ok(i64::MAX),
            b"-infinity" => Ok(i64::MIN),
            _ => i64::try_from(micros(text, zoned)? - i128::from(MICROS_TO_2000)).map_err(|_| corrupt()),
        }
    }

    /// Microseconds of a day, of which the last one may be over.
    pub fn time(text: &[u8]) -> Result<i64, BadValue> {
        let mut scanner = Scanner::new(text);
        let micros = scanner.clock()?;
        scanner.end().map(|()| micros)
    }
}

/// Microseconds since 1970.
pub(super) fn binary_timestamp(bytes: [u8; 8]) -> Result<i64, BadValue> {
    match i64::from_be_bytes(bytes) {
        i64::MAX => infinite(b"infinity").map(|()| 0),
        i64::MIN => infinite(b"-infinity").map(|()| 0),
        micros => micros.checked_add(MICROS_TO_2000).ok_or_else(|| {
            let text = format!("{micros} microseconds since 2000-01-01");
            BadValue::unrepresentable(text.as_bytes(), TOO_LATE)
        }),
    }
}

/// Appends a binary `interval` as the server prints it under `IntervalStyle=iso_8601`.
///
/// Layout: `interval_send` of timestamp.c: microseconds (64 bits), days, months (32 bits each). Text: `EncodeInterval` of
/// datetime.c; infinities are those of PostgreSQL 17.
pub(super) fn append_interval(bytes: [u8; 16], out: &mut Vec<u8>) {
    let [micros, rest] = [u64::from_be_bytes(half(&bytes, 0)) as i64, u64::from_be_bytes(half(&bytes, 8)) as i64];
    let (days, months) = ((rest >> 32) as i32, rest as i32);
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return out.extend_from_slice(b"infinity"),
        (i64::MIN, i32::MIN, i32::MIN) => return out.extend_from_slice(b"-infinity"),
        (0, 0, 0) => return out.extend_from_slice(b"PT0S"),
        _ => {}
    }
    out.push(b'P');
    part((months / 12).into(), b'Y', out);
    part((months % 12).into(), b'M', out);
    part(days.into(), b'D', out);
    if micros == 0 {
        return;
    }
    out.push(b'T');
    let seconds = micros / MICROS_PER_SECOND;
    part(seconds / 3_600, b'H', out);
    part(seconds / 60 % 60, b'M', out);
    let rest = micros % (60 * MICROS_PER_SECOND);
    if rest != 0 {
        append_seconds(rest, out);
    }
}

fn half(bytes: &[u8; 16], at: usize) -> [u8; 8] {
    *bytes[at..].first_chunk().expect("invariant: sixteen bytes have two halves")
}

fn part(value: i64, unit: u8, out: &mut Vec<u8>) {
    if value != 0 {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        out.push(unit);
    }
}

/// Microseconds as seconds, without zeros at the end of the fraction.
fn append_seconds(micros: i64, out: &mut Vec<u8>) {
    if micros < 0 {
        out.push(b'-');
    }
    let (seconds, fraction) = (micros.abs() / MICROS_PER_SECOND, micros.abs() % MICROS_PER_SECOND);
    out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    if fraction != 0 {
        out.push(b'.');
        let mut buffer = itoa::Buffer::new();
        // A one before the digits keeps their zeros.
        let digits = &buffer.format(MICROS_PER_SECOND + fraction).as_bytes()[1..];
        let end = digits.iter().rposition(|d| *d != b'0').map_or(0, |last| last + 1);
        out.extend_from_slice(&digits[..end]);
    }
    out.push(b'S');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_1970_in_both_eras() {
        let cases = [
            ("1970-01-01", 0),
            ("2000-01-01", DAYS_TO_2000),
            ("1969-12-31", -1),
            ("0001-01-01", -719_162),
            ("0001-12-31 BC", -719_163),
            ("4714-11-24 BC", -2_440_588),
            ("5874897-12-31", 2_145_042_905),
        ];
        for (text, expected) in cases {
            assert_eq!(date(text.as_bytes()).unwrap(), expected, "{text}");
        }
        assert_eq!(binary_date(0i32.to_be_bytes()).unwrap(), DAYS_TO_2000);
        for bad in ["", "2000-01", "2000-13-01", "2000-01-01x", "2000-01-01 AD", "99999999999-01-01"] {
            assert!(!date(bad.as_bytes()).unwrap_err().is_of_the_record(), "{bad}");
        }
    }

    #[test]
    fn f54_what_64_bits_of_microseconds_do_not_hold_is_refused_by_name() {
        let last = "294247-01-10 04:00:54.775807";
        assert_eq!(timestamp(last.as_bytes(), false).unwrap(), i64::MAX);
        for text in ["294247-01-10 04:00:54.775808", "294276-12-31 23:59:59.999999", "infinity", "-infinity"] {
            assert!(timestamp(text.as_bytes(), false).unwrap_err().is_of_the_record(), "{text}");
        }
        assert!(binary_timestamp(i64::MAX.to_be_bytes()).unwrap_err().is_of_the_record());
        assert!(binary_timestamp((i64::MAX - 1).to_be_bytes()).unwrap_err().is_of_the_record());
        assert!(binary_date(i32::MIN.to_be_bytes()).unwrap_err().is_of_the_record());
        assert_eq!(timestamp(b"4714-11-24 00:00:00 BC", false).unwrap(), -210_866_803_200_000_000);
        assert!(time(b"24:00:00").unwrap_err().is_of_the_record());
        assert_eq!(time(b"23:59:59.999999").unwrap(), MICROS_PER_DAY - 1);
    }

    #[test]
    fn instants_are_in_utc_whatever_the_zone_of_their_text() {
        assert_eq!(timestamp(b"1970-01-01 01:00:00.5+01", true).unwrap(), 500_000);
        assert_eq!(timestamp(b"1969-12-31 18:30:00-05:30", true).unwrap(), 0);
        assert_eq!(timestamp(b"1970-01-01 00:00:10+00:00:10", true).unwrap(), 0);
        assert!(timestamp(b"1970-01-01 00:00:10", true).is_err());
    }

    #[test]
    fn intervals_read_as_the_server_prints_them() {
        let cases = [
            ((0, 0, 0), "PT0S"),
            ((14, 3, 3_723_500_000), "P1Y2M3DT1H2M3.5S"),
            ((-14, -3, -3_723_500_000), "P-1Y-2M-3DT-1H-2M-3.5S"),
            ((0, 0, 1), "PT0.000001S"),
            ((0, 0, -60_000_000), "PT-1M"),
            ((i32::MAX, i32::MAX, i64::MAX), "infinity"),
        ];
        for ((months, days, micros), expected) in cases {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&i64::to_be_bytes(micros));
            bytes[8..12].copy_from_slice(&i32::to_be_bytes(days));
            bytes[12..].copy_from_slice(&i32::to_be_bytes(months));
            let mut out = vec![];
            append_interval(bytes, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
