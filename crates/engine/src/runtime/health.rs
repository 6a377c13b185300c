//! Faults and recoveries: each becomes a log event with cause, position and duration, and shows on the board (R4.6).

use super::status::{PipelineState, StatusBoard};
use dujiang_core::Error;
use dujiang_core::clock::Clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What a fault is about; one of each kind can be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    /// The connection to the source.
    Source,
    /// The log that the source keeps for this pipeline.
    Kept,
    /// Writing to the sink, by lane.
    Write(usize),
    /// Rows accepted by a writer that cannot be written, by lane.
    Flush(usize),
    /// Publishing checkpoints.
    Publish,
    /// Making epochs visible.
    Commit,
    /// Changing a table's shape at the sink.
    Schema,
}

impl Concern {
    fn name(self) -> &'static str {
        match self {
            Concern::Source => "source",
            Concern::Kept => "log of the source",
            Concern::Write(_) => "write",
            Concern::Flush(_) => "flush",
            Concern::Publish => "publish",
            Concern::Commit => "commit",
            Concern::Schema => "schema",
        }
    }

    /// Whether a run that is asked to end waits for it: what is read no more needs no source.
    fn holds_up_a_stop(self) -> bool {
        !matches!(self, Concern::Source | Concern::Kept)
    }
}

struct OpenFault {
    since: Instant,
    times: u32,
    why: String,
    next_step: &'static str,
}

struct State {
    base: PipelineState,
    position: String,
    open: BTreeMap<Concern, OpenFault>,
    /// The run has been asked to end.
    stopping: bool,
}

/// Keeps the pipeline's state honest: degraded as long as one fault is open.
#[derive(Clone)]
pub(crate) struct Health {
    board: Arc<StatusBoard>,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

impl Health {
    pub(crate) fn new(board: Arc<StatusBoard>, clock: Arc<dyn Clock>) -> Self {
        let state =
            State { base: PipelineState::Created, position: String::new(), open: BTreeMap::new(), stopping: false };
        Self { board, clock, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn board(&self) -> &StatusBoard {
        &self.board
    }

    pub(crate) fn now_micros(&self) -> i64 {
        self.clock.now_micros()
    }

    /// The pipeline's own state, shown unless a fault is open.
    pub(crate) fn enter(&self, base: PipelineState, why: &str) {
        let mut state = self.lock();
        if state.base != base {
            tracing::info!(state = base.name(), why, "the pipeline is {}", base.name());
        }
        state.base = base;
        self.show(&state, why);
    }

    /// The place in the source's log that faults are reported with.
    pub(crate) fn at_position(&self, text: &str) {
        text.clone_into(&mut self.lock().position);
    }

    /// Something failed while the run was ending for another reason.
    pub(crate) fn also_failed(&self, error: &Error) {
        let position = self.lock().position.clone();
        tracing::warn!(what = "end", cause = %error, position, next_step = "the run is ending anyway", "fault");
    }

    /// The pipeline ends with an error.
    pub(crate) fn failed(&self, error: &Error) {
        let state = self.lock();
        // Not at level error: whoever called the run is handed the error and tells it in full.
        tracing::info!(code = error.code().number(), cause = %error, position = state.position, "the pipeline failed");
        let next = error.help_text().unwrap_or("mend the cause and start the pipeline again");
        self.board.enter(&*self.clock, PipelineState::Failed, &error.to_string(), next);
    }

    /// The run has been asked to end; whatever keeps it from ending is told from now on.
    pub(crate) fn stopping(&self) {
        let mut state = self.lock();
        state.stopping = true;
        tracing::info!("asked to stop: the open epoch is finished first");
        if let Some((concern, fault)) = state.open.iter().find(|(concern, _)| concern.holds_up_a_stop()) {
            tell_what_a_stop_waits_for(*concern, fault);
        }
    }

    /// Something failed and will be tried again.
    pub(crate) fn fault(&self, concern: Concern, cause: &str, next_step: &'static str) {
        let mut state = self.lock();
        let position = state.position.clone();
        let fault = state.open.entry(concern).or_insert_with(|| OpenFault {
            since: Instant::now(),
            times: 0,
            why: String::new(),
            next_step,
        });
        fault.times += 1;
        cause.clone_into(&mut fault.why);
        tracing::warn!(what = concern.name(), times = fault.times, cause, position, next_step, "fault");
        let fault = &state.open[&concern];
        if state.stopping && concern.holds_up_a_stop() {
            tell_what_a_stop_waits_for(concern, fault);
        }
        self.show(&state, "");
    }

    /// It works again, if it did not.
    pub(crate) fn recovered(&self, concern: Concern) {
        let mut state = self.lock();
        let Some(fault) = state.open.remove(&concern) else {
            return;
        };
        tracing::info!(
            what = concern.name(),
            times = fault.times,
            cause = fault.why,
            position = state.position,
            duration_ms = fault.since.elapsed().as_millis() as u64,
            "recovered"
        );
        self.show(&state, "");
    }

    /// What is said of a concern each time it is looked at: why it is not well, told once for each reason, or that it is.
    pub(crate) fn stands(&self, concern: Concern, why: Option<&str>, next_step: &'static str) {
        let told = self.lock().open.get(&concern).map(|fault| fault.why.clone());
        match why {
            Some(why) if told.as_deref() == Some(why) => {}
            Some(why) => self.fault(concern, why, next_step),
            None => self.recovered(concern),
        }
    }

    /// The last try failed: what follows is decided by the error policy.
    pub(crate) fn gave_up(&self, concern: Concern, error: &Error) {
        let mut state = self.lock();
        state.open.remove(&concern);
        tracing::error!(what = concern.name(), cause = %error, position = state.position, "gave up");
        self.show(&state, "");
    }

    fn show(&self, state: &State, why: &str) {
        match state.open.values().next() {
            Some(fault) => self.board.enter(&*self.clock, PipelineState::Degraded, &fault.why, fault.next_step),
            None => self.board.enter(&*self.clock, state.base, why, ""),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell_what_a_stop_waits_for(concern: Concern, fault: &OpenFault) {
    tracing::warn!(
        what = concern.name(),
        cause = fault.why,
        next_step = fault.next_step,
        "the stop waits for this to pass; a second signal quits at once and loses nothing: the next start goes on from \
         the last checkpoint"
    );
}
