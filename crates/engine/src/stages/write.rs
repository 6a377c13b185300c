//! One lane: writes batches, tries again, sends what fails to the dead letters, prepares at barriers.

use super::lanes::{Gauges, LaneMessage};
use super::ledger::Images;
use super::letters;
use super::{EpochPart, Report, caught};
use crate::runtime::health::{Concern, Health};
use crate::runtime::job::{ErrorPolicy, Settings};
use crate::runtime::retry::{self, Retrier};
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::Lineage;
use dujiang_core::dead_letter::Stage;
use dujiang_core::sink::{Milestone, SinkClass, SinkFigures, Writer};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Kind, Result, TableId, fault};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often a lane looks whether its writer is in trouble, while something waits to be written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One lane's task.
pub(crate) struct Lane {
    pub(crate) lane: usize,
    pub(crate) writer: Box<dyn Writer>,
    pub(crate) queue: mpsc::Receiver<LaneMessage>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) class: SinkClass,
    pub(crate) lineage: Lineage,
    pub(crate) budget: Budget,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) health: Health,
    pub(crate) retrier: Retrier,
    pub(crate) part: EpochPart,
    pub(crate) shown: SinkFigures,
    pub(crate) prepares: JoinSet<()>,
    /// Rows have been written since the last barrier.
    pub(crate) open: bool,
    /// The writer's trouble has been told.
    pub(crate) troubled: bool,
}

