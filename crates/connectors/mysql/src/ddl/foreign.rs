//! The foreign keys that a server tells in `SHOW CREATE TABLE`.

use super::create::name;
use super::lexer::{Reading, Token, lex};
use super::tokens::{Cursor, split_commas};

/// What a foreign key lets the server do to rows of its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Name of the constraint.
    pub constraint: String,
    /// `ON DELETE` rule.
    pub on_delete: &'static str,
    /// `ON UPDATE` rule.
    pub on_update: &'static str,
}

/// The foreign keys of a table as `SHOW CREATE TABLE` prints it under an empty `sql_mode`; `None` when that cannot be read.
pub fn foreign_keys(create: &str) -> Option<Vec<ForeignKey>> {
    let tokens = lex(create, &Reading::default())?;
    let begin = tokens.iter().position(|t| *t == Token::Symbol('('))?;
    let inner = Cursor::new(&tokens[begin..]).parentheses()?;
    Some(split_commas(inner).into_iter().filter_map(foreign_key).collect())
}

fn foreign_key(part: &[Token]) -> Option<ForeignKey> {
    let mut cursor = Cursor::new(part);
    cursor.eat("CONSTRAINT").then_some(())?;
    let constraint = cursor.identifier()?.to_owned();
    cursor.eat_all(&["FOREIGN", "KEY"]).then_some(())?;
    cursor.parentheses()?;
    cursor.eat("REFERENCES").then_some(())?;
    name(&mut cursor)?;
    cursor.parentheses()?;
    let rules = cursor.rest();
    Some(ForeignKey { constraint, on_delete: rule(rules, "DELETE"), on_update: rule(rules, "UPDATE") })
}

/// What follows `ON DELETE` or `ON UPDATE`; the servers print nothing for one of their two names for the same rule.
fn rule(rules: &[Token], event: &str) -> &'static str {
    let at = rules.windows(3).find(|w| w[0].is("ON") && w[1].is(event));
    match at.map(|w| &w[2]) {
        None => "RESTRICT",
        Some(t) if t.is("RESTRICT") => "RESTRICT",
        Some(t) if t.is("NO") => "NO ACTION",
        Some(t) if t.is("CASCADE") => "CASCADE",
        Some(_) => match rules.windows(4).find(|w| w[0].is("ON") && w[1].is(event)).map(|w| &w[3]) {
            Some(t) if t.is("NULL") => "SET NULL",
            _ => "SET DEFAULT",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_wherever_they_stand() {
        let create = "CREATE TABLE `c` (\n  `id` int(11) NOT NULL DEFAULT '0' COMMENT 'FOREIGN KEY (x), ON DELETE CASCADE',\n  \
            `p` int(11) DEFAULT NULL /*!80023 INVISIBLE */,\n  PRIMARY KEY (`id`),\n  \
            CONSTRAINT `a``b` FOREIGN KEY (`p`) REFERENCES `o`.`p` (`id`) ON DELETE CASCADE ON UPDATE NO ACTION,\n  \
            CONSTRAINT `two` FOREIGN KEY (`p`, `id`) REFERENCES `p` (`id`, `n`) ON UPDATE SET NULL,\n  \
            CONSTRAINT `none` FOREIGN KEY (`p`) REFERENCES `p` (`id`),\n  CONSTRAINT `k` CHECK (`p` > 0)\n) ENGINE=InnoDB";
        let told = foreign_keys(create).unwrap();
        let told: Vec<_> = told.iter().map(|k| (&*k.constraint, k.on_delete, k.on_update)).collect();
        let expected =
            [("a`b", "CASCADE", "NO ACTION"), ("two", "RESTRICT", "SET NULL"), ("none", "RESTRICT", "RESTRICT")];
        assert_eq!(told, expected);
        assert_eq!(foreign_keys("CREATE TABLE `c` (`id"), None);
    }
}
