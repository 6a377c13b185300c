//! The task that reads the binlog while nobody polls.
//!
//! It connects, copies events into blocks and sends them through a small bounded channel; when the reader does not take
//! them, the server waits (the session allows that for an hour). A lost connection ends the feed: the reader, which alone
//! knows how far it has got, starts the next one at its exact place. So a reconnection and a restart are the same code.

use crate::client::{BinlogRequest, BinlogStream, Connection, Endpoint, LARGE, stream_ended};
use crate::position::ServerName;
use crate::server::{Resume, verify};
use crate::torn::{behind_torn_end, torn_file};
use dujiang_core::budget::{Budget, Held};
use dujiang_core::codes::Retry;
use dujiang_core::{Code, Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// A block is sent when it holds this many bytes, or when nothing more has arrived.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks waiting to be taken.
const BLOCKS: usize = 4;
/// Longest silence while the server looks for the start: it may scan a whole file and says nothing meanwhile (F36).
const SEEK_PATIENCE: Duration = Duration::from_secs(600);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A buffer larger than this is not kept for another block.
const KEPT_BYTES: usize = 4 * BLOCK_BYTES;

/// Raw events in the server's order.
pub struct Block {
    room: Room,
    next: usize,
    held: Held,
    spare: Spare,
    /// A large block's: there is only one at a time.
    alone: Option<OwnedSemaphorePermit>,
}

/// What a block is made of; goes round between the task that reads and the one that takes, since memory that is always new
/// costs more than the copying.
#[derive(Default)]
struct Room {
    bytes: Vec<u8>,
    events: Vec<(usize, usize)>,
}

type Spare = Arc<Mutex<Vec<Room>>>;

impl Room {
    fn push(&mut self, event: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(event);
        self.events.push((start, self.bytes.len()));
    }
}

impl Room {
    /// A room for the event just returned alone, which is large: its buffer, without a copy.
    fn of_one(stream: &mut BinlogStream) -> Result<Self> {
        let lost = || Error::new(Code::Bug, "the buffer of a large event is gone");
        let bytes = stream.take_large().ok_or_else(lost)?;
        Ok(Self { events: vec![(1, bytes.len())], bytes })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut room = std::mem::take(&mut self.room);
        if room.bytes.capacity() <= KEPT_BYTES {
            room.bytes.clear();
            room.events.clear();
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        }
    }
}

impl Block {
    /// Takes what has arrived, as far as it fits; a large event begins the next block.
    fn fill(&mut self, stream: &mut BinlogStream) -> Result<Option<Room>> {
        let mut ahead = None;
        while self.room.bytes.len() < BLOCK_BYTES {
            match stream.try_next_buffered()? {
                Some(event) if event.len() < LARGE => self.room.push(event),
                Some(_) => {
                    ahead = Some(Room::of_one(stream)?);
                    break;
                }
                None => break,
            }
        }
        self.held.resize(self.room.bytes.capacity());
        Ok(ahead)
    }

    /// The next event, without going past it.
    pub fn peek(&self) -> Option<&[u8]> {
        self.room.events.get(self.next).map(|&(start, end)| &self.room.bytes[start..end])
    }

    /// Goes past the next event. What was large is given back at once: the reader looks at its rows for a while.
    pub fn advance(&mut self) {
        self.next += 1;
        if self.next == self.room.events.len() && self.alone.take().is_some() {
            self.room.bytes = Vec::new();
            self.held.resize(0);
        }
    }
}

/// What the feed has to say.
pub enum Fed {
    /// The server, which is the one that was followed, or one that has followed it.
    Connected(ServerName),
    /// Events.
    Block(Block),
    /// The file ends here: the server crashed while it wrote it. What follows is of the next one.
    TornEnd,
    /// The connection is gone or could not be made; nothing follows.
    Lost(Error),
}

/// A running feed; ends when dropped.
pub struct Feed {
    blocks: mpsc::Receiver<Fed>,
    connected: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a feed is to connect.
#[derive(Debug, Clone)]
pub struct FeedOptions {
    /// The server.
    pub endpoint: Endpoint,
    /// Our id as a replica.
    pub server_id: u32,
    /// How often an idle server says that it is alive.
    pub heartbeat: Duration,
}

impl Feed {
    /// Begins to read where `resume` says, after a pause that grows with the number of `failures` in a row.
    pub fn start(options: FeedOptions, resume: Resume, failures: u32, budget: &Budget) -> Self {
        let (sender, blocks) = mpsc::channel(BLOCKS);
        let connected = Arc::new(AtomicBool::new(false));
        let (flag, budget) = (connected.clone(), budget.clone());
        let task = tokio::spawn(async move {
            tokio::time::sleep(pause(failures)).await;
            if let Err(error) = run(&options, &resume, &budget, &sender, &flag).await {
                // The reader is gone if this fails, and with it everybody who wants to know.
                let _ = sender.send(Fed::Lost(error)).await;
            }
        });
        Self { blocks, connected, task }
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

    /// Whether events have arrived.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
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

/// Whether reconnecting can mend an error: always for lost connections, a few times where the cause may be in the way of
/// the bytes or an old session of ours.
pub fn worth_another_try(error: &Error, failures: u32) -> bool {
    match error.retry() {
        Retry::Endless => true,
        // The server was there before: something between us and it is down and closes connections before the greeting.
        Retry::Never if error.code() == Code::NotADatabase => true,
        Retry::Bounded => failures < 5,
        Retry::Never => false,
    }
}

async fn run(
    options: &FeedOptions,
    resume: &Resume,
    budget: &Budget,
    sender: &mpsc::Sender<Fed>,
    connected: &AtomicBool,
) -> Result<()> {
    let mut connection = Connection::connect(&options.endpoint).await?;
    let server = verify(&mut connection, resume).await?;
    if sender.send(Fed::Connected(server)).await.is_err() {
        return Ok(());
    }
    let request = BinlogRequest {
        server_id: options.server_id,
        start: resume.start(),
        heartbeat: options.heartbeat,
        replica_uuid: None,
        wait_at_end: true,
    };
    let mut stream = connection.dump(&request).await?;
    let mut torn: Option<Error> = None;
    let mut events = 0u64;
    let spare = Spare::default();
    let (large, mut ahead) = (Arc::new(Semaphore::new(1)), None);
    loop {
        if let Some(error) = torn.take() {
            let mut connection = Connection::connect(&options.endpoint).await?;
            verify(&mut connection, resume).await?;
            stream = behind_torn_end(connection, &request, error).await?;
            events = 0;
            if sender.send(Fed::TornEnd).await.is_err() {
                return Ok(());
            }
        }
        // The first events are made up when the dump begins; only what follows proves that the place is found.
        let patience = if events < 3 { SEEK_PATIENCE } else { options.heartbeat * 3 };
        let first = match ahead.take() {
            Some(room) => room,
            None => match timeout(patience, first_of_block(&mut stream, &spare)).await {
                Ok(Err(error)) if torn_file(&error).is_some() => {
                    torn = Some(error);
                    continue;
                }
                Ok(first) => first?,
                Err(_) => return Err(silent(patience)),
            },
        };
        let mut block = Block { room: first, next: 0, held: budget.hold(0), spare: spare.clone(), alone: None };
        ahead = match block.fill(&mut stream) {
            // What came before counts.
            Err(error) if torn_file(&error).is_some() => {
                torn = Some(error);
                None
            }
            filled => filled?,
        };
        if block.room.bytes.len() > LARGE {
            block.alone = large.clone().acquire_owned().await.ok();
        }
        connected.store(true, Ordering::Relaxed);
        events += block.room.events.len() as u64;
        if sender.send(Fed::Block(block)).await.is_err() {
            return Ok(());
        }
    }
}

fn silent(patience: Duration) -> Error {
    let message = format!("the source has sent nothing for {} ms, not even a sign of life", patience.as_millis());
    Error::new(Code::ConnectionLost, message)
}

async fn first_of_block(stream: &mut BinlogStream, spare: &Spare) -> Result<Room> {
    let Some(event) = stream.next_event().await? else {
        return Err(stream_ended());
    };
    if event.len() < LARGE {
        let mut room = spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        room.push(event);
        return Ok(room);
    }
    Room::of_one(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute() {
        let millis: Vec<_> = [0, 1, 2, 3, 9, 10, 99].map(|n| pause(n).as_millis()).into();
        assert_eq!(millis, [0, 100, 200, 400, 25_600, 30_000, 30_000]);
    }
}
