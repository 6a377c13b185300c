//! The reader: stream and snapshot, brought together.

use crate::client::{Message, worth_another_try};
use crate::lsn::Lsn;
use crate::pgoutput::Relation;
use crate::position::{self, Head};
use crate::server::Instance;
use crate::shape::Shape;
use crate::snapshot::{ChunkRead, KeyOrder, ReadWith, StreamAt, lock};
use crate::stream::{Fed, Feed, Fill, Step};
use async_trait::async_trait;
use dujiang_core::budget::Held;
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::source::{Reader, SourceEvent, SourceStatus, ToldTwice};
use dujiang_core::{ChangeBatch, Code, Error, Position, Result, fault};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod arrivals;
mod columns;
mod emptied;
mod follow;
mod join;
mod keys;
mod partitions;
mod reread;
mod snapshot_side;
mod start;
mod watch;

pub use keys::{Key, check as check_keys};
pub use partitions::Partitions;
use reread::Reread;
use snapshot_side::HandedOut;
pub use snapshot_side::{SideTable, SnapshotSide};
pub use start::Start;
use watch::Watch;

/// How long rows wait in an open builder when nothing more has arrived.
const LINGER: Duration = Duration::from_millis(5);
/// How long they wait at most while more keeps arriving.
const LONGEST_LINGER: Duration = Duration::from_millis(50);
/// A connection that lasted so long was a good one, even if nothing happened.
const STEADY: Duration = Duration::from_secs(60);
/// How often something is told when there is nothing to tell.
const IDLE: Duration = Duration::from_secs(1);
/// How often a message that waits for a chunk is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Builders of all tables together are finished at this many bytes.
const OPEN_BYTES: usize = 32 << 20;
/// Messages looked at before other work gets its turn.
const MESSAGES_AT_A_TIME: usize = 8192;

/// A change of a captured table as a whole.
struct Announced {
    at: usize,
    change: SchemaChange,
    then: Then,
    /// It was told, and is carried out by the next call of `next`.
    told: bool,
}

enum Then {
    /// The table gets this shape, of which the stream has told.
    Reshape(Shape, Option<KeyOrder>, Relation),
    /// The table gets the shape of a chunk; the stream says nothing of it.
    Adopt(Arc<ReadWith>),
    /// The table is empty; the message at hand may empty others.
    Truncated,
    /// The table gets this shape; the stream says nothing of it.
    Relax(Shape),
    /// The table is taken in.
    Join(Box<arrivals::Arrival>),
}

/// Where in the block at hand the next message begins.
struct AtBlock {
    fill: Fill,
    next: usize,
}

/// Reads a PostgreSQL database.
pub struct PostgresReader {
    start: Start,
    feed: Feed,
    /// Whether values come in binary.
    binary: bool,
    /// Whether transactions come while they are in progress.
    streaming: bool,
    watch: Watch,
    /// Losses of the stream since it last moved, and where that was.
    failures: u32,
    lost_at: Option<Lsn>,
    connected_at: Instant,
    /// The server, if it was promoted while it was followed.
    promoted: Option<Instance>,
    disconnected: Option<String>,
    block: Option<AtBlock>,
    /// The current message waits for a chunk of this table.
    waiting: Option<usize>,
    out: VecDeque<ChangeBatch>,
    dirty_since: Option<Instant>,
    /// What the builders hold.
    held: Held,
    /// Met in the stream, not yet told.
    relation: Option<(usize, Relation)>,
    reread: Reread,
    announced: Option<Announced>,
    told_at: Instant,
    snapshot_told: bool,
    caught_up_told: bool,
    /// When the server was last given something to log, so that the end of its log comes within sight.
    nudged_at: Option<Instant>,
}

impl PostgresReader {
    /// Begins to read.
    pub fn new(start: Start) -> Self {
        let (feed, binary) = (start.feed(0, true), start.tables.reads_binary());
        let held = start.context.budget.hold(0);
        let snapshot_told = start.snapshot.is_none();
        let ids = start.tables.iter().map(|table| table.id.clone()).collect();
        let keys = start.tables.iter().filter_map(|table| Key::of(&table.shape)).collect();
        let watch = Watch::start(&start, ids, keys);
        Self {
            start,
            feed,
            binary,
            streaming: true,
            watch,
            failures: 0,
            lost_at: None,
            connected_at: Instant::now(),
            promoted: None,
            disconnected: None,
            block: None,
            waiting: None,
            out: VecDeque::new(),
            dirty_since: None,
            held,
            relation: None,
            reread: Reread::default(),
            announced: None,
            told_at: Instant::now(),
            snapshot_told,
            caught_up_told: false,
            nudged_at: None,
        }
    }

