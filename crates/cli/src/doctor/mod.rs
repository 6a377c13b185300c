//! What stands in the way of a run, or will: the source, the sink and this machine say it, each check as data.

pub mod json;
mod machine;
pub mod script;
mod states;
pub mod text;

use crate::clock::SystemClock;
use dujiang_core::error::Remedy;
use dujiang_core::examine::{Check, Examination, Outcome, Visit};
use dujiang_core::{Code, Error, Result};
use dujiang_engine::state::inspect::Progress;
use dujiang_spec::{Diagnostic, Loaded, Pipeline};
use states::States;
use std::path::Path;
use std::sync::Arc;

/// Everything that was looked at for one pipeline. Holds no secret of its file.
pub struct Doctored {
    /// The pipeline's name.
    pub pipeline: String,
    /// The file it is in.
    pub file: String,
    /// Source, log, every sink, and this machine.
    pub parts: Vec<Part>,
}

/// One thing that was examined.
pub struct Part {
    /// `source`, `log`, `sink` or `machine`.
    pub role: &'static str,
    /// Of the sinks of a log: which one.
    pub name: Option<String>,
    /// Version and place.
    pub of: String,
    /// What was looked at.
    pub checks: Vec<Told>,
}

/// One check, ready to be shown.
pub struct Told {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub mark: Mark,
    /// What was found.
    pub text: String,
    /// What is to be mended, with its code and its place in the file.
    pub finding: Option<Diagnostic>,
    /// Statements that mend it.
    pub remedies: Vec<Remedy>,
}

impl Told {
    /// What to do besides running the statements, as `(word, sentence)`: `then` after them, `or` instead of them, or to
    /// `mend` it without any.
    pub fn besides(&self) -> Option<(&'static str, &str)> {
        let help = self.finding.as_ref()?.help.as_deref()?;
        let mut statements = self.remedies.iter().map(|remedy| remedy.statement.as_str());
        let rest = statements.next().and_then(|statement| help.strip_prefix("run ")?.strip_prefix(statement));
        let Some(mut rest) = rest.map(without_end) else { return Some(("mend", help)) };
        while let Some(after) = statements.next().and_then(|statement| rest.strip_prefix(statement)) {
            rest = without_end(after);
        }
        match rest.strip_prefix("or ") {
            _ if rest.is_empty() => None,
            Some(other) => Some(("or", other)),
            None => Some(("then", rest.strip_prefix("and ").unwrap_or(rest))),
        }
    }
}

fn without_end(text: &str) -> &str {
    text.trim_start_matches([';', ',', ' '])
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// In order.
    Ok,
    /// Works, could be better.
    Advice,
    /// To be mended.
    Finding,
    /// Not looked at.
    Unknown,
}

impl Mark {
    /// Every mark, in the order of the summary.
    pub const ALL: [Mark; 4] = [Mark::Ok, Mark::Advice, Mark::Finding, Mark::Unknown];

    /// Its name in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Mark::Ok => "ok",
            Mark::Advice => "advice",
            Mark::Finding => "finding",
            Mark::Unknown => "unknown",
        }
    }
}

impl Doctored {
    /// How many checks came out so.
    pub fn count(&self, mark: Mark) -> usize {
        self.parts.iter().flat_map(|part| &part.checks).filter(|check| check.mark == mark).count()
    }
}

/// Examines a pipeline; nothing is written anywhere.
///
/// # Errors
/// `Bug` when the system gives no threads.
pub fn examine(loaded: &Loaded, state_dir: &Path) -> Result<Doctored> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::new(Code::Bug, "the runtime could not be started").with_source(e))?;
    let States { capture, deliveries } = States::of(loaded, state_dir);
    let whole = &loaded.pipeline;
    let reads = capture.as_ref().or_else(|| deliveries.first().map(|delivery| &delivery.known));
    let mut visit = visit(&whole.name, reads);
    let mut source = runtime.block_on(loaded.source.examine(&visit));
    // One that says nothing of itself is called by its type.
    if source.of == "source" {
        source.of.clone_from(&whole.source.kind);
    }
    visit.expected_bytes = source.expected_bytes;
    // What comes out of a log keeps the lineage under which it was captured.
    let captured = source.lineage.clone().or_else(|| visit.lineage.clone());
    let mut parts = vec![part("source", None, source, whole)];
    if let Some(log) = &loaded.log {
        parts.push(part("log", None, runtime.block_on(log.sink.examine(&visit)), whole));
    }
    for delivery in &deliveries {
        let mut own = self::visit(&delivery.identity, Some(&delivery.known));
        own.lineage = own.lineage.and_then(|_| captured.clone());
        own.expected_bytes = visit.expected_bytes;
        let examination = runtime.block_on(delivery.sink.examine(&own));
        parts.push(part("sink", delivery.name.clone(), examination, delivery.pipeline));
    }
    let checkpoints = capture.into_iter().map(|known| ("capture checkpoint", None, known));
    let checkpoints = checkpoints.chain(deliveries.into_iter().map(|delivery| match delivery.name {
        Some(name) => ("delivery checkpoint", Some(name), delivery.known),
        None => ("checkpoint", None, delivery.known),
    }));
    parts.push(part("machine", None, machine::examine(state_dir, checkpoints), whole));
    parts.retain(|part| !part.checks.is_empty());
    Ok(Doctored { pipeline: whole.name.clone(), file: whole.file.name().to_owned(), parts })
}

fn visit(pipeline: &str, known: Option<&Result<Progress>>) -> Visit {
    let known = known.and_then(|known| known.as_ref().ok());
    Visit {
        pipeline: pipeline.to_owned(),
        clock: Arc::new(SystemClock),
        lineage: known.and_then(|known| known.lineage.clone()),
        position: known.and_then(|known| Some(known.checkpoint.as_ref()?.position.clone())),
        running: known.is_some_and(|known| known.running),
        expected_bytes: None,
    }
}

fn part(role: &'static str, name: Option<String>, examination: Examination, pipeline: &Pipeline) -> Part {
    let told = |check: Check| {
        let (mark, error) = match check.outcome {
            Outcome::Ok(text) => return plain(check.name, Mark::Ok, &text, pipeline),
            Outcome::Unknown(text) => return plain(check.name, Mark::Unknown, &text, pipeline),
            Outcome::Advice(error) => (Mark::Advice, error),
            Outcome::Finding(error) => (Mark::Finding, error),
        };
        let finding = Diagnostic::from_error(&error, pipeline);
        let text = finding.message.clone();
        Told { name: check.name, mark, text, finding: Some(finding), remedies: error.remedies().to_vec() }
    };
    let of = pipeline.without_secrets(&examination.of);
    Part { role, name, of, checks: examination.checks.into_iter().map(told).collect() }
}

fn plain(name: &'static str, mark: Mark, text: &str, pipeline: &Pipeline) -> Told {
    Told { name, mark, text: pipeline.without_secrets(text), finding: None, remedies: Vec::new() }
}
