//! Everything durable: checkpoint store, committer, dead-letter store, ack. One task does one thing after the other,
//! in the order in which the protocol asks.

use super::Report;
use super::transform::Chain;
use crate::protocol::{Event, Participant, SHAPES};
use crate::runtime::health::{Concern, Health};
use crate::runtime::job::Settings;
use crate::runtime::retry::{self, Retrier};
use bytes::Bytes;
use dujiang_core::budget::{self, Budget};
use dujiang_core::checkpoint::{Acquired, Checkpoint, CheckpointStore, Generation, PipelineIdentity, Token};
use dujiang_core::clock::Clock;
use dujiang_core::dead_letter::{DeadLetter, DeadLetterStore};
use dujiang_core::evolution::SinkChange;
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::{CommitRequest, Committer, Retries, Sink, SinkContext, SinkState};
use dujiang_core::source::{Acker, Source, SourceContext};
use dujiang_core::{Code, Epoch, Error, Position, Result, TableSchema, fault};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// What the driver asks for; see the actions of the protocol.
pub(crate) enum Command {
    Acquire,
    OpenSink,
    Withdraw(Epoch),
    Rewind(Epoch),
    Commit { participant: Participant, request: CommitRequest, failures: u32 },
    AbortExcept { sink: Vec<Token>, letters: Vec<Token> },
    OpenSource(Option<Position>),
    PrepareLetters { epoch: Epoch, letters: Vec<DeadLetter>, held: Vec<budget::Held> },
    Publish { expected: (Generation, Epoch), checkpoint: Checkpoint, after_pause: bool },
    ReadBack,
    Ack(Position),
    ApplySchema(SchemaChange),
}

/// The committing task.
pub(crate) struct CommitStage {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) chain: Arc<Chain>,
    pub(crate) store: Box<dyn CheckpointStore>,
    pub(crate) letters: Box<dyn DeadLetterStore>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) identity: watch::Sender<Option<PipelineIdentity>>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) budget: Budget,
    /// See [`SourceContext::work_dir`].
    pub(crate) work_dir: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Health,
    pub(crate) retrier: Retrier,
    pub(crate) held: Held,
}

/// What the start has brought.
#[derive(Default)]
pub(crate) struct Held {
    context: Option<SinkContext>,
    committer: Option<Box<dyn Committer>>,
    acker: Option<Box<dyn Acker>>,
    /// The tables found at a first start.
    discovered: Vec<Arc<TableSchema>>,
    fresh: bool,
    /// The sink's shapes by position, newest checkpoint first.
    shapes: Vec<(Position, Bytes)>,
    /// The epoch whose checkpoint was handed to the store last.
    publishing: Epoch,
}

impl CommitStage {
    /// Works until the driver drops the commands; an error is the last report.
    pub(crate) async fn run(mut self) {
        while let Some(command) = self.commands.recv().await {
            let report = match self.obey(command).await {
                Ok(None) => continue,
                Ok(Some(report)) => report,
                Err(error) => Report::Failed(error),
            };
            let last = matches!(report, Report::Failed(_));
            if self.reports.send(report).await.is_err() || last {
                return;
            }
        }
    }

    async fn obey(&mut self, command: Command) -> Result<Option<Report>> {
        let event = match command {
            Command::Acquire => self.acquire().await?,
            Command::OpenSink => self.open_sink().await?,
            Command::Withdraw(epoch) => self.withdraw(epoch).await?,
            Command::Rewind(epoch) => {
                self.store.rewind(epoch).await?;
                // Only now: letters whose checkpoint still stands must never be gone.
                self.letters.withdraw_after(epoch).await?;
                Event::Rewound
            }
            Command::Commit { participant, request, failures } => {
                return self.commit(participant, request, failures).await.map(Some);
            }
            Command::AbortExcept { sink, letters } => self.abort_except(&sink, &letters).await?,
            Command::OpenSource(from) => return self.open_source(from).await.map(Some),
            Command::PrepareLetters { epoch, letters, held } => {
                letters.into_iter().for_each(|letter| self.letters.add(letter));
                let tokens = self.letters.prepare(epoch).await?;
                drop(held);
                Event::LettersPrepared(tokens)
            }
            Command::Publish { expected, checkpoint, after_pause } => {
                return self.publish(expected, checkpoint, after_pause).await.map(Some);
            }
            Command::ReadBack => Event::ReadBack(self.read_back().await?),
            Command::Ack(position) => {
                self.acker()?.ack(&position).await?;
                return Ok(None);
            }
            Command::ApplySchema(change) => {
                self.apply_change(&change).await?;
                Event::SchemaApplied
            }
        };
        Ok(Some(Report::Event(event)))
    }

