//! CAST and TRY_CAST: every value exactly, or rounded as PostgreSQL rounds, or refused; never wrapped, never NULL.

mod print;
mod read;

use super::float::Real;
use super::number::{fits, rescale, too_wide};
use super::time::civil;
use super::{Args, Evaluated, Kernel, boolean_rows, out_of_range, primitive_rows, text_rows};
use crate::types::Type;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::i256;
use arrow_cast::CastOptions;
use arrow_schema::DataType;
use chrono_tz::Tz;
use dujiang_core::{Code, Error};
use read::Cell;
use std::sync::Arc;

/// What a value becomes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub ty: Type,
    /// Characters of CHAR(n) and VARCHAR(n), digits of a second of TIME(p) and TIMESTAMP(p).
    pub limit: Option<u32>,
    /// CHAR: blanks at the end do not count.
    pub padded: bool,
}

impl Target {
    pub fn plain(ty: Type) -> Self {
        Self { ty, limit: None, padded: false }
    }
}

/// Whether PostgreSQL, or the dialect, knows a way from one type to the other.
pub(crate) fn possible(from: &Type, to: &Type) -> bool {
    use Type::*;
    if from == to || matches!(from, Null) {
        return true;
    }
    let simple = |t: &Type| !matches!(t, Array(_) | Map(..) | Row(_) | Interval | Null);
    match (from, to) {
        (Text, _) => simple(to) && *to != Variant,
        (Variant, _) => simple(to) && (to.is_number() || matches!(to, Text | Boolean)),
        (_, Text) => simple(from),
        _ if from.is_number() && to.is_number() => true,
        (Boolean, t) | (t, Boolean) => t.is_integer(),
        (Date, Timestamp | Instant) | (Timestamp | Instant, Date) => true,
        (Timestamp, Instant) | (Instant, Timestamp) => true,
        (Timestamp | Instant, Time) | (Time, Duration) | (Duration, Time) => true,
        _ => false,
    }
}

/// The code of a conversion that is [`possible`].
pub(crate) fn kernel(from: &Type, target: &Target, lenient: bool, zone: Tz) -> Kernel {
    if let Some(quick) = widening(from, target) {
        return quick;
    }
    let (from, target) = (from.clone(), target.clone());
    Arc::new(move |args: &Args| {
        let (column, one) = args.raw(0);
        let cast = Cast { from: &from, target: &target, lenient, zone, column, one };
        cast.rows(args.rows)
    })
}

/// Conversions that Arrow does exactly and fast.
fn widening(from: &Type, target: &Target) -> Option<Kernel> {
    use Type::*;
    let exact = match (from, &target.ty) {
        (Float, Double) => true,
        (a, Double | Decimal(38, _)) if a.is_integer() => {
            *a != BigInt || target.ty == Double || fits_bigint(&target.ty)
        }
        (a, b) => a.is_integer() && b.is_integer() && a.digits() < b.digits(),
    };
    if !exact || target.limit.is_some() {
        return None;
    }
    let to = target.ty.arrow();
    Some(Arc::new(move |args: &Args| {
        let (column, one) = args.raw(0);
        let cast = arrow_cast(column, &to)?;
        if !one || args.rows == 1 { Ok(cast) } else { repeat(&cast, args.rows) }
    }))
}

fn fits_bigint(ty: &Type) -> bool {
    matches!(ty, Type::Decimal(38, s) if *s <= 19)
}

fn repeat(one: &ArrayRef, rows: usize) -> Evaluated {
    let indices = arrow_array::UInt32Array::from(vec![0; rows]);
    arrow_select::take::take(one, &indices, None).map_err(super::arrow_error)
}

/// Arrow's own conversion; anything it cannot represent is an error.
pub(crate) fn arrow_cast(column: &ArrayRef, to: &DataType) -> Evaluated {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    arrow_cast::cast_with_options(column, to, &options).map_err(|e| {
        Error::new(Code::ValueOutOfRange, format!("a value of type {} does not fit {to}", column.data_type()))
            .with_source(e)
    })
}

struct Cast<'a> {
    from: &'a Type,
    target: &'a Target,
    lenient: bool,
    zone: Tz,
    column: &'a ArrayRef,
    one: bool,
}

