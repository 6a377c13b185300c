//! The log as the source of a delivery.

use super::config::Hub;
use super::follow::Follow;
use super::look::{Seen, look};
use super::place::Spot;
use super::reader::{LogAcker, Task};
use super::sink::described;
use super::tail::Trouble;
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

/// A delivery.
pub(crate) struct LogSource {
    hub: Arc<Hub>,
    here: Arc<Here>,
    start: Start,
    /// Where the first start begins, and the shapes that are known there.
    begins: Mutex<Option<(Spot, Shapes)>>,
}

impl LogSource {
    pub(crate) fn new(hub: Arc<Hub>, here: Arc<Here>, start: Start) -> Self {
        Self { hub, here, start, begins: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Option<(Spot, Shapes)>> {
        self.begins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a log for which `enough` holds.
    async fn wait(&self, enough: impl Fn(&Seen) -> bool) -> Result<Seen> {
        loop {
            if let Some(seen) = look(&self.hub).await?.filter(|seen| enough(seen)) {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The place at which a first start begins.
    async fn begins(&self, seen: &Seen) -> Result<(Spot, Shapes)> {
        let known = self.known().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = seen.begin(&self.hub, self.start).await?;
        *self.known() = Some(found.clone());
        Ok(found)
    }
}

#[async_trait]
impl Source for LogSource {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        let seen = self.wait(|seen| seen.end > 0).await?;
        let (spot, shapes) = self.begins(&seen).await?;
        Ok(shapes.tables(spot.number))
    }

    async fn survey(&self) -> Survey {
        match look(&self.hub).await {
            Ok(Some(seen)) => {
                let tables = seen.shapes().tables(seen.end);
                Survey { tables: tables.into_iter().map(SurveyedTable::new).collect(), ..Survey::default() }
            }
            Ok(None) => {
                let warning = format!("there is no log yet in topic `{}` of {}", self.hub.topic, self.hub.service());
                Survey { warnings: vec![warning], ..Survey::default() }
            }
            Err(error) => Survey { refusals: vec![error], ..Survey::default() },
        }
    }

    async fn examine(&self, _visit: &Visit) -> Examination {
        let mut examination = Examination::of(format!("log in DataHub at {}", self.hub.client.endpoint.authority()));
        let seen = examination.reach("log", look(&self.hub).await, |seen| described(&self.hub, seen.as_ref()));
        examination.lineage = seen.flatten().map(|seen| Lineage(seen.last.lineage.as_str().into()));
        examination
    }

    async fn lineage(&self) -> Result<Option<Lineage>> {
        let seen = self.wait(|_| true).await?;
        Ok(Some(Lineage(seen.last.lineage.as_str().into())))
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let seen = self.wait(|_| true).await?;
        let spot = match from {
            None => self.begins(&seen).await?.0,
            Some(position) => {
                let spot = Spot::of(&position)?;
                seen.check(&spot)?;
                spot
            }
        };
        let trouble = Trouble::default();
        let tail = seen.tail_at(&self.hub, spot.at.segment).await?.persistent(trouble.clone());
        let order = seen.order_from(&self.hub, spot.number);
        let follow = Follow::new(tail, order, context.budget.clone(), self.hub.poll_interval);
        let task = Task::start(follow, trouble);
        let reader = LogReader::new(task, self.here.clone(), (spot, seen.end), context.clock);
        Ok((Box::new(reader), Box::new(LogAcker)))
    }

    fn is_awaited(&self) -> bool {
        true
    }

    fn describe(&self, position: &Position) -> String {
        Spot::describe(position)
    }

    /// Reads from the segment before.
    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        let spot = Spot::of(position)?;
        let Some(seen) = look(&self.hub).await? else { return Ok(Vec::new()) };
        seen.check(&spot)?;
        let number = spot.number;
        Ok(seen.walk(&self.hub, Some(spot)).await?.1.tables(number))
    }
}
