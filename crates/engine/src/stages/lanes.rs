//! Splits batches into lanes, in queues bounded by bytes.
//!
//! Order per key is kept because all changes of one key travel through one lane (INV-7); a key whose equality only the
//! server knows cannot be hashed here, so its table stays in one lane.

use dujiang_core::budget::{Budget, Held};
use dujiang_core::key::{changed_keys, hash_keys};
use dujiang_core::schema::KeyEquality;
use dujiang_core::sink::Milestone;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Kind, Result, TableId, fault};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Barrier, Notify, OwnedSemaphorePermit, Semaphore, mpsc};

/// Messages a lane's queue holds at most, however small they are.
const QUEUE_MESSAGES: usize = 256;
/// A lane's queue counts bytes in pieces of this size.
const QUEUE_UNIT: usize = 1024;

/// What a lane is sent.
pub(crate) enum LaneMessage {
    /// Rows for the sink; `table` is their table's name at the source.
    /// `goes_on`: another batch of its cut follows.
    Batch { table: TableId, batch: ChangeBatch, goes_on: bool, room: Room },
    /// The source has come to this; only the lane of a log hears of it.
    Milestone(Milestone),
    /// Wait until every lane has come this far.
    Sync(Arc<Barrier>),
    /// The epoch ends here.
    Barrier(Epoch),
}

/// The room a batch takes in its queue; given back when dropped.
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
    _held: Held,
    bytes: usize,
    gauges: Arc<Gauges>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.gauges.queued.fetch_sub(self.bytes, Ordering::Relaxed);
        self.gauges.progress.notify_waiters();
    }
}

/// What lanes hold, for everybody to see.
pub(crate) struct Gauges {
    /// Bytes waiting in queues or being written.
    queued: AtomicUsize,
    /// Dead letters of the lanes since the last barrier.
    letters: AtomicUsize,
    /// Rings when a batch has left.
    progress: Notify,
    lanes: Vec<LaneGauge>,
}

#[derive(Default)]
struct LaneGauge {
    buffered: AtomicUsize,
    spill: Notify,
}

impl Gauges {
    pub(crate) fn new(lanes: usize) -> Arc<Self> {
        let lanes = (0..lanes).map(|_| LaneGauge::default()).collect();
        Arc::new(Self { queued: AtomicUsize::new(0), letters: AtomicUsize::new(0), progress: Notify::new(), lanes })
    }

    /// A lane has sent records to the dead letters.
    pub(crate) fn add_letters(&self, count: usize) {
        self.letters.fetch_add(count, Ordering::Relaxed);
    }

    /// Dead letters of the lanes since the last barrier.
    pub(crate) fn letters(&self) -> usize {
        self.letters.load(Ordering::Relaxed)
    }

    /// The reader passes a barrier.
    pub(crate) fn forget_letters(&self) {
        self.letters.store(0, Ordering::Relaxed);
    }

    /// Waits while the budget is exceeded and lanes still have something to work off.
    pub(crate) async fn wait_for_room(&self, budget: &Budget) {
        loop {
            let progress = self.progress.notified();
            if !budget.is_over() || self.queued.load(Ordering::Relaxed) == 0 {
                return;
            }
            progress.await;
        }
    }

    /// Notes what a lane's writer holds. If the budget is exceeded, says whether this lane has to spill; if another
    /// one is larger, that one is asked.
    pub(crate) fn must_spill(&self, lane: usize, buffered: usize, budget: &Budget) -> bool {
        self.lanes[lane].buffered.store(buffered, Ordering::Relaxed);
        if !budget.is_over() {
            return false;
        }
        // Closing small buffers makes room for nothing and leaves small files behind.
        let worth_it = budget.limit() / (8 * self.lanes.len());
        let sizes = self.lanes.iter().map(|l| l.buffered.load(Ordering::Relaxed)).enumerate();
        match sizes.max_by_key(|&(_, bytes)| bytes) {
            Some((_, bytes)) if bytes == 0 || bytes < worth_it => false,
            Some((largest, bytes)) if largest == lane || bytes == buffered => true,
            Some((largest, _)) => {
                self.lanes[largest].spill.notify_one();
                false
            }
            None => false,
        }
    }

    /// Waits until this lane is asked to spill.
    pub(crate) async fn asked_to_spill(&self, lane: usize) {
        self.lanes[lane].spill.notified().await;
    }
}

/// The reader's end of all lanes.
pub(crate) struct Lanes {
    queues: Vec<Queue>,
    budget: Budget,
    gauges: Arc<Gauges>,
    hashes: Vec<u64>,
    /// The sink is a log: it keeps changes as they came.
    log: bool,
    /// What is sent next is followed by another batch of its cut.
    goes_on: bool,
}

struct Queue {
    sender: mpsc::Sender<LaneMessage>,
    units: Arc<Semaphore>,
    capacity: usize,
}

