//! The reading end of a log: hands out what was put into order, and knows the place behind it.

use crate::entry::{Entry, Item, Piece};
use crate::here::Here;
use crate::spot::{Place, Spot};
use async_trait::async_trait;
use dujiang_core::clock::Clock;
use dujiang_core::sink::Milestone;
use dujiang_core::source::{Reader, SourceEvent, SourceStatus};
use dujiang_core::{ChangeBatch, Position, Result};
use std::collections::VecDeque;
use std::sync::Arc;

/// What follows a log.
#[async_trait]
pub trait Pieces: Send {
    /// Of its places.
    type Place: Place;

    /// What has been read since; `None` when there was nothing for about a second. **Cancel-safe**.
    ///
    /// # Errors
    /// As [`Reader::next`].
    async fn next(&mut self) -> Result<Option<Piece<Self::Place>>>;

    /// Why nothing comes, while the connection is lost.
    fn trouble(&self) -> Option<String>;
}

/// Reads a log from a place on.
pub struct LogReader<F: Pieces> {
    follow: F,
    here: Arc<Here>,
    ready: VecDeque<Item<F::Place>>,
    /// The place of the next entry that has not been handed out.
    spot: Spot<F::Place>,
    /// The place behind the change of a shape that was handed out last: it passes with the next call.
    pending: Option<(u64, F::Place)>,
    /// Where the log ended when the reader was opened.
    target: u64,
    told_caught_up: bool,
    end: u64,
    last_commit: Option<i64>,
    mid_cut: bool,
    clock: Arc<dyn Clock>,
}

impl<F: Pieces> LogReader<F> {
    /// Hands out what `follow` brings from `spot` on; `target` is where the log ends at this moment.
    pub fn new(follow: F, here: Arc<Here>, (spot, target): (Spot<F::Place>, u64), clock: Arc<dyn Clock>) -> Self {
        let (ready, pending, told_caught_up, last_commit, mid_cut) = Default::default();
        Self { follow, here, ready, spot, pending, target, told_caught_up, end: target, last_commit, mid_cut, clock }
    }

    fn pass(&mut self, (number, at): (u64, F::Place)) {
        (self.spot.number, self.spot.at) = (number, at);
    }

    /// The event of an entry; `None` for one that says nothing to this reader.
    fn event(&mut self, item: Item<F::Place>) -> Option<SourceEvent> {
        let behind = (item.number, item.at);
        match item.entry {
            Entry::Schema(change) => {
                self.pending = Some(behind);
                Some(SourceEvent::SchemaChange(change))
            }
            Entry::Batch { batch, goes_on } => {
                self.pass(behind);
                self.last_commit = batch.origins.iter().map(|(_, origin)| origin.commit_micros).max();
                self.mid_cut = goes_on;
                Some(SourceEvent::Batch(batch))
            }
            Entry::Milestone(milestone, generation) => {
                self.pass(behind);
                self.milestone(milestone, generation)
            }
        }
    }

    fn milestone(&mut self, milestone: Milestone, generation: u64) -> Option<SourceEvent> {
        let event = SourceEvent::of_milestone(milestone, self.here.capture() == Some(generation));
        self.told_caught_up |= matches!(event, Some(SourceEvent::CaughtUp));
        event
    }

    /// Where nobody of this process captures, a delivery has caught up at what was there when it began.
    fn caught_up(&mut self) -> bool {
        let reached = self.here.capture().is_none() && self.spot.number >= self.target;
        reached && !std::mem::replace(&mut self.told_caught_up, true)
    }
}

#[async_trait]
impl<F: Pieces> Reader for LogReader<F> {
    async fn next(&mut self) -> Result<SourceEvent> {
        if let Some(behind) = self.pending.take() {
            self.pass(behind);
        }
        loop {
            while let Some(item) = self.ready.pop_front() {
                if let Some(event) = self.event(item) {
                    return Ok(event);
                }
            }
            if self.caught_up() {
                return Ok(SourceEvent::CaughtUp);
            }
            let Some(piece) = self.follow.next().await? else { return Ok(SourceEvent::Idle) };
            self.end = self.end.max(piece.end);
            self.ready.extend(piece.items);
        }
    }

    fn barrier(&mut self, _out: &mut Vec<ChangeBatch>) -> Result<Position> {
        self.spot.write()
    }

    fn is_mid_cut(&self) -> bool {
        self.mid_cut
    }

    fn status(&self) -> SourceStatus {
        let lag = match self.last_commit {
            Some(commit) if self.spot.number < self.end => (self.clock.now_micros() - commit).max(0),
            _ => 0,
        };
        SourceStatus {
            disconnected: self.follow.trouble(),
            last_commit_micros: self.last_commit,
            lag_micros: Some(lag),
            position: format!("offset {} of {}", self.spot.number, self.end),
            ..SourceStatus::default()
        }
    }
}