    /// What can be told without waiting.
    fn ready(&mut self) -> Option<SourceEvent> {
        if let Some(batch) = self.out.pop_front() {
            fault::point("stream.batch");
            return Some(SourceEvent::Batch(batch));
        }
        if let Some(announced) = &mut self.announced {
            announced.told = true;
            return Some(SourceEvent::SchemaChange(announced.change.clone()));
        }
        if !self.snapshot_told && self.start.snapshot.is_read() {
            self.snapshot_told = true;
            return Some(SourceEvent::SnapshotDone);
        }
        let clean = self.snapshot_told && !self.start.tables.is_dirty();
        if self.start.bounded && clean && self.start.snapshot.is_passed() {
            return Some(SourceEvent::End);
        }
        // Tables that came while the pipeline was off are part of what was there.
        let settled = self.start.bounded || self.watch.is_settled();
        let caught_up = clean && settled && self.start.machine.boundary() >= self.start.end_at_open;
        if caught_up && !self.caught_up_told {
            self.caught_up_told = true;
            return Some(SourceEvent::CaughtUp);
        }
        (self.told_at.elapsed() >= IDLE).then_some(SourceEvent::Idle)
    }

    /// Does one piece of work, or waits for some.
    async fn step(&mut self) -> Result<()> {
        if let Some(error) = self.watch.alarm() {
            return Err(error.fact("position", self.start.machine.boundary().to_string()));
        }
        self.partitions()?;
        // Chunks do not wait until the stream has nothing to do.
        match self.start.snapshot.try_next_chunk(self.waits()) {
            Some(chunk) => self.chunk(Some(chunk))?,
            None => self.take_held_chunk()?,
        }
        if !self.out.is_empty() || self.announced.is_some() || self.arrivals()? {
            return Ok(());
        }
        if let Some((at, relation)) = self.relation.clone()
            && !self.waits_for_chunk(at)
        {
            return self.follow(at, &relation).await;
        }
        if self.reread.is_due() {
            return self.reread().await;
        }
        if !self.waits() && self.block.is_some() {
            self.process()?;
            return self.flush_if_due();
        }
        self.flush_if_due()?;
        if !self.out.is_empty() {
            return Ok(());
        }
        self.wait().await
    }

    async fn wait(&mut self) -> Result<()> {
        let until_flush = self.dirty_since.map(|since| since + LINGER);
        let mut wake = self.told_at + IDLE;
        wake = until_flush.map_or(wake, |flush| flush.min(wake));
        let waits = self.waits();
        if waits || self.start.snapshot.is_holding() {
            // A view that was being opened may have been given up: nobody tells.
            wake = wake.min(Instant::now() + LOOK_AGAIN);
        }
        tokio::select! {
            biased;
            chunk = self.start.snapshot.next_chunk(waits) => self.chunk(chunk)?,
            fed = self.feed.next(), if self.block.is_none() => self.fed(fed)?,
            () = self.watch.looked() => {}
            () = tokio::time::sleep_until(wake.into()) => {
                self.waiting = None;
                self.nudge_if_due();
            }
        }
        Ok(())
    }

    /// The end of the log that was seen when the reader was opened may be a record that nobody writes to disk for minutes, and
    /// of which the stream then says nothing. A commit of any kind writes it.
    fn nudge_if_due(&mut self) {
        let behind = self.start.machine.boundary() < self.start.end_at_open || !self.start.snapshot.is_passed();
        let idle = self.snapshot_told && self.told_at.elapsed() >= IDLE / 2;
        let due = behind && self.block.is_none() && (idle || self.start.snapshot.is_holding());
        let lately = self.nudged_at.is_some_and(|at| at.elapsed() < IDLE / 2);
        if !due || lately || self.disconnected.is_some() {
            return;
        }
        self.nudged_at = Some(Instant::now());
        watch::nudge(self.start.config.endpoint.clone());
    }

    fn fed(&mut self, fed: Fed) -> Result<()> {
        match fed {
            Fed::Block(fill) => {
                self.disconnected = None;
                self.start.machine.ids().given_out(self.watch.next_xid());
                self.block = Some(AtBlock { fill, next: 0 });
                Ok(())
            }
            Fed::Connected(instance) => {
                self.connected_at = Instant::now();
                self.start.machine.ids().given_out(instance.next_xid);
                if instance.name != self.start.server {
                    let (from, to) = (self.start.server.timeline, instance.name.timeline);
                    tracing::info!(from, to, "the stream goes on at a server that was promoted");
                    for handoff in self.start.tables.iter().filter_map(|table| table.handoff.as_ref()) {
                        lock(handoff).views().try_for_each(|view| instance.history.has(view, &instance.name))?;
                    }
                    self.start.server = instance.name.clone();
                    self.promoted = Some(instance);
                }
                Ok(())
            }
            Fed::Lost(error) => self.lost(error),
        }
    }

