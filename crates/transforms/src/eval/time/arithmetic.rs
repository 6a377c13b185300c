//! Days and times plus and minus lengths of time, and their differences.

use super::super::{Args, Kernel, out_of_range, primitive_rows, some};
use super::civil;
use crate::types::Type;
use arrow_array::types::{
    Date32Type, DurationMicrosecondType, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_schema::DataType;
use chrono::{Datelike, Months};
use chrono_tz::Tz;
use dujiang_core::Error;
use std::sync::Arc;

/// A length of time; months and days depend on the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub months: i64,
    pub days: i64,
    pub micros: i64,
}

/// What TIMESTAMPADD and TIMESTAMPDIFF count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Months(i64),
    Days(i64),
    Micros(i64),
}

impl Unit {
    pub const NAMES: &[&str] =
        &["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"];

    pub fn named(name: &str) -> Option<Self> {
        let name = name.strip_prefix("SQL_TSI_").unwrap_or(name);
        Some(match name {
            "YEAR" => Unit::Months(12),
            "QUARTER" => Unit::Months(3),
            "MONTH" => Unit::Months(1),
            "WEEK" => Unit::Days(7),
            "DAY" => Unit::Days(1),
            "HOUR" => Unit::Micros(civil::HOUR),
            "MINUTE" => Unit::Micros(civil::MINUTE),
            "SECOND" => Unit::Micros(civil::SECOND),
            "MILLISECOND" => Unit::Micros(1_000),
            "MICROSECOND" => Unit::Micros(1),
            _ => return None,
        })
    }

    pub fn of_clock(self) -> bool {
        matches!(self, Unit::Micros(_))
    }

    fn step(self, count: i64) -> Option<Step> {
        let none = Step { months: 0, days: 0, micros: 0 };
        Some(match self {
            Unit::Months(n) => Step { months: count.checked_mul(n)?, ..none },
            Unit::Days(n) => Step { days: count.checked_mul(n)?, ..none },
            Unit::Micros(n) => Step { micros: count.checked_mul(n)?, ..none },
        })
    }
}

/// Months first (the last day of the month at most), then days, then the clock.
fn shifted(micros: i64, step: Step) -> Option<i64> {
    let mut micros = micros;
    if step.months != 0 {
        let date = civil::date(civil::day_of(micros))?;
        let months = Months::new(u32::try_from(step.months.unsigned_abs()).ok()?);
        let moved = if step.months > 0 { date.checked_add_months(months)? } else { date.checked_sub_months(months)? };
        micros = i64::from(civil::days(moved)).checked_mul(civil::DAY)?.checked_add(micros.rem_euclid(civil::DAY))?;
    }
    micros = micros.checked_add(step.days.checked_mul(civil::DAY)?)?;
    let result = micros.checked_add(step.micros)?;
    civil::date_time(result).map(|_| result)
}

/// In the calendar of the zone: a day later is the same time of the clock.
fn shifted_instant(micros: i64, step: Step, zone: Tz) -> Result<Option<i64>, Error> {
    if step.months == 0 && step.days == 0 {
        return Ok(shifted(micros, step));
    }
    let calendar = Step { micros: 0, ..step };
    let Some(moved) = shifted(civil::to_local(micros, zone)?, calendar) else { return Ok(None) };
    Ok(civil::to_utc(moved, zone)?.checked_add(step.micros))
}

fn moved(ty: &Type, value: i64, step: Step, zone: Tz) -> Result<i64, Error> {
    let result = match ty {
        Type::Instant => shifted_instant(value, step, zone)?,
        // A clock goes round; days and months do not move it.
        Type::Time => value.checked_add(step.micros).map(|sum| sum.rem_euclid(civil::DAY)),
        Type::Duration if step.months == 0 => step
            .days
            .checked_mul(civil::DAY)
            .and_then(|d| d.checked_add(step.micros))
            .and_then(|d| value.checked_add(d)),
        _ => shifted(value, step),
    };
    result.ok_or_else(civil::beyond)
}