    async fn acquire(&mut self) -> Result<Event> {
        let Acquired { identity, generation, checkpoints } = self.store.acquire().await?;
        fault::point("recovery.acquired");
        tracing::info!(generation = generation.0, checkpoints = checkpoints.len(), "state acquired");
        self.held.context = Some(SinkContext {
            identity: identity.clone(),
            generation,
            clock: self.clock.clone(),
            budget: self.budget.clone(),
            retries: Retries { attempts: self.settings.retry_attempts, pause: self.settings.retry_pause },
        });
        self.identity.send_replace(Some(identity));
        self.held.fresh = checkpoints.is_empty();
        self.held.shapes = checkpoints.iter().filter_map(shapes_of).collect();
        Ok(Event::Acquired { generation, checkpoints })
    }

    async fn open_sink(&mut self) -> Result<Event> {
        self.take_lineage().await?;
        if self.held.fresh && self.held.discovered.is_empty() {
            // Whatever is wrong with the source is said before the sink is touched.
            self.held.discovered = self.discover().await?;
        }
        // What passes by itself (a full disk) is waited out here as everywhere else.
        let mut failures = 0;
        loop {
            match self.try_open_sink().await {
                Ok(state) => {
                    self.health.recovered(Concern::Commit);
                    return Ok(Event::SinkOpened(state));
                }
                Err(error) => failures = self.retrier.pause_after(Concern::Commit, error, failures + 1).await?,
            }
        }
    }

    /// Changes that come from a log keep the lineage under which they were captured.
    async fn take_lineage(&mut self) -> Result<()> {
        let (source, retrier) = (self.source.clone(), self.retrier.clone());
        let lineage = retrier.ask(&*source, |source| source.lineage()).await?;
        if let (Some(lineage), Some(context)) = (lineage, &mut self.held.context) {
            context.identity.lineage = lineage;
            self.identity.send_replace(Some(context.identity.clone()));
        }
        Ok(())
    }

    async fn discover(&mut self) -> Result<Vec<Arc<TableSchema>>> {
        let (source, retrier) = (self.source.clone(), self.retrier.clone());
        retrier.ask(&*source, |source| source.discover()).await
    }

    async fn try_open_sink(&mut self) -> Result<SinkState> {
        if self.held.committer.is_none() {
            self.held.committer = Some(self.sink.committer(self.context()?).await?);
        }
        self.committer()?.open().await
    }

    async fn withdraw(&mut self, epoch: Epoch) -> Result<Event> {
        tracing::warn!(epoch = epoch.0, "going back: later epochs are withdrawn");
        self.committer()?.withdraw_after(epoch).await?;
        Ok(Event::Withdrawn)
    }

    /// Tried again for ever by the protocol; only what could do harm ends the run.
    async fn commit(&mut self, participant: Participant, request: CommitRequest, failures: u32) -> Result<Report> {
        if failures > 0 {
            tokio::time::sleep(retry::growing_pause(failures, &self.settings)).await;
        }
        fault::point("epoch.commit");
        let done = match participant {
            Participant::Sink => self.committer()?.commit(&request).await,
            Participant::Letters => self.letters.commit(&request).await,
        };
        match done {
            Ok(()) => {
                fault::point("epoch.after-commit");
                self.health.recovered(Concern::Commit);
                Ok(Report::Event(Event::Committed(participant)))
            }
            Err(error) if retry::ends_the_process(&error) => Err(error),
            Err(error) => {
                self.health.fault(Concern::Commit, &error.to_string(), "the commit is tried again until it succeeds");
                Ok(Report::Setback(Event::CommitFailed(participant), error))
            }
        }
    }

    async fn abort_except(&mut self, sink: &[Token], letters: &[Token]) -> Result<Event> {
        let mut failures = 0;
        while let Err(error) = self.abort_once(sink, letters).await {
            failures = self.retrier.pause_after(Concern::Commit, error, failures + 1).await?;
        }
        self.health.recovered(Concern::Commit);
        fault::point("recovery.committed");
        Ok(Event::Aborted)
    }

    async fn abort_once(&mut self, sink: &[Token], letters: &[Token]) -> Result<()> {
        self.committer()?.abort_except(sink).await?;
        self.letters.abort_except(letters).await
    }

    async fn open_source(&mut self, from: Option<Position>) -> Result<Report> {
        let (context, source, retrier) = (self.context()?, self.source.clone(), self.retrier.clone());
        let mut tables = match &from {
            Some(position) => retrier.ask(&*source, |source| source.schemas_at(position)).await?,
            // The only checkpoint was a candidate that never became real.
            None if self.held.discovered.is_empty() => self.discover().await?,
            None => std::mem::take(&mut self.held.discovered),
        };
        if from.is_some() && !self.chain.fits(&tables) {
            let now = self.discover().await?;
            tables = self.chain.without_outgrown(tables, &now)?;
        }
        let kept = from.as_ref().and_then(|from| self.held.shapes.iter().find(|(position, _)| position == from));
        let kept = kept.map_or_else(Bytes::new, |(_, shapes)| shapes.clone());
        let shapes = self.chain.start(&tables, &kept)?;
        self.apply_shapes(&shapes).await?;
        let mut writers = Vec::with_capacity(self.settings.parallelism);
        for lane in 0..self.settings.parallelism {
            writers.push(self.sink.writer(lane, context.clone()).await?);
        }
        let opened = SourceContext {
            identity: context.identity,
            clock: context.clock,
            budget: context.budget,
            work_dir: self.work_dir.clone(),
        };
        let (reader, acker) = retrier.ask(&*source, |source| source.open(from.clone(), opened.clone())).await?;
        self.held.acker = Some(acker);
        Ok(Report::Opened(reader, writers))
    }

