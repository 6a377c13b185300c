//! From nothing to an open source: acquire, compare, commit what is published, discard the rest.

use super::machine::{Machine, Phase, Tokens};
use super::recover::{self, Decision};
use super::{Action, Cause, Event, Halt, Participant};
use dujiang_core::Epoch;
use dujiang_core::checkpoint::{Checkpoint, Generation, Standing};
use dujiang_core::sink::SinkState;

impl Machine {
    pub(super) fn step_start(&mut self, event: Event) -> Vec<Action> {
        match (self.phase.clone(), event) {
            (Phase::Created, Event::Start) => self.go(Phase::Acquiring, Action::Acquire),
            (Phase::Acquiring, Event::Acquired { generation, checkpoints }) => self.acquired(generation, checkpoints),
            (Phase::OpeningSink, Event::SinkOpened(state)) => self.sink_opened(&state),
            (Phase::Withdrawing(epoch), Event::Withdrawn) => self.go(Phase::Rewinding(true), Action::Rewind(epoch)),
            (Phase::Rewinding(on_request), Event::Rewound) => self.rewound(on_request),
            (Phase::Recommitting(at, finalise), Event::Committed(by)) if at == by => self.recommitted(at, finalise),
            (Phase::Recommitting(at, _), Event::CommitFailed(by)) if at == by => self.recommit_failed(at),
            (Phase::Finalising, Event::Published) => self.finalised(),
            (Phase::Finalising, Event::PublishFailed(code)) => self.halt(Halt::Failed(code)),
            (Phase::Finalising, Event::PublishUnknown) => self.go(Phase::FinaliseUnknown, Action::ReadBack),
            (Phase::FinaliseUnknown, Event::ReadBack(found)) => self.finalise_read_back(found.as_ref()),
            (Phase::Aborting, Event::Aborted) => self.open_source(),
            (Phase::OpeningSource, Event::SourceOpened) => self.source_opened(),
            (_, event) => self.unexpected(&event),
        }
    }

    fn go(&mut self, phase: Phase, action: Action) -> Vec<Action> {
        self.phase = phase;
        vec![action]
    }

    fn acquired(&mut self, generation: Generation, checkpoints: Vec<Checkpoint>) -> Vec<Action> {
        self.generation = generation;
        self.kept = checkpoints;
        if let Some(epoch) = self.config.restore_from
            && !self.kept.iter().any(|c| c.epoch == epoch)
        {
            let kept = self.kept.iter().map(|checkpoint| checkpoint.epoch).collect();
            return self.halt(Halt::NoCheckpoint(epoch, kept));
        }
        // A source may keep its sink waiting for ever: a log that nobody has begun yet, or that is gone. Nothing has been read,
        // and what is published becomes visible with the next start.
        if self.due == Some(Cause::Final) {
            return self.finish();
        }
        self.go(Phase::OpeningSink, Action::OpenSink)
    }

    fn sink_opened(&mut self, state: &SinkState) -> Vec<Action> {
        if let Some(epoch) = self.config.restore_from.take() {
            // Idempotent, so also right after a crash half-way. Participants first, the store last: until it forgets, a new start finds the sink behind and says so.
            self.kept.retain(|c| c.epoch <= epoch);
            return self.go(Phase::Withdrawing(epoch), Action::Withdraw(epoch));
        }
        match recover::decide(self.config.class, &self.kept, state) {
            Decision::Fresh => self.abort(),
            Decision::Resume { commit_sink, finalise } => self.resume(commit_sink, finalise),
            Decision::GoBack => {
                self.kept.remove(0);
                let to = self.kept.first().map_or(Epoch::NONE, |c| c.epoch);
                self.go(Phase::Rewinding(false), Action::Rewind(to))
            }
            Decision::Halt(why) => self.halt(why),
        }
    }

    fn rewound(&mut self, on_request: bool) -> Vec<Action> {
        if on_request {
            return self.go(Phase::OpeningSink, Action::OpenSink);
        }
        self.latest = self.kept.first().cloned();
        self.open = self.published().next();
        self.abort()
    }

    fn resume(&mut self, commit_sink: bool, finalise: bool) -> Vec<Action> {
        let latest = self.kept[0].clone();
        let has_tokens = !recover::tokens_of(&latest, Participant::Sink).is_empty();
        self.latest = Some(latest.clone());
        self.open = latest.epoch.next();
        if commit_sink && has_tokens {
            let action = self.commit(Participant::Sink, &latest, 0);
            return self.go(Phase::Recommitting(Participant::Sink, finalise), action);
        }
        self.recommitted(Participant::Sink, finalise)
    }

    fn recommitted(&mut self, at: Participant, finalise: bool) -> Vec<Action> {
        self.failures = 0;
        let latest = self.latest.clone().expect("invariant: a checkpoint is being committed again");
        if at == Participant::Sink && !recover::tokens_of(&latest, Participant::Letters).is_empty() {
            let action = self.commit(Participant::Letters, &latest, 0);
            return self.go(Phase::Recommitting(Participant::Letters, finalise), action);
        }
        if !finalise {
            return self.abort();
        }
        let expected = (self.generation, latest.epoch);
        let checkpoint = Checkpoint { standing: Standing::Final, generation: self.generation, ..latest };
        self.go(Phase::Finalising, Action::Publish { expected, checkpoint, after_pause: false })
    }

    fn recommit_failed(&mut self, at: Participant) -> Vec<Action> {
        self.failures += 1;
        let latest = self.latest.clone().expect("invariant: a checkpoint is being committed again");
        vec![self.commit(at, &latest, self.failures)]
    }

    fn finalise_read_back(&mut self, found: Option<&Checkpoint>) -> Vec<Action> {
        let stands = found.is_some_and(|c| c.epoch == self.published() && c.standing == Standing::Final);
        if stands { self.finalised() } else { self.recommitted(Participant::Letters, true) }
    }

    fn finalised(&mut self) -> Vec<Action> {
        if let Some(latest) = &mut self.latest {
            latest.standing = Standing::Final;
        }
        self.abort()
    }

    fn abort(&mut self) -> Vec<Action> {
        self.kept.clear();
        let keep = self.latest.as_ref().map(Tokens::of_checkpoint).unwrap_or_default();
        self.go(Phase::Aborting, Action::AbortExcept { sink: keep.sink, letters: keep.letters })
    }

    fn open_source(&mut self) -> Vec<Action> {
        if self.due == Some(Cause::Final) {
            return self.finish();
        }
        let from = self.latest.as_ref().map(|c| c.position.clone());
        self.go(Phase::OpeningSource, Action::OpenSource(from))
    }

    fn source_opened(&mut self) -> Vec<Action> {
        self.phase = Phase::Running;
        self.next_barrier(false)
    }
}
