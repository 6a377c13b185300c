//! Checkpoint records as bytes: magic, version, length and CRC32C around a JSON payload.

use dujiang_core::checkpoint::{Checkpoint, Generation, ParticipantTokens, Standing, Token};
use dujiang_core::{Code, Epoch, Error, Position, Result};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"DUJIANG\x01";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 8 + 4;

/// The payload; bytes are written as hexadecimal text, so that a record can be read by eye.
#[derive(Serialize, Deserialize)]
struct Record {
    epoch: u64,
    generation: u64,
    position: String,
    position_text: String,
    participants: Vec<Participant>,
    sink_before: u64,
    candidate: bool,
    written_micros: i64,
}

#[derive(Serialize, Deserialize)]
struct Participant {
    name: String,
    tokens: Vec<String>,
}

/// A checkpoint as bytes.
pub(super) fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let participant = |p: &ParticipantTokens| Participant {
        name: p.participant.clone(),
        tokens: p.tokens.iter().map(|t| to_hex(&t.0)).collect(),
    };
    let record = Record {
        epoch: checkpoint.epoch.0,
        generation: checkpoint.generation.0,
        position: to_hex(checkpoint.position.as_bytes()),
        position_text: checkpoint.position_text.clone(),
        participants: checkpoint.tokens.iter().map(participant).collect(),
        sink_before: checkpoint.sink_before.0,
        candidate: checkpoint.standing == Standing::Candidate,
        written_micros: checkpoint.written_micros,
    };
    let payload =
        serde_json::to_vec(&record).map_err(|e| Error::new(Code::Bug, "write a checkpoint").with_source(e))?;
    Ok(seal(&payload))
}

/// The checkpoint of these bytes.
///
/// # Errors
/// `CheckpointDamaged` or `StateVersion`; `what` names the file.
pub(super) fn decode(bytes: &[u8], what: &str) -> Result<Checkpoint> {
    let payload = open(bytes, what)?;
    let record: Record = serde_json::from_slice(payload).map_err(|e| damaged(what, "its content").with_source(e))?;
    let mut tokens = Vec::with_capacity(record.participants.len());
    for participant in record.participants {
        let bytes: Option<Vec<Token>> =
            participant.tokens.iter().map(|t| from_hex(t).map(|b| Token(b.into()))).collect();
        let bytes = bytes.ok_or_else(|| damaged(what, "its tokens"))?;
        tokens.push(ParticipantTokens { participant: participant.name, tokens: bytes });
    }
    Ok(Checkpoint {
        epoch: Epoch(record.epoch),
        generation: Generation(record.generation),
        position: Position::new(from_hex(&record.position).ok_or_else(|| damaged(what, "its position"))?),
        position_text: record.position_text,
        tokens,
        sink_before: Epoch(record.sink_before),
        standing: if record.candidate { Standing::Candidate } else { Standing::Final },
        written_micros: record.written_micros,
    })
}

/// Puts header and checksum before a payload.
pub(super) fn seal(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + payload.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&out), payload);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(payload);
    out
}

/// The payload of a sealed record.
///
/// # Errors
/// As [`decode`].
pub(super) fn open<'a>(bytes: &'a [u8], what: &str) -> Result<&'a [u8]> {
    if bytes.len() < HEADER || &bytes[..8] != MAGIC {
        return Err(damaged(what, "its header"));
    }
    let checksum = u32::from_le_bytes(bytes[20..24].try_into().expect("invariant: four bytes"));
    let payload = &bytes[HEADER..];
    if crc32c::crc32c_append(crc32c::crc32c(&bytes[..20]), payload) != checksum {
        return Err(damaged(what, "its checksum"));
    }
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("invariant: four bytes"));
    if version != VERSION {
        return Err(Error::new(Code::StateVersion, format!("{what} is of version {version}"))
            .fact("this program reads version", VERSION.to_string())
            .help("run the version of the program that wrote it"));
    }
    let length = u64::from_le_bytes(bytes[12..20].try_into().expect("invariant: eight bytes"));
    if length != payload.len() as u64 {
        return Err(damaged(what, "its length"));
    }
    Ok(payload)
}

fn damaged(what: &str, part: &str) -> Error {
    Error::new(Code::CheckpointDamaged, format!("{what} is damaged: {part} cannot be right"))
        .help("bring the file back from a backup, or go back to an older checkpoint with --restore-from")
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|p| Some(digit(p[0])? << 4 | digit(*p.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_text_reads_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&all)), Some(all));
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("012"), None);
    }

    #[test]
    fn another_version_is_named() {
        let mut sealed = seal(b"{}");
        sealed[8] = 2;
        let payload_at = HEADER;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&sealed[..20]), &sealed[payload_at..]);
        sealed[20..24].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(open(&sealed, "a file").unwrap_err().code(), Code::StateVersion);
    }
}
