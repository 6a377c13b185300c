//! SQL inside a pipeline file: who checks it, and how its mistakes are shown.

use crate::diagnostic::Diagnostic;
use crate::finding::{Finding, Findings};
use crate::pipeline::Pipeline;
use crate::rules::TransformRule;
use crate::source_text::SourceText;
use crate::spanned::SpannedText;
use dujiang_core::Code;
use dujiang_core::options::Place;
use std::ops::Range;

/// Checks the SQL of transforms as far as that is possible without knowing the tables: syntax, functions, numbers of
/// arguments, names and keys of the output.
pub trait SqlChecker {
    /// Every mistake of a rule, in any order. Must take bounded time and memory, whatever the text.
    fn check(&self, rule: &SqlRule<'_>) -> Vec<SqlMistake>;

    /// Whether expressions can work in that time zone.
    ///
    /// # Errors
    /// A phrase that completes "`local-time-zone` ...".
    fn check_time_zone(&self, _name: &str) -> Result<(), String> {
        Ok(())
    }
}

/// The SQL of one rule.
#[derive(Debug, Clone, Copy)]
pub struct SqlRule<'a> {
    /// The select list, if one is given; `\*` has become `*`.
    pub projection: Option<&'a str>,
    /// The condition, if one is given.
    pub filter: Option<&'a str>,
    /// Columns of the output that become its key.
    pub primary_keys: &'a [String],
    /// Columns of the output by which the sink partitions.
    pub partition_keys: &'a [String],
}

/// A part of a rule that holds SQL or names of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clause {
    /// `projection`.
    Projection,
    /// `filter`.
    Filter,
    /// One entry of `primary-keys`, counted from 0.
    PrimaryKey(usize),
    /// One entry of `partition-keys`, counted from 0.
    PartitionKey(usize),
}

/// A mistake in the SQL of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlMistake {
    /// Where: which text.
    pub clause: Clause,
    /// Where: bytes of that text; for a key, bytes of the entry.
    pub span: Range<usize>,
    /// The code.
    pub code: Code,
    /// One sentence without a full stop.
    pub message: String,
    /// What is at the place, in a few words beside the caret.
    pub label: Option<String>,
    /// Facts.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

/// Longest SQL text, in bytes.
pub(crate) const MAX_SQL_BYTES: usize = 64 << 10;
/// Deepest nesting of brackets.
pub(crate) const MAX_SQL_DEPTH: usize = 200;

/// Refuses texts that are not worth parsing. Yields whether the text may be checked further.
pub(crate) fn check_size(key: &str, sql: &SpannedText, findings: &mut Findings) -> bool {
    let text = sql.text();
    if text.len() > MAX_SQL_BYTES {
        let message = format!("`{key}` is longer than {MAX_SQL_BYTES} bytes");
        findings.push(Finding::error(Code::SqlTooLarge, message, sql.place().clone()));
        return false;
    }
    match too_deep(text) {
        Some(at) => {
            let message = format!("`{key}` nests brackets deeper than {MAX_SQL_DEPTH} levels");
            // The text is known to be short, but a file may hold many: the place as a whole will do.
            let place = if at < MAX_SQL_BYTES { sql.place().clone() } else { Place::Block(None) };
            findings.push(Finding::error(Code::SqlTooLarge, message, place));
            false
        }
        None => true,
    }
}

/// Where brackets outside of quotes first nest too deeply.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_SQL_DEPTH {
            return Some(at);
        }
    }
    None
}

/// Turns what the checker found into findings with their place in the file.
pub(crate) fn finding(mistake: SqlMistake, rule: &TransformRule, file: &SourceText) -> Finding {
    let mut finding = Finding::error(mistake.code, mistake.message, place(mistake.clause, &mistake.span, rule, file));
    finding.label = mistake.label;
    finding.notes = mistake.notes;
    finding.help = mistake.help;
    if !matches!(finding.place, Place::File(_))
        && let Some(part) = text(mistake.clause, rule).and_then(|text| text.get(mistake.span.clone()))
        && !part.is_empty()
    {
        finding.notes.push(format!("at `{}`", part.chars().take(60).collect::<String>()));
    }
    finding
}

/// The text of a clause that mistakes count in.
fn text(clause: Clause, rule: &TransformRule) -> Option<&str> {
    match clause {
        Clause::Projection => rule.projection.as_ref().map(SpannedText::text),
        Clause::Filter => rule.filter.as_ref().map(SpannedText::text),
        Clause::PrimaryKey(index) => rule.primary_keys.get(index).map(|key| key.name.as_str()),
        Clause::PartitionKey(index) => rule.partition_keys.get(index).map(|key| key.name.as_str()),
    }
}

/// Where a part of a clause was written.
fn place(clause: Clause, span: &Range<usize>, rule: &TransformRule, file: &SourceText) -> Place {
    let found = match clause {
        Clause::Projection => rule.projection.as_ref().map(|text| text.place_of(file, span.clone())),
        Clause::Filter => rule.filter.as_ref().map(|text| text.place_of(file, span.clone())),
        Clause::PrimaryKey(index) => rule.primary_keys.get(index).map(|key| key.place.clone()),
        Clause::PartitionKey(index) => rule.partition_keys.get(index).map(|key| key.place.clone()),
    };
    found.unwrap_or_else(|| rule.place.clone())
}

impl Diagnostic {
    /// A mistake in the SQL of a pipeline's rule that was found later, against the real tables; `rule` is its index.
    pub fn from_sql(mistake: SqlMistake, rule: usize, pipeline: &Pipeline) -> Self {
        let Some(rule) = pipeline.transforms.get(rule) else {
            return Self::about_file(mistake.code, mistake.message, pipeline.file.name());
        };
        let mut findings = Findings::default();
        findings.push(finding(mistake, rule, &pipeline.file));
        let mut all = findings.into_diagnostics(&pipeline.file);
        all.pop().expect("invariant: one finding makes one diagnostic")
    }
}
