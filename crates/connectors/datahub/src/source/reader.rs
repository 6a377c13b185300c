//! Hands out what the shards have brought.

use super::begin::{Begun, lost};
use super::feed::Feed;
use super::options::SourceConfig;
use super::place::{Place, ShardPlace};
use super::shape::{self, Reading, shown};
use super::shard::{Id, Piece, Shared, Told};
use crate::client::{Client, Row};
use async_trait::async_trait;
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Held;
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::source::{Reader, SourceContext, SourceEvent, SourceStatus};
use dujiang_core::{ChangeBatch, Code, Error, Origin, Position, Result, TableSchema};
use dujiang_format_text::messages::{MessageFormat, unreadable};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that may wait.
const PIECES: usize = 4;
/// Longest wait before the reader says that nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);
/// Canal's messages hold several rows: a record stands for so many changes.
const ROWS_PER_RECORD: u64 = 1 << 20;

pub(super) struct DatahubReader {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    told: mpsc::Receiver<Result<Told>>,
    /// One a topic.
    readings: Vec<Reading>,
    ready: VecDeque<ChangeBatch>,
    /// Behind what is ready.
    place: Place,
    /// A piece whose topic has more fields than are known: it waits until that is told.
    waiting: Option<Piece>,
    held: Option<Held>,
    /// The last record seen of each shard since its cursor was sought.
    seen: BTreeMap<Id, (i64, u32)>,
    /// Shards that have not met their ends yet; none when that was told.
    unmet: Option<BTreeSet<Id>>,
    told_snapshot_done: bool,
    newest_millis: Option<i64>,
    /// Shards that hold newer records than were read.
    behind: BTreeSet<Id>,
    clock: Arc<dyn dujiang_core::clock::Clock>,
    row: Row,
    transaction: String,
}

impl Drop for DatahubReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DatahubReader {
    pub(super) fn start(
        config: &Arc<SourceConfig>,
        client: Client,
        begun: Begun,
        context: SourceContext,
    ) -> Result<Self> {
        let mut readings = Vec::new();
        for topic in &config.topics {
            readings.push(Reading::new(config, shape::table(config, topic, &begun.place.topics[topic])?)?);
        }
        let fields = config.topics.iter().map(|topic| begun.place.topics[topic].fields.clone()).collect();
        let shared = Arc::new(Shared::new(config.clone(), client, context.budget, fields));
        let (sender, told) = mpsc::channel(PIECES);
        let feed = Feed::new(shared.clone(), &begun);
        let unmet = Some(feed.open());
        Ok(Self {
            shared,
            task: tokio::spawn(feed.run(sender)),
            told,
            readings,
            ready: VecDeque::new(),
            place: begun.place,
            waiting: None,
            held: None,
            seen: BTreeMap::new(),
            unmet,
            told_snapshot_done: false,
            newest_millis: None,
            behind: BTreeSet::new(),
            clock: context.clock,
            row: Row::default(),
            transaction: String::new(),
        })
    }

    /// Takes a piece, unless its topic's new fields have to be told before.
    fn take(&mut self, piece: Piece) -> Result<Option<SchemaChange>> {
        match self.appended(&piece)? {
            Some(change) => {
                self.waiting = Some(piece);
                Ok(Some(change))
            }
            None => self.decode(piece).map(|()| None),
        }
    }

    /// The shape of a topic to which fields were appended since the last record.
    fn appended(&self, piece: &Piece) -> Result<Option<SchemaChange>> {
        let (topic, before) = (self.topic(&piece.id), &self.readings[piece.id.0].schema);
        let Some(fields) = piece.fields.as_ref() else { return Ok(None) };
        let place = &self.place.topics[topic];
        if fields.len() <= place.fields.len() {
            return Ok(None);
        }
        if !fields.starts_with(&place.fields) {
            let message = format!("fields of topic `{topic}` were changed, though they can only be appended");
            return Err(Error::new(Code::SchemaMismatch, message));
        }
        let names: Vec<_> = fields[place.fields.len()..].iter().map(|f| format!("{} {}", f.name, f.kind)).collect();
        let place = super::place::TopicPlace {
            fields: fields.clone(),
            appended: place.appended + 1,
            created: place.created,
            ..super::place::TopicPlace::default()
        };
        let after = shape::table(&self.shared.config, topic, &place)?;
        let statement = format!("appendfield {}", names.join(", "));
        Ok(Some(SchemaChange { before: Some(before.clone()), after, statement, ddl: Ddl::default() }))
    }

