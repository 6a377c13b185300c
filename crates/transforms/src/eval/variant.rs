//! JSON documents: PARSE_JSON, elements, and plain values out of them.

use super::{Args, Kernel, some, text_rows};
use dujiang_core::{Code, Error};
use serde_json::Value;
use std::fmt::Write;
use std::sync::Arc;

fn read(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|e| {
        Error::new(Code::BadCast, format!("a text is no JSON document: {e}"))
            .help("mend the value at the source, or use TRY_PARSE_JSON, which gives NULL instead")
    })
}

/// PARSE_JSON and TRY_PARSE_JSON: the document on one line, its keys in order.
pub(crate) fn parse(lenient: bool) -> Kernel {
    Arc::new(move |args: &Args| {
        let texts = args.texts(0);
        text_rows(args.rows, |row, out| {
            let text = some!(texts.get(row));
            match read(text) {
                Ok(value) => write!(out, "{value}").expect("invariant: a string takes any text"),
                Err(_) if lenient => return Ok(None),
                Err(error) => return Err(error),
            }
            Ok(Some(()))
        })
    })
}

/// `variant['name']`, `variant[1]`: NULL when it is not there.
pub(crate) fn element(by_name: bool) -> Kernel {
    Arc::new(move |args: &Args| {
        let texts = args.texts(0);
        text_rows(args.rows, |row, out| {
            let document = read(some!(texts.get(row)))?;
            let found = if by_name {
                document.get(some!(args.texts(1).get(row)))
            } else {
                let index = some!(args.longs(1).get(row)).checked_sub(1).and_then(|i| usize::try_from(i).ok());
                index.and_then(|i| document.get(i))
            };
            write!(out, "{}", some!(found)).expect("invariant: a string takes any text");
            Ok(Some(()))
        })
    })
}

/// What a document is as plain text: a string without quotes, NULL for null.
pub(crate) fn scalar_text(document: &str) -> Result<Option<String>, Error> {
    Ok(match read(document)? {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}
