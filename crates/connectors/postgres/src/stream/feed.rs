//! The task that reads the stream while nobody polls, and tells the server how far things are.
//!
//! It connects, and sends its receive buffers, whole messages in them, through a small bounded channel; when the reader does
//! not take them, the server waits. Meanwhile, however long that takes, the server is told that we are alive. A lost
//! connection ends the feed: the reader, which alone knows how far it has got, starts the next one at its exact place. So a
//! reconnection and a restart are the same code.

use super::pace::{Pace, REST};
use crate::client::{
    Block, Connection, Endpoint, Message, Replication, Session, Status, may_not_replicate, quote, sqlstate,
};
use crate::config::OriginFilter;
use crate::followed::Followed;
use crate::lsn::Lsn;
use crate::server::{Instance, Resume, is_standby, lost_slot, verify, with_holder};
use dujiang_core::budget::{Budget, Held};
use dujiang_core::clock::Clock;
use dujiang_core::{Code, Error, Result, fault};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// Blocks waiting to be taken.
const BLOCKS: usize = 4;
/// A buffer larger than this is not kept for another block.
const KEPT_BYTES: usize = 2 << 20;
/// How often the server is told how far things are, at least.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// A server that has not answered for so many times that interval is taken for dead.
const SILENT_INTERVALS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How far things are durable, as the acker says and the feed tells the server (INV-1).
#[derive(Debug, Default)]
pub struct Durable {
    place: AtomicU64,
    changed: Notify,
}

impl Durable {
    /// Everything before `place` is durable. Never goes back (INV-3).
    pub fn reached(&self, place: Lsn) {
        if self.place.fetch_max(place.0, Ordering::Relaxed) < place.0 {
            self.changed.notify_one();
        }
    }

    /// The place.
    pub fn place(&self) -> Lsn {
        Lsn(self.place.load(Ordering::Relaxed))
    }
}

/// A block on its way to the reader; its buffer goes round.
pub struct Fill {
    block: Option<Block>,
    _held: Held,
    spare: Spare,
}

type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

impl Fill {
    /// The messages.
    pub fn block(&self) -> &Block {
        self.block.as_ref().expect("invariant: taken when dropped only")
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let buffer = self.block.take().map(Block::into_buffer).unwrap_or_default();
        if buffer.capacity() <= KEPT_BYTES {
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }
}

/// What the feed has to say.
pub enum Fed {
    /// The server, which is the one that was followed, or one that has followed it.
    Connected(Instance),
    /// Messages.
    Block(Fill),
    /// The connection is gone or could not be made; nothing follows.
    Lost(Error),
}

/// A running feed; ends when dropped.
pub struct Feed {
    blocks: mpsc::Receiver<Fed>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a feed is to connect and what it is to ask for.
#[derive(Clone)]
pub struct FeedOptions {
    /// The server.
    pub endpoint: Endpoint,
    /// The publication.
    pub publication: String,
    /// Whether values come in binary.
    pub binary: bool,
    /// Whether transactions come while they are in progress.
    pub streaming: bool,
    /// Changes of which origin come.
    pub origin: OriginFilter,
    /// How far things are durable.
    pub durable: Arc<Durable>,
    /// For the server's measure of how far we lag.
    pub clock: Arc<dyn Clock>,
    /// How often the server is told how far things are, at least.
    pub interval: Duration,
}

impl Feed {
    /// Begins to read where `resume` says, after a pause that grows with the number of `failures` in a row.
    pub fn start(options: FeedOptions, resume: Resume, failures: u32, budget: &Budget) -> Self {
        let (sender, blocks) = mpsc::channel(BLOCKS);
        let budget = budget.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(pause(failures)).await;
            if let Err(error) = run(&options, &resume, &budget, &sender).await {
                // The reader is gone if this fails, and with it everybody who wants to know.
                let _ = sender.send(Fed::Lost(error)).await;
            }
        });
        Self { blocks, task }
    }

    /// The next message. **Cancel-safe.**
    pub async fn next(&mut self) -> Fed {
        self.blocks.recv().await.unwrap_or_else(ended)
    }

    /// The next message if there is one already.
    pub fn try_next(&mut self) -> Option<Fed> {
        match self.blocks.try_recv() {
            Ok(fed) => Some(fed),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => Some(ended()),
        }
    }
}

fn ended() -> Fed {
    Fed::Lost(Error::new(Code::ConnectionLost, "the connection to the source was closed"))
}

/// 0, then 100 ms doubling up to 30 s.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => (FIRST_PAUSE * 2u32.pow((n - 1).min(10))).min(LONGEST_PAUSE),
    }
}

