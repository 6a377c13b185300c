//! Dates and times as text.

use crate::calendar::civil;
use arrow_schema::TimeUnit;

const SECONDS_PER_DAY: i64 = 86_400;

/// Appends an instant as `2026-11-20T17:38:25.123456Z`; whole seconds have no fraction.
pub fn write_instant(micros: i64, out: &mut Vec<u8>) {
    write_local(micros, TimeUnit::Microsecond, out);
    out.push(b'Z');
}

pub(super) fn write_local(count: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    let (per_second, digits) = resolution(unit);
    let seconds = count.div_euclid(per_second);
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(b'T');
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY) as u64;
    write_clock(second_of_day, count.rem_euclid(per_second) as u64, digits, out);
}

pub(super) fn write_time_of_day(count: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    write_duration(count, unit, out);
}

pub(super) fn write_duration(count: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    let (per_second, digits) = resolution(unit);
    if count < 0 {
        out.push(b'-');
    }
    let count = count.unsigned_abs();
    let per_second = per_second.unsigned_abs();
    write_clock(count / per_second, count % per_second, digits, out);
}

/// Appends a date given as days since 1970-01-01, in the proleptic Gregorian calendar (ISO 8601).
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(days);
    match year {
        0..=9999 => {}
        10_000.. => out.push(b'+'),
        _ => out.push(b'-'),
    }
    write_padded(year.unsigned_abs(), 4, out);
    out.push(b'-');
    write_padded(month.into(), 2, out);
    out.push(b'-');
    write_padded(day.into(), 2, out);
}

fn resolution(unit: TimeUnit) -> (i64, usize) {
    match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    }
}

fn write_clock(seconds: u64, fraction: u64, digits: usize, out: &mut Vec<u8>) {
    write_padded(seconds / 3600, 2, out);
    out.push(b':');
    write_padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    write_padded(seconds % 60, 2, out);
    if fraction != 0 {
        out.push(b'.');
        write_padded(fraction, digits, out);
    }
}

fn write_padded(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value);
    out.resize(out.len() + width.saturating_sub(text.len()), b'0');
    out.extend_from_slice(text.as_bytes());
}
