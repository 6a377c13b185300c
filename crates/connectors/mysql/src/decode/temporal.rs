//! Dates and times: from the log's packed layouts and the parts of result rows to days and microseconds.

use super::op::Op;
use super::value::BadValue;
use dujiang_core::calendar::civil;

const MICROS: i64 = 1_000_000;
const DAY_MICROS: i64 = 86_400 * MICROS;

type Result<T> = std::result::Result<T, BadValue>;

/// Days since 1970-01-01 in the proleptic Gregorian calendar; `None` when there is no such day.
#[inline]
fn days(year: u32, month: u32, day: u32) -> Option<i32> {
    const LENGTHS: [u8; 16] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];
    const BEFORE: [u16; 16] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 0, 0, 0];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let month = (month & 15) as usize;
    let length = u32::from(LENGTHS[month]) + u32::from(leap && month == 2);
    // day 0 wraps to a huge number
    if day.wrapping_sub(1) >= length {
        return None;
    }
    let before = u32::from(BEFORE[month]) + u32::from(leap && month > 2) + (day - 1);
    Some(YEARS.get(year as usize)? + before.cast_signed())
}

/// The first day of each year.
static YEARS: [i32; 10_000] = {
    let mut table = [0; 10_000];
    let mut year = 0;
    while year < 10_000 {
        let past = (year as u32).div_ceil(4) - (year as u32).div_ceil(100) + (year as u32).div_ceil(400);
        // 0000-01-01 is day -719528.
        table[year] = (year as u32 * 365 + past).cast_signed() - 719_528;
        year += 1;
    }
    table
};

/// DATE: three bytes, day 5 bits, month 4 bits, year.
#[inline]
fn split_date(bytes: [u8; 3]) -> (u32, u32, u32) {
    let packed = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
    (packed >> 9, packed >> 5 & 15, packed & 31)
}

/// A DATE's day.
#[inline]
pub(super) fn date(bytes: [u8; 3]) -> Result<i32> {
    let (year, month, day) = split_date(bytes);
    days(year, month, day).ok_or_else(|| no_date(year, month, day))
}

/// DATETIME2: 40 bits, biased: year * 13 + month (17 bits), day 5, hour 5, minute 6, second 6; then the fraction.
#[inline]
fn split_datetime(bytes: [u8; 5]) -> ((u32, u32, u32), (u32, u32, u32)) {
    let word = u64::from_be_bytes([0, 0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]]);
    let packed = word ^ 0x80_0000_0000;
    let year_month = (packed >> 22) as u32;
    let time = packed as u32 & 0x1_ffff;
    ((year_month / 13, year_month % 13, (packed >> 17) as u32 & 31), (time >> 12, time >> 6 & 63, time & 63))
}

/// A DATETIME2's microseconds.
#[inline]
pub(super) fn datetime(bytes: [u8; 5], fraction: i64) -> Result<i64> {
    let (date, time) = split_datetime(bytes);
    clock(date, time, fraction)
}

/// DATETIME before MySQL 5.6: the decimal number YYYYMMDDhhmmss.
pub(super) fn old_datetime(bytes: [u8; 8]) -> Result<i64> {
    let (date, time) = split_old_datetime(bytes);
    clock(date, time, 0)
}

fn split_old_datetime(bytes: [u8; 8]) -> ((u32, u32, u32), (u32, u32, u32)) {
    let n = u64::from_le_bytes(bytes);
    let (date, time) = (n / 1_000_000, (n % 1_000_000) as u32);
    let year = u32::try_from(date / 10_000).unwrap_or(u32::MAX);
    let (month, day) = ((date / 100 % 100) as u32, (date % 100) as u32);
    ((year, month, day), (time / 10_000, time / 100 % 100, time % 100))
}

#[inline]
fn clock(date: (u32, u32, u32), (hour, minute, second): (u32, u32, u32), fraction: i64) -> Result<i64> {
    let (year, month, day) = date;
    let valid = hour < 24 && minute < 60 && second < 60 && month < 13;
    let Some(days) = days(year, month, day).filter(|_| valid) else {
        return Err(no_datetime(date, (hour, minute, second), fraction));
    };
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Ok(i64::from(days) * DAY_MICROS + seconds * MICROS + fraction)
}

/// TIMESTAMP2: seconds since 1970, big-endian; then the fraction. All zero is the zero date.
#[inline]
pub(super) fn timestamp(seconds: u32, fraction: i64) -> Result<i64> {
    if seconds == 0 && fraction == 0 {
        return Err(no_datetime((0, 0, 0), (0, 0, 0), 0));
    }
    Ok(i64::from(seconds) * MICROS + fraction)
}

