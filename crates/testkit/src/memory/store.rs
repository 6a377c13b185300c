//! A checkpoint store whose record survives the process.

use super::World;
use super::chaos::Fate;
use async_trait::async_trait;
use dujiang_core::checkpoint::{
    Acquired, Checkpoint, CheckpointStore, Generation, Lineage, PipelineIdentity, Standing,
};
use dujiang_core::{Code, Epoch, Error, Result};

/// What survives.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) generation: Generation,
    /// Oldest first.
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) published: u64,
    /// Publishes that may still arrive.
    late: Vec<((Generation, Epoch), Checkpoint)>,
}

impl Disk {
    /// Compares and sets.
    fn publish(&mut self, expected: (Generation, Epoch), next: &Checkpoint) -> Result<()> {
        let stands_at = (self.generation, self.checkpoints.last().map_or(Epoch::NONE, |c| c.epoch));
        if stands_at != expected {
            return Err(Error::new(Code::Fenced, format!("the store stands at {stands_at:?}, not at {expected:?}")));
        }
        self.checkpoints.retain(|c| c.epoch != next.epoch);
        self.checkpoints.push(next.clone());
        self.published += 1;
        if next.standing == Standing::Final && self.checkpoints.len() > 3 {
            self.checkpoints.remove(0);
        }
        Ok(())
    }

    /// What was under way arrives now.
    fn land(&mut self) {
        for (expected, checkpoint) in std::mem::take(&mut self.late) {
            // It was sent by someone who no longer waits: whoever is fenced is not told.
            let _ = self.publish(expected, &checkpoint);
        }
    }
}

/// A [`CheckpointStore`] in memory.
pub struct MemoryStore {
    world: World,
    process: u64,
}

impl MemoryStore {
    pub(super) fn new(world: World) -> Self {
        let process = world.chaos.process();
        Self { world, process }
    }

    /// Before a call, what is late may arrive.
    fn weather(&self) {
        if self.world.chaos.draw(|rng| rng.chance(500)) {
            self.world.durable().store.land();
        }
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn acquire(&mut self) -> Result<Acquired> {
        self.weather();
        let failed = |_| Error::new(Code::CheckpointWrite, "the store did not answer");
        let world = self.world.clone();
        let work = |_| {
            let store = &mut world.durable().store;
            store.generation.0 += 1;
            let identity = PipelineIdentity { name: "memory".into(), lineage: Lineage("0123456789abcdef".into()) };
            let checkpoints = store.checkpoints.iter().rev().cloned().collect();
            Ok(Acquired { identity, generation: store.generation, checkpoints })
        };
        self.world.chaos.call(self.process, "store.acquire", failed, work).await
    }

    async fn publish(&mut self, expected: (Generation, Epoch), next: &Checkpoint) -> Result<()> {
        self.weather();
        let failed = |fate| match fate {
            Fate::Fail => Error::new(Code::CheckpointWrite, "the store refused"),
            _ => Error::new(Code::CheckpointUnknown, "the store's reply was lost"),
        };
        let world = self.world.clone();
        let work = |fate| {
            let store = &mut world.durable().store;
            if fate == Fate::Late {
                store.late.push((expected, next.clone()));
                return Ok(());
            }
            store.publish(expected, next)
        };
        self.world.chaos.call(self.process, "store.publish", failed, work).await
    }

    async fn latest(&mut self) -> Result<Option<Checkpoint>> {
        self.weather();
        let failed = |_| Error::new(Code::CheckpointWrite, "the store did not answer");
        let world = self.world.clone();
        let work = |_| Ok(world.durable().store.checkpoints.last().cloned());
        self.world.chaos.call(self.process, "store.latest", failed, work).await
    }

    async fn rewind(&mut self, epoch: Epoch) -> Result<()> {
        let failed = |_| Error::new(Code::CheckpointWrite, "the store did not answer");
        let world = self.world.clone();
        let work = |_| {
            let store = &mut world.durable().store;
            if epoch != Epoch::NONE && !store.checkpoints.iter().any(|c| c.epoch == epoch) {
                return Err(Error::new(Code::NoCheckpoint, format!("there is no checkpoint {epoch}")));
            }
            store.checkpoints.retain(|c| c.epoch <= epoch);
            Ok(())
        };
        self.world.chaos.call(self.process, "store.rewind", failed, work).await
    }
}
