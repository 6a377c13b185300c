//! Times to text and back by a pattern, and seconds since 1970.

use super::super::{Args, Kernel, bad_argument, out_of_range, primitive_rows, some, text_rows};
use super::civil;
use super::pattern::{Moment, Pattern};
use crate::types::Type;
use arrow_array::types::{Date32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_schema::DataType;
use chrono_tz::Tz;
use dujiang_core::{Code, Error};
use std::sync::Arc;

/// The time of a row, out of the arguments of a call.
type MomentOf = Arc<dyn Fn(&Args, usize) -> Result<Option<Moment>, Error> + Send + Sync>;

/// A kernel that prints argument 0 by the pattern in argument 1.
pub(crate) struct PatternKernel {
    moment: MomentOf,
}

impl PatternKernel {
    fn new(moment: impl Fn(&Args, usize) -> Result<Option<Moment>, Error> + Send + Sync + 'static) -> Self {
        Self { moment: Arc::new(moment) }
    }

    /// The kernel, with the pattern if it is known already.
    pub fn with(self, fixed: Option<Pattern>) -> Kernel {
        Arc::new(move |args: &Args| {
            let patterns = args.texts(1);
            let mut last = None;
            text_rows(args.rows, |row, out| {
                let moment = some!((self.moment)(args, row)?);
                let pattern = some!(patterns.get(row));
                match &fixed {
                    Some(fixed) => fixed.print(&moment, out)?,
                    None => cached(&mut last, pattern)?.print(&moment, out)?,
                }
                Ok(Some(()))
            })
        })
    }
}

fn cached<'c>(last: &'c mut Option<(String, Pattern)>, text: &str) -> Result<&'c Pattern, Error> {
    if last.as_ref().is_none_or(|(have, _)| have != text) {
        let pattern =
            Pattern::read(text).map_err(|why| bad_argument(format!("'{text}' is no pattern of a time: {why}")))?;
        *last = Some((text.to_owned(), pattern));
    }
    Ok(&last.as_ref().expect("invariant: it was just read").1)
}

pub(crate) fn date_format(ty: &Type, zone: Tz) -> PatternKernel {
    match ty {
        Type::Date => PatternKernel::new(|args, row| {
            let day = some!(args.numbers::<Date32Type>(0).get(row));
            Ok(Some(Moment::local(civil::midnight(day)?)))
        }),
        Type::Time => {
            PatternKernel::new(|args, row| Ok(args.numbers::<Time64MicrosecondType>(0).get(row).map(Moment::local)))
        }
        Type::Instant => PatternKernel::new(move |args, row| {
            let micros = some!(args.numbers::<TimestampMicrosecondType>(0).get(row));
            Moment::instant(micros, zone).map(Some)
        }),
        _ => {
            PatternKernel::new(|args, row| Ok(args.numbers::<TimestampMicrosecondType>(0).get(row).map(Moment::local)))
        }
    }
}

/// FROM_UNIXTIME(seconds, pattern)
pub(crate) fn from_unixtime(zone: Tz) -> PatternKernel {
    PatternKernel::new(move |args, row| {
        let seconds = some!(args.longs(0).get(row));
        Moment::instant(seconds.checked_mul(civil::SECOND).ok_or_else(civil::beyond)?, zone).map(Some)
    })
}

/// TO_DATE and TO_TIMESTAMP with a pattern (argument 1).
pub(crate) fn parse(out: &Type, fixed: Option<Pattern>) -> Kernel {
    let out = out.clone();
    Arc::new(move |args: &Args| {
        let (texts, patterns) = (args.texts(0), args.texts(1));
        let mut last = None;
        let mut read = |row: usize| -> Result<Option<i64>, Error> {
            let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
            let found = match &fixed {
                Some(fixed) => fixed.parse(text),
                None => cached(&mut last, pattern)?.parse(text),
            };
            let shown: String = text.chars().take(100).collect();
            found.map(Some).ok_or_else(|| {
                Error::new(Code::BadCast, format!("'{shown}' does not follow the pattern '{pattern}'"))
                    .help("mend the value at the source, or the pattern")
            })
        };
        if out == Type::Date {
            return primitive_rows::<Date32Type>(args.rows, DataType::Date32, |row| Ok(read(row)?.map(civil::day_of)));
        }
        primitive_rows::<TimestampMicrosecondType>(args.rows, out.arrow(), read)
    })
}

/// The instant of a wall clock.
pub(crate) fn to_instant(zone: Tz) -> Kernel {
    Arc::new(move |args: &Args| {
        let values = args.numbers::<TimestampMicrosecondType>(0);
        primitive_rows::<TimestampMicrosecondType>(args.rows, Type::Instant.arrow(), |row| {
            civil::to_utc(some!(values.get(row)), zone).map(Some)
        })
    })
}

/// Seconds (0) or milliseconds (3) since 1970.
pub(crate) fn instant_of_number(precision: i64) -> Kernel {
    let unit = if precision == 0 { civil::SECOND } else { 1_000 };
    Arc::new(move |args: &Args| {
        let values = args.longs(0);
        primitive_rows::<TimestampMicrosecondType>(args.rows, Type::Instant.arrow(), |row| {
            let value = some!(values.get(row)).checked_mul(unit);
            value.filter(|v| civil::date_time(*v).is_some()).map(Some).ok_or_else(|| out_of_range("a point in time"))
        })
    })
}

/// Whole seconds since 1970.
pub(crate) fn unix_seconds() -> Kernel {
    Arc::new(|args: &Args| {
        let values = args.numbers::<TimestampMicrosecondType>(0);
        primitive_rows::<Int64Type>(args.rows, DataType::Int64, |row| {
            Ok(values.get(row).map(|v| v.div_euclid(civil::SECOND)))
        })
    })
}
