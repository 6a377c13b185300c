//! The reader: stream and snapshot, brought together.

use crate::config::Config;
use crate::ddl::model::Habits;
use crate::marked::MarkedLog;
use crate::place::Place;
use crate::position::{self, Head, Prepared, ServerName};
use crate::server::{Instance, Resume};
use crate::snapshot::{ChunkRead, LaggingLog, OpenKey, SnapshotContext};
use crate::stream::{Block, Ddl, Fed, Feed, FeedOptions, Machine, OpenKeys, Step, Tables, Unfit, worth_another_try};
use async_trait::async_trait;
use dujiang_core::budget::Held;
use dujiang_core::schema::SchemaChange;
use dujiang_core::source::{NotUnderstood, Reader, SourceContext, SourceEvent, SourceStatus, ToldTwice};
use dujiang_core::{ChangeBatch, Code, Error, Position, Result, TableId, fault};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod announced;
mod catalog;
mod ddl;
mod explain;
mod join;
mod questions;
mod snapshot_side;

pub use join::snapshot_id;
pub use snapshot_side::{SideTable, SnapshotSide};

/// How long rows wait in an open builder when nothing more has arrived.
const LINGER: Duration = Duration::from_millis(5);
/// How long they wait at most while more keeps arriving.
const LONGEST_LINGER: Duration = Duration::from_millis(50);
/// How long they wait in the midst of a transaction, which may yet be rolled back.
const LONGEST_HOLD: Duration = Duration::from_secs(1);
/// A connection that lasted so long was a good one, even if nothing happened.
const STEADY: Duration = Duration::from_secs(60);
/// How often something is told when there is nothing to tell.
const IDLE: Duration = Duration::from_secs(1);
/// How often an event that waits for a chunk is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Builders of all tables together are finished at this many bytes.
const OPEN_BYTES: usize = 32 << 20;
/// Events looked at before other work gets its turn.
const EVENTS_AT_A_TIME: usize = 4096;

/// What a reader is made of.
pub struct Start {
    /// The options.
    pub config: Arc<Config>,
    /// From the engine.
    pub context: SourceContext,
    /// The captured tables.
    pub tables: Tables,
    /// The stream's state at the start.
    pub machine: Machine,
    /// Where it was made.
    pub server: ServerName,
    /// The very server that the snapshot is read from.
    pub instance: Option<Instance>,
    /// The snapshot, if there is anything left of it.
    pub snapshot: SnapshotSide,
    /// End when the snapshot is complete.
    pub bounded: bool,
    /// The end of the log when the reader was opened.
    pub end_at_open: Place,
    /// Tables to be captured that the position does not know: they join when the stream has come to that end.
    pub late: Vec<TableId>,
    /// The log, where it lags behind the database (OceanBase).
    pub marked: Option<Arc<MarkedLog>>,
}

impl Start {
    /// What reading a snapshot of this server needs.
    pub fn snapshot_context(&self, instance: Instance) -> Arc<SnapshotContext> {
        let lagging = self.marked.clone().map(|log| log as Arc<dyn LaggingLog>);
        Arc::new(SnapshotContext::new(&self.config, &self.context, instance, lagging))
    }
}

/// Reads a server of the MySQL family.
pub struct MysqlReader {
    start: Start,
    feed: Feed,
    /// Losses of the stream since it last moved, and where that was.
    failures: u32,
    lost_at: Option<Place>,
    connected_at: Instant,
    disconnected: Option<String>,
    block: Option<Block>,
    /// The current event waits for a chunk.
    waiting: bool,
    out: VecDeque<ChangeBatch>,
    dirty_since: Option<Instant>,
    /// What the builders hold.
    held: Held,
    /// Met in the log, not yet told.
    ddl: Option<Ddl>,
    /// Rows met in the log that nothing known explains.
    unfit: Option<Unfit>,
    /// Questions about what was met.
    questions: questions::Questions,
    /// Attempts in a row to find out what becomes of captured tables.
    setbacks: u32,
    /// What the server adds to statements by itself.
    habits: Option<Habits>,
    /// Told; applied by the next call of `next`.
    announced: Option<announced::Announced>,
    told_at: Instant,
    snapshot_told: bool,
    caught_up_told: bool,
    /// What has been met in the log and could not be read.
    not_understood: Option<NotUnderstood>,
}

