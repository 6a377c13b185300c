//! Looking at a log without changing it, for people and scripts. Waits for the service.

use super::config::{self, Hub, LogConfig};
use super::look::{Seen, look};
use super::place::{Item, Spot};
use super::waiting;
use crate::client::Row;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Problem, RawOption};
use dujiang_core::source::SourceEvent;
use dujiang_core::{Code, Error, Result, Start};
use dujiang_entries::{Summary, Verified, each};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Pieces that may wait.
const PIECES: usize = 2;

/// Where a log is.
pub struct Place(Arc<Hub>);

/// What is to be looked at, from a `log:` block.
///
/// # Errors
/// Every mistake of the block.
pub fn of_log(raw: &[RawOption], pipeline: &str) -> std::result::Result<Place, Vec<Problem>> {
    let options = PipelineOptions { name: pipeline.to_owned(), parallelism: 1, memory_limit: 64 << 20 };
    LogConfig::parse(raw, &options).map(|config| Place(config.hub))
}

/// The same from a `source:` block.
///
/// # Errors
/// Every mistake of the block.
pub fn of_source(raw: &[RawOption]) -> std::result::Result<Place, Vec<Problem>> {
    config::source(raw).map(|(hub, _)| Place(Arc::new(hub)))
}

/// A log that is looked at. What is committed later is not seen.
pub struct View {
    hub: Arc<Hub>,
    seen: Arc<Seen>,
}

/// The topic, and the numbers of the oldest and newest record of its shard.
pub type Shard = (String, u64, u64);

/// What a reading brings: entries, and how many epochs were committed meanwhile.
type Piece = Result<(Vec<Item>, u64)>;

impl View {
    /// Looks at a log.
    ///
    /// # Errors
    /// `LogMissing`; as the service answers.
    pub fn open(Place(hub): Place) -> Result<Self> {
        let place = hub.clone();
        let seen = waiting(async move { look(&place).await })?;
        let missing = || {
            Error::new(Code::LogMissing, format!("there is no log in topic `{}`", hub.topic))
                .fact("project", hub.service())
                .help("check `topic`; the log is made by the pipeline that captures into it")
        };
        let seen = Arc::new(seen.ok_or_else(missing)?);
        Ok(Self { hub, seen })
    }

    fn find(&self, start: Start) -> Result<Spot> {
        let (hub, seen) = (self.hub.clone(), self.seen.clone());
        waiting(async move { Ok(seen.find(&hub, start).await?.0) })
    }

    /// Figures.
    ///
    /// # Errors
    /// As the service answers.
    pub fn summary(&self) -> Result<Summary<Shard>> {
        let (hub, seen) = (self.hub.clone(), self.seen.clone());
        let oldest = waiting(async move { seen.oldest(&hub).await })?;
        let last = &self.seen.last;
        Ok(Summary {
            pipeline: last.pipeline.clone(),
            lineage: last.lineage.clone(),
            first: self.find(Start::Earliest)?.number,
            end: self.seen.end,
            epoch: last.epoch,
            generation: last.generation,
            position: last.position.clone(),
            parts: (self.hub.topic.clone(), oldest, self.seen.tail.last().unwrap_or_default()),
            consumers: Vec::new(),
        })
    }

    /// The first entry of the epoch in which a time lies, microseconds since 1970; the end when there is none.
    ///
    /// # Errors
    /// As the service answers.
    pub fn offset_at(&self, micros: i64) -> Result<u64> {
        Ok(self.find(Start::Time(micros))?.number)
    }

    /// Entries from a place on, one by one with the number of its first change, as long as `take` says so.
    ///
    /// # Errors
    /// `LogTrimmed`, `LogRangeDamaged`; what `take` returns.
    pub fn each(&self, from: Start, mut take: impl FnMut(u64, SourceEvent) -> Result<bool>) -> Result<()> {
        self.read(from, |item| {
            let (number, event) = item.into_event();
            take(number, event)
        })
        .map(drop)
    }

    /// How many epochs were read.
    fn read(&self, from: Start, take: impl FnMut(Item) -> Result<bool>) -> Result<u64> {
        let (sender, mut pieces) = mpsc::channel(PIECES);
        let (hub, seen) = (self.hub.clone(), self.seen.clone());
        let thread = std::thread::spawn(move || {
            waiting(async move {
                if let Err(error) = follow(&hub, &seen, from, &sender).await {
                    // Nobody listens any more: then nobody needs it.
                    let _ = sender.send(Err(error)).await;
                }
                Ok(())
            })
        });
        let mut epochs = 0;
        let read = std::iter::from_fn(|| pieces.blocking_recv()).map(|piece| {
            let (items, more) = piece?;
            epochs = more;
            Ok(items)
        });
        let outcome = each(read, take);
        drop(pieces);
        let _ = thread.join();
        outcome.map(|()| epochs)
    }

    /// Reads everything: every number has to be there, and to be read.
    pub fn verify(&self) -> Verified {
        let mut verified = Verified::default();
        let read = self.read(Start::Earliest, |item| {
            verified.count(&item.into_event().1);
            Ok(true)
        });
        match read {
            Ok(epochs) => verified.epochs = epochs,
            Err(error) => verified.problem = Some(error),
        }
        verified
    }

    /// Nothing in DataHub waits for a delivery.
    ///
    /// # Errors
    /// Always.
    pub fn forget(&self, _consumer: &str) -> Result<()> {
        Err(Error::new(Code::NotSupported, "a log in DataHub has no consumers: it keeps nothing for them")
            .help("nothing has to be done: records expire after the days of the topic's lifecycle"))
    }
}

/// Reads what is committed by now.
async fn follow(hub: &Arc<Hub>, seen: &Seen, from: Start, out: &mpsc::Sender<Piece>) -> Result<()> {
    let (spot, _) = seen.find(hub, from).await?;
    let mut tail = seen.tail_at(hub, spot.at.segment).await?;
    let (mut order, mut row) = (seen.order_from(hub, spot.number), Row::default());
    while order.committed() < seen.end {
        let pulled = tail.pull().await?;
        if pulled.records == 0 {
            break;
        }
        let outcome = tail.each(&pulled, &mut row, |record| match order.committed() < seen.end {
            true => order.take(record),
            false => Ok(()),
        });
        if out.send(Ok((order.take_ready().into(), order.epochs()))).await.is_err() {
            return Ok(());
        }
        outcome?;
    }
    Ok(())
}
