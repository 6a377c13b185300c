//! The bytes of a position.
//!
//! Two sections: a head that changes with every barrier, and the shapes of the tables, which change with a DDL only and
//! are kept serialised. Layout: the number of the format as one byte, length of the head as 4 bytes little-endian, head as JSON,
//! shapes as zstd-compressed JSON.

use bytes::Bytes;
use dujiang_core::{Code, Error, Position, Result, ResultExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A position that cannot be read, and what of it.
pub fn damaged(what: &str) -> Error {
    Error::new(Code::CheckpointDamaged, format!("the position in the checkpoint cannot be read: {what}"))
}

/// The serialised shapes.
///
/// # Errors
/// `Bug`.
pub fn encode_shapes<S: Serialize>(shapes: &[&S]) -> Result<Bytes> {
    let json = serde_json::to_vec(shapes).or_code(Code::Bug, || "write the shapes of a position".into())?;
    let packed = zstd::bulk::compress(&json, 1).or_code(Code::Bug, || "compress the shapes of a position".into())?;
    Ok(packed.into())
}

/// A position of its two sections.
///
/// # Errors
/// `Bug`.
pub fn encode(format: u8, head: &impl Serialize, shapes: &[u8]) -> Result<Position> {
    let json = serde_json::to_vec(head).or_code(Code::Bug, || "write a position".into())?;
    let mut out = Vec::with_capacity(5 + json.len() + shapes.len());
    out.push(format);
    out.extend_from_slice(&(json.len() as u32).to_le_bytes());
    out.extend_from_slice(&json);
    out.extend_from_slice(shapes);
    Ok(Position::new(out))
}

/// The head of a position.
///
/// # Errors
/// `CheckpointDamaged`, or `StateVersion` for another format.
pub fn decode_head<H: DeserializeOwned>(format: u8, position: &Position) -> Result<H> {
    Ok(sections(format, position)?.0)
}

/// Both sections of a position.
///
/// # Errors
/// As [`decode_head`].
pub fn decode<H: DeserializeOwned, S: DeserializeOwned>(format: u8, position: &Position) -> Result<(H, Vec<S>)> {
    let (head, packed) = sections(format, position)?;
    let json = zstd::stream::decode_all(packed).map_err(|e| damaged("its shapes").with_source(e))?;
    let shapes = serde_json::from_slice(&json).map_err(|e| damaged("its shapes").with_source(e))?;
    Ok((head, shapes))
}

fn sections<H: DeserializeOwned>(wanted: u8, position: &Position) -> Result<(H, &[u8])> {
    let bytes = position.as_bytes();
    let (&format, rest) = bytes.split_first().ok_or_else(|| damaged("it is empty"))?;
    if format != wanted {
        let message = format!("the position in the checkpoint has format {format}, this version reads {wanted}");
        return Err(Error::new(Code::StateVersion, message).help("run the version that wrote it"));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let json = rest.get(..length).ok_or_else(|| damaged("it is too short"))?;
    let head = serde_json::from_slice(json).map_err(|e| damaged("its head").with_source(e))?;
    Ok((head, &rest[length..]))
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
        text
    })
}

/// The bytes of hexadecimal digits.
///
/// # Errors
/// `CheckpointDamaged`.
pub fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let pair = |p: &[u8]| Some(digit(*p.first()?)? << 4 | digit(*p.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or_else(|| damaged("a key"))
}
