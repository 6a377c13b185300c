//! Functions on text and bytes. Lengths and places count characters (code points), from 1.

use super::{Args, Kernel, LONGEST_VALUE, bad_argument, out_of_range, primitive_rows, some, text_rows};
use arrow_array::builder::BinaryBuilder;
use arrow_array::types::Int32Type;
use arrow_schema::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dujiang_core::{Code, Error};
use std::sync::Arc;

/// `||` gives NULL for a NULL, CONCAT leaves it out.
pub(crate) fn concat(skip_nulls: bool) -> Kernel {
    Arc::new(move |args: &Args| {
        let parts: Vec<_> = (0..args.len()).map(|i| args.texts(i)).collect();
        text_rows(args.rows, |row, out| {
            for part in &parts {
                match part.get(row) {
                    Some(text) => out.push_str(text),
                    None if skip_nulls => {}
                    None => return Ok(None),
                }
            }
            Ok(Some(()))
        })
    })
}

pub(crate) fn concat_ws() -> Kernel {
    Arc::new(|args: &Args| {
        let parts: Vec<_> = (0..args.len()).map(|i| args.texts(i)).collect();
        text_rows(args.rows, |row, out| {
            let separator = some!(parts[0].get(row));
            for (nth, text) in parts[1..].iter().filter_map(|part| part.get(row)).enumerate() {
                if nth > 0 {
                    out.push_str(separator);
                }
                out.push_str(text);
            }
            Ok(Some(()))
        })
    })
}

pub(crate) fn concat_bytes() -> Kernel {
    Arc::new(|args: &Args| {
        let parts: Vec<_> = (0..args.len()).map(|i| args.bytes(i)).collect();
        let mut builder = BinaryBuilder::new();
        for row in 0..args.rows {
            let all: Option<Vec<&[u8]>> = parts.iter().map(|part| part.get(row)).collect();
            builder.append_option(all.map(|parts| parts.concat()));
        }
        Ok(Arc::new(builder.finish()))
    })
}

/// The part of a text from character `from` on, counted from 1 and perhaps before it, `length` characters long.
fn slice(text: &str, from: i64, length: Option<i64>) -> &str {
    let end = length.map(|length| from.saturating_add(length).max(1));
    let first = from.max(1) - 1;
    let start = char_place(text, first);
    match end {
        None => &text[start..],
        Some(end) => {
            let count = (end - 1 - first).max(0);
            let rest = &text[start..];
            &rest[..char_place(rest, count)]
        }
    }
}

/// The byte at which character `nth` (from 0) begins, or the end.
fn char_place(text: &str, nth: i64) -> usize {
    if text.is_ascii() {
        return usize::try_from(nth).map_or(text.len(), |n| n.min(text.len()));
    }
    usize::try_from(nth).ok().and_then(|n| text.char_indices().nth(n)).map_or(text.len(), |(at, _)| at)
}

pub(crate) fn substring() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, froms) = (args.texts(0), args.longs(1));
        let lengths = (args.len() > 2).then(|| args.longs(2));
        text_rows(args.rows, |row, out| {
            let (text, from) = (some!(texts.get(row)), some!(froms.get(row)));
            let length = match &lengths {
                Some(lengths) => Some(some!(lengths.get(row))),
                None => None,
            };
            if length.is_some_and(|l| l < 0) {
                return Err(bad_argument("the length of a substring cannot be negative"));
            }
            out.push_str(slice(text, from, length));
            Ok(Some(()))
        })
    })
}

pub(crate) fn overlay() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, news, froms) = (args.texts(0), args.texts(1), args.longs(2));
        let lengths = (args.len() > 3).then(|| args.longs(3));
        text_rows(args.rows, |row, out| {
            let (text, new, from) = (some!(texts.get(row)), some!(news.get(row)), some!(froms.get(row)));
            let length = match &lengths {
                Some(lengths) => some!(lengths.get(row)),
                None => new.chars().count() as i64,
            };
            if from < 1 {
                return Err(bad_argument("OVERLAY counts places from 1"));
            }
            out.push_str(slice(text, 1, Some(from - 1)));
            out.push_str(new);
            let after = from.checked_add(length).ok_or_else(|| out_of_range("a place in a text"))?;
            out.push_str(slice(text, after, None));
            Ok(Some(()))
        })
    })
}

/// The place of the first text in the second, from a place on; 0 when it is not there.
pub(crate) fn locate() -> Kernel {
    Arc::new(|args: &Args| {
        let (needles, texts) = (args.texts(0), args.texts(1));
        let froms = (args.len() > 2).then(|| args.longs(2));
        primitive_rows::<Int32Type>(args.rows, DataType::Int32, |row| {
            let (needle, text) = (some!(needles.get(row)), some!(texts.get(row)));
            let from = match &froms {
                Some(froms) => some!(froms.get(row)),
                None => 1,
            };
            if from < 1 {
                return Ok(Some(0));
            }
            let start = char_place(text, from - 1);
            let found = text[start..].find(needle);
            Ok(Some(found.map_or(0, |at| text[..start + at].chars().count() as i32 + 1)))
        })
    })
}

