//! Days, wall clocks and instants as numbers, and read from text.

use super::super::out_of_range;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use dujiang_core::Error;

/// Microseconds.
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The day an amount of microseconds since 1970 lies in.
pub(crate) fn day_of(micros: i64) -> i32 {
    micros.div_euclid(DAY) as i32
}

/// The first microsecond of a day since 1970.
pub(crate) fn midnight(days: i32) -> Result<i64, Error> {
    i64::from(days).checked_mul(DAY).ok_or_else(beyond)
}

/// The date of a day since 1970, within some 262,000 years.
pub(crate) fn date(days: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(days.checked_add(719_163)?)
}

/// The day since 1970 of a date.
pub(crate) fn days(date: NaiveDate) -> i32 {
    use chrono::Datelike;
    date.num_days_from_ce() - 719_163
}

/// Date and time of microseconds since 1970, within some 262,000 years.
pub(crate) fn date_time(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|t| t.naive_utc())
}

pub(crate) fn beyond() -> Error {
    out_of_range("a point in time")
}

/// The wall clock of an instant.
pub(crate) fn to_local(micros: i64, zone: Tz) -> Result<i64, Error> {
    if zone == Tz::UTC {
        return Ok(micros);
    }
    let utc = date_time(micros).ok_or_else(beyond)?;
    let offset = i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc());
    micros.checked_add(offset * SECOND).ok_or_else(beyond)
}

/// The instant of a wall clock: where clocks are set back the later one (standard time), where they are set forward the
/// time that the clock would have shown, as PostgreSQL.
pub(crate) fn to_utc(micros: i64, zone: Tz) -> Result<i64, Error> {
    if zone == Tz::UTC {
        return Ok(micros);
    }
    let local = date_time(micros).ok_or_else(beyond)?;
    let offset = match zone.offset_from_local_datetime(&local) {
        chrono::LocalResult::Single(offset) => offset.fix().local_minus_utc(),
        chrono::LocalResult::Ambiguous(_, later) => later.fix().local_minus_utc(),
        chrono::LocalResult::None => {
            let before = local.checked_sub_signed(chrono::TimeDelta::days(1)).ok_or_else(beyond)?;
            zone.offset_from_utc_datetime(&before).fix().local_minus_utc()
        }
    };
    micros.checked_sub(i64::from(offset) * SECOND).ok_or_else(beyond)
}

/// Rounds to so many digits of a second, half away from zero.
pub(crate) fn rounded(micros: i64, digits: u32) -> i64 {
    let unit = 10_i64.pow(6 - digits.min(6));
    let rest = micros.rem_euclid(unit);
    let down = micros.saturating_sub(rest);
    if rest * 2 >= unit { down.saturating_add(unit) } else { down }
}

/// A time read from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadTime {
    /// The wall clock, microseconds since 1970.
    pub micros: i64,
    /// Seconds east of Greenwich, if the text says so.
    pub offset: Option<i64>,
}

/// `2026-11-20`, `2026-11-20 12:34`, `2026-11-20T12:34:56.789+01:00`; a trailing ` BC`.
pub(crate) fn read_timestamp(text: &str) -> Option<ReadTime> {
    let text = text.trim();
    let (text, before_christ) = match text.strip_suffix("BC") {
        Some(rest) => (rest.trim_end(), true),
        None => (text, false),
    };
    let mut reader = Reader { rest: text };
    let year = reader.digits(1, 6)?;
    let year = if before_christ { 1 - year } else { year };
    reader.sign('-')?;
    let month = reader.digits(1, 2)?;
    reader.sign('-')?;
    let day = reader.digits(1, 2)?;
    if year == 0 && !before_christ {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month as u32, day as u32)?;
    let midnight = i64::from(days(date)) * DAY;
    if reader.rest.is_empty() {
        return Some(ReadTime { micros: midnight, offset: None });
    }
    if !reader.rest.starts_with(['T', ' ']) {
        return None;
    }
    reader.rest = reader.rest[1..].trim_start();
    let time = reader.time_of_day()?;
    let offset = reader.offset()?;
    reader.rest.is_empty().then_some(ReadTime { micros: midnight.checked_add(time)?, offset })
}

/// `12:34`, `12:34:56.789`; as a length of time also with a sign and more than 24 hours.
pub(crate) fn read_time(text: &str, duration: bool) -> Option<i64> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) if duration => (true, rest),
        _ => (false, text),
    };
    let mut reader = Reader { rest: text };
    let micros = if duration { reader.length()? } else { reader.time_of_day()? };
    reader.rest.is_empty().then_some(if negative { -micros } else { micros })
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if count < least || count > most {
            return None;
        }
        let value = self.rest[..count].parse().ok()?;
        self.rest = &self.rest[count..];
        Some(value)
    }

    fn sign(&mut self, sign: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(sign)?;
        Some(())
    }

    fn time_of_day(&mut self) -> Option<i64> {
        let micros = self.length()?;
        (micros <= DAY).then_some(micros)
    }

    fn length(&mut self) -> Option<i64> {
        let hours = self.digits(1, 4)?;
        self.sign(':')?;
        let minutes = self.digits(1, 2).filter(|m| *m < 60)?;
        let mut micros = hours * HOUR + minutes * MINUTE;
        if self.sign(':').is_some() {
            micros += self.digits(1, 2).filter(|s| *s <= 60)? * SECOND;
            if self.sign('.').is_some() {
                micros += self.fraction()?;
            }
        }
        Some(micros)
    }

    /// Digits of a second, rounded to microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = &self.rest.as_bytes()[..count];
        let value = (0..6).fold(0_i64, |sum, i| sum * 10 + digits.get(i).map_or(0, |d| i64::from(d - b'0')));
        let up = digits.get(6).is_some_and(|d| *d >= b'5');
        self.rest = &self.rest[count..];
        Some(value + i64::from(up))
    }

    /// Outer `None` for nonsense, inner for no offset.
    fn offset(&mut self) -> Option<Option<i64>> {
        self.rest = self.rest.trim_start();
        if self.sign('Z').is_some() || self.sign('z').is_some() {
            return Some(Some(0));
        }
        let negative = match self.rest.chars().next() {
            None => return Some(None),
            Some('+') => false,
            Some('-') => true,
            Some(_) => return None,
        };
        self.rest = &self.rest[1..];
        let hours = self.digits(1, 2)?;
        let minutes = if self.sign(':').is_some() { self.digits(2, 2)? } else { 0 };
        let seconds = hours * 3600 + minutes * 60;
        Some(Some(if negative { -seconds } else { seconds }))
    }
}
