//! JSON, walked over in place: values are found and checked, and read only where they are wanted.

use super::fault::Fault;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 600;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

impl Shape {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::True | Self::False => "a truth value",
            Self::Number => "a number",
            Self::String => "text",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// Where a value stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) shape: Shape,
}

impl Raw {
    /// The value's JSON.
    pub(super) fn json(self, text: &str) -> &str {
        &text[self.start..self.end]
    }

    /// What stands between the quotes of a string, escapes and all.
    fn inner(self, text: &str) -> &str {
        &text[self.start + 1..self.end - 1]
    }

    /// The text of a string, in `scratch` if it has escapes.
    pub(super) fn text<'a>(self, text: &'a str, scratch: &'a mut Vec<u8>) -> Result<&'a str, Fault> {
        let inner = self.inner(text);
        if !inner.as_bytes().contains(&b'\\') {
            return Ok(inner);
        }
        scratch.clear();
        unescape(inner, self.start + 1, scratch)?;
        Ok(std::str::from_utf8(scratch).expect("invariant: characters were appended whole"))
    }
}

/// Finds the one value that a text consists of.
pub(super) fn document(text: &str) -> Result<Raw, Fault> {
    let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
    let value = scanner.value(0)?;
    scanner.space();
    match scanner.at == text.len() {
        true => Ok(value),
        false => Err(Fault::syntax(scanner.at, "there is more behind the document")),
    }
}

/// Walks over the members of an object that [`document`] has checked: names and values.
pub(super) struct Members<'a>(Scanner<'a>);

impl<'a> Members<'a> {
    pub(super) fn of(text: &'a str, object: Raw) -> Self {
        Self(Scanner { text: &text.as_bytes()[..object.end], at: object.start + 1 })
    }

    pub(super) fn next(&mut self) -> Result<Option<(Raw, Raw)>, Fault> {
        let scanner = &mut self.0;
        scanner.space();
        let _ = scanner.eat(b',');
        scanner.space();
        if scanner.peek() == Some(b'}') {
            return Ok(None);
        }
        let name = scanner.value(0)?;
        scanner.space();
        scanner.expect(b':')?;
        Ok(Some((name, scanner.value(0)?)))
    }
}

/// Walks over the items of an array that [`document`] has checked.
pub(super) struct Items<'a>(Scanner<'a>);

impl<'a> Items<'a> {
    pub(super) fn of(text: &'a str, array: Raw) -> Self {
        Self(Scanner { text: &text.as_bytes()[..array.end], at: array.start + 1 })
    }

    pub(super) fn next(&mut self) -> Result<Option<Raw>, Fault> {
        let scanner = &mut self.0;
        scanner.space();
        let _ = scanner.eat(b',');
        scanner.space();
        if scanner.peek() == Some(b']') {
            return Ok(None);
        }
        scanner.value(0).map(Some)
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn value(&mut self, depth: usize) -> Result<Raw, Fault> {
        self.space();
        let start = self.at;
        let shape = match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b't') => self.word(b"true", Shape::True)?,
            Some(b'f') => self.word(b"false", Shape::False)?,
            Some(b'n') => self.word(b"null", Shape::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => return Err(self.fault("a value is expected")),
            None => return Err(self.fault("it ends where a value is expected")),
        };
        Ok(Raw { start, end: self.at, shape })
    }

    fn object(&mut self, depth: usize) -> Result<Shape, Fault> {
        self.deeper(depth)?;
        self.at += 1;
        self.space();
        if self.eat(b'}') {
            return Ok(Shape::Object);
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.fault("a name is expected"));
            }
            self.string()?;
            self.space();
            self.expect(b':')?;
            self.value(depth + 1)?;
            self.space();
            if !self.eat(b',') {
                self.expect(b'}')?;
                return Ok(Shape::Object);
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Shape, Fault> {
        self.deeper(depth)?;
        self.at += 1;
        self.space();
        if self.eat(b']') {
            return Ok(Shape::Array);
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            if !self.eat(b',') {
                self.expect(b']')?;
                return Ok(Shape::Array);
            }
        }
    }

    fn deeper(&self, depth: usize) -> Result<(), Fault> {
        if depth < MAX_DEPTH { Ok(()) } else { Err(self.fault("it nests too deeply")) }
    }

    fn string(&mut self) -> Result<Shape, Fault> {
        self.at += 1;
        loop {
            match self.next()? {
                b'"' => return Ok(Shape::String),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            if !self.next()?.is_ascii_hexdigit() {
                                return Err(self.fault("an escape has other than four hexadecimal digits"));
                            }
                        }
                    }
                    _ => return Err(self.fault("an unknown escape")),
                },
                0..=31 => return Err(self.fault("a control character within text")),
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Result<Shape, Fault> {
        let _ = self.eat(b'-');
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
        Ok(Shape::Number)
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.fault("a digit is expected")) }
    }

    fn word(&mut self, word: &[u8], shape: Shape) -> Result<Shape, Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.fault("a value is expected"));
        }
        self.at += word.len();
        Ok(shape)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Fault> {
        let byte = self.peek().ok_or_else(|| self.fault("it ends within text"))?;
        self.at += 1;
        Ok(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(self.fault(match byte {
            b':' => "a colon is expected",
            b'}' => "a comma or the end of an object is expected",
            _ => "a comma or the end of an array is expected",
        }))
    }

    fn fault(&self, what: &'static str) -> Fault {
        Fault::syntax(self.at, what)
    }
}

/// Appends the text that stands between quotes; `place` is where it begins in the message.
fn unescape(inner: &str, place: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let here = place + inner.len() - rest.len() + at;
        let escape = rest.as_bytes()[at + 1];
        rest = &rest[at + 2..];
        match escape {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (character, used) =
                    code_point(rest).ok_or_else(|| Fault::syntax(here, "half of a surrogate pair"))?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[used..];
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(())
}

/// The character of the digits behind `\u`, and how many bytes it takes.
fn code_point(rest: &str) -> Option<(char, usize)> {
    let high = hexadecimal(rest)?;
    if !(0xD800..0xE000).contains(&high) {
        return Some((char::from_u32(high)?, 4));
    }
    let low = hexadecimal(rest[4..].strip_prefix("\\u")?)?;
    let low = (0xDC00..0xE000).contains(&low).then_some(low)?;
    let high = (high < 0xDC00).then_some(high)?;
    Some((char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 10))
}

fn hexadecimal(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits.get(..4)?, 16).ok()
}