impl MysqlReader {
    /// Begins to read.
    pub fn new(start: Start) -> Self {
        let feed = feed(&start, 0);
        let held = start.context.budget.hold(0);
        let questions = questions::Questions::new(start.config.endpoint.clone());
        let snapshot_told = start.snapshot.is_none();
        Self {
            start,
            feed,
            failures: 0,
            lost_at: None,
            connected_at: Instant::now(),
            disconnected: None,
            block: None,
            waiting: false,
            out: VecDeque::new(),
            dirty_since: None,
            held,
            ddl: None,
            unfit: None,
            questions,
            setbacks: 0,
            habits: None,
            announced: None,
            told_at: Instant::now(),
            snapshot_told,
            caught_up_told: false,
            not_understood: None,
        }
    }

    /// What can be told without waiting.
    fn ready(&mut self) -> Option<SourceEvent> {
        if let Some(batch) = self.out.pop_front() {
            fault::point("stream.batch");
            return Some(SourceEvent::Batch(batch));
        }
        if let Some(change) = self.announced.as_ref().and_then(|announced| announced.changes.front()) {
            return Some(SourceEvent::SchemaChange(change.clone()));
        }
        if !self.snapshot_told && self.start.snapshot.is_read() {
            self.snapshot_told = true;
            return Some(SourceEvent::SnapshotDone);
        }
        if self.start.bounded && self.snapshot_told && self.start.snapshot.is_passed() && !self.start.tables.is_dirty()
        {
            return Some(SourceEvent::End);
        }
        let caught_up = self.snapshot_told
            && !self.start.tables.is_dirty()
            && !self.start.machine.has_moved()
            && *self.start.machine.boundary() >= self.start.end_at_open;
        if caught_up && !self.caught_up_told && self.start.late.is_empty() {
            self.caught_up_told = true;
            return Some(SourceEvent::CaughtUp);
        }
        (self.told_at.elapsed() >= IDLE).then_some(SourceEvent::Idle)
    }

    /// Does one piece of work, or waits for some.
    async fn step(&mut self) -> Result<()> {
        // Chunks do not wait until the stream has nothing to do.
        match self.start.snapshot.try_next_chunk() {
            Some(chunk) => self.chunk(Some(chunk))?,
            None => self.take_held_chunk()?,
        }
        if !self.out.is_empty() {
            return Ok(());
        }
        // Cancelled or failed, they are met again: the event in the log has not been passed.
        if let Some(ddl) = self.ddl.clone() {
            return match self.announce(ddl).await {
                Ok(()) => Ok(()),
                Err(error) => self.patient(error).await,
            };
        }
        if let Some(unfit) = self.unfit.take() {
            return match self.reconcile(unfit).await {
                Ok(()) => Ok(()),
                Err(error) => self.patient(error).await,
            };
        }
        if self.start.machine.are_prepared_in_question() {
            return match self.ask_for_prepared().await {
                Ok(()) => Ok(()),
                Err(error) => self.patient(error).await,
            };
        }
        if !self.start.late.is_empty() && *self.start.machine.boundary() >= self.start.end_at_open {
            return self.join_late().await;
        }
        if !self.waiting && self.block.is_some() {
            match self.process()? {
                Pause::None => {}
                Pause::Keys(keys) => self.with_server_keys(keys).await?,
            }
            return self.flush_if_due();
        }
        self.flush_if_due()?;
        if !self.out.is_empty() {
            return Ok(());
        }
        self.wait().await
    }

