//! Reads the log's shard from a place on.

use super::config::Hub;
use super::order::{foreign, trimmed};
use super::record::Record;
use super::topic::{Topic, unfit};
use crate::client::{Class, Connection, Cursor, Failure, Pulled, Row, Seek, ShardPath};
use dujiang_core::{Code, Error, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// First and longest pause when the service gives no good answer.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often somebody who only looks asks again.
const TRIES: u32 = 6;

/// Why the service does not answer.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    pub(crate) fn told(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn hear(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// A reader of the shard.
pub(crate) struct Tail {
    hub: Arc<Hub>,
    topic: Topic,
    connection: Connection,
    cursor: Option<String>,
    /// The number of the last record that was read; none before the first one of a shard whose beginning is not known.
    last: Option<u64>,
    /// How often it asks again before it gives up; for ever without.
    tries: Option<u32>,
    trouble: Trouble,
}

impl Tail {
    /// A reader that gives up after some tries.
    pub(crate) fn new(hub: Arc<Hub>, topic: Topic) -> Self {
        let (connection, trouble) = (Connection::default(), Trouble::default());
        Self { hub, topic, connection, cursor: None, last: None, tries: Some(TRIES), trouble }
    }

    /// Asks for ever from now on, and tells its troubles there.
    pub(crate) fn persistent(mut self, trouble: Trouble) -> Self {
        (self.tries, self.trouble) = (None, trouble);
        self
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The number of the last record that was read.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    fn what(&self) -> String {
        format!("shard {} of topic `{}`", self.topic.shard, self.hub.topic)
    }

    fn refused(&self) -> Error {
        Error::new(Code::SourceUnreachable, format!("DataHub takes no cursor that it has given out: {}", self.what()))
            .help("see whether something between here and the endpoint changes answers")
    }

    /// Whether it is worth another try, after a pause.
    async fn bear(&self, failure: Failure, tried: &mut u32) -> Result<()> {
        let closed = failure.is("InvalidShardOperation") || failure.is("NoSuchShard");
        if closed {
            return Err(unfit(&self.hub, "its shard was split, merged or removed"));
        }
        let (fatal, throttled) = (failure.class() == Class::Fatal, failure.class() == Class::Throttled);
        let error = failure.into_error(&self.what(), Code::SourceUnreachable);
        if fatal || !throttled && self.tries.is_some_and(|tries| *tried >= tries) {
            return Err(error);
        }
        tracing::debug!(%error, "DataHub is asked again");
        self.trouble.hear(Some(error.message().to_owned()));
        tokio::time::sleep((AGAIN.0 * (1 << (*tried).min(7))).min(AGAIN.1)).await;
        *tried += 1;
        Ok(())
    }

    /// A cursor; none where there is no such record.
    pub(crate) async fn seek(&mut self, seek: Seek) -> Result<Option<Cursor>> {
        let mut tried = 0;
        loop {
            let hub = self.hub.clone();
            let at = ShardPath { project: &hub.project, topic: &hub.topic, shard: &self.topic.shard };
            match hub.client.cursor(&mut self.connection, at, seek).await {
                Ok(cursor) => return Ok(Some(cursor)),
                Err(failure) if failure.is("SeekOutOfRange") => return Ok(None),
                Err(failure) => self.bear(failure, &mut tried).await?,
            }
        }
    }

    /// Reads from the oldest record on.
    pub(crate) async fn go_to_oldest(&mut self) -> Result<()> {
        let oldest = self.seek(Seek::Oldest).await?;
        (self.cursor, self.last) = (oldest.map(|oldest| oldest.cursor), None);
        Ok(())
    }

    /// Reads from this record on; false where it is gone.
    pub(crate) async fn go_to(&mut self, sequence: u64) -> Result<bool> {
        let Some(found) = self.seek(Seek::Sequence(sequence as i64)).await? else { return Ok(false) };
        (self.cursor, self.last) = (Some(found.cursor), sequence.checked_sub(1));
        Ok(true)
    }

    /// The number of the newest record; none in an empty shard.
    pub(crate) async fn newest(&mut self) -> Result<Option<u64>> {
        for _ in 0..TRIES {
            let Some(found) = self.seek(Seek::Latest).await? else { return Ok(None) };
            if found.sequence > 0 {
                return Ok(Some(found.sequence as u64));
            }
            // In an empty shard it is that of the record to come.
            if let Some(pulled) = self.pull_at(&found.cursor).await? {
                return Ok(if pulled.records > 0 { u64::try_from(pulled.last).ok() } else { None });
            }
        }
        Err(self.refused())
    }

    async fn pull_at(&mut self, cursor: &str) -> Result<Option<Pulled>> {
        let mut tried = 0;
        loop {
            let hub = self.hub.clone();
            let at = ShardPath { project: &hub.project, topic: &hub.topic, shard: &self.topic.shard };
            match hub.client.pull_protobuf(&mut self.connection, at, cursor, hub.max_records).await {
                Ok(pulled) => {
                    self.trouble.hear(None);
                    return Ok(Some(pulled));
                }
                Err(failure) if failure.is("InvalidCursor") || failure.is("SeekOutOfRange") => return Ok(None),
                Err(failure) => self.bear(failure, &mut tried).await?,
            }
        }
    }

    /// What comes next; without records when there is nothing now. [`Tail::each`] looks at it.
    pub(crate) async fn pull(&mut self) -> Result<Pulled> {
        let mut tried = 0;
        loop {
            let cursor = match self.cursor.clone() {
                Some(cursor) => cursor,
                None => self.seek_again().await?,
            };
            if let Some(pulled) = self.pull_at(&cursor).await? {
                self.cursor = Some(pulled.next_cursor.clone());
                return Ok(pulled);
            }
            // It has expired. What comes of it is another one, which may be refused as well.
            self.cursor = None;
            if tried >= TRIES && self.tries.is_some() {
                return Err(self.refused());
            }
            tokio::time::sleep((AGAIN.0 * tried).min(AGAIN.1)).await;
            tried += 1;
        }
    }

    /// A cursor at the last record that was read, or behind it where that one is gone; [`Tail::each`] tells what is missing.
    async fn seek_again(&mut self) -> Result<String> {
        if let Some(last) = self.last
            && let Some(found) = self.seek(Seek::Sequence(last as i64)).await?
        {
            return Ok(found.cursor);
        }
        let oldest = self.seek(Seek::Oldest).await?;
        oldest.map(|oldest| oldest.cursor).ok_or_else(|| trimmed(&self.hub.topic, 0, None))
    }

    /// Shows the records that were not read before.
    ///
    /// # Errors
    /// `LogTrimmed` when records between have expired, `LogRangeDamaged` for what no log has written, what `take` returns.
    pub(crate) fn each(
        &mut self,
        pulled: &Pulled,
        row: &mut Row,
        mut take: impl FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let (mut outcome, mut last, topic) = (Ok(()), self.last, self.hub.topic.clone());
        let read = pulled.each(row, |row| {
            let sequence = u64::try_from(row.sequence).unwrap_or_default();
            if last.is_some_and(|last| sequence <= last) {
                return true;
            }
            outcome = match Record::read(row) {
                _ if last.is_some_and(|last| sequence != last + 1) => Err(expired(&topic, last, sequence)),
                Some(record) => take(&record),
                None => Err(foreign(&topic, sequence)),
            };
            last = Some(sequence);
            outcome.is_ok()
        });
        self.last = last;
        match read {
            Some(()) => outcome,
            None => Err(foreign(&topic, last.map_or(0, |last| last + 1))),
        }
    }
}

/// Records have expired before they were read (INV-6).
fn expired(topic: &str, last: Option<u64>, next: u64) -> Error {
    let gone = format!("records {} to {} of its shard", last.map_or(0, |last| last + 1), next.saturating_sub(1));
    Error::new(Code::LogTrimmed, "records of the log have expired before they were read")
        .fact("topic", topic)
        .fact("gone", gone)
        .help(
            "begin the delivery anew: empty its state directory and its sink; DataHub keeps records for the days that the \
             topic's lifecycle says (at most 7), read or not",
        )
}