impl Lane {
    /// Works until the queue ends; an error is the last report.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.work().await {
            // The driver may be gone: then nobody needs the error.
            let _ = self.reports.send(Report::Failed(error)).await;
        }
    }

    async fn work(&mut self) -> Result<()> {
        loop {
            let message = tokio::select! {
                biased;
                message = self.queue.recv() => message,
                () = self.gauges.asked_to_spill(self.lane) => {
                    self.spill_if_over().await?;
                    continue;
                }
                Some(_) = self.prepares.join_next(), if !self.prepares.is_empty() => {
                    self.show_figures();
                    continue;
                }
                () = tokio::time::sleep(LOOK_EVERY), if self.open || self.troubled || !self.prepares.is_empty() => {
                    self.show_trouble();
                    continue;
                }
            };
            match message {
                None => {
                    self.show_figures();
                    return Ok(());
                }
                Some(LaneMessage::Batch { table, batch, goes_on, room }) => {
                    self.writer.cut_goes_on(goes_on);
                    self.write(&table, &batch).await?;
                    // The writer has taken it: nobody else keeps it from being let go of column by column.
                    drop((batch, room));
                    self.after_write().await?;
                }
                Some(LaneMessage::Milestone(milestone)) => self.mark(milestone).await?,
                Some(LaneMessage::Sync(meeting)) => {
                    meeting.wait().await;
                }
                Some(LaneMessage::Barrier(epoch)) => self.prepare(epoch).await?,
            }
        }
    }

    async fn write(&mut self, table: &TableId, batch: &ChangeBatch) -> Result<()> {
        let failed = match self.write_with_retry(batch).await {
            Ok(failed) => failed,
            Err(error) if retry::is_dead_letter(&error, self.settings.error_policy) => every_record(batch, &error),
            Err(error) => return Err(error.fact("table", table.to_string())),
        };
        let mut dead = 0;
        if !failed.is_empty() {
            if self.settings.error_policy == ErrorPolicy::Halt {
                let first = failed.into_iter().next().expect("invariant: it is not empty");
                return Err(letters::halting(table, batch, first));
            }
            let built = letters::build(&self.lineage, table, Stage::Sink, batch, &failed)?;
            dead = built.images;
            self.health.board().update(|s| s.dead_letters += built.letters.len() as u64);
            self.gauges.add_letters(built.letters.len());
            let from = self.part.letters.len();
            self.part.letters.extend(built.letters);
            self.part.hold_letters(from, &self.budget);
        }
        self.count(table, batch, dead, &failed)
    }

    async fn write_with_retry(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        let mut failures = 0;
        loop {
            match self.writer.write(batch).await {
                Ok(failed) => {
                    self.health.recovered(Concern::Write(self.lane));
                    return Ok(failed);
                }
                Err(error) => {
                    failures = self.retrier.pause_after(Concern::Write(self.lane), error, failures + 1).await?
                }
            }
        }
    }

    async fn mark(&mut self, milestone: Milestone) -> Result<()> {
        let mut failures = 0;
        while let Err(error) = self.writer.mark(milestone).await {
            failures = self.retrier.pause_after(Concern::Write(self.lane), error, failures + 1).await?;
        }
        self.health.recovered(Concern::Write(self.lane));
        self.open = true;
        Ok(())
    }

    fn count(&mut self, table: &TableId, batch: &ChangeBatch, dead: u64, failed: &[RowError]) -> Result<()> {
        let Some(sunk) = (batch.images() as u64).checked_sub(dead) else {
            return Err(Error::new(Code::Bug, "a writer refused more rows than it was given"));
        };
        self.part.ledger.count(table, Images { sunk, dead, ..Images::default() });
        let refused: Vec<Kind> = failed.iter().map(|e| counted_kind(batch.kinds[e.row])).collect();
        let mut out = crate::runtime::status::KindCounts::default();
        out.add(&batch.kinds);
        self.health.board().update(|s| s.rows_out.add_difference(out, &refused));
        Ok(())
    }

    async fn after_write(&mut self) -> Result<()> {
        self.open = true;
        self.spill_if_over().await?;
        if self.class == SinkClass::AtLeastOnce && self.queue.is_empty() {
            self.flush().await?;
        }
        self.show_figures();
        Ok(())
    }

    async fn spill_if_over(&mut self) -> Result<()> {
        while self.gauges.must_spill(self.lane, self.writer.buffered(), &self.budget) {
            let before = self.writer.buffered();
            let mut failures = 0;
            while let Err(error) = self.writer.spill().await {
                failures = self.retrier.pause_after(Concern::Write(self.lane), error, failures + 1).await?;
            }
            if self.writer.buffered() >= before {
                break;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let mut failures = 0;
        while let Err(error) = self.writer.flush().await {
            failures = self.retrier.pause_after(Concern::Write(self.lane), error, failures + 1).await?;
        }
        Ok(())
    }

    /// Ends the lane's part of the epoch. The work goes on in a task of its own, so that the next epoch is written
    /// meanwhile.
    async fn prepare(&mut self, epoch: Epoch) -> Result<()> {
        if self.class == SinkClass::AtLeastOnce {
            self.flush().await?;
        }
        fault::point("epoch.prepare");
        let durable = self.writer.prepare(epoch);
        let part = std::mem::take(&mut self.part);
        self.gauges.must_spill(self.lane, self.writer.buffered(), &self.budget);
        self.show_figures();
        self.open = false;
        let (lane, reports) = (self.lane, self.reports.clone());
        self.prepares.spawn(async move {
            let report = match caught(durable).await {
                Ok(tokens) => Report::Prepared { epoch, lane, tokens, part },
                Err(error) => Report::Failed(error.fact("while", format!("preparing epoch {epoch}"))),
            };
            // The driver may be gone: then the epoch was never published.
            let _ = reports.send(report).await;
        });
        Ok(())
    }

    /// A writer may be stuck with rows that it has accepted while nobody writes: a checkpoint that only takes long has
    /// to have a reason (R4.6).
    fn show_trouble(&mut self) {
        let concern = Concern::Flush(self.lane);
        match self.writer.trouble() {
            Some(why) if !self.troubled => {
                self.troubled = true;
                self.health.fault(concern, &why, "the write is tried again; the next checkpoint waits for it");
            }
            None if self.troubled => {
                self.troubled = false;
                self.health.recovered(concern);
            }
            _ => {}
        }
    }

    fn show_figures(&mut self) {
        let now = self.writer.figures();
        if now != self.shown {
            let shown = std::mem::replace(&mut self.shown, now);
            self.health.board().update(|s| {
                s.files += now.units - shown.units;
                s.bytes += now.bytes - shown.bytes;
            });
        }
    }
}

/// An update's letter names its before image, but its after image is what counts.
fn counted_kind(kind: Kind) -> Kind {
    if kind == Kind::UpdateBefore { Kind::UpdateAfter } else { kind }
}

/// The last try of a whole batch failed: each of its records is a failed one.
fn every_record(batch: &ChangeBatch, error: &Error) -> Vec<RowError> {
    let records = (0..batch.images()).filter(|&row| batch.kinds[row] != Kind::UpdateAfter);
    records.map(|row| RowError { row, error: Error::new(error.code(), error.to_string()) }).collect()
}
