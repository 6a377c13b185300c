//! Compression of bodies. LZ4 is one raw block; `deflate` is the zlib format.

use dujiang_core::choice;
use std::io::{Read, Write};

choice! {
    /// How a body is compressed.
    pub enum Compression {
        /// Not at all.
        None = "none",
        /// One LZ4 block.
        Lz4 = "lz4",
        /// zlib (RFC 1950).
        Deflate = "deflate",
        /// Zstandard.
        Zstd = "zstd",
    }
}

impl Compression {
    /// The word in `Content-Encoding`; none if there is no such header.
    pub fn encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Lz4 => Some("lz4"),
            Self::Deflate => Some("deflate"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// The one of a `Content-Encoding`.
    pub fn of_encoding(word: &str) -> Option<Self> {
        match word {
            "" | "identity" => Some(Self::None),
            "lz4" => Some(Self::Lz4),
            "deflate" | "zlib" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Compresses a body.
    ///
    /// # Errors
    /// What the codec says.
    pub fn pack(self, body: Vec<u8>) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(body),
            Self::Lz4 => Ok(lz4_flex::block::compress(&body)),
            Self::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&body)?;
                encoder.finish()
            }
            Self::Zstd => zstd::stream::encode_all(body.as_slice(), 1),
        }
    }

    /// Decompresses a body of which the size is known.
    ///
    /// # Errors
    /// When it is damaged, or of another size.
    pub fn unpack(self, body: &[u8], size: usize) -> std::io::Result<Vec<u8>> {
        let wrong = |cause: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, cause.to_owned());
        let mut out = Vec::with_capacity(size);
        let most = size as u64 + 1;
        match self {
            Self::None => out.extend_from_slice(body),
            Self::Lz4 => out = lz4_flex::block::decompress(body, size).map_err(|e| wrong(&e.to_string()))?,
            Self::Deflate => drop(flate2::read::ZlibDecoder::new(body).take(most).read_to_end(&mut out)?),
            Self::Zstd => drop(zstd::stream::read::Decoder::new(body)?.take(most).read_to_end(&mut out)?),
        }
        if out.len() == size { Ok(out) } else { Err(wrong("the body is not as long as its header says")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let body = b"abcabcabcabcabcabc\0\xff".repeat(100);
        for compression in [Compression::None, Compression::Lz4, Compression::Deflate, Compression::Zstd] {
            let packed = compression.pack(body.clone()).unwrap();
            assert_eq!(compression.unpack(&packed, body.len()).unwrap(), body);
            assert!(compression.unpack(&packed, body.len() - 1).is_err(), "{compression:?}");
            assert_eq!(Compression::of_encoding(compression.encoding().unwrap_or("")), Some(compression));
        }
    }
}
