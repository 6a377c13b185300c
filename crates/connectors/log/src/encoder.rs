//! Entries on their way into the log: written as bytes, then compressed. Pure.

use crate::arrange::{self, Numbers};
use crate::codec::Compressor;
use crate::frame::{Codec, FrameHeader, FrameKind};
use crate::payload;
use crate::store::Prepared;
use dujiang_core::sink::Milestone;
use dujiang_core::{ChangeBatch, Result};

/// Encodes entry after entry in the same memory.
pub struct Encoder {
    compressor: Compressor,
    codec: Codec,
    raw: Vec<u8>,
    numbers: Vec<Numbers>,
    scratch: Vec<u8>,
}

impl Encoder {
    /// An encoder that compresses by `codec`.
    ///
    /// # Errors
    /// `Bug` when the compressor cannot be made.
    pub fn new(codec: Codec) -> Result<Self> {
        let (raw, numbers, scratch) = Default::default();
        Ok(Self { compressor: Compressor::new(codec)?, codec, raw, numbers, scratch })
    }

    /// A batch; `shape` is the entry that told its shape, and another batch of its cut follows if it `goes_on`.
    ///
    /// # Errors
    /// `BadRecord` when it is too large for a frame.
    pub fn batch(&mut self, shape: u64, batch: &ChangeBatch, goes_on: bool) -> Result<Prepared<'_>> {
        payload::write_batch(shape, batch, &mut self.raw, &mut self.numbers)?;
        let arranged = self.codec != Codec::None && arrange::arrange(&mut self.raw, &self.numbers, &mut self.scratch);
        let latest = batch.origins.iter().map(|(_, origin)| origin.commit_micros).max().unwrap_or(0);
        let entry = self.finish(FrameKind::Batch, batch.images() as u32, latest)?;
        Ok(Prepared { header: FrameHeader { goes_on, arranged, ..entry.header }, ..entry })
    }

    /// A milestone that was reached at `now_micros`.
    ///
    /// # Errors
    /// As [`Encoder::batch`].
    pub fn marker(&mut self, milestone: Milestone, now_micros: i64) -> Result<Prepared<'_>> {
        payload::write_marker(milestone, &mut self.raw);
        self.finish(FrameKind::Marker, 0, now_micros)
    }

    fn finish(&mut self, kind: FrameKind, images: u32, commit_micros: i64) -> Result<Prepared<'_>> {
        let (codec, payload) = self.compressor.compress(&self.raw)?;
        let header = FrameHeader::new(kind, codec, payload.len(), self.raw.len())?;
        Ok(Prepared { header: FrameHeader { images, commit_micros, ..header }, payload })
    }
}
