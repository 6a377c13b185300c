//! A pipeline as the loops that the engine runs: one from source to sink; with a log one that captures into it and one
//! for each sink, each with its own epochs and checkpoints in a folder of its own.

use crate::clock::SystemClock;
use crate::{state_dir, wiring};
use dujiang_core::connector::Log;
use dujiang_core::sink::Sink;
use dujiang_core::source::Source;
use dujiang_core::{Code, Epoch, Error, Result};
use dujiang_engine::{Job, Settings, Until};
use dujiang_spec::{ErrorPolicy, Guarantee, Loaded, Pipeline};
use std::path::PathBuf;
use std::sync::Arc;

/// How a loaded pipeline is to be run.
pub struct Plan {
    /// The pipeline's own folder.
    pub state_dir: PathBuf,
    /// Ends by itself there.
    pub until: Option<Until>,
    /// Goes back to this checkpoint first.
    pub restore_from: Option<Epoch>,
}

/// One loop, ready to be run.
pub struct Loop {
    /// What log lines call it: the pipeline's name, with a log followed by the loop's.
    pub label: String,
    /// The pipeline as it is for this loop.
    pub pipeline: Pipeline,
    /// The work, or why there is none.
    pub job: Result<Job>,
}

/// The loops of a pipeline.
///
/// # Errors
/// `Usage` when going back is asked of several sinks at once.
pub fn of(mut loaded: Loaded, plan: Plan) -> Result<Vec<Loop>> {
    let Some(log) = loaded.log.take() else {
        let (label, pipeline) = (loaded.pipeline.name.clone(), loaded.pipeline.clone());
        return Ok(vec![Loop { label, pipeline, job: only(loaded, plan) }]);
    };
    if plan.restore_from.is_some() && !loaded.more.is_empty() {
        let error = Error::new(Code::Usage, "`--restore-from` is about one sink, but this log has several");
        return Err(error.help("give each sink a pipeline of its own, with `source.type: log`, to go back with one"));
    }
    let Loaded { pipeline, source, sink, more, .. } = loaded;
    let several = !more.is_empty();
    let share = 2 + more.len();
    let readers: Vec<Box<dyn Source>> = std::iter::once(&pipeline)
        .chain(more.iter().map(|(pipeline, _)| pipeline))
        .map(|pipeline| (log.deliver)(pipeline.sink_name()))
        .collect();
    let mut loops = vec![capture(&pipeline, source, log, &plan, share)];
    let sinks = std::iter::once((pipeline, sink)).chain(more);
    loops.extend(sinks.zip(readers).map(|((pipeline, sink), source)| {
        let name = pipeline.sink_name().to_owned();
        let identity = identity(&pipeline, several);
        let state_dir = plan.state_dir.join(state_dir::delivery(&name));
        let parts = Parts { identity, source, sink, state_dir, restore_from: plan.restore_from };
        let job = deliver(&pipeline, parts, plan.until, share);
        Loop { label: format!("{}/{name}", pipeline.name), pipeline, job }
    }));
    Ok(loops)
}

/// The loop of a pipeline without a log.
///
/// # Errors
/// `BadValue` for a setting that nobody knows.
pub fn only(loaded: Loaded, plan: Plan) -> Result<Job> {
    let Loaded { pipeline, source, sink, .. } = loaded;
    let Plan { state_dir, until, restore_from } = plan;
    let parts = Parts { identity: pipeline.name.clone(), source, sink, state_dir, restore_from };
    deliver(&pipeline, parts, until, 1)
}

/// Whose output a sink holds; of several sinks of one log each is written by a name of its own.
pub fn identity(pipeline: &Pipeline, several: bool) -> String {
    if several { format!("{}/{}", pipeline.name, pipeline.sink_name()) } else { pipeline.name.clone() }
}

struct Parts {
    identity: String,
    source: Box<dyn Source>,
    sink: Box<dyn Sink>,
    state_dir: PathBuf,
    restore_from: Option<Epoch>,
}

fn deliver(pipeline: &Pipeline, parts: Parts, until: Option<Until>, share: usize) -> Result<Job> {
    let settings = Settings { ack_lag: parts.source.ack_lag(), ..settings(pipeline, share) };
    Ok(Job {
        name: parts.identity,
        source: parts.source,
        transforms: wiring::transforms(pipeline, Arc::new(SystemClock))?,
        routing: Some(wiring::routing(pipeline)?),
        sink: parts.sink,
        settings,
        state_dir: parts.state_dir,
        until,
        restore_from: parts.restore_from,
        clock: Arc::new(SystemClock),
    })
}

/// Into the log everything goes as it is: what transforms and routes make of it is the deliveries' business.
fn capture(pipeline: &Pipeline, source: Box<dyn Source>, log: Log, plan: &Plan, share: usize) -> Loop {
    let settings = Settings {
        parallelism: 1,
        checkpoint_interval: log.commit_interval,
        epoch_bytes: log.epoch_bytes,
        guarantee: None,
        ack_lag: source.ack_lag(),
        ..settings(pipeline, share)
    };
    let job = Job {
        name: pipeline.name.clone(),
        source,
        transforms: Vec::new(),
        routing: None,
        sink: log.sink,
        settings,
        state_dir: plan.state_dir.join(state_dir::CAPTURE),
        until: plan.until,
        restore_from: None,
        clock: Arc::new(SystemClock),
    };
    Loop { label: format!("{}/capture", pipeline.name), pipeline: pipeline.clone(), job: Ok(job) }
}

/// The loops of a pipeline share its memory evenly.
fn settings(pipeline: &Pipeline, share: usize) -> Settings {
    let given = &pipeline.settings;
    Settings {
        parallelism: usize::from(given.parallelism.get()),
        checkpoint_interval: given.checkpoint_interval,
        checkpoint_keep: usize::from(given.checkpoint_keep.get()),
        memory_limit: usize::try_from(given.memory_limit.0).unwrap_or(usize::MAX) / share,
        guarantee: pipeline.guarantee.map(|guarantee| match guarantee {
            Guarantee::ExactlyOnce => dujiang_engine::Guarantee::ExactlyOnce,
            Guarantee::AtLeastOnce => dujiang_engine::Guarantee::AtLeastOnce,
        }),
        error_policy: match given.error_policy {
            ErrorPolicy::Halt => dujiang_engine::ErrorPolicy::Halt,
            ErrorPolicy::DeadLetter => dujiang_engine::ErrorPolicy::DeadLetter,
        },
        retry_attempts: given.retry_attempts,
        retry_pause: given.retry_pause,
        max_checkpoint_failures: given.checkpoint_max_failures.get(),
        ..Settings::default()
    }
}