    /// The piece that waited for its fields to be told.
    fn go_on(&mut self, piece: Piece) -> Result<()> {
        if let (Some(change), Some(fields)) = (self.appended(&piece)?, piece.fields.clone()) {
            let topic = self.topic(&piece.id).to_owned();
            let known = self.place.topics.get_mut(&topic).ok_or_else(|| unknown(&topic))?;
            known.fields.clone_from(&fields);
            known.appended += 1;
            self.shared.set_fields(piece.id.0, fields);
            self.readings[piece.id.0] = Reading::new(&self.shared.config, change.after)?;
        }
        self.decode(piece)
    }

    fn topic(&self, id: &Id) -> &str {
        &self.shared.config.topics[id.0]
    }

    fn decode(&mut self, piece: Piece) -> Result<()> {
        let id = piece.id.clone();
        let topic = self.topic(&id).to_owned();
        let canal = self.shared.config.shape.is_some() && self.shared.config.messages.value == MessageFormat::CanalJson;
        let place = self.place.topics.get(&topic).and_then(|topic| topic.shards.get(&id.1));
        let mut turn = Turn {
            last: place.copied().unwrap_or(ShardPlace::START),
            seen: self.seen.get(&id).copied().filter(|_| !piece.fresh),
            topic: &topic,
            shard: &id.1,
            canal,
            transaction: &mut self.transaction,
            ready: &mut self.ready,
        };
        let (reading, mut result) = (&mut self.readings[id.0], Ok(()));
        let shown = piece.pulled.each(&mut self.row, |row| {
            result = turn.take(reading, row);
            result.is_ok()
        });
        let (last, seen) = (turn.last, turn.seen);
        result?;
        shown.ok_or_else(|| {
            let message = format!("a record of shard {} of topic `{topic}` cannot be read", id.1);
            Error::new(Code::UnknownEvent, message).help("read the topic by `protocol: protobuf`")
        })?;
        if !reading.rows.is_empty() {
            self.ready.push_back(reading.rows.take()?);
        }
        self.newest_millis = self.newest_millis.max(Some(last.millis)).filter(|millis| *millis >= 0);
        self.set(&id, last)?;
        if let Some(seen) = seen {
            self.seen.insert(id, seen);
        }
        match piece.pulled.last < piece.pulled.latest.0 {
            true => self.behind.insert(piece.id),
            false => self.behind.remove(&piece.id),
        };
        self.held = Some(piece.held);
        Ok(())
    }

    fn set(&mut self, id: &Id, place: ShardPlace) -> Result<()> {
        let topic = self.shared.config.topics[id.0].as_str();
        let known = self.place.topics.get_mut(topic).ok_or_else(|| unknown(topic))?;
        known.shards.insert(id.1.clone(), place);
        Ok(())
    }

    /// The shard has been read to its end.
    fn end(&mut self, id: &Id) -> Result<()> {
        let topic = &self.place.topics[self.topic(id)];
        let last = topic.shards.get(&id.1).copied().unwrap_or(ShardPlace::START);
        self.set(id, ShardPlace { done: true, ..last })
    }

    /// Whether this shard was the last one to meet its end.
    fn met(&mut self, id: &Id) -> bool {
        let Some(unmet) = &mut self.unmet else { return false };
        unmet.remove(id);
        let all = unmet.is_empty();
        if all {
            self.unmet = None;
        }
        all
    }
}

fn unknown(topic: &str) -> Error {
    Error::new(Code::Bug, format!("topic `{topic}` has no place"))
}

/// Records of one piece, one after the other.
struct Turn<'a> {
    last: ShardPlace,
    seen: Option<(i64, u32)>,
    topic: &'a str,
    shard: &'a str,
    canal: bool,
    transaction: &'a mut String,
    ready: &'a mut VecDeque<ChangeBatch>,
}

