//! How a diagnostic is shown.

use crate::diagnostic::{Diagnostic, Severity};
use crate::source_text::{SourceText, char_boundary};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use dujiang_core::options::Place;
use serde_json::{Value, json};
use std::ops::Range;

/// What stands in place of a secret; its length says nothing.
const MASK: &str = "***";
const TERM_WIDTH: usize = 120;
/// Related places further away than this are named by their line instead of shown.
const MAX_EXCERPT_BYTES: usize = 64 << 10;

/// Some lines of a file with secrets replaced, and where the file's bytes went.
struct Excerpt {
    text: String,
    /// Number of the first line.
    first_line: usize,
    /// (byte in the file, byte in the excerpt) at every point where the distance changes, ascending.
    moves: Vec<(usize, usize)>,
}

impl Excerpt {
    /// The lines that hold the spans.
    fn new(file: &SourceText, spans: &[&Range<usize>]) -> Self {
        let text = file.text();
        let clamp = |byte: usize| char_boundary(text, byte);
        let start = clamp(spans.iter().map(|s| s.start).min().unwrap_or(0));
        let end = clamp(spans.iter().map(|s| s.end.max(s.start)).max().unwrap_or(0)).max(start);
        let start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let end = text[end..].find('\n').map_or(text.len(), |i| end + i);
        let mut excerpt =
            Self { text: String::new(), first_line: text[..start].matches('\n').count() + 1, moves: Vec::new() };
        excerpt.copy_masked(file, start..end);
        excerpt
    }

    fn copy_masked(&mut self, file: &SourceText, range: Range<usize>) {
        let mut at = range.start;
        for secret in file.secrets().iter().filter(|s| s.end > range.start && s.start < range.end) {
            self.copy(file, at..secret.start.max(at));
            self.mask(file, secret.start.max(range.start)..secret.end.min(range.end));
            at = secret.end.min(range.end);
        }
        self.copy(file, at..range.end);
    }

    fn copy(&mut self, file: &SourceText, range: Range<usize>) {
        self.moves.push((range.start, self.text.len()));
        self.text.push_str(&file.text()[range]);
    }

    /// Every line of a secret becomes the same mask, so that lines keep their numbers.
    fn mask(&mut self, file: &SourceText, range: Range<usize>) {
        let mut at = range.start;
        for line in file.text()[range].split_inclusive('\n') {
            self.moves.push((at, self.text.len()));
            let content = line.trim_end_matches(['\n', '\r']);
            if !content.trim().is_empty() {
                self.text.push_str(MASK);
            }
            self.moves.push((at + content.len(), self.text.len()));
            self.text.push_str(&line[content.len()..]);
            at += line.len();
        }
    }

    /// Where a byte of the file is in the excerpt.
    fn moved(&self, byte: usize) -> usize {
        let next = self.moves.partition_point(|(from, _)| *from <= byte);
        let Some(&(from, to)) = next.checked_sub(1).and_then(|i| self.moves.get(i)) else { return 0 };
        let limit = self.moves.get(next).map_or(self.text.len(), |(_, to)| *to);
        char_boundary(&self.text, (to + (byte - from)).min(limit))
    }

    fn span(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.moved(span.start);
        start..self.moved(span.end).max(start)
    }
}

impl Diagnostic {
    /// In rustc's shape, ending with a line end; with colour only when asked.
    pub fn render(&self, colour: bool) -> String {
        render(self, colour)
    }

    /// On one line: `pipeline.yaml:3:3: error[E0103]: unknown option ...; did you mean ...`.
    pub fn render_line(&self) -> String {
        let place = match self.span() {
            Some(span) => {
                let (line, column) = self.file.line_column(span.start);
                format!("{}:{line}:{column}", self.file.name())
            }
            None => elsewhere(self),
        };
        let help = self.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
        let text = format!("{place}: {}[{}]: {}{help}", self.severity.word(), self.code.number(), self.message);
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// As a JSON object; lines and columns count from 1, columns in characters, `bytes` from 0.
    pub fn to_json(&self) -> Value {
        let span = |span: &Range<usize>| {
            let (start, end) = (self.file.line_column(span.start), self.file.line_column(span.end));
            json!({
                "start": { "line": start.0, "col": start.1 },
                "end": { "line": end.0, "col": end.1 },
                "bytes": [span.start, span.end],
            })
        };
        let related: Vec<_> =
            self.related.iter().map(|(at, label)| json!({ "message": label, "span": span(at) })).collect();
        json!({
            "code": self.code.number(),
            "severity": self.severity.word(),
            "message": self.message,
            "file": self.file.name(),
            "origin": match &self.place {
                Place::Environment(name) => json!({ "environment": name }),
                Place::CommandLine => json!("command line"),
                Place::File(_) | Place::Block(_) => json!("file"),
            },
            "span": self.span().map(span),
            "related": related,
            "notes": self.notes,
            "help": self.help,
        })
    }
}

/// In rustc's shape.
fn render(diagnostic: &Diagnostic, colour: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&diagnostic.message).id(diagnostic.code.number()));
    group = place(diagnostic, group);
    for (span, label) in diagnostic.related.iter().filter(|(span, _)| !is_near(diagnostic, span)) {
        let (line, column) = diagnostic.file.line_column(span.start);
        group = group.element(Level::NOTE.message(format!("{label}: {}:{line}:{column}", diagnostic.file.name())));
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.term_width(TERM_WIDTH).render(&[group]);
    text.push('\n');
    text
}

/// The snippet, or where to look instead.
fn place<'a>(diagnostic: &'a Diagnostic, group: Group<'a>) -> Group<'a> {
    let Some(span) = diagnostic.span() else {
        return group.element(Origin::path(elsewhere(diagnostic)));
    };
    let related: Vec<_> = diagnostic.related.iter().filter(|(span, _)| is_near(diagnostic, span)).collect();
    let spans: Vec<_> = std::iter::once(span).chain(related.iter().map(|(span, _)| span)).collect();
    let excerpt = Excerpt::new(&diagnostic.file, &spans);
    let mut primary = AnnotationKind::Primary.span(excerpt.span(span));
    if let Some(label) = &diagnostic.label {
        primary = primary.label(label.as_str());
    }
    let related =
        related.into_iter().map(|(span, label)| AnnotationKind::Context.span(excerpt.span(span)).label(label.as_str()));
    let annotations: Vec<_> = std::iter::once(primary).chain(related).collect();
    let snippet = Snippet::source(excerpt.text.replace('\r', " "))
        .line_start(excerpt.first_line)
        .path(diagnostic.file.name())
        .annotations(annotations);
    group.element(snippet)
}

/// Whether a related place can be shown in the same snippet.
fn is_near(diagnostic: &Diagnostic, related: &Range<usize>) -> bool {
    diagnostic.span().is_some_and(|span| span.start.abs_diff(related.start) <= MAX_EXCERPT_BYTES)
}

impl Diagnostic {
    /// Its place in words, when there is nothing to point at.
    pub(crate) fn elsewhere(&self) -> String {
        elsewhere(self)
    }
}

/// A place without a snippet, in words.
fn elsewhere(diagnostic: &Diagnostic) -> String {
    match &diagnostic.place {
        Place::Environment(name) => format!("environment variable {name}"),
        Place::CommandLine => "command line".to_owned(),
        Place::File(_) | Place::Block(_) => diagnostic.file.name().to_owned(),
    }
}
