//! Places in the server's log.

use dujiang_core::{Code, Error, Result};
use std::fmt;

/// A log sequence number: a byte of the write-ahead log, counted from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl Lsn {
    /// Reads `16/B374D848`.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn parse(text: &str) -> Result<Self> {
        let half = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
        let halves = text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?)));
        let (high, low) = halves.ok_or_else(|| {
            Error::new(Code::Protocol, "a place in the log cannot be read").fact("place", text.to_owned())
        })?;
        Ok(Self(high << 32 | low))
    }

    /// The end of the last record before this place, if the place is where the next record would be written: when the log
    /// ends with a page, that is behind the header of the next page (24 or 40 bytes), which no record ever reaches.
    #[must_use]
    pub fn end_of_record(self, page: u64) -> Self {
        const LONGEST_HEADER: u64 = 40;
        let in_page = self.0 % page.max(1);
        if in_page <= LONGEST_HEADER { Self(self.0 - in_page) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_the_server_writes_them() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(Lsn::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "1", "1/", "x/1", "100000000/0"] {
            assert!(Lsn::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_header_is_no_end_of_a_record() {
        assert_eq!(Lsn(8192 + 24).end_of_record(8192), Lsn(8192));
        assert_eq!(Lsn(8192 + 40).end_of_record(8192), Lsn(8192));
        assert_eq!(Lsn(8192 + 48).end_of_record(8192), Lsn(8192 + 48));
    }
}