    async fn wait(&mut self) -> Result<()> {
        let linger = if self.start.machine.is_in_transaction() { LONGEST_HOLD } else { LINGER };
        let until_flush = self.dirty_since.map(|since| since + linger);
        let mut wake = self.told_at + IDLE;
        wake = until_flush.map_or(wake, |flush| flush.min(wake));
        if self.waiting {
            // A view that was being opened may have been given up: nobody tells.
            wake = wake.min(Instant::now() + LOOK_AGAIN);
        }
        tokio::select! {
            biased;
            chunk = self.start.snapshot.next_chunk() => self.chunk(chunk)?,
            fed = self.feed.next(), if self.block.is_none() => self.fed(fed)?,
            () = tokio::time::sleep_until(wake.into()) => self.waiting = false,
        }
        Ok(())
    }

    fn fed(&mut self, fed: Fed) -> Result<()> {
        match fed {
            Fed::Block(block) => {
                self.disconnected = None;
                self.block = Some(block);
                Ok(())
            }
            Fed::Connected(server) => {
                self.connected_at = Instant::now();
                if server != self.start.server {
                    tracing::info!(from = self.start.server.id, to = server.id, "the stream goes on at another server");
                    self.start.server = server;
                    self.start.machine.moved();
                }
                Ok(())
            }
            Fed::TornEnd => {
                self.start.machine.behind_torn_end();
                Ok(())
            }
            Fed::Lost(error) => self.lost(error),
        }
    }

    /// Starts over at the last boundary; what was read of the transaction after it is counted and passed over.
    fn lost(&mut self, error: Error) -> Result<()> {
        // Every dump begins with events, a damaged one too: only getting further starts the counting again.
        let boundary = self.start.machine.boundary();
        if self.lost_at.as_ref() != Some(boundary) || self.connected_at.elapsed() >= STEADY {
            self.failures = 0;
            self.lost_at = Some(boundary.clone());
        }
        if !worth_another_try(&error, self.failures) {
            return Err(error);
        }
        tracing::warn!(%error, position = %self.start.machine.boundary(), "the binlog stream was lost and is started again");
        self.failures += 1;
        self.disconnected = Some(error.to_string());
        self.block = None;
        self.waiting = false;
        (self.ddl, self.unfit) = (None, None);
        // Behind the address there may be another server now.
        self.questions.start_over();
        self.start.machine.disconnected(&self.start.tables);
        self.feed = feed(&self.start, self.failures);
        Ok(())
    }

    /// Looks at the events at hand until something is to be told.
    fn process(&mut self) -> Result<Pause> {
        for _ in 0..EVENTS_AT_A_TIME {
            let Some(block) = &mut self.block else { break };
            let Some(event) = block.peek() else {
                self.block = None;
                self.passed()?;
                // More may be there already: builders stay open for it.
                match self.feed.try_next() {
                    Some(fed) => self.fed(fed)?,
                    None => break,
                }
                continue;
            };
            let step = match self.start.machine.event(event, &mut self.start.tables, None) {
                Ok(step) => step,
                Err(error) if error.code() == Code::LogDamaged => {
                    self.lost(error)?;
                    break;
                }
                Err(error) => return Err(error),
            };
            match step {
                Step::Done => block.advance(),
                Step::Rows(table) | Step::Part(table) => {
                    if matches!(step, Step::Rows(_)) {
                        block.advance();
                    }
                    self.rows_in(table)?;
                    if !self.out.is_empty() {
                        break;
                    }
                }
                Step::Wait => {
                    self.waiting = true;
                    break;
                }
                Step::Keys(keys) => return Ok(Pause::Keys(keys)),
                Step::Ddl(ddl) => {
                    self.start.tables.flush_all(&mut self.out)?;
                    self.dirty_since = None;
                    self.ddl = Some(*ddl);
                    break;
                }
                Step::Unfit(unfit) => {
                    self.start.tables.flush_all(&mut self.out)?;
                    self.dirty_since = None;
                    self.unfit = Some(*unfit);
                    break;
                }
            }
        }
        Ok(Pause::None)
    }

