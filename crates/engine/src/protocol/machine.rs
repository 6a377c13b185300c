//! The machine's state, and the dispatch of events by phase.

use super::closing::Closing;
use super::recover;
use super::{Action, Cause, Config, Event, Halt, Participant};
use dujiang_core::checkpoint::{Checkpoint, Generation, ParticipantTokens, Token};
use dujiang_core::sink::CommitRequest;
use dujiang_core::{Epoch, Position, fault};
use std::collections::VecDeque;

/// The epoch protocol of one run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) generation: Generation,
    /// The latest published checkpoint, tokens included.
    pub(super) latest: Option<Checkpoint>,
    /// During the start: every kept checkpoint, newest first.
    pub(super) kept: Vec<Checkpoint>,
    /// Tokens of epochs whose publish failed, oldest first.
    pub(super) carried: Tokens,
    /// Publishes that failed in a row.
    pub(super) failures: u32,
    /// The epoch being written.
    pub(super) open: Epoch,
    /// The epoch between its barrier and its commit.
    pub(super) closing: Option<Closing>,
    /// The strongest reason for a barrier that has not been passed yet.
    pub(super) due: Option<Cause>,
    /// Positions that are durable and not acked yet, oldest first.
    pub(super) acks: VecDeque<Position>,
}

/// Tokens by participant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Tokens {
    pub(super) sink: Vec<Token>,
    pub(super) letters: Vec<Token>,
}

impl Tokens {
    pub(super) fn is_empty(&self) -> bool {
        self.sink.is_empty() && self.letters.is_empty()
    }

    pub(super) fn append(&mut self, mut later: Tokens) {
        self.sink.append(&mut later.sink);
        self.letters.append(&mut later.letters);
    }

    pub(super) fn of_checkpoint(checkpoint: &Checkpoint) -> Self {
        Self {
            sink: recover::tokens_of(checkpoint, Participant::Sink),
            letters: recover::tokens_of(checkpoint, Participant::Letters),
        }
    }

    pub(super) fn into_checkpoint(self) -> Vec<ParticipantTokens> {
        [(Participant::Sink, self.sink), (Participant::Letters, self.letters)]
            .into_iter()
            .filter(|(_, tokens)| !tokens.is_empty())
            .map(|(participant, tokens)| ParticipantTokens { participant: participant.name().to_owned(), tokens })
            .collect()
    }
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Created,
    Acquiring,
    OpeningSink,
    Withdrawing(Epoch),
    /// Forgetting checkpoints: `true` while going back on request (the sink is asked again afterwards).
    Rewinding(bool),
    /// Committing the latest checkpoint again: at whom, and whether it has to be made final afterwards.
    Recommitting(Participant, bool),
    Finalising,
    FinaliseUnknown,
    Aborting,
    OpeningSource,
    Running,
    Ended,
}

impl Machine {
    /// A machine that has done nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            phase: Phase::Created,
            generation: Generation::default(),
            latest: None,
            kept: Vec::new(),
            carried: Tokens::default(),
            failures: 0,
            open: Epoch(1),
            closing: None,
            due: None,
            acks: VecDeque::new(),
        }
    }

    /// Takes what happened, says what to do. Actions are independent of each other unless one waits for the event
    /// that answers the other; those of one call are begun in order.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        match event {
            Event::Failed(code) => self.halt(Halt::Failed(code)),
            Event::Due(cause) => self.on_due(cause),
            event if self.phase == Phase::Running => self.step_epoch(event),
            event => self.step_start(event),
        }
    }

    /// The last epoch whose checkpoint is published.
    pub fn published(&self) -> Epoch {
        self.latest.as_ref().map_or(Epoch::NONE, |c| c.epoch)
    }

    /// Our generation; zero before the store is acquired.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether the reader is open and no end has been decided.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Publishes that failed in a row.
    pub fn publish_failures(&self) -> u32 {
        self.failures
    }

    fn on_due(&mut self, cause: Cause) -> Vec<Action> {
        self.due = self.due.max(Some(cause));
        match self.phase {
            Phase::Running if self.closing.is_none() => self.next_barrier(false),
            // Nothing has been read: there is nothing to finish.
            Phase::OpeningSink | Phase::OpeningSource if cause == Cause::Final => self.finish(),
            _ => Vec::new(),
        }
    }

    pub(super) fn finish(&mut self) -> Vec<Action> {
        self.phase = Phase::Ended;
        vec![Action::Finish]
    }

    pub(super) fn halt(&mut self, why: Halt) -> Vec<Action> {
        self.phase = Phase::Ended;
        vec![Action::Halt(why)]
    }

    pub(super) fn unexpected(&mut self, event: &Event) -> Vec<Action> {
        let what = format!("{event:?} while {:?}, {:?}", self.phase, self.closing.as_ref().map(|c| &c.step));
        self.halt(Halt::Unexpected(what))
    }

    pub(super) fn commit(&self, participant: Participant, checkpoint: &Checkpoint, failures: u32) -> Action {
        Action::Commit {
            participant,
            request: CommitRequest {
                epoch: checkpoint.epoch,
                generation: self.generation,
                tokens: recover::tokens_of(checkpoint, participant),
                position: checkpoint.position.clone(),
                position_text: checkpoint.position_text.clone(),
            },
            failures,
        }
    }

    /// INV-1, INV-3: positions are acked in the order in which they became durable, `ack_lag` epochs late.
    pub(super) fn durable(&mut self, position: Position) -> Option<Action> {
        if fault::removed("ack-after-publish") {
            return None;
        }
        self.acks.push_back(position);
        if self.acks.len() > self.config.ack_lag { self.acks.pop_front().map(Action::Ack) } else { None }
    }
}
