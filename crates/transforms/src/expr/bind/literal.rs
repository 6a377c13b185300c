//! Constants as written.

use super::super::ast::{Span, TypeName};
use super::{Binder, Bound, Typed, type_error};
use crate::error::SqlError;
use crate::eval::cast::Target;
use crate::eval::time::civil;
use crate::types::Type;
use datafusion_common::ScalarValue;
use dujiang_core::Code;

/// The length an INTERVAL literal stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IntervalValue {
    pub months: i64,
    pub days: i64,
    pub micros: i64,
}

/// Whole numbers are INT, BIGINT or DECIMAL, whichever is the first to hold them; numbers with a point DECIMAL, with an
/// exponent DOUBLE.
pub(super) fn number(digits: &str, span: Span) -> Bound {
    let plain = !digits.contains(['.', 'e', 'E']);
    if plain && let Ok(value) = digits.parse::<i32>() {
        return Ok(Typed::literal(ScalarValue::Int32(Some(value)), Type::Int, span));
    }
    if plain && let Ok(value) = digits.parse::<i64>() {
        return Ok(Typed::literal(ScalarValue::Int64(Some(value)), Type::BigInt, span));
    }
    if digits.contains(['e', 'E']) {
        let value: f64 = digits.parse().map_err(|_| too_long(span.clone()))?;
        if value.is_infinite() {
            return Err(too_long(span));
        }
        return Ok(Typed::literal(ScalarValue::Float64(Some(value)), Type::Double, span));
    }
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let negative = before.starts_with('-');
    let all: String = format!("{}{after}", before.trim_start_matches('-'));
    let significant = all.trim_start_matches('0').len().max(after.len()).max(1);
    if significant > 38 {
        return Err(too_long(span));
    }
    let value: i128 = if all.is_empty() { 0 } else { all.parse().map_err(|_| too_long(span.clone()))? };
    let value = if negative { -value } else { value };
    let (precision, scale) = (significant as u8, after.len() as i8);
    Ok(Typed::literal(ScalarValue::Decimal128(Some(value), precision, scale), Type::Decimal(precision, scale), span))
}

fn too_long(span: Span) -> SqlError {
    type_error(span, "this number is too large")
        .help("a number has at most 38 digits; write it with an exponent for DOUBLE")
}

pub(super) fn text(text: &str, span: Span) -> Typed {
    let value = ScalarValue::Utf8(Some(text.to_owned()));
    Typed { is_string: true, ..Typed::literal(value, Type::Text, span) }
}

impl Binder<'_> {
    /// `DATE '2026-11-20'`
    pub(super) fn typed_text(&mut self, name: &TypeName, content: &str, span: Span) -> Bound {
        let target = super::casts::target(name, span.clone())?;
        self.string_as(&text(content, span), target)
    }

    /// A string as written, in the type it is meant to have.
    pub(super) fn string_as(&self, string: &Typed, target: Target) -> Bound {
        let ty = target.ty.clone();
        let cast = self.cast(string.clone(), target, false);
        match cast.constant {
            Some(_) => Ok(cast),
            None => {
                let content = string.text_constant().unwrap_or_default();
                let error = type_error(string.span.clone(), format!("'{content}' is no {ty}"));
                Err(match ty {
                    Type::Date => error.help("write it as '2026-11-20'"),
                    Type::Timestamp | Type::Instant => error.help("write it as '2026-11-20 12:34:56'"),
                    Type::Time => error.help("write it as '12:34:56'"),
                    _ => error,
                })
            }
        }
    }
}

/// `INTERVAL '1-2' YEAR TO MONTH`, `INTERVAL '3 04:05:06.7' DAY TO SECOND`, `INTERVAL '5' MINUTE`.
pub(super) fn interval(text: &str, from: &str, to: Option<&str>, span: Span) -> Bound {
    let wrong = || {
        SqlError::new(
            Code::SqlSyntax,
            span.clone(),
            format!("'{text}' is no interval of {from}{}", to.map_or(String::new(), |t| format!(" TO {t}"))),
        )
        .help("write it as INTERVAL '3' DAY, INTERVAL '1-2' YEAR TO MONTH or INTERVAL '1 02:03:04' DAY TO SECOND")
    };
    let trimmed = text.trim();
    let (negative, trimmed) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let value = match to {
        None => single(trimmed, from),
        Some("MONTH") if from == "YEAR" => trimmed.split_once('-').and_then(|(years, months)| {
            let months: i64 = parse_small(months).filter(|m| *m < 12)?;
            Some(IntervalValue { months: parse_small(years)? * 12 + months, days: 0, micros: 0 })
        }),
        Some(to) => day_time(trimmed, from, to),
    };
    let mut value = value.ok_or_else(wrong)?;
    if negative {
        value = IntervalValue { months: -value.months, days: -value.days, micros: -value.micros };
    }
    let typed = Typed::literal(ScalarValue::Null, Type::Interval, span.clone());
    Ok(Typed { interval: Some(value), constant: None, ..typed })
}

fn parse_small(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        None
    } else {
        text.parse().ok()
    }
}

fn single(text: &str, unit: &str) -> Option<IntervalValue> {
    let none = IntervalValue { months: 0, days: 0, micros: 0 };
    if unit == "SECOND" {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let micros = fraction_micros(fraction)?;
        return Some(IntervalValue { micros: parse_small(seconds)? * civil::SECOND + micros, ..none });
    }
    let count = parse_small(text)?;
    Some(match unit {
        "YEAR" => IntervalValue { months: count * 12, ..none },
        "QUARTER" => IntervalValue { months: count * 3, ..none },
        "MONTH" => IntervalValue { months: count, ..none },
        "WEEK" => IntervalValue { days: count * 7, ..none },
        "DAY" => IntervalValue { days: count, ..none },
        "HOUR" => IntervalValue { micros: count * civil::HOUR, ..none },
        "MINUTE" => IntervalValue { micros: count * civil::MINUTE, ..none },
        _ => return None,
    })
}

fn fraction_micros(digits: &str) -> Option<i64> {
    if digits.is_empty() || digits.len() > 6 { None } else { parse_small(&format!("{digits:0<6}")) }
}

/// Fields from days down to seconds: `DAY TO HOUR`, `HOUR TO SECOND`, ...
fn day_time(text: &str, from: &str, to: &str) -> Option<IntervalValue> {
    const UNITS: [&str; 4] = ["DAY", "HOUR", "MINUTE", "SECOND"];
    let first = UNITS.iter().position(|u| *u == from)?;
    let last = UNITS.iter().position(|u| *u == to)?;
    let fields: Vec<&str> = text.split([' ', ':']).collect();
    if first >= last || fields.len() != last - first + 1 {
        return None;
    }
    let mut value = IntervalValue { months: 0, days: 0, micros: 0 };
    for (field, unit) in fields.iter().zip(&UNITS[first..=last]) {
        let part = single(field, unit)?;
        value.days += part.days;
        value.micros += part.micros;
    }
    Some(value)
}
