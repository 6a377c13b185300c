//! Compression of payloads.

use crate::frame::Codec;
use dujiang_core::{Code, Result, ResultExt};

/// The fastest level is within a few per cent of the next ones on columns of changes.
const ZSTD_LEVEL: i32 = 1;

/// Compresses payload after payload.
pub(crate) struct Compressor {
    codec: Codec,
    zstd: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new(codec: Codec) -> Result<Self> {
        let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).or_code(Code::Bug, || "start zstd".to_owned())?;
        Ok(Self { codec, zstd, out: Vec::new() })
    }

    /// The codec used and the bytes; what does not become smaller stays as it is.
    pub(crate) fn compress<'a>(&'a mut self, raw: &'a [u8]) -> Result<(Codec, &'a [u8])> {
        let length = match self.codec {
            Codec::None => return Ok((Codec::None, raw)),
            Codec::Lz4 => {
                self.out.resize(lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                lz4_flex::block::compress_into(raw, &mut self.out)
                    .or_code(Code::Bug, || "compress by lz4".to_owned())?
            }
            Codec::Zstd => {
                self.out.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
                self.zstd
                    .compress_to_buffer(raw, &mut self.out[..])
                    .or_code(Code::Bug, || "compress by zstd".to_owned())?
            }
        };
        if length < raw.len() { Ok((self.codec, &self.out[..length])) } else { Ok((Codec::None, raw)) }
    }
}

/// Decompresses payload after payload.
#[derive(Default)]
pub(crate) struct Decompressor {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Decompressor {
    /// The payload as it was; `None` when the bytes cannot be of that length. The payload's checksum has been compared before:
    /// decompressors may trust what they are given.
    pub(crate) fn decompress(&mut self, codec: Codec, stored: &[u8], raw: usize) -> Option<Vec<u8>> {
        let bytes = match codec {
            Codec::None => stored.to_vec(),
            Codec::Lz4 => lz4_flex::block::decompress(stored, raw).ok()?,
            Codec::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = Some(zstd::bulk::Decompressor::new().ok()?);
                }
                self.zstd.as_mut()?.decompress(stored, raw).ok()?
            }
        };
        (bytes.len() == raw).then_some(bytes)
    }
}
