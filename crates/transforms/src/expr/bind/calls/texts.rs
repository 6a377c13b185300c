//! Functions on text and on JSON documents.

use super::super::{Binder, Bound, Typed, folded, type_error};
use super::Call;
use crate::error::SqlError;
use crate::eval::{self, Kernel, regex, text, variant};
use crate::types::Type;
use datafusion_expr::ScalarUDF;
use datafusion_functions::{string, unicode};
use std::sync::Arc;

const S: Type = Type::Text;
const N: Type = Type::BigInt;

/// Arguments (those after `least` may be left out), result and code of a function.
struct Signature {
    arguments: &'static [Type],
    least: usize,
    out: Type,
    code: Body,
}

enum Body {
    Ours(Kernel),
    Library(Arc<ScalarUDF>),
}

fn ours(arguments: &'static [Type], least: usize, out: Type, kernel: Kernel) -> Option<Signature> {
    Some(Signature { arguments, least, out, code: Body::Ours(kernel) })
}

fn library(arguments: &'static [Type], out: Type, function: Arc<ScalarUDF>) -> Option<Signature> {
    Some(Signature { arguments, least: arguments.len(), out, code: Body::Library(function) })
}

fn signature(name: &str) -> Option<Signature> {
    match name {
        "CHAR_LENGTH" | "CHARACTER_LENGTH" => library(&[S], Type::Int, unicode::character_length()),
        "UPPER" => library(&[S], S, string::upper()),
        "LOWER" => library(&[S], S, string::lower()),
        "LEFT" => library(&[S, N], S, unicode::left()),
        "RIGHT" => library(&[S, N], S, unicode::right()),
        "STARTSWITH" => library(&[S, S], Type::Boolean, string::starts_with()),
        "ENDSWITH" => library(&[S, S], Type::Boolean, string::ends_with()),
        "INSTR" => library(&[S, S], Type::Int, unicode::strpos()),
        "SUBSTR" | "SUBSTRING" => ours(&[S, N, N], 2, S, text::substring()),
        "OVERLAY" => ours(&[S, S, N, N], 3, S, text::overlay()),
        "POSITION" | "LOCATE" => ours(&[S, S, N], 2, Type::Int, text::locate()),
        "LPAD" => ours(&[S, N, S], 2, S, text::pad(true)),
        "RPAD" => ours(&[S, N, S], 2, S, text::pad(false)),
        "REPLACE" => ours(&[S, S, S], 3, S, text::replace()),
        "REPEAT" => ours(&[S, N], 2, S, text::repeat()),
        "FROM_BASE64" => ours(&[S], 1, S, text::from_base64()),
        "FROM_BASE64_BINARY" => ours(&[S], 1, Type::Bytes, text::from_base64_binary()),
        _ => regular(name),
    }
}

fn regular(name: &str) -> Option<Signature> {
    match name {
        "REGEXP_REPLACE" => ours(&[S, S, S], 3, S, regex::replace()),
        "REGEXP_EXTRACT" => ours(&[S, S, N], 2, S, regex::extract()),
        "REGEXP_COUNT" => ours(&[S, S], 2, Type::Int, regex::count()),
        "REGEXP_INSTR" => ours(&[S, S], 2, Type::Int, regex::position()),
        "REGEXP_SUBSTR" => ours(&[S, S], 2, S, regex::extract()),
        "REGEXP_EXTRACT_ALL" => ours(&[S, S, N], 2, Type::Array(Box::new(S)), regex::extract_all()),
        _ => None,
    }
}

