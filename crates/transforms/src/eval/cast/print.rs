//! Values as text, as PostgreSQL prints them with `DateStyle=ISO`.

use super::super::float;
use super::super::time::civil;
use super::read::Cell;
use arrow_buffer::i256;
use chrono::{Datelike, Offset, TimeZone};
use chrono_tz::Tz;
use std::fmt::Write;

const TAKES_ANY: &str = "invariant: a string takes any text";

pub(super) fn print(cell: &Cell<'_>, zone: Tz, out: &mut String) {
    match *cell {
        Cell::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Cell::Integer(value) => write!(out, "{value}").expect(TAKES_ANY),
        Cell::Decimal(value, scale) => decimal(value, scale, out),
        Cell::Float(value) => float::print(value, 6, out),
        Cell::Double(value) => float::print(value, 15, out),
        Cell::Text(text) => out.push_str(text),
        Cell::Bytes(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
        Cell::Date(days) => print_date(days, out),
        Cell::Time(micros) => time(micros, out),
        Cell::Timestamp(micros) => print_timestamp(micros, out),
        Cell::Instant(micros) => instant(micros, zone, out),
    }
}

fn decimal(value: i256, scale: i8, out: &mut String) {
    let digits = value.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let scale = scale as usize;
    out.push_str(sign);
    if digits.len() <= scale {
        write!(out, "0.{digits:0>scale$}").expect(TAKES_ANY);
    } else if scale == 0 {
        out.push_str(digits);
    } else {
        let (before, after) = digits.split_at(digits.len() - scale);
        write!(out, "{before}.{after}").expect(TAKES_ANY);
    }
}

/// `2026-11-20`; years before 1 as `0044-03-15 BC`.
fn print_date(days: i32, out: &mut String) {
    let before_christ = date_digits(days, out);
    if before_christ {
        out.push_str(" BC");
    }
}

fn date_digits(days: i32, out: &mut String) -> bool {
    let Some(date) = civil::date(days) else {
        write!(out, "day {days}").expect(TAKES_ANY);
        return false;
    };
    let before = date.year() <= 0;
    let year = if before { 1 - date.year() } else { date.year() };
    write!(out, "{year:04}-{:02}-{:02}", date.month(), date.day()).expect(TAKES_ANY);
    before
}

/// `2026-11-20 12:34:56.5`
fn print_timestamp(micros: i64, out: &mut String) {
    let before = date_digits(civil::day_of(micros), out);
    out.push(' ');
    time(micros.rem_euclid(civil::DAY), out);
    if before {
        out.push_str(" BC");
    }
}

fn instant(micros: i64, zone: Tz, out: &mut String) {
    let Some(utc) = civil::date_time(micros) else {
        write!(out, "{micros} µs").expect(TAKES_ANY);
        return;
    };
    let offset = i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc());
    let local = micros.saturating_add(offset * civil::SECOND);
    let before = date_digits(civil::day_of(local), out);
    out.push(' ');
    time(local.rem_euclid(civil::DAY), out);
    let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    write!(out, "{sign}{:02}", offset / 3600).expect(TAKES_ANY);
    if offset % 3600 != 0 {
        write!(out, ":{:02}", offset % 3600 / 60).expect(TAKES_ANY);
    }
    if offset % 60 != 0 {
        write!(out, ":{:02}", offset % 60).expect(TAKES_ANY);
    }
    if before {
        out.push_str(" BC");
    }
}

fn time(micros: i64, out: &mut String) {
    if micros < 0 {
        out.push('-');
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).expect(TAKES_ANY);
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        write!(out, ".{}", digits.trim_end_matches('0')).expect(TAKES_ANY);
    }
}
