//! The batch encoding, version 0, as the service takes and gives it.

use super::read::{Refusal, Sent};
use super::state::Stored;
use std::io::Read;

fn wrong(why: &str) -> Refusal {
    (400, "InvalidParameter", format!("batch: {why}"))
}

/// Little-endian numbers and bytes, one after the other.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(|| wrong("it is too short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self, length: usize) -> Result<usize, Refusal> {
        let bytes = self.bytes(length)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}

/// The records of a batch, of fields of these types.
pub(super) fn decode(bytes: &[u8], fields: &[(String, String)]) -> Result<Vec<Sent>, Refusal> {
    let mut walk = Walk(bytes);
    if walk.bytes(4)? != b"DHUB" || walk.number(4)? != 0 || walk.number(4)? != bytes.len() {
        return Err(wrong("head"));
    }
    let (size, checksum, attributes, count) = (walk.number(4)?, walk.number(4)?, walk.number(2)?, walk.number(4)?);
    if crc32c::crc32c(walk.0) as usize != checksum {
        return Err(wrong("checksum"));
    }
    let rows = match attributes {
        8 => walk.0.to_vec(),
        9 => {
            let mut rows = Vec::new();
            flate2::read::ZlibDecoder::new(walk.0).read_to_end(&mut rows).map_err(|_| wrong("deflate"))?;
            rows
        }
        10 => lz4_flex::block::decompress(walk.0, size).map_err(|_| wrong("lz4"))?,
        _ => return Err(wrong("compression")),
    };
    if rows.len() != size {
        return Err(wrong("size"));
    }
    let (mut rest, mut out) = (rows.as_slice(), Vec::new());
    while !rest.is_empty() {
        let length = Walk(rest.get(8..).ok_or_else(|| wrong("row"))?).number(4)?;
        let (row, behind) = rest.split_at_checked(length).ok_or_else(|| wrong("row"))?;
        out.push(decode_row(row, fields)?);
        rest = behind;
    }
    if out.len() != count {
        return Err(wrong("count"));
    }
    Ok(out)
}

fn decode_row(row: &[u8], fields: &[(String, String)]) -> Result<Sent, Refusal> {
    let mut head = Walk(row);
    let (encoding, _schema, _length, attributes) = (head.number(4)?, head.number(4)?, head.number(4)?, head.number(4)?);
    let body = head.0;
    let columns = head.number(4)?;
    if encoding != 0 || columns != fields.len() {
        return Err((400, "MalformedRecord", "Record field size not match".into()));
    }
    let present = head.bytes(columns.div_ceil(64) * 8)?;
    let mut values = Vec::new();
    for (column, (_, kind)) in fields.iter().enumerate() {
        let slot = head.bytes(8)?;
        let eight = [slot[0], slot[1], slot[2], slot[3], slot[4], slot[5], slot[6], slot[7]];
        if present[column / 8] >> (column % 8) & 1 == 0 {
            values.push(None);
            continue;
        }
        values.push(Some(match kind.as_str() {
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "TIMESTAMP" => i64::from_le_bytes(eight).to_string(),
            "DOUBLE" => f64::from_le_bytes(eight).to_string(),
            "FLOAT" => f32::from_le_bytes([slot[0], slot[1], slot[2], slot[3]]).to_string(),
            "BOOLEAN" => (slot[0] == 1).to_string(),
            _ => {
                let text = match slot[7] & 0x80 {
                    0 => {
                        let mut place = Walk(slot);
                        let (length, at) = (place.number(4)?, place.number(4)?);
                        Walk(body.get(at..).ok_or_else(|| wrong("place"))?).bytes(length)?
                    }
                    _ => &slot[..usize::from(slot[7] & 0x7F)],
                };
                String::from_utf8(text.to_vec()).map_err(|_| wrong("a text"))?
            }
        }));
    }
    let mut walk = Walk(row.get(attributes..).ok_or_else(|| wrong("attributes"))?);
    let mut pairs = Vec::new();
    for _ in 0..walk.number(4)? {
        let mut part = || {
            let length = walk.number(4)?;
            String::from_utf8(walk.bytes(length)?.to_vec()).map_err(|_| wrong("an attribute"))
        };
        pairs.push((part()?, part()?));
    }
    Ok((values, pairs))
}

/// A batch of records, compressed with lz4.
pub(super) fn encode(records: &[Stored], fields: &[(String, String)]) -> Vec<u8> {
    let mut rows = Vec::new();
    records.iter().for_each(|record| encode_row(record, fields, &mut rows));
    let packed = lz4_flex::block::compress(&rows);
    let mut out = b"DHUB\0\0\0\0".to_vec();
    let whole = 26 + packed.len() as u32;
    for number in [whole, rows.len() as u32, crc32c::crc32c(&packed)] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&[10, 0]);
    out.extend_from_slice(&(records.len() as u32).to_le_bytes());
    out.extend_from_slice(&packed);
    out
}

fn encode_row(record: &Stored, fields: &[(String, String)], out: &mut Vec<u8>) {
    let columns = record.values.len();
    let mut present = vec![0_u8; columns.div_ceil(64) * 8];
    let (mut slots, mut texts) = (Vec::new(), Vec::new());
    let behind = 4 + present.len() + 8 * columns;
    for (column, value) in record.values.iter().enumerate() {
        let Some(value) = value else {
            slots.extend_from_slice(&[0; 8]);
            continue;
        };
        present[column / 8] |= 1 << (column % 8);
        let kind = fields.get(column).map_or("STRING", |(_, kind)| kind.as_str());
        let slot: [u8; 8] = match kind {
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "TIMESTAMP" => {
                value.parse::<i64>().unwrap_or_default().to_le_bytes()
            }
            "DOUBLE" => value.parse::<f64>().unwrap_or_default().to_le_bytes(),
            "FLOAT" => u64::from(value.parse::<f32>().unwrap_or_default().to_bits()).to_le_bytes(),
            "BOOLEAN" => u64::from(value == "true").to_le_bytes(),
            _ if value.len() < 8 => {
                let mut slot = [0; 8];
                slot[..value.len()].copy_from_slice(value.as_bytes());
                slot[7] = 0x80 | value.len() as u8;
                slot
            }
            _ => {
                let place = (behind + texts.len()) as u64;
                texts.extend_from_slice(value.as_bytes());
                texts.resize(texts.len().next_multiple_of(8), 0);
                (value.len() as u64 | place << 32).to_le_bytes()
            }
        };
        slots.extend_from_slice(&slot);
    }
    let mut attributes = (record.attributes.len() as u32).to_le_bytes().to_vec();
    for part in record.attributes.iter().flat_map(|(name, value)| [name, value]) {
        attributes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        attributes.extend_from_slice(part.as_bytes());
    }
    let place = 16 + behind + texts.len();
    for number in [0, 0, (place + attributes.len()) as u32, place as u32, columns as u32] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for part in [present, slots, texts, attributes] {
        out.extend_from_slice(&part);
    }
}
