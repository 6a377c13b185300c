//! The subscription whose offsets tell others how far the pipeline has come.

use super::options::SourceConfig;
use super::place::Place;
use crate::client::{Client, Connection, Failure, Offset, ShardState};
use async_trait::async_trait;
use dujiang_core::source::Acker;
use dujiang_core::{Code, Error, Position, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The offsets of the shards that were opened, with the session that may commit them.
#[derive(Default)]
pub(super) struct Sessions(BTreeMap<String, Offset>);

impl Sessions {
    pub(super) fn offset(&self, shard: &str) -> Option<Offset> {
        self.0.get(shard).copied()
    }

    /// Opens the subscription for the shards of a list that are not opened yet.
    pub(super) async fn open(&mut self, client: &Client, config: &SourceConfig, list: &[ShardState]) -> Result<()> {
        let fresh: Vec<&str> =
            list.iter().map(|shard| shard.id.as_str()).filter(|id| !self.0.contains_key(*id)).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let opened = client.open_offsets(&mut Connection::default(), names(config), &fresh).await;
        self.0.extend(opened.map_err(|failure| named(config, failure))?);
        Ok(())
    }
}

fn names(config: &SourceConfig) -> (&str, &str, &str) {
    let subscription = config.options.subscription.as_deref().unwrap_or_default();
    (&config.options.project, &config.topics[0], subscription)
}

fn named(config: &SourceConfig, failure: Failure) -> Error {
    let (_, topic, subscription) = names(config);
    let what = format!("subscription `{subscription}` of topic `{topic}`");
    let told = match &failure {
        Failure::Refused(refusal) => (refusal.code.as_str(), refusal.message.clone()),
        _ => return failure.into_error(&what, Code::SourceUnreachable),
    };
    let why = match told.0 {
        "OffsetSessionClosed" | "OffsetSessionChanged" => "another reader has opened it",
        "OffsetReseted" => "somebody has reset its offsets",
        "SubscriptionOffline" => "it is offline",
        _ => return failure.into_error(&what, Code::SourceUnreachable),
    };
    Error::new(Code::DatahubSubscription, format!("{what} can no longer be kept up to date: {why}"))
        .fact("DataHub says", told.1)
        .help("let one reader have the subscription, and give the other one its own `subscription.id`; nothing is lost: the pipeline goes on from its checkpoint")
}

/// Commits offsets as far as checkpoints go.
pub(super) struct SubscriptionAcker {
    pub(super) client: Client,
    pub(super) config: Arc<SourceConfig>,
    pub(super) connection: Connection,
    pub(super) sessions: Sessions,
    /// What was committed last.
    pub(super) told: BTreeMap<String, (i64, u32)>,
}

impl SubscriptionAcker {
    async fn commit(&mut self, place: &Place) -> Result<()> {
        let Some(topic) = place.topics.get(&self.config.topics[0]) else { return Ok(()) };
        let state =
            |id: &String| ShardState { id: id.clone(), state: String::new(), begin: 0, end: 0, parents: Vec::new() };
        let read = topic.shards.iter().filter(|(_, shard)| shard.millis >= 0);
        let list: Vec<ShardState> = read.clone().map(|(id, _)| state(id)).collect();
        self.sessions.open(&self.client, &self.config, &list).await?;
        let mut offsets = BTreeMap::new();
        for (id, shard) in read {
            let at = (shard.sequence, shard.index);
            let Some(session) = self.sessions.offset(id).filter(|_| self.told.get(id) != Some(&at)) else { continue };
            let (sequence, timestamp, batch_index) = (shard.sequence, shard.millis, shard.index);
            offsets.insert(id.clone(), Offset { sequence, timestamp, batch_index, ..session });
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let committed = self.client.commit_offsets(&mut self.connection, names(&self.config), &offsets).await;
        committed.map_err(|failure| named(&self.config, failure))?;
        self.told.extend(offsets.into_iter().map(|(id, offset)| (id, (offset.sequence, offset.batch_index))));
        Ok(())
    }
}

#[async_trait]
impl Acker for SubscriptionAcker {
    async fn ack(&mut self, position: &Position) -> Result<()> {
        if self.config.options.subscription.is_none() {
            return Ok(());
        }
        let place = Place::read(position)?;
        match self.commit(&place).await {
            Err(error) if error.code() == Code::DatahubSubscription || error.code() == Code::DatahubRefused => {
                Err(error)
            }
            Err(error) => {
                tracing::debug!(%error, "the subscription does not hear of progress");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}