/// The fraction of a second in `N` big-endian bytes: hundredths, ten-thousandths or millionths.
#[inline]
pub(super) fn fraction(bytes: &[u8]) -> Result<i64> {
    let (value, unit) = match *bytes {
        [] => (0, 1),
        [a] => (i64::from(a), 10_000),
        [a, b] => (i64::from(u16::from_be_bytes([a, b])), 100),
        [a, b, c] => (i64::from(u32::from_be_bytes([0, a, b, c])), 1),
        _ => return Err(BadValue::corrupt("a fraction of a second")),
    };
    let micros = value * unit;
    if micros < MICROS { Ok(micros) } else { Err(BadValue::corrupt("a fraction of a second")) }
}

/// TIME2: 24 bits, biased, hour 10, minute 6, second 6, then the fraction; of a negative time all bits together are the
/// two's complement.
#[inline]
pub(super) fn time(bytes: &[u8]) -> Result<i64> {
    let (whole, rest) = bytes.split_first_chunk::<3>().ok_or(BadValue::corrupt("a TIME"))?;
    let width = 8 * rest.len() as u32;
    let mut packed = i64::from(u32::from_be_bytes([0, whole[0], whole[1], whole[2]]));
    for byte in rest {
        packed = packed << 8 | i64::from(*byte);
    }
    packed -= 0x80_0000 << width;
    let absolute = packed.unsigned_abs();
    let hms = (absolute >> width) as u32;
    let fraction_bytes = (absolute as u32).to_be_bytes();
    let micros = fraction(&fraction_bytes[4 - rest.len()..])?;
    span(packed < 0, (hms >> 12, hms >> 6 & 63, hms & 63), micros)
}

/// TIME before MySQL 5.6: the decimal number hhmmss in three signed bytes.
pub(super) fn old_time(bytes: [u8; 3]) -> Result<i64> {
    let n = i32::from_le_bytes([0, bytes[0], bytes[1], bytes[2]]) >> 8;
    let absolute = n.unsigned_abs();
    span(n < 0, (absolute / 10_000, absolute / 100 % 100, absolute % 100), 0)
}

#[inline]
fn span(negative: bool, (hour, minute, second): (u32, u32, u32), micros: i64) -> Result<i64> {
    if minute > 59 || second > 59 {
        return Err(BadValue::corrupt("a TIME"));
    }
    let absolute = i64::from(hour * 3600 + minute * 60 + second) * MICROS + micros;
    Ok(if negative { -absolute } else { absolute })
}

/// Year, month, day, hour, minute, second, microseconds; in any combination that a column can hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub date: (u32, u32, u32),
    pub clock: (u32, u32, u32),
    pub micros: u32,
}

/// DATE, DATETIME or TIMESTAMP of a result row. Parts that are zero are left out.
fn split_parts(bytes: &[u8]) -> Result<Parts> {
    let corrupt = || BadValue::corrupt("a date of a result row");
    if !matches!(bytes.len(), 0 | 4 | 7 | 11) {
        return Err(corrupt());
    }
    let at = |i: usize| u32::from(bytes.get(i).copied().unwrap_or(0));
    let date = (at(0) | at(1) << 8, at(2), at(3));
    let clock = (at(4), at(5), at(6));
    let micros = at(7) | at(8) << 8 | at(9) << 16 | at(10) << 24;
    if clock.0 > 23 || clock.1 > 59 || clock.2 > 59 || date.1 > 12 || micros > 999_999 {
        return Err(corrupt());
    }
    Ok(Parts { date, clock, micros })
}

/// What is written in a cell, whether there is such a day or not.
pub(super) fn parts_of(op: &Op, cell: &[u8]) -> Result<Parts> {
    let wrong = || BadValue::corrupt("a date");
    let rest = |n: usize| cell.get(n..).ok_or_else(wrong);
    let whole = |(date, clock), micros: i64| Parts { date, clock, micros: micros as u32 };
    Ok(match op {
        Op::Date => Parts { date: split_date(cell.try_into().map_err(|_| wrong())?), ..Parts::default() },
        Op::DateTime(_) => whole(split_datetime(*cell.first_chunk().ok_or_else(wrong)?), fraction(rest(5)?)?),
        Op::OldDateTime => whole(split_old_datetime(cell.try_into().map_err(|_| wrong())?), 0),
        Op::Timestamp => {
            instant(u32::from_be_bytes(*cell.first_chunk().ok_or_else(wrong)?), fraction(rest(4)?)? as u32)
        }
        Op::OldTimestamp => instant(u32::from_le_bytes(cell.try_into().map_err(|_| wrong())?), 0),
        Op::DateParts | Op::DateTimeParts => split_parts(cell)?,
        _ => return Err(wrong()),
    })
}

