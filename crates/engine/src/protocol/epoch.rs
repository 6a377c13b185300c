//! One epoch from its barrier to its commit, while the next one is open.

use super::closing::{Closing, Step};
use super::machine::{Machine, Tokens};
use super::recover;
use super::{Action, Cause, Event, Halt, Mark, Participant, SHAPES};
use dujiang_core::checkpoint::{Checkpoint, ParticipantTokens, Standing, Token};
use dujiang_core::sink::SinkClass;
use dujiang_core::{Code, Epoch, fault};

impl Machine {
    pub(super) fn step_epoch(&mut self, event: Event) -> Vec<Action> {
        let Some(closing) = self.closing.as_mut() else {
            return self.unexpected(&event);
        };
        match (&mut closing.step, event) {
            (Step::Barrier, Event::BarrierPassed { epoch, mark, any }) if epoch == self.open => {
                self.passed(epoch, mark, any)
            }
            (Step::Preparing(of, _, lanes), Event::Prepared { epoch, lane, tokens })
                if *of == epoch && lanes.get(lane).is_some_and(Option::is_none) =>
            {
                lanes[lane] = Some(tokens);
                self.lanes_prepared()
            }
            (Step::PreparingLetters(epoch, mark, sink), Event::LettersPrepared(letters)) => {
                let (epoch, mark, sink) = (*epoch, mark.clone(), std::mem::take(sink));
                self.publish(epoch, &mark, Tokens { sink, letters })
            }
            (Step::Publishing(checkpoint), Event::Published) => {
                let checkpoint = checkpoint.clone();
                self.published_now(checkpoint)
            }
            (Step::Publishing(checkpoint), Event::PublishFailed(code)) => {
                let checkpoint = checkpoint.clone();
                self.publish_failed(&checkpoint, code)
            }
            (Step::Publishing(checkpoint), Event::PublishUnknown) => {
                let checkpoint = checkpoint.clone();
                self.advance(Step::PublishUnknown(checkpoint), vec![Action::ReadBack])
            }
            (Step::PublishUnknown(checkpoint), Event::ReadBack(found)) => {
                let checkpoint = checkpoint.clone();
                self.publish_read_back(checkpoint, found)
            }
            (Step::Committing(at, _), Event::Committed(by)) if *at == by => self.committed(by),
            (Step::Committing(at, failures), Event::CommitFailed(by)) if *at == by => {
                *failures += 1;
                let failures = *failures;
                vec![self.commit(by, &self.latest_checkpoint(), failures)]
            }
            (Step::Finalising, Event::Published) => self.finalised_now(),
            (Step::Finalising, Event::PublishFailed(code)) => self.finalise_failed(code),
            (Step::Finalising, Event::PublishUnknown) => self.advance(Step::FinaliseUnknown, vec![Action::ReadBack]),
            (Step::FinaliseUnknown, Event::ReadBack(found)) => self.finalise_found(found),
            (Step::ApplyingSchema, Event::SchemaApplied) => {
                let mut actions = self.end_epoch();
                actions.insert(0, Action::Resume);
                actions
            }
            // A saboteur run commits before it publishes; the answer comes out of turn.
            (_, Event::Committed(_) | Event::CommitFailed(_)) if fault::removed("commit-after-publish") => Vec::new(),
            (_, event) => self.unexpected(&event),
        }
    }

    /// Asks the reader for a barrier if one is due.
    pub(super) fn next_barrier(&mut self, after_pause: bool) -> Vec<Action> {
        let Some(cause) = self.due.take() else {
            return Vec::new();
        };
        self.closing = Some(Closing { cause, step: Step::Barrier });
        vec![Action::Barrier { epoch: self.open, cause, after_pause }]
    }

    fn advance(&mut self, step: Step, actions: Vec<Action>) -> Vec<Action> {
        self.closing.as_mut().expect("invariant: an epoch is closing").step = step;
        actions
    }

    fn latest_checkpoint(&self) -> Checkpoint {
        self.latest.clone().expect("invariant: a checkpoint has been published")
    }

    fn passed(&mut self, epoch: Epoch, mark: Mark, any: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        if fault::removed("ack-after-publish") {
            actions.push(Action::Ack(mark.position.clone()));
        }
        if any {
            self.open = epoch.next();
            let lanes = vec![None; self.config.lanes];
            self.advance(Step::Preparing(epoch, mark, lanes), Vec::new());
            return actions;
        }
        let moved = self.latest.as_ref().is_none_or(|latest| latest.position != mark.position);
        if moved || !self.carried.is_empty() {
            self.open = epoch.next();
            actions.extend(self.publish(epoch, &mark, Tokens::default()));
        } else {
            actions.extend(self.after_commit());
        }
        actions
    }

    fn lanes_prepared(&mut self) -> Vec<Action> {
        let Some(Closing { step: Step::Preparing(epoch, mark, lanes), .. }) = &self.closing else {
            return Vec::new();
        };
        if lanes.iter().any(Option::is_none) {
            return Vec::new();
        }
        let sink = lanes.iter().flatten().flatten().cloned().collect();
        let (epoch, mark) = (*epoch, mark.clone());
        self.advance(Step::PreparingLetters(epoch, mark, sink), vec![Action::PrepareLetters(epoch)])
    }

