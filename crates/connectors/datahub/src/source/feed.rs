//! Which shards are read: one task for each, children only when all their parents have been read to their ends.

use super::begin::Begun;
use super::place::ShardPlace;
use super::shard::{Following, Id, Shared, Told};
use crate::client::{Connection, ShardState};
use dujiang_core::{Code, Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How soon the list of shards is read again while some are on their way.
const SOON: Duration = Duration::from_millis(200);

/// How a shard's task ended.
type Ended = (Id, Result<()>);

pub(super) struct Feed {
    shared: Arc<Shared>,
    /// One a topic.
    lists: Vec<Vec<ShardState>>,
    /// How far shards had been read when the reader was opened.
    places: BTreeMap<Id, ShardPlace>,
    started: BTreeSet<Id>,
    done: BTreeSet<Id>,
    tasks: JoinSet<Ended>,
    control: Connection,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>, begun: &Begun) -> Self {
        let mut places = BTreeMap::new();
        for (topic, name) in shared.config.topics.iter().enumerate() {
            let shards = begun.place.topics.get(name).into_iter().flat_map(|topic| &topic.shards);
            places.extend(shards.map(|(shard, place)| ((topic, shard.clone()), *place)));
        }
        let done: BTreeSet<Id> = places.iter().filter(|(_, place)| place.done).map(|(id, _)| id.clone()).collect();
        let lists = begun.shards.clone();
        let (started, tasks, control) = (BTreeSet::new(), JoinSet::new(), Connection::default());
        Self { shared, lists, places, started, done, tasks, control }
    }

    /// The shards that are there and have not been read to their ends.
    pub(super) fn open(&self) -> BTreeSet<Id> {
        let all = self.lists.iter().enumerate();
        let all = all.flat_map(|(topic, list)| list.iter().map(move |shard| (topic, shard.id.clone())));
        all.filter(|id| !self.done.contains(id)).collect()
    }

    /// Works until nobody listens; an error is the last thing told.
    pub(super) async fn run(mut self, out: mpsc::Sender<Result<Told>>) {
        if let Err(error) = self.work(&out).await {
            // Nobody listens any more: then nobody needs it.
            let _ = out.send(Err(error)).await;
        }
    }

    async fn work(&mut self, out: &mpsc::Sender<Result<Told>>) -> Result<()> {
        loop {
            self.start(out);
            let pause = if self.is_waiting() { SOON } else { self.shared.config.options.discovery };
            let idle = self.tasks.is_empty();
            tokio::select! {
                Some(ended) = self.tasks.join_next(), if !idle => {
                    let ended = ended.map_err(|e| Error::new(Code::Bug, "a shard's task has ended").with_source(e))?;
                    let (id, result) = ended;
                    result?;
                    self.done.insert(id);
                }
                () = tokio::time::sleep(pause) => {}
                () = out.closed() => return Ok(()),
            }
            self.look().await?;
        }
    }

    /// Whether shards are there that cannot be read yet, though nothing has to be read before them.
    fn is_waiting(&self) -> bool {
        self.lists.iter().any(|list| list.iter().any(|shard| shard.state == "OPENING"))
    }

    fn start(&mut self, out: &mpsc::Sender<Result<Told>>) {
        for (topic, list) in self.lists.iter().enumerate() {
            for shard in list.iter().filter(|shard| shard.state != "OPENING") {
                let id = (topic, shard.id.clone());
                // A parent that the service has forgotten had nothing left.
                let waits = |parent: &String| {
                    list.iter().any(|listed| listed.id == *parent) && !self.done.contains(&(topic, parent.clone()))
                };
                if self.started.contains(&id) || self.done.contains(&id) || shard.parents.iter().any(waits) {
                    continue;
                }
                let from = self.places.get(&id).copied();
                let following = Following::new(self.shared.clone(), id.clone(), from, out.clone());
                self.started.insert(id.clone());
                self.tasks.spawn(async move { (id, following.run().await) });
            }
        }
    }

    /// Reads the lists of shards again.
    async fn look(&mut self) -> Result<()> {
        let (project, topics) = (&self.shared.config.options.project, &self.shared.config.topics);
        for (topic, list) in topics.iter().zip(&mut self.lists) {
            match self.shared.client.shards(&mut self.control, project, topic).await {
                Ok(found) => *list = found,
                Err(failure) => self.shared.bear(failure, &format!("the shards of topic `{topic}`"))?,
            }
        }
        Ok(())
    }
}
