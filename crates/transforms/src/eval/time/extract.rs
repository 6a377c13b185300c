//! EXTRACT and the functions named after parts of a time.

use super::super::{Args, Kernel, primitive_rows, some};
use super::civil;
use crate::types::Type;
use arrow_array::types::{
    Date32Type, DurationMicrosecondType, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_schema::DataType;
use chrono::{Datelike, NaiveDate};
use dujiang_core::Error;
use std::sync::Arc;

/// A part of a date or of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Millennium,
    Century,
    Decade,
    Year,
    IsoYear,
    Quarter,
    Month,
    Week,
    DayOfYear,
    Day,
    /// Sunday is 1.
    DayOfWeek,
    /// Sunday is 0, as PostgreSQL's DOW.
    WeekdayFromZero,
    /// Monday is 1.
    IsoDayOfWeek,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Epoch,
}

impl Part {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "MILLENNIUM" => Part::Millennium,
            "CENTURY" => Part::Century,
            "DECADE" => Part::Decade,
            "YEAR" => Part::Year,
            "ISOYEAR" => Part::IsoYear,
            "QUARTER" => Part::Quarter,
            "MONTH" => Part::Month,
            "WEEK" => Part::Week,
            "DOY" | "DAYOFYEAR" => Part::DayOfYear,
            "DAY" | "DAYOFMONTH" => Part::Day,
            "DAYOFWEEK" => Part::DayOfWeek,
            "DOW" => Part::WeekdayFromZero,
            "ISODOW" => Part::IsoDayOfWeek,
            "HOUR" => Part::Hour,
            "MINUTE" => Part::Minute,
            "SECOND" => Part::Second,
            "MILLISECOND" => Part::Millisecond,
            "MICROSECOND" => Part::Microsecond,
            "EPOCH" => Part::Epoch,
            _ => return None,
        })
    }

    pub fn of_clock(self) -> bool {
        matches!(self, Part::Hour | Part::Minute | Part::Second | Part::Millisecond | Part::Microsecond | Part::Epoch)
    }

    fn of_date(self, date: NaiveDate) -> i64 {
        // PostgreSQL has no year 0: before year 1 comes -1.
        let year = i64::from(if date.year() <= 0 { date.year() - 1 } else { date.year() });
        let up = |unit: i64| if year > 0 { (year + unit - 1) / unit } else { -((unit - 1 - year) / unit) };
        match self {
            Part::Millennium => up(1000),
            Part::Century => up(100),
            Part::Decade => i64::from(date.year()).div_euclid(10),
            Part::Year => year,
            Part::IsoYear => {
                let year = date.iso_week().year();
                i64::from(if year <= 0 { year - 1 } else { year })
            }
            Part::Quarter => i64::from(date.month0() / 3 + 1),
            Part::Month => i64::from(date.month()),
            Part::Week => i64::from(date.iso_week().week()),
            Part::DayOfYear => i64::from(date.ordinal()),
            Part::Day => i64::from(date.day()),
            Part::DayOfWeek => i64::from(date.weekday().number_from_sunday()),
            Part::WeekdayFromZero => i64::from(date.weekday().num_days_from_sunday()),
            _ => i64::from(date.weekday().number_from_monday()),
        }
    }

    /// Of a clock, or of a length of time, whose parts carry its sign.
    fn of_micros(self, micros: i64) -> i64 {
        match self {
            Part::Hour => micros / civil::HOUR,
            Part::Minute => micros / civil::MINUTE % 60,
            Part::Second => micros / civil::SECOND % 60,
            Part::Millisecond => micros / 1_000 % 60_000,
            Part::Epoch => micros.div_euclid(civil::SECOND),
            _ => micros % civil::MINUTE,
        }
    }

    fn of_timestamp(self, micros: i64) -> Result<i64, Error> {
        if self == Part::Epoch {
            return Ok(micros.div_euclid(civil::SECOND));
        }
        if self.of_clock() {
            return Ok(self.of_micros(micros.rem_euclid(civil::DAY)));
        }
        civil::date(civil::day_of(micros)).map(|date| self.of_date(date)).ok_or_else(civil::beyond)
    }
}

pub(crate) fn extract(part: Part, ty: &Type) -> Kernel {
    let ty = ty.clone();
    Arc::new(move |args: &Args| match ty {
        Type::Date => {
            let values = args.numbers::<Date32Type>(0);
            primitive_rows::<Int64Type>(args.rows, DataType::Int64, |row| {
                part.of_timestamp(civil::midnight(some!(values.get(row)))?).map(Some)
            })
        }
        Type::Time => {
            let values = args.numbers::<Time64MicrosecondType>(0);
            primitive_rows::<Int64Type>(args.rows, DataType::Int64, |row| {
                Ok(values.get(row).map(|v| part.of_micros(v)))
            })
        }
        Type::Duration => {
            let values = args.numbers::<DurationMicrosecondType>(0);
            primitive_rows::<Int64Type>(args.rows, DataType::Int64, |row| {
                Ok(values.get(row).map(|v| part.of_micros(v)))
            })
        }
        _ => {
            let values = args.numbers::<TimestampMicrosecondType>(0);
            primitive_rows::<Int64Type>(args.rows, DataType::Int64, |row| {
                part.of_timestamp(some!(values.get(row))).map(Some)
            })
        }
    })
}
