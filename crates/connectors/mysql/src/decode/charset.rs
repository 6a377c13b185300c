//! Character sets: from a column's bytes in the log to UTF-8.

use super::value::BadValue;
use encoding_rs::{
    DecoderResult, EUC_KR, Encoding, GBK, ISO_8859_2, ISO_8859_13, KOI8_R, MACINTOSH, SHIFT_JIS, WINDOWS_1250,
    WINDOWS_1251,
};

/// What the standard's converters read as the server does.
const CONVERTED: [(&str, &Encoding); 9] = [
    ("gbk", GBK),
    ("cp932", SHIFT_JIS),
    ("euckr", EUC_KR),
    ("cp1250", WINDOWS_1250),
    ("cp1251", WINDOWS_1251),
    ("koi8r", KOI8_R),
    ("latin2", ISO_8859_2),
    ("latin7", ISO_8859_13),
    ("macroman", MACINTOSH),
];

/// How the bytes of a character column are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// `utf8mb4`, `utf8mb3`, `ascii`: already UTF-8; checked, not converted.
    Utf8,
    /// MySQL's `latin1`: Windows-1252, its five undefined bytes mapped to the C1 control characters.
    Latin1,
    /// Another one: its name, and the converter whose every character has been compared with the server's.
    Converted(&'static str, &'static Encoding),
}

impl Charset {
    /// The character set of that MySQL name, if it can be converted exactly: every code that the server can convert
    /// gives the same character here (a test asks it for each of them). `gb2312`, `big5`, `sjis`, `ujis` and others do
    /// not pass that test.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Charset::Utf8,
            "latin1" => Charset::Latin1,
            other => {
                let (name, encoding) = CONVERTED.iter().find(|(name, _)| *name == other)?;
                Charset::Converted(name, encoding)
            }
        })
    }

    /// Appends bytes of this character set as UTF-8; those of [`Charset::Utf8`] unchecked.
    pub(super) fn append(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        match self {
            Charset::Utf8 => out.extend_from_slice(bytes),
            Charset::Latin1 => append_latin1(bytes, out),
            Charset::Converted(..) if bytes.is_ascii() => out.extend_from_slice(bytes),
            Charset::Converted(_, encoding) => return append_converted(bytes, encoding, out),
        }
        Ok(())
    }
}

/// The Windows encodings give the C1 control characters for bytes that are not defined; the server gives nothing.
fn append_converted(bytes: &[u8], encoding: &'static Encoding, out: &mut Vec<u8>) -> Result<(), BadValue> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let invalid = || BadValue::invalid_text(bytes);
    let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len()).ok_or_else(invalid)?;
    let start = out.len();
    out.resize(start + room, 0);
    let (result, _, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut out[start..], true);
    out.truncate(start + written);
    let is_windows = encoding == WINDOWS_1250 || encoding == WINDOWS_1251;
    let undefined = is_windows && out[start..].windows(2).any(|pair| pair[0] == 0xc2 && pair[1] < 0xa0);
    if result == DecoderResult::InputEmpty && !undefined { Ok(()) } else { Err(invalid()) }
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
