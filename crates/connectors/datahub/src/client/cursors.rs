//! Cursors, and what is read from them.

use super::answer::Failure;
use super::batch::BatchFault;
use super::connection::Connection;
use super::control::{read, topic_path};
use super::packing::Compression;
use super::request::Client;
use super::rows::{JsonRecord, Pulled};
use super::wire::{write_bytes, write_varint};
use dujiang_core::{Code, Error};
use serde::Deserialize;
use serde_json::json;

/// A place in a shard, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The oldest record that is kept.
    Oldest,
    /// The newest record.
    Latest,
    /// The record of this number.
    Sequence(i64),
    /// The first record of this time or later, milliseconds since 1970-01-01 UTC.
    Time(i64),
}

/// A cursor, and the number of the record it points at. In an empty shard: of the one that comes next, or less than 0.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cursor {
    /// As the service wants it back.
    pub cursor: String,
    /// Number of the record.
    #[serde(default = "none")]
    pub sequence: i64,
    /// Its time, milliseconds since 1970-01-01 UTC.
    #[serde(default = "none")]
    pub record_time: i64,
}

fn none() -> i64 {
    -1
}

/// A shard: project, topic, number.
#[derive(Debug, Clone, Copy)]
pub struct ShardPath<'a> {
    /// Project.
    pub project: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Number of the shard.
    pub shard: &'a str,
}

impl ShardPath<'_> {
    fn text(&self) -> String {
        format!("{}/shards/{}", topic_path(self.project, self.topic), self.shard)
    }
}

impl Client {
    /// A cursor.
    ///
    /// # Errors
    /// `SeekOutOfRange` where there is no such record, and whatever else keeps it from success.
    pub async fn cursor(&self, connection: &mut Connection, at: ShardPath<'_>, seek: Seek) -> Result<Cursor, Failure> {
        let body = match seek {
            Seek::Oldest => json!({ "Action": "cursor", "Type": "OLDEST" }),
            Seek::Latest => json!({ "Action": "cursor", "Type": "LATEST" }),
            Seek::Sequence(sequence) => json!({ "Action": "cursor", "Type": "SEQUENCE", "Sequence": sequence }),
            Seek::Time(millis) => json!({ "Action": "cursor", "Type": "SYSTEM_TIME", "SystemTime": millis }),
        };
        read(self.json(connection, "POST", &at.text(), body.to_string().into_bytes()).await?)
    }

    /// Records from a cursor on, as protocol buffers.
    ///
    /// # Errors
    /// `InvalidShardOperation` behind the end of a closed shard, `InvalidCursor` for one that has expired, and whatever else
    /// keeps it from success.
    pub async fn pull_protobuf(
        &self,
        connection: &mut Connection,
        at: ShardPath<'_>,
        cursor: &str,
        limit: u32,
    ) -> Result<Pulled, Failure> {
        let call = ("application/x-protobuf", "sub");
        let answer = self.framed(connection, &at.text(), call, &[&asked(cursor, limit)], self.compression).await?;
        Pulled::protobuf(answer).ok_or_else(|| Failure::Unreadable("the message is damaged".to_owned()))
    }

    /// The same as batches; [`Pulled::forms`] has to be set before they are looked at.
    ///
    /// # Errors
    /// As [`Client::pull_protobuf`].
    pub async fn pull_batches(
        &self,
        connection: &mut Connection,
        at: ShardPath<'_>,
        cursor: &str,
        limit: u32,
    ) -> Result<Pulled, Failure> {
        let call = ("application/x-binary", "sub");
        let answer = self.framed(connection, &at.text(), call, &[&asked(cursor, limit)], Compression::None).await?;
        Pulled::batches(&answer).map_err(no_batch)
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// As [`Client::pull_protobuf`].
    pub async fn pull_json(
        &self,
        connection: &mut Connection,
        at: ShardPath<'_>,
        cursor: &str,
        limit: u32,
    ) -> Result<Pulled, Failure> {
        let body = json!({ "Action": "sub", "Cursor": cursor, "Limit": limit }).to_string().into_bytes();
        json_answer(&self.json(connection, "POST", &at.text(), body).await?)
    }
}

/// What is damaged may come whole the next time; what is not known will not be known then.
fn no_batch(fault: BatchFault) -> Failure {
    let sentence = match fault {
        BatchFault::Damaged => return Failure::Unreadable("a batch is damaged".to_owned()),
        BatchFault::Version(version) => format!("DataHub gave a batch of version {version}, which cannot be read"),
        BatchFault::Compression => "DataHub gave a batch that is compressed in a way that is not known".to_owned(),
    };
    let help = "set `protocol: protobuf` at the source: the service then takes batches apart itself";
    Failure::Lost(Error::new(Code::UnknownEvent, sentence).help(help))
}

/// The records of an answer in JSON.
pub(super) fn json_answer(body: &[u8]) -> Result<Pulled, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        next_cursor: String,
        #[serde(default = "none")]
        latest_seq: i64,
        #[serde(default = "none")]
        latest_time: i64,
        #[serde(default)]
        records: Vec<JsonRecord>,
    }
    let answer: Answer = read(body)?;
    let latest = (answer.latest_seq, answer.latest_time);
    Pulled::json(answer.next_cursor, latest, answer.records)
        .ok_or_else(|| Failure::Unreadable("a record's data is no base64".to_owned()))
}

/// A `GetRecordsRequest`.
fn asked(cursor: &str, limit: u32) -> Vec<u8> {
    let mut message = Vec::new();
    write_bytes(1, cursor.as_bytes(), &mut message);
    message.push(2 << 3);
    write_varint(limit.into(), &mut message);
    message
}

#[cfg(test)]
mod tests {
    use super::super::answer::Class;
    use super::*;

    #[test]
    fn what_is_not_known_is_not_asked_for_again() {
        assert_eq!(no_batch(BatchFault::Damaged).class(), Class::Retry);
        for fault in [BatchFault::Version(1), BatchFault::Compression] {
            let failure = no_batch(fault);
            assert_eq!(failure.class(), Class::Fatal);
            assert_eq!(failure.into_error("a shard", Code::SourceUnreachable).code(), Code::UnknownEvent);
        }
    }
}
