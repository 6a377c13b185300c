//! Just enough of Rust's lexical grammar to look at code without its comments and strings.

use std::ops::Range;

/// One Rust file, seen as code.
pub struct Source {
    /// The text with comments and the insides of literals blanked; the same length and the same lines.
    pub code: String,
    /// Byte ranges of items under `#[cfg(test)]`.
    pub tests: Vec<Range<usize>>,
}

impl Source {
    /// Blanks a file and finds its test items.
    pub fn new(text: &str) -> Self {
        let code = blank(text);
        let tests = test_items(&code);
        Self { code, tests }
    }

    /// Whether a byte lies in a test item.
    pub fn in_tests(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    /// The line of a byte, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.code.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
    }

    /// Every place of a piece of code; one that begins or ends inside a longer name does not count.
    pub fn find<'a>(&'a self, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
        let bytes = self.code.as_bytes();
        let starts_word = needle.bytes().next().is_some_and(is_word);
        let ends_word = needle.bytes().last().is_some_and(is_word);
        self.code.match_indices(needle).map(|(at, _)| at).filter(move |&at| {
            let before = at.checked_sub(1).is_some_and(|i| is_word(bytes[i]));
            let after = bytes.get(at + needle.len()).copied().is_some_and(is_word);
            !(starts_word && before || ends_word && after)
        })
    }
}

/// Whether a byte can be part of a name.
pub fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// The byte after the bracket that closes the one at `open`.
pub fn after_matching(code: &[u8], open: usize) -> usize {
    let (up, down) = match code[open] {
        b'{' => (b'{', b'}'),
        b'(' => (b'(', b')'),
        _ => (b'[', b']'),
    };
    let mut depth = 0usize;
    for (at, &byte) in code.iter().enumerate().skip(open) {
        if byte == up {
            depth += 1;
        } else if byte == down {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    code.len()
}

fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            out.push(bytes[at]);
            at += 1;
        } else {
            let kept = |b: &u8| if *b == b'\n' { b'\n' } else { b' ' };
            out.extend(bytes[at..end].iter().map(kept));
            at = end;
        }
    }
    String::from_utf8(out).expect("invariant: whole characters are blanked or kept")
}

/// The end of the comment or literal that starts at `at`; `at` itself when none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment(rest);
    }
    if rest[0] == b'"' {
        return at + string(rest);
    }
    if rest[0] == b'\'' {
        return at + character(rest);
    }
    let inside_word = at > 0 && is_word(bytes[at - 1]);
    if !inside_word && let Some(length) = raw_string(rest) {
        return at + length;
    }
    at
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0usize, 0);
    while i < rest.len() {
        if rest[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if rest[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut i = 1;
    while i < rest.len() {
        match rest[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|b| *b == b'\'').map(|p| p + 4);
        return close.unwrap_or(rest.len());
    }
    let width = match rest.get(1) {
        Some(b) if *b >= 0xf0 => 4,
        Some(b) if *b >= 0xe0 => 3,
        Some(b) if *b >= 0xc0 => 2,
        _ => 1,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

/// `r"..."`, `r#"..."#` and the same after `b` or `c`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = match rest {
        [b'b' | b'c', b'r', ..] => 2,
        [b'r', ..] => 1,
        _ => return None,
    };
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return None;
    }
    let close = [vec![b'"'], vec![b'#'; hashes]].concat();
    let body = prefix + hashes + 1;
    let end = rest[body..].windows(close.len()).position(|w| w == close);
    Some(end.map_or(rest.len(), |p| body + p + close.len()))
}

fn test_items(code: &str) -> Vec<Range<usize>> {
    let bytes = code.as_bytes();
    let marks = ["#[cfg(test)]", "#[cfg(all(test"];
    let mut items = Vec::new();
    for start in marks.iter().flat_map(|mark| code.match_indices(mark)).map(|(at, _)| at) {
        let opening = bytes[start..].iter().position(|b| *b == b'[').map_or(start, |p| start + p);
        let mut at = after_matching(bytes, opening);
        while at < bytes.len() && !matches!(bytes[at], b'{' | b';') {
            at = if bytes[at] == b'[' || bytes[at] == b'(' { after_matching(bytes, at) } else { at + 1 };
        }
        let end = if bytes.get(at) == Some(&b'{') { after_matching(bytes, at) } else { at };
        items.push(start..end);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_in_place() {
        let text = "let a = \"x.unwrap()\"; // todo!()\nlet b = r#\"\"unwrap()\"#; /* a /* b */ c */ let c = 'x';";
        let source = Source::new(text);
        assert_eq!(source.code.len(), text.len());
        assert!(!source.code.contains("unwrap") && !source.code.contains("todo"));
        assert!(source.code.contains("let b =") && source.code.contains("let c ="));
    }

    #[test]
    fn lifetimes_are_not_characters() {
        let source = Source::new("fn f<'a>(x: &'a str) -> char { '\\'' } fn g() { let q = '\"'; h() }");
        assert!(source.code.contains("&'a str") && source.code.contains("h()"));
    }

    #[test]
    fn test_items_are_found_and_names_are_whole() {
        let source = Source::new("fn a() { b.unwrap() }\n#[cfg(test)]\nmod tests {\n fn c() { d.unwrap() }\n}\n");
        let places: Vec<bool> = source.find(".unwrap()").map(|at| source.in_tests(at)).collect();
        assert_eq!(places, [false, true]);
        assert_eq!(Source::new("my_todo!(); todo!()").find("todo!").count(), 1);
    }
}
