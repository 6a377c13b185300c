//! The protocol buffers of records (proto2: what is absent is NULL, what is empty is there).

/// Appends a varint.
pub fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field of bytes: its number, the length and the bytes.
pub fn write_bytes(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    write_head(number, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends the number and length of a field of bytes.
pub fn write_head(number: u8, length: usize, out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    write_varint(length as u64, out);
}

/// Appends the attributes of a `RecordEntry` (field 8).
pub fn write_attributes(pairs: &[(&str, &[u8])], out: &mut Vec<u8>) {
    let length = |(name, value): &(&str, &[u8])| length_of_field(name.len()) + length_of_field(value.len());
    write_head(8, pairs.iter().map(|pair| length_of_field(length(pair))).sum(), out);
    for pair in pairs {
        write_head(1, length(pair), out);
        write_bytes(1, pair.0.as_bytes(), out);
        write_bytes(2, pair.1, out);
    }
}

/// Bytes that a length takes.
pub fn length_of_varint(value: usize) -> usize {
    (usize::BITS as usize - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes that a field of this many bytes takes, with its head.
pub fn length_of_field(bytes: usize) -> usize {
    1 + length_of_varint(bytes) + bytes
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// Bytes, text or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes that are not looked at.
    Fixed,
}

/// Walks over the fields of a message; `None` as an item is a message that cannot be read.
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Of a message.
    pub fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let head = self.varint()?;
        let value = match head & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => self.skip(4)?,
            _ => return None,
        };
        Some((head >> 3, value))
    }

    fn skip(&mut self, bytes: usize) -> Option<Value<'a>> {
        self.0 = self.0.get(bytes..)?;
        Some(Value::Fixed)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_damage_is_seen() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = vec![8];
            write_varint(value, &mut out);
            assert_eq!(Fields::of(&out).collect::<Vec<_>>(), [Some((1, Value::Number(value)))]);
            if let Ok(length) = usize::try_from(value) {
                assert_eq!(length_of_varint(length), out.len() - 1);
            }
            out.pop();
            assert_eq!(Fields::of(&out).last(), Some(None));
        }
    }
}
