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

/// The characters of bytes 0x80 to 0x9f in MySQL's latin1; all other bytes are the character of the same number.
const LATIN1_HIGH: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}', '\u{2030}',
    '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}',
    '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}',
    '\u{17e}', '\u{178}',
];

/// Appends latin1 bytes as UTF-8.
pub(super) fn append_latin1(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_ascii() {
        out.extend_from_slice(bytes);
        return;
    }
    let mut utf8 = [0; 4];
    for byte in bytes {
        let character = match byte {
            0x80..=0x9f => LATIN1_HIGH[usize::from(byte - 0x80)],
            other => char::from(*other),
        };
        out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
    }
}
