//! The functions of the dialect, by subject.

use super::super::ast::{Node, Span};
use super::super::input::{InputKind, Meta};
use super::{Binder, Bound, Typed, not_row_wise, predicates, type_error};
use crate::error::{SqlError, nearest};
use crate::eval::cast::Target;
use crate::eval::number::{self, Unary};
use crate::types::{Type, decimal};
use dujiang_core::Code;

mod collections;
mod texts;
mod times;

/// Every function, for did-you-mean and the documentation.
pub(crate) fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().chain(times::NAMES).copied()
}

/// Functions other than those that `times` binds.
const FUNCTIONS: &[&str] = &[
    "ABS",
    "CEIL",
    "CEILING",
    "FLOOR",
    "ROUND",
    "UUID",
    "CHAR_LENGTH",
    "CHARACTER_LENGTH",
    "UPPER",
    "LOWER",
    "TRIM",
    "LTRIM",
    "RTRIM",
    "BTRIM",
    "REGEXP_REPLACE",
    "REGEXP_EXTRACT",
    "REGEXP_EXTRACT_ALL",
    "REGEXP_COUNT",
    "REGEXP_INSTR",
    "REGEXP_SUBSTR",
    "SUBSTR",
    "SUBSTRING",
    "OVERLAY",
    "POSITION",
    "LOCATE",
    "INSTR",
    "CONCAT",
    "CONCAT_WS",
    "LPAD",
    "RPAD",
    "REPLACE",
    "REPEAT",
    "LEFT",
    "RIGHT",
    "STARTSWITH",
    "ENDSWITH",
    "TO_BASE64",
    "FROM_BASE64",
    "FROM_BASE64_BINARY",
    "TIMESTAMPADD",
    "TIMESTAMPDIFF",
    "TIMESTAMP_DIFF",
    "COALESCE",
    "IF",
    "IFNULL",
    "NULLIF",
    "CAST",
    "TRY_CAST",
    "PARSE_JSON",
    "TRY_PARSE_JSON",
    "ARRAY",
    "MAP",
    "ROW",
    "CARDINALITY",
    "ARRAY_CONTAINS",
    "ARRAY_POSITION",
    "ELEMENT",
];

const AGGREGATES: &[&str] = &[
    "COUNT",
    "SUM",
    "AVG",
    "MIN",
    "MAX",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "VAR_POP",
    "VAR_SAMP",
    "STDDEV",
    "VARIANCE",
    "COLLECT",
    "LISTAGG",
    "STRING_AGG",
    "ARRAY_AGG",
    "JSON_OBJECTAGG",
    "JSON_ARRAYAGG",
    "FIRST_VALUE",
    "LAST_VALUE",
    "ROW_NUMBER",
    "RANK",
    "DENSE_RANK",
    "NTILE",
    "LEAD",
    "LAG",
    "GROUP_CONCAT",
    "GROUPING",
    "PERCENTILE",
];

/// A call on its way to a compiled expression.
struct Call {
    name: &'static str,
    name_span: Span,
    span: Span,
}

impl Call {
    /// Refuses another number of arguments.
    fn arity(&self, args: usize, least: usize, most: usize) -> Result<(), SqlError> {
        if (least..=most).contains(&args) {
            return Ok(());
        }
        let takes = match (least, most) {
            (0, 0) => "no argument".to_owned(),
            (1, 1) => "1 argument".to_owned(),
            _ if least == most => format!("{least} arguments"),
            _ if most == usize::MAX => format!("at least {least} arguments"),
            _ => format!("{least} to {most} arguments"),
        };
        Err(type_error(self.name_span.clone(), format!("{} takes {takes}, and here are {args}", self.name)))
    }

    fn argument(&self, index: usize) -> String {
        format!("argument {} of {}", index + 1, self.name)
    }
}