impl Binder<'_> {
    pub(super) fn text_call(&self, call: &Call, args: Vec<Typed>) -> Bound {
        match call.name {
            "CONCAT" | "CONCAT_WS" => return self.concat_call(call, args),
            "TRIM" | "LTRIM" | "RTRIM" | "BTRIM" => return self.trim_call(call, args),
            "TO_BASE64" => return self.to_base64(call, args),
            _ => {}
        }
        let Some(signature) = signature(call.name) else {
            return Err(type_error(call.name_span.clone(), format!("{} cannot be called like this", call.name)));
        };
        call.arity(args.len(), signature.least, signature.arguments.len())?;
        let typed = (0..args.len()).map(|i| self.argument(call, &args, i, &signature.arguments[i]));
        let typed = typed.collect::<Result<Vec<_>, SqlError>>()?;
        self.check_pattern(call, &typed)?;
        // A group that took no part in the match is NULL.
        let nullable = call.name.starts_with("REGEXP_") || typed.iter().any(|a| a.nullable);
        Ok(match signature.code {
            Body::Ours(kernel) => self.call_nullable(call.name, kernel, typed, signature.out, nullable),
            Body::Library(function) => library_call(function, typed, signature.out),
        })
    }

    /// A regular expression that is written down is checked before the first row.
    fn check_pattern(&self, call: &Call, args: &[Typed]) -> Result<(), SqlError> {
        if call.name.starts_with("REGEXP_")
            && let Some(pattern) = args.get(1).and_then(Typed::text_constant)
            && let Err(why) = regex::check(pattern)
        {
            return Err(type_error(args[1].span.clone(), format!("this is no regular expression: {why}")));
        }
        Ok(())
    }

    fn concat_call(&self, call: &Call, args: Vec<Typed>) -> Bound {
        let separated = call.name == "CONCAT_WS";
        call.arity(args.len(), if separated { 2 } else { 1 }, usize::MAX)?;
        let printed = args.into_iter().enumerate().map(|(i, a)| self.printed(a, &call.argument(i)));
        let printed = printed.collect::<Result<Vec<_>, SqlError>>()?;
        if separated {
            let nullable = printed[0].nullable;
            return Ok(self.call_nullable(call.name, text::concat_ws(), printed, Type::Text, nullable));
        }
        Ok(self.call_nullable(call.name, text::concat(true), printed, Type::Text, false))
    }

    /// TRIM comes as (side, characters, text), the others as (text, characters).
    fn trim_call(&self, call: &Call, args: Vec<Typed>) -> Bound {
        let (side, operand, characters) = match call.name {
            "TRIM" => (args[0].text_constant().unwrap_or("BOTH").to_owned(), args[2].clone(), Some(args[1].clone())),
            name => {
                call.arity(args.len(), 1, 2)?;
                (name.to_owned(), args[0].clone(), args.get(1).cloned())
            }
        };
        let function = match side.as_str() {
            "LEADING" | "LTRIM" => string::ltrim(),
            "TRAILING" | "RTRIM" => string::rtrim(),
            _ => string::btrim(),
        };
        let operand = self.coerce(operand, &Type::Text, "the text to trim")?;
        let blank = || super::super::literal::text(" ", call.span.clone());
        let characters = self.coerce(characters.unwrap_or_else(blank), &Type::Text, "the characters to trim")?;
        Ok(library_call(function, vec![operand, characters], Type::Text))
    }

    fn to_base64(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 1, 1)?;
        let bytes = if args[0].ty == Type::Bytes {
            args[0].clone()
        } else {
            let text = self.argument(call, &args, 0, &Type::Text)?;
            self.cast(text, eval::cast::Target::plain(Type::Bytes), false)
        };
        Ok(self.call(call.name, text::to_base64(), vec![bytes], Type::Text))
    }

    pub(super) fn json_call(&self, call: &Call, args: Vec<Typed>) -> Bound {
        call.arity(args.len(), 1, 2)?;
        let mut typed = vec![self.argument(call, &args, 0, &Type::Text)?];
        if args.len() == 2 {
            typed.push(self.argument(call, &args, 1, &Type::Boolean)?);
        }
        let lenient = call.name == "TRY_PARSE_JSON";
        let nullable = lenient || typed[0].nullable;
        Ok(self.call_nullable(call.name, variant::parse(lenient), typed, Type::Variant, nullable))
    }
}

fn library_call(function: Arc<ScalarUDF>, args: Vec<Typed>, out: Type) -> Typed {
    let nullable = args.iter().any(|a| a.nullable);
    let constant = args.iter().all(|a| a.constant.is_some());
    let span = super::super::span_of(&args);
    let physical = args.into_iter().map(|a| a.expr).collect();
    let expr = eval::library_call(function, physical, out.arrow(), nullable);
    folded(expr, out, nullable, span, constant)
}
