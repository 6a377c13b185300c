//! The driver: feeds the protocol with what happened, and turns its actions into commands for the stages.

use crate::protocol::{Action, Cause, Config, Event, Halt, Machine};
use crate::runtime::health::Health;
use crate::runtime::job::{End, Job, Outcome, Settings, Until};
use crate::runtime::retry::Retrier;
use crate::runtime::status::PipelineState;
use crate::runtime::stop::StopSignal;
use crate::stages::commit::{Command, CommitStage};
use crate::stages::lanes::{Gauges, Lanes};
use crate::stages::read::{OpenEpoch, ReadStage};
use crate::stages::transform::Chain;
use crate::stages::write::Lane;
use crate::stages::{EpochPart, ReadCommand, Report, broken};
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{CheckpointStore, PipelineIdentity};
use dujiang_core::dead_letter::DeadLetterStore;
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::{SinkClass, SinkFigures, Writer};
use dujiang_core::source::{Reader, Source};
use dujiang_core::{Code, Error, Result, fault};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

/// Commands under way are few: one barrier, one resume; one publish or commit, one ack. The rest is headroom.
const COMMANDS: usize = 32;
/// Reports under way; who finds the queue full waits.
const REPORTS: usize = 64;

/// How long stages that have nothing left to do may take to end.
const TO_END: Duration = Duration::from_secs(5);

/// The parts of a run that keep its state.
pub struct Parts {
    /// Checkpoints.
    pub store: Box<dyn CheckpointStore>,
    /// Dead letters.
    pub dead_letters: Box<dyn DeadLetterStore>,
}

/// One run's driver.
pub(crate) struct Driver {
    machine: Machine,
    settings: Arc<Settings>,
    class: SinkClass,
    /// The sink is a log.
    log: bool,
    until: Option<Until>,
    source: Arc<dyn Source>,
    chain: Arc<Chain>,
    health: Health,
    budget: Budget,
    identity: watch::Receiver<Option<PipelineIdentity>>,
    reports: mpsc::Receiver<Report>,
    reporter: mpsc::Sender<Report>,
    /// `None` once the run ends: the committing task then finishes what it has and ends.
    committing: Option<mpsc::Sender<Command>>,
    committer: JoinSet<()>,
    reading: Option<mpsc::Sender<ReadCommand>>,
    /// The source has been opened.
    opened: bool,
    stages: JoinSet<()>,
    part: EpochPart,
    change: Option<SchemaChange>,
    error: Option<Error>,
    end: End,
    started: Instant,
    barrier_at: Instant,
}

/// What the driver's loop waits for.
enum Turn {
    Report(Report),
    Stop,
    Tick,
    TaskEnded(Result<(), JoinError>),
}

impl Driver {
    /// Starts the committing task; nothing has been touched yet.
    pub(crate) fn start(job: Job, parts: Parts, health: Health) -> Self {
        let (source, sink): (Arc<dyn Source>, Arc<dyn dujiang_core::sink::Sink>) = (job.source.into(), job.sink.into());
        let (class, log, unit) = (sink.class(), sink.is_log(), sink.unit());
        health.board().update(|s| s.unit = unit);
        // One order of everything needs one lane.
        let parallelism = if log { 1 } else { job.settings.parallelism };
        let settings = Arc::new(Settings { parallelism, ..job.settings });
        let chain = Arc::new(Chain::new(job.transforms, job.routing, settings.error_policy));
        let budget = Budget::new(settings.memory_limit);
        let (reporter, reports) = mpsc::channel(REPORTS);
        let (committing, commands) = mpsc::channel(COMMANDS);
        let (identity_sender, identity) = watch::channel(None);
        let stage = CommitStage {
            source: source.clone(),
            sink,
            chain: chain.clone(),
            store: parts.store,
            letters: parts.dead_letters,
            commands,
            reports: reporter.clone(),
            identity: identity_sender,
            settings: settings.clone(),
            budget: budget.clone(),
            work_dir: job.state_dir.join("work"),
            clock: job.clock,
            health: health.clone(),
            retrier: Retrier { settings: settings.clone(), health: health.clone() },
            held: Default::default(),
        };
        let mut committer = JoinSet::new();
        committer.spawn(stage.run());
        let machine = Machine::new(Config {
            class,
            lanes: settings.parallelism,
            max_publish_failures: settings.max_checkpoint_failures,
            ack_lag: settings.ack_lag,
            restore_from: job.restore_from,
        });
        let now = Instant::now();
        Self {
            machine,
            settings,
            class,
            log,
            until: job.until,
            source,
            chain,
            health,
            budget,
            identity,
            reports,
            reporter,
            committing: Some(committing),
            committer,
            reading: None,
            opened: false,
            stages: JoinSet::new(),
            part: EpochPart::default(),
            change: None,
            error: None,
            end: End::Stopped,
            started: now,
            barrier_at: now,
        }
    }

