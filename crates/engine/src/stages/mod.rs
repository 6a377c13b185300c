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
mod order;
pub(crate) mod read;
pub(crate) mod transform;
pub(crate) mod write;

use crate::protocol::{Cause, Event, Mark};
use dujiang_core::budget::{Budget, Held};
use dujiang_core::checkpoint::Token;
use dujiang_core::dead_letter::DeadLetter;
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::{Detached, Writer};
use dujiang_core::source::Reader;
use dujiang_core::{Code, Epoch, Error, Result};
use ledger::Ledger;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use tokio::task::JoinError;

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
    /// Counts them against the budget until they are durable.
    pub(crate) held: Vec<Held>,
}

impl EpochPart {
    pub(crate) fn merge(&mut self, other: EpochPart) {
        self.ledger.merge(other.ledger);
        self.letters.extend(other.letters);
        self.held.extend(other.held);
    }

    /// Counts the letters from the `from`-th on against the budget.
    pub(crate) fn hold_letters(&mut self, from: usize, budget: &Budget) {
        let bytes: usize = self.letters.get(from..).unwrap_or_default().iter().map(letters::memory).sum();
        if bytes > 0 {
            self.held.push(budget.hold(bytes));
        }
    }
}

/// The same work, in which a panic becomes an error with a name: for tasks whose end nobody watches.
pub(crate) async fn caught<T>(mut work: Detached<T>) -> Result<T> {
    std::future::poll_fn(|context| {
        // Nothing of the work is touched after a panic: it is dropped.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Poll::Ready(Err(Error::new(Code::Bug, "a stage of the pipeline broke")
                .fact("panic", text.unwrap_or_default())
                .help(REPORT)))
        })
    })
    .await
}

const REPORT: &str = "please report this with the log; nothing committed is lost, and a new run goes on from there";

/// The error of a stage that panicked.
pub(crate) fn broken(error: JoinError) -> Error {
    Error::new(Code::Bug, "a stage of the pipeline broke").help(REPORT).with_source(error)
}

/// What the driver asks of the reader.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadCommand {
    /// Pass a barrier; for causes other than due, wait afterwards.
    Barrier { epoch: Epoch, cause: Cause, after_pause: bool },
    /// Go on after a change of shape.
    Resume,
}
