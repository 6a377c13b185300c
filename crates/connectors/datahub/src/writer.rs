//! One lane: records into shards, in order.

use crate::client::{Class, Connection, Failure, PutFailure};
use crate::config::Protocol;
use crate::records::{MAX_BODY, Records, encode};
use crate::shards::{Shard, Shards};
use crate::shared::{Shared, Topic};
use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::sink::{Detached, SinkContext, SinkFigures, Writer};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Result};
use futures_util::future::join_all;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// First and longest pause when the service says that it is too much.
const THROTTLE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often in a row that is borne.
const THROTTLED: usize = 30;

/// A lane's writer. What `write` has accepted stands in the service: nothing is held back.
pub(crate) struct DatahubWriter {
    shared: Arc<Shared>,
    context: SinkContext,
    figures: SinkFigures,
    /// A batch of which a part stands in the service already. It is tried again, and what stands is not sent again: the order of a
    /// key would be another one.
    begun: Option<Begun>,
}

struct Begun {
    batch: ChangeBatch,
    topic: Arc<Topic>,
    records: Records,
    failed: Vec<RowError>,
    /// Records that still have to go, in order.
    open: Vec<usize>,
}

impl Begun {
    fn is(&self, batch: &ChangeBatch) -> bool {
        Arc::ptr_eq(&self.batch.kinds, &batch.kinds) && Arc::ptr_eq(&self.batch.origins, &batch.origins)
    }
}

/// What became of a shard's records.
#[derive(Default)]
struct Outcome {
    /// Records that have to go (again), in order.
    open: Vec<usize>,
    failed: Vec<(usize, Error)>,
    sent: SinkFigures,
    /// The shard takes nothing any more.
    closed: bool,
    error: Option<Error>,
}

impl DatahubWriter {
    pub(crate) fn new(shared: Arc<Shared>, context: SinkContext) -> Self {
        Self { shared, context, figures: SinkFigures::default(), begun: None }
    }

    async fn begin(&self, batch: &ChangeBatch) -> Result<Begun> {
        let topic = self.shared.topic(&batch.schema).await?;
        let protocol = self.shared.config.options.protocol;
        let (records, failed) = encode(batch, &topic.slots, protocol, &self.context.identity.lineage)?;
        let open = (0..records.list.len()).collect();
        Ok(Begun { batch: batch.clone(), topic, records, failed, open })
    }

    /// Sends what is open; whatever keeps it from going stays open.
    async fn send(&mut self, begun: &mut Begun) -> Result<()> {
        let mut shards = self.shared.shards(&begun.topic).await;
        while !begun.open.is_empty() {
            let groups = grouped(&begun.records, &begun.open, &shards);
            let Some(groups) = groups else {
                shards = self.shared.reread(&begun.topic, &shards).await?;
                if grouped(&begun.records, &begun.open, &shards).is_none() {
                    let message = format!("no shard of topic `{}` takes some keys", begun.topic.name);
                    return Err(Error::new(Code::SinkWrite, message));
                }
                continue;
            };
            let put = Put { shared: &self.shared, topic: &begun.topic, records: &begun.records };
            let outcomes = join_all(groups.into_iter().map(|(shard, open)| put.fill_shard(shard, open))).await;
            let (mut open, mut error, mut closed) = (Vec::new(), None, false);
            for outcome in outcomes {
                open.extend(outcome.open);
                self.figures.units += outcome.sent.units;
                self.figures.bytes += outcome.sent.bytes;
                closed |= outcome.closed;
                error = error.or(outcome.error);
                for (record, why) in outcome.failed {
                    begun.failed.push(RowError { row: begun.records.list[record].row, error: why });
                }
            }
            open.sort_unstable();
            begun.open = open;
            if let Some(error) = error {
                return Err(error);
            }
            if closed {
                shards = self.shared.reread(&begun.topic, &shards).await?;
            }
        }
        Ok(())
    }
}

/// The open records by their shards, in order; none if a record has no shard.
fn grouped(records: &Records, open: &[usize], shards: &Shards) -> Option<Vec<(Arc<Shard>, Vec<usize>)>> {
    let mut groups: Vec<(Arc<Shard>, Vec<usize>)> = Vec::new();
    for &record in open {
        let shard = shards.of_hash(records.list[record].hash)?;
        match groups.iter_mut().find(|(other, _)| Arc::ptr_eq(other, shard)) {
            Some((_, group)) => group.push(record),
            None => groups.push((shard.clone(), vec![record])),
        }
    }
    Some(groups)
}

/// Puts records of one batch.
struct Put<'a> {
    shared: &'a Shared,
    topic: &'a Topic,
    records: &'a Records,
}

