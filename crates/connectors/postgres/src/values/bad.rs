//! Values that cannot be carried, before table and column are known.

use dujiang_core::{Code, Error, Result, TableId};

/// Why one cell could not be decoded.
#[derive(Debug)]
pub struct BadValue(Box<Reason>);

#[derive(Debug)]
enum Reason {
    /// The value is what the source holds, but has no exact representation.
    Unrepresentable { text: String, why: &'static str },
    /// The bytes do not have the layout they should have.
    Corrupt(&'static str),
}

/// Bytes of a value that a message shows.
const SHOWN: usize = 64;

impl BadValue {
    /// A value that the source holds and its column cannot.
    #[cold]
    #[inline(never)]
    pub(super) fn unrepresentable(text: &[u8], why: &'static str) -> Self {
        let cut = text.len().min(SHOWN);
        let mut text = String::from_utf8_lossy(&text[..cut]).into_owned() + if cut < text.len() { "..." } else { "" };
        text.retain(|c| !c.is_control());
        Self(Box::new(Reason::Unrepresentable { text, why }))
    }

    /// Bytes without the structure they should have.
    #[cold]
    #[inline(never)]
    pub(super) fn corrupt(what: &'static str) -> Self {
        Self(Box::new(Reason::Corrupt(what)))
    }

    /// Bytes that are not UTF-8, from a database that does not look at its text.
    #[cold]
    #[inline(never)]
    pub(super) fn not_utf8(bytes: &[u8]) -> Self {
        let shown: String = bytes.iter().take(SHOWN / 4).map(|b| format!("\\x{b:02x}")).collect();
        let why = "the bytes are no UTF-8, and a database with the encoding SQL_ASCII does not say what else they are";
        Self::unrepresentable(shown.as_bytes(), why)
    }

    /// Whether the value is well-formed: then only its record is at fault, else the bytes are damaged.
    #[cfg(test)]
    pub(super) fn is_of_the_record(&self) -> bool {
        matches!(*self.0, Reason::Unrepresentable { .. })
    }

    /// The value as the source shows it, and why its column cannot hold it.
    ///
    /// # Errors
    /// `Protocol` for damaged bytes of a `column` of `table`.
    #[cold]
    pub(super) fn into_unfit(self, table: &TableId, column: &str) -> Result<(String, &'static str)> {
        match *self.0 {
            Reason::Unrepresentable { text, why } => Ok((text, why)),
            Reason::Corrupt(what) => {
                Err(Error::new(Code::Protocol, format!("{table}, column {column}: {what} cannot be read"))
                    .fact("table", table.to_string())
                    .fact("column", column)
                    .help("if the server's own tools read this row, report a bug"))
            }
        }
    }
}