    async fn publish(
        &mut self,
        expected: (Generation, Epoch),
        mut checkpoint: Checkpoint,
        after_pause: bool,
    ) -> Result<Report> {
        if after_pause {
            tokio::time::sleep(self.settings.retry_pause).await;
        }
        checkpoint.written_micros = self.clock.now_micros();
        self.held.publishing = checkpoint.epoch;
        fault::point("epoch.before-publish");
        match self.store.publish(expected, &checkpoint).await {
            Ok(()) => {
                fault::point("epoch.after-publish");
                self.health.recovered(Concern::Publish);
                Ok(Report::Event(Event::Published))
            }
            Err(error) if error.code() == Code::CheckpointUnknown => {
                self.health.fault(Concern::Publish, &error.to_string(), "the store is asked what it holds");
                Ok(Report::Setback(Event::PublishUnknown, error))
            }
            Err(error) if retry::ends_the_process(&error) => Err(error),
            Err(error) => {
                self.health.fault(Concern::Publish, &error.to_string(), "the next checkpoint carries this epoch too");
                self.committer()?.carried();
                Ok(Report::Setback(Event::PublishFailed(error.code()), error))
            }
        }
    }

    async fn read_back(&mut self) -> Result<Option<Checkpoint>> {
        let mut failures = 0;
        loop {
            match self.store.latest().await {
                Ok(found) => {
                    self.health.recovered(Concern::Publish);
                    if found.as_ref().map_or(Epoch::NONE, |found| found.epoch) < self.held.publishing {
                        self.committer()?.carried();
                    }
                    return Ok(found);
                }
                Err(error) if retry::ends_the_process(&error) => return Err(error),
                Err(error) => {
                    failures += 1;
                    self.health.fault(Concern::Publish, &error.to_string(), "the store is asked again");
                    tokio::time::sleep(retry::growing_pause(failures, &self.settings)).await;
                }
            }
        }
    }

    async fn apply_change(&mut self, change: &SchemaChange) -> Result<()> {
        let chain = self.chain.clone();
        let Some(change) = chain.output_change(change)? else { return Ok(()) };
        let Some(routing) = chain.routing() else { return self.apply_as_it_is(&change).await };
        for planned in routing.plan(&change)? {
            let Some(step) = routing.prepare(&planned) else { continue };
            match self.apply_event(&step).await {
                Ok(()) => routing.accept(&step),
                Err(refusal) if routing.tolerates(&refusal) => {
                    tracing::warn!(table = %step.table(), event = step.event.tag(), %refusal, "the sink refused a schema change");
                }
                Err(refusal) => return Err(refusal),
            }
        }
        routing.settle(&change)
    }

    async fn apply_as_it_is(&mut self, change: &SchemaChange) -> Result<()> {
        let mut failures = 0;
        while let Err(error) = self.committer()?.apply_change(change).await {
            failures = self.retrier.pause_after(Concern::Schema, error, failures + 1).await?;
        }
        self.health.recovered(Concern::Schema);
        Ok(())
    }

    async fn apply_event(&mut self, step: &SinkChange) -> Result<()> {
        let mut failures = 0;
        while let Err(error) = self.committer()?.apply_event(step).await {
            failures = self.retrier.pause_after(Concern::Schema, error, failures + 1).await?;
        }
        self.health.recovered(Concern::Schema);
        Ok(())
    }

    async fn apply_shapes(&mut self, shapes: &[Arc<TableSchema>]) -> Result<()> {
        let mut failures = 0;
        while let Err(error) = self.committer()?.apply_shapes(shapes).await {
            failures = self.retrier.pause_after(Concern::Schema, error, failures + 1).await?;
        }
        self.health.recovered(Concern::Schema);
        Ok(())
    }

    fn context(&self) -> Result<SinkContext> {
        self.held.context.clone().ok_or_else(|| out_of_turn("the state is not acquired"))
    }

    fn acker(&mut self) -> Result<&mut Box<dyn Acker>> {
        self.held.acker.as_mut().ok_or_else(|| out_of_turn("the source is not open"))
    }

    fn committer(&mut self) -> Result<&mut Box<dyn Committer>> {
        self.held.committer.as_mut().ok_or_else(|| out_of_turn("the sink is not open"))
    }
}

/// The sink's shapes that a checkpoint keeps, with their position.
fn shapes_of(checkpoint: &Checkpoint) -> Option<(Position, Bytes)> {
    let shapes = checkpoint.tokens.iter().find(|part| part.participant == SHAPES)?;
    Some((checkpoint.position.clone(), shapes.tokens.first()?.0.clone()))
}

fn out_of_turn(why: &str) -> Error {
    Error::new(Code::Bug, format!("the protocol asked out of turn: {why}"))
}
