//! Dead letters whose committed part survives the process.

use super::World;
use async_trait::async_trait;
use bytes::Bytes;
use dujiang_core::checkpoint::Token;
use dujiang_core::dead_letter::{DeadLetter, DeadLetterStore};
use dujiang_core::sink::CommitRequest;
use dujiang_core::{Code, Epoch, Error, Result};
use std::collections::BTreeMap;

/// What survives.
#[derive(Default)]
pub(crate) struct Disk {
    staged: BTreeMap<Bytes, (Epoch, Vec<DeadLetter>)>,
    committed: Vec<(Epoch, Vec<DeadLetter>)>,
    made: u64,
}

impl Disk {
    pub(crate) fn visible(&self) -> Vec<(String, String, u64)> {
        let letters = self.committed.iter().flat_map(|(_, letters)| letters);
        let mut all: Vec<_> = letters
            .map(|l| {
                let ordinal = l.event_id.rsplit('/').next().and_then(|n| n.parse().ok());
                (l.table.clone(), l.transaction.clone(), ordinal.unwrap_or(u64::MAX))
            })
            .collect();
        all.sort();
        all
    }
}

/// A [`DeadLetterStore`] in memory.
pub struct MemoryLetters {
    world: World,
    process: u64,
    open: Vec<DeadLetter>,
}

impl MemoryLetters {
    pub(super) fn new(world: World) -> Self {
        let process = world.chaos.process();
        Self { world, process, open: Vec::new() }
    }
}

fn failed(_: super::Fate) -> Error {
    Error::new(Code::DeadLetterWrite, "the dead letters cannot be written")
}

#[async_trait]
impl DeadLetterStore for MemoryLetters {
    fn add(&mut self, letter: DeadLetter) {
        self.open.push(letter);
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Token>> {
        if self.open.is_empty() {
            return Ok(Vec::new());
        }
        let letters = std::mem::take(&mut self.open);
        let world = self.world.clone();
        let work = |_| {
            let disk = &mut world.durable().letters;
            disk.made += 1;
            let token = Bytes::from(format!("letters-{}", disk.made));
            disk.staged.insert(token.clone(), (epoch, letters));
            Ok(vec![Token(token)])
        };
        self.world.chaos.call(self.process, "letters.prepare", failed, work).await
    }

    async fn commit(&mut self, request: &CommitRequest) -> Result<()> {
        let world = self.world.clone();
        let work = |_| {
            let disk = &mut world.durable().letters;
            for token in &request.tokens {
                disk.committed.extend(disk.staged.remove(&token.0));
            }
            Ok(())
        };
        self.world.chaos.call(self.process, "letters.commit", failed, work).await
    }

    async fn abort_except(&mut self, keep: &[Token]) -> Result<()> {
        let world = self.world.clone();
        let work = |_| {
            world.durable().letters.staged.retain(|token, _| keep.iter().any(|k| k.0 == token));
            Ok(())
        };
        self.world.chaos.call(self.process, "letters.abort", failed, work).await
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        let world = self.world.clone();
        let work = |_| {
            world.durable().letters.committed.retain(|(of, _)| *of <= epoch);
            Ok(())
        };
        self.world.chaos.call(self.process, "letters.withdraw", failed, work).await
    }
}
