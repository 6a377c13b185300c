//! Follows one shard.

use super::begin::lost;
use super::options::SourceConfig;
use super::place::ShardPlace;
use crate::client::{Class, Client, Connection, Failure, Field, Form, Pulled, Seek, ShardPath};
use crate::config::Protocol;
use dujiang_core::budget::{Budget, Held};
use dujiang_core::{Code, Error, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// First and longest pause when the service gives no good answer.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Answers that may be on their way or wait, of all shards together.
const ANSWERS: usize = 4;

/// A shard: the place of its topic among the topics, and its number.
pub(super) type Id = (usize, String);

/// What the shards have in common.
pub(super) struct Shared {
    pub(super) config: Arc<SourceConfig>,
    pub(super) client: Client,
    budget: Budget,
    answers: Semaphore,
    /// Why the service does not answer.
    trouble: Mutex<Option<String>>,
    /// The fields of each topic as far as the reader knows them.
    fields: Vec<Mutex<Vec<Field>>>,
}

impl Shared {
    pub(super) fn new(config: Arc<SourceConfig>, client: Client, budget: Budget, fields: Vec<Vec<Field>>) -> Self {
        let fields = fields.into_iter().map(Mutex::new).collect();
        Self { config, client, budget, answers: Semaphore::new(ANSWERS), trouble: Mutex::default(), fields }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hear(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What may pass is borne and told; what will not is an error.
    pub(super) fn bear(&self, failure: Failure, what: &str) -> Result<()> {
        if failure.class() == Class::Fatal {
            return Err(failure.into_error(what, Code::SourceUnreachable));
        }
        let error = failure.into_error(what, Code::SourceUnreachable);
        tracing::debug!(%error, "DataHub is asked again");
        self.hear(Some(error.message().to_owned()));
        Ok(())
    }
}

/// What the shards tell.
pub(super) enum Told {
    Piece(Piece),
    /// The shard has nothing newer.
    Met(Id),
    /// The shard is closed and has been read to its end.
    End(Id),
}

/// Records of a shard.
pub(super) struct Piece {
    pub(super) id: Id,
    pub(super) pulled: Pulled,
    /// Whether records may come that were read before.
    pub(super) fresh: bool,
    /// The topic's fields, if some records have more than were known.
    pub(super) fields: Option<Vec<Field>>,
    /// Given back when the rows have been handed over.
    pub(super) held: Held,
}

pub(super) struct Following {
    shared: Arc<Shared>,
    id: Id,
    out: mpsc::Sender<Result<Told>>,
    connection: Connection,
    /// Number of the last record that was read.
    last: i64,
    met: bool,
}

/// What came of a cursor.
enum Read {
    /// Something was read.
    On,
    /// It was refused at once.
    Nothing,
    /// The shard has come to its end.
    End,
}

/// How a shard goes on.
enum Next {
    /// With this cursor.
    Cursor(String),
    /// It has come to its end.
    End,
}

impl Following {
    /// `from`: none for a shard that came later.
    pub(super) fn new(shared: Arc<Shared>, id: Id, from: Option<ShardPlace>, out: mpsc::Sender<Result<Told>>) -> Self {
        let last = from.unwrap_or(ShardPlace::START).sequence;
        Self { shared, id, out, connection: Connection::default(), last, met: false }
    }

    fn topic(&self) -> String {
        self.shared.config.topics[self.id.0].clone()
    }

    fn what(&self) -> String {
        format!("shard {} of topic `{}`", self.id.1, self.topic())
    }

    fn lost(&self) -> Error {
        lost(&self.topic(), &self.id.1)
    }

    /// Works until the shard has come to its end, or nobody listens.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut pause = AGAIN.0;
        while let Next::Cursor(cursor) = self.seek().await? {
            match self.read_from(cursor).await? {
                Read::End => break,
                Read::On => pause = AGAIN.0,
                // The next one may be refused as well.
                Read::Nothing => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
        }
        // Nobody listens any more: then nobody needs it.
        let _ = self.out.send(Ok(Told::End(self.id.clone()))).await;
        Ok(())
    }

    /// Reads on from a cursor, until it has to be sought again or the shard has come to its end.
    async fn read_from(&mut self, mut cursor: String) -> Result<Read> {
        let (mut fresh, mut pause, mut read) = (true, AGAIN.0, Read::Nothing);
        loop {
            if self.out.is_closed() {
                // The feed ends with whoever listens.
                std::future::pending::<()>().await;
            }
            let shared = self.shared.clone();
            let answer = shared.answers.acquire().await;
            let pulled = self.pull(&cursor).await;
            match pulled {
                Ok(pulled) => {
                    (pause, read) = (AGAIN.0, Read::On);
                    shared.hear(None);
                    cursor.clone_from(&pulled.next_cursor);
                    let (records, newest) = (pulled.records, pulled.latest.0 >= 0 && pulled.last >= pulled.latest.0);
                    if records > 0 {
                        self.hand_over(pulled, fresh).await?;
                        fresh = false;
                    }
                    drop(answer);
                    if (records == 0 || newest) && !std::mem::replace(&mut self.met, true) {
                        let _ = self.out.send(Ok(Told::Met(self.id.clone()))).await;
                    }
                    if records == 0 {
                        tokio::time::sleep(shared.config.options.poll_interval).await;
                    }
                }
                Err(failure) if failure.is("InvalidShardOperation") => return Ok(Read::End),
                Err(failure) if failure.is("InvalidCursor") || failure.is("SeekOutOfRange") => return Ok(read),
                Err(failure) if failure.is("NoSuchShard") => return Err(self.lost().fact("why", "the shard is gone")),
                Err(failure) => {
                    drop(answer);
                    shared.bear(failure, &self.what())?;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
        }
    }

    async fn pull(&mut self, cursor: &str) -> Result<Pulled, Failure> {
        let Shared { config, client, .. } = &*self.shared;
        let path = ShardPath { project: &config.options.project, topic: &config.topics[self.id.0], shard: &self.id.1 };
        let limit = config.options.request_max_records.get();
        match config.options.protocol {
            Protocol::Protobuf => client.pull_protobuf(&mut self.connection, path, cursor, limit).await,
            Protocol::Batch => client.pull_batches(&mut self.connection, path, cursor, limit).await,
            Protocol::Json => client.pull_json(&mut self.connection, path, cursor, limit).await,
        }
    }

    async fn hand_over(&mut self, mut pulled: Pulled, fresh: bool) -> Result<()> {
        self.last = pulled.last;
        let fields = self.fields(pulled.width).await?;
        pulled.forms = self.forms(fields.as_deref());
        let held = self.shared.budget.hold(pulled.memory());
        let _ = self.out.send(Ok(Told::Piece(Piece { id: self.id.clone(), pulled, fresh, fields, held }))).await;
        Ok(())
    }

    /// How values stand in batches.
    fn forms(&self, fields: Option<&[Field]>) -> Vec<Form> {
        let forms = |fields: &[Field]| fields.iter().map(|field| Form::of(&field.kind)).collect();
        match fields {
            Some(fields) => forms(fields),
            None if self.shared.config.shape.is_some() => vec![Form::Text],
            None => forms(&self.shared.known(self.id.0)),
        }
    }

    /// The topic's fields, if records have more than are known.
    async fn fields(&mut self, width: usize) -> Result<Option<Vec<Field>>> {
        if self.shared.config.shape.is_some() || width <= self.shared.known(self.id.0).len() {
            return Ok(None);
        }
        let mut pause = AGAIN.0;
        loop {
            let Shared { config, client, .. } = &*self.shared;
            let topic = &config.topics[self.id.0];
            match client.topic(&mut self.connection, &config.options.project, topic).await {
                // Records have no more fields than their topic: what is still too wide is an error of its record. The width
                // stays as it is: whoever comes first to the reader has to bring the fields.
                Ok(info) => return Ok(Some(info.fields)),
                Err(failure) => self.shared.bear(failure, &format!("the fields of topic `{topic}`"))?,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// A cursor at the last record that was read, or behind it where that one is gone and nothing else is.
    async fn seek(&mut self) -> Result<Next> {
        let mut pause = AGAIN.0;
        loop {
            match self.try_seek().await {
                Ok(Some(cursor)) => return Ok(Next::Cursor(cursor)),
                Ok(None) => return Err(self.lost()),
                Err(failure) if failure.is("InvalidShardOperation") => return Ok(Next::End),
                Err(failure) if failure.is("NoSuchShard") => return Err(self.lost().fact("why", "the shard is gone")),
                Err(failure) => self.shared.bear(failure, &self.what())?,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// None if records that come next are gone.
    async fn try_seek(&mut self) -> Result<Option<String>, Failure> {
        let Shared { config, client, .. } = &*self.shared;
        let path = ShardPath { project: &config.options.project, topic: &config.topics[self.id.0], shard: &self.id.1 };
        if self.last >= 0 {
            match client.cursor(&mut self.connection, path, Seek::Sequence(self.last)).await {
                Err(failure) if failure.is("SeekOutOfRange") => {}
                found => return found.map(|found| Some(found.cursor)),
            }
        }
        let oldest = client.cursor(&mut self.connection, path, Seek::Oldest).await?;
        // A shard that came later begins with its number 0.
        Ok((oldest.sequence <= self.last + 1).then_some(oldest.cursor))
    }
}

impl Shared {
    fn known(&self, topic: usize) -> std::sync::MutexGuard<'_, Vec<Field>> {
        self.fields[topic].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader knows these fields now.
    pub(super) fn set_fields(&self, topic: usize, fields: Vec<Field>) {
        *self.known(topic) = fields;
    }
}