    /// Starts over at the last boundary; what was read of the transaction after it is counted and passed over.
    fn lost(&mut self, error: Error) -> Result<()> {
        let boundary = self.start.machine.boundary();
        if self.lost_at != Some(boundary) || self.connected_at.elapsed() >= STEADY {
            self.failures = 0;
            self.lost_at = Some(boundary);
        }
        if !worth_another_try(&error, self.failures) {
            return Err(error);
        }
        tracing::warn!(%error, position = %boundary, "the stream was lost and is started again");
        if self.streaming && error.code() == Code::LogDamaged {
            // Servers fail at some transactions in progress that they can decode once they are committed, such as a change of
            // columns in a part that was rolled back (seen with 15.18: "could not map filenode").
            tracing::warn!("from here on transactions are read when they are committed");
            self.streaming = false;
        }
        self.failures += 1;
        self.disconnected = Some(error.to_string());
        self.start_over();
        Ok(())
    }

    /// Reads again from the last boundary.
    fn start_over(&mut self) {
        self.block = None;
        self.waiting = None;
        self.relation = None;
        self.reread.forget();
        self.start.tables.forget_found();
        self.start.machine.disconnected(&self.start.tables);
        self.binary = self.start.tables.reads_binary();
        self.feed = self.start.feed(self.failures, self.streaming);
    }

    /// The spool has no room: the server keeps transactions in progress itself, and sends them when they are committed. Prepared
    /// ones may still not find room, and then there is no way out.
    fn without_room(&mut self, error: Error) -> Result<()> {
        if error.code() != Code::SpoolFull || !self.streaming {
            return Err(error);
        }
        tracing::warn!(%error, "from here on the server keeps transactions until they are committed");
        self.streaming = false;
        self.lost(Error::new(
            Code::ConnectionLost,
            "transactions in progress need more room than `spool.max-bytes` allows",
        ))
    }

