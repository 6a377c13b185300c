//! The log as the sink of the capture.

use super::config::{Hub, LogConfig};
use super::line::{Line, Putting, Renewal, fenced};
use super::look::{Seen, look, look_at};
use super::order::Order;
use super::record::{By, Kind, Mark, Record};
use super::tail::Tail;
use super::topic;
use super::writer::LogWriter;
use crate::client::{Connection, Row};
use async_trait::async_trait;
use dujiang_core::checkpoint::{Generation, Token};
use dujiang_core::evolution::SinkChange;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, SinkState, Writer};
use dujiang_core::{Code, Epoch, Error, Result, TableId, TableSchema};
use dujiang_entries::{Here, Part, Ranges, messages, write_shape};
use dujiang_format_text::messages::{Decoder, Encoder};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The writing end of a log.
pub(crate) struct LogSink {
    line: Arc<Line>,
    lifecycle: Option<u16>,
    here: Arc<Here>,
}

impl LogSink {
    pub(crate) fn new(config: &LogConfig, here: Arc<Here>, renewal: Renewal) -> Self {
        let line = Arc::new(Line::new(config.hub.clone(), config.publish_timeout, renewal));
        Self { line, lifecycle: config.lifecycle, here }
    }

    #[cfg(test)]
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }
}

#[async_trait]
impl Sink for LogSink {
    fn class(&self) -> SinkClass {
        SinkClass::Transactional
    }

    fn unit(&self) -> (&'static str, &'static str) {
        ("record", "records")
    }

    fn is_log(&self) -> bool {
        true
    }

    fn place_of(&self, _table: &TableId) -> Option<String> {
        Some(format!("{}.{}", self.line.hub.project, self.line.hub.topic))
    }

    async fn examine(&self, _visit: &Visit) -> Examination {
        let hub = &self.line.hub;
        let mut examination = Examination::of(format!("DataHub at {}", hub.client.endpoint.authority()));
        let seen = hub.client.project(&mut Connection::default(), &hub.project).await;
        let seen = seen.map_err(|failure| failure.into_error(&format!("project `{}`", hub.project), Code::SinkWrite));
        let there =
            examination.reach("project", seen, |()| format!("project `{}` answers to this access key", hub.project));
        if there.is_some() {
            examination.reach("log", look(hub).await, |seen| described(hub, seen.as_ref()));
        }
        examination
    }

    async fn committer(&self, context: SinkContext) -> Result<Box<dyn Committer>> {
        let (line, here, lifecycle) = (self.line.clone(), self.here.clone(), self.lifecycle);
        Ok(Box::new(LogCommitter { line, lifecycle, here, context, held: 0, keeper: None }))
    }

    async fn writer(&self, _lane: usize, context: SinkContext) -> Result<Box<dyn Writer>> {
        Ok(Box::new(LogWriter::new(self.line.clone(), &context)))
    }
}

/// For `doctor`.
pub(crate) fn described(hub: &Hub, seen: Option<&Seen>) -> String {
    match seen {
        Some(seen) => format!("topic `{}`, captured by {}, {} entries so far", hub.topic, seen.last.pipeline, seen.end),
        None => format!("topic `{}` is begun by the first run of the pipeline that captures into it", hub.topic),
    }
}

struct LogCommitter {
    line: Arc<Line>,
    lifecycle: Option<u16>,
    here: Arc<Here>,
    context: SinkContext,
    /// The last epoch whose data is visible.
    held: u64,
    /// Writes the last mark again before it expires.
    keeper: Option<Keeper>,
}

