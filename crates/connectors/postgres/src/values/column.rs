//! A column ready for decoding.

use super::kind::PgKind;
use arrow_schema::Field;

/// A column ready for decoding.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: Box<str>,
    /// How its values are carried.
    pub kind: PgKind,
    /// The Arrow field.
    pub field: Field,
    /// Its type's output function, if its values are asked for as text.
    pub output: Option<Box<str>>,
    /// Whether it is part of the key that old images hold when they are not whole.
    pub in_identity: bool,
}

impl Column {
    /// What stands for the column in the list of a SELECT whose rows are copied out in binary. The output function itself is
    /// called, because a cast to text may differ from it (`inet`, `boolean`, `char(n)`).
    pub fn select_item(&self) -> String {
        let name = format!("\"{}\"", self.name.replace('"', "\"\""));
        match &self.output {
            Some(output) => format!("pg_catalog.textin({output}({name}))"),
            None => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_in_binary_is_asked_for_as_text() {
        let kind = PgKind::Output;
        let field = kind.field("a\"b", true, "inet");
        let column = |output: Option<&str>| Column {
            name: "a\"b".into(),
            kind: kind.clone(),
            field: field.clone(),
            output: output.map(Into::into),
            in_identity: false,
        };
        let text = column(Some("pg_catalog.inet_out")).select_item();
        assert_eq!(text, "pg_catalog.textin(pg_catalog.inet_out(\"a\"\"b\"))");
        assert_eq!(column(None).select_item(), "\"a\"\"b\"");
    }
}
