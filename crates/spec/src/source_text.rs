//! The text of a pipeline file, with its name.

use std::ops::Range;
use std::sync::Arc;

/// The text of a pipeline file. Cheap to clone.
#[derive(Clone)]
pub struct SourceText {
    name: Arc<str>,
    text: Arc<str>,
    /// Bytes that must never be shown, ascending, without overlap.
    secrets: Arc<[Range<usize>]>,
}

impl SourceText {
    /// A text with the name that messages call it by, as the user wrote it (`pipeline.yaml`).
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into(), secrets: Arc::from([]) }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub fn line_column(&self, byte: usize) -> (usize, usize) {
        let before = &self.text[..char_boundary(&self.text, byte)];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The same text, with bytes that must never be shown.
    pub(crate) fn with_secrets(&self, secrets: Vec<Range<usize>>) -> Self {
        Self { secrets: secrets.into(), ..self.clone() }
    }

    pub(crate) fn secrets(&self) -> &[Range<usize>] {
        &self.secrets
    }

    /// The file's name without folder and extension.
    pub(crate) fn stem(&self) -> &str {
        let file = self.name.rsplit(['/', '\\']).next().unwrap_or(&self.name);
        file.rsplit_once('.').map_or(file, |(stem, _)| stem)
    }
}

/// The last character boundary at or before a byte.
pub(crate) fn char_boundary(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl std::fmt::Debug for SourceText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceText({}, {} bytes)", self.name, self.text.len())
    }
}
