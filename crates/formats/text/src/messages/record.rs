//! One CSV record, field by field.

use super::fault::Fault;

/// Walks over the fields of a record (RFC 4180), which may end with a line end.
pub(super) struct Fields<'a> {
    text: &'a str,
    at: usize,
    ended: bool,
}

/// A field as it stands in the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    /// Where it begins.
    pub(super) start: usize,
    /// Without its quotes; quotes within are still doubled.
    inner: &'a str,
    /// Only a field without quotes can be NULL.
    pub(super) quoted: bool,
}

impl<'a> Cell<'a> {
    pub(super) fn text<'s>(&self, scratch: &'s mut Vec<u8>) -> &'s str
    where
        'a: 's,
    {
        if !(self.quoted && self.inner.contains('"')) {
            return self.inner;
        }
        scratch.clear();
        for (index, part) in self.inner.split("\"\"").enumerate() {
            if index > 0 {
                scratch.push(b'"');
            }
            scratch.extend_from_slice(part.as_bytes());
        }
        std::str::from_utf8(scratch).expect("invariant: characters were appended whole")
    }
}

impl<'a> Fields<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let record = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        Self { text: record, at: 0, ended: false }
    }

    pub(super) fn next(&mut self) -> Result<Option<Cell<'a>>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let start = self.at;
        let quoted = self.text[start..].starts_with('"');
        let inner = if quoted { self.quoted(start + 1)? } else { self.plain(start)? };
        match self.text.as_bytes().get(self.at) {
            None => self.ended = true,
            Some(b',') => self.at += 1,
            Some(_) => return Err(Fault::syntax(self.at, "something follows the quotes of a field")),
        }
        Ok(Some(Cell { start, inner, quoted }))
    }

    fn plain(&mut self, start: usize) -> Result<&'a str, Fault> {
        let length = self.text[start..].find(',').unwrap_or(self.text.len() - start);
        let field = &self.text[start..start + length];
        if let Some(place) = field.find(['"', '\r', '\n']) {
            return Err(Fault::syntax(start + place, "a quote or a line end in a field without quotes"));
        }
        self.at = start + length;
        Ok(field)
    }

    fn quoted(&mut self, start: usize) -> Result<&'a str, Fault> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        loop {
            let length = self.text[at..].find('"');
            at += length.ok_or_else(|| Fault::syntax(start - 1, "the quotes of a field do not end"))?;
            if bytes.get(at + 1) != Some(&b'"') {
                self.at = at + 1;
                return Ok(&self.text[start..at]);
            }
            at += 2;
        }
    }
}
