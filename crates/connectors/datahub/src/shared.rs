//! What the lanes and the committer of a sink share: the client, and what is known of topics.

use crate::client::{Access, Client, Connection, Failure};
use crate::config::Config;
use crate::shards::Shards;
use crate::topic::{Slot, compare, fields, topic_name};
use dujiang_core::clock::Clock;
use dujiang_core::{Code, Error, Result, TableId, TableSchema};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// First and longest pause between two looks at shards that are not ready yet.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Longest wait for shards to be ready.
const READY: Duration = Duration::from_secs(60);

/// A topic as it is known, for one shape of its table.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) schema: Arc<TableSchema>,
    /// One a field of the topic.
    pub(crate) slots: Vec<Slot>,
    shards: Mutex<Arc<Shards>>,
}

/// One a sink.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) client: Client,
    /// For everything but records.
    control: Mutex<Connection>,
    topics: Mutex<HashMap<TableId, Arc<Topic>>>,
}

impl Shared {
    pub(crate) fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        let options = &config.options;
        let access = Access {
            id: options.access_id.clone(),
            key: options.access_key.clone(),
            token: options.security_token.clone(),
        };
        let client = Client {
            endpoint: config.endpoint.clone(),
            access,
            clock,
            timeout: options.request_timeout,
            compression: options.compression,
        };
        Self { config, client, control: Mutex::default(), topics: Mutex::default() }
    }

    pub(crate) fn topic_name(&self, table: &TableId) -> Result<String> {
        topic_name(&self.config.options.topic, table)
    }

    /// The topic of a table as it was prepared for this shape.
    pub(crate) async fn topic(&self, table: &Arc<TableSchema>) -> Result<Arc<Topic>> {
        if let Some(topic) = self.topics.lock().await.get(&table.id).filter(|topic| topic.schema == *table) {
            return Ok(topic.clone());
        }
        self.prepare(table).await
    }

    /// Makes a table's topic fit: creates it, or appends what is missing.
    pub(crate) async fn prepare(&self, table: &Arc<TableSchema>) -> Result<Arc<Topic>> {
        let name = self.topic_name(&table.id)?;
        self.must_be_alone(&name, &table.id).await?;
        let what = format!("topic `{name}` of {}", table.id);
        let failed = |failure: Failure| failure.into_error(&what, Code::SinkWrite);
        let mut control = self.control.lock().await;
        let project = self.config.options.project.as_str();
        let mut info = match self.client.topic(&mut control, project, &name).await {
            Err(failure) if failure.is("NoSuchTopic") && self.config.options.topic_create => {
                self.create(&mut control, &name, table).await?;
                self.client.topic(&mut control, project, &name).await.map_err(failed)?
            }
            answer => answer.map_err(failed)?,
        };
        if info.record_type != "TUPLE" {
            return Err(Error::new(Code::SchemaChange, format!("topic `{name}` holds {} records", info.record_type))
                .help("choose another `topic`: rows go into topics of type TUPLE"));
        }
        let mut compared = compare(&name, &info.fields, table)?;
        if !compared.missing.is_empty() {
            for field in &compared.missing {
                let appended = self.client.append_field(&mut control, (project, &name), field).await;
                appended.map_err(failed)?;
            }
            info = self.client.topic(&mut control, project, &name).await.map_err(failed)?;
            compared = compare(&name, &info.fields, table)?;
        }
        let shards = Mutex::new(self.ready_shards(&mut control, &name, None).await?);
        let topic = Arc::new(Topic { name, schema: table.clone(), slots: compared.slots, shards });
        self.topics.lock().await.insert(table.id.clone(), topic.clone());
        Ok(topic)
    }

    /// Two tables in one topic could not be told apart.
    async fn must_be_alone(&self, name: &str, table: &TableId) -> Result<()> {
        let topics = self.topics.lock().await;
        let same = |(_, topic): &(&TableId, &Arc<Topic>)| topic.name.eq_ignore_ascii_case(name);
        match topics.iter().filter(|(other, _)| *other != table).find(same) {
            None => Ok(()),
            Some((other, _)) => {
                Err(Error::new(Code::SinkName, format!("{other} and {table} would share the topic `{name}`"))
                    .help("put `{database}` into `topic`, or merge the tables with a route"))
            }
        }
    }

    async fn create(&self, control: &mut Connection, name: &str, table: &TableSchema) -> Result<()> {
        let options = &self.config.options;
        let size = (options.topic_shards.get(), options.topic_lifecycle.get());
        let fields = fields(table)?;
        let created = self.client.create_topic(control, (&options.project, name), &fields, size).await;
        match created {
            Err(failure) if !failure.is("TopicAlreadyExist") => {
                Err(failure.into_error(&format!("topic `{name}` is to be made"), Code::SinkWrite))
            }
            _ => Ok(()),
        }
    }

    /// The shards that are known.
    pub(crate) async fn shards(&self, topic: &Topic) -> Arc<Shards> {
        topic.shards.lock().await.clone()
    }

    /// Reads the list of shards again, unless somebody has done so since `stale` was handed out.
    pub(crate) async fn reread(&self, topic: &Topic, stale: &Arc<Shards>) -> Result<Arc<Shards>> {
        let mut known = topic.shards.lock().await;
        if Arc::ptr_eq(&known, stale) {
            let mut control = self.control.lock().await;
            *known = self.ready_shards(&mut control, &topic.name, Some(stale)).await?;
        }
        Ok(known.clone())
    }

    /// Waits until no shard is on its way.
    async fn ready_shards(&self, control: &mut Connection, topic: &str, known: Option<&Shards>) -> Result<Arc<Shards>> {
        let project = self.config.options.project.as_str();
        let looked = async {
            let mut pause = LOOK_AGAIN.0;
            loop {
                let list = self.client.shards(control, project, topic).await.map_err(|failure| {
                    failure.into_error(&format!("the shards of topic `{topic}`"), Code::SinkWrite)
                })?;
                if let Some(shards) = Shards::of(&list, known) {
                    return Ok(Arc::new(shards));
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LOOK_AGAIN.1);
            }
        };
        tokio::time::timeout(READY, looked).await.unwrap_or_else(|_| {
            Err(Error::new(Code::SinkWrite, format!("the shards of topic `{topic}` do not become ready"))
                .fact("waited", format!("{} s", READY.as_secs())))
        })
    }
}
