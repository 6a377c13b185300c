//! MySQL's binary JSON: from its bytes to the text the server prints.

use super::value::BadValue;

/// Appends the text of a document.
pub(super) fn append_text(_document: &[u8], _out: &mut Vec<u8>) -> Result<(), BadValue> {
    Err(BadValue::unrepresentable("(a document)", "binary JSON is not read yet"))
}
