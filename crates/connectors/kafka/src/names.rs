//! The topics of a log, and how they are read.

use crate::config::{LONGEST_TOPIC, legal_topic};
use dujiang_core::TableId;
use rdkafka::ClientConfig;

/// What every reader of a log has to know.
#[derive(Debug, Clone)]
pub(crate) struct ReadConfig {
    /// Settings of connections and of security.
    pub(crate) client: ClientConfig,
    pub(crate) bootstrap: String,
    pub(crate) prefix: String,
}

impl ReadConfig {
    /// The topic of shapes and of the last record.
    pub(crate) fn state_topic(&self) -> String {
        state_topic(&self.prefix)
    }

    /// A client's settings for a consumer group.
    pub(crate) fn of_group(&self, consumer: &str) -> ClientConfig {
        let mut client = self.client.clone();
        client.set("group.id", self.group(consumer));
        // What waits in the client counts beside the pipeline's budget.
        client.set("queued.max.messages.kbytes", "16384");
        client
    }

    pub(crate) fn group(&self, consumer: &str) -> String {
        format!("{}.{consumer}", self.prefix)
    }
}

pub(crate) fn state_topic(prefix: &str) -> String {
    format!("{prefix}-state")
}

/// The topic of a table's changes. Names that would be the same may share a topic: each message tells its shape.
pub(crate) fn topic_of(prefix: &str, table: &TableId) -> String {
    let mut topic = legal_topic(&format!("{prefix}.{table}"));
    topic.truncate(LONGEST_TOPIC);
    topic
}
