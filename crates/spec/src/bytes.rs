//! A file's bytes -> its text.

use crate::diagnostic::Diagnostic;
use crate::source_text::SourceText;
use dujiang_core::Code;
use std::sync::Arc;

/// Largest pipeline file, in bytes.
pub const MAX_FILE_BYTES: usize = 16 << 20;

impl SourceText {
    /// A text from a file's bytes; a byte order mark is dropped.
    ///
    /// # Errors
    /// `FileUnreadable` when the bytes are not UTF-8 or more than 16 MiB. (An empty file is [`load`](crate::load)'s to
    /// refuse.)
    #[expect(clippy::result_large_err, reason = "happens once in a process, just before it ends")]
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: Vec<u8>) -> Result<Self, Diagnostic> {
        let name = name.into();
        if bytes.len() > MAX_FILE_BYTES {
            return Err(too_large(&name));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count() + 1;
            let message = format!("the pipeline file is not UTF-8: line {line} holds other bytes");
            let mut diagnostic = Diagnostic::about_file(Code::FileUnreadable, message, &name);
            diagnostic.help = Some("save the file as UTF-8".into());
            diagnostic
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        Ok(Self::new(name, text))
    }
}

pub(crate) fn too_large(name: &str) -> Diagnostic {
    let message = format!("the pipeline file is larger than {} MiB", MAX_FILE_BYTES >> 20);
    Diagnostic::about_file(Code::FileUnreadable, message, name)
}
