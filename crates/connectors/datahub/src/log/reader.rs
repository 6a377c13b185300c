//! The reading end: hands out what the task has put into order.

use super::follow::{Follow, Piece};
use super::look::Spot;
use super::order::{Entry, Item};
use super::tail::Trouble;
use async_trait::async_trait;
use dujiang_core::clock::Clock;
use dujiang_core::sink::Milestone;
use dujiang_core::source::{Acker, Reader, SourceEvent, SourceStatus};
use dujiang_core::{ChangeBatch, Code, Error, Position, Result};
use dujiang_entries::Here;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that may wait.
const PIECES: usize = 2;
/// Longest wait before the reader says that nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct LogReader {
    here: Arc<Here>,
    pieces: mpsc::Receiver<Result<Piece>>,
    task: JoinHandle<()>,
    ready: VecDeque<Item>,
    /// The place of the next entry that has not been handed out.
    spot: Spot,
    /// The place behind the change of a shape that was handed out last: it passes with the next call.
    pending: Option<(u64, u64)>,
    /// Where the log ended when the reader was opened.
    target: u64,
    told_caught_up: bool,
    end: u64,
    last_commit: Option<i64>,
    mid_cut: bool,
    trouble: Trouble,
    clock: Arc<dyn Clock>,
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LogReader {
    pub(crate) fn start(
        follow: Follow,
        here: Arc<Here>,
        (spot, target): (Spot, u64),
        trouble: Trouble,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES);
        let task = tokio::spawn(follow.run(sender));
        let (ready, pending, told_caught_up, last_commit, mid_cut) = Default::default();
        let end = target;
        Self {
            here,
            pieces,
            task,
            ready,
            spot,
            pending,
            target,
            told_caught_up,
            end,
            last_commit,
            mid_cut,
            trouble,
            clock,
        }
    }

    fn pass(&mut self, (number, segment): (u64, u64)) {
        (self.spot.number, self.spot.segment) = (number, segment);
    }

    /// The event of an entry; `None` for one that says nothing to this reader.
    fn event(&mut self, item: Item) -> Option<SourceEvent> {
        let behind = (item.number, item.segment);
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
impl Reader for LogReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        if let Some(behind) = self.pending.take() {
            self.pass(behind);
        }
        loop {
            if let Some(item) = self.ready.pop_front() {
                match self.event(item) {
                    Some(event) => return Ok(event),
                    None => continue,
                }
            }
            if self.caught_up() {
                return Ok(SourceEvent::CaughtUp);
            }
            match tokio::time::timeout(PATIENCE, self.pieces.recv()).await {
                Err(_) => return Ok(SourceEvent::Idle),
                Ok(Some(Ok(piece))) => {
                    self.end = self.end.max(piece.end);
                    self.ready.extend(piece.items);
                }
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) => return Err(Error::new(Code::Bug, "the task that follows the log has ended")),
            }
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
            disconnected: self.trouble.told(),
            last_commit_micros: self.last_commit,
            lag_micros: Some(lag),
            position: format!("offset {} of {}", self.spot.number, self.end),
            ..SourceStatus::default()
        }
    }
}

/// Nothing in DataHub waits for a delivery.
pub(crate) struct LogAcker;

#[async_trait]
impl Acker for LogAcker {
    async fn ack(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }
}
