//! What a message of the log carries beside its change, in a header of its own.

use dujiang_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// Name of the header.
pub const HEADER: &str = "dujiang.log";

/// The header's content, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the entry: the order in which they were captured.
    pub n: u64,
    /// Number of the first change that was captured with it, in one batch.
    pub first: u64,
    /// Number of the entry that told the table's shape.
    pub shape: u64,
    /// Orders it among changes of other tables; see `Origins::push_in_turn`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn: u64,
    /// Whether its batch is followed by another one of its cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_on: bool,
}

fn is_zero(turn: &u64) -> bool {
    *turn == 0
}

impl Head {
    /// Reads one; `None` when it is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The headers of a run of messages, end to end.
#[derive(Debug, Default)]
pub struct Heads {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Heads {
    /// Appends one.
    ///
    /// # Errors
    /// Never.
    pub fn push(&mut self, head: &Head) -> Result<()> {
        serde_json::to_writer(&mut self.bytes, head)
            .map_err(|error| Error::new(Code::Bug, "a header cannot be written").with_source(error))?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// The bytes of one.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied()? };
        self.bytes.get(start..*self.ends.get(index)?)
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_were_written() {
        let first = Head { n: 7, first: 7, shape: 1, turn: 0, goes_on: false };
        let second = Head { n: 8, first: 7, shape: 1, turn: 3, goes_on: true };
        let mut heads = Heads::default();
        heads.push(&first).unwrap();
        heads.push(&second).unwrap();
        assert_eq!(heads.get(0), Some(&br#"{"n":7,"first":7,"shape":1}"#[..]));
        assert_eq!([0, 1].map(|index| Head::read(heads.get(index).unwrap())), [Some(first), Some(second)]);
        assert_eq!(heads.get(2), None);
    }
}
