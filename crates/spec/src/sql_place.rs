//! Errors in SQL that were found against the real tables, shown inside the SQL of the file.
//!
//! Transforms know no pipeline file; their errors say in facts which rule, which text of it and which place in that text.

use crate::diagnostic::Diagnostic;
use crate::finding::Findings;
use crate::pipeline::Pipeline;
use crate::rules::{self, TransformRule};
use crate::spanned::SpannedText;
use crate::sql::SqlMistake;
use dujiang_core::Error;
use dujiang_core::options::Place;
use std::ops::Range;

/// Facts that the snippet shows.
const SHOWN: &[&str] = &["sql", "at", "in", "rule"];

impl Diagnostic {
    /// A mistake in the SQL of a pipeline's rule that was found later, against the real tables; `rule` is its index.
    pub fn from_sql(mistake: SqlMistake, rule: usize, pipeline: &Pipeline) -> Self {
        let Some(rule) = pipeline.transforms.get(rule) else {
            return Self::about_file(mistake.code, mistake.message, pipeline.file.name());
        };
        let mut findings = Findings::default();
        findings.push(rules::finding(mistake, rule, &pipeline.file));
        let mut all = findings.into_diagnostics(&pipeline.file);
        all.pop().expect("invariant: one finding makes one diagnostic")
    }

    /// Points at the place that an error of a transform names, if it does; yields whether it did.
    pub(crate) fn point_into_sql(&mut self, error: &Error, pipeline: &Pipeline) -> bool {
        let Some(place) = place(error, pipeline) else { return false };
        self.place = place;
        self.notes.retain(|note| !SHOWN.iter().any(|name| note.starts_with(&format!("{name}: "))));
        true
    }
}

fn place(error: &Error, pipeline: &Pipeline) -> Option<Place> {
    let fact = |wanted: &str| error.facts().iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let rule: usize = fact("rule")?.parse().ok()?;
    let rule = pipeline.transforms.get(rule.checked_sub(1)?)?;
    let clause = fact("in")?;
    let keys = match clause {
        "primary-keys" => rule.primary_keys.as_slice(),
        "partition-keys" => rule.partition_keys.as_slice(),
        _ => &[],
    };
    if let Some(key) = fact("sql").and_then(|name| keys.iter().find(|key| key.name == name)) {
        return Some(key.place.clone());
    }
    let text = text(rule, clause)?;
    let (line, column) = fact("at")?.strip_prefix("line ")?.split_once(", column ")?;
    let span = word_at(text.text(), line.parse().ok()?, column.parse().ok()?)?;
    Some(text.place_of(&pipeline.file, span))
}

fn text<'a>(rule: &'a TransformRule, clause: &str) -> Option<&'a SpannedText> {
    match clause {
        "projection" => rule.projection.as_ref(),
        "filter" => rule.filter.as_ref(),
        _ => None,
    }
}

/// The word that begins at a line and column, both from 1; at least one character.
fn word_at(text: &str, line: usize, column: usize) -> Option<Range<usize>> {
    let line_start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(line_start..)?;
    let start = line_start + rest.char_indices().nth(column.checked_sub(1)?).map_or(rest.len(), |(at, _)| at);
    let rest = &text[start..];
    let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let first = rest.chars().next().map_or(0, char::len_utf8);
    Some(start..start + word.max(first))
}

#[cfg(test)]
mod tests {
    use super::word_at;

    #[test]
    fn words_are_found_by_line_and_column() {
        let text = "id,\n  UPPER(名字) AS n";
        let at = |line, column| word_at(text, line, column).map(|span| &text[span]);
        assert_eq!((at(1, 1), at(2, 3), at(2, 9)), (Some("id"), Some("UPPER"), Some("名字")));
        assert_eq!((at(1, 3), at(2, 99), at(0, 1)), (Some(","), Some(""), None));
    }
}
