//! Kafka as a source: messages in known formats become changes of tables whose shape is told by option.
//!
//! Places are kept in the pipeline's checkpoints; the consumer group's are only kept up to date for whoever watches it.

mod options;
mod place;
mod reader;
mod thread;

pub use options::{Isolation, KafkaSourceOptions, Startup};

use self::options::SourceConfig;
use self::place::Place;
use self::reader::{GroupAcker, KafkaReader};
use crate::client::{Heard, blocking, of_client, topics_of, unfit};
use async_trait::async_trait;
use dujiang_core::connector::{Built, PipelineOptions};
use dujiang_core::options::RawOption;
use dujiang_core::source::{Acker, Reader, Source, SourceContext};
use dujiang_core::{Code, Error, Position, Result, TableSchema};
use dujiang_format_text::messages::Decoder;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// The consumer, and what it hears of its connections.
pub(crate) type Client = BaseConsumer<Heard>;

pub(crate) fn build(raw: &[RawOption], pipeline: &PipelineOptions) -> Built<dyn Source> {
    Ok(Box::new(KafkaSource { config: Arc::new(SourceConfig::parse(raw, pipeline)?) }))
}

struct KafkaSource {
    config: Arc<SourceConfig>,
}

/// A consumer, the partitions of each topic, and the cluster's id.
struct Connected {
    client: Client,
    partitions: Vec<i32>,
    cluster: String,
}

fn connect(config: &SourceConfig) -> Result<Connected> {
    let client: Client = config.client.create_with_context(Heard::default()).map_err(unfit)?;
    let turn = |pause| {
        client.poll(pause);
    };
    let metadata = topics_of(client.client(), turn, PATIENCE, &config.bootstrap)?;
    let mut partitions = Vec::new();
    for (topic, _) in &config.topics {
        let count = metadata.topics().iter().find(|found| found.name() == topic).map_or(0, |t| t.partitions().len());
        if count == 0 {
            return Err(gone(topic, config));
        }
        partitions.push(count as i32);
    }
    let cluster = client.client().fetch_cluster_id(PATIENCE).unwrap_or_default();
    Ok(Connected { client, partitions, cluster })
}

/// A topic that is not there.
pub(crate) fn gone(topic: &str, config: &SourceConfig) -> Error {
    Error::new(Code::KafkaTopic, format!("there is no topic {topic}"))
        .fact("brokers", config.bootstrap.as_str())
        .help("check `topic`, and whether the user may DESCRIBE it; a topic that was deleted cannot be read any more")
}

#[async_trait]
impl Source for KafkaSource {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        for (_, table) in &self.config.topics {
            Decoder::new(table, &self.config.messages)?;
        }
        let config = self.config.clone();
        blocking(move || connect(&config).map(|_| ())).await?;
        Ok(self.tables())
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let config = self.config.clone();
        let from = from.map(|position| Place::read(&position)).transpose()?;
        let (client, place) = blocking(move || {
            let connected = connect(&config)?;
            let place = begin(&config, &connected, from)?;
            Ok((connected.client, place))
        })
        .await?;
        let client = Arc::new(client);
        let reader = KafkaReader::start(self.config.clone(), client.clone(), place, context)?;
        Ok((Box::new(reader), Box::new(GroupAcker { client })))
    }

    fn describe(&self, position: &Position) -> String {
        Place::read(position).map_or_else(|error| error.message().to_owned(), |place| place.describe())
    }

    async fn schemas_at(&self, _position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        Ok(self.tables())
    }
}

impl KafkaSource {
    fn tables(&self) -> Vec<Arc<TableSchema>> {
        let mut tables: Vec<Arc<TableSchema>> = Vec::new();
        for (_, table) in &self.config.topics {
            if !tables.iter().any(|known| known.id == table.id) {
                tables.push(table.clone());
            }
        }
        tables
    }
}

/// Where every partition begins, and the consumer set there.
fn begin(config: &SourceConfig, connected: &Connected, from: Option<Place>) -> Result<Place> {
    let Connected { client, partitions, cluster } = connected;
    let failed = |error: KafkaError| of_client("look up where to begin", &config.bootstrap, error);
    if let Some(from) = from.as_ref().filter(|from| from.cluster != *cluster) {
        return Err(Error::new(Code::OtherServer, "this is not the Kafka cluster that the pipeline has read from")
            .fact("cluster", cluster.as_str())
            .fact("the pipeline's", from.cluster.as_str())
            .help("point `properties.bootstrap.servers` at that cluster, or begin with a new pipeline"));
    }
    let first = from.is_none();
    let mut place = from.unwrap_or_else(|| Place { cluster: cluster.clone(), ..Place::default() });
    let mut wanted = TopicPartitionList::new();
    for ((topic, _), &count) in config.topics.iter().zip(partitions) {
        for partition in 0..count {
            wanted.add_partition(topic, partition);
        }
    }
    let found = match (first, config.startup) {
        (true, Startup::Timestamp) => {
            let mut at = wanted.clone();
            at.set_all_offsets(Offset::Offset(config.startup_millis)).map_err(failed)?;
            Some(client.offsets_for_times(at, PATIENCE).map_err(failed)?)
        }
        (true, Startup::Group) => Some(client.committed_offsets(wanted.clone(), PATIENCE).map_err(failed)?),
        _ => None,
    };
    let mut assigned = TopicPartitionList::new();
    for element in wanted.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let next = match place.get(topic, partition) {
            Some(next) => next,
            None => {
                let told = found.as_ref().and_then(|f| f.find_partition(topic, partition)).map(|e| e.offset());
                match told {
                    Some(Offset::Offset(offset)) => offset,
                    _ => {
                        let (low, high) = client.fetch_watermarks(topic, partition, PATIENCE).map_err(failed)?;
                        // A partition that was added since the checkpoint has been read up to nowhere.
                        let at_end = first && matches!(config.startup, Startup::Latest | Startup::Timestamp);
                        if at_end { high } else { low }
                    }
                }
            }
        };
        place.set(topic, partition, next);
        assigned.add_partition_offset(topic, partition, Offset::Offset(next)).map_err(failed)?;
    }
    client.assign(&assigned).map_err(failed)?;
    Ok(place)
}
