//! First pass over row images: where each cell lies. Every length is checked here, so that the second pass, column by
//! column, reads only what is known to be there.

use super::op::Size;
use super::plan::{RowPlan, Segment};

/// Rows per pass: enough to amortise the per-column work, few enough for the positions to stay in the first cache.
pub(super) const CHUNK: usize = 256;
/// The position of a NULL.
pub(super) const NULL: u32 = u32::MAX;

/// Positions of the cells of up to [`CHUNK`] rows.
///
/// *Dense*: no row has a NULL; one position per segment, a cell lies at a fixed distance from it. *Sparse*: one position
/// per column, [`NULL`] for a NULL.
#[derive(Debug, Default)]
pub(super) struct Walk {
    positions: Vec<u32>,
    sparse: bool,
    rows: usize,
}

/// How one row went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The row ends there.
    End(usize),
    /// The row has a NULL and the layout is dense.
    NeedsSparse,
    /// The bytes end before the row does.
    Torn,
}

impl Walk {
    /// Begins a chunk.
    pub fn begin(&mut self, plan: &RowPlan, sparse: bool) {
        let slots = if sparse { plan.steps.len() } else { plan.segments.len() };
        self.positions.resize((slots * CHUNK).max(self.positions.len()), 0);
        self.sparse = sparse;
        self.rows = 0;
    }

    pub fn is_sparse(&self) -> bool {
        self.sparse
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that still fit into the chunk.
    pub fn room(&self) -> usize {
        CHUNK - self.rows
    }

    /// Takes back the last `n` rows.
    pub fn forget(&mut self, n: usize) {
        self.rows -= n;
    }

    /// Takes back the last row but one.
    pub fn forget_second_to_last(&mut self) {
        let last = self.rows - 1;
        for slots in self.positions.chunks_exact_mut(CHUNK) {
            slots[last - 1] = slots[last];
        }
        self.rows = last;
    }

    /// Positions of one segment (dense) or column (sparse), one per row.
    #[inline]
    pub fn positions(&self, slot: usize) -> &[u32] {
        &self.positions[slot * CHUNK..slot * CHUNK + self.rows]
    }

    /// Walks the row that begins at `start`.
    #[inline]
    pub fn row(&mut self, plan: &RowPlan, bytes: &[u8], start: usize) -> Step {
        let bitmap_start = start + plan.lead;
        let Some(bitmap) = bytes.get(bitmap_start..bitmap_start + plan.null_mask.len()) else { return Step::Torn };
        let end = if self.sparse {
            self.sparse_row(plan, bytes, bitmap, bitmap_start + bitmap.len())
        } else {
            if has_null(bitmap, &plan.null_mask) {
                return Step::NeedsSparse;
            }
            self.dense_row(&plan.segments, bytes, bitmap_start + bitmap.len())
        };
        match end {
            Some(end) if end <= bytes.len() && end < NULL as usize => {
                self.rows += 1;
                Step::End(end)
            }
            _ => Step::Torn,
        }
    }

    #[inline]
    fn dense_row(&mut self, segments: &[Segment], bytes: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        let row = self.rows;
        for (segment, slots) in segments.iter().zip(self.positions.chunks_exact_mut(CHUNK)) {
            slots[row] = at as u32;
            at += segment.fixed as usize;
            if let Some(size) = segment.tail {
                at = after(size, bytes, at)?;
            }
        }
        Some(at)
    }

    #[inline]
    fn sparse_row(&mut self, plan: &RowPlan, bytes: &[u8], bitmap: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        let row = self.rows;
        for (index, (step, slots)) in plan.steps.iter().zip(self.positions.chunks_exact_mut(CHUNK)).enumerate() {
            let bit = index + plan.first_bit;
            if bitmap[bit / 8] >> (bit % 8) & 1 != 0 {
                slots[row] = NULL;
                continue;
            }
            slots[row] = at as u32;
            at = after(step.size, bytes, at)?;
        }
        Some(at)
    }
}

#[inline]
fn has_null(bitmap: &[u8], mask: &[u8]) -> bool {
    (0..mask.len().min(bitmap.len())).any(|i| bitmap[i] & mask[i] != 0)
}

/// Where the cell that begins at `at` ends; may lie behind the end of `bytes`.
#[inline]
pub(super) fn after(size: Size, bytes: &[u8], at: usize) -> Option<usize> {
    if let Size::Fixed(n) = size {
        return Some(at + n as usize);
    }
    let (length, head) = length(size, bytes, at)?;
    at.checked_add(head)?.checked_add(length)
}

/// Length of the variable cell at `at`, and bytes of its length prefix.
#[inline]
pub(super) fn length(size: Size, bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(at..)?;
    let wide = |n: usize| {
        let mut word = [0u8; 8];
        word[..n].copy_from_slice(rest.get(1..=n)?);
        Some((usize::try_from(u64::from_le_bytes(word)).ok()?, n + 1))
    };
    match size {
        Size::Fixed(n) => Some((n as usize, 0)),
        Size::Prefixed(1) => Some((usize::from(*rest.first()?), 1)),
        Size::Prefixed(2) => Some((usize::from(u16::from_le_bytes(*rest.first_chunk()?)), 2)),
        Size::Prefixed(3) => {
            let [a, b, c] = *rest.first_chunk()?;
            Some((u32::from_le_bytes([a, b, c, 0]) as usize, 3))
        }
        Size::Prefixed(_) => Some((u32::from_le_bytes(*rest.first_chunk()?) as usize, 4)),
        Size::LengthEncoded => match *rest.first()? {
            small @ 0..=0xfa => Some((small.into(), 1)),
            0xfc => wide(2),
            0xfd => wide(3),
            0xfe => wide(8),
            _ => None,
        },
    }
}
