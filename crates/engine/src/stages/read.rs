//! The reader: pulls changes, transforms them, sends them to lanes, passes barriers.

use super::lanes::{Gauges, Lanes};
use super::order;
use super::transform::Chain;
use super::{EpochPart, ReadCommand, Report};
use crate::protocol::{Cause, Mark};
use crate::runtime::health::{Concern, Health};
use crate::runtime::job::{End, Settings, Until};
use crate::runtime::status::KindCounts;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::Lineage;
use dujiang_core::sink::Milestone;
use dujiang_core::source::{Reader, Source, SourceEvent};
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Kind, Result, fault};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often the source's figures are put on the board at most.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// The reader's task.
pub(crate) struct ReadStage {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) lanes: Lanes,
    pub(crate) commands: mpsc::Receiver<ReadCommand>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) until: Option<Until>,
    pub(crate) lineage: Lineage,
    pub(crate) budget: Budget,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) health: Health,
    pub(crate) open: OpenEpoch,
}

/// What the reader knows of the epoch being written, and of the run.
#[derive(Default)]
pub(crate) struct OpenEpoch {
    part: EpochPart,
    images: u64,
    bytes: u64,
    large: bool,
    /// A milestone has been handed on in this epoch.
    marked: bool,
    /// Nothing is read until the driver says so.
    holding: bool,
    snapshot_done: bool,
    caught_up: bool,
    shown: Option<Instant>,
}

