//! One frame of a segment: a header with its own checksum, then the payload with its own. See
//! `docs/reference/log-segment.md`. Pure.
//!
//! Both checksums begin with the file's identity and the frame's place in the file, so that a block that lies in the wrong
//! file or at the wrong place, or comes from an earlier life of the file, is not taken for a good one.

use crate::errors::damaged;
use dujiang_core::{Code, Error, Result};

/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 56;
const MAGIC: [u8; 4] = *b"DJLF";
/// In the byte of the compression: the numbers are arranged. A program that does not know it refuses the frame.
const ARRANGED: u8 = 0x80;
/// No frame is larger; a length beyond it is damage.
pub(crate) const MAX_PAYLOAD: u32 = 1 << 30;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// The shape of a table as it is when the segment begins. It has no offset of its own.
    Shape = 1,
    /// A change of a table's shape.
    Schema = 2,
    /// Changes of one table.
    Batch = 3,
    /// A milestone of the source.
    Marker = 4,
}

impl FrameKind {
    fn of(byte: u8) -> Option<Self> {
        [FrameKind::Shape, FrameKind::Schema, FrameKind::Batch, FrameKind::Marker]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }

    /// Whether it takes an offset.
    pub(crate) fn is_entry(self) -> bool {
        self != FrameKind::Shape
    }
}

dujiang_core::choice! {
    /// How the payload of a frame is compressed.
    pub enum Codec {
        /// Not at all.
        None = "none",
        /// LZ4, one block.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
    }
}

impl Codec {
    fn byte(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Codec::None, Codec::Lz4, Codec::Zstd].into_iter().find(|codec| codec.byte() == byte)
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it holds.
    pub kind: FrameKind,
    /// How the payload is compressed.
    pub codec: Codec,
    /// Bytes of the payload as stored.
    pub stored: u32,
    /// Bytes of the payload once decompressed.
    pub raw: u32,
    /// Images in it; 0 unless it is a batch.
    pub images: u32,
    /// The entry's number in the log; for a shape that of the entry after it.
    pub offset: u64,
    /// The instance that wrote it. After a truncation offsets are given again, under a higher generation.
    pub generation: u64,
    /// Latest commit time in it, microseconds since 1970-01-01 UTC.
    pub commit_micros: i64,
    /// Whether the next entry is a batch of the same cut.
    pub goes_on: bool,
    /// Whether the numbers of the payload were arranged before it was compressed.
    pub(crate) arranged: bool,
    pub(crate) payload_crc: u32,
}

/// Which file a frame lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    pub(crate) log: [u8; 16],
    pub(crate) base: u64,
    /// What kind of file: the magic of its header.
    pub(crate) magic: [u8; 8],
}

impl FileIdentity {
    /// The checksum that everything at this place begins with.
    pub(crate) fn seed(&self, at: u64) -> u32 {
        let mut place = [0; 40];
        place[..8].copy_from_slice(&self.magic);
        place[8..24].copy_from_slice(&self.log);
        place[24..32].copy_from_slice(&self.base.to_le_bytes());
        place[32..].copy_from_slice(&at.to_le_bytes());
        crc32c::crc32c(&place)
    }
}

/// Appends a frame to `out`; `at` is its place in the file.
pub(crate) fn write(header: FrameHeader, payload: &[u8], file: &FileIdentity, at: u64, out: &mut Vec<u8>) {
    let seed = file.seed(at);
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    let codec = header.codec.byte() | if header.arranged { ARRANGED } else { 0 };
    out.extend_from_slice(&[header.kind as u8, codec, u8::from(header.goes_on), 0]);
    out.extend_from_slice(&header.stored.to_le_bytes());
    out.extend_from_slice(&header.raw.to_le_bytes());
    out.extend_from_slice(&header.images.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c_append(seed, payload).to_le_bytes());
    out.extend_from_slice(&header.offset.to_le_bytes());
    out.extend_from_slice(&header.generation.to_le_bytes());
    out.extend_from_slice(&header.commit_micros.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let checksum = crc32c::crc32c_append(seed, &out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(payload);
}

impl FrameHeader {
    /// A header for a payload of these lengths.
    pub(crate) fn new(kind: FrameKind, codec: Codec, stored: usize, raw: usize) -> Result<Self> {
        let length = |bytes: usize| {
            u32::try_from(bytes).ok().filter(|&n| n <= MAX_PAYLOAD).ok_or_else(|| {
                Error::new(Code::BadRecord, "a batch is too large for the log")
                    .fact("bytes", bytes.to_string())
                    .fact("at most", MAX_PAYLOAD.to_string())
            })
        };
        Ok(Self {
            kind,
            codec,
            stored: length(stored)?,
            raw: length(raw)?,
            images: 0,
            offset: 0,
            generation: 0,
            commit_micros: 0,
            goes_on: false,
            arranged: false,
            payload_crc: 0,
        })
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        HEADER as u64 + u64::from(self.stored)
    }

    /// Reads a header.
    ///
    /// # Errors
    /// `LogRangeDamaged`; `name` is the file's.
    pub(crate) fn read(bytes: &[u8], file: &FileIdentity, at: u64, name: &str) -> Result<Self> {
        let bad = |why: &str| damaged(name, at..at + HEADER as u64, why);
        let Some(bytes) = bytes.get(..HEADER) else {
            return Err(damaged(name, at..at + bytes.len() as u64, "the file ends inside the header of a frame"));
        };
        let word = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().expect("invariant: four bytes"));
        let long = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("invariant: eight bytes"));
        if crc32c::crc32c_append(file.seed(at), &bytes[..52]) != word(52) || bytes[..4] != MAGIC {
            return Err(bad("the header of a frame does not match its checksum"));
        }
        let kind = FrameKind::of(bytes[4]).ok_or_else(|| bad("a frame of a kind that this version does not know"))?;
        let codec =
            Codec::of(bytes[5] & !ARRANGED).ok_or_else(|| bad("a compression that this version does not know"))?;
        let header = Self {
            kind,
            codec,
            goes_on: bytes[6] & 1 == 1,
            arranged: bytes[5] & ARRANGED != 0,
            stored: word(8),
            raw: word(12),
            images: word(16),
            payload_crc: word(20),
            offset: long(24),
            generation: long(32),
            commit_micros: long(40) as i64,
        };
        if header.stored > MAX_PAYLOAD || header.raw > MAX_PAYLOAD {
            return Err(bad("a frame of an impossible length"));
        }
        Ok(header)
    }

    /// Checks a payload.
    ///
    /// # Errors
    /// `LogRangeDamaged`.
    pub(crate) fn check(&self, payload: &[u8], file: &FileIdentity, at: u64, name: &str) -> Result<()> {
        let range = at..at + self.frame_bytes();
        if payload.len() != self.stored as usize {
            return Err(damaged(name, range, "the file ends inside a frame"));
        }
        if crc32c::crc32c_append(file.seed(at), payload) != self.payload_crc {
            return Err(damaged(name, range, "the content of a frame does not match its checksum"));
        }
        Ok(())
    }
}