    /// Looks at the messages at hand until something is to be told.
    fn process(&mut self) -> Result<()> {
        for _ in 0..MESSAGES_AT_A_TIME {
            let Some(AtBlock { fill, next }) = &mut self.block else { break };
            let Some((message, after)) = fill.block().at(*next)? else {
                self.block = None;
                self.passed();
                // More may be there already: builders stay open for it.
                match self.feed.try_next() {
                    Some(fed) => self.fed(fed)?,
                    None => break,
                }
                continue;
            };
            let body = match message {
                Message::Data { body, .. } => body,
                Message::Keepalive { end, .. } => {
                    self.start.machine.looked(Lsn(end));
                    *next = after;
                    continue;
                }
                // The feed has seen these, and says so.
                Message::Refused(_) | Message::Notice(_) | Message::End => {
                    *next = after;
                    continue;
                }
            };
            let step = match self.start.machine.message(body, &mut self.start.tables) {
                Ok(step) => step,
                Err(error) => return self.without_room(error),
            };
            match step {
                Step::Done => *next = after,
                Step::More(None) => {}
                Step::Rows(table) | Step::More(Some(table)) => {
                    if matches!(step, Step::Rows(_)) {
                        *next = after;
                    }
                    self.dirty_since.get_or_insert_with(Instant::now);
                    self.start.tables.flush_if_full(table, &mut self.out)?;
                    if !self.out.is_empty() {
                        break;
                    }
                }
                Step::Wait(at) => {
                    self.waiting = Some(at);
                    break;
                }
                Step::Relation(at, relation) => {
                    self.relation = Some((at, relation));
                    break;
                }
                Step::Truncate(at) => {
                    self.truncate(at)?;
                    break;
                }
                Step::Missing(at, missing) => {
                    self.reread.begin(at, missing);
                    break;
                }
                Step::Null(at, column) => {
                    self.relax(at, column)?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, announced: Announced) -> Result<()> {
        match announced.then {
            Then::Reshape(shape, order, relation) => {
                self.start.tables.reshape(announced.at, shape, order);
                self.start.machine.related(relation, announced.at);
                self.read_as_text()
            }
            Then::Relax(shape) => {
                let order = self.start.tables.get(announced.at).order.clone();
                self.start.tables.reshape(announced.at, shape, order);
                Ok(())
            }
            Then::Adopt(with) => {
                let table = self.start.tables.get(announced.at);
                self.start.machine.doubt(table.shape.relation);
                let shape = Shape { version: table.shape.version + 1, ..with.shape.clone() };
                self.start.tables.reshape(announced.at, shape, with.order.clone());
                Ok(())
            }
            Then::Join(arrival) => {
                self.take_in(*arrival);
                Ok(())
            }
            Then::Truncated => {
                self.start.machine.truncated(announced.at, &mut self.start.tables);
                Ok(())
            }
        }
    }

    fn flush_all(&mut self) -> Result<()> {
        self.dirty_since = None;
        self.start.tables.flush_all(&mut self.out)
    }

    fn flush_if_due(&mut self) -> Result<()> {
        self.held.resize(self.start.tables.wire_bytes() + self.start.machine.undecided_memory());
        if !self.start.tables.is_dirty() {
            self.dirty_since = None;
            return Ok(());
        }
        let age = self.dirty_since.map_or(Duration::ZERO, |since| since.elapsed());
        let patience = if self.block.is_some() && self.waiting.is_none() { LONGEST_LINGER } else { LINGER };
        let too_large = self.start.tables.wire_bytes() > OPEN_BYTES || self.start.context.budget.is_over();
        if age >= patience || too_large {
            self.flush_all()?;
        }
        Ok(())
    }

    /// The stream has moved: chunks may be caught up with.
    fn passed(&mut self) {
        self.start.snapshot.passed(self.start.machine.boundary(), &mut self.start.tables);
    }

    fn chunk(&mut self, chunk: Option<Result<ChunkRead>>) -> Result<()> {
        let Some(chunk) = chunk else {
            self.start.snapshot.ended();
            return Ok(());
        };
        let chunk = chunk?;
        if let Some(instance) = &self.promoted {
            instance.history.has(&chunk.view, &instance.name)?;
        }
        self.start.snapshot.hold(chunk, &self.start.tables);
        self.take_held_chunk()
    }

    /// Hands out a chunk at hand, if the stream knows its columns.
    fn take_held_chunk(&mut self) -> Result<()> {
        let stream = self.stream_at();
        match self.start.snapshot.hand_out(&stream, &mut self.start.tables, &mut self.out)? {
            HandedOut::Nothing => Ok(()),
            HandedOut::Chunk => {
                self.waiting = None;
                self.passed();
                Ok(())
            }
            HandedOut::Columns(at, with) => self.adopt(at, with),
        }
    }

    /// Whether the message at hand waits for a chunk, as far as is known.
    fn waits(&self) -> bool {
        self.waiting.is_some() || self.relation.is_some()
    }

    fn stream_at(&self) -> StreamAt {
        let table = self.waiting.or_else(|| self.relation.as_ref().map(|(at, _)| *at));
        StreamAt { boundary: self.start.machine.boundary(), waits: table.zip(self.start.machine.committed()) }
    }

    /// Rows with the columns of before are still to be handed out, before the table gets others.
    fn waits_for_chunk(&self, at: usize) -> bool {
        let busy = self.start.tables.get(at).handoff.as_ref().is_some_and(|handoff| lock(handoff).is_busy());
        busy && !self.start.snapshot.holds(at)
    }
}

fn changed(table: &str, how: &str) -> Error {
    Error::new(Code::SchemaChange, format!("captured table {table} {how}")).fact("table", table.to_owned())
}

#[async_trait]
impl Reader for PostgresReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        if let Some(announced) = self.announced.take_if(|a| a.told) {
            self.apply(announced)?;
        }
        loop {
            if let Some(event) = self.ready() {
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
        self.partitions()?;
        let machine = &self.start.machine;
        let (boundary, from) = (machine.boundary(), machine.resume_from());
        let head = Head {
            server: self.start.server.clone(),
            slot: self.start.config.slot.clone(),
            place: boundary.to_string(),
            from: (from < boundary).then(|| from.to_string()),
            inside: machine.inside(&self.start.tables),
            xid: machine.near(),
            snapshot: self.start.snapshot.state(&self.start.tables),
            partitions: self.start.partitions.seen(),
            published: self.start.agreement.imprint(),
            files: self.start.partitions.emptied.files(),
        };
        position::encode(&head, &self.start.tables.encoded_shapes()?)
    }

    fn keep_order_across_tables(&mut self, told_twice: ToldTwice) {
        self.start.snapshot.keep_order();
        self.start.tables.tell_twice(told_twice);
    }

    fn is_mid_cut(&self) -> bool {
        !self.out.is_empty()
    }

    fn status(&self) -> SourceStatus {
        let machine = &self.start.machine;
        let behind = self.block.is_some() || self.disconnected.is_some();
        let now = self.start.context.clock.now_micros();
        let lag = machine.last_commit().map(|commit| if behind { (now - commit).max(0) } else { 0 });
        SourceStatus {
            snapshot: self.start.snapshot.progress(&self.start.tables),
            disconnected: self.disconnected.clone(),
            last_commit_micros: machine.last_commit(),
            lag_micros: lag,
            position: machine.boundary().to_string(),
            kept: self.watch.kept(machine.boundary(), now),
            not_understood: None,
        }
    }
}
