//! The hops of a batch: read, transform, lanes, write, commit; one file each.
//!
//! ```text
//!             commands                            commands
//!   driver ------------> reader -> lanes -> writers    driver ------------> committer
//!      ^                   |                   |          ^                     |
//!      +---- reports ------+---- reports ------+          +------ reports ------+
//! ```
//! Every stage is one task that ends when its input ends or with one report of an error; the driver ends all others.

pub(crate) mod commit;
pub(crate) mod lanes;
pub(crate) mod ledger;
pub(crate) mod letters;
pub(crate) mod read;
pub(crate) mod transform;
pub(crate) mod write;

use crate::protocol::{Cause, Event, Mark};
use dujiang_core::checkpoint::Token;
use dujiang_core::dead_letter::DeadLetter;
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::Writer;
use dujiang_core::source::Reader;
use dujiang_core::{Epoch, Error};
use ledger::Ledger;

/// What a stage tells the driver.
pub(crate) enum Report {
    /// A result the protocol waits for.
    Event(Event),
    /// The source is open, and so are the sink's writers.
    Opened(Box<dyn Reader>, Vec<Box<dyn Writer>>),
    /// The reader has passed a barrier.
    BarrierPassed { epoch: Epoch, mark: Mark, any: bool, part: EpochPart },
    /// A lane has prepared its part.
    Prepared { epoch: Epoch, lane: usize, tokens: Vec<Token>, part: EpochPart },
    /// An epoch has reached its size limit.
    Large,
    /// The reader waits with a change of shape.
    SchemaChange(SchemaChange),
    /// The snapshot of every table is handed out.
    SnapshotDone,
    /// The stream has passed the position that was current at the start.
    CaughtUp,
    /// The reader has nothing more to give: the run ends.
    Ended(crate::runtime::job::End),
    /// A publish or a commit failed; the event says what the protocol makes of it.
    Setback(Event, Error),
    /// A stage cannot go on.
    Failed(Error),
}

/// What a stage contributes to the account of one epoch.
#[derive(Default)]
pub(crate) struct EpochPart {
    /// Images by table.
    pub(crate) ledger: Ledger,
    /// Records that failed.
    pub(crate) letters: Vec<DeadLetter>,
}

impl EpochPart {
    pub(crate) fn merge(&mut self, other: EpochPart) {
        self.ledger.merge(other.ledger);
        self.letters.extend(other.letters);
    }
}

/// What the driver asks of the reader.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadCommand {
    /// Pass a barrier; for causes other than due, wait afterwards.
    Barrier { epoch: Epoch, cause: Cause, after_pause: bool },
    /// Go on after a change of shape.
    Resume,
}