    /// Asks the server for the sort keys of the rows in the current event, and reads it with them.
    async fn with_server_keys(&mut self, open: OpenKeys) -> Result<()> {
        let weighed = match self.weighed(&open).await {
            Ok(weighed) => weighed,
            Err(error) if worth_another_try(&error, 0) => {
                tracing::warn!(%error, "sort keys cannot be asked for yet");
                tokio::time::sleep(LINGER * 100).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut weighed = weighed.iter().cloned();
        let mut closed = |key: &Option<OpenKey>| key.as_ref().and_then(|_| weighed.next());
        let keys: Vec<_> = open.keys.iter().map(|(before, after)| (closed(before), closed(after))).collect();
        let Some(event) = self.block.as_ref().and_then(Block::peek) else { return Ok(()) };
        let step = self.start.machine.event(event, &mut self.start.tables, Some(&keys))?;
        self.questions.settled();
        match step {
            Step::Wait => self.waiting = true,
            Step::Rows(table) => {
                self.advance();
                self.rows_in(table)?;
            }
            Step::Part(table) => self.rows_in(table)?,
            Step::Done => self.advance(),
            Step::Keys(_) | Step::Ddl(_) | Step::Unfit(_) => {
                return Err(Error::new(
                    Code::Bug,
                    "rows with their keys asked for something else than to be handed out",
                ));
            }
        }
        Ok(())
    }

    fn advance(&mut self) {
        if let Some(block) = &mut self.block {
            block.advance();
        }
    }

    fn rows_in(&mut self, table: usize) -> Result<()> {
        self.dirty_since.get_or_insert_with(Instant::now);
        self.start.tables.flush_if_full(table, &mut self.out)
    }

    fn flush_if_due(&mut self) -> Result<()> {
        self.held.resize(self.start.tables.wire_bytes() + self.start.machine.spooled_memory());
        if !self.start.tables.is_dirty() {
            self.dirty_since = None;
            return Ok(());
        }
        let age = self.dirty_since.map_or(Duration::ZERO, |since| since.elapsed());
        let patience = match self.block.is_some() && !self.waiting {
            _ if self.start.machine.is_in_transaction() => LONGEST_HOLD,
            true => LONGEST_LINGER,
            false => LINGER,
        };
        let too_large = self.start.tables.wire_bytes() > OPEN_BYTES || self.start.context.budget.is_over();
        if age >= patience || too_large {
            self.start.tables.flush_all(&mut self.out)?;
            self.dirty_since = None;
        }
        Ok(())
    }

    /// The stream has moved: chunks may be caught up with.
    fn passed(&mut self) -> Result<()> {
        self.start.snapshot.passed(self.start.machine.boundary(), &mut self.start.tables)
    }

    fn chunk(&mut self, chunk: Option<Result<ChunkRead>>) -> Result<()> {
        let Some(chunk) = chunk else {
            self.start.snapshot.ended();
            return Ok(());
        };
        self.start.snapshot.hold(chunk?);
        self.take_held_chunk()
    }

    /// Hands out the chunk at hand, if the stream knows its columns.
    fn take_held_chunk(&mut self) -> Result<()> {
        if self.start.snapshot.hand_out(&self.start.machine, &mut self.start.tables, &mut self.out)? {
            self.waiting = false;
            self.passed()?;
        }
        Ok(())
    }
}

enum Pause {
    None,
    Keys(OpenKeys),
}

fn feed(start: &Start, failures: u32) -> Feed {
    let options = FeedOptions {
        endpoint: start.config.endpoint.clone(),
        server_id: start.config.server_id,
        heartbeat: start.config.options.heartbeat_interval,
    };
    Feed::start(options, resume(start), failures, &start.context.budget)
}

/// Where the stream goes on.
fn resume(start: &Start) -> Resume {
    Resume {
        server: start.server.clone(),
        place: start.machine.boundary().clone(),
        executed: start.machine.executed().clone(),
        first: Some(start.machine.first_place()),
        bound_to_server: !start.snapshot.is_passed(),
        mark: start.machine.mark().cloned(),
        instance: start.instance.clone(),
    }
}

#[async_trait]
impl Reader for MysqlReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        if let Some(announced) = self.announced.as_mut().filter(|a| a.told) {
            announced.changes.pop_front();
            announced.told = false;
        }
        if let Some(announced) = self.announced.take_if(|a| a.changes.is_empty()) {
            self.apply(announced)?;
        }
        loop {
            if let Some(event) = self.ready() {
                if let Some(announced) = &mut self.announced
                    && matches!(event, SourceEvent::SchemaChange(_))
                {
                    announced.told = true;
                }
                self.told_at = Instant::now();
                return Ok(event);
            }
            self.step().await?;
        }
    }

