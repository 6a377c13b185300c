//! The one way into the shard: request by request, and where records stand.

use super::config::Hub;
use super::outbox::{Chunk, Outbox, append};
use super::record::{By, Kind, Mark, Record, Segment, json, write};
use super::tail::{Tail, Trouble};
use super::topic::{Topic, unfit};
use crate::client::{Class, Connection, Row};
use dujiang_core::schema::SchemaChange;
use dujiang_core::{Code, Error, Result};
use dujiang_entries::{Entries, write_shape};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// First and longest pause when the service gives no good answer.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Instances that a segment names.
const FENCES: usize = 64;

/// When a new segment begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal {
    /// After so many bytes: what a delivery reads again, at most, when it starts.
    pub(crate) bytes: u64,
    /// After that time, or sooner: several times while records stay.
    pub(crate) every: Duration,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { bytes: 32 << 20, every: Duration::from_secs(86_400) }
    }
}

impl Renewal {
    /// The time between two segments in which nothing happens, where records stay so long.
    fn pause(self, lifecycle: Duration) -> Duration {
        (lifecycle / 8).min(self.every)
    }
}

/// Shared by the writer and the committer of a log.
pub(crate) struct Line {
    pub(crate) hub: Arc<Hub>,
    pub(crate) entries: Entries,
    publish_timeout: Duration,
    renewal: Renewal,
    outbox: Mutex<Outbox>,
    /// Rings when what waited may go.
    pub(crate) opened: Notify,
    pub(crate) trouble: Trouble,
    putting: tokio::sync::Mutex<Option<Putting>>,
    /// Who writes, as records say it.
    by: Mutex<String>,
}

/// What is known of the shard by who puts records.
pub(crate) struct Putting {
    pub(crate) topic: Topic,
    pub(crate) lineage: String,
    pub(crate) generation: u64,
    pub(crate) connection: Connection,
    /// The last record up to which all that stands there is known; none in an empty shard.
    pub(crate) known: Option<u64>,
    /// Records that were put since.
    pub(crate) count: u64,
    /// Whether some may stand there twice, or others.
    pub(crate) unsure: bool,
    /// The last mark, segment and fences.
    pub(crate) last: Mark,
    pub(crate) segment: Option<u64>,
    pub(crate) fences: Vec<(u64, u64)>,
    /// Number behind the last entry that was put.
    pub(crate) end: u64,
    /// Bytes since the segment.
    pub(crate) bytes: u64,
    /// A segment was begun and not finished: nothing else may follow it.
    pub(crate) torn: bool,
}

