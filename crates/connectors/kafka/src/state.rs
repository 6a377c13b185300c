//! What the topic of a log's state tells: the shapes of tables, each with its number as key, so that compaction leaves all of
//! them, and the last epoch.

use crate::client::{blocking, of_client};
use crate::marker::{Marker, parse};
use crate::names::ReadConfig;
use crate::reading::{Client, each, is_marker};
use dujiang_core::{Code, Error, Result};
use dujiang_entries::Shapes;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// All of it.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) shapes: Shapes,
    /// Where the topic goes on.
    pub(crate) next: i64,
    /// The record of the last epoch.
    pub(crate) last: Option<Marker>,
}

/// Reads it. Waits.
pub(crate) fn read_all(client: &Client, config: &ReadConfig) -> Result<State> {
    let topic = config.state_topic();
    let failed =
        |error: KafkaError| of_client(&format!("read the state of the log in {topic}"), &config.bootstrap, error);
    let (low, _) = client.fetch_watermarks(&topic, 0, PATIENCE).map_err(failed)?;
    let (mut shapes, mut next, mut last, mut damaged) = (Shapes::default(), low, None, None);
    let read = each(client, &topic, low, |message| {
        next = message.offset() + 1;
        let payload = message.payload();
        if is_marker(message) {
            last = payload.map(<[u8]>::to_vec).or(last.take());
        } else if shapes.read(payload.unwrap_or_default()).is_none() {
            damaged = Some(message.offset());
        }
        damaged.is_none()
    });
    read.map_err(failed)?;
    if let Some(offset) = damaged {
        return Err(foreign(&topic, 0, offset));
    }
    let last = last.map(|bytes| parse(&bytes, &topic)).transpose()?;
    Ok(State { shapes, next, last })
}

/// Reads it on a thread for such work.
pub(crate) async fn read(client: &Arc<Client>, config: ReadConfig) -> Result<State> {
    let client = client.clone();
    blocking(move || read_all(&client, &config)).await
}

/// A message that no log has written so.
pub(crate) fn foreign(topic: &str, partition: i32, offset: i64) -> Error {
    Error::new(Code::LogRangeDamaged, format!("a message of {topic} is none of the log"))
        .fact("partition", partition.to_string())
        .fact("offset", offset.to_string())
        .help("let nobody else write to the log's topics; a new log needs another `topic.prefix`")
}
