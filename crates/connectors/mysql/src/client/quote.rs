//! SQL identifiers and literals.

use dujiang_core::{Result, TableId};

/// Appends an identifier in backticks.
///
/// # Errors
/// `BadValue` when the name holds NUL, which no server accepts.
pub fn push_identifier(_out: &mut String, _name: &str) -> Result<()> {
    Ok(())
}

/// An identifier in backticks.
///
/// # Errors
/// As [`push_identifier`].
pub fn identifier(name: &str) -> Result<String> {
    let mut out = String::with_capacity(name.len() + 2);
    push_identifier(&mut out, name)?;
    Ok(out)
}

/// `` `database`.`table` ``.
///
/// # Errors
/// As [`push_identifier`].
pub fn table(id: &TableId) -> Result<String> {
    Ok(format!("{}.{}", identifier(&id.database)?, identifier(&id.table)?))
}

/// A text literal in utf8mb4 that means the same under every `sql_mode`.
pub fn text(_value: &str) -> String {
    String::new()
}

/// A binary literal.
pub fn bytes(_value: &[u8]) -> String {
    String::new()
}