    fn barrier(&mut self, out: &mut Vec<ChangeBatch>) -> Result<Position> {
        out.extend(self.out.drain(..));
        self.start.tables.flush_all(out)?;
        self.dirty_since = None;
        let (shadows, retired) = self.start.tables.remembered();
        let mut head = Head {
            server: self.start.server.clone(),
            place: self.start.machine.boundary().to_string(),
            gtid: self.start.machine.recorded_gtids().to_string(),
            mark: self.start.machine.mark().cloned(),
            inside: self.start.machine.inside(&self.start.tables),
            prepared: self.start.machine.prepared(),
            committed: self.start.machine.committed(),
            snapshot: self.start.snapshot.state(&self.start.tables),
            shadows,
            retired,
        };
        head.renumber(&self.start.tables.numbers());
        position::encode(&head, &self.start.tables.encoded_shapes()?)
    }

    /// A view shows what lies before one place of the log: every chunk has a place.
    fn keep_order_across_tables(&mut self, _told_twice: ToldTwice) {
        self.start.snapshot.keep_order();
    }

    fn is_mid_cut(&self) -> bool {
        !self.out.is_empty()
    }

    fn status(&self) -> SourceStatus {
        let machine = &self.start.machine;
        let behind = self.block.is_some() || !self.feed.is_connected() || self.disconnected.is_some();
        let now = self.start.context.clock.now_micros();
        let lag = machine.last_commit().map(|commit| if behind { (now - commit).max(0) } else { 0 });
        SourceStatus {
            snapshot: self.start.snapshot.progress(&self.start.tables),
            disconnected: self.disconnected.clone(),
            last_commit_micros: machine.last_commit(),
            lag_micros: lag,
            position: describe(machine.boundary(), &machine.executed().to_string(), &[]),
            kept: None,
            not_understood: self.not_understood.clone(),
        }
    }
}

/// `bin.000003:4711 (0-1-99)`, and from where the log is needed if that is not all: `, needs bin.000002:99`.
pub fn describe(place: &Place, gtids: &str, prepared: &[Prepared]) -> String {
    if place.is_number() && !gtids.is_empty() {
        return gtids.to_owned();
    }
    let read = if gtids.is_empty() { place.to_string() } else { format!("{place} ({gtids})") };
    // In the order of the log.
    let oldest = prepared.iter().find(|prepared| !prepared.empty);
    oldest.map_or_else(|| read.clone(), |oldest| format!("{read}, needs {}", oldest.begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_tells_which_part_of_the_log_must_not_be_purged() {
        let place = Place::parse("bin.000003:4711").unwrap();
        let prepared = |begin: &str, empty| Prepared {
            xid: "X'61',X'',1".into(),
            transaction: "0-1-7".into(),
            begin: begin.into(),
            before: String::new(),
            empty,
        };
        assert_eq!(describe(&place, "", &[]), "bin.000003:4711");
        let both = [prepared("bin.000001:4", true), prepared("bin.000002:99", false), prepared("bin.000003:5", false)];
        assert_eq!(describe(&place, "0-1-99", &both), "bin.000003:4711 (0-1-99), needs bin.000002:99");
        assert_eq!(describe(&place, "0-1-99", &both[..1]), "bin.000003:4711 (0-1-99)");
        assert_eq!(describe(&Place::of_number(5), "u:1-4", &[]), "u:1-4");
    }
}
