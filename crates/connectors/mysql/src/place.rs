//! Places in the binlog of one server.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Stands for the file where places are numbers of transactions.
const NUMBERED: &str = "transaction.0";

/// A byte in a binlog file. Ordered by the file's **number** and the offset, never by the file's name as text (F38).
///
/// Places of different servers must not be compared; their owner sees to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: Arc<str>,
    number: u64,
    /// Offset in the file. Tracked in 64 bits, since a file may grow past the 32 bits of an event's own field.
    pub offset: u64,
}

impl Place {
    /// A place; `None` when the file name does not end in a number.
    pub fn new(file: &str, offset: u64) -> Option<Self> {
        let number = file.rsplit_once('.')?.1.parse().ok()?;
        Some(Self { file: file.into(), number, offset })
    }

    /// Parses `bin.000003:4711`.
    pub fn parse(text: &str) -> Option<Self> {
        let (file, offset) = text.rsplit_once(':')?;
        Self::new(file, offset.parse().ok()?)
    }

    /// The transaction of this number, where the log counts its transactions and places in its files mean nothing.
    pub fn of_number(number: u64) -> Self {
        Self { file: NUMBERED.into(), number: 0, offset: number }
    }

    /// Whether this is the number of a transaction.
    pub fn is_number(&self) -> bool {
        &*self.file == NUMBERED
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The number the file's name ends in.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Another offset in the same file.
    #[must_use]
    pub fn at(&self, offset: u64) -> Self {
        Self { offset, ..self.clone() }
    }
}

/// Where the event after one begins, at or behind `here`: the server tells the low 32 bits only, and it may have passed over
/// events in between (a start by GTID).
pub fn next_offset(here: u64, size: u32, told: u32) -> u64 {
    let least = here + u64::from(size);
    let next = (least & !0xffff_ffff) | u64::from(told);
    if next < least { next + (1 << 32) } else { next }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.number, self.offset, &self.file).cmp(&(other.number, other.offset, &other.file))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f38_files_are_ordered_by_number() {
        let place = |text| Place::parse(text).unwrap();
        assert!(place("bin.1000000:4") > place("bin.999999:900"));
        assert!(place("bin.000003:500") > place("bin.000003:94"));
        assert_eq!(place("a.b.000003:7000000000").to_string(), "a.b.000003:7000000000");
        assert_eq!(next_offset(4, 100, 104), 104);
        assert_eq!(next_offset(4, 100, 9_000), 9_000, "events were passed over");
        assert_eq!(next_offset(0xffff_ff00, 0x200, 0x100), 0x1_0000_0100);
        assert_eq!(next_offset(0x2_ffff_ff00, 0x100, 0), 0x3_0000_0000);
        assert!(Place::parse("bin:4").is_none() && Place::parse("bin.000001").is_none());
    }
}
