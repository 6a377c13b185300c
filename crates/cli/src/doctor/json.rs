//! For programs.

use super::{Doctored, Mark, Told};
use dujiang_spec::Diagnostic;
use serde_json::{Value, json};

/// The envelope of every check-like command.
pub fn envelope(all: &[Doctored]) -> Value {
    let count = |mark| all.iter().map(|doctored| doctored.count(mark)).sum::<usize>();
    json!({
        "command": "doctor",
        "ok": count(Mark::Finding) == 0,
        "summary": Mark::ALL.into_iter().map(|mark| (mark.word().to_owned(), count(mark).into())).collect::<serde_json::Map<_, Value>>(),
        "result": all.iter().map(pipeline).collect::<Vec<_>>(),
    })
}

fn pipeline(doctored: &Doctored) -> Value {
    let parts = doctored.parts.iter().map(
        |part| json!({ "role": part.role, "name": part.name, "of": part.of, "checks": part.checks.iter().map(check).collect::<Vec<_>>() }),
    );
    json!({ "pipeline": doctored.pipeline, "file": doctored.file, "parts": parts.collect::<Vec<_>>() })
}

fn check(told: &Told) -> Value {
    let remedy =
        |remedy: &dujiang_core::error::Remedy| json!({ "statement": remedy.statement, "caution": remedy.caution });
    json!({
        "name": told.name,
        "outcome": told.mark.word(),
        "text": told.text,
        "finding": told.finding.as_ref().map(Diagnostic::to_json),
        "statements": told.remedies.iter().map(remedy).collect::<Vec<_>>(),
    })
}
