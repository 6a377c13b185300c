//! What requests must be: signed, whole, well-formed.

use super::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Read;

/// A refusal: status, code, words.
pub(super) type Refusal = (u16, &'static str, String);

/// A record as it was sent: values and attributes.
pub(super) type Sent = (Vec<Option<String>>, Vec<(String, String)>);

/// Whether the signature is right.
pub(super) fn check_signature(request: &Request, id: &str, key: &str) -> Result<(), Refusal> {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let mut own: Vec<_> = request.headers.iter().filter(|(name, _)| name.starts_with("x-datahub-")).collect();
    own.sort();
    let own: String = own.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let (kind, date) = (header("content-type"), header("date"));
    let text = format!("{}\n{kind}\n{date}\n{own}{}", request.method, request.path);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    let signature = STANDARD.encode(ring::hmac::sign(&key, text.as_bytes()));
    let dated = date.ends_with(" GMT") && date.split(' ').count() == 6;
    if header("authorization") == format!("DATAHUB {id}:{signature}") && !kind.is_empty() && dated {
        return Ok(());
    }
    Err((403, "Unauthorized", "The request authorization header is invalid or missing.".into()))
}

/// The body, decompressed.
pub(super) fn body(request: &Request) -> Result<Vec<u8>, Refusal> {
    let wrong = |why: &str| (400, "InvalidParameter", why.to_owned());
    let size: Option<usize> = request.header("x-datahub-content-raw-size").and_then(|size| size.parse().ok());
    let packed = request.body.as_slice();
    let mut out = Vec::new();
    match (request.header("content-encoding"), size) {
        (None, None) => out = packed.to_vec(),
        (Some("lz4"), Some(size)) => out = lz4_flex::block::decompress(packed, size).map_err(|_| wrong("lz4"))?,
        (Some("deflate"), Some(_)) => {
            flate2::read::ZlibDecoder::new(packed).read_to_end(&mut out).map_err(|_| wrong("deflate"))?;
        }
        (Some("zstd"), Some(_)) => out = zstd::stream::decode_all(packed).map_err(|_| wrong("zstd"))?,
        _ => return Err(wrong("encoding and raw size do not agree")),
    }
    if size.is_some_and(|size| size != out.len()) {
        return Err(wrong("raw size"));
    }
    if out.len() > 4 << 20 {
        return Err(wrong("Request body size is too large"));
    }
    Ok(out)
}

/// The message of a frame.
pub(super) fn framed(body: &[u8]) -> Result<&[u8], Refusal> {
    let wrong = |why: &str| (400, "InvalidParameter", why.to_owned());
    let (Some(b"DHUB"), true) = (body.get(..4), body.len() >= 12) else { return Err(wrong("no frame")) };
    let number = |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    let payload = &body[12..];
    if payload.len() != number(8) as usize || crc32c::crc32c(payload) != number(4) {
        return Err(wrong("Invalid checksum"));
    }
    Ok(payload)
}

/// A frame around a message.
pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    let mut out = b"DHUB".to_vec();
    out.extend_from_slice(&crc32c::crc32c(message).to_be_bytes());
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// The records of a `PutRecordsRequest`.
pub(super) fn records(message: &[u8]) -> Result<Vec<Sent>, Refusal> {
    let wrong = || (400, "InvalidParameter", "the message cannot be read".to_owned());
    let mut out = Vec::new();
    for (number, entry) in fields(message).ok_or_else(wrong)? {
        if number == 1 {
            out.push(record(entry).ok_or_else(wrong)?);
        }
    }
    Ok(out)
}

fn record(entry: &[u8]) -> Option<Sent> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let (mut values, mut attributes) = (Vec::new(), Vec::new());
    for (number, part) in fields(entry)? {
        match number {
            8 => {
                for (_, pair) in fields(part)? {
                    let pair = fields(pair)?;
                    let side = |number| pair.iter().find(|(n, _)| *n == number).and_then(|(_, bytes)| text(bytes));
                    attributes.push((side(1)?, side(2)?));
                }
            }
            9 => {
                for (_, value) in fields(part)? {
                    let value = fields(value)?;
                    values.push(match value.first() {
                        Some((1, bytes)) => Some(text(bytes)?),
                        _ => None,
                    });
                }
            }
            _ => {}
        }
    }
    Some((values, attributes))
}

/// The fields of a message, which must all be bytes.
pub(super) fn fields(mut message: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut out = Vec::new();
    while !message.is_empty() {
        let head = varint(&mut message)?;
        if head & 7 != 2 {
            return None;
        }
        let length = usize::try_from(varint(&mut message)?).ok()?;
        let (bytes, rest) = message.split_at_checked(length)?;
        message = rest;
        out.push((head >> 3, bytes));
    }
    Some(out)
}

pub(super) fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

/// Whether a value is one of its field's type.
pub(super) fn check_value(kind: &str, value: &str) -> bool {
    let whole = |min: i64, max: i64| value.parse::<i64>().is_ok_and(|number| (min..=max).contains(&number));
    match kind {
        "TINYINT" => whole(-128, 127),
        "SMALLINT" => whole(-32_768, 32_767),
        "INTEGER" => whole(i64::from(i32::MIN), i64::from(i32::MAX)),
        "BIGINT" => whole(i64::MIN, i64::MAX),
        "TIMESTAMP" => whole(-62_135_798_400_000_000, 253_402_271_999_000_000),
        "BOOLEAN" => value == "true" || value == "false",
        "FLOAT" | "DOUBLE" => value.parse::<f64>().is_ok_and(f64::is_finite),
        "DECIMAL" => {
            let digits = value.strip_prefix('-').unwrap_or(value);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        }
        _ => value.len() <= 2 << 20,
    }
}
