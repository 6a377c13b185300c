//! The text of a pipeline file, with its name.

use crate::diagnostic::Diagnostic;
use dujiang_core::Code;
use std::ops::Range;
use std::sync::Arc;

/// Largest pipeline file, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;

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
        let text = text.into();
        Self { name: name.into(), text, secrets: Arc::from([]) }
    }

    /// A text from a file's bytes; a byte order mark is dropped.
    ///
    /// # Errors
    /// `FileUnreadable` when the bytes are not UTF-8, empty, or larger than 16 MiB.
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: Vec<u8>) -> Result<Self, Diagnostic> {
        let name = name.into();
        let text = String::from_utf8(bytes)
            .map_err(|_| Diagnostic::about_file(Code::FileUnreadable, "the pipeline file is not UTF-8", &name))?;
        Ok(Self::new(name, text))
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
        let before = &self.text[..self.text.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    pub(crate) fn secrets(&self) -> &[Range<usize>] {
        &self.secrets
    }
}

impl std::fmt::Debug for SourceText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceText({}, {} bytes)", self.name, self.text.len())
    }
}