pub(crate) fn pad(left: bool) -> Kernel {
    Arc::new(move |args: &Args| {
        let (texts, lengths) = (args.texts(0), args.longs(1));
        let fills = (args.len() > 2).then(|| args.texts(2));
        text_rows(args.rows, |row, out| {
            let (text, length) = (some!(texts.get(row)), some!(lengths.get(row)));
            let fill = match &fills {
                Some(fills) => some!(fills.get(row)),
                None => " ",
            };
            let length = length.max(0) as usize;
            let count = text.chars().count();
            if count >= length || fill.is_empty() {
                out.push_str(slice(text, 1, Some(length as i64)));
                return Ok(Some(()));
            }
            check_length((length - count).saturating_mul(fill.len()).saturating_div(fill.chars().count().max(1)))?;
            let padding = fill.chars().cycle().take(length - count);
            if left {
                out.extend(padding);
                out.push_str(text);
            } else {
                out.push_str(text);
                out.extend(padding);
            }
            Ok(Some(()))
        })
    })
}

fn check_length(bytes: usize) -> Result<(), Error> {
    if bytes <= LONGEST_VALUE {
        return Ok(());
    }
    Err(Error::new(Code::ValueOutOfRange, format!("a text would be longer than {LONGEST_VALUE} bytes")))
}

pub(crate) fn replace() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, olds, news) = (args.texts(0), args.texts(1), args.texts(2));
        text_rows(args.rows, |row, out| {
            let (text, old, new) = (some!(texts.get(row)), some!(olds.get(row)), some!(news.get(row)));
            if old.is_empty() {
                out.push_str(text);
                return Ok(Some(()));
            }
            let mut pieces = text.split(old);
            out.push_str(pieces.next().unwrap_or_default());
            for piece in pieces {
                out.push_str(new);
                out.push_str(piece);
                check_length(out.len())?;
            }
            Ok(Some(()))
        })
    })
}

pub(crate) fn repeat() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, counts) = (args.texts(0), args.longs(1));
        text_rows(args.rows, |row, out| {
            let (text, count) = (some!(texts.get(row)), some!(counts.get(row)).max(0) as usize);
            check_length(text.len().saturating_mul(count))?;
            if !text.is_empty() {
                (0..count).for_each(|_| out.push_str(text));
            }
            Ok(Some(()))
        })
    })
}

pub(crate) fn to_base64() -> Kernel {
    Arc::new(|args: &Args| {
        let values = args.bytes(0);
        text_rows(args.rows, |row, out| {
            STANDARD.encode_string(some!(values.get(row)), out);
            Ok(Some(()))
        })
    })
}

fn decoded(text: &str) -> Result<Vec<u8>, Error> {
    STANDARD
        .decode(text.trim_end_matches(['\r', '\n']))
        .map_err(|e| Error::new(Code::BadArgument, format!("FROM_BASE64 was given a text that is no base64: {e}")))
}

pub(crate) fn from_base64() -> Kernel {
    Arc::new(|args: &Args| {
        let texts = args.texts(0);
        text_rows(args.rows, |row, out| {
            let bytes = decoded(some!(texts.get(row)))?;
            let text = std::str::from_utf8(&bytes).map_err(|_| {
                bad_argument("FROM_BASE64 found bytes that are not UTF-8").help("FROM_BASE64_BINARY gives the bytes")
            })?;
            out.push_str(text);
            Ok(Some(()))
        })
    })
}

pub(crate) fn from_base64_binary() -> Kernel {
    Arc::new(|args: &Args| {
        let texts = args.texts(0);
        let mut builder = BinaryBuilder::new();
        for row in 0..args.rows {
            builder.append_option(texts.get(row).map(decoded).transpose()?);
        }
        Ok(Arc::new(builder.finish()))
    })
}

/// An id in the layout of a UUID (version 8, RFC 9562: made by the application's own rule) from what identifies the
/// change and the place of the call.
pub(crate) fn uuid(place: usize) -> Kernel {
    Arc::new(move |args: &Args| {
        let identities = args.texts(0);
        text_rows(args.rows, |row, out| {
            let identity = some!(identities.get(row));
            let hash = xxhash_rust::xxh3::xxh3_128_with_seed(identity.as_bytes(), place as u64);
            let hash = (hash & !(0xf_u128 << 76) & !(0x3_u128 << 62)) | (0x8_u128 << 76) | (0x2_u128 << 62);
            let hex = format!("{hash:032x}");
            for (nth, range) in [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().enumerate() {
                if nth > 0 {
                    out.push('-');
                }
                out.push_str(&hex[range]);
            }
            Ok(Some(()))
        })
    })
}
