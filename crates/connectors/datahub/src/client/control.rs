//! Topics and shards.

use super::answer::Failure;
use super::connection::Connection;
use super::request::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A field of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name; case is of no account.
    pub name: String,
    /// `BIGINT`, `STRING`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether every record must have a value.
    #[serde(default)]
    pub notnull: bool,
}

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// `TUPLE` or `BLOB`.
    pub record_type: String,
    /// Its fields, in the order of records.
    pub fields: Vec<Field>,
    /// When it was made, seconds since 1970-01-01 UTC: another topic of the same name has another time.
    pub created: i64,
    /// Days that records stay; 0 if the service does not tell.
    pub lifecycle: u16,
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardState {
    /// Its number, as text.
    pub id: String,
    /// `OPENING`, `ACTIVE`, `CLOSING`, `CLOSED`.
    pub state: String,
    /// First hash of a key that it takes, 32 hexadecimal digits.
    pub begin: u128,
    /// First hash that it takes no more; the largest one is the last shard's.
    pub end: u128,
    /// The shards that it was split or merged from.
    pub parents: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Schema {
    fields: Vec<Field>,
}

impl Client {
    /// Whether the project is there, and may be seen by who asks.
    ///
    /// # Errors
    /// `NoSuchProject`, and whatever else keeps it from success.
    pub async fn project(&self, connection: &mut Connection, project: &str) -> Result<(), Failure> {
        self.json(connection, "GET", &format!("/projects/{project}"), Vec::new()).await.map(drop)
    }

    /// What a topic holds.
    ///
    /// # Errors
    /// `NoSuchTopic`, and whatever else keeps it from success.
    pub async fn topic(&self, connection: &mut Connection, project: &str, topic: &str) -> Result<TopicInfo, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            record_type: String,
            #[serde(default)]
            record_schema: String,
            #[serde(default)]
            create_time: i64,
            #[serde(default)]
            lifecycle: u16,
        }
        let answer = self.json(connection, "GET", &topic_path(project, topic), Vec::new()).await?;
        let answer: Answer = read(&answer)?;
        let fields = match answer.record_schema.as_str() {
            "" => Vec::new(),
            schema => read::<Schema>(schema.as_bytes())?.fields,
        };
        Ok(TopicInfo {
            record_type: answer.record_type,
            fields,
            created: answer.create_time,
            lifecycle: answer.lifecycle,
        })
    }

    /// Makes a topic of tuples.
    ///
    /// # Errors
    /// `TopicAlreadyExist`, and whatever else keeps it from success.
    pub async fn create_topic(
        &self,
        connection: &mut Connection,
        (project, topic): (&str, &str),
        fields: &[Field],
        (shards, lifecycle): (u16, u16),
    ) -> Result<(), Failure> {
        let schema = json!(Schema { fields: fields.to_vec() }).to_string();
        let body = json!({
            "Action": "create", "ShardCount": shards, "Lifecycle": lifecycle, "RecordType": "TUPLE",
            "RecordSchema": schema, "Comment": "made by Dujiang", "ExpandMode": "split",
        });
        let path = topic_path(project, topic);
        self.json(connection, "POST", &path, body.to_string().into_bytes()).await.map(drop)
    }

    /// Makes a topic of one shard whose records are bytes.
    ///
    /// # Errors
    /// `TopicAlreadyExist`, and whatever else keeps it from success.
    pub async fn create_blob_topic(
        &self,
        connection: &mut Connection,
        (project, topic): (&str, &str),
        lifecycle: u16,
    ) -> Result<(), Failure> {
        let body = json!({
            "Action": "create", "ShardCount": 1, "Lifecycle": lifecycle, "RecordType": "BLOB",
            "Comment": "made by Dujiang", "ExpandMode": "split",
        });
        let path = topic_path(project, topic);
        self.json(connection, "POST", &path, body.to_string().into_bytes()).await.map(drop)
    }

    /// Appends a field that may be NULL.
    ///
    /// # Errors
    /// Whatever keeps it from success.
    pub async fn append_field(
        &self,
        connection: &mut Connection,
        (project, topic): (&str, &str),
        field: &Field,
    ) -> Result<(), Failure> {
        let body = json!({ "Action": "appendfield", "FieldName": field.name, "FieldType": field.kind });
        let path = topic_path(project, topic);
        self.json(connection, "POST", &path, body.to_string().into_bytes()).await.map(drop)
    }

    /// All shards of a topic, the closed ones too.
    ///
    /// # Errors
    /// Whatever keeps it from success.
    pub async fn shards(
        &self,
        connection: &mut Connection,
        project: &str,
        topic: &str,
    ) -> Result<Vec<ShardState>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Shard {
            shard_id: String,
            state: String,
            #[serde(default)]
            begin_hash_key: String,
            #[serde(default)]
            end_hash_key: String,
            #[serde(default)]
            parent_shard_ids: Vec<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            shards: Vec<Shard>,
        }
        let path = format!("{}/shards", topic_path(project, topic));
        let answer: Answer = read(&self.json(connection, "GET", &path, Vec::new()).await?)?;
        let bound = |text: &str, empty| match text {
            "" => Ok(empty),
            text => u128::from_str_radix(text, 16).map_err(|e| Failure::Unreadable(format!("hash key `{text}`: {e}"))),
        };
        let state = |shard: Shard| {
            let (begin, end) = (bound(&shard.begin_hash_key, 0)?, bound(&shard.end_hash_key, u128::MAX)?);
            let state = shard.state.to_ascii_uppercase();
            Ok(ShardState { id: shard.shard_id, state, begin, end, parents: shard.parent_shard_ids })
        };
        answer.shards.into_iter().map(state).collect()
    }
}

/// The path of a topic.
pub(super) fn topic_path(project: &str, topic: &str) -> String {
    format!("/projects/{project}/topics/{topic}")
}

pub(super) fn read<T: for<'a> Deserialize<'a>>(body: impl AsRef<[u8]>) -> Result<T, Failure> {
    serde_json::from_slice(body.as_ref()).map_err(|e| Failure::Unreadable(e.to_string()))
}
