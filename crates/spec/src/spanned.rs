//! A value that is a text with places of its own: SQL, lists of columns.

use crate::references::Piece;
use crate::scalar::{self, Style};
use crate::source_text::SourceText;
use dujiang_core::options::Place;
use std::ops::Range;

/// A value, and where each part of it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpannedText {
    text: String,
    place: Place,
    written: Option<Written>,
}

/// How a value stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes of the scalar, with quotes.
    pub span: Range<usize>,
    pub style: Style,
    /// What the scalar means, before references are resolved.
    pub value: String,
    /// How the resolved text was made of it.
    pub pieces: Vec<Piece>,
}

impl SpannedText {
    pub(crate) fn new(text: impl Into<String>, place: Place, written: Option<Written>) -> Self {
        Self { text: text.into(), place, written }
    }

    /// The text, references resolved.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it was written, as a whole.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Where some bytes of the text were written: a part of the file, or the place of the whole if it does not stand in
    /// the file.
    pub fn place_of(&self, file: &SourceText, part: Range<usize>) -> Place {
        let Some(written) = &self.written else { return self.place.clone() };
        let Some(scalar) = file.text().get(written.span.clone()) else { return self.place.clone() };
        let value = written.part_of_value(&part);
        let found = scalar::locate(scalar, written.style, &written.value, value);
        Place::File(written.span.start + found.start..written.span.start + found.end)
    }

    /// The text without the backslash of every `\*`, which the dialect allows before a star.
    pub(crate) fn without_escaped_stars(mut self) -> Self {
        if !self.text.contains("\\*") {
            return self;
        }
        let kept = cuts(&self.text);
        if let Some(written) = &mut self.written {
            written.pieces = kept.iter().flat_map(|kept| pieces_within(&written.pieces, kept)).collect();
            let mut at = 0;
            for piece in &mut written.pieces {
                let length = piece.text.len();
                piece.text = at..at + length;
                at += length;
            }
        }
        self.text = kept.into_iter().map(|range| self.text[range].to_owned()).collect();
        self
    }

    /// The entries of a comma-separated list, each trimmed and with its bytes.
    pub(crate) fn entries(&self) -> Vec<(String, Range<usize>)> {
        let mut entries = Vec::new();
        let mut start = 0;
        for entry in self.text.split(',') {
            let blank = entry.len() - entry.trim_start().len();
            let trimmed = entry.trim();
            entries.push((trimmed.to_owned(), start + blank..start + blank + trimmed.len()));
            start += entry.len() + 1;
        }
        entries
    }
}

impl Written {
    fn part_of_value(&self, part: &Range<usize>) -> Range<usize> {
        let end = part.end.max(part.start);
        let piece = |at: usize, from: bool| {
            let holds = |p: &&Piece| if from { p.text.end > at } else { p.text.end >= at };
            self.pieces.iter().find(holds).or(self.pieces.last())
        };
        let start = piece(part.start, true).map_or(0, |p| match p.exact {
            true => p.value.start + (part.start - p.text.start.min(part.start)).min(p.value.len()),
            false => p.value.start,
        });
        let end = if end == part.start {
            start
        } else {
            piece(end, false).map_or(start, |p| match p.exact {
                true => p.value.start + (end - p.text.start.min(end)).min(p.value.len()),
                false => p.value.end,
            })
        };
        start..end.max(start)
    }
}

/// The parts of a text between the backslashes of `\*`.
fn cuts(text: &str) -> Vec<Range<usize>> {
    let (mut kept, mut start) = (Vec::new(), 0);
    for (at, _) in text.match_indices("\\*") {
        kept.push(start..at);
        start = at + 1;
    }
    kept.push(start..text.len());
    kept
}

/// The pieces of a part of the text, cut to it.
fn pieces_within(pieces: &[Piece], part: &Range<usize>) -> Vec<Piece> {
    let overlapping = pieces.iter().filter(|p| p.text.start < part.end && p.text.end > part.start);
    let cut = overlapping.map(|p| {
        let text = p.text.start.max(part.start)..p.text.end.min(part.end);
        let value = match p.exact {
            true => p.value.start + (text.start - p.text.start)..p.value.start + (text.end - p.text.start),
            false => p.value.clone(),
        };
        Piece { text, value, exact: p.exact }
    });
    cut.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_behind_references_and_escaped_stars() {
        let file = SourceText::new("f", "x: \"\\\\*, ${env:A} + nme\"");
        // The value is `\*, ${env:A} + nme`, the text `\*, price + nme`.
        let pieces = vec![
            Piece { text: 0..4, value: 0..4, exact: true },
            Piece { text: 4..9, value: 4..12, exact: false },
            Piece { text: 9..15, value: 12..18, exact: true },
        ];
        let written = Written { span: 3..24, style: Style::DoubleQuoted, value: "\\*, ${env:A} + nme".into(), pieces };
        let text = SpannedText::new("\\*, price + nme", Place::File(3..24), Some(written)).without_escaped_stars();
        assert_eq!(text.text(), "*, price + nme");
        let shown = |part: &str| {
            let at = text.text().find(part).unwrap();
            match text.place_of(&file, at..at + part.len()) {
                Place::File(span) => file.text()[span].to_owned(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(shown("nme"), "nme");
        assert_eq!(shown("*"), "*");
        assert_eq!(shown("price"), "${env:A}");
        assert_eq!(shown("rice + n"), "${env:A} + n");
    }

    #[test]
    fn entries_carry_their_bytes() {
        let text = SpannedText::new(" id,  name ,", Place::CommandLine, None);
        let expected = [("id".to_owned(), 1..3), ("name".to_owned(), 6..10), (String::new(), 12..12)];
        assert_eq!(text.entries(), expected);
    }
}
