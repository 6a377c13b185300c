//! Functions on days and times.

use super::super::super::ast::{Kind, Node, Span};
use super::super::super::input::{InputKind, Meta};
use super::super::{Binder, Bound, Typed, type_error};
use super::Call;
use crate::error::{SqlError, nearest};
use crate::eval::cast::Target;
use crate::eval::time::arithmetic::{self, Unit};
use crate::eval::time::pattern::Pattern;
use crate::eval::time::{extract, format};
use crate::types::Type;

pub(super) const NAMES: &[&str] = &[
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "CURRENT_TIME",
    "CURRENT_DATE",
    "CURRENT_TIMESTAMP",
    "NOW",
    "UNIX_TIMESTAMP",
    "FROM_UNIXTIME",
    "DATE_FORMAT",
    "DATE_FORMAT_TZ",
    "TO_DATE",
    "TO_TIMESTAMP",
    "TO_TIMESTAMP_LTZ",
    "DATE_ADD",
    "EXTRACT",
    "YEAR",
    "QUARTER",
    "MONTH",
    "WEEK",
    "DAYOFYEAR",
    "DAYOFMONTH",
    "DAYOFWEEK",
    "HOUR",
    "MINUTE",
    "SECOND",
];

impl Binder<'_> {
    pub(super) fn time_call(&mut self, call: &Call, args: Vec<Typed>) -> Bound {
        match call.name {
            "LOCALTIME" | "LOCALTIMESTAMP" | "CURRENT_TIME" | "CURRENT_DATE" | "CURRENT_TIMESTAMP" | "NOW" => {
                call.arity(args.len(), 0, 1)?;
                Ok(self.now(call))
            }
            "UNIX_TIMESTAMP" => self.unix_timestamp(call, args),
            "FROM_UNIXTIME" => {
                call.arity(args.len(), 1, 2)?;
                let seconds = self.argument(call, &args, 0, &Type::BigInt)?;
                self.formatted(call, seconds, args.get(1).cloned(), format::from_unixtime(self.zone))
            }
            "DATE_FORMAT" | "DATE_FORMAT_TZ" => self.date_format(call, args),
            "TO_DATE" | "TO_TIMESTAMP" | "TO_TIMESTAMP_LTZ" => self.parsed(call, args),
            "DATE_ADD" => self.date_add(call, args),
            "EXTRACT" => {
                let unit = args[0].text_constant().unwrap_or_default().to_owned();
                self.extract(call, &unit, args[1].clone(), args[0].span.clone())
            }
            name => {
                call.arity(args.len(), 1, 1)?;
                self.extract(call, name, args[0].clone(), call.name_span.clone())
            }
        }
    }

    fn now(&mut self, call: &Call) -> Typed {
        let now = self.input(InputKind::Meta(Meta::Now), Type::Instant, false, call.span.clone());
        let ty = match call.name {
            "LOCALTIME" | "CURRENT_TIME" => Type::Time,
            "LOCALTIMESTAMP" => Type::Timestamp,
            "CURRENT_DATE" => Type::Date,
            _ => Type::Instant,
        };
        self.cast(now, Target::plain(ty), false)
    }

    fn unix_timestamp(&mut self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 0, 2)?;
        let instant = match args.first() {
            None => self.input(InputKind::Meta(Meta::Now), Type::Instant, false, call.span.clone()),
            Some(first) if !first.is_string && matches!(first.ty, Type::Date | Type::Timestamp | Type::Instant) => {
                self.cast(first.clone(), Target::plain(Type::Instant), false)
            }
            Some(_) => {
                let local = self.read_text(call, &args, "yyyy-MM-dd HH:mm:ss", Type::Timestamp)?;
                self.cast(local, Target::plain(Type::Instant), false)
            }
        };
        Ok(self.call(call.name, format::unix_seconds(), vec![instant], Type::BigInt))
    }

    /// Text in the given pattern (argument 1) or the usual one.
    fn formatted(&self, call: &Call, value: Typed, pattern: Option<Typed>, kernel: format::PatternKernel) -> Bound {
        let Some(pattern) = pattern else {
            let usual = super::super::literal::text("yyyy-MM-dd HH:mm:ss", call.span.clone());
            return Ok(self.call(call.name, kernel.with(None), vec![value, usual], Type::Text));
        };
        let pattern = self.coerce(pattern, &Type::Text, "the pattern")?;
        let fixed = fixed_pattern(&pattern)?;
        Ok(self.call(call.name, kernel.with(fixed), vec![value, pattern], Type::Text))
    }

    fn date_format(&self, call: &Call, args: Vec<Typed>) -> Bound {
        let with_zone = call.name == "DATE_FORMAT_TZ";
        let zoned = with_zone && args.len() == 3;
        call.arity(args.len(), 2, if with_zone { 3 } else { 2 })?;
        let value = match args[0].ty {
            Type::Date | Type::Time | Type::Timestamp | Type::Instant => args[0].clone(),
            Type::Text | Type::Null => self.cast(args[0].clone(), Target::plain(Type::Timestamp), false),
            _ => self.argument(call, &args, 0, &Type::Timestamp)?,
        };
        if !zoned {
            let kernel = format::date_format(&value.ty, self.zone);
            return self.formatted(call, value, args.get(1).cloned(), kernel);
        }
        let zone_node = self.argument(call, &args, 2, &Type::Text)?;
        let Some(zone) = zone_node.text_constant().and_then(|name| name.parse::<chrono_tz::Tz>().ok()) else {
            return Err(type_error(zone_node.span, "the time zone must be a constant such as 'Asia/Shanghai'"));
        };
        let value = self.cast(value, Target::plain(Type::Instant), false);
        let kernel = format::date_format(&Type::Instant, zone);
        self.formatted(call, value, args.get(1).cloned(), kernel)
    }

    fn parsed(&self, call: &Call, args: Vec<Typed>) -> Bound {
        let ltz = call.name == "TO_TIMESTAMP_LTZ";
        call.arity(args.len(), 1, if ltz { 3 } else { 2 })?;
        let out = match call.name {
            "TO_DATE" => Type::Date,
            "TO_TIMESTAMP" => Type::Timestamp,
            _ => Type::Instant,
        };
        if ltz && args[0].ty.is_number() {
            return self.instant_of_number(call, args);
        }
        if matches!(args[0].ty, Type::Date | Type::Timestamp | Type::Instant) && args.len() == 1 {
            return Ok(self.cast(args[0].clone(), Target::plain(out), false));
        }
        let usual = if call.name == "TO_DATE" { "yyyy-MM-dd" } else { "yyyy-MM-dd HH:mm:ss" };
        if out == Type::Instant {
            let local = self.read_text(call, &args, usual, Type::Timestamp)?;
            let zone = self.zone_argument(call, &args)?;
            return Ok(self.call(call.name, format::to_instant(zone), vec![local], Type::Instant));
        }
        self.read_text(call, &args, usual, out)
    }

    fn zone_argument(&self, call: &Call, args: &[Typed]) -> Result<chrono_tz::Tz, SqlError> {
        if args.len() < 3 {
            return Ok(self.zone);
        }
        let zone = self.argument(call, args, 2, &Type::Text)?;
        let named = zone.text_constant().and_then(|name| name.parse().ok());
        named.ok_or_else(|| type_error(zone.span, "the time zone must be a constant such as 'Asia/Shanghai'"))
    }

    /// Text read by a pattern; without one, what CAST reads.
    fn read_text(&self, call: &Call, args: &[Typed], usual: &str, out: Type) -> Bound {
        let text = self.argument(call, args, 0, &Type::Text)?;
        if args.len() < 2 {
            return Ok(self.cast(text, Target::plain(out), false));
        }
        let pattern = self.argument(call, args, 1, &Type::Text)?;
        let fixed = fixed_pattern(&pattern)?;
        let _ = usual;
        Ok(self.call(call.name, format::parse(&out, fixed), vec![text, pattern], out))
    }

    /// Seconds (precision 0) or milliseconds (3, and by itself) since 1970.
    fn instant_of_number(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 1, 2)?;
        let value = self.argument(call, &args, 0, &Type::BigInt)?;
        let precision = match args.get(1) {
            None => 3,
            Some(p) => match p.integer_constant() {
                Some(p @ (0 | 3)) => p,
                _ => return Err(type_error(p.span.clone(), "the precision is 0 for seconds or 3 for milliseconds")),
            },
        };
        Ok(self.call(call.name, format::instant_of_number(precision), vec![value], Type::Instant))
    }

    /// DATE_ADD(day, days) is text in the dialect.
    fn date_add(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 2, 2)?;
        let day = if args[0].ty == Type::Date {
            args[0].clone()
        } else {
            let possible = crate::eval::cast::possible(&args[0].ty, &Type::Date);
            if !possible {
                return Err(type_error(
                    args[0].span.clone(),
                    format!("DATE_ADD needs a day, and this is {}", args[0].ty),
                ));
            }
            self.cast(args[0].clone(), Target::plain(Type::Date), false)
        };
        let days = self.argument(call, &args, 1, &Type::BigInt)?;
        let sum = self.call(call.name, arithmetic::add_days(), vec![day, days], Type::Date);
        Ok(self.cast(sum, Target::plain(Type::Text), false))
    }

    fn extract(&self, call: &Call, unit: &str, value: Typed, unit_span: Span) -> Bound {
        let Some(part) = extract::Part::named(unit) else {
            return Err(type_error(unit_span, format!("{unit} is no part of a time"))
                .help("YEAR, QUARTER, MONTH, WEEK, DAY, DOW, DOY, HOUR, MINUTE, SECOND, MILLISECOND and EPOCH are"));
        };
        let value = if value.is_string || value.ty == Type::Null {
            self.coerce(value, &Type::Timestamp, "a time")?
        } else {
            value
        };
        let value =
            if value.ty == Type::Instant { self.cast(value, Target::plain(Type::Timestamp), false) } else { value };
        let fits = match value.ty {
            Type::Date => true,
            Type::Timestamp => true,
            Type::Time | Type::Duration => part.of_clock(),
            _ => false,
        };
        if !fits {
            return Err(type_error(
                value.span.clone(),
                format!("{} {} cannot be taken of {}", call.name, unit, value.ty),
            ));
        }
        let ty = value.ty.clone();
        Ok(self.call("EXTRACT", extract::extract(part, &ty), vec![value], Type::BigInt))
    }

    /// TIMESTAMPADD(unit, count, time) and TIMESTAMPDIFF(unit, from, to).
    pub(super) fn time_with_unit(&mut self, call: &Call, args: &[Node]) -> Bound {
        call.arity(args.len(), 3, 3)?;
        let unit = unit(&args[0]);
        let bound = self.parts(&args[1..])?;
        let unit = unit?;
        if call.name == "TIMESTAMPADD" {
            let count = self.argument(call, &bound, 0, &Type::BigInt)?;
            let time = match bound[1].ty {
                Type::Date if !unit.of_clock() => bound[1].clone(),
                Type::Timestamp | Type::Instant => bound[1].clone(),
                _ => self.coerce(bound[1].clone(), &Type::Timestamp, "argument 3 of TIMESTAMPADD")?,
            };
            let ty = time.ty.clone();
            return Ok(self.call(call.name, arithmetic::add(unit, &ty, self.zone), vec![count, time], ty));
        }
        let instant = bound.iter().any(|b| b.ty == Type::Instant);
        let common = if instant { Type::Instant } else { Type::Timestamp };
        let operands = bound.iter().enumerate().map(|(i, b)| self.coerce(b.clone(), &common, &call.argument(i + 1)));
        let operands = operands.collect::<Result<Vec<_>, _>>()?;
        let local = operands.into_iter().map(|o| self.cast(o, Target::plain(Type::Timestamp), false)).collect();
        Ok(self.call(call.name, arithmetic::difference(unit), local, Type::BigInt))
    }
}

fn unit(node: &Node) -> Result<Unit, SqlError> {
    let name = match &node.kind {
        Kind::Name(parts) if parts.len() == 1 => parts[0].0.to_ascii_uppercase(),
        Kind::Text(text) => text.to_ascii_uppercase(),
        _ => String::new(),
    };
    Unit::named(&name).ok_or_else(|| {
        let error = type_error(node.span.clone(), "this is no unit of time");
        match nearest(&name, Unit::NAMES.iter().copied()) {
            Some(near) => error.help(format!("did you mean {near}?")),
            None => error.help(format!("write one of {}", Unit::NAMES.join(", "))),
        }
    })
}

/// A pattern that is written down is read once, and before the first row.
fn fixed_pattern(pattern: &Typed) -> Result<Option<Pattern>, SqlError> {
    let Some(text) = pattern.text_constant() else { return Ok(None) };
    Pattern::read(text)
        .map(Some)
        .map_err(|why| type_error(pattern.span.clone(), format!("this is no pattern of a time: {why}")))
}
