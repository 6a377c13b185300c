//! Bytes of a file that wait to be written.

use std::collections::VecDeque;
use std::io::{self, Write};

/// A piece has at most so many bytes, unless it was handed in as one.
const PIECE: usize = 1 << 20;

/// Bytes in order, in pieces that can be let go one by one: a row group in one buffer would take as much memory once more, and
/// at one place.
#[derive(Debug, Default)]
pub struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Pieces {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum()
    }

    /// The first piece; none when there are no bytes.
    pub fn first(&self) -> Option<&[u8]> {
        self.pieces.front().map(Vec::as_slice)
    }

    /// Lets the first piece go.
    pub fn drop_first(&mut self) {
        self.bytes -= self.pieces.pop_front().map_or(0, |piece| piece.len());
    }

    /// Adds bytes at the end: few are copied, more stay as they are.
    pub fn push(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        match self.pieces.back_mut() {
            Some(last) if last.len() + bytes.len() <= PIECE => last.extend_from_slice(&bytes),
            _ => self.pieces.push_back(bytes),
        }
    }

    /// Adds those of another one.
    pub fn append(&mut self, other: Self) {
        other.pieces.into_iter().for_each(|piece| self.push(piece));
    }

    /// All in one.
    pub fn concat(self) -> Vec<u8> {
        self.pieces.into_iter().flatten().collect()
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let more = !self.pieces.is_empty();
        let last = match self.pieces.back_mut().filter(|last| last.len() < PIECE) {
            Some(last) => last,
            // The first one grows: most files of thousands are small.
            None => {
                self.pieces.push_back(Vec::with_capacity(if more { PIECE } else { 0 }));
                self.pieces.back_mut().expect("invariant: just pushed")
            }
        };
        let fitting = bytes.len().min(PIECE - last.len());
        last.extend_from_slice(&bytes[..fitting]);
        self.bytes += fitting;
        Ok(fitting)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever comes in, in whatever parts, goes out in order.
        #[test]
        fn all_bytes_come_out_in_order(parts in prop::collection::vec((0usize..3_000_000, any::<bool>()), 1..6)) {
            let (mut pieces, mut expected, mut out) = (Pieces::default(), Vec::new(), Vec::new());
            for (number, &(length, written)) in parts.iter().enumerate() {
                let bytes: Vec<u8> = (0..length).map(|at| (at % 251 + number) as u8).collect();
                expected.extend_from_slice(&bytes);
                if written {
                    pieces.write_all(&bytes).unwrap();
                } else {
                    let mut other = Pieces::default();
                    other.push(bytes);
                    pieces.append(other);
                }
                prop_assert!(pieces.memory() >= pieces.len());
            }
            prop_assert_eq!(pieces.len(), expected.len());
            while let Some(piece) = pieces.first() {
                prop_assert!(!piece.is_empty());
                out.extend_from_slice(piece);
                pieces.drop_first();
            }
            prop_assert!(out == expected && pieces.is_empty());
        }
    }
}
