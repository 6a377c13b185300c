//! Names of types after CAST and before a literal.

use super::super::ast::TypeName;
use super::super::lex::TokenKind;
use super::{Parsed, Parser};

/// Whether a string after this word is a literal of that type.
pub(super) fn is_type_word(upper: &str) -> bool {
    matches!(upper, "DATE" | "TIME" | "TIMESTAMP" | "TIMESTAMP_LTZ")
}

impl Parser<'_> {
    /// Words and numbers of a type; what they mean is for the binder to say.
    pub(super) fn type_name(&mut self) -> Parsed<TypeName> {
        let (word, _) = self.name("a type")?;
        let mut name = word.to_ascii_uppercase();
        if name == "DOUBLE" {
            self.word("PRECISION");
        }
        let mut arguments = Vec::new();
        if self.sign("(") {
            loop {
                arguments.push(self.small_number()?);
                if self.sign(")") {
                    break;
                }
                self.expect_sign(",")?;
            }
        }
        if self.word("WITHOUT") {
            self.expect_word("TIME")?;
            self.expect_word("ZONE")?;
        } else if self.word("WITH") {
            let local = self.word("LOCAL");
            self.expect_word("TIME")?;
            self.expect_word("ZONE")?;
            name.push_str(if local { "_LTZ" } else { " WITH TIME ZONE" });
        }
        Ok(TypeName { name, arguments })
    }

    fn small_number(&mut self) -> Parsed<u32> {
        if let Some(TokenKind::Number(digits)) = self.peek()
            && let Ok(number) = digits.parse()
        {
            self.at += 1;
            return Ok(number);
        }
        Err(self.wanted("a whole number"))
    }
}