    /// Runs until the protocol finishes or halts.
    pub(crate) async fn drive(mut self, mut stop: StopSignal) -> Result<Outcome> {
        let ended = self.turns(&mut stop).await;
        if ended.is_ok() {
            self.let_stages_end().await;
        }
        self.stages.shutdown().await;
        self.tell_what_else_failed();
        // A start that was stopped may hang in the source's connection.
        if ended.is_err() || !self.opened {
            self.committer.shutdown().await;
        }
        // An orderly end lets the committing task finish, acks included.
        self.committing = None;
        let late = self.finish_committing().await;
        self.show();
        ended?;
        match late {
            Some(error) => Err(error),
            None => {
                self.tell_what_remains();
                Ok(Outcome { end: self.end, epoch: self.machine.published() })
            }
        }
    }

    /// The reader ends without commands and the lanes after it, which show what they have finished last.
    async fn let_stages_end(&mut self) {
        self.reading = None;
        let ended = async { while self.stages.join_next().await.is_some() {} };
        if tokio::time::timeout(TO_END, ended).await.is_err() {
            tracing::warn!("a stage of the pipeline did not end by itself");
        }
    }

    /// Who stops a pipeline goes on with it; what was to end may never be run again.
    fn tell_what_remains(&self) {
        if self.end != End::Stopped
            && let Some(kept) = self.source.remains()
        {
            tracing::warn!("{kept}");
        }
    }

