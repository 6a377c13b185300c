//! Where each character of a value stands in the file.
//!
//! Quotes, escapes, folding and indentation move the characters of a value. Of white space they make more or less, but
//! every other character is written exactly once and in order, so the n-th character of the value that is no white
//! space is the n-th of those written.

use std::ops::Range;

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// `|` or `>`.
    Block,
}

/// Finds a part of a value: `written` is the scalar as it stands in the file, `value` what it means, and `part` bytes of
/// the value. The result counts bytes of `written`.
pub(crate) fn locate(written: &str, style: Style, value: &str, part: Range<usize>) -> Range<usize> {
    let marks = marks(written, style);
    let count = |text: &str| text.chars().filter(|c| !is_blank(*c)).count();
    if marks.len() != count(value) {
        // Not a form this module knows; the whole is never wrong.
        return 0..written.lines().next().map_or(0, str::len);
    }
    let (from, to) = (floor(value, part.start), floor(value, part.end.max(part.start)));
    let (before, through) = (count(&value[..from]), count(&value[..to]));
    let begins_blank = value[from..].chars().next().is_none_or(is_blank);
    let start = match marks.get(before) {
        Some(mark) if !begins_blank => mark.start,
        _ => before.checked_sub(1).and_then(|i| marks.get(i)).map_or(0, |mark| mark.end),
    };
    let end = through.checked_sub(1).and_then(|i| marks.get(i)).map_or(start, |mark| mark.end);
    start..end.max(start)
}

fn floor(text: &str, byte: usize) -> usize {
    crate::source_text::char_boundary(text, byte)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Where the characters that are no white space are written.
fn marks(written: &str, style: Style) -> Vec<Range<usize>> {
    let body = match style {
        // The parser's span of a block begins behind the line that holds `|` or `>`.
        Style::Plain | Style::Block => 0..written.len(),
        Style::SingleQuoted | Style::DoubleQuoted => 1.min(written.len())..written.len().saturating_sub(1).max(1),
    };
    let (mut marks, mut at) = (Vec::new(), body.start);
    while let Some(c) = written.get(at..body.end).and_then(|rest| rest.chars().next()) {
        let rest = &written[at..body.end];
        let (length, meant) = match (style, c) {
            (Style::DoubleQuoted, '\\') => escape(rest),
            (Style::SingleQuoted, '\'') if rest.starts_with("''") => (2, Some('\'')),
            _ => (c.len_utf8(), Some(c)),
        };
        if meant.is_some_and(|c| !is_blank(c)) {
            marks.push(at..at + length);
        }
        at += length;
    }
    marks
}

/// Length of an escape, and the character it stands for; none for a line that goes on.
fn escape(rest: &str) -> (usize, Option<char>) {
    let Some(kind) = rest[1..].chars().next() else { return (1, None) };
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        '\n' | '\r' => return (2, None),
        't' | 'n' | 'r' | ' ' | '\t' => return (2, Some(' ')),
        other => return (1 + other.len_utf8(), Some('x')),
    };
    let number = rest.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    (2 + digits, number.and_then(char::from_u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, style: Style, value: &str, part: &str, expected: &str) {
        let at = value.find(part).unwrap();
        assert_eq!(&written[locate(written, style, value, at..at + part.len())], expected);
    }

    #[test]
    fn parts_are_found_in_every_style() {
        check("id, upper(nme)", Style::Plain, "id, upper(nme)", "nme", "nme");
        check("id,\n    upper(nme)", Style::Plain, "id, upper(nme)", "upper(nme)", "upper(nme)");
        check("'it''s = nme'", Style::SingleQuoted, "it's = nme", "nme", "nme");
        check("'it''s = nme'", Style::SingleQuoted, "it's = nme", "'s", "''s");
        check("\"a\\tb\\u00e9c = nme\"", Style::DoubleQuoted, "a\tbéc = nme", "nme", "nme");
        check("\"a \\\n   b\\\"nme\"", Style::DoubleQuoted, "a b\"nme", "nme", "nme");
        check("id,\n\n    upper(nme)\n", Style::Block, "id,\n\n  upper(nme)", "nme", "nme");
        check("id,\n  upper(nme)\n", Style::Block, "id, upper(nme)\n", "id, upper", "id,\n  upper");
    }

    #[test]
    fn the_end_of_a_value_is_a_place_too() {
        assert_eq!(locate("'a + '", Style::SingleQuoted, "a + ", 4..4), 4..4);
        assert_eq!(locate("a", Style::Plain, "other", 0..1), 0..1);
        assert_eq!(locate("", Style::Plain, "", 0..0), 0..0);
    }
}