impl Turn<'_> {
    fn take(&mut self, reading: &mut Reading, row: &Row) -> Result<()> {
        let index = match self.seen {
            Some((sequence, index)) if sequence == row.sequence => index + 1,
            _ => 0,
        };
        // Numbers follow each other: where some are missing, records are gone (INV-6).
        let before = self.seen.map_or(self.last.sequence, |(sequence, _)| sequence);
        if row.sequence > before + 1 || row.sequence < 0 {
            return Err(lost(self.topic, self.shard)
                .fact("expected number", (before + 1).to_string())
                .fact("found", row.sequence.to_string()));
        }
        self.seen = Some((row.sequence, index));
        if (row.sequence, index) <= (self.last.sequence, self.last.index) {
            return Ok(());
        }
        self.last = ShardPlace { sequence: row.sequence, index, millis: row.millis, done: false };
        self.transaction.clear();
        let _ = write!(self.transaction, "datahub:{}:{}", self.topic, self.shard);
        let position = "datahub:".len()..self.transaction.len();
        // Records of a batch have one number; so have the rows of a message of Canal.
        let apart = self.canal || index > 0;
        if apart {
            let _ = write!(self.transaction, ":{}", row.sequence);
        }
        let first_ordinal = match (self.canal, apart) {
            (true, _) => u64::from(index) * ROWS_PER_RECORD,
            (false, true) => u64::from(index),
            (false, false) => row.sequence as u64,
        };
        let origin = Origin {
            transaction: self.transaction.as_str(),
            position: &self.transaction[position],
            commit_micros: row.millis.saturating_mul(1000),
            precision: TimePrecision::Micros,
            first_ordinal,
        };
        if let Err(error) = reading.append(row, &origin) {
            // Order within the topic stays.
            if !reading.rows.is_empty() {
                self.ready.push_back(reading.rows.take()?);
            }
            self.ready.push_back(unreadable(&reading.schema, origin, Some(&shown(row)), &error)?);
        }
        Ok(())
    }
}

#[async_trait]
impl Reader for DatahubReader {
    async fn next(&mut self) -> Result<SourceEvent> {
        if !std::mem::replace(&mut self.told_snapshot_done, true) {
            return Ok(SourceEvent::SnapshotDone);
        }
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(SourceEvent::Batch(batch));
            }
            if let Some(piece) = self.waiting.take() {
                self.go_on(piece)?;
                continue;
            }
            self.held = None;
            match tokio::time::timeout(PATIENCE, self.told.recv()).await {
                Err(_) => return Ok(SourceEvent::Idle),
                Ok(Some(Ok(Told::Piece(piece)))) => {
                    if let Some(change) = self.take(piece)? {
                        return Ok(SourceEvent::SchemaChange(change));
                    }
                }
                Ok(Some(Ok(Told::End(id)))) => {
                    self.end(&id)?;
                    if self.met(&id) {
                        return Ok(SourceEvent::CaughtUp);
                    }
                }
                Ok(Some(Ok(Told::Met(id)))) => {
                    if self.met(&id) {
                        return Ok(SourceEvent::CaughtUp);
                    }
                }
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) => return Err(Error::new(Code::Bug, "the task of the DataHub source has ended")),
            }
        }
    }

    fn barrier(&mut self, out: &mut Vec<ChangeBatch>) -> Result<Position> {
        out.extend(self.ready.drain(..));
        self.place.write()
    }

    fn status(&self) -> SourceStatus {
        let micros = self.newest_millis.map(|millis| millis * 1000);
        let age = micros.map(|micros| (self.clock.now_micros() - micros).max(0));
        let lag = if self.unmet.is_none() && self.behind.is_empty() { Some(0) } else { age };
        SourceStatus {
            disconnected: self.shared.trouble(),
            last_commit_micros: micros,
            lag_micros: lag,
            position: self.place.describe(),
            ..SourceStatus::default()
        }
    }
}

/// The tables of a place, topic by topic.
pub(super) fn tables(config: &SourceConfig, place: &Place) -> Result<Vec<Arc<TableSchema>>> {
    let mut tables: Vec<Arc<TableSchema>> = Vec::new();
    for topic in &config.topics {
        let Some(at) = place.topics.get(topic) else { continue };
        let table = shape::table(config, topic, at)?;
        if !tables.iter().any(|known| known.id == table.id) {
            tables.push(table);
        }
    }
    Ok(tables)
}