/// Ends with the committer.
struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LogCommitter {
    fn lineage(&self) -> &str {
        &self.context.identity.lineage.0
    }

    fn mark(&self, epoch: u64, position: &str, log: Part) -> Mark {
        Mark {
            pipeline: self.context.identity.name.to_string(),
            lineage: self.lineage().to_owned(),
            generation: self.context.generation.0,
            epoch,
            position: position.to_owned(),
            log,
        }
    }

    fn taken(&self, by: By<'_>, pipeline: &str) -> Error {
        let (hub, identity) = (&self.line.hub, &self.context.identity);
        Error::new(Code::SinkTaken, format!("the topic `{}` is the log of another pipeline", hub.topic))
            .fact("its pipeline", pipeline)
            .fact("its lineage", by.lineage)
            .fact("ours", format!("{}, lineage {}", identity.name, identity.lineage.0))
            .help(
                "name another one in `topic`; or, if the state of this pipeline was lost and its log is to be begun anew, \
                 delete the topic",
            )
    }

    /// What stands there must be ours, and of no newer instance.
    fn check(&self, record: &Record<'_>) -> Result<()> {
        if record.by.lineage != self.lineage() {
            return Err(self.taken(record.by, "unknown: it has only begun"));
        }
        match record.by.generation > self.context.generation.0 {
            true => Err(fenced(record.by.generation, self.context.generation.0)),
            false => Ok(()),
        }
    }

    fn check_seen(&self, seen: &Seen) -> Result<()> {
        let Mark { pipeline, lineage, .. } = &seen.last;
        if *lineage != self.lineage() || **pipeline != *self.context.identity.name {
            return Err(self.taken(By { lineage, generation: 0, segment: None }, pipeline));
        }
        let theirs = seen.order.generation();
        match theirs > self.context.generation.0 {
            true => Err(fenced(theirs, self.context.generation.0)),
            false => Ok(()),
        }
    }

    /// Puts a fence, and reads up to it: nothing that older instances still write will count (INV-11).
    async fn fence(&self) -> Result<(Putting, Order)> {
        let hub = &self.line.hub;
        let topic = topic::find_or_make(hub, &mut Connection::default(), self.lifecycle).await?;
        let (seen, newest) = look_at(hub, topic.clone()).await?;
        // Whoever has no right to it leaves nothing behind.
        if let Some(seen) = &seen {
            self.check_seen(seen)?;
        }
        let generation = self.context.generation.0;
        let mut putting = Putting {
            topic: topic.clone(),
            lineage: self.lineage().to_owned(),
            generation,
            connection: Connection::default(),
            known: newest,
            count: 0,
            unsure: true,
            last: self.mark(0, "", Part::default()),
            segment: seen.as_ref().map(|seen| seen.segment),
            fences: Vec::new(),
            end: 0,
            bytes: 0,
            torn: false,
        };
        let by = By { lineage: &putting.lineage, generation, segment: putting.segment };
        let fence = self.line.fence(&by);
        self.line.put(&mut putting, &fence).await?;
        let (mut order, mut tail) = match seen {
            Some(seen) => (seen.order, seen.tail),
            None => (Order::new(&hub.topic, u64::MAX, Vec::new()), Tail::new(hub.clone(), topic)),
        };
        if tail.last().is_none() {
            tail.go_to_oldest().await?;
        }
        self.read_to_fence(&mut tail, &mut order, &mut putting).await?;
        Ok((putting, order))
    }

    async fn read_to_fence(&self, tail: &mut Tail, order: &mut Order, putting: &mut Putting) -> Result<()> {
        let (mut found, mut row) = (None, Row::default());
        let begin = tokio::time::Instant::now();
        while found.is_none() {
            let pulled = tail.pull().await?;
            tail.each(&pulled, &mut row, |record| {
                if order.has_begun() && record.by.lineage != self.lineage() && record.kind == Kind::Fence {
                    // Whoever has no right to this log has seen that by now.
                    return Ok(());
                }
                self.check(record)?;
                if found.is_some() {
                    return Ok(());
                }
                order.take(record)?;
                let ours = record.kind == Kind::Fence && record.by.generation == putting.generation;
                found = ours.then_some(record.sequence);
                Ok(())
            })?;
            if found.is_none() && begin.elapsed() > Duration::from_secs(60) {
                return Err(Error::new(Code::SinkUnwritten, "what was put is not there")
                    .fact("topic", self.line.hub.topic.as_str()));
            }
        }
        (putting.known, putting.count, putting.unsure) = (tail.last(), 0, false);
        let fence = (putting.generation, found.unwrap_or_default());
        putting.fences = order.fences().iter().copied().filter(|(g, _)| *g != fence.0).chain([fence]).collect();
        Ok(())
    }

    /// Writes the last mark again, well before it expires.
    fn keep(&mut self, lifecycle: Duration) {
        let line = self.line.clone();
        self.keeper = Some(Keeper(tokio::spawn(async move { line.keep(lifecycle).await })));
    }

    async fn tell(&mut self, changes: &[SchemaChange]) -> Result<()> {
        let format = messages(&self.line.hub.topic);
        for change in changes {
            if self.line.entries.is_told(change) {
                continue;
            }
            // What could not be read back is refused before anything of it is captured.
            Decoder::new(&change.after, &format)?;
            Encoder::new(&change.after, &format)?;
            let number = self.line.entries.take(1);
            let shape = self.line.single(Kind::Shape, &write_shape(number, change)?);
            self.line.outbox().push(&shape.body, number + 1);
            self.line.entries.told(number, change);
        }
        while self.line.pump().await? {}
        Ok(())
    }
}

