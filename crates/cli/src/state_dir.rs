//! Where a pipeline keeps its state.

use std::path::{Path, PathBuf};

/// The folder of a pipeline: the one given, else `$XDG_STATE_HOME/dujiang/<pipeline>`, else
/// `~/.local/state/dujiang/<pipeline>`.
///
/// # Errors
/// A sentence, when none of them is known.
pub fn of(pipeline: &str, given: Option<PathBuf>) -> Result<PathBuf, String> {
    if let Some(folder) = given {
        return Ok(folder);
    }
    // The XDG specification: a relative path is to be ignored.
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let base = base.ok_or("neither XDG_STATE_HOME nor HOME names a folder for the pipeline's state")?;
    Ok(base.join("dujiang").join(folder_name(pipeline)))
}

/// The folder of one of several pipelines that share the folder given.
///
/// # Errors
/// As [`of`].
pub fn of_one_of(pipeline: &str, given: Option<&Path>) -> Result<PathBuf, String> {
    of(pipeline, given.map(|folder| folder.join(folder_name(pipeline))))
}

/// The folder of the capture of a pipeline with a log, within the pipeline's.
pub const CAPTURE: &str = "capture";

/// The folder of a delivery, within the pipeline's.
pub fn delivery(sink: &str) -> String {
    format!("deliver-{}", folder_name(sink))
}

/// The folders of all deliveries, within the pipeline's.
pub fn deliveries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_string_lossy().starts_with("deliver-")).map(|e| e.path()).collect();
    found.sort();
    found
}

/// A pipeline's name as a folder's name: what could lead elsewhere is escaped as `%XX`.
fn folder_name(pipeline: &str) -> String {
    let mut name = String::new();
    for (index, byte) in pipeline.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && index > 0);
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn names_stay_inside_their_folder() {
        assert_eq!(folder_name("orders-lake.v2"), "orders-lake.v2");
        assert_eq!(folder_name(".."), "%2E.");
        assert_eq!(folder_name("a/b"), "a%2Fb");
        assert_eq!(folder_name("订"), "%E8%AE%A2");
    }
}
