//! Subscriptions: offsets that the service keeps for a reader.

use super::answer::Failure;
use super::connection::Connection;
use super::control::{read, topic_path};
use super::request::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// How far a subscription has come in a shard: the last record that was processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Offset {
    /// Its number; -1: none yet.
    pub sequence: i64,
    /// Its time; the service believes it more than the number.
    pub timestamp: i64,
    /// Rises when somebody resets the offsets.
    #[serde(default)]
    pub version: i64,
    /// Rises when somebody opens the subscription: the one before may commit no more.
    #[serde(default)]
    pub session_id: i64,
    /// Which record of a batch.
    #[serde(default)]
    pub batch_index: u32,
}

impl Client {
    /// Opens a subscription for shards. Whoever had it open before commits no more.
    ///
    /// # Errors
    /// `NoSuchSubscription`, `SubscriptionOffline`, and whatever else keeps it from success.
    pub async fn open_offsets(
        &self,
        connection: &mut Connection,
        (project, topic, subscription): (&str, &str, &str),
        shards: &[&str],
    ) -> Result<BTreeMap<String, Offset>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            offsets: BTreeMap<String, Offset>,
        }
        let body = json!({ "Action": "open", "ShardIds": shards }).to_string().into_bytes();
        let path = format!("{}/subscriptions/{subscription}/offsets", topic_path(project, topic));
        read::<Answer>(self.json(connection, "POST", &path, body).await?).map(|answer| answer.offsets)
    }

    /// Stores offsets.
    ///
    /// # Errors
    /// `OffsetSessionClosed`, `OffsetSessionChanged` when somebody else has opened the subscription, `OffsetReseted`, and
    /// whatever else keeps it from success.
    pub async fn commit_offsets(
        &self,
        connection: &mut Connection,
        (project, topic, subscription): (&str, &str, &str),
        offsets: &BTreeMap<String, Offset>,
    ) -> Result<(), Failure> {
        let body = json!({ "Action": "commit", "Offsets": offsets }).to_string().into_bytes();
        let path = format!("{}/subscriptions/{subscription}/offsets", topic_path(project, topic));
        self.json(connection, "PUT", &path, body).await.map(drop)
    }
}
