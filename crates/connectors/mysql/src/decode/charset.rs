//! Character sets: from a column's bytes in the log to UTF-8.

use super::charset_codes::{self as codes, Codes};
use super::charset_tables::{self as tables, Half};
use super::value::BadValue;
use encoding_rs::{
    BIG5, DecoderResult, EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_8859_2, ISO_8859_13, KOI8_R, MACINTOSH, SHIFT_JIS,
    WINDOWS_1250, WINDOWS_1251,
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

/// What they read as the server does, but for some characters.
static AMENDED: [Amended; 6] = [
    Amended { name: "big5", encoding: BIG5, codes: codes::BIG5, layout: Layout::TwoBytes },
    Amended { name: "gb2312", encoding: GBK, codes: codes::GB2312, layout: Layout::TwoBytes },
    Amended { name: "sjis", encoding: SHIFT_JIS, codes: codes::SJIS, layout: Layout::Sjis },
    Amended { name: "ujis", encoding: EUC_JP, codes: codes::UJIS, layout: Layout::Euc },
    Amended { name: "eucjpms", encoding: EUC_JP, codes: codes::EUCJPMS, layout: Layout::Euc },
    Amended { name: "gb18030", encoding: GB18030, codes: codes::GB18030, layout: Layout::Gb18030 },
];

/// Character sets of Unicode's own numbers.
const WIDE: [(&str, Wide); 4] =
    [("ucs2", Wide::Ucs2), ("utf16", Wide::Utf16), ("utf16le", Wide::Utf16Le), ("utf32", Wide::Utf32)];

/// How the bytes of a character column are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// `utf8mb4`, `utf8mb3`, `ascii`: already UTF-8; checked, not converted.
    Utf8,
    /// MySQL's `latin1`: Windows-1252, its five undefined bytes mapped to the C1 control characters.
    Latin1,
    /// Another one: its name, and the converter whose every character has been compared with the server's.
    Converted(&'static str, &'static Encoding),
    /// One whose converter gives other characters than the server for some codes.
    Amended(&'static Amended),
    /// One of a byte per character: its name, and the upper half.
    Single(&'static str, &'static Half),
    /// `swe7`: seven bits, of which some are not ASCII's.
    Swe7,
    /// Characters of two or four bytes.
    Wide(&'static str, Wide),
}

/// A converter, and where the server differs from it.
#[derive(Debug, PartialEq, Eq)]
pub struct Amended {
    name: &'static str,
    encoding: &'static Encoding,
    codes: Codes,
    layout: Layout,
}

/// How many bytes a character has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// One of ASCII, two others.
    TwoBytes,
    /// Half-width Katakana are single bytes, too.
    Sjis,
    /// Up to three.
    Euc,
    /// Four, if the second is a digit.
    Gb18030,
}

/// Layouts of Unicode's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wide {
    /// Two bytes, high one first; no surrogates.
    Ucs2,
    /// Two or four bytes, high one first.
    Utf16,
    /// Two or four bytes, low one first.
    Utf16Le,
    /// Four bytes, high one first.
    Utf32,
}