/// 0 is the zero date.
fn instant(seconds: u32, micros: u32) -> Parts {
    if seconds == 0 && micros == 0 {
        return Parts::default();
    }
    let clock = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // A timestamp is of 1970 or later.
    let (year, month, day) = civil(i64::from(seconds / 86_400));
    Parts { date: (year as u32, month, day), clock, micros }
}

/// DATE of a result row.
pub(super) fn date_parts(bytes: &[u8]) -> Result<i32> {
    let (year, month, day) = split_parts(bytes)?.date;
    days(year, month, day).ok_or_else(|| no_date(year, month, day))
}

/// DATETIME or TIMESTAMP of a result row.
pub(super) fn datetime_parts(bytes: &[u8]) -> Result<i64> {
    let parts = split_parts(bytes)?;
    clock(parts.date, parts.clock, parts.micros.into())
}

/// TIME of a result row: sign, days (four bytes), hours, minutes, seconds, microseconds (four bytes).
pub(super) fn time_parts(bytes: &[u8]) -> Result<i64> {
    if !matches!(bytes.len(), 0 | 8 | 12) {
        return Err(BadValue::corrupt("a time of a result row"));
    }
    let at = |i: usize| u32::from(bytes.get(i).copied().unwrap_or(0));
    let days = at(1) | at(2) << 8 | at(3) << 16 | at(4) << 24;
    let micros = at(8) | at(9) << 8 | at(10) << 16 | at(11) << 24;
    if days > 35 || at(5) > 23 || micros > 999_999 {
        return Err(BadValue::corrupt("a time of a result row"));
    }
    span(at(0) != 0, (days * 24 + at(5), at(6), at(7)), micros.into())
}

const NO_SUCH_DAY: &str = "there is no such day; `zero-dates: null` and `zero-dates: text` carry it";

#[cold]
#[inline(never)]
fn no_date(year: u32, month: u32, day: u32) -> BadValue {
    BadValue::unrepresentable(format!("{year:04}-{month:02}-{day:02}"), NO_SUCH_DAY)
}

#[cold]
#[inline(never)]
fn no_datetime((year, month, day): (u32, u32, u32), (h, m, s): (u32, u32, u32), micros: i64) -> BadValue {
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    let text = format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}{fraction}");
    BadValue::unrepresentable(text, NO_SUCH_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts the days one year and one month at a time.
    fn count(year: i32, month: u32, day: u32) -> Option<i32> {
        let leap = |y: i32| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
        let lengths = |y: i32| [31, if leap(y) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        if !(1..=12).contains(&month) || day < 1 || day > lengths(year)[month as usize - 1] {
            return None;
        }
        let mut days: i32 = 0;
        for y in year.min(1970)..year.max(1970) {
            days += if leap(y) { 366 } else { 365 };
        }
        let before: u32 = lengths(year)[..month as usize - 1].iter().sum();
        Some(if year < 1970 { -days } else { days } + (before + day - 1) as i32)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn p02_days_are_counted_as_the_calendar_does(year in 0u32..10_000, month in 0u32..16, day in 0u32..32) {
            let days = days(year, month, day);
            prop_assert_eq!(days, count(year as i32, month, day));
            if let Some(days) = days {
                prop_assert_eq!(civil(days.into()), (year.into(), month, day));
            }
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(0, 1, 1), Some(-719_528));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        assert_eq!(days(9999, 12, 31), Some(2_932_896));
        assert_eq!(days(1900, 2, 29), None);
        assert_eq!(time(&[0x7f, 0xff, 0xff]).unwrap(), -MICROS);
        assert_eq!(time(&[0x80, 0, 1]).unwrap(), MICROS);
        // -00:00:00.01 in a TIME(2), as MySQL's my_time.cc gives it in a comment.
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0xff]).unwrap(), -10_000);
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0x9d]).unwrap(), -990_000);
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0]).unwrap(), -1_000_000);
        assert_eq!(time(&[0x7f, 0xff, 0xfe, 0xff]).unwrap(), -1_010_000);
    }
}
