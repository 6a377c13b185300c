//! Timelines of a server: every promotion of a standby begins another one, and leaves the one before at some place.

use crate::lineage::ServerName;
use crate::lsn::Lsn;
use crate::snapshot::View;
use dujiang_core::{Code, Error, Result, fault};

/// Earlier timelines, and where they were left. Empty where nobody had to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(Vec<(u32, Lsn)>);

impl History {
    /// Reads a history file: lines of timeline, place and reason.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn parse(content: &str) -> Result<Self> {
        let entry = |line: &str| {
            let mut words = line.split_whitespace();
            let timeline = words.next()?.parse::<u32>().ok()?;
            Some(Lsn::parse(words.next()?).map(|left| (timeline, left)))
        };
        content.lines().filter_map(entry).collect::<Result<_>>().map(Self)
    }

    /// Where a timeline was left, if it is one of the earlier ones.
    pub fn left(&self, timeline: u32) -> Option<Lsn> {
        self.0.iter().find(|(of, _)| *of == timeline).map(|(_, left)| *left)
    }

    /// Whether a server with this history has all that was visible at the one that a view was taken at: commits behind the place
    /// where its timeline was left are lost, and the numbers of their transactions are given to others (INV-5).
    ///
    /// # Errors
    /// `OtherServer`.
    pub fn has(&self, view: &View, server: &ServerName) -> Result<()> {
        let Some(timeline) = view.timeline().filter(|of| *of != server.timeline && !self.0.is_empty()) else {
            return Ok(());
        };
        let left = self.left(timeline);
        if left.is_some_and(|left| view.high() <= left) || fault::removed("promoted-with-all-that-is-shown") {
            return Ok(());
        }
        let left = left.map_or_else(|| "never".to_owned(), |left| left.to_string());
        Err(Error::new(Code::OtherServer, "the server was promoted before it had all that the snapshot has read")
            .fact("found", format!("system {}, timeline {}", server.system, server.timeline))
            .fact("the old timeline was left at", left)
            .fact("a chunk of the snapshot shows what lies before", view.high().to_string())
            .help("rows of the snapshot may be lost at the source: start a new pipeline with a new snapshot"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        History::parse("1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tbefore 2000-01-01\n").unwrap()
    }

    #[test]
    fn a_timelines_end_is_found_in_the_history_of_a_later_one() {
        assert_eq!(history().left(1), Some(Lsn(0x300_0148)));
        assert_eq!(history().left(2), Some(Lsn(0x500_0000)));
        assert_eq!(history().left(3), None);
    }

    #[test]
    fn inv5_what_a_view_shows_must_lie_before_the_end_of_its_timeline() {
        let server = ServerName { system: "7".into(), timeline: 3 };
        let view = |high, timeline| View::parse("5:5:", Lsn(high)).unwrap().on_timeline(timeline);
        for (high, timeline) in [(0x300_0148, 1), (0x500_0000, 2), (u64::MAX, 3), (u64::MAX, 0)] {
            history().has(&view(high, timeline), &server).unwrap();
        }
        let refused = |high, timeline| history().has(&view(high, timeline), &server).unwrap_err();
        for (high, timeline) in [(0x300_0149, 1), (0x500_0001, 2), (1, 4)] {
            assert_eq!(refused(high, timeline).code(), Code::OtherServer);
        }
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &refused(0x500_0001, 2), &[]);
        History::default().has(&view(u64::MAX, 1), &server).unwrap();
    }
}