    /// Two stages may fail in the same moment: the run ends with the first error, and the others are told too.
    fn tell_what_else_failed(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            if let Report::Failed(error) | Report::Setback(_, error) = report {
                self.health.also_failed(&error);
            }
        }
    }

    async fn turns(&mut self, stop: &mut StopSignal) -> Result<()> {
        let interval = self.settings.checkpoint_interval;
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = false;
        let mut over = self.happened(Event::Start)?;
        while !over {
            let turn = tokio::select! {
                biased;
                () = stop.stopped(), if !stopping => Turn::Stop,
                Some(ended) = self.stages.join_next() => Turn::TaskEnded(ended),
                Some(ended) = self.committer.join_next() => Turn::TaskEnded(ended),
                Some(report) = self.reports.recv() => Turn::Report(report),
                _ = ticks.tick() => Turn::Tick,
            };
            stopping |= matches!(turn, Turn::Stop);
            over = self.turn(turn)?;
        }
        Ok(())
    }

    fn turn(&mut self, turn: Turn) -> Result<bool> {
        match turn {
            Turn::Report(report) => self.reported(report),
            Turn::Stop => {
                self.health.stopping();
                self.happened(Event::Due(Cause::Final))
            }
            Turn::Tick if self.machine.is_running() => self.happened(Event::Due(Cause::Due)),
            Turn::Tick => Ok(false),
            Turn::TaskEnded(Ok(())) => self.task_ended(),
            Turn::TaskEnded(Err(error)) => Err(broken(error)),
        }
    }

    /// A stage ends by itself only after its last report, which says why.
    fn task_ended(&mut self) -> Result<bool> {
        while let Ok(report) = self.reports.try_recv() {
            if self.reported(report)? {
                return Ok(true);
            }
        }
        Err(Error::new(Code::Bug, "a stage of the pipeline ended without a reason"))
    }

    fn reported(&mut self, report: Report) -> Result<bool> {
        match report {
            Report::Event(event) => self.happened(event),
            Report::Setback(event, error) => {
                self.error = Some(error);
                self.health.board().update(|s| {
                    s.retries += u64::from(matches!(event, Event::CommitFailed(_)));
                    s.checkpoint_failures += u64::from(matches!(event, Event::PublishFailed(_)));
                });
                self.happened(event)
            }
            Report::Opened(reader, writers) => self.opened(reader, writers),
            Report::BarrierPassed { epoch, mark, any, part } => {
                self.part.merge(part);
                self.barrier_at = Instant::now();
                self.happened(Event::BarrierPassed { epoch, mark, any })
            }
            Report::Prepared { epoch, lane, tokens, part } => {
                self.part.merge(part);
                self.happened(Event::Prepared { epoch, lane, tokens })
            }
            Report::Large => self.happened(Event::Due(Cause::Due)),
            Report::SchemaChange(change) => self.schema_changes(change),
            Report::SnapshotDone => {
                self.health.board().update(|s| s.snapshot_done = true);
                self.health.enter(PipelineState::Streaming, "");
                Ok(false)
            }
            Report::CaughtUp => {
                self.health.board().update(|s| s.caught_up = true);
                Ok(false)
            }
            Report::Ended(end) => {
                self.end = end;
                self.happened(Event::Due(Cause::Final))
            }
            Report::Failed(error) => {
                let event = Event::Failed(error.code());
                self.error = Some(error);
                self.happened(event)
            }
        }
    }

    /// One step of the protocol; `true` when it has finished.
    fn happened(&mut self, event: Event) -> Result<bool> {
        let published = self.machine.published();
        let saboteur_applied = event == Event::SchemaApplied && fault::removed("ddl-barrier");
        let actions = if saboteur_applied { vec![Action::Resume] } else { self.machine.step(event) };
        if self.machine.published() != published {
            self.health.board().update(|s| s.checkpoints += 1);
        }
        let mut over = false;
        for action in actions {
            over |= self.perform(action)?;
        }
        self.show();
        Ok(over)
    }

    fn perform(&mut self, action: Action) -> Result<bool> {
        let command = match action {
            Action::Acquire => Command::Acquire,
            Action::OpenSink => Command::OpenSink,
            Action::Withdraw(epoch) => Command::Withdraw(epoch),
            Action::Rewind(epoch) => Command::Rewind(epoch),
            Action::Commit { participant, request, failures } => Command::Commit { participant, request, failures },
            Action::AbortExcept { sink, letters } => Command::AbortExcept { sink, letters },
            Action::OpenSource(from) => Command::OpenSource(from),
            Action::PrepareLetters(epoch) => {
                let part = std::mem::take(&mut self.part);
                part.ledger.check()?;
                Command::PrepareLetters { epoch, letters: part.letters, held: part.held }
            }
            Action::Publish { expected, checkpoint, after_pause } => {
                Command::Publish { expected, checkpoint, after_pause }
            }
            Action::ReadBack => Command::ReadBack,
            Action::Ack(position) => {
                self.epoch_is_durable();
                Command::Ack(position)
            }
            Action::ApplySchema => Command::ApplySchema(
                self.change.take().ok_or_else(|| Error::new(Code::Bug, "there is no change of shape to apply"))?,
            ),
            Action::Barrier { epoch, cause, after_pause } => {
                return self.tell_reader(ReadCommand::Barrier { epoch, cause, after_pause });
            }
            Action::Resume => return self.tell_reader(ReadCommand::Resume),
            Action::Finish => return Ok(true),
            Action::Halt(why) => return Err(self.halted(&why)),
        };
        let full = |_| Error::new(Code::Bug, "too many commands for the committing task");
        self.committing.as_ref().map_or(Ok(()), |c| c.try_send(command).map_err(full))?;
        Ok(false)
    }

    fn tell_reader(&self, command: ReadCommand) -> Result<bool> {
        let full = |_| Error::new(Code::Bug, "too many commands for the reader");
        self.reading.as_ref().map_or(Ok(()), |r| r.try_send(command).map_err(full))?;
        Ok(false)
    }

    /// The error of a halt: the one that a stage reported, if the protocol only passes it on.
    fn halted(&mut self, why: &Halt) -> Error {
        let passed_on = matches!(why, Halt::Failed(_) | Halt::PublishFailures(..));
        match self.error.take() {
            Some(error) if passed_on => error,
            _ => why.error(),
        }
    }

    fn schema_changes(&mut self, change: SchemaChange) -> Result<bool> {
        tracing::info!(table = %change.after.id, statement = change.statement, "a table changes its shape");
        if fault::removed("ddl-barrier") {
            self.change = Some(change);
            return self.perform(Action::ApplySchema);
        }
        self.change = Some(change);
        self.happened(Event::Due(Cause::Schema))
    }

    fn opened(&mut self, reader: Box<dyn Reader>, writers: Vec<Box<dyn Writer>>) -> Result<bool> {
        let identity = self.identity.borrow().clone();
        let lineage = identity.ok_or_else(|| Error::new(Code::Bug, "the source is open before the state"))?.lineage;
        let gauges = Gauges::new(writers.len());
        let (lanes, queues) = Lanes::new(writers.len(), self.log, &self.budget, &gauges);
        for (lane, (writer, queue)) in writers.into_iter().zip(queues).enumerate() {
            self.stages.spawn(
                Lane {
                    lane,
                    writer,
                    queue,
                    reports: self.reporter.clone(),
                    settings: self.settings.clone(),
                    class: self.class,
                    lineage: lineage.clone(),
                    budget: self.budget.clone(),
                    gauges: gauges.clone(),
                    health: self.health.clone(),
                    retrier: Retrier { settings: self.settings.clone(), health: self.health.clone() },
                    part: EpochPart::default(),
                    shown: SinkFigures::default(),
                    prepares: JoinSet::new(),
                    open: false,
                    troubled: false,
                }
                .run(),
            );
        }
        let snapshotting = reader.status().snapshot.iter().any(|table| !table.done);
        let (commands, receiver) = mpsc::channel(COMMANDS);
        (self.reading, self.opened) = (Some(commands), true);
        let stage = ReadStage {
            source: self.source.clone(),
            reader,
            chain: self.chain.clone(),
            lanes,
            commands: receiver,
            reports: self.reporter.clone(),
            settings: self.settings.clone(),
            until: self.until,
            lineage,
            budget: self.budget.clone(),
            gauges,
            health: self.health.clone(),
            open: OpenEpoch::default(),
        };
        self.stages.spawn(stage.run());
        self.recovered(snapshotting);
        self.happened(Event::SourceOpened)
    }

    fn recovered(&self, snapshotting: bool) {
        let millis = self.started.elapsed().as_millis() as u64;
        self.health.board().update(|s| s.recovery_millis = Some(millis));
        tracing::info!(duration_ms = millis, epoch = self.machine.published().0, "recovery is complete, reading");
        let state = if snapshotting { PipelineState::Snapshotting } else { PipelineState::Streaming };
        self.health.enter(state, "");
    }

    fn epoch_is_durable(&self) {
        let (now, millis) = (self.health.now_micros(), self.barrier_at.elapsed().as_millis() as u64);
        let epoch = self.machine.published();
        tracing::debug!(epoch = epoch.0, duration_ms = millis, "epoch committed");
        self.health.board().update(|s| {
            s.last_commit_micros = Some(now);
            s.last_checkpoint_millis = Some(millis);
        });
    }

    /// Waits for the committing task; an error it reports after the protocol has finished, e.g. of the last ack.
    async fn finish_committing(&mut self) -> Option<Error> {
        let mut late = None;
        loop {
            tokio::select! {
                biased;
                Some(report) = self.reports.recv() => if let Report::Failed(error) = report {
                    late = Some(error);
                },
                ended = self.committer.join_next() => match ended {
                    None => return late,
                    Some(Ok(())) => {}
                    Some(Err(error)) if error.is_cancelled() => {}
                    Some(Err(error)) => late = Some(broken(error)),
                },
            }
        }
    }

    fn show(&self) {
        let (epoch, used, peak) = (self.machine.published(), self.budget.used(), self.budget.peak());
        self.health.board().update(|s| {
            s.last_epoch = epoch;
            (s.budget_used, s.budget_peak) = (used, peak);
        });
    }
}
