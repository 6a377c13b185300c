//! Regular expressions: the REGEXP functions in Java's syntax, as the dialect has them, and SIMILAR TO.
//!
//! Most run in linear time; those with look-around or back-references are given up after a bounded number of steps.

use super::{Args, Evaluated, Kernel, bad_argument, boolean_rows, primitive_rows, some, text_rows};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_schema::DataType;
use dujiang_core::Error;
use fancy_regex::{Captures, Regex, RegexBuilder};
use std::sync::Arc;

/// Bytes one compiled expression may take.
const LARGEST_PROGRAM: usize = 4 << 20;
/// Steps of an expression that needs to go back.
const MOST_STEPS: usize = 1_000_000;

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .delegate_size_limit(LARGEST_PROGRAM)
        .delegate_dfa_size_limit(LARGEST_PROGRAM)
        .backtrack_limit(MOST_STEPS)
        .build()
        .map_err(|e| e.to_string())
}

/// Whether a pattern can be compiled.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    compile(pattern).map(|_| ())
}

/// The last pattern stays compiled: it is nearly always a constant.
#[derive(Default)]
struct Compiled(Option<(String, Regex)>);

impl Compiled {
    fn get(&mut self, pattern: &str) -> Result<&Regex, Error> {
        if self.0.as_ref().is_none_or(|(have, _)| have != pattern) {
            let regex =
                compile(pattern).map_err(|why| bad_argument(format!("'{pattern}' is no regular expression: {why}")))?;
            self.0 = Some((pattern.to_owned(), regex));
        }
        Ok(&self.0.as_ref().expect("invariant: it was just compiled").1)
    }
}

fn given_up(error: fancy_regex::Error) -> Error {
    bad_argument("a regular expression took too many steps on this value").with_source(error)
}

fn first<'t>(regex: &Regex, text: &'t str) -> Result<Option<Captures<'t>>, Error> {
    regex.captures(text).map_err(given_up)
}

/// REGEXP_REPLACE(text, pattern, replacement): every match; `$1` and `\1` stand for groups.
pub(crate) fn replace() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, patterns, news) = (args.texts(0), args.texts(1), args.texts(2));
        let mut compiled = Compiled::default();
        text_rows(args.rows, |row, out| {
            let (text, pattern, new) = (some!(texts.get(row)), some!(patterns.get(row)), some!(news.get(row)));
            let regex = compiled.get(pattern)?;
            let mut after = 0;
            for captures in regex.captures_iter(text) {
                let captures = captures.map_err(given_up)?;
                let whole = captures.get(0).expect("invariant: a match has a whole");
                out.push_str(&text[after..whole.start()]);
                expand(new, &captures, out)?;
                after = whole.end();
            }
            out.push_str(&text[after..]);
            Ok(Some(()))
        })
    })
}

fn expand(template: &str, captures: &Captures<'_>, out: &mut String) -> Result<(), Error> {
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        let group = chars.peek().and_then(|d| d.to_digit(10));
        match (c, group) {
            ('$' | '\\', Some(group)) => {
                chars.next();
                if group as usize >= captures.len() {
                    return Err(bad_argument(format!("the regular expression has no group {group}")));
                }
                out.push_str(captures.get(group as usize).map_or("", |m| m.as_str()));
            }
            ('\\', None) => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    Ok(())
}

fn group_of(args: &Args, row: usize, usual: i64) -> Result<Option<usize>, Error> {
    if args.len() < 3 {
        return Ok(Some(usual as usize));
    }
    let group = some!(args.longs(2).get(row));
    usize::try_from(group).map(Some).map_err(|_| bad_argument("a group is counted from 0"))
}

/// REGEXP_EXTRACT(text, pattern [, group]): NULL when nothing matches.
pub(crate) fn extract() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, patterns) = (args.texts(0), args.texts(1));
        let mut compiled = Compiled::default();
        text_rows(args.rows, |row, out| {
            let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
            let group = some!(group_of(args, row, 0)?);
            let captures = some!(first(compiled.get(pattern)?, text)?);
            check_group(group, &captures)?;
            out.push_str(some!(captures.get(group)).as_str());
            Ok(Some(()))
        })
    })
}

