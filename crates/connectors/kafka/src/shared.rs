//! What committer and writers of a sink have in common.

use crate::client::{Admin, Producer};
use crate::config::SinkConfig;
use crate::gate::Gate;
use crate::topics::{Target, Targets};
use dujiang_core::{Code, Error, Result, TableId};
use dujiang_entries::Entries;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long brokers are asked for topics that may be gone.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    pub(crate) config: SinkConfig,
    targets: Targets,
    /// Of a log: the numbers of its entries.
    pub(crate) entries: Entries,
    state: Mutex<State>,
    /// Rings when the gate may have opened.
    pub(crate) opened: Notify,
}

#[derive(Default)]
struct State {
    admin: Option<Arc<Admin>>,
    /// The producer, and which one it is.
    producer: Option<(u64, Producer)>,
    gate: Gate,
}

impl Shared {
    pub(crate) fn new(config: SinkConfig) -> Self {
        Self {
            config,
            targets: Targets::default(),
            entries: Entries::default(),
            state: Mutex::default(),
            opened: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks about topics; connects at the first use.
    pub(crate) fn admin(&self) -> Result<Arc<Admin>> {
        let mut state = self.state();
        if let Some(admin) = &state.admin {
            return Ok(admin.clone());
        }
        let admin = Arc::new(Admin::new(&self.config.client, &self.config.bootstrap)?);
        state.admin = Some(admin.clone());
        Ok(admin)
    }

    /// Another producer takes over; writers notice by its number.
    pub(crate) fn replace_producer(&self, producer: Producer) {
        let mut state = self.state();
        let number = state.producer.as_ref().map_or(0, |(number, _)| number + 1);
        state.producer = Some((number, producer));
    }

    /// Forgets the producer, and whatever lanes there were.
    pub(crate) fn reset(&self) {
        let mut state = self.state();
        state.producer = None;
        state.gate = Gate::default();
    }

    /// The producer and its number.
    pub(crate) fn producer(&self) -> Result<(u64, Producer)> {
        self.state().producer.clone().ok_or_else(|| Error::new(Code::Bug, "the Kafka sink is not open"))
    }

    /// Looks at the gate, or moves it; whoever waits looks again.
    pub(crate) fn gate<T>(&self, work: impl FnOnce(&mut Gate) -> T) -> T {
        let done = work(&mut self.state().gate);
        self.opened.notify_waiters();
        done
    }

    pub(crate) fn may_send(&self, lane: usize) -> bool {
        self.state().gate.may_send(lane)
    }

    /// Why brokers do not confirm: a topic that was deleted is waited for by the client, and by nobody else.
    pub(crate) async fn explain(&self, error: Error) -> Error {
        if error.code() != Code::SinkUnwritten {
            return error;
        }
        let Ok(admin) = self.admin() else { return error };
        let Ok(topics) = admin.topics_within(LOOK).await else { return error };
        match self.targets.missing_from(&topics) {
            Some(topic) => Error::new(Code::KafkaTopic, format!("the topic {topic} is gone while it is written to"))
                .fact("brokers", self.config.bootstrap.as_str())
                .help("check whether it was deleted; nothing is lost, the next start makes it again and goes on after the last checkpoint"),
            None => error,
        }
    }

    /// The topics of tables, made if they are missing.
    pub(crate) async fn targets<'a>(&self, tables: impl Iterator<Item = &'a TableId>) -> Result<Vec<Arc<Target>>> {
        let admin = self.admin()?;
        self.targets.of(tables, &self.config, &admin).await
    }

    /// The topic of a table.
    pub(crate) async fn target(&self, table: &TableId) -> Result<Arc<Target>> {
        let mut targets = self.targets(std::iter::once(table)).await?;
        targets.pop().ok_or_else(|| Error::new(Code::Bug, "a table has no topic"))
    }
}