impl ReadStage {
    /// Reads until the driver drops the commands; an error is the last report.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.work().await {
            // The driver may be gone: then nobody needs the error.
            let _ = self.reports.send(Report::Failed(error)).await;
        }
    }

    async fn work(&mut self) -> Result<()> {
        self.show_status();
        // Whoever reads a log may merge tables, or give them other keys.
        if self.chain.joins_rows() || self.lanes.feeds_log() {
            self.reader.keep_order_across_tables(self.chain.told_twice());
        }
        loop {
            // A full epoch waits for its barrier. That comes at once, unless the epoch before it cannot be ended yet:
            // then nothing more is read, so that what is open has a bound however long that takes.
            if self.open.holding || self.open.large {
                match self.commands.recv().await {
                    Some(command) => self.obey(command).await?,
                    None => return Ok(()),
                }
                continue;
            }
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await?,
                    None => return Ok(()),
                },
                event = next_with_room(&mut *self.reader, &self.gauges, &self.budget) => self.handle(event?).await?,
            }
            if self.open.shown.is_none_or(|at| at.elapsed() >= SHOW_EVERY) {
                self.show_status();
            }
        }
    }

    async fn obey(&mut self, command: ReadCommand) -> Result<()> {
        match command {
            ReadCommand::Resume => {
                self.open.holding = false;
                if self.chain.merges() {
                    self.reader.keep_order_across_tables(self.chain.told_twice());
                }
                Ok(())
            }
            ReadCommand::Barrier { epoch, cause, after_pause } => {
                if after_pause {
                    tokio::time::sleep(self.settings.retry_pause).await;
                }
                self.open.holding |= cause != Cause::Due;
                self.pass_barrier(epoch).await
            }
        }
    }

    async fn handle(&mut self, event: SourceEvent) -> Result<()> {
        match event {
            SourceEvent::Batch(batch) => {
                if batch.kinds.first() != Some(&Kind::Read) {
                    fault::point("stream.batch");
                }
                let cut = self.whole_cut(batch).await?;
                self.lanes.cut_goes_on(self.reader.is_mid_cut());
                self.take(cut).await?;
                self.report_if_large().await
            }
            SourceEvent::SchemaChange(change) => {
                self.open.holding = true;
                self.report(Report::SchemaChange(change)).await
            }
            SourceEvent::SnapshotDone => {
                self.open.snapshot_done = true;
                self.hand_on(Milestone::SnapshotDone).await?;
                self.report(Report::SnapshotDone).await?;
                self.end_if_reached().await
            }
            SourceEvent::CaughtUp => {
                self.open.caught_up = true;
                self.hand_on(Milestone::CaughtUp).await?;
                self.report(Report::CaughtUp).await?;
                self.end_if_reached().await
            }
            SourceEvent::Idle => Ok(()),
            SourceEvent::End => {
                self.hand_on(Milestone::End).await?;
                self.end(End::SourceEnded).await
            }
        }
    }

    /// A log keeps milestones among the changes, for those who read it.
    async fn hand_on(&mut self, milestone: Milestone) -> Result<()> {
        if self.lanes.feeds_log() {
            self.open.marked = true;
            self.lanes.milestone(milestone).await?;
        }
        Ok(())
    }

    async fn end_if_reached(&mut self) -> Result<()> {
        // A source that resumed after its snapshot has no table in this list and sends no `SnapshotDone`.
        let snapshot_over = self.open.snapshot_done || self.reader.status().snapshot.iter().all(|table| table.done);
        let reached = match self.until {
            None => false,
            Some(Until::Snapshot) => self.open.snapshot_done || (self.open.caught_up && snapshot_over),
            Some(Until::CaughtUp) => self.open.caught_up && snapshot_over,
        };
        if reached { self.end(End::Reached).await } else { Ok(()) }
    }

    async fn end(&mut self, end: End) -> Result<()> {
        self.open.holding = true;
        self.report(Report::Ended(end)).await
    }

    /// What was cut together with a batch, as far as it has to be looked at together.
    async fn whole_cut(&mut self, first: ChangeBatch) -> Result<Vec<ChangeBatch>> {
        let mut cut = vec![first];
        while self.chain.merges() && self.reader.is_mid_cut() {
            match self.reader.next().await? {
                SourceEvent::Batch(batch) => cut.push(batch),
                _ => return Err(Error::new(Code::Bug, "the source told something else in the midst of a cut")),
            }
        }
        Ok(cut)
    }

    /// Sends batches of one cut through transforms into lanes.
    async fn take(&mut self, cut: Vec<ChangeBatch>) -> Result<()> {
        let mut routed = Vec::with_capacity(cut.len());
        for batch in cut {
            let table = batch.schema.id.clone();
            let batches = self.transform(batch)?;
            routed.extend(batches.into_iter().filter(|batch| batch.images() > 0).map(|batch| (table.clone(), batch)));
        }
        if self.chain.merges() {
            routed = order::by_key(routed)?;
        }
        for (table, batch) in routed {
            self.lanes.send(&table, batch).await?;
        }
        Ok(())
    }

    /// What a barrier brings. Without merged tables batch by batch, so that little is held at a time.
    async fn take_rest(&mut self, rest: Vec<ChangeBatch>) -> Result<()> {
        if self.chain.merges() {
            return self.take(rest).await;
        }
        let mut rest = rest.into_iter().filter(|batch| batch.images() > 0).peekable();
        while let Some(batch) = rest.next() {
            self.lanes.cut_goes_on(rest.peek().is_some());
            self.take(vec![batch]).await?;
        }
        Ok(())
    }

    fn transform(&mut self, batch: ChangeBatch) -> Result<Vec<ChangeBatch>> {
        if batch.images() == 0 {
            return Ok(Vec::new());
        }
        self.open.images += batch.images() as u64;
        self.open.bytes += batch.memory() as u64;
        let mut read = KindCounts::default();
        read.add(&batch.kinds);
        let (letters, filtered) = (self.open.part.letters.len(), self.open.part.ledger.filtered());
        let batches = self.chain.apply(&self.lineage, batch, &mut self.open.part)?;
        self.open.part.hold_letters(letters, &self.budget);
        let letters = (self.open.part.letters.len() - letters) as u64;
        let filtered = self.open.part.ledger.filtered() - filtered;
        self.health.board().update(|s| {
            s.rows_in.merge(read);
            s.dead_letters += letters;
            s.filtered += filtered;
        });
        Ok(batches)
    }

    async fn report_if_large(&mut self) -> Result<()> {
        let open = &mut self.open;
        let large = open.images >= self.settings.epoch_images
            || open.bytes >= self.settings.epoch_bytes
            || open.part.letters.len() + self.gauges.letters() >= self.settings.epoch_letters;
        if large && !open.large {
            open.large = true;
            return self.report(Report::Large).await;
        }
        Ok(())
    }

    /// INV-3, INV-4: everything read before the position is handed to the lanes before their barrier.
    async fn pass_barrier(&mut self, epoch: Epoch) -> Result<()> {
        let mut rest = Vec::new();
        let position = self.reader.barrier(&mut rest)?;
        self.take_rest(rest).await?;
        let any = self.open.images > 0 || std::mem::take(&mut self.open.marked);
        let text = self.source.describe(&position);
        self.health.at_position(&text);
        let mark = Mark { position, text, shapes: self.chain.kept() };
        let part = std::mem::take(&mut self.open.part);
        (self.open.images, self.open.bytes, self.open.large) = (0, 0, false);
        self.gauges.forget_letters();
        // Told before the lanes hear of it: a lane that has little to do would otherwise answer first.
        self.report(Report::BarrierPassed { epoch, mark, any, part }).await?;
        if any {
            self.lanes.barrier(epoch).await?;
        }
        Ok(())
    }

    async fn report(&mut self, report: Report) -> Result<()> {
        self.reports.send(report).await.map_err(|_| Error::new(Code::Bug, "the driver is gone"))
    }

    fn show_status(&mut self) {
        self.open.shown = Some(Instant::now());
        let status = self.reader.status();
        let disconnected = status.disconnected.as_deref();
        self.health.stands(Concern::Source, disconnected, "the connection is tried again for ever");
        let danger = status.kept.as_ref().and_then(|kept| kept.danger.as_deref());
        let next = "let the pipeline catch up, or let the source keep more of its log";
        self.health.stands(Concern::Kept, danger, next);
        self.health.at_position(&status.position);
        let (used, peak) = (self.budget.used(), self.budget.peak());
        self.health.board().update(|s| {
            s.lag_micros = status.lag_micros;
            s.source = status;
            (s.budget_used, s.budget_peak) = (used, peak);
        });
    }
}

/// Cancel-safe, as both parts are. Nothing new is read while lanes have to work off what exceeds the budget.
async fn next_with_room(reader: &mut dyn Reader, gauges: &Gauges, budget: &Budget) -> Result<SourceEvent> {
    gauges.wait_for_room(budget).await;
    reader.next().await
}