impl Line {
    pub(crate) fn new(hub: Arc<Hub>, publish_timeout: Duration, renewal: Renewal) -> Self {
        let outbox = Mutex::new(Outbox::new(hub.max_records));
        let (entries, opened, trouble, by) = Default::default();
        let putting = tokio::sync::Mutex::default();
        Self { hub, entries, publish_timeout, renewal, outbox, opened, trouble, putting, by }
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what earlier lanes have left.
    pub(crate) fn reset(&self) {
        *self.outbox() = Outbox::new(self.hub.max_records);
    }

    /// What waited may go.
    pub(crate) fn release(&self) {
        self.outbox().release();
        self.opened.notify_waiters();
    }

    /// Who writes, as records say it.
    pub(crate) fn by(&self) -> String {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_by(&self, putting: &Putting) {
        let by = By { lineage: &putting.lineage, generation: putting.generation, segment: putting.segment };
        *self.by.lock().unwrap_or_else(PoisonError::into_inner) = by.text();
    }

    /// From now on this one puts records.
    pub(crate) async fn begin(&self, putting: Putting) {
        self.set_by(&putting);
        *self.putting.lock().await = Some(putting);
    }

    /// Puts the next request of records that may go; false when there is none.
    pub(crate) async fn pump(&self) -> Result<bool> {
        let mut putting = self.putting.lock().await;
        let putting = putting.as_mut().ok_or_else(not_open)?;
        let Some(chunk) = self.outbox().front() else { return Ok(false) };
        self.mend(putting).await?;
        self.put(putting, &chunk).await?;
        putting.end = putting.end.max(chunk.end);
        self.outbox().pop();
        Ok(true)
    }

    /// Puts one request, again and again for a while. Repeats do no harm: readers know numbers that they have seen.
    pub(crate) async fn put(&self, putting: &mut Putting, chunk: &Chunk) -> Result<()> {
        let path = format!("/projects/{}/topics/{}/shards/{}", self.hub.project, self.hub.topic, putting.topic.shard);
        let what = || format!("{} records for topic `{}`", chunk.count, self.hub.topic);
        let (begin, mut tried) = (tokio::time::Instant::now(), 0_u32);
        loop {
            let answer = self.hub.client.put_protobuf(&mut putting.connection, &path, &chunk.body).await;
            let failure = match answer {
                Ok(failures) if failures.is_empty() => {
                    putting.count += chunk.count as u64;
                    putting.bytes += chunk.body.len() as u64;
                    self.trouble.hear(None);
                    return Ok(());
                }
                // All of them or none: what was refused is not there, and neither are the others.
                Ok(failures) => crate::client::Failure::Refused(failures[0].refusal.clone()),
                Err(failure) => failure,
            };
            putting.unsure = true;
            let class = failure.class();
            if class == Class::Reroute {
                return Err(unfit(&self.hub, "its shard takes nothing any more: it was split, merged or removed"));
            }
            let error = failure.into_error(&what(), Code::SinkUnwritten);
            self.trouble.hear(Some(error.message().to_owned()));
            if class == Class::Fatal || class == Class::Record || begin.elapsed() >= self.publish_timeout {
                return Err(error);
            }
            tokio::time::sleep((AGAIN.0 * (1 << tried.min(6))).min(AGAIN.1)).await;
            tried += 1;
        }
    }

    /// Looks where the last record of a kind stands that was put last, and whether somebody newer has begun before it.
    ///
    /// As a rule one question will do: numbers in the shard are given one after the other, so nobody else has written if
    /// there are as many records as were put.
    ///
    /// # Errors
    /// `Fenced`.
    async fn settle(&self, putting: &mut Putting, behind: u64, is_it: impl Fn(&Record<'_>) -> bool) -> Result<u64> {
        let mut tail = Tail::new(self.hub.clone(), putting.topic.clone());
        let begin = tokio::time::Instant::now();
        loop {
            let newest = tail.newest().await?;
            let expected = putting.known.map_or(putting.count.checked_sub(1), |known| Some(known + putting.count));
            if !putting.unsure && newest.is_some() && newest == expected {
                (putting.known, putting.count) = (newest, 0);
                return Ok(newest.unwrap_or_default() - behind);
            }
            let found = self.read_back(putting, &mut tail, newest, &is_it).await?;
            if let Some(found) = found {
                return Ok(found);
            }
            if begin.elapsed() >= self.publish_timeout {
                return Err(Error::new(Code::SinkUnwritten, "what was put is not there")
                    .fact("topic", self.hub.topic.as_str())
                    .help("see whether something between here and the endpoint answers in its place"));
            }
            tokio::time::sleep(AGAIN.0).await;
        }
    }

    /// Reads what stands behind what is known.
    async fn read_back(
        &self,
        putting: &mut Putting,
        tail: &mut Tail,
        newest: Option<u64>,
        is_it: &impl Fn(&Record<'_>) -> bool,
    ) -> Result<Option<u64>> {
        let Some(newest) = newest else { return Ok(None) };
        let there = match putting.known {
            Some(known) => tail.go_to(known + 1).await?,
            None => tail.go_to(0).await?,
        };
        if !there {
            // It has expired meanwhile.
            tail.go_to_oldest().await?;
        }
        let (mut found, mut row) = (None, Row::default());
        // Behind what somebody newer has written nothing of ours counts: the next look begins before it.
        let (mut known, mut fenced_off) = (putting.known, false);
        let (ours, lineage) = (putting.generation, putting.lineage.clone());
        while tail.last().is_none_or(|last| last < newest) {
            let pulled = tail.pull().await?;
            tail.each(&pulled, &mut row, |record| {
                let newer = record.by.lineage == lineage && record.by.generation > ours;
                if newer && found.is_none() {
                    return Err(fenced(record.by.generation, ours));
                }
                fenced_off |= newer;
                if !fenced_off {
                    known = Some(record.sequence);
                    if record.by.lineage == lineage && record.by.generation == ours && is_it(record) {
                        found.get_or_insert(record.sequence);
                    }
                }
                Ok(())
            })?;
        }
        if found.is_some() {
            (putting.known, putting.count, putting.unsure) = (known, 0, false);
        }
        Ok(found)
    }

    /// Makes an epoch visible: puts its mark, and makes sure that it counts (INV-12).
    pub(crate) async fn mark(&self, mark: Mark) -> Result<()> {
        let mut putting = self.putting.lock().await;
        let putting = putting.as_mut().ok_or_else(not_open)?;
        self.mend(putting).await?;
        let chunk = self.single(Kind::Mark, &json(&mark)?);
        self.put(putting, &chunk).await?;
        let epoch = mark.epoch;
        let is_it = |record: &Record<'_>| {
            record.kind == Kind::Mark
                && serde_json::from_slice::<Mark>(record.data).is_ok_and(|found| found.epoch == epoch)
        };
        self.settle(putting, 0, is_it).await?;
        putting.last = mark;
        Ok(())
    }

    /// A request with one record.
    pub(crate) fn single(&self, kind: Kind, data: &[u8]) -> Chunk {
        let mut chunk = Chunk { body: Vec::new(), count: 1, end: 0 };
        write(&self.by(), kind, &[], data, &mut Vec::new(), &mut chunk.body);
        chunk
    }

    /// The request by which an instance begins.
    pub(crate) fn fence(&self, by: &By<'_>) -> Chunk {
        let mut chunk = Chunk { body: Vec::new(), count: 1, end: 0 };
        write(&by.text(), Kind::Fence, &[], b"{}", &mut Vec::new(), &mut chunk.body);
        chunk
    }

    /// Begins a segment if it is time for one, or anyway: then because what is there would expire.
    pub(crate) async fn renew(&self, anyway: bool) -> Result<()> {
        let mut putting = self.putting.lock().await;
        let putting = putting.as_mut().ok_or_else(not_open)?;
        // Nothing of an open epoch may stand before it.
        let quiet = putting.end <= putting.last.log.end;
        if quiet && (anyway || putting.bytes >= self.renewal.bytes) {
            return self.begin_segment(putting).await;
        }
        Ok(())
    }

    /// Begins a segment again and again, well before the last one expires.
    pub(crate) async fn keep(&self, lifecycle: Duration) {
        loop {
            tokio::time::sleep(self.renewal.pause(lifecycle)).await;
            if let Err(error) = self.renew(true).await {
                tracing::warn!(%error, "the last mark of the log could not be written again");
            }
        }
    }

    async fn mend(&self, putting: &mut Putting) -> Result<()> {
        if putting.torn { self.begin_segment(putting).await } else { Ok(()) }
    }

    /// Puts a segment: the last mark and all shapes. Only where nothing of an open epoch stands.
    pub(crate) async fn begin_segment(&self, putting: &mut Putting) -> Result<()> {
        let from = putting.fences.len().saturating_sub(FENCES);
        let segment =
            Segment { last: putting.last.clone(), previous: putting.segment, fences: putting.fences[from..].to_vec() };
        let (by, mut entry, mut record, mut chunks) = (self.by(), Vec::new(), Vec::new(), VecDeque::new());
        let mut push = |kind, data: &[u8]| {
            record.clear();
            write(&by, kind, &[], data, &mut entry, &mut record);
            append(&mut chunks, &record, 0, self.hub.max_records as usize);
        };
        push(Kind::Segment, &json(&segment)?);
        let shapes = self.entries.shapes();
        for (number, after) in &shapes {
            push(Kind::Known, &write_shape(*number, &SchemaChange::of_shapes(None, after))?);
        }
        putting.torn = true;
        for chunk in &chunks {
            self.put(putting, chunk).await?;
        }
        let segment = self.settle(putting, shapes.len() as u64, |record| record.kind == Kind::Segment).await?;
        (putting.segment, putting.bytes, putting.torn) = (Some(segment), 0, false);
        self.set_by(putting);
        Ok(())
    }
}

fn not_open() -> Error {
    Error::new(Code::Bug, "the log in DataHub is not open")
}

/// A newer instance captures (INV-11).
pub(crate) fn fenced(theirs: u64, ours: u64) -> Error {
    Error::new(Code::Fenced, "a newer instance captures into the log in DataHub")
        .fact("its generation", theirs.to_string())
        .fact("ours", ours.to_string())
}
