//! Dates and times from text.

use super::native::per_second;
use arrow_schema::TimeUnit;
use dujiang_core::calendar::day_number;

const SECONDS_PER_DAY: i128 = 86_400;

/// Days since 1970-01-01 of `2026-11-20`; a year beyond four digits has a sign.
pub(super) fn date(text: &str) -> Option<i128> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let mut parts = rest.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() < 4 || year.len() > 9 {
        return None;
    }
    let (year, month, day) = (number(year)?, two(month)?, two(day)?);
    Some(day_number(sign * year as i64, month as i64, day as i64)?.into())
}

/// Counts of `unit` of `2026-11-20T17:38:25.123456`, with a space for the `T` or with a zone behind it: (count, whether a zone
/// was named).
pub(super) fn moment(text: &str, unit: TimeUnit) -> Option<(i128, bool)> {
    let place = text.find(['T', ' '])?;
    let (clock, offset) = zone(&text[place + 1..])?;
    let day = date(&text[..place])? * SECONDS_PER_DAY;
    let (seconds, nanos) = time(clock)?;
    if seconds >= SECONDS_PER_DAY {
        return None;
    }
    let count = count(day + seconds - i128::from(offset.unwrap_or(0)), nanos, unit)?;
    Some((count, offset.is_some()))
}

/// Counts of `unit` of `-838:59:59.000001`.
pub(super) fn duration(text: &str, unit: TimeUnit) -> Option<i128> {
    let (negative, clock) = match text.strip_prefix('-') {
        Some(clock) => (true, clock),
        None => (false, text),
    };
    let (seconds, nanos) = time(clock)?;
    let count = count(seconds, nanos, unit)?;
    Some(if negative { -count } else { count })
}

/// None if the unit is too coarse.
fn count(seconds: i128, nanos: i128, unit: TimeUnit) -> Option<i128> {
    let per_second = per_second(unit);
    let nanos_each = 1_000_000_000 / per_second;
    (nanos % nanos_each == 0).then(|| seconds * per_second + nanos / nanos_each)
}

/// Seconds and nanoseconds of `17:38:25.123456`, whatever the hours.
fn time(text: &str) -> Option<(i128, i128)> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let mut parts = clock.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || hours.len() < 2 || hours.len() > 18 {
        return None;
    }
    let (hours, minutes, seconds) = (number(hours)?, two(minutes)?, two(seconds)?);
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let nanos = match fraction {
        None => 0,
        Some(digits) if digits.len() > 9 => return None,
        Some(digits) => number(digits)? * 10_i128.pow(9 - digits.len() as u32),
    };
    Some((hours * 3_600 + minutes * 60 + seconds, nanos))
}

/// A clock and the seconds that its zone is ahead, if it names one.
fn zone(text: &str) -> Option<(&str, Option<i64>)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, Some(0)));
    }
    let Some(place) = text.find(['+', '-']) else { return Some((text, None)) };
    let sign = if text.as_bytes()[place] == b'-' { -1 } else { 1 };
    let offset = &text[place + 1..];
    let (hours, minutes) = offset.split_once(':').unwrap_or((offset, "00"));
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    if hours > 18 || minutes > 59 {
        return None;
    }
    Some((&text[..place], Some(sign * (hours * 3_600 + minutes * 60) as i64)))
}

fn two(digits: &str) -> Option<i128> {
    (digits.len() == 2).then(|| number(digits))?
}

fn number(digits: &str) -> Option<i128> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok())?
}