fn check_group(group: usize, captures: &Captures<'_>) -> Result<(), Error> {
    if group < captures.len() {
        Ok(())
    } else {
        Err(bad_argument(format!("the regular expression has no group {group}")))
    }
}

/// REGEXP_EXTRACT_ALL(text, pattern [, group]): group 1 by itself, as the dialect has it.
pub(crate) fn extract_all() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, patterns) = (args.texts(0), args.texts(1));
        let mut compiled = Compiled::default();
        let field = Arc::new(crate::types::Type::Text.field("item", true));
        let mut list = ListBuilder::new(StringBuilder::new()).with_field(field);
        for row in 0..args.rows {
            let (Some(text), Some(pattern), Some(group)) = (texts.get(row), patterns.get(row), group_of(args, row, 1)?)
            else {
                list.append_null();
                continue;
            };
            for captures in compiled.get(pattern)?.captures_iter(text) {
                let captures = captures.map_err(given_up)?;
                check_group(group, &captures)?;
                list.values().append_option(captures.get(group).map(|m| m.as_str()));
            }
            list.append(true);
        }
        Ok(Arc::new(list.finish()))
    })
}

/// REGEXP_COUNT(text, pattern)
pub(crate) fn count() -> Kernel {
    Arc::new(|args: &Args| {
        numbers(args, |regex, text| {
            let mut count = 0;
            for found in regex.find_iter(text) {
                found.map_err(given_up)?;
                count += 1;
            }
            Ok(count)
        })
    })
}

/// REGEXP_INSTR(text, pattern): the place of the first match, 0 when there is none.
pub(crate) fn position() -> Kernel {
    Arc::new(|args: &Args| {
        numbers(args, |regex, text| {
            let found = regex.find(text).map_err(given_up)?;
            Ok(found.map_or(0, |m| text[..m.start()].chars().count() as i32 + 1))
        })
    })
}

fn numbers(args: &Args, of: impl Fn(&Regex, &str) -> Result<i32, Error>) -> Evaluated {
    let (texts, patterns) = (args.texts(0), args.texts(1));
    let mut compiled = Compiled::default();
    primitive_rows::<Int32Type>(args.rows, DataType::Int32, |row| {
        let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
        of(compiled.get(pattern)?, text).map(Some)
    })
}

/// text SIMILAR TO pattern [ESCAPE escape]
pub(crate) fn similar() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, patterns) = (args.texts(0), args.texts(1));
        let escapes = (args.len() > 2).then(|| args.texts(2));
        let mut compiled = Compiled::default();
        let mut known: Option<(String, String, String)> = None;
        boolean_rows(args.rows, |row| {
            let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
            let escape = match &escapes {
                Some(escapes) => some!(escapes.get(row)),
                None => "\\",
            };
            if known.as_ref().is_none_or(|(p, e, _)| p != pattern || e != escape) {
                known = Some((pattern.to_owned(), escape.to_owned(), translated(pattern, escape)?));
            }
            let regex = known.as_ref().map_or("", |(_, _, regex)| regex);
            compiled.get(regex)?.is_match(text).map(Some).map_err(given_up)
        })
    })
}

/// SQL's own regular expressions: `%`, `_`, `|`, `*`, `+`, `?`, `{m,n}`, brackets and parentheses.
fn translated(pattern: &str, escape: &str) -> Result<String, Error> {
    let escape = escape.chars().next();
    let mut out = String::from(r"^(?s:");
    let mut in_brackets = false;
    let mut chars = pattern.chars();
    let literal = |c: char, out: &mut String| {
        if !c.is_alphanumeric() && c.is_ascii() && !c.is_whitespace() && c != '_' {
            out.push('\\');
        }
        out.push(c);
    };
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let Some(next) = chars.next() else {
                return Err(bad_argument("a pattern must not end with its escape character"));
            };
            literal(next, &mut out);
        } else if in_brackets {
            in_brackets = c != ']';
            match c {
                '\\' | '[' | '&' | '~' => literal(c, &mut out),
                _ => out.push(c),
            }
        } else {
            match c {
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '(' => out.push_str("(?:"),
                '|' | '*' | '+' | '?' | '{' | '}' | ')' => out.push(c),
                '[' => {
                    in_brackets = true;
                    out.push(c);
                }
                _ => literal(c, &mut out),
            }
        }
    }
    out.push_str(r")\z");
    Ok(out)
}
