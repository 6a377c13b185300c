//! Types as written, CAST, and the conversions that happen by themselves.

use super::super::ast::{Node, Span, TypeName};
use super::{Binder, Bound, Typed, type_error};
use crate::error::{SqlError, nearest};
use crate::eval::cast::{self, Target};
use crate::types::Type;

const TYPES: &[&str] = &[
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "DEC",
    "CHAR",
    "CHARACTER",
    "VARCHAR",
    "STRING",
    "BINARY",
    "VARBINARY",
    "BYTES",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
];

/// What a type as written means.
pub(super) fn target(name: &TypeName, span: Span) -> Result<Target, SqlError> {
    let plain = |ty| Ok(Target::plain(ty));
    let limited = |ty, padded| Ok(Target { ty, limit: name.arguments.first().copied(), padded });
    if name.arguments.len() > usize::from(takes(&name.name)) {
        return Err(type_error(span, format!("{} takes {} numbers in brackets", name.name, takes(&name.name))));
    }
    match name.name.as_str() {
        "BOOLEAN" => plain(Type::Boolean),
        "TINYINT" => plain(Type::TinyInt),
        "SMALLINT" => plain(Type::SmallInt),
        "INT" | "INTEGER" => plain(Type::Int),
        "BIGINT" => plain(Type::BigInt),
        "FLOAT" | "REAL" => plain(Type::Float),
        "DOUBLE" => plain(Type::Double),
        "DECIMAL" | "NUMERIC" | "DEC" => plain(decimal(&name.arguments, span)?),
        "CHAR" | "CHARACTER" => {
            Ok(Target { ty: Type::Text, limit: Some(name.arguments.first().copied().unwrap_or(1)), padded: true })
        }
        "VARCHAR" | "STRING" => limited(Type::Text, false),
        "BINARY" | "VARBINARY" | "BYTES" => limited(Type::Bytes, false),
        "DATE" => plain(Type::Date),
        "TIME" | "TIMESTAMP" | "TIMESTAMP_LTZ" => {
            if name.arguments.first().is_some_and(|digits| *digits > 6) {
                return Err(type_error(span, "times have at most 6 digits of a second").help("write 6 or less"));
            }
            let ty = match name.name.as_str() {
                "TIME" => Type::Time,
                "TIMESTAMP" => Type::Timestamp,
                _ => Type::Instant,
            };
            limited(ty, false)
        }
        other => {
            let error = type_error(span, format!("unknown type {other}"));
            Err(match nearest(other, TYPES.iter().copied()) {
                Some(near) => error.help(format!("did you mean {near}?")),
                None => error.help("the types one can cast to are BOOLEAN, integers, FLOAT, DOUBLE, DECIMAL, CHAR, VARCHAR, STRING, BYTES, DATE, TIME, TIMESTAMP and TIMESTAMP_LTZ"),
            })
        }
    }
}

fn takes(name: &str) -> u8 {
    match name {
        "DECIMAL" | "NUMERIC" | "DEC" => 2,
        "CHAR" | "CHARACTER" | "VARCHAR" | "BINARY" | "VARBINARY" | "TIME" | "TIMESTAMP" | "TIMESTAMP_LTZ" => 1,
        _ => 0,
    }
}

fn decimal(arguments: &[u32], span: Span) -> Result<Type, SqlError> {
    let precision = arguments.first().copied().unwrap_or(10);
    let scale = arguments.get(1).copied().unwrap_or(0);
    if precision == 0 || precision > 38 || scale > precision {
        return Err(type_error(span, format!("DECIMAL({precision}, {scale}) does not exist"))
            .help("a DECIMAL has 1 to 38 digits, and no more than these after the point"));
    }
    Ok(Type::Decimal(precision as u8, scale as i8))
}

impl Binder<'_> {
    pub(super) fn cast_node(
        &mut self,
        operand: &Node,
        name: &TypeName,
        target_span: Span,
        lenient: bool,
        span: Span,
    ) -> Bound {
        let target = target(name, target_span);
        let operand = self.part(operand)?;
        let target = target?;
        if !cast::possible(&operand.ty, &target.ty) {
            return Err(type_error(span, format!("{} cannot be cast to {}", operand.ty, target.ty)));
        }
        Ok(self.cast(operand, target, lenient))
    }

    /// Converts a value; the way must be [`cast::possible`].
    pub(super) fn cast(&self, operand: Typed, target: Target, lenient: bool) -> Typed {
        if operand.ty == target.ty && target.limit.is_none() && !target.padded {
            return operand;
        }
        let span = operand.span.clone();
        let nullable = operand.nullable || lenient || operand.ty == Type::Variant;
        let kernel = cast::kernel(&operand.ty, &target, lenient, self.zone);
        let typed = self.call_nullable("cast", kernel, vec![operand], target.ty, nullable);
        Typed { span, ..typed }
    }

    /// A value in a type it takes by itself: NULL in any, a string as written in what it stands for, numbers in wider
    /// ones, days as points in time.
    pub(super) fn coerce(&self, value: Typed, to: &Type, what: &str) -> Bound {
        if value.ty == *to {
            return Ok(value);
        }
        if value.is_string && cast::possible(&Type::Text, to) {
            return self.string_as(&value, Target::plain(to.clone()));
        }
        if !widens(&value.ty, to) {
            let error = type_error(value.span.clone(), format!("{what} must be {to}, and this is {}", value.ty));
            let castable = cast::possible(&value.ty, to);
            return Err(if castable { error.help(format!("write CAST(... AS {to})")) } else { error });
        }
        if let (Type::Array(_), Type::Array(_)) = (&value.ty, to) {
            return Ok(self.cast_array(value, to));
        }
        Ok(self.cast(value, Target::plain(to.clone()), false))
    }
}

/// Whether every value of a type has its place in another, give or take the digits of a float.
fn widens(from: &Type, to: &Type) -> bool {
    use Type::*;
    match (from, to) {
        (Null, _) => true,
        (Array(a), Array(b)) => a == b || widens(a, b),
        (Date, Timestamp | Instant) | (Timestamp, Instant) | (Time, Duration) => true,
        _ if from.is_integer() && to.is_integer() => from.digits() <= to.digits(),
        _ if from.is_number() && to.is_float() => !(*from == Double && *to == Float),
        _ if from.digits().is_some() && to.is_decimal() => true,
        _ => false,
    }
}
