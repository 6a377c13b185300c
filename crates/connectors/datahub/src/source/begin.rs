//! Where to begin: in every shard before its first record is read.

use super::options::{SourceConfig, Startup};
use super::place::{Place, ShardPlace, TopicPlace};
use super::shape;
use super::subscription::Sessions;
use crate::client::{Client, Connection, Failure, Seek, ShardPath, ShardState};
use dujiang_core::{Code, Error, Result};

/// A topic, the shards it has now, and how far they have been read.
pub(super) struct Begun {
    pub(super) place: Place,
    /// One a topic.
    pub(super) shards: Vec<Vec<ShardState>>,
}

/// Looks at every topic; nothing is changed but the session of the subscription.
pub(super) async fn begin(
    config: &SourceConfig,
    client: &Client,
    from: Option<Place>,
    sessions: &mut Sessions,
) -> Result<Begun> {
    let project = config.options.project.as_str();
    let first = from.is_none();
    let mut known = from.unwrap_or_default();
    if !first && known.project != project {
        return Err(other(format!("the pipeline has read from project `{}`, not `{project}`", known.project)));
    }
    let mut place = Place { project: project.to_owned(), ..Place::default() };
    let (mut connection, mut lists) = (Connection::default(), Vec::new());
    for topic in &config.topics {
        let failed = |failure: Failure| failure.into_error(&format!("topic `{topic}`"), Code::SourceUnreachable);
        let info = client.topic(&mut connection, project, topic).await.map_err(failed)?;
        shape::check(config, topic, &info)?;
        let list = client.shards(&mut connection, project, topic).await.map_err(failed)?;
        let mut at = match known.topics.remove(topic) {
            Some(at) if at.created == info.created => at,
            Some(_) => return Err(other(format!("topic `{topic}` was made anew since the pipeline has read from it"))),
            None => TopicPlace { created: info.created, fields: info.fields, ..TopicPlace::default() },
        };
        if config.options.subscription.is_some() {
            sessions.open(client, config, &list).await?;
        }
        for shard in list.iter().filter(|shard| shard.state != "OPENING") {
            if at.shards.contains_key(&shard.id) || !first {
                continue;
            }
            let path = ShardPath { project, topic, shard: &shard.id };
            let found = resolve(config, client, &mut connection, path, sessions).await?;
            at.shards.insert(shard.id.clone(), found);
        }
        // What was read to its end and is forgotten by the service is of no account any more.
        at.shards.retain(|id, shard| !shard.done || list.iter().any(|listed| listed.id == *id));
        let gone = at.shards.iter().find(|(id, shard)| !shard.done && !list.iter().any(|listed| listed.id == **id));
        if let Some((shard, _)) = gone {
            return Err(lost(topic, shard).fact("why", "the shard is gone"));
        }
        place.topics.insert(topic.clone(), at);
        lists.push(list);
    }
    Ok(Begun { place, shards: lists })
}

/// Where a shard begins in a pipeline without position.
async fn resolve(
    config: &SourceConfig,
    client: &Client,
    connection: &mut Connection,
    path: ShardPath<'_>,
    sessions: &Sessions,
) -> Result<ShardPlace> {
    let options = &config.options;
    let failed = |failure: Failure| {
        let what = format!("where to begin in shard {} of topic `{}`", path.shard, path.topic);
        failure.into_error(&what, Code::SourceUnreachable)
    };
    let seek = match options.startup {
        Startup::Earliest => Seek::Oldest,
        Startup::Latest => Seek::Latest,
        Startup::Timestamp => Seek::Time(options.startup_millis.unwrap_or_default()),
        Startup::Specific => match config.offsets.get(path.shard) {
            Some(sequence) => Seek::Sequence(*sequence),
            None => Seek::Oldest,
        },
        Startup::Subscription => match sessions.offset(path.shard) {
            // Whether it can be served shows when it is read.
            Some(offset) if offset.sequence >= 0 => {
                let (sequence, index) = (offset.sequence, offset.batch_index);
                return Ok(ShardPlace { sequence, index, millis: offset.timestamp, done: false });
            }
            _ => Seek::Oldest,
        },
    };
    let found = client.cursor(connection, path, seek).await;
    let behind = |sequence: i64| ShardPlace::before(sequence.max(-1) + 1);
    match (seek, found) {
        (Seek::Latest, Ok(newest)) => Ok(behind(newest.sequence)),
        (_, Ok(found)) => Ok(ShardPlace::before(found.sequence.max(0))),
        // It is closed, and nothing of it is left.
        (_, Err(failure)) if failure.is("InvalidShardOperation") => Ok(ShardPlace { done: true, ..ShardPlace::START }),
        // Nothing is as new.
        (Seek::Time(_), Err(failure)) if failure.is("SeekOutOfRange") => {
            let newest = client.cursor(connection, path, Seek::Latest).await.map_err(failed)?;
            Ok(behind(newest.sequence))
        }
        (_, Err(failure)) if failure.is("SeekOutOfRange") => {
            let message =
                format!("shard {} of topic `{}` does not hold the record to begin with", path.shard, path.topic);
            Err(Error::new(Code::StartNotPossible, message)
                .help("begin at `earliest-offset`, or with the number of a record that is there"))
        }
        (_, Err(failure)) => Err(failed(failure)),
    }
}

fn other(message: String) -> Error {
    Error::new(Code::OtherServer, message)
        .help("point the pipeline at what it has read from, or begin with a new pipeline")
}

/// Records that would come next are gone (INV-6).
pub(super) fn lost(topic: &str, shard: &str) -> Error {
    let message = format!("shard {shard} of topic `{topic}` no longer holds the records that come next");
    Error::new(Code::PositionLost, message)
        .help("raise the topic's lifecycle; begin with a new pipeline, or at another place")
}
