//! What a snapshot shows. Pure.

use crate::lsn::Lsn;
use dujiang_core::{Code, Error, Result};
use std::fmt;
use std::sync::Arc;

/// A transaction that has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its id, in full.
    pub xid: u64,
    /// Where its commit record begins.
    pub place: Lsn,
}

/// Which transactions a snapshot of the server shows (`pg_current_snapshot()`), and a place that all of their commits lie
/// before.
///
/// A snapshot of a standby does not name the transactions it does not show. But there commits become visible one by one as their
/// records are replayed: it shows those before a place ([`View::replayed`]), and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View(Arc<Parts>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    /// All below are visible, or rolled back.
    xmin: u64,
    /// None from here on is.
    xmax: u64,
    /// Those between that are not, ascending.
    running: Vec<u64>,
    /// Read after the snapshot was taken.
    high: Lsn,
    /// Of a standby: all commits before `high` are shown, and only they.
    replayed: bool,
    /// The timeline of the server that it is of; 0 where that is not known.
    timeline: u32,
    /// Commits from here on count as not shown.
    told_again: Option<Lsn>,
}

/// Stands for the snapshot of a standby.
const REPLAYED: &str = "replayed";

impl View {
    /// Reads `10:20:10,14,15` as `pg_current_snapshot()` prints it.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn parse(snapshot: &str, high: Lsn) -> Result<Self> {
        let bad = || Error::new(Code::Protocol, "a snapshot of the server cannot be read").fact("snapshot", snapshot);
        let mut parts = snapshot.split(':');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (xmin, xmax) = (number().ok_or_else(bad)?, number().ok_or_else(bad)?);
        let list = parts.next().filter(|_| xmin <= xmax).ok_or_else(bad)?;
        let running = list.split(',').filter(|xid| !xid.is_empty()).map(str::parse);
        let mut running = running.collect::<std::result::Result<Vec<u64>, _>>().map_err(|_| bad())?;
        running.sort_unstable();
        Ok(Self(Arc::new(Parts { xmin, xmax, running, high, replayed: false, timeline: 0, told_again: None })))
    }

    /// The same, of a server on this timeline.
    #[must_use]
    pub fn on_timeline(self, timeline: u32) -> Self {
        Self(Arc::new(Parts { timeline, ..Parts::clone(&self.0) }))
    }

    /// The view of a standby that has replayed everything before `place`, and nothing else.
    pub fn replayed(place: Lsn) -> Self {
        Self(Arc::new(Parts {
            xmin: 0,
            xmax: 0,
            running: Vec::new(),
            high: place,
            replayed: true,
            timeline: 0,
            told_again: None,
        }))
    }

    /// The same for rows that the stream is to tell again what was committed from `place` on, which they show.
    #[must_use]
    pub fn told_again(&self, place: Lsn) -> Self {
        Self(Arc::new(Parts { told_again: Some(place), ..Parts::clone(&self.0) }))
    }

    /// Reads what `Display` writes.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn read(text: &str) -> Result<Self> {
        let bad = || Error::new(Code::Protocol, "a snapshot cannot be read").fact("snapshot", text);
        let (text, told_again) = text.split_once('<').map_or((text, None), |(text, place)| (text, Some(place)));
        let (snapshot, high) = text.split_once('@').ok_or_else(bad)?;
        let (high, timeline) = high.split_once('#').unwrap_or((high, "0"));
        let (high, timeline) = (Lsn::parse(high)?, timeline.parse().map_err(|_| bad())?);
        let view = if snapshot == REPLAYED { Self::replayed(high) } else { Self::parse(snapshot, high)? };
        let view = view.on_timeline(timeline);
        Ok(match told_again {
            Some(place) => view.told_again(Lsn::parse(place)?),
            None => view,
        })
    }

    /// Whether the snapshot shows what a transaction did, so that it is not told.
    pub fn shows(&self, of: Committed) -> bool {
        if self.0.told_again.is_some_and(|from| of.place >= from) {
            return false;
        }
        if self.0.replayed { of.place < self.0.high } else { self.lists(of.xid) }
    }

    /// Whether it may show commits from `place` on.
    pub fn may_show(&self, place: Lsn) -> bool {
        self.0.told_again.unwrap_or(self.0.high) > place
    }

    fn lists(&self, xid: u64) -> bool {
        xid < self.0.xmin || (xid < self.0.xmax && self.0.running.binary_search(&xid).is_err())
    }

    /// The place that all commits shown lie before.
    pub fn high(&self) -> Lsn {
        self.0.high
    }

    /// Whether it is one of a standby.
    pub fn is_replayed(&self) -> bool {
        self.0.replayed
    }

    /// The timeline of the server that it is of, if that is known.
    pub fn timeline(&self) -> Option<u32> {
        (self.0.timeline != 0).then_some(self.0.timeline)
    }

    /// The transactions that were under way.
    pub fn running(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.running.iter().copied()
    }

    /// All transactions before this one had ended.
    pub fn oldest(&self) -> u64 {
        self.0.xmin
    }

    /// The first transaction id that had not been given out.
    pub fn next_xid(&self) -> u64 {
        self.0.xmax
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.replayed {
            write!(f, "{REPLAYED}")?;
        } else {
            write!(f, "{}:{}:", self.0.xmin, self.0.xmax)?;
            for (at, xid) in self.0.running.iter().enumerate() {
                write!(f, "{}{xid}", if at == 0 { "" } else { "," })?;
            }
        }
        write!(f, "@{}", self.0.high)?;
        if self.0.timeline != 0 {
            write!(f, "#{}", self.0.timeline)?;
        }
        if let Some(place) = self.0.told_again {
            write!(f, "<{place}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_shows_what_was_committed_before_it() {
        let view = View::parse("10:20:15,10,14", Lsn(7)).unwrap();
        let shown: Vec<u64> = (8..22).filter(|xid| view.shows(Committed { xid: *xid, place: Lsn(99) })).collect();
        assert_eq!(shown, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert_eq!(View::read(&view.to_string()).unwrap(), view);
        let later = view.clone().on_timeline(2);
        assert_eq!((View::read(&later.to_string()).unwrap(), view.timeline()), (later.clone(), None));
        let again = later.told_again(Lsn(5));
        let of = |place| Committed { xid: 9, place: Lsn(place) };
        assert!(again.shows(of(4)) && !again.shows(of(5)) && later.shows(of(5)));
        assert_eq!(View::read(&again.to_string()).unwrap(), again);
        let none = View::parse("10:10:", Lsn(7)).unwrap();
        assert!(none.lists(9) && !none.lists(10));
        let standby = View::replayed(Lsn(7));
        assert!(
            standby.shows(Committed { xid: 99, place: Lsn(6) }) && !standby.shows(Committed { xid: 1, place: Lsn(7) })
        );
        assert_eq!(View::read(&standby.to_string()).unwrap(), standby);
        for text in ["", "1:2", "2:1:", "a:2:", "1:2:x"] {
            assert!(View::parse(text, Lsn(0)).is_err(), "{text}");
        }
    }
}