/// The number behind the last entry that a token names.
fn end_of(token: &[u8]) -> Option<u64> {
    let token: serde_json::Value = serde_json::from_slice(token).ok()?;
    token["end"].as_u64()
}

#[async_trait]
impl Committer for LogCommitter {
    async fn open(&mut self) -> Result<SinkState> {
        self.line.reset();
        self.keeper = None;
        let (mut putting, order) = self.fence().await?;
        let found = order.last().map(|(mark, _)| mark.clone());
        if let Some(mark) = &found {
            putting.last = mark.clone();
        }
        let end = order.committed();
        self.line.entries.begin(end, order.shapes.before(end).into_iter().collect());
        let lifecycle = putting.topic.lifecycle;
        self.line.begin(putting).await;
        self.line.renew(true).await?;
        self.keep(lifecycle);
        self.here.captures(self.context.generation.0);
        self.held = found.as_ref().map_or(0, |mark| mark.epoch);
        Ok(match found {
            Some(mark) if mark.epoch > 0 => {
                SinkState::Holds { generation: Generation(mark.generation), epoch: Epoch(mark.epoch) }
            }
            _ => SinkState::Empty,
        })
    }

    async fn commit(&mut self, request: &CommitRequest) -> Result<()> {
        let epoch = request.epoch.0;
        if request.tokens.is_empty() || epoch <= self.held {
            return Ok(());
        }
        let end = request.tokens.iter().filter_map(|Token(bytes)| end_of(bytes)).max();
        let end = end.ok_or_else(|| Error::new(Code::Bug, "a token of the log names no entries"))?;
        let part = self.line.entries.part(end, Ranges::new());
        self.line.mark(self.mark(epoch, &request.position_text, part)).await?;
        self.line.entries.committed(end);
        self.held = epoch;
        if let Err(error) = self.line.renew(false).await {
            // It is tried again before anything else is put.
            tracing::warn!(%error, "a segment of the log could not be begun");
        }
        self.line.release();
        Ok(())
    }

    fn carried(&mut self) {
        self.line.release();
    }

    async fn abort_except(&mut self, _keep: &[Token]) -> Result<()> {
        // The fence has ended whatever earlier instances had left.
        Ok(())
    }

    async fn apply_schema(&mut self, expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        self.tell(&[SchemaChange::of_shapes(expected, next)]).await
    }

    async fn apply_shapes(&mut self, shapes: &[Arc<TableSchema>]) -> Result<()> {
        let changes: Vec<SchemaChange> = shapes.iter().map(|shape| SchemaChange::of_shapes(None, shape)).collect();
        self.tell(&changes).await
    }

    async fn apply_change(&mut self, change: &SchemaChange) -> Result<()> {
        self.tell(std::slice::from_ref(change)).await
    }

    async fn apply_event(&mut self, change: &SinkChange) -> Result<()> {
        self.tell(&[change.as_told()]).await
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        Err(Error::new(Code::NotSupported, format!("what was captured after epoch {epoch} cannot be taken back"))
            .help("start without going back, or begin a new log with another `topic`"))
    }
}
