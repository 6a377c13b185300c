//! The log's topic: records that are bytes, in one shard.

use super::config::Hub;
use crate::client::{Connection, Failure, ShardState, TopicInfo};
use dujiang_core::{Code, Error, Result};
use std::time::Duration;

/// Pause between two looks at a shard that is not ready yet, and the longest wait for it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const READY: Duration = Duration::from_secs(60);

/// A topic that can be a log.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    /// The number of its shard.
    pub(crate) shard: String,
    /// When it was made.
    pub(crate) created: i64,
    /// How long records stay.
    pub(crate) lifecycle: Duration,
}

/// The topic if it is there and its shard is ready.
pub(crate) async fn find(hub: &Hub, connection: &mut Connection) -> Result<Option<Topic>> {
    let what = format!("topic `{}`", hub.topic);
    let failed = |failure: Failure| failure.into_error(&what, Code::SourceUnreachable);
    let info = match hub.client.topic(connection, &hub.project, &hub.topic).await {
        Err(failure) if failure.is("NoSuchTopic") => return Ok(None),
        info => info.map_err(failed)?,
    };
    let shards = hub.client.shards(connection, &hub.project, &hub.topic).await.map_err(failed)?;
    check(hub, &info, &shards)
}

fn check(hub: &Hub, info: &TopicInfo, shards: &[ShardState]) -> Result<Option<Topic>> {
    if info.record_type != "BLOB" {
        return Err(unfit(hub, format!("it holds {} records", info.record_type)));
    }
    let [shard] = shards else {
        return Err(unfit(hub, format!("it has {} shards, closed ones among them counted", shards.len())));
    };
    match shard.state.as_str() {
        "ACTIVE" => {}
        "OPENING" => return Ok(None),
        state => return Err(unfit(hub, format!("its shard is {state}"))),
    }
    let days = u64::from(info.lifecycle.clamp(1, 7));
    let (shard, created) = (shard.id.clone(), info.created);
    Ok(Some(Topic { shard, created, lifecycle: Duration::from_secs(days * 86_400) }))
}

/// The topic, made if it is missing.
pub(crate) async fn find_or_make(hub: &Hub, connection: &mut Connection, days: Option<u16>) -> Result<Topic> {
    let looked = async {
        loop {
            if let Some(topic) = find(hub, connection).await? {
                return Ok(topic);
            }
            if let Some(days) = days {
                match hub.client.create_blob_topic(connection, (&hub.project, &hub.topic), days).await {
                    Err(failure) if !failure.is("TopicAlreadyExist") => {
                        let what = format!("topic `{}` is to be made", hub.topic);
                        return Err(failure.into_error(&what, Code::SinkUnwritten));
                    }
                    _ => {}
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(READY, looked).await.unwrap_or_else(|_| {
        let error = Error::new(Code::SinkUnwritten, format!("the topic `{}` does not become ready", hub.topic));
        Err(error.fact("waited", format!("{} s", READY.as_secs())))
    })
}

/// The topic cannot be a log.
pub(crate) fn unfit(hub: &Hub, why: impl Into<String>) -> Error {
    Error::new(Code::DatahubTopic, format!("topic `{}` cannot be a log: {}", hub.topic, why.into())).help(
        "a log needs a topic of type BLOB with one shard that is never split or merged; let the pipeline make one, by another \
         name in `topic`",
    )
}
