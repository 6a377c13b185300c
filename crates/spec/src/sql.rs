//! SQL inside a pipeline file: who checks it, and what is wrong with it.

use crate::finding::{Finding, Findings};
use crate::spanned::SpannedText;
use dujiang_core::Code;
use dujiang_core::options::Place;
pub use dujiang_core::transform::Clause;
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
