//! One run of one pipeline in the foreground: engine, signals, progress, and the exit code.

use crate::console::Console;
use crate::loops::{self, Plan};
use crate::progress::{self, Progress};
use crate::{faults, logging, signals};
use dujiang_core::{Code, Error, Result};
use dujiang_engine::{End, Job, Outcome, StatusBoard, StopSignal, Stopper};
use dujiang_spec::{Diagnostic, Loaded, Pipeline};
use indicatif::MultiProgress;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// The part of a run that lies outside the engine, shared by `run` and `demo`.
pub struct Session {
    runtime: Runtime,
    stopper: Stopper,
    stop: StopSignal,
    bars: MultiProgress,
    console: Console,
}

impl Session {
    /// Starts logging, the runtime and the signal handlers.
    ///
    /// # Errors
    /// `Usage` for a log filter or a fault plan that makes no sense; `Bug` when the system gives no threads.
    pub fn start(console: &Console, pipeline: &str) -> Result<Self> {
        let bars = MultiProgress::new();
        logging::start(console, pipeline, bars.clone())?;
        faults::install_from_environment().map_err(|why| Error::new(Code::Usage, why))?;
        Self::with_runtime(console, pipeline, bars, &mut Builder::new_multi_thread())
    }

    /// Starts one of several pipelines of this process ([`Session::prepare_several`] comes first): with threads of its
    /// own, whose log lines name it.
    ///
    /// # Errors
    /// `Bug` when the system gives no threads.
    pub fn start_one_of(console: &Console, pipeline: &str) -> Result<Self> {
        let bars = MultiProgress::new();
        let log = logging::dispatch(console, pipeline, bars.clone())?;
        logging::on_this_thread(&log);
        let mut builder = Builder::new_multi_thread();
        builder.on_thread_start(move || logging::on_this_thread(&log));
        let console = Console { interactive: false, ..console.clone() };
        Self::with_runtime(&console, pipeline, bars, &mut builder)
    }

    /// What several pipelines of this process share.
    ///
    /// # Errors
    /// `Usage` for a log filter or a fault plan that makes no sense.
    pub fn prepare_several(console: &Console) -> Result<()> {
        logging::start(console, "", MultiProgress::new())?;
        faults::install_from_environment().map_err(|why| Error::new(Code::Usage, why))
    }

    fn with_runtime(console: &Console, pipeline: &str, bars: MultiProgress, builder: &mut Builder) -> Result<Self> {
        let cannot = |e: std::io::Error| Error::new(Code::Bug, "the runtime could not be started").with_source(e);
        let runtime = builder.enable_all().build().map_err(cannot)?;
        let (stopper, stop) = StopSignal::new();
        runtime.block_on(async { signals::listen(stopper.clone()) }).map_err(cannot)?;
        Ok(Self {
            runtime,
            stopper,
            stop,
            bars,
            console: Console { pipeline: Some(pipeline.to_owned()), ..console.clone() },
        })
    }

    /// For whoever starts things beside the pipeline.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Ends the run from within.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Fires when the run is asked to end.
    pub fn stop_signal(&self) -> StopSignal {
        self.stop.clone()
    }

    /// Runs a pipeline without a log to its end, shows how it goes, and returns the exit code.
    pub fn run(self, loaded: Loaded, plan: Plan) -> u8 {
        let pipeline = loaded.pipeline.clone();
        let job = loops::only(loaded, plan);
        self.run_loop(&pipeline, job)
    }

    /// Runs one loop of a pipeline to its end, shows how it goes, and returns the exit code.
    pub fn run_loop(self, pipeline: &Pipeline, job: Result<Job>) -> u8 {
        let board = StatusBoard::new();
        let job = match job {
            Ok(job) => job,
            Err(error) => return self.conclude(&Err(error), pipeline, &board),
        };
        let live = self.console.interactive.then(|| self.bars.clone());
        let outcome = self.runtime.block_on(async {
            let shown = Progress::new(board.clone(), live, self.stop.clone());
            let progress = tokio::spawn(shown.watch());
            let outcome = flatten(tokio::spawn(dujiang_engine::run(job, self.stop.clone(), board.clone())).await);
            progress.abort();
            let _ = progress.await;
            outcome
        });
        let _ = self.bars.clear();
        let code = self.conclude(&outcome, pipeline, &board);
        self.runtime.shutdown_timeout(Duration::from_millis(200));
        code
    }

    fn conclude(&self, outcome: &Result<Outcome>, pipeline: &Pipeline, board: &Arc<StatusBoard>) -> u8 {
        let status = board.status();
        match outcome {
            Ok(outcome) => {
                let why = match outcome.end {
                    End::Stopped => "stopped as asked",
                    End::Reached => "done",
                    End::SourceEnded => "the source has ended",
                };
                tracing::info!(
                    rows_out = status.rows_out.total(),
                    files = status.files,
                    bytes = status.bytes,
                    checkpoint = outcome.epoch.0,
                    "{why}: {}",
                    progress::summary(&status)
                );
                0
            }
            Err(error) => {
                self.console.report(&Diagnostic::from_error(error, pipeline));
                error.code().exit_code()
            }
        }
    }
}

/// A panic of the engine is our bug, not a trace on a user's terminal alone.
fn flatten(ended: std::result::Result<Result<Outcome>, tokio::task::JoinError>) -> Result<Outcome> {
    ended.unwrap_or_else(|error| {
        Err(Error::new(Code::Bug, "the pipeline broke off inside").with_source(error).help(
            "please report this with the log; nothing that was committed is lost, and a new run goes on from there",
        ))
    })
}
