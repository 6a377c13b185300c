//! Places in a log.

use dujiang_core::{Code, Error, Position, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What of a place differs from system to system: from where a number is found.
pub trait Place: Copy + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// The system, for people.
    const SYSTEM: &'static str;
}

/// A place in a log, as the checkpoints of a delivery hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot<P> {
    /// Which log: numbers of another one mean something else (INV-5).
    pub log: String,
    /// Number of the next entry.
    pub number: u64,
    /// From where that entry is found.
    #[serde(flatten)]
    pub at: P,
}

impl<P: Place> Spot<P> {
    /// Reads a checkpoint's position.
    ///
    /// # Errors
    /// `LogOther` for one of another kind of source.
    pub fn of(position: &Position) -> Result<Self> {
        serde_json::from_slice(position.as_bytes()).map_err(|error| {
            Error::new(Code::LogOther, format!("the checkpoint's position is not one of a log in {}", P::SYSTEM))
                .help("the pipeline has read from another source until now; give this one another `pipeline.name`")
                .with_source(error)
        })
    }

    /// As a checkpoint holds it.
    ///
    /// # Errors
    /// Never.
    pub fn write(&self) -> Result<Position> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Position::new).map_err(|e| Error::new(Code::Bug, "a position cannot be written").with_source(e))
    }

    /// For people.
    pub fn describe(position: &Position) -> String {
        Self::of(position).map_or_else(|error| error.message().to_owned(), |spot| format!("offset {}", spot.number))
    }

    /// Checks that it is a place of this log, whose last entry stands before `end`.
    ///
    /// # Errors
    /// `LogOther`.
    pub fn check(&self, log: &str, end: u64) -> Result<()> {
        if self.log != log {
            return Err(Error::new(Code::LogOther, "the checkpoint's position belongs to another log")
                .fact("log", log)
                .fact("the position's", self.log.as_str())
                .help("bring the log back, or begin the delivery anew with an empty state directory and sink"));
        }
        if self.number > end {
            return Err(Error::new(Code::LogOther, "the delivery has read what the log no longer has")
                .fact("position", format!("offset {}", self.number))
                .fact("the log ends at", format!("offset {end}"))
                .help("bring the log and the delivery's state back to the same moment"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    struct Page {
        page: u64,
    }

    impl Place for Page {
        const SYSTEM: &'static str = "a book";
    }

    #[test]
    fn places_are_kept_by_checkpoints_and_belong_to_one_log() {
        let spot = Spot { log: "b/1".to_owned(), number: u64::MAX, at: Page { page: 7 } };
        let position = spot.write().unwrap();
        assert_eq!(position.as_bytes(), format!(r#"{{"log":"b/1","number":{},"page":7}}"#, u64::MAX).as_bytes());
        assert_eq!(Spot::<Page>::of(&position).unwrap(), spot);
        assert_eq!(Spot::<Page>::describe(&position), format!("offset {}", u64::MAX));
        let other = Position::new(br#"{"log":"b/1","number":3}"#.to_vec());
        assert_eq!(Spot::<Page>::of(&other).unwrap_err().code(), Code::LogOther);
        assert!(Spot::<Page>::describe(&other).ends_with("a log in a book"));
        let spot = Spot { number: 5, ..spot };
        assert!(spot.check("b/1", 5).is_ok());
        assert_eq!(spot.check("b/1", 4).unwrap_err().code(), Code::LogOther);
        assert_eq!(spot.check("b/2", 9).unwrap_err().code(), Code::LogOther);
    }
}