impl Put<'_> {
    /// Puts records into a shard, request by request: the next one goes when the one before was answered.
    async fn fill_shard(&self, shard: Arc<Shard>, open: Vec<usize>) -> Outcome {
        let mut connection = shard.connection.lock().await;
        let mut outcome = Outcome::default();
        // Pieces still to go, the next one last.
        let mut pieces = self.requests(&open);
        pieces.reverse();
        let mut throttled = 0;
        while let Some(piece) = pieces.pop() {
            let what = || format!("{} records for shard {} of topic `{}`", piece.len(), shard.id, self.topic.name);
            match self.request(&shard, &mut connection, &piece, &mut outcome.sent).await {
                Ok(failures) if failures.is_empty() => throttled = 0,
                Ok(failures) => {
                    throttled = 0;
                    let again = self.after_failures(&piece, failures, &mut outcome);
                    if outcome.closed || outcome.error.is_some() {
                        pieces.push(again);
                        break;
                    }
                    if !again.is_empty() {
                        pieces.push(again);
                    }
                }
                Err(failure) => match failure.class() {
                    // One of several is at fault: the halves tell which.
                    Class::Record if piece.len() > 1 => {
                        let (first, second) = piece.split_at(piece.len() / 2);
                        pieces.push(second.to_vec());
                        pieces.push(first.to_vec());
                    }
                    Class::Record => outcome.failed.push((piece[0], failure.into_error(&what(), Code::BadRecord))),
                    Class::Throttled if throttled < THROTTLED => {
                        tokio::time::sleep((THROTTLE.0 * (1 << throttled.min(5))).min(THROTTLE.1)).await;
                        throttled += 1;
                        pieces.push(piece);
                    }
                    Class::Reroute => {
                        outcome.closed = true;
                        pieces.push(piece);
                        break;
                    }
                    _ => {
                        outcome.error = Some(failure.into_error(&what(), Code::SinkWrite));
                        pieces.push(piece);
                        break;
                    }
                },
            }
        }
        outcome.open = pieces.into_iter().rev().flatten().collect();
        outcome
    }

    /// What one request takes each.
    fn requests(&self, open: &[usize]) -> Vec<Vec<usize>> {
        let most = self.shared.config.options.request_max_records.get() as usize;
        let mut requests: Vec<Vec<usize>> = Vec::new();
        let mut size = 0;
        for &record in open {
            // In JSON the number of the shard stands before each record.
            let length = self.records.bytes(record).len() + 24;
            match requests.last_mut() {
                Some(last) if last.len() < most && size + length <= MAX_BODY => {
                    last.push(record);
                    size += length;
                }
                _ => {
                    requests.push(vec![record]);
                    size = length;
                }
            }
        }
        requests
    }

    async fn request(
        &self,
        shard: &Shard,
        connection: &mut Connection,
        piece: &[usize],
        sent: &mut SinkFigures,
    ) -> Result<Vec<PutFailure>, Failure> {
        let (client, project) = (&self.shared.client, &self.shared.config.options.project);
        let path = format!("/projects/{project}/topics/{}/shards", self.topic.name);
        let mut body = Vec::new();
        let (size, answer) = match self.shared.config.options.protocol {
            Protocol::Protobuf => {
                piece.iter().for_each(|&record| body.extend_from_slice(self.records.bytes(record)));
                let path = format!("{path}/{}", shard.id);
                (body.len(), client.put_protobuf(connection, &path, &body).await)
            }
            Protocol::Batch => {
                piece.iter().for_each(|&record| body.extend_from_slice(self.records.bytes(record)));
                let path = format!("{path}/{}", shard.id);
                (body.len(), client.put_batch(connection, &path, &body, piece.len()).await)
            }
            Protocol::Json => {
                body.extend_from_slice(b"{\"Action\":\"pub\",\"Records\":[");
                for (index, &record) in piece.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    body.extend_from_slice(format!("{comma}{{\"ShardId\":\"{}\",", shard.id).as_bytes());
                    body.extend_from_slice(self.records.bytes(record));
                }
                body.extend_from_slice(b"]}");
                (body.len(), client.put_json(connection, &path, body).await)
            }
        };
        let failures = answer?;
        sent.units += (piece.len() - failures.len().min(piece.len())) as u64;
        sent.bytes += size as u64;
        Ok(failures)
    }

    /// Some records of a request were not taken. Those go again, and so do the later records of their keys, which were: else the
    /// earlier one would be the last word.
    fn after_failures(&self, piece: &[usize], failures: Vec<PutFailure>, outcome: &mut Outcome) -> Vec<usize> {
        let mut again = HashSet::new();
        let mut at_fault = HashSet::new();
        let what = format!("a record of topic `{}`", self.topic.name);
        if let Some(failure) = failures.iter().find(|failure| failure.index >= piece.len()) {
            let why = format!("record {} of {} has failed", failure.index, piece.len());
            outcome.error = Some(Failure::Unreadable(why).into_error(&what, Code::SinkWrite));
            return piece.to_vec();
        }
        for failure in failures {
            let record = piece[failure.index];
            let failure = Failure::Refused(failure.refusal);
            match failure.class() {
                Class::Record => {
                    at_fault.insert(record);
                    outcome.failed.push((record, failure.into_error(&what, Code::BadRecord)));
                    continue;
                }
                Class::Reroute => outcome.closed = true,
                _ => outcome.error = Some(failure.into_error(&what, Code::SinkWrite)),
            }
            again.insert(record);
        }
        let hash = |record: usize| self.records.list[record].hash;
        let mut keys = HashSet::new();
        let mut goes_again = |record: &&usize| {
            let again = again.contains(*record) || keys.contains(&hash(**record));
            if again {
                keys.insert(hash(**record));
            }
            again && !at_fault.contains(*record)
        };
        piece.iter().filter(|record| goes_again(record)).copied().collect()
    }
}

#[async_trait]
impl Writer for DatahubWriter {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        let mut begun = match self.begun.take().filter(|begun| begun.is(batch)) {
            Some(begun) => begun,
            None => self.begin(batch).await?,
        };
        if let Err(error) = self.send(&mut begun).await {
            self.begun = Some(begun);
            return Err(error);
        }
        begun.failed.sort_by_key(|failed| failed.row);
        Ok(begun.failed)
    }

    fn prepare(&mut self, _epoch: Epoch) -> Detached<Vec<Token>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn buffered(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.records.memory())
    }

    async fn spill(&mut self) -> Result<()> {
        Ok(())
    }

    fn figures(&self) -> SinkFigures {
        self.figures
    }
}