async fn run(options: &FeedOptions, resume: &Resume, budget: &Budget, sender: &mpsc::Sender<Fed>) -> Result<()> {
    let mut connection = Connection::connect(&options.endpoint, Session::Replication).await?;
    let instance = verify(&mut connection, resume).await?;
    let interval = interval(&mut connection, options.interval).await?;
    let standby = Standby::beside(&mut connection, &options.endpoint, &instance, resume).await?;
    let version = connection.version();
    let stream = match connection.replicate(&start(options, resume, version)).await {
        Ok(stream) => stream,
        Err(error) => return Err(explained(refused(error, resume), options, resume).await),
    };
    if sender.send(Fed::Connected(instance)).await.is_err() {
        return Ok(());
    }
    let written = resume.from.0;
    let mut pump = Pump {
        stream,
        options,
        written,
        told: 0,
        interval,
        ask: false,
        heard: Instant::now(),
        spare: Spare::default(),
        standby,
        pace: Pace::new(Instant::now()),
    };
    pump.run(budget, sender).await
}

/// A server that hears nothing for `wal_sender_timeout` ends the session.
async fn interval(connection: &mut Connection, wanted: Duration) -> Result<Duration> {
    let rows =
        connection.simple("SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'").await?;
    let millis: u64 = rows.first().map_or(Ok(0), |row| row.parse(0))?;
    let shortest = Duration::from_millis(20);
    let mut interval = TELL_EVERY.min(wanted);
    if millis > 0 {
        interval = interval.min(Duration::from_millis(millis / 4)).max(shortest);
    }
    Ok(interval)
}

/// Protocol versions: 1 since 10, 2 since 14 (`streaming`), 3 since 15 (prepared transactions), 4 since 16 (`origin`). Logical
/// messages (`messages`) are not asked for.
fn start(options: &FeedOptions, resume: &Resume, version: u32) -> String {
    let protocol = match version / 10_000 {
        ..15 => 2,
        15 => 3,
        _ => 4,
    };
    let publication = quote::literal(&quote::identifier(&options.publication));
    let binary = if options.binary { ", binary 'true'" } else { "" };
    let streaming = if options.streaming { ", streaming 'on'" } else { "" };
    let origin = if options.origin == OriginFilter::None { ", origin 'none'" } else { "" };
    format!(
        "START_REPLICATION SLOT {} LOGICAL {} \
         (proto_version '{protocol}', publication_names {publication}{binary}{streaming}{origin})",
        quote::identifier(&resume.slot),
        resume.from
    )
}

fn refused(error: Error, resume: &Resume) -> Error {
    let error = error.fact("slot", resume.slot.clone());
    match sqlstate(&error) {
        // Publications are looked for when there is a change to send, and not here.
        Some("42704") => lost_slot(resume).with_source(error),
        Some("55000") => {
            error.with_code(Code::SlotInvalid).help("drop the slot, and start a new pipeline with a new snapshot")
        }
        Some("42501") => error.with_code(Code::ReplicationRole),
        _ => error,
    }
}

/// Names the role, or the session that holds the slot.
async fn explained(error: Error, options: &FeedOptions, resume: &Resume) -> Error {
    match error.code() {
        Code::ReplicationRole => may_not_replicate(error, &options.endpoint.user),
        Code::SlotActive => match Connection::connect(&options.endpoint, Session::Ordinary).await {
            Ok(mut side) => {
                let error = with_holder(error, &mut side, &resume.slot).await;
                side.close().await;
                error
            }
            Err(_) => error,
        },
        _ => error,
    }
}

#[cold]
fn gone(said: Error, publication: &str) -> Error {
    let message =
        format!("the publication `{publication}` was not there when changes were written that are still to be read");
    Error::new(Code::Publication, message).fact("publication", publication.to_owned()).with_source(said).help(
        "it was dropped, or made after them, and they cannot be read any more: start a new pipeline with a new snapshot",
    )
}

struct Pump<'o> {
    stream: Replication,
    options: &'o FeedOptions,
    /// The end of what was received.
    written: u64,
    /// What was told last to be durable.
    told: u64,
    interval: Duration,
    /// The server wants an answer.
    ask: bool,
    /// When the server last said something.
    heard: Instant,
    spare: Spare,
    /// The server is a standby.
    standby: Option<Standby>,
    pace: Pace,
}

/// A session with a standby, which tells whether it still is one. A position has to name the timeline that its place lies on
/// (INV-5), and the stream of a standby that is promoted goes on, on a new one, without a word.
struct Standby(Connection);

impl Standby {
    async fn beside(
        replication: &mut Connection,
        endpoint: &Endpoint,
        instance: &Instance,
        resume: &Resume,
    ) -> Result<Option<Self>> {
        if !is_standby(replication).await? {
            return Ok(None);
        }
        let (endpoint, name) = (endpoint.clone(), instance.name.clone());
        let followed = Followed { endpoint, name, slot: resume.slot.clone(), standby: true };
        let mut session = Self(followed.connect().await?);
        session.check().await?;
        Ok(Some(session))
    }

    /// What was received before is of the timeline that was followed.
    async fn check(&mut self) -> Result<()> {
        if is_standby(&mut self.0).await? || fault::removed("standby-stays-standby") {
            return Ok(());
        }
        Err(Error::new(Code::ConnectionLost, "the standby was promoted, so that the stream is begun anew"))
    }
}

