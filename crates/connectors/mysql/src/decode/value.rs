//! Values that cannot be carried, before table and column are known.

use dujiang_core::{Code, Error};

/// Why one cell could not be decoded. One word long, because it travels through the hot loops.
#[derive(Debug)]
pub(super) struct BadValue(Box<Reason>);

#[derive(Debug)]
enum Reason {
    /// The value is what the source holds, but has no exact representation.
    Unrepresentable { text: String, why: &'static str },
    /// The bytes do not have the layout they should have.
    Corrupt(&'static str),
}

impl BadValue {
    #[cold]
    #[inline(never)]
    pub fn unrepresentable(text: impl Into<String>, why: &'static str) -> Self {
        Self(Box::new(Reason::Unrepresentable { text: text.into(), why }))
    }

    #[cold]
    #[inline(never)]
    pub fn corrupt(what: &'static str) -> Self {
        Self(Box::new(Reason::Corrupt(what)))
    }

    /// Bytes that are not text in their character set.
    #[cold]
    #[inline(never)]
    pub fn invalid_text(bytes: &[u8]) -> Self {
        const SHOWN: usize = 32;
        let mut text: String = bytes.iter().take(SHOWN).map(|b| format!("\\x{b:02x}")).collect();
        if bytes.len() > SHOWN {
            text.push_str("...");
        }
        Self::unrepresentable(text, "the bytes are not valid in the column's character set")
    }

    /// The value's text and the reason, if the value is what the source holds; damage stays what it is.
    pub fn into_unfit(self) -> Result<(Box<str>, &'static str), Self> {
        match *self.0 {
            Reason::Unrepresentable { text, why } => Ok((text.into(), why)),
            Reason::Corrupt(_) => Err(self),
        }
    }

    /// The error, for `table` and `column`. Bytes without structure are damage of `Code`.
    pub fn into_error(self, table: &dujiang_core::TableId, column: &str, damage: Code) -> Error {
        match *self.0 {
            Reason::Unrepresentable { text, why } => {
                Error::new(Code::BadRecord, format!("{table}, column {column}: {text} cannot be carried: {why}"))
                    .fact("table", table.to_string())
                    .fact("column", column)
                    .fact("value", text)
                    .help("correct the value at the source, or leave the table out of `tables`")
            }
            Reason::Corrupt(what) => {
                Error::new(damage, format!("{table}, column {column}: {what} cannot be read")).fact("column", column)
            }
        }
    }
}
