//! The log as the source of a delivery.

use super::follow::Follow;
use super::look::{Seen, connect, look_once};
use super::place::Spot;
use super::reader::{LogAcker, Thread, Unacked};
use crate::client::blocking;
use crate::names::ReadConfig;
use crate::reading::Client;
use async_trait::async_trait;
use dujiang_core::checkpoint::Lineage;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::source::{Acker, Reader, Source, SourceContext, Survey, SurveyedTable};
use dujiang_core::{Position, Result, Start, TableSchema};
use dujiang_entries::{Here, LogReader, Shapes};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a log is looked for that nobody has begun yet.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A consumer group of a log.
pub(crate) struct KafkaLogSource {
    config: Arc<ReadConfig>,
    here: Arc<Here>,
    consumer: String,
    start: Start,
    known: Mutex<Known>,
}

/// What has been looked up.
#[derive(Default)]
struct Known {
    /// Where the first start begins.
    begins: Option<Spot>,
    shapes: Shapes,
    /// One looks again and again, and then follows.
    client: Option<Arc<Client>>,
}

impl KafkaLogSource {
    pub(crate) fn new(config: Arc<ReadConfig>, here: Arc<Here>, consumer: String, start: Start) -> Self {
        Self { config, here, consumer, start, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a log for which `enough` holds.
    async fn wait(&self, enough: impl Fn(&Seen) -> bool) -> Result<Seen> {
        loop {
            let kept = self.known().client.take();
            let client = kept.map_or_else(|| connect(&self.config, &self.consumer), Ok)?;
            let seen = look_once(&self.config, &client).await?;
            self.known().client = Some(client);
            if let Some(seen) = seen.filter(|seen| enough(seen)) {
                self.known().shapes = seen.shapes.clone();
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The place at which a first start begins. Shapes that are told before the first change count as known.
    async fn begins(&self, seen: Seen) -> Result<(Seen, Spot)> {
        let known = self.known().begins.clone();
        if let Some(spot) = known {
            return Ok((seen, spot));
        }
        let (config, start) = (self.config.clone(), self.start);
        let (seen, mut spot) = blocking(move || {
            let spot = seen.find(&config, start)?;
            Ok((seen, spot))
        })
        .await?;
        spot.number = seen.shapes.behind(spot.number).min(seen.end.max(spot.number));
        self.known().begins = Some(spot.clone());
        Ok((seen, spot))
    }
}

#[async_trait]
impl Source for KafkaLogSource {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        let seen = self.wait(|seen| seen.end > 0).await?;
        let (seen, spot) = self.begins(seen).await?;
        Ok(seen.shapes.tables(spot.number))
    }

    async fn survey(&self) -> Survey {
        let looked = async {
            let seen = look_once(&self.config, &connect(&self.config, &self.consumer)?).await?;
            Ok::<_, dujiang_core::Error>(seen.map(|seen| seen.shapes.tables(seen.end)))
        };
        match looked.await {
            Ok(Some(tables)) => {
                Survey { tables: tables.into_iter().map(SurveyedTable::new).collect(), ..Survey::default() }
            }
            Ok(None) => {
                let warning = format!("there is no log {} yet at {}", self.config.prefix, self.config.bootstrap);
                Survey { warnings: vec![warning], ..Survey::default() }
            }
            Err(error) => Survey { refusals: vec![error], ..Survey::default() },
        }
    }

    async fn examine(&self, _visit: &Visit) -> Examination {
        let mut examination =
            Examination::of(format!("log {} in Kafka at {}", self.config.prefix, self.config.bootstrap));
        let looked = async { look_once(&self.config, &connect(&self.config, &self.consumer)?).await };
        let looked = looked.await;
        let seen = examination.reach("log", looked, |seen| match seen {
            Some(seen) => format!("captured by {}, {} entries so far", seen.last.pipeline, seen.end),
            None => "is made by the first run of the pipeline that captures into it".to_owned(),
        });
        examination.lineage = seen.flatten().map(|seen| Lineage(seen.last.lineage.as_str().into()));
        examination
    }

    async fn lineage(&self) -> Result<Option<Lineage>> {
        let seen = self.wait(|_| true).await?;
        Ok(Some(Lineage(seen.last.lineage.as_str().into())))
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let seen = self.wait(|_| true).await?;
        // From here on the client follows; whoever looks next has another one.
        self.known().client = None;
        let (seen, spot) = match from {
            None => self.begins(seen).await?,
            Some(position) => {
                let (spot, config) = (Spot::of(&position)?, self.config.clone());
                blocking(move || {
                    seen.check(&config, &spot)?;
                    Ok((seen, spot))
                })
                .await?
            }
        };
        let spot = seen.held(spot);
        let Seen { end: target, client, shapes, shapes_next, .. } = seen;
        let shapes = (shapes, shapes_next);
        let follow = Follow::new(self.config.clone(), client.clone(), context.budget.clone(), &spot, shapes)?;
        let unacked = Unacked::default();
        let thread = Thread::start(follow, client.clone(), unacked.clone())?;
        let reader = LogReader::new(thread, self.here.clone(), (spot, target), context.clock);
        let acker = LogAcker { client, prefix: self.config.prefix.clone(), unacked };
        Ok((Box::new(reader), Box::new(acker)))
    }

    fn is_awaited(&self) -> bool {
        true
    }

    fn describe(&self, position: &Position) -> String {
        Spot::describe(position)
    }

    /// As far as they have been looked up: [`Source::lineage`] does that first.
    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        let spot = Spot::of(position)?;
        Ok(self.known().shapes.tables(spot.number))
    }
}