impl Charset {
    /// The character set of that MySQL name, if it can be converted exactly: every code that the server can convert
    /// gives the same character here (a test asks it for each of them).
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.as_str();
        let found = match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Some(Charset::Utf8),
            "latin1" => Some(Charset::Latin1),
            "swe7" => Some(Charset::Swe7),
            _ => None,
        };
        found
            .or_else(|| CONVERTED.iter().find(|(n, _)| *n == name).map(|(n, e)| Charset::Converted(n, e)))
            .or_else(|| tables::SINGLE.iter().find(|(n, _)| *n == name).map(|(n, half)| Charset::Single(n, half)))
            .or_else(|| AMENDED.iter().find(|amended| amended.name == name).map(Charset::Amended))
            .or_else(|| WIDE.iter().find(|(n, _)| *n == name).map(|(n, wide)| Charset::Wide(n, *wide)))
    }

    /// MySQL's name; of those that are UTF-8 already, the widest.
    pub fn name(self) -> &'static str {
        match self {
            Charset::Utf8 => "utf8mb4",
            Charset::Latin1 => "latin1",
            Charset::Swe7 => "swe7",
            Charset::Converted(name, _) | Charset::Single(name, _) | Charset::Wide(name, _) => name,
            Charset::Amended(amended) => amended.name,
        }
    }

    /// Whether bytes of ASCII are characters of ASCII.
    pub(super) fn keeps_ascii(self) -> bool {
        !matches!(self, Charset::Swe7 | Charset::Wide(..))
    }

    /// Appends bytes of this character set as UTF-8; those of [`Charset::Utf8`] unchecked.
    pub(super) fn append(self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        if self == Charset::Utf8 || (self.keeps_ascii() && bytes.is_ascii()) {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let start = out.len();
        let done = match self {
            Charset::Utf8 => Some(()),
            Charset::Latin1 => {
                append_latin1(bytes, out);
                Some(())
            }
            Charset::Converted(_, encoding) => append_converted(bytes, encoding, out),
            Charset::Amended(amended) => amended.append(bytes, out),
            Charset::Single(_, half) => append_single(bytes, |byte| upper(byte, half), out),
            Charset::Swe7 => append_single(bytes, swe7, out),
            Charset::Wide(_, wide) => wide.append(bytes, out),
        };
        done.ok_or_else(|| {
            out.truncate(start);
            BadValue::invalid_text(bytes)
        })
    }
}

/// The Windows encodings give the C1 control characters for bytes that are not defined; the server gives nothing.
fn append_converted(bytes: &[u8], encoding: &'static Encoding, out: &mut Vec<u8>) -> Option<()> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len())?;
    let start = out.len();
    out.resize(start + room, 0);
    let (result, _, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut out[start..], true);
    out.truncate(start + written);
    let is_windows = encoding == WINDOWS_1250 || encoding == WINDOWS_1251;
    let undefined = is_windows && out[start..].windows(2).any(|pair| pair[0] == 0xc2 && pair[1] < 0xa0);
    (result == DecoderResult::InputEmpty && !undefined).then_some(())
}

impl Amended {
    /// Character by character: where the server has one of its own it counts, and else the converter's.
    fn append(&self, mut bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        while !bytes.is_empty() {
            let (character, rest) = bytes.split_at_checked(self.layout.width(bytes))?;
            bytes = rest;
            let code = character.iter().fold(0u32, |code, byte| code << 8 | u32::from(*byte));
            let own = self.codes.binary_search_by_key(&code, |(code, _)| *code).ok().map(|at| self.codes[at].1);
            match own.or_else(|| self.user_defined(character)) {
                Some(number) => push(char::from_u32(number)?, out),
                None => append_converted(character, self.encoding, out)?,
            }
        }
        Some(())
    }

    /// The rows of EUC that are left to users lie one after the other in Unicode's private area.
    fn user_defined(&self, character: &[u8]) -> Option<u32> {
        let (first, row, cell) = match *character {
            [row, cell] => (0xe000, row, cell),
            [0x8f, row, cell] => (0xe3ac, row, cell),
            _ => return None,
        };
        let inside = self.encoding == EUC_JP && (0xf5..0xff).contains(&row) && (0xa1..0xff).contains(&cell);
        inside.then(|| first + u32::from(row - 0xf5) * 94 + u32::from(cell - 0xa1))
    }
}

impl Layout {
    /// Bytes of the character that begins so; there is at least one.
    fn width(self, bytes: &[u8]) -> usize {
        match (self, bytes) {
            (_, [0..=0x7f, ..]) => 1,
            (Layout::Sjis, [0x81..=0x9f | 0xe0..=0xfc, ..]) => 2,
            (Layout::Sjis, _) => 1,
            (Layout::Euc, [0x8f, ..]) => 3,
            (Layout::Euc, [0x8e | 0xa0.., ..]) => 2,
            (Layout::Euc, _) => 1,
            (Layout::Gb18030, [_, b'0'..=b'9', ..]) => 4,
            (Layout::Gb18030 | Layout::TwoBytes, _) => 2,
        }
    }
}

