//! Character sets: from a column's bytes in the log to UTF-8.

/// How the bytes of a character column are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// `utf8mb4`, `utf8mb3`, `ascii`: already UTF-8; checked, not converted.
    Utf8,
    /// MySQL's `latin1`: Windows-1252, its five undefined bytes mapped to the C1 control characters.
    Latin1,
}

impl Charset {
    /// The character set of that MySQL name, if it can be converted exactly.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Charset::Utf8,
            "latin1" => Charset::Latin1,
            _ => return None,
        })
    }
}
