//! The run: what a reader tells, barriers and crashes.

use super::opening::context;
use super::sink::{Family, Rows, Sink};
use crate::saboteur;
use dujiang_core::schema::SchemaChange;
use dujiang_core::source::{Acker, Reader, Source, SourceEvent, SourceStatus, ToldTwice};
use dujiang_core::{ChangeBatch, Code, Error, Position, Result};
use dujiang_scratch::Random;
use std::marker::PhantomData;
use std::time::Duration;

/// Runs a source with barriers and crashes.
pub struct Pipeline<F> {
    /// What is read.
    pub source: Box<dyn Source>,
    reader: Option<Box<dyn Reader>>,
    acker: Option<Box<dyn Acker>>,
    /// Where the next opening begins: at the last barrier.
    pub position: Option<Position>,
    open_epoch: Vec<ChangeBatch>,
    /// What barriers have made visible.
    pub sink: Sink,
    /// Everything told but batches and idleness.
    pub events: Vec<&'static str>,
    /// Every change of shape told.
    pub changes: Vec<SchemaChange>,
    /// How often it crashed.
    pub crashes: usize,
    /// Chunks are handed out at their place in the stream.
    pub in_order: bool,
    idle: usize,
    /// The rows before changes of shape that no position lies behind yet, and whether the reader has carried them through.
    unchanged: Option<(Rows, bool)>,
    family: PhantomData<F>,
}

impl<F: Family> Pipeline<F> {
    /// One that begins where the source is configured to begin.
    pub fn new(source: Box<dyn Source>) -> Self {
        saboteur::take_out();
        Self {
            source,
            reader: None,
            acker: None,
            position: None,
            open_epoch: Vec::new(),
            sink: Sink::default(),
            events: Vec::new(),
            changes: Vec::new(),
            crashes: 0,
            in_order: false,
            idle: 0,
            unchanged: None,
            family: PhantomData,
        }
    }

    /// The reader, opened if it is not.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn open(&mut self) -> Result<&mut Box<dyn Reader>> {
        if self.reader.is_none() {
            let (mut reader, acker) = self.source.open(self.position.clone(), context()).await?;
            if self.in_order {
                reader.keep_order_across_tables(if self.sink.told_again { ToldTwice::All } else { ToldTwice::None });
            }
            self.acker = Some(acker);
            self.reader = Some(reader);
        }
        Ok(self.reader.as_mut().expect("opened above"))
    }

    /// One event.
    ///
    /// # Errors
    /// Those of the reader; and when none comes for a minute, or nothing but `Idle` for long.
    pub async fn step(&mut self) -> Result<&'static str> {
        let reader = self.open().await?;
        let next = tokio::time::timeout(Duration::from_secs(60), reader.next());
        let event = next.await.map_err(|_| Error::new(Code::Bug, "no event for a minute"))??;
        let name = match event {
            SourceEvent::Batch(batch) => {
                self.open_epoch.push(batch);
                "batch"
            }
            SourceEvent::SchemaChange(change) => {
                self.reshape(change)?;
                "schema-change"
            }
            SourceEvent::SnapshotDone => "snapshot-done",
            SourceEvent::CaughtUp => "caught-up",
            SourceEvent::Idle => "idle",
            SourceEvent::End => "end",
        };
        if let Some((_, applied)) = self.unchanged.as_mut().filter(|_| name != "schema-change") {
            *applied = true;
        }
        self.idle = if name == "idle" { self.idle + 1 } else { 0 };
        if self.idle > 15 {
            return Err(Error::new(Code::Bug, format!("nothing more comes: {:?}", self.status())));
        }
        if name != "batch" && name != "idle" {
            self.events.push(name);
        }
        Ok(name)
    }

    /// As [`Pipeline::step`], and then now and then a barrier, and more rarely a crash, of which there are 20 at most: a run that is
    /// slow ends nevertheless.
    ///
    /// # Errors
    /// As [`Pipeline::step`].
    pub async fn interrupted_step(&mut self, random: &mut Random) -> Result<()> {
        self.step().await?;
        if random.chance(20) {
            self.barrier()?;
        }
        if random.chance(3) && self.crashes < 20 {
            self.crash();
        }
        Ok(())
    }

    fn reshape(&mut self, change: SchemaChange) -> Result<()> {
        // What the statement before has changed is carried through.
        if self.changes.last().is_some_and(|last| last.statement != change.statement)
            && let Some((_, applied)) = &mut self.unchanged
        {
            *applied = true;
        }
        self.barrier()?;
        let rows = self.sink.rows.clone();
        self.unchanged.get_or_insert((rows, false));
        self.sink.reshape::<F>(&change);
        self.changes.push(change);
        Ok(())
    }

    /// As [`Pipeline::step`], but given up for a barrier after this long; whether something came before.
    ///
    /// # Errors
    /// As [`Pipeline::step`].
    pub async fn step_or_barrier(&mut self, interval: Duration) -> Result<bool> {
        self.open().await?;
        match tokio::time::timeout(interval, self.step()).await {
            Ok(event) => event.map(|_| true),
            Err(_) => self.barrier().map(|()| false),
        }
    }

    /// Makes everything handed out so far, and everything the barrier adds, visible.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn barrier(&mut self) -> Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let position = reader.barrier(&mut self.open_epoch)?;
        self.position = Some(position);
        self.unchanged.take_if(|(_, applied)| *applied);
        for batch in self.open_epoch.drain(..) {
            self.sink.take(&batch);
        }
        Ok(())
    }

    /// Forgets what no barrier has confirmed; the next step starts from the last one.
    pub fn crash(&mut self) {
        if let Some((rows, _)) = self.unchanged.take() {
            self.sink.rows = rows;
        }
        self.open_epoch.clear();
        self.reader = None;
        self.acker = None;
        self.crashes += 1;
    }

    /// Until this is told, and what lies before it is in the sink.
    ///
    /// # Errors
    /// As [`Pipeline::step`].
    pub async fn until(&mut self, wanted: &str) -> Result<()> {
        while self.step().await? != wanted {}
        self.barrier()
    }

    /// Everything up to the last barrier is durable.
    ///
    /// # Panics
    /// Where there was no barrier, and when the source refuses it.
    pub async fn ack(&mut self) {
        let position = self.position.clone().expect("a barrier");
        self.acker.as_mut().expect("an open reader").ack(&position).await.expect("ack");
    }

    /// What was handed out since the last barrier.
    pub fn open_batches(&self) -> &[ChangeBatch] {
        &self.open_epoch
    }

    /// Whether the sink has a row with this key.
    pub fn has(&self, table: &str, key: &str) -> bool {
        self.sink.rows.get(table).is_some_and(|rows| rows.contains_key(&vec![key.to_owned()]))
    }

    /// What the reader tells of itself.
    ///
    /// # Panics
    /// When none is open.
    pub fn status(&self) -> SourceStatus {
        self.reader.as_ref().expect("an open reader").status()
    }
}

/// What the pipeline halts with.
pub async fn failure<F: Family>(pipeline: &mut Pipeline<F>) -> Error {
    loop {
        if let Err(error) = pipeline.step().await {
            return error;
        }
    }
}
