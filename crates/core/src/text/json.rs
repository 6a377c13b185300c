//! JSON text.

use crate::schema::{LOGICAL_JSON, LOGICAL_NUMBER};

/// Deepest nesting that [`is_json_document`] accepts; MySQL allows 100.
const MAX_DEPTH: usize = 512;

pub(super) fn write_text(logical: Option<&str>, text: &str, out: &mut Vec<u8>) {
    match logical {
        Some(LOGICAL_JSON) if is_json_document(text.as_bytes()) => write_on_one_line(text.as_bytes(), out),
        Some(LOGICAL_NUMBER) if is_number(text.as_bytes()) => out.extend_from_slice(text.as_bytes()),
        _ => write_json_string(text, out),
    }
}

/// Appends text in quotes, escaped as RFC 8259 §7 asks.
pub fn write_json_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    // Without a branch per byte the compiler looks at many at once, and most text has nothing to escape.
    if !bytes.iter().fold(false, |found, &byte| found | must_escape(byte)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if !must_escape(byte) {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

fn must_escape(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// A valid document has line ends only between its parts, where a space means the same.
fn write_on_one_line(document: &[u8], out: &mut Vec<u8>) {
    out.extend(document.iter().map(|&b| if b == b'\n' || b == b'\r' { b' ' } else { b }));
}

/// Whether the bytes, which must be UTF-8, are exactly one JSON document (RFC 8259) nested at most 512 deep.
pub fn is_json_document(text: &[u8]) -> bool {
    let mut scanner = Scanner { text, at: 0, open: Vec::new() };
    scanner.document().is_some()
}

fn is_number(text: &[u8]) -> bool {
    let mut scanner = Scanner { text, at: 0, open: Vec::new() };
    scanner.number().is_some() && scanner.at == text.len()
}

/// Walks over a document; every step yields `None` where the text is not JSON.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    open: Vec<u8>,
}

impl Scanner<'_> {
    fn document(&mut self) -> Option<()> {
        loop {
            self.space();
            self.value_or_opening()?;
            if !self.closings()? {
                return (self.at == self.text.len()).then_some(());
            }
        }
    }

    /// A scalar, an empty container, or an opening bracket with all that precedes its first value.
    fn value_or_opening(&mut self) -> Option<()> {
        loop {
            self.space();
            match self.peek()? {
                b'"' => return self.string(),
                b't' => return self.word(b"true"),
                b'f' => return self.word(b"false"),
                b'n' => return self.word(b"null"),
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    self.space();
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.eat(close) {
                        return Some(());
                    }
                    if self.open.len() == MAX_DEPTH {
                        return None;
                    }
                    self.open.push(close);
                    if open == b'{' {
                        self.name()?;
                    }
                }
                _ => return self.number(),
            }
        }
    }

    /// What follows a value: closing brackets, then a comma (true) or the end (false).
    fn closings(&mut self) -> Option<bool> {
        loop {
            self.space();
            let Some(&close) = self.open.last() else { return Some(false) };
            if self.eat(b',') {
                if close == b'}' {
                    self.space();
                    self.name()?;
                }
                return Some(true);
            }
            if !self.eat(close) {
                return None;
            }
            self.open.pop();
        }
    }

    fn name(&mut self) -> Option<()> {
        self.string()?;
        self.space();
        self.eat(b':').then_some(())
    }

    fn string(&mut self) -> Option<()> {
        if !self.eat(b'"') {
            return None;
        }
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.next().filter(u8::is_ascii_hexdigit)?;
                        }
                    }
                    _ => return None,
                },
                0..=31 => return None,
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }
}