impl Lanes {
    /// The queues of `lanes` lanes, which share a sixteenth of the budget (more would not make anybody faster), and their
    /// other ends.
    pub(crate) fn new(
        lanes: usize,
        log: bool,
        budget: &Budget,
        gauges: &Arc<Gauges>,
    ) -> (Self, Vec<mpsc::Receiver<LaneMessage>>) {
        let capacity = (budget.limit() / 16 / lanes / QUEUE_UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let (queues, receivers) = (0..lanes)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES);
                (Queue { sender, units: Arc::new(Semaphore::new(capacity)), capacity }, receiver)
            })
            .unzip();
        (
            Self { queues, budget: budget.clone(), gauges: gauges.clone(), hashes: Vec::new(), log, goes_on: false },
            receivers,
        )
    }

    /// Sends the rows of a batch to their lanes; waits while a queue is full.
    ///
    /// # Errors
    /// `Bug` when a batch cannot be split or a lane is gone.
    pub(crate) async fn send(&mut self, table: &TableId, batch: ChangeBatch) -> Result<()> {
        let changed = if self.log { Vec::new() } else { changed_keys(&batch) };
        if changed.is_empty() {
            return self.route(table, batch).await;
        }
        let mut done = 0;
        for row in changed {
            self.send_run(table, &batch, done..row).await?;
            self.send_key_change(table, &batch, row).await?;
            done = row + 2;
        }
        self.send_run(table, &batch, done..batch.images()).await
    }

    /// Tells a log what the source has come to.
    ///
    /// # Errors
    /// `Bug` when a lane is gone.
    pub(crate) async fn milestone(&self, milestone: Milestone) -> Result<()> {
        for queue in &self.queues {
            queue.sender.send(LaneMessage::Milestone(milestone)).await.map_err(|_| lane_gone())?;
        }
        Ok(())
    }

    /// Whether what is sent next is followed by another batch of its cut.
    pub(crate) fn cut_goes_on(&mut self, goes_on: bool) {
        self.goes_on = goes_on;
    }

    /// Whether what it feeds is a log.
    pub(crate) fn feeds_log(&self) -> bool {
        self.log
    }

    /// Ends the epoch in every lane.
    ///
    /// # Errors
    /// `Bug` when a lane is gone.
    pub(crate) async fn barrier(&self, epoch: Epoch) -> Result<()> {
        for queue in &self.queues {
            queue.sender.send(LaneMessage::Barrier(epoch)).await.map_err(|_| lane_gone())?;
        }
        Ok(())
    }

    async fn send_run(&mut self, table: &TableId, batch: &ChangeBatch, rows: std::ops::Range<usize>) -> Result<()> {
        if rows.is_empty() { Ok(()) } else { self.route(table, batch.slice(rows)?).await }
    }

    /// An update of the key is a delete of the old key and an insert of the new one. If they travel in different
    /// lanes, all lanes meet in between, so that the delete is written first.
    async fn send_key_change(&mut self, table: &TableId, batch: &ChangeBatch, row: usize) -> Result<()> {
        let delete = batch.take(&[row as u32])?.with_kinds(vec![Kind::Delete]);
        let insert = batch.take(&[row as u32 + 1])?.with_kinds(vec![Kind::Insert]);
        let (from, to) = (self.lane_of_first(&delete), self.lane_of_first(&insert));
        self.push(from, table, delete).await?;
        if from != to {
            let meeting = Arc::new(Barrier::new(self.queues.len()));
            for queue in &self.queues {
                queue.sender.send(LaneMessage::Sync(meeting.clone())).await.map_err(|_| lane_gone())?;
            }
        }
        self.push(to, table, insert).await
    }

    async fn route(&mut self, table: &TableId, batch: ChangeBatch) -> Result<()> {
        if self.queues.len() == 1 || !is_hashed(&batch) {
            let lane = self.lane_of_table(&batch);
            return self.push(lane, table, batch).await;
        }
        hash_keys(&batch, &mut self.hashes);
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.queues.len()];
        for (row, &hash) in self.hashes.iter().enumerate() {
            rows[lane_of(hash, self.queues.len())].push(row as u32);
        }
        for (lane, rows) in rows.into_iter().enumerate() {
            if rows.len() == batch.images() {
                return self.push(lane, table, batch).await;
            }
            if !rows.is_empty() {
                self.push(lane, table, batch.take(&rows)?).await?;
            }
        }
        Ok(())
    }

    fn lane_of_first(&mut self, batch: &ChangeBatch) -> usize {
        if self.queues.len() == 1 || !is_hashed(batch) {
            return self.lane_of_table(batch);
        }
        hash_keys(batch, &mut self.hashes);
        lane_of(self.hashes[0], self.queues.len())
    }

    fn lane_of_table(&self, batch: &ChangeBatch) -> usize {
        let mut hasher = DefaultHasher::new();
        batch.schema.id.hash(&mut hasher);
        lane_of(hasher.finish(), self.queues.len())
    }

    async fn push(&mut self, lane: usize, table: &TableId, batch: ChangeBatch) -> Result<()> {
        let queue = &self.queues[lane];
        let bytes = batch.memory();
        let held = self.budget.hold(bytes);
        // A batch larger than the whole queue waits until it is empty.
        let units = (bytes / QUEUE_UNIT + 1).min(queue.capacity) as u32;
        let permit = queue.units.clone().acquire_many_owned(units).await.map_err(|_| lane_gone())?;
        self.gauges.queued.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { _permit: permit, _held: held, bytes, gauges: self.gauges.clone() };
        let message = LaneMessage::Batch { table: table.clone(), batch, goes_on: self.goes_on, room };
        queue.sender.send(message).await.map_err(|_| lane_gone())
    }
}

fn is_hashed(batch: &ChangeBatch) -> bool {
    batch.schema.key_equality == KeyEquality::ByValue || fault::removed("lane-by-comparable-key")
}

fn lane_of(hash: u64, lanes: usize) -> usize {
    ((u128::from(hash) * lanes as u128) >> 64) as usize
}

/// The lane has reported why; this error only ends the sender.
fn lane_gone() -> Error {
    Error::new(Code::Bug, "a lane is gone")
}
