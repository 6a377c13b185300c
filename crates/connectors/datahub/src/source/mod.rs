//! DataHub as a source: records of topics become changes of tables.
//!
//! ```text
//! shard -> task \
//! shard -> task  +-> pieces -> reader: rows, places        feed: which shards are read, children after their parents
//! shard -> task /
//! ```
//!
//! Places are kept in the pipeline's checkpoints; a subscription's offsets are only kept up to date for whoever watches it.

mod begin;
mod feed;
mod options;
mod place;
mod reader;
mod shape;
mod shard;
mod subscription;

pub use options::{DatahubSourceOptions, Startup, TupleChanges};

use self::begin::begin;
use self::options::SourceConfig;
use self::place::{Place, TopicPlace};
use self::reader::{DatahubReader, tables};
use self::subscription::{Sessions, SubscriptionAcker};
use crate::client::{Connection, Failure};
use crate::clock::SystemClock;
use async_trait::async_trait;
use dujiang_core::connector::{Built, PipelineOptions};
use dujiang_core::options::RawOption;
use dujiang_core::source::{Acker, Reader, Source, SourceContext};
use dujiang_core::{Code, Position, Result, TableSchema};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn build(raw: &[RawOption], pipeline: &PipelineOptions) -> Built<dyn Source> {
    Ok(Box::new(DatahubSource { config: Arc::new(SourceConfig::parse(raw, pipeline)?) }))
}

struct DatahubSource {
    config: Arc<SourceConfig>,
}

#[async_trait]
impl Source for DatahubSource {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        let client = self.config.client(Arc::new(SystemClock));
        let mut connection = Connection::default();
        let mut place = Place { project: self.config.options.project.clone(), ..Place::default() };
        for topic in &self.config.topics {
            let failed = |failure: Failure| failure.into_error(&format!("topic `{topic}`"), Code::SourceUnreachable);
            let info = client.topic(&mut connection, &place.project, topic).await.map_err(failed)?;
            shape::check(&self.config, topic, &info)?;
            let at = TopicPlace { created: info.created, fields: info.fields, ..TopicPlace::default() };
            shape::Reading::new(&self.config, shape::table(&self.config, topic, &at)?)?;
            place.topics.insert(topic.clone(), at);
        }
        tables(&self.config, &place)
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let from = from.map(|position| Place::read(&position)).transpose()?;
        let client = self.config.client(context.clock.clone());
        let mut sessions = Sessions::default();
        let begun = begin(&self.config, &client, from, &mut sessions).await?;
        tables(&self.config, &begun.place)?;
        let reader = DatahubReader::start(&self.config, client.clone(), begun, context)?;
        let (config, connection, told) = (self.config.clone(), Connection::default(), BTreeMap::new());
        Ok((Box::new(reader), Box::new(SubscriptionAcker { client, config, connection, sessions, told })))
    }

    fn describe(&self, position: &Position) -> String {
        Place::read(position).map_or_else(|error| error.message().to_owned(), |place| place.describe())
    }

    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        // What is wrong with a position is told by `open`.
        Ok(Place::read(position).and_then(|place| tables(&self.config, &place)).unwrap_or_default())
    }
}
