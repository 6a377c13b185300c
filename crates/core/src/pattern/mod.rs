//! Which tables are meant: the dialect's two pattern engines.
//!
//! [`Selectors`] stand in `source.tables`, `tables.exclude` and `transform[].source-table`; [`Route`] in
//! `route[].source-table`. They look alike and differ:
//!
//! | | selectors | routes |
//! |---|---|---|
//! | matched against | each part of a table's name by itself | the whole name, `database.table` |
//! | letters | ASCII case is ignored | case counts |
//! | a comma | separates entries; `\,` alternatives of one part | separates alternatives, everywhere |
//! | a bare dot | separates parts | is a dot of the name |
//! | `\.` | the expression's "any character" | the expression's "any character" |
//! | groups | only group | are captured for the sink's name: `$1` |
//!
//! Both read Java's regular expressions ([`java`]). No pattern takes unbounded time: most run in time linear in the
//! name, and those with look-around or back-references stop with `PatternTooCostly` after a fixed number of steps.

mod java;
mod router;
mod selectors;

pub use router::{Route, RouteMistake, RoutePart};
pub use selectors::{Selector, Selectors};

use crate::codes::Code;
use crate::error::{Error, Result};
use fancy_regex::{Captures, Regex, RegexBuilder};

/// Steps back that one match may take.
const MAX_STEPS: usize = 100_000;
/// Bytes that one compiled expression may take.
const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Bytes of one expression as written.
const MAX_WRITTEN_BYTES: usize = 8 << 10;

/// An expression for a whole name.
#[derive(Debug, Clone)]
struct Whole {
    matcher: Matcher,
    written: String,
}

#[derive(Debug, Clone)]
enum Matcher {
    /// Nearly every rule names one table: a thousandth of an expression's cost.
    Literal {
        text: String,
        fold: bool,
    },
    Expression(Regex),
}

/// A match, with what its groups have captured.
enum Found<'n> {
    Literal,
    Groups(Captures<'n>),
}

impl Found<'_> {
    /// The text of a group; empty when it took no part in the match.
    fn group(&self, number: usize) -> &str {
        match self {
            Found::Literal => "",
            Found::Groups(captures) => captures.get(number).map_or("", |found| found.as_str()),
        }
    }
}

/// What an expression without any operator means.
fn literal(expression: &str) -> Option<String> {
    let mut text = String::with_capacity(expression.len());
    let mut chars = expression.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next() == Some('.') => text.push('.'),
            c if c.is_ascii_alphanumeric() || c == '_' || c == '-' => text.push(c),
            _ => return None,
        }
    }
    Some(text)
}

impl Whole {
    /// Compiles a Java expression; `fold` ignores the case of ASCII letters.
    fn compile(expression: &str, fold: bool) -> std::result::Result<Self, String> {
        if expression.len() > MAX_WRITTEN_BYTES {
            return Err(format!("the expression is longer than {MAX_WRITTEN_BYTES} bytes"));
        }
        let written = expression.to_owned();
        if let Some(text) = literal(expression) {
            return Ok(Self { matcher: Matcher::Literal { text, fold }, written });
        }
        let translated = java::translate(expression, fold)?;
        let regex = RegexBuilder::new(&format!(r"\A(?:{translated})\z"))
            .backtrack_limit(MAX_STEPS)
            .delegate_size_limit(MAX_COMPILED_BYTES)
            .build()
            .map_err(|error| reason(&error))?;
        Ok(Self { matcher: Matcher::Expression(regex), written })
    }

    fn matches(&self, name: &str) -> Result<bool> {
        match &self.matcher {
            Matcher::Literal { text, fold } => Ok(name == text || (*fold && name.eq_ignore_ascii_case(text))),
            Matcher::Expression(regex) => regex.is_match(name).map_err(|error| self.too_costly(name, error)),
        }
    }

    fn find<'n>(&self, name: &'n str) -> Result<Option<Found<'n>>> {
        match &self.matcher {
            Matcher::Literal { .. } => Ok(self.matches(name)?.then_some(Found::Literal)),
            Matcher::Expression(regex) => {
                let captures = regex.captures(name).map_err(|error| self.too_costly(name, error))?;
                Ok(captures.map(Found::Groups))
            }
        }
    }

    /// Groups of the expression, without the whole.
    fn groups(&self) -> usize {
        self.expression().map_or(0, |regex| regex.captures_len() - 1)
    }

    fn expression(&self) -> Option<&Regex> {
        match &self.matcher {
            Matcher::Literal { .. } => None,
            Matcher::Expression(regex) => Some(regex),
        }
    }

    fn too_costly(&self, name: &str, error: fancy_regex::Error) -> Error {
        Error::new(Code::PatternTooCostly, format!("the pattern `{}` takes too many steps on `{name}`", self.written))
            .fact("steps", format!("more than {MAX_STEPS}"))
            .help("write it without repetitions inside repetitions, look-around or back-references")
            .with_source(error)
    }
}

/// The last line of what the library says, without its drawing of the expression.
fn reason(error: &fancy_regex::Error) -> String {
    let text = error.to_string();
    if text.contains("size limit") || text.contains("exceeds") {
        return "the expression becomes too large; use smaller repetition counts".to_owned();
    }
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(&text);
    let line = line.trim().trim_start_matches("error: ");
    line.strip_prefix("Parsing error at position").map_or_else(
        || line.to_owned(),
        |rest| rest.split_once(": ").map_or_else(|| rest.trim().to_owned(), |(_, why)| lower_first(why)),
    )
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Splits at a separator that no backslash escapes; the backslashes stay.
fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if c == separator && !escaped {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&text[start..]);
    parts
}