fn append_single(bytes: &[u8], character: impl Fn(u8) -> Option<char>, out: &mut Vec<u8>) -> Option<()> {
    bytes.iter().try_for_each(|byte| {
        push(character(*byte)?, out);
        Some(())
    })
}

fn upper(byte: u8, half: &Half) -> Option<char> {
    match byte {
        0..=0x7f => Some(char::from(byte)),
        _ => defined(half[usize::from(byte - 0x80)]),
    }
}

fn swe7(byte: u8) -> Option<char> {
    if byte == 0 { Some('\0') } else { defined(*tables::SWE7.get(usize::from(byte))?) }
}

fn defined(number: u16) -> Option<char> {
    char::from_u32(number.into()).filter(|character| *character != '\0')
}

fn push(character: char, out: &mut Vec<u8>) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

impl Wide {
    fn append(self, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (pairs, rest) = bytes.as_chunks::<2>();
        match self {
            Wide::Utf32 => {
                let (numbers, rest) = bytes.as_chunks::<4>();
                numbers.iter().try_for_each(|b| {
                    push(char::from_u32(u32::from_be_bytes(*b))?, out);
                    Some(())
                })?;
                return rest.is_empty().then_some(());
            }
            Wide::Ucs2 => pairs.iter().try_for_each(|b| {
                push(char::from_u32(u16::from_be_bytes(*b).into())?, out);
                Some(())
            })?,
            Wide::Utf16 => append_units(pairs.iter().map(|b| u16::from_be_bytes(*b)), out)?,
            Wide::Utf16Le => append_units(pairs.iter().map(|b| u16::from_le_bytes(*b)), out)?,
        }
        rest.is_empty().then_some(())
    }
}

fn append_units(units: impl Iterator<Item = u16>, out: &mut Vec<u8>) -> Option<()> {
    for character in char::decode_utf16(units) {
        push(character.ok()?, out);
    }
    Some(())
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
    for byte in bytes {
        let character = match byte {
            0x80..=0x9f => LATIN1_HIGH[usize::from(byte - 0x80)],
            other => char::from(*other),
        };
        push(character, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_are_sorted_and_names_lead_back() {
        for amended in &AMENDED {
            assert!(amended.codes.is_sorted_by(|a, b| a.0 < b.0), "{}", amended.name);
        }
        let names = CONVERTED.iter().map(|(n, _)| *n).chain(tables::SINGLE.iter().map(|(n, _)| *n));
        for name in names.chain(["big5", "utf16le", "ucs2", "swe7", "latin1", "gb18030"]) {
            assert_eq!(Charset::by_name(&name.to_uppercase()).unwrap().name(), name);
        }
        assert_eq!(Charset::by_name("klingon"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn f50_any_bytes_are_text_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for name in ["big5", "gb2312", "sjis", "ujis", "eucjpms", "gb18030", "swe7", "greek", "ucs2", "utf16", "utf16le", "utf32"] {
                let mut out = b"before".to_vec();
                match Charset::by_name(name).unwrap().append(&bytes, &mut out) {
                    Ok(()) => prop_assert!(std::str::from_utf8(&out).is_ok()),
                    Err(_) => prop_assert_eq!(&out, b"before"),
                }
            }
        }

        #[test]
        fn f50_unicodes_own_numbers_are_read_back(text in any::<String>()) {
            let read = |name: &str, bytes: Vec<u8>| {
                let mut out = Vec::new();
                Charset::by_name(name).unwrap().append(&bytes, &mut out).map(|()| String::from_utf8(out).unwrap()).ok()
            };
            prop_assert_eq!(read("utf16", text.encode_utf16().flat_map(u16::to_be_bytes).collect()), Some(text.clone()));
            prop_assert_eq!(read("utf16le", text.encode_utf16().flat_map(u16::to_le_bytes).collect()), Some(text.clone()));
            prop_assert_eq!(read("utf32", text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()), Some(text));
        }
    }
}