    fn publish(&mut self, epoch: Epoch, mark: &Mark, fresh: Tokens) -> Vec<Action> {
        let mut tokens = std::mem::take(&mut self.carried);
        tokens.append(fresh);
        let candidate = self.config.class == SinkClass::Transactional && !tokens.sink.is_empty();
        let mut tokens_and_shapes = tokens.into_checkpoint();
        if !mark.shapes.is_empty() {
            let tokens = vec![Token(mark.shapes.clone())];
            tokens_and_shapes.push(ParticipantTokens { participant: SHAPES.to_owned(), tokens });
        }
        let checkpoint = Checkpoint {
            epoch,
            generation: self.generation,
            position: mark.position.clone(),
            position_text: mark.text.clone(),
            tokens: tokens_and_shapes,
            sink_before: self.latest.as_ref().map_or(Epoch::NONE, recover::sink_after),
            standing: if candidate { Standing::Candidate } else { Standing::Final },
            written_micros: 0,
        };
        let mut actions = Vec::new();
        if fault::removed("commit-after-publish") {
            actions.push(self.commit(Participant::Sink, &checkpoint, 0));
        }
        let expected = (self.generation, self.published());
        actions.push(Action::Publish { expected, checkpoint: checkpoint.clone(), after_pause: false });
        self.advance(Step::Publishing(checkpoint), actions)
    }

    fn published_now(&mut self, checkpoint: Checkpoint) -> Vec<Action> {
        self.failures = 0;
        self.latest = Some(checkpoint);
        self.commit_or(Participant::Sink)
    }

    /// INV-2: only what a published checkpoint names is made visible. Commits at the participant if it has staged
    /// anything, otherwise goes on to what follows it.
    fn commit_or(&mut self, at: Participant) -> Vec<Action> {
        let latest = self.latest_checkpoint();
        if recover::tokens_of(&latest, at).is_empty() {
            return self.committed(at);
        }
        let action = self.commit(at, &latest, 0);
        self.advance(Step::Committing(at, 0), vec![action])
    }

    fn committed(&mut self, by: Participant) -> Vec<Action> {
        match by {
            Participant::Sink => self.commit_or(Participant::Letters),
            Participant::Letters if self.latest_checkpoint().standing == Standing::Candidate => self.finalise(false),
            Participant::Letters => self.durable_now(),
        }
    }

    fn finalise(&mut self, after_pause: bool) -> Vec<Action> {
        let latest = self.latest_checkpoint();
        let expected = (self.generation, latest.epoch);
        let checkpoint = Checkpoint { standing: Standing::Final, ..latest };
        self.advance(Step::Finalising, vec![Action::Publish { expected, checkpoint, after_pause }])
    }

    fn finalised_now(&mut self) -> Vec<Action> {
        self.failures = 0;
        if let Some(latest) = &mut self.latest {
            latest.standing = Standing::Final;
        }
        self.durable_now()
    }

    fn finalise_failed(&mut self, code: Code) -> Vec<Action> {
        self.failures += 1;
        if self.failures >= self.config.max_publish_failures {
            return self.halt(Halt::PublishFailures(self.failures, code));
        }
        self.finalise(true)
    }

    fn finalise_found(&mut self, found: Option<Checkpoint>) -> Vec<Action> {
        match found {
            Some(found) if found.epoch != self.published() => self.halt(Halt::Fenced(found.epoch)),
            Some(found) if found.standing == Standing::Final => self.finalised_now(),
            _ => self.finalise_failed(Code::CheckpointUnknown),
        }
    }

    /// INV-12: an unknown outcome is looked up, never taken for a failure.
    fn publish_read_back(&mut self, ours: Checkpoint, found: Option<Checkpoint>) -> Vec<Action> {
        let stands = found.as_ref().map_or(Epoch::NONE, |c| c.epoch);
        let by_us = found.as_ref().is_none_or(|c| c.generation <= self.generation);
        if stands == ours.epoch && found.is_some_and(|c| c.generation == self.generation) {
            return self.published_now(ours);
        }
        if stands == self.published() && by_us {
            return self.publish_failed(&ours, Code::CheckpointUnknown);
        }
        self.halt(Halt::Fenced(stands))
    }

    /// INV-3: what is staged and not named by a checkpoint is carried, in order, into the next one.
    fn publish_failed(&mut self, checkpoint: &Checkpoint, code: Code) -> Vec<Action> {
        self.failures += 1;
        if self.failures >= self.config.max_publish_failures {
            return self.halt(Halt::PublishFailures(self.failures, code));
        }
        if !fault::removed("carry-tokens") {
            self.carried = Tokens::of_checkpoint(checkpoint);
        }
        let cause = self.closing.take().expect("invariant: an epoch is closing").cause;
        if cause == Cause::Due {
            return self.next_barrier(false);
        }
        // The reader waits for this epoch: try again with the next one.
        self.due = self.due.max(Some(cause));
        self.next_barrier(true)
    }

    /// INV-1: data and the record that names it are durable; only now the source hears of it.
    fn durable_now(&mut self) -> Vec<Action> {
        let position = self.latest_checkpoint().position;
        let mut actions: Vec<Action> = self.durable(position).into_iter().collect();
        actions.extend(self.after_commit());
        actions
    }

    fn after_commit(&mut self) -> Vec<Action> {
        let cause = self.closing.as_ref().expect("invariant: an epoch is closing").cause;
        match cause {
            Cause::Final => self.finish(),
            // A restart meets the change again, because the position lies before it.
            Cause::Schema if self.due == Some(Cause::Final) => self.finish(),
            Cause::Schema => self.advance(Step::ApplyingSchema, vec![Action::ApplySchema]),
            Cause::Due => self.end_epoch(),
        }
    }

    fn end_epoch(&mut self) -> Vec<Action> {
        self.closing = None;
        self.next_barrier(false)
    }
}
