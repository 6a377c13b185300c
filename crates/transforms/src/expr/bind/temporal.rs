//! Days and times plus and minus intervals, and the difference of two of them.

use super::super::ast::{Binary, Span};
use super::literal::IntervalValue;
use super::{Binder, Bound, Typed, type_error};
use crate::eval::cast::Target;
use crate::eval::time::arithmetic::{self, Step};
use crate::types::Type;

impl Binder<'_> {
    /// The result when one side is an interval or both are points in time; `None` for other operands.
    pub(super) fn temporal(&self, op: Binary, left: &Typed, right: &Typed, span: &Span) -> Option<Bound> {
        let (base, interval) = match (left.interval, right.interval) {
            (None, Some(interval)) => (left, interval),
            (Some(interval), None) if op == Binary::Add => (right, interval),
            (None, None) if op == Binary::Subtract && left.ty == Type::Date && right.ty == Type::Date => {
                return Some(Ok(self.call(
                    "-",
                    arithmetic::days_between(),
                    vec![left.clone(), right.clone()],
                    Type::Int,
                )));
            }
            (None, None) => return None,
            _ => return Some(Err(not_possible(span))),
        };
        let sign = match op {
            Binary::Add => 1,
            Binary::Subtract => -1,
            _ => return Some(Err(not_possible(span))),
        };
        let base = if base.is_string {
            match self.coerce(base.clone(), &Type::Timestamp, "a point in time") {
                Ok(base) => base,
                Err(error) => return Some(Err(error)),
            }
        } else {
            base.clone()
        };
        let IntervalValue { months, days, micros } = interval;
        let step = Step { months: months * sign, days: days * sign, micros: micros * sign };
        Some(self.shifted(base, step, span))
    }

    fn shifted(&self, base: Typed, step: Step, span: &Span) -> Bound {
        let base = match base.ty {
            Type::Null => self.cast(base, Target::plain(Type::Timestamp), false),
            // As PostgreSQL: a day plus an interval is a point in time.
            Type::Date => self.cast(base, Target::plain(Type::Timestamp), false),
            Type::Timestamp | Type::Instant | Type::Time | Type::Duration => base,
            _ => {
                return Err(type_error(span.clone(), format!("an INTERVAL cannot be added to {}", base.ty))
                    .help("it can be added to DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ"));
            }
        };
        let ty = base.ty.clone();
        Ok(self.call("interval", arithmetic::shift(&ty, step, self.zone), vec![base], ty))
    }
}

fn not_possible(span: &Span) -> crate::error::SqlError {
    type_error(span.clone(), "an INTERVAL can only be added to, or subtracted from, a day or a time")
}