impl Cast<'_> {
    fn rows(&self, rows: usize) -> Evaluated {
        match &self.target.ty {
            Type::Boolean => boolean_rows(rows, |row| self.with(row, |c| self.boolean(c))),
            Type::TinyInt => self.integers::<Int8Type>(rows),
            Type::SmallInt => self.integers::<Int16Type>(rows),
            Type::Int => self.integers::<Int32Type>(rows),
            Type::BigInt => self.integers::<Int64Type>(rows),
            Type::Decimal(p, s) => primitive_rows::<Decimal128Type>(rows, DataType::Decimal128(*p, *s), |row| {
                self.with(row, |c| fits(self.decimal(c, *s)?, *p).ok_or_else(|| too_wide(*p, *s)))
            }),
            Type::WideDecimal(p, s) => primitive_rows::<Decimal256Type>(rows, DataType::Decimal256(*p, *s), |row| {
                self.with(row, |c| self.decimal(c, *s))
            }),
            Type::Float => {
                primitive_rows::<Float32Type>(rows, DataType::Float32, |row| self.with(row, |c| self.float(c)))
            }
            Type::Double => {
                primitive_rows::<Float64Type>(rows, DataType::Float64, |row| self.with(row, |c| self.double(c)))
            }
            Type::Text => self.texts(rows),
            Type::Bytes => self.bytes(rows),
            Type::Date => primitive_rows::<Date32Type>(rows, DataType::Date32, |row| self.with(row, |c| self.date(c))),
            ty @ (Type::Time | Type::Duration | Type::Timestamp | Type::Instant) => self.times(rows, ty),
            other => Err(Error::new(Code::Bug, format!("no conversion to {other}"))),
        }
    }

    fn with<T>(&self, row: usize, convert: impl FnOnce(Cell<'_>) -> Result<T, Error>) -> Result<Option<T>, Error> {
        let row = if self.one { 0 } else { row };
        if self.column.is_null(row) || *self.from == Type::Null {
            return Ok(None);
        }
        let json;
        let mut cell = read::cell(self.column.as_ref(), self.from, row);
        if *self.from == Type::Variant
            && let Cell::Text(text) = cell
        {
            match super::variant::scalar_text(text)? {
                None => return Ok(None),
                Some(text) => json = text,
            }
            cell = Cell::Text(&json);
        }
        match convert(cell) {
            Err(_) if self.lenient => Ok(None),
            result => result.map(Some),
        }
    }

    fn refuse(&self, cell: &Cell<'_>) -> Error {
        let mut text = String::new();
        print::print(cell, self.zone, &mut text);
        let shown: String = text.chars().take(100).collect();
        Error::new(Code::BadCast, format!("'{shown}' is no {}", self.target.ty))
            .help("mend the value at the source, or use TRY_CAST, which gives NULL instead")
    }

    fn boolean(&self, cell: Cell<'_>) -> Result<bool, Error> {
        match cell {
            Cell::Boolean(value) => Ok(value),
            Cell::Integer(value) => Ok(value != 0),
            Cell::Text(text) => read::boolean(text).ok_or_else(|| self.refuse(&cell)),
            _ => Err(self.refuse(&cell)),
        }
    }

    fn integers<T: ArrowPrimitiveType>(&self, rows: usize) -> Evaluated
    where
        T::Native: TryFrom<i64>,
    {
        primitive_rows::<T>(rows, T::DATA_TYPE, |row| {
            self.with(row, |cell| {
                T::Native::try_from(self.integer(cell)?)
                    .map_err(|_| out_of_range(&format!("a value for {}", self.target.ty)))
            })
        })
    }

    fn integer(&self, cell: Cell<'_>) -> Result<i64, Error> {
        let range = || out_of_range(&format!("a value for {}", self.target.ty));
        match cell {
            Cell::Integer(value) => Ok(value),
            Cell::Boolean(value) => Ok(i64::from(value)),
            Cell::Decimal(value, scale) => {
                let whole = rescale(value, scale, 0).and_then(|v| v.to_i128()).ok_or_else(range)?;
                i64::try_from(whole).map_err(|_| range())
            }
            Cell::Float(value) => whole(f64::from(value)).ok_or_else(range),
            Cell::Double(value) => whole(value).ok_or_else(range),
            Cell::Text(text) if *self.from == Type::Variant => {
                let value = read::decimal(text, 0).ok_or_else(|| self.refuse(&cell))?;
                value.to_i128().and_then(|v| i64::try_from(v).ok()).ok_or_else(range)
            }
            Cell::Text(text) => match read::integer(text) {
                Some(value) => i64::try_from(value).map_err(|_| range()),
                None => Err(self.refuse(&cell)),
            },
            _ => Err(self.refuse(&cell)),
        }
    }

    fn decimal(&self, cell: Cell<'_>, scale: i8) -> Result<i256, Error> {
        let range = || out_of_range(&format!("a value for {}", self.target.ty));
        let mut digits = String::new();
        match cell {
            Cell::Integer(value) => rescale(i256::from_i128(value.into()), 0, scale).ok_or_else(range),
            Cell::Decimal(value, from) => rescale(value, from, scale).ok_or_else(range),
            Cell::Text(text) => read::decimal(text, scale).ok_or_else(|| self.refuse(&cell)),
            // As PostgreSQL: the digits that a float of this width certainly holds.
            Cell::Float(value) if value.is_finite() => {
                digits.push_str(&format!("{value:.5e}"));
                read::decimal(&digits, scale).ok_or_else(range)
            }
            Cell::Double(value) if value.is_finite() => {
                digits.push_str(&format!("{value:.14e}"));
                read::decimal(&digits, scale).ok_or_else(range)
            }
            _ => Err(self.refuse(&cell)),
        }
    }

    fn double(&self, cell: Cell<'_>) -> Result<f64, Error> {
        match cell {
            Cell::Integer(value) => Ok(value as f64),
            Cell::Float(value) => Ok(f64::from(value)),
            Cell::Double(value) => Ok(value),
            Cell::Decimal(..) => {
                let mut text = String::new();
                print::print(&cell, self.zone, &mut text);
                text.parse().map_err(|_| self.refuse(&cell))
            }
            Cell::Text(text) => self.parsed_float::<f64>(text, &cell),
            _ => Err(self.refuse(&cell)),
        }
    }

    fn float(&self, cell: Cell<'_>) -> Result<f32, Error> {
        if let Cell::Text(text) = cell {
            return self.parsed_float::<f32>(text, &cell);
        }
        let wide = self.double(cell)?;
        let narrow = wide as f32;
        if (narrow.is_infinite() && wide.is_finite()) || (narrow == 0.0 && wide != 0.0) {
            return Err(out_of_range("a value for FLOAT"));
        }
        Ok(narrow)
    }

    fn parsed_float<R: Real + std::str::FromStr>(&self, text: &str, cell: &Cell<'_>) -> Result<R, Error> {
        let trimmed = text.trim_matches(read::is_space);
        let value: R = read::float(trimmed).ok_or_else(|| self.refuse(cell))?;
        let names_infinity = trimmed.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
        let lost = value == R::ZERO
            && trimmed
                .split(['e', 'E'])
                .next()
                .is_some_and(|m| m.contains(['1', '2', '3', '4', '5', '6', '7', '8', '9']));
        if (value.infinite() && !names_infinity) || lost {
            return Err(out_of_range(&format!("a value for {}", self.target.ty)));
        }
        Ok(value)
    }

    fn texts(&self, rows: usize) -> Evaluated {
        text_rows(rows, |row, out| {
            self.with(row, |cell| {
                if let Cell::Bytes(bytes) = cell {
                    out.push_str(std::str::from_utf8(bytes).map_err(|_| {
                        Error::new(Code::BadCast, "bytes that are not UTF-8 are no text")
                            .help("TO_BASE64 gives a text for any bytes")
                    })?);
                } else {
                    print::print(&cell, self.zone, out);
                }
                self.limit_text(out);
                Ok(())
            })
        })
    }

    fn limit_text(&self, out: &mut String) {
        if let Some(limit) = self.target.limit
            && let Some((end, _)) = out.char_indices().nth(limit as usize)
        {
            out.truncate(end);
        }
        if self.target.padded {
            out.truncate(out.trim_end_matches(' ').len());
        }
    }

    fn bytes(&self, rows: usize) -> Evaluated {
        let mut builder = arrow_array::builder::BinaryBuilder::new();
        for row in 0..rows {
            let value = self.with(row, |cell| match cell {
                Cell::Text(text) => Ok(text.as_bytes().to_vec()),
                Cell::Bytes(bytes) => Ok(bytes.to_vec()),
                _ => Err(self.refuse(&cell)),
            })?;
            builder.append_option(
                value.map(|v| v[..v.len().min(self.target.limit.map_or(v.len(), |n| n as usize))].to_vec()),
            );
        }
        Ok(Arc::new(builder.finish()))
    }

    fn date(&self, cell: Cell<'_>) -> Result<i32, Error> {
        match cell {
            Cell::Date(days) => Ok(days),
            Cell::Timestamp(micros) => Ok(civil::day_of(micros)),
            Cell::Instant(micros) => Ok(civil::day_of(civil::to_local(micros, self.zone)?)),
            Cell::Text(text) => match civil::read_timestamp(text) {
                Some(read) => Ok(civil::day_of(read.micros)),
                None => Err(self.refuse(&cell)),
            },
            _ => Err(self.refuse(&cell)),
        }
    }

    fn times(&self, rows: usize, ty: &Type) -> Evaluated {
        let value = |row| {
            self.with(row, |cell| {
                let micros = match ty {
                    Type::Timestamp => self.timestamp(cell)?,
                    Type::Instant => self.instant(cell)?,
                    _ => self.time(cell)?,
                };
                Ok(civil::rounded(micros, self.target.limit.unwrap_or(6)))
            })
        };
        match ty {
            Type::Time => primitive_rows::<Time64MicrosecondType>(rows, ty.arrow(), value),
            Type::Duration => primitive_rows::<DurationMicrosecondType>(rows, ty.arrow(), value),
            _ => primitive_rows::<TimestampMicrosecondType>(rows, ty.arrow(), value),
        }
    }

    fn timestamp(&self, cell: Cell<'_>) -> Result<i64, Error> {
        match cell {
            Cell::Timestamp(micros) => Ok(micros),
            Cell::Date(days) => civil::midnight(days),
            Cell::Instant(micros) => civil::to_local(micros, self.zone),
            Cell::Text(text) => civil::read_timestamp(text).map(|t| t.micros).ok_or_else(|| self.refuse(&cell)),
            _ => Err(self.refuse(&cell)),
        }
    }

    fn instant(&self, cell: Cell<'_>) -> Result<i64, Error> {
        match cell {
            Cell::Instant(micros) => Ok(micros),
            Cell::Timestamp(micros) => civil::to_utc(micros, self.zone),
            Cell::Date(days) => civil::to_utc(civil::midnight(days)?, self.zone),
            Cell::Text(text) => match civil::read_timestamp(text) {
                Some(civil::ReadTime { micros, offset: Some(seconds) }) => {
                    micros.checked_sub(seconds * civil::SECOND).ok_or_else(civil::beyond)
                }
                Some(read) => civil::to_utc(read.micros, self.zone),
                None => Err(self.refuse(&cell)),
            },
            _ => Err(self.refuse(&cell)),
        }
    }

    fn time(&self, cell: Cell<'_>) -> Result<i64, Error> {
        let duration = self.target.ty == Type::Duration;
        match cell {
            Cell::Time(micros) if duration || (0..=civil::DAY).contains(&micros) => Ok(micros),
            Cell::Time(_) => Err(out_of_range("a time of day")),
            Cell::Timestamp(micros) => Ok(micros.rem_euclid(civil::DAY)),
            Cell::Instant(micros) => Ok(civil::to_local(micros, self.zone)?.rem_euclid(civil::DAY)),
            Cell::Text(text) => civil::read_time(text, duration).ok_or_else(|| self.refuse(&cell)),
            _ => Err(self.refuse(&cell)),
        }
    }
}

/// The nearest whole number, halves to even; `None` beyond 8 bytes.
fn whole(value: f64) -> Option<i64> {
    let value = value.round_ties_even();
    let limit = 9_223_372_036_854_775_808.0;
    (value >= -limit && value < limit).then_some(value as i64)
}
