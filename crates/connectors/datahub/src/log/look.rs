//! What a log holds, as a look at its newest records tells.

use super::config::Hub;
use super::order::{Order, trimmed};
use super::place::{FromSegment, Spot};
use super::record::{Kind, Mark, Record, Segment};
use super::tail::Tail;
use super::topic::{self, Topic};
use crate::client::{Connection, Row, Seek};
use dujiang_core::{Result, Start};
use dujiang_entries::Shapes;
use std::sync::Arc;

/// The log as it is at the moment.
pub(crate) struct Seen {
    /// Its service, topic and lineage: numbers of another one mean something else (INV-5).
    pub(crate) log: String,
    pub(crate) topic: Topic,
    /// What is committed, with shapes, fences and the last segment.
    pub(crate) order: Order,
    pub(crate) last: Mark,
    pub(crate) segment: u64,
    /// Number behind the last entry that is committed.
    pub(crate) end: u64,
    /// Behind all records that were looked at.
    pub(crate) tail: Tail,
}

/// The log, once it has been begun.
pub(crate) async fn look(hub: &Arc<Hub>) -> Result<Option<Seen>> {
    let Some(topic) = topic::find(hub, &mut Connection::default()).await? else { return Ok(None) };
    look_at(hub, topic).await.map(|(seen, _)| seen)
}

/// The log in a topic that is there, and its newest record.
pub(crate) async fn look_at(hub: &Arc<Hub>, topic: Topic) -> Result<(Option<Seen>, Option<u64>)> {
    let mut tail = Tail::new(hub.clone(), topic);
    let Some(newest) = tail.newest().await? else { return Ok((None, None)) };
    // The newest record names the last segment that its writer knew: what is new since then lies behind that.
    let hint = segment_of(&mut tail, newest).await?;
    let at_hint = match hint {
        Some(segment) => tail.go_to(segment).await?,
        None => false,
    };
    if !at_hint {
        tail.go_to_oldest().await?;
    }
    let mut order = Order::new(&hub.topic, u64::MAX, Vec::new());
    read_to(&mut tail, newest, |record| order.take(record)).await?;
    let Some((last, segment)) = order.last() else {
        return match hint {
            // There was one, and it is gone.
            Some(_) => Err(trimmed(&hub.topic, 0, None).fact("why", "its last segment has expired")),
            None => Ok((None, Some(newest))),
        };
    };
    let log = format!("{}/{}/{}/{}", hub.service(), hub.topic, tail.topic().created, last.lineage);
    let (topic, end, last) = (tail.topic().clone(), order.committed(), last.clone());
    Ok((Some(Seen { log, topic, last, segment, end, order, tail }), Some(newest)))
}

