//! Which checkpoint a start goes on from, decided from what store and sink hold.

use super::{Halt, Participant};
use dujiang_core::Epoch;
use dujiang_core::checkpoint::{Checkpoint, Standing, Token};
use dujiang_core::sink::{SinkClass, SinkState};

/// What a start does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is there: begin.
    Fresh,
    /// Go on from the latest checkpoint.
    Resume {
        /// Whether the sink has to commit it (again).
        commit_sink: bool,
        /// Whether it is a candidate that the sink has committed.
        finalise: bool,
    },
    /// The candidate on top never became real: go back to the record below it.
    GoBack,
    /// Neither.
    Halt(Halt),
}

/// The tokens of one participant in a checkpoint.
pub(super) fn tokens_of(checkpoint: &Checkpoint, participant: Participant) -> Vec<Token> {
    let named = |t: &&dujiang_core::checkpoint::ParticipantTokens| t.participant == participant.name();
    checkpoint.tokens.iter().find(named).map(|t| t.tokens.clone()).unwrap_or_default()
}

/// The epoch a sink holds once `checkpoint` is committed.
pub(super) fn sink_after(checkpoint: &Checkpoint) -> Epoch {
    if tokens_of(checkpoint, Participant::Sink).is_empty() { checkpoint.sink_before } else { checkpoint.epoch }
}

/// Decides; `checkpoints` newest first.
pub(super) fn decide(class: SinkClass, checkpoints: &[Checkpoint], sink: &SinkState) -> Decision {
    let held = match sink {
        SinkState::Empty => Some(Epoch::NONE),
        SinkState::Holds { epoch, .. } => Some(*epoch),
        SinkState::Unknown => None,
    };
    let Some(latest) = checkpoints.first() else {
        return match held {
            None | Some(Epoch::NONE) => Decision::Fresh,
            Some(_) if class == SinkClass::AtLeastOnce => Decision::Fresh,
            Some(epoch) => Decision::Halt(Halt::StateLost(epoch)),
        };
    };
    match class {
        SinkClass::AtLeastOnce => Decision::Resume { commit_sink: true, finalise: false },
        SinkClass::Staged => staged(latest, held),
        SinkClass::Transactional => transactional(latest, held),
    }
}

fn staged(latest: &Checkpoint, held: Option<Epoch>) -> Decision {
    match held {
        Some(epoch) if epoch != sink_after(latest) && epoch != latest.sink_before => mismatch(epoch, latest),
        _ => Decision::Resume { commit_sink: true, finalise: false },
    }
}

fn transactional(latest: &Checkpoint, held: Option<Epoch>) -> Decision {
    let after = sink_after(latest);
    match (latest.standing, held) {
        (Standing::Final, None) => Decision::Resume { commit_sink: false, finalise: false },
        (Standing::Final, Some(epoch)) if epoch == after => Decision::Resume { commit_sink: false, finalise: false },
        (Standing::Candidate, Some(epoch)) if epoch == after => Decision::Resume { commit_sink: false, finalise: true },
        (Standing::Candidate, Some(epoch)) if epoch == latest.sink_before => Decision::GoBack,
        (Standing::Candidate, None) => Decision::Halt(Halt::Untold(latest.epoch)),
        (_, Some(epoch)) => mismatch(epoch, latest),
    }
}

fn mismatch(sink: Epoch, latest: &Checkpoint) -> Decision {
    Decision::Halt(Halt::Mismatch { sink, checkpoint: latest.epoch })
}