/// A time plus an INTERVAL literal.
pub(crate) fn shift(ty: &Type, step: Step, zone: Tz) -> Kernel {
    let ty = ty.clone();
    Arc::new(move |args: &Args| match ty {
        Type::Time => {
            let values = args.numbers::<Time64MicrosecondType>(0);
            primitive_rows::<Time64MicrosecondType>(args.rows, ty.arrow(), |row| {
                moved(&ty, some!(values.get(row)), step, zone).map(Some)
            })
        }
        Type::Duration => {
            let values = args.numbers::<DurationMicrosecondType>(0);
            primitive_rows::<DurationMicrosecondType>(args.rows, ty.arrow(), |row| {
                moved(&ty, some!(values.get(row)), step, zone).map(Some)
            })
        }
        _ => {
            let values = args.numbers::<TimestampMicrosecondType>(0);
            primitive_rows::<TimestampMicrosecondType>(args.rows, ty.arrow(), |row| {
                moved(&ty, some!(values.get(row)), step, zone).map(Some)
            })
        }
    })
}

/// TIMESTAMPADD: the count is argument 0.
pub(crate) fn add(unit: Unit, ty: &Type, zone: Tz) -> Kernel {
    let ty = ty.clone();
    Arc::new(move |args: &Args| {
        let counts = args.longs(0);
        let step = |count| unit.step(count).ok_or_else(civil::beyond);
        if ty == Type::Date {
            let values = args.numbers::<Date32Type>(1);
            return primitive_rows::<Date32Type>(args.rows, DataType::Date32, |row| {
                let (count, day) = (some!(counts.get(row)), some!(values.get(row)));
                let micros = shifted(civil::midnight(day)?, step(count)?).ok_or_else(civil::beyond)?;
                Ok(Some(civil::day_of(micros)))
            });
        }
        let values = args.numbers::<TimestampMicrosecondType>(1);
        primitive_rows::<TimestampMicrosecondType>(args.rows, ty.arrow(), |row| {
            let (count, value) = (some!(counts.get(row)), some!(values.get(row)));
            moved(&ty, value, step(count)?, zone).map(Some)
        })
    })
}

/// TIMESTAMPDIFF(unit, from, to): whole units, cut towards zero.
pub(crate) fn difference(unit: Unit) -> Kernel {
    Arc::new(move |args: &Args| {
        let (froms, tos) = (args.numbers::<TimestampMicrosecondType>(0), args.numbers::<TimestampMicrosecondType>(1));
        primitive_rows::<Int64Type>(args.rows, DataType::Int64, |row| {
            let (from, to) = (some!(froms.get(row)), some!(tos.get(row)));
            let span = to.checked_sub(from).ok_or_else(civil::beyond)?;
            Ok(Some(match unit {
                Unit::Micros(n) => span / n,
                Unit::Days(n) => span / (civil::DAY * n),
                Unit::Months(n) => months_between(from, to).ok_or_else(civil::beyond)? / n,
            }))
        })
    })
}

fn months_between(from: i64, to: i64) -> Option<i64> {
    if to < from {
        return months_between(to, from).map(|months| -months);
    }
    let (first, second) = (civil::date(civil::day_of(from))?, civil::date(civil::day_of(to))?);
    let months = (i64::from(second.year()) - i64::from(first.year())) * 12 + i64::from(second.month())
        - i64::from(first.month());
    let rest = |date: chrono::NaiveDate, micros: i64| (date.day(), micros.rem_euclid(civil::DAY));
    Some(if rest(second, to) < rest(first, from) { months - 1 } else { months })
}

/// DATE - DATE
pub(crate) fn days_between() -> Kernel {
    Arc::new(|args: &Args| {
        let (left, right) = (args.numbers::<Date32Type>(0), args.numbers::<Date32Type>(1));
        primitive_rows::<Int32Type>(args.rows, DataType::Int32, |row| {
            let (a, b) = (some!(left.get(row)), some!(right.get(row)));
            a.checked_sub(b).map(Some).ok_or_else(|| out_of_range("a number of days"))
        })
    })
}

/// DATE_ADD(day, count)
pub(crate) fn add_days() -> Kernel {
    Arc::new(|args: &Args| {
        let (days, counts) = (args.numbers::<Date32Type>(0), args.longs(1));
        primitive_rows::<Date32Type>(args.rows, DataType::Date32, |row| {
            let (day, count) = (some!(days.get(row)), some!(counts.get(row)));
            let sum = i64::from(day).checked_add(count).and_then(|d| i32::try_from(d).ok());
            sum.filter(|d| civil::date(*d).is_some()).map(Some).ok_or_else(civil::beyond)
        })
    })
}