impl Binder<'_> {
    pub(super) fn call_node(&mut self, name: &str, name_span: Span, args: &[Node], span: Span) -> Bound {
        let Some(known) = functions().find(|known| *known == name) else {
            // Mistakes in the arguments are mistakes of their own.
            let _ = self.parts(args);
            return Err(unknown_function(name, name_span));
        };
        let call = Call { name: known, name_span, span: span.clone() };
        let typed = match known {
            "TIMESTAMPADD" | "TIMESTAMPDIFF" | "TIMESTAMP_DIFF" => self.time_with_unit(&call, args)?,
            _ => {
                let args = self.parts(args)?;
                if let Some(interval) = args.iter().find(|a| a.ty == Type::Interval) {
                    return Err(type_error(interval.span.clone(), "an INTERVAL can only be added or subtracted"));
                }
                self.dispatch(&call, args)?
            }
        };
        Ok(Typed { span, is_string: false, ..typed })
    }

    fn dispatch(&mut self, call: &Call, args: Vec<Typed>) -> Bound {
        match call.name {
            "ABS" | "CEIL" | "CEILING" | "FLOOR" | "ROUND" => self.number_call(call, args),
            "UUID" => {
                call.arity(args.len(), 0, 0)?;
                self.uuid(call)
            }
            "COALESCE" | "IF" | "IFNULL" | "NULLIF" => self.choice_call(call, args),
            "ARRAY" | "MAP" | "ROW" | "CARDINALITY" | "ARRAY_CONTAINS" | "ARRAY_POSITION" | "ELEMENT" => {
                self.collection_call(call, args)
            }
            "PARSE_JSON" | "TRY_PARSE_JSON" => self.json_call(call, args),
            _ if times::NAMES.contains(&call.name) => self.time_call(call, args),
            _ => self.text_call(call, args),
        }
    }

    /// An argument in the type the function takes.
    fn argument(&self, call: &Call, args: &[Typed], index: usize, ty: &Type) -> Bound {
        self.coerce(args[index].clone(), ty, &call.argument(index))
    }

    fn number_call(&self, call: &Call, mut args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 1, if call.name == "ROUND" { 2 } else { 1 })?;
        let op = match call.name {
            "ABS" => Unary::Abs,
            "CEIL" | "CEILING" => Unary::Ceil,
            "FLOOR" => Unary::Floor,
            _ => return self.round(call, args),
        };
        self.number_function(call.name, op, args.remove(0), call.span.clone())
    }

    fn round(&self, call: &Call, args: Vec<Typed>) -> Bound {
        let digits = match args.get(1) {
            Some(_) => Some(self.argument(call, &args, 1, &Type::BigInt)?),
            None => None,
        };
        let fixed = digits.as_ref().map_or(Some(0), Typed::integer_constant);
        match args[0].ty.clone() {
            Type::Float | Type::Double | Type::Null => {
                let value = self.argument(call, &args, 0, &Type::Double)?;
                let out = self.call(
                    "ROUND",
                    number::double_round(),
                    [vec![value], digits.into_iter().collect()].concat(),
                    Type::Double,
                );
                if args[0].ty == Type::Float { Ok(self.cast(out, Target::plain(Type::Float), false)) } else { Ok(out) }
            }
            ty if ty.is_integer() && fixed.is_some_and(|d| d >= 0) => Ok(args[0].clone()),
            ty if ty.is_integer() || matches!(ty, Type::Decimal(..)) => {
                let (before, scale) = ty.digits().unwrap_or((38, 0));
                let kept = fixed.map_or(scale, |d| d.clamp(0, i64::from(scale)) as i8);
                let out = decimal(u32::from(before) + 1 + kept as u32, kept, 38);
                let Type::Decimal(p, s) = out else { return Err(type_error(call.span.clone(), "no such decimal")) };
                let value = self.cast(
                    args[0].clone(),
                    Target::plain(decimal(u32::from(before) + scale as u32, scale, 38)),
                    false,
                );
                let digits = digits.unwrap_or_else(|| {
                    Typed::literal(datafusion_common::ScalarValue::Int64(Some(0)), Type::BigInt, call.span.clone())
                });
                let rounded = self.call("ROUND", number::decimal_round(scale, (p, s)), vec![value, digits], out);
                if ty.is_integer() { Ok(self.cast(rounded, Target::plain(ty), false)) } else { Ok(rounded) }
            }
            ty => Err(type_error(args[0].span.clone(), format!("ROUND needs a number, and this is {ty}"))),
        }
    }

    /// Ids made of what identifies the change, so that a change that is read again gets the same ones.
    fn uuid(&mut self, call: &Call) -> Bound {
        let identity = self.input(InputKind::Meta(Meta::Identity), Type::Text, false, call.span.clone());
        let place = self.calls_of_uuid;
        self.calls_of_uuid += 1;
        Ok(self.call("UUID", crate::eval::text::uuid(place), vec![identity], Type::Text))
    }

    fn choice_call(&mut self, call: &Call, args: Vec<Typed>) -> Bound {
        match call.name {
            "COALESCE" => call.arity(args.len(), 1, usize::MAX)?,
            "IF" => call.arity(args.len(), 3, 3)?,
            _ => call.arity(args.len(), 2, 2)?,
        }
        let span = call.span.clone();
        match call.name {
            "IF" => {
                let condition = self.truth(args[0].clone(), "the condition of IF")?;
                self.choose(vec![condition], vec![args[1].clone()], Some(args[2].clone()), span)
            }
            "NULLIF" => {
                let equal =
                    self.compare(super::super::ast::Binary::Eq, args[0].clone(), args[1].clone(), span.clone())?;
                let ty = self.common(args[..1].iter(), &span)?;
                let null = self.coerce_result(
                    Typed::literal(datafusion_common::ScalarValue::Null, Type::Null, span.clone()),
                    &ty,
                )?;
                Ok(Typed { nullable: true, ..self.choose(vec![equal], vec![null], Some(args[0].clone()), span)? })
            }
            _ => self.coalesce(args, span),
        }
    }

    fn coalesce(&self, mut args: Vec<Typed>, span: Span) -> Bound {
        let ty = self.common(args.iter(), &span)?;
        let nullable = args.iter().all(|a| a.nullable);
        let args_of_type: Result<Vec<Typed>, SqlError> = args.drain(..).map(|a| self.coerce_result(a, &ty)).collect();
        let mut args = args_of_type?;
        let Some(last) = args.pop() else { return Err(type_error(span, "COALESCE needs an argument")) };
        if args.is_empty() {
            return Ok(last);
        }
        let there = args.iter().map(|a| predicates::is_null(a.clone(), true, span.clone())).collect();
        Ok(Typed { nullable, ..self.choose(there, args, Some(last), span)? })
    }
}

pub(crate) fn unknown_function(name: &str, span: Span) -> SqlError {
    if AGGREGATES.contains(&name) {
        return not_row_wise(name, span);
    }
    if name.starts_with("AI_") {
        return SqlError::new(
            Code::NotSupported,
            span,
            format!("{name} is not supported yet: models cannot be called"),
        )
        .help("leave the column out");
    }
    let error = SqlError::new(Code::SqlUnknownFunction, span, format!("there is no function {name}"));
    match nearest(name, functions()) {
        Some(near) => error.help(format!("did you mean {near}?")),
        None => error.help("functions of one's own are not supported yet; the guide lists those there are"),
    }
}