/// Shows every record up to the one of this number.
pub(crate) async fn read_to(
    tail: &mut Tail,
    newest: u64,
    mut take: impl FnMut(&Record<'_>) -> Result<()>,
) -> Result<()> {
    let mut row = Row::default();
    while tail.last().is_none_or(|last| last < newest) {
        let pulled = tail.pull().await?;
        if pulled.records == 0 {
            // What was there a moment ago has expired.
            return Ok(());
        }
        tail.each(&pulled, &mut row, &mut take)?;
    }
    Ok(())
}

/// Of the record of this number, or of the first one behind it that is there.
async fn with_record<T>(tail: &mut Tail, sequence: u64, take: impl FnOnce(&Record<'_>) -> T) -> Result<Option<T>> {
    if !tail.go_to(sequence).await? {
        return Ok(None);
    }
    let (pulled, mut take, mut found) = (tail.pull().await?, Some(take), None);
    let shown = tail.each(&pulled, &mut Row::default(), |record| {
        found = take.take().map(|take| take(record)).or(found.take());
        Ok(())
    });
    if found.is_none() {
        shown?;
    }
    Ok(found)
}

/// The segment that the writer of a record knew.
async fn segment_of(tail: &mut Tail, sequence: u64) -> Result<Option<u64>> {
    let own = |record: &Record<'_>| match record.kind {
        Kind::Segment => Some(record.sequence),
        _ => record.by.segment,
    };
    Ok(with_record(tail, sequence, own).await?.flatten())
}

impl Seen {
    pub(crate) fn shapes(&self) -> &Shapes {
        &self.order.shapes
    }

    /// The number of the oldest record of the shard.
    pub(crate) async fn oldest(&self, hub: &Arc<Hub>) -> Result<u64> {
        let oldest = Tail::new(hub.clone(), self.topic.clone()).seek(Seek::Oldest).await?;
        Ok(oldest.and_then(|oldest| u64::try_from(oldest.sequence).ok()).unwrap_or_default())
    }

    fn spot(&self, number: u64, segment: u64) -> Spot {
        Spot { log: self.log.clone(), number, at: FromSegment { segment } }
    }

    /// What reads entries from a number on.
    pub(crate) fn order_from(&self, hub: &Hub, number: u64) -> Order {
        Order::new(&hub.topic, number, self.order.fences().to_vec())
    }

    /// Where a first start begins, and the shapes that are known there: those that are told before the first change count.
    ///
    /// # Errors
    /// `LogTrimmed` when that is not there any more.
    pub(crate) async fn begin(&self, hub: &Arc<Hub>, start: Start) -> Result<(Spot, Shapes)> {
        let (spot, shapes) = self.find(hub, start).await?;
        let number = shapes.behind(spot.number).min(self.end.max(spot.number));
        Ok((Spot { number, ..spot }, shapes))
    }

    /// A place, and the shapes that are known behind it.
    ///
    /// # Errors
    /// `LogTrimmed` when that is not there any more.
    pub(crate) async fn find(&self, hub: &Arc<Hub>, start: Start) -> Result<(Spot, Shapes)> {
        let mut tail = Tail::new(hub.clone(), self.topic.clone());
        let at = match start {
            Start::Earliest => None,
            Start::Offset(number) if number < self.end => {
                Some(self.spot(number, self.segment_before(&mut tail, number).await?))
            }
            Start::Time(micros) => match tail.seek(Seek::Time(micros.div_euclid(1000))).await? {
                Some(found) => {
                    let first = u64::try_from(found.sequence).unwrap_or_default();
                    let segment = segment_of(&mut tail, first).await?.unwrap_or_default();
                    Some(self.epoch_of(hub, segment, first).await?)
                }
                None => Some(self.spot(self.end, self.segment)),
            },
            Start::Latest | Start::Offset(_) => Some(self.spot(self.end, self.segment)),
        };
        self.walk(hub, at).await
    }

    /// The first epoch whose mark stands at this record or behind it.
    async fn epoch_of(&self, hub: &Arc<Hub>, segment: u64, first: u64) -> Result<Spot> {
        let mut tail = self.tail_at(hub, segment).await?;
        let (mut order, mut found) = (self.order_from(hub, u64::MAX), None);
        read_to(&mut tail, self.tail.last().unwrap_or_default(), |record| {
            let before = order.committed();
            order.take(record)?;
            if found.is_none() && record.sequence >= first && order.committed() > before && order.has_begun() {
                found = order.last().map(|(mark, segment)| (mark.log.from, segment));
            }
            Ok(())
        })
        .await?;
        Ok(match found {
            Some((number, segment)) => self.spot(number, segment),
            None => self.spot(self.end, self.segment),
        })
    }

    /// A segment before an entry: by halves of the shard, then back from segment to segment.
    async fn segment_before(&self, tail: &mut Tail, number: u64) -> Result<u64> {
        let oldest = tail.seek(Seek::Oldest).await?.and_then(|oldest| u64::try_from(oldest.sequence).ok());
        let (mut low, mut high) = (oldest.unwrap_or_default(), self.segment);
        while high.saturating_sub(low) > 1 {
            let middle = low + (high - low) / 2;
            let at = with_record(tail, middle, |record| record.head.map(|head| head.n)).await?;
            // What tells no number is of no help: the half before it is taken.
            match at.flatten() {
                Some(n) if n <= number => low = middle,
                _ => high = middle,
            }
        }
        let mut at = segment_of(tail, low).await?.or(Some(self.segment));
        while let Some(segment) = at {
            let told = with_record(tail, segment, |record| {
                let told = (record.kind == Kind::Segment).then(|| serde_json::from_slice::<Segment>(record.data).ok());
                told.flatten().map(|segment| (segment.last.log.end, segment.previous))
            });
            match told.await?.flatten() {
                Some((end, _)) if end <= number => return Ok(segment),
                Some((_, previous)) => at = previous,
                None => break,
            }
        }
        Ok(0)
    }

    /// At a segment, or, where it has expired, at the oldest record.
    pub(crate) async fn tail_at(&self, hub: &Arc<Hub>, segment: u64) -> Result<Tail> {
        let mut tail = Tail::new(hub.clone(), self.topic.clone());
        if !tail.go_to(segment).await? {
            tail.go_to_oldest().await?;
        }
        Ok(tail)
    }

    /// Reads up to a place, or to the oldest entry: where it is read from, and which shapes are known there.
    ///
    /// # Errors
    /// `LogTrimmed`.
    pub(crate) async fn walk(&self, hub: &Arc<Hub>, at: Option<Spot>) -> Result<(Spot, Shapes)> {
        let mut tail = self.tail_at(hub, at.as_ref().map_or(0, |spot| spot.at.segment)).await?;
        let (mut order, mut row) = (self.order_from(hub, u64::MAX), Row::default());
        let newest = self.tail.last().unwrap_or_default();
        let wanted = |order: &Order| at.as_ref().map_or(order.first().0, |spot| spot.number);
        while tail.last().is_none_or(|last| last < newest) {
            let pulled = tail.pull().await?;
            if pulled.records == 0 {
                break;
            }
            tail.each(&pulled, &mut row, |record| order.take(record))?;
            // Far enough behind it to know which shapes follow at once.
            if order.has_begun() && order.next() > order.shapes.behind(wanted(&order)) {
                break;
            }
        }
        let (number, (first, segment)) = (wanted(&order), order.first());
        if !order.has_begun() || first > number {
            return Err(trimmed(&hub.topic, number, order.has_begun().then_some(first)));
        }
        Ok((self.spot(number, segment), order.shapes))
    }

    /// Checks that a place is one of this log.
    ///
    /// # Errors
    /// `LogOther`.
    pub(crate) fn check(&self, spot: &Spot) -> Result<()> {
        spot.check(&self.log, self.end)
    }
}