impl Pump<'_> {
    async fn run(&mut self, budget: &Budget, sender: &mpsc::Sender<Fed>) -> Result<()> {
        self.tell().await?;
        loop {
            let ready = tokio::select! {
                biased;
                () = self.options.durable.changed.notified() => false,
                ready = timeout(self.interval, self.stream.ready()) => match ready {
                    Ok(ready) => { ready?; true }
                    Err(_) => false,
                },
            };
            if !ready {
                // An idle server says nothing by itself while it hears from us.
                let silent = self.heard.elapsed();
                if silent > self.interval * SILENT_INTERVALS {
                    let message = format!("the source has said nothing for {} ms, though asked to", silent.as_millis());
                    return Err(Error::new(Code::ConnectionLost, message));
                }
                self.tell().await?;
                continue;
            }
            self.heard = Instant::now();
            let fresh = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let drained = self.stream.is_drained();
            let block = self.stream.take(fresh)?;
            let messages = self.look(&block)?;
            if let Some(standby) = &mut self.standby {
                let patience = self.interval * SILENT_INTERVALS;
                let silent = |_| Error::new(Code::ConnectionLost, "the standby has not answered");
                timeout(patience, standby.check()).await.map_err(silent)??;
            }
            let held = budget.hold(block.memory());
            let fill = Fill { block: Some(block), _held: held, spare: self.spare.clone() };
            if !self.send(Fed::Block(fill), sender).await? {
                return Ok(());
            }
            // Asked to answer, or new to the server: it says how far it has looked only when it knows that we have heard it.
            if self.ask {
                self.tell().await?;
            }
            if self.pace.is_rest_due(messages, drained, Instant::now()) {
                self.stream.rest(REST).await?;
            }
        }
    }

    /// What the server says in passing. Returns the number of messages.
    fn look(&mut self, block: &Block) -> Result<u32> {
        let mut messages = 0;
        for message in block.messages() {
            messages += 1;
            match message? {
                Message::Data { start, .. } => self.written = self.written.max(start),
                Message::Keepalive { end, ask } => {
                    self.ask |= ask || end > self.written;
                    self.written = self.written.max(end);
                }
                Message::Refused(body) => {
                    let error = self.stream.refused(body);
                    return Err(match sqlstate(&error) {
                        Some("42704") => gone(error, &self.options.publication),
                        Some("58P01") => error.with_code(Code::PositionLost),
                        Some("XX000" | "XX001") => error.with_code(Code::LogDamaged),
                        _ => error,
                    });
                }
                Message::Notice(body) => {
                    if let Some(error) = self.stream.passed_over(body)? {
                        return Err(gone(error, &self.options.publication));
                    }
                }
                Message::End => return Err(Error::new(Code::ConnectionLost, "the source ended the stream")),
            }
        }
        Ok(messages)
    }

    /// Hands over, and stays alive meanwhile; false when the reader is gone.
    async fn send(&mut self, fed: Fed, sender: &mpsc::Sender<Fed>) -> Result<bool> {
        loop {
            let permit = tokio::select! {
                biased;
                permit = timeout(self.interval, sender.reserve()) => permit.ok(),
                () = self.options.durable.changed.notified() => None,
            };
            match permit {
                Some(Ok(permit)) => {
                    permit.send(fed);
                    // While nobody took the block nobody listened either.
                    self.heard = Instant::now();
                    return Ok(true);
                }
                Some(Err(_)) => return Ok(false),
                None => self.tell().await?,
            }
        }
    }

    async fn tell(&mut self) -> Result<()> {
        self.ask = false;
        let durable = self.options.durable.place().0;
        let flushed = (durable > std::mem::replace(&mut self.told, durable)).then_some(durable);
        let status = Status {
            written: self.written.max(durable),
            flushed,
            now_micros: self.options.clock.now_micros(),
            ask: self.heard.elapsed() >= self.interval,
        };
        self.stream.tell(status).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute() {
        let millis: Vec<_> = [0, 1, 2, 3, 9, 10, 99].map(|n| pause(n).as_millis()).into();
        assert_eq!(millis, [0, 100, 200, 400, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn a_slot_that_went_between_two_looks_is_named() {
        let resume = Resume {
            server: crate::lineage::ServerName { system: "7".into(), timeline: 1 },
            slot: "s".into(),
            database: "d".into(),
            boundary: Lsn(100),
            from: Lsn(100),
            views: Vec::new(),
        };
        let said = Error::new(Code::SourceQuery, "the server refused a statement")
            .fact("statement", "START_REPLICATION SLOT s LOGICAL 0/64 (publication_names '\"p\"')")
            .fact("sqlstate", "42704");
        assert_eq!(refused(said, &resume).code(), Code::SlotLost);
    }

    #[test]
    fn r03_what_is_durable_never_goes_back() {
        let durable = Durable::default();
        durable.reached(Lsn(7));
        durable.reached(Lsn(5));
        assert_eq!(durable.place(), Lsn(7));
    }
}
