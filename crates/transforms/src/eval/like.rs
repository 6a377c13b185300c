//! LIKE: `%` stands for any text, `_` for one character. A backslash takes the meaning from the next character unless
//! ESCAPE names another character, or none.

use super::{Args, Kernel, bad_argument, boolean_rows, some};
use dujiang_core::Error;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Exactly(char),
}

pub(crate) fn like() -> Kernel {
    Arc::new(|args: &Args| {
        let (texts, patterns) = (args.texts(0), args.texts(1));
        let escapes = (args.len() > 2).then(|| args.texts(2));
        let mut compiled: Option<(String, Option<String>, Vec<Part>)> = None;
        boolean_rows(args.rows, |row| {
            let (text, pattern) = (some!(texts.get(row)), some!(patterns.get(row)));
            let escape = match &escapes {
                Some(escapes) => Some(some!(escapes.get(row))),
                None => None,
            };
            if compiled.as_ref().is_none_or(|(p, e, _)| p != pattern || e.as_deref() != escape) {
                let parts = compile(pattern, escape.unwrap_or("\\"))?;
                compiled = Some((pattern.to_owned(), escape.map(str::to_owned), parts));
            }
            let parts = compiled.as_ref().map_or(&[][..], |(_, _, parts)| parts);
            Ok(Some(matches(text, parts)))
        })
    })
}

fn compile(pattern: &str, escape: &str) -> Result<Vec<Part>, Error> {
    let mut letters = escape.chars();
    let escape = letters.next();
    if letters.next().is_some() {
        return Err(bad_argument("the escape of LIKE must be one character, or none"));
    }
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(if Some(c) == escape {
            let Some(next) = chars.next() else {
                return Err(bad_argument("a LIKE pattern must not end with its escape character"));
            };
            Part::Exactly(next)
        } else if c == '%' {
            Part::Any
        } else if c == '_' {
            Part::One
        } else {
            Part::Exactly(c)
        });
    }
    Ok(parts)
}

/// Goes back to the last `%` only, so that no pattern takes more than text times pattern steps.
fn matches(text: &str, parts: &[Part]) -> bool {
    let mut rest = text.chars();
    let mut at = 0;
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        if parts.get(at) == Some(&Part::Any) {
            at += 1;
            if at == parts.len() {
                return true;
            }
            retry = Some((at, rest.clone()));
            continue;
        }
        let before = rest.clone();
        match (parts.get(at), rest.next()) {
            (None, None) => return true,
            (Some(Part::One), Some(_)) => at += 1,
            (Some(Part::Exactly(wanted)), Some(found)) if *wanted == found => at += 1,
            (Some(_), None) if before.as_str().is_empty() => return false,
            _ => {
                let Some((after, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                at = *after;
                rest = from.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(text: &str, pattern: &str) -> bool {
        matches(text, &compile(pattern, "\\").unwrap())
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (text, pattern) in [
            ("", ""),
            ("", "%"),
            ("abc", "abc"),
            ("abc", "a%"),
            ("abc", "%c"),
            ("abc", "a_c"),
            ("abc", "%b%"),
            ("aab", "%ab"),
            ("a%", "a\\%"),
            ("日本語", "日_語"),
            ("abab", "%ab"),
            ("mississippi", "m%iss%ip%i"),
        ] {
            assert!(like(text, pattern), "{text} LIKE {pattern}");
        }
        for (text, pattern) in [
            ("a", ""),
            ("", "_"),
            ("abc", "ab"),
            ("abc", "b%"),
            ("ab", "a\\%"),
            ("abc", "____"),
            ("日本", "_"),
            ("mississippi", "m%x%i"),
        ] {
            assert!(!like(text, pattern), "{text} LIKE {pattern}");
        }
    }
}
