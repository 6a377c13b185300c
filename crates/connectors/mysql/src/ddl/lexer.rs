//! A small tolerant tokenizer for statements of the MySQL family.

/// One token. Comments are gone; the content of executable comments (`/*! ... */`) is there like any other text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// An unquoted word: keyword, identifier or number.
    Word(String),
    /// An identifier in backticks (or in double quotes, which may also be a string).
    Quoted(String),
    /// A string in single quotes, escapes resolved.
    Text(String),
    /// Any other character.
    Symbol(char),
}

impl Token {
    /// Whether this is the keyword, unquoted, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// The identifier this token can be.
    pub fn identifier(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

/// The tokens of a statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// In order.
    pub tokens: Vec<Token>,
    /// Whether a comment says that some servers execute its content and others do not.
    pub conditional: bool,
}

/// Cuts a statement into tokens; `None` when a quote or comment does not end.
pub fn lex(sql: &str) -> Option<Tokens> {
    let mut lexer = Lexer { rest: sql, out: Tokens::default(), open_comments: 0 };
    while !lexer.rest.is_empty() {
        lexer.step()?;
    }
    (lexer.open_comments == 0).then_some(lexer.out)
}

struct Lexer<'a> {
    rest: &'a str,
    out: Tokens,
    open_comments: usize,
}

impl Lexer<'_> {
    fn step(&mut self) -> Option<()> {
        let first = self.rest.chars().next()?;
        match first {
            c if c.is_whitespace() => self.skip(c.len_utf8()),
            '#' => self.skip_line(),
            '-' if self.rest.starts_with("--") && self.rest[2..].chars().next().is_none_or(char::is_whitespace) => {
                self.skip_line();
            }
            '/' if self.rest.starts_with("/*") => self.comment()?,
            '*' if self.open_comments > 0 && self.rest.starts_with("*/") => {
                self.open_comments -= 1;
                self.skip(2);
            }
            '`' | '"' => {
                let name = self.quoted(first)?;
                self.out.tokens.push(Token::Quoted(name));
            }
            '\'' => {
                let text = self.quoted(first)?;
                self.out.tokens.push(Token::Text(text));
            }
            c if is_word(c) => self.word(),
            c => {
                self.out.tokens.push(Token::Symbol(c));
                self.skip(c.len_utf8());
            }
        }
        Some(())
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').map_or(self.rest.len(), |n| n + 1);
        self.skip(end);
    }

    fn word(&mut self) {
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        self.out.tokens.push(Token::Word(self.rest[..end].to_owned()));
        self.skip(end);
    }

    fn comment(&mut self) -> Option<()> {
        let body = &self.rest[2..];
        let executable = body.strip_prefix('!').or_else(|| body.strip_prefix("M!"));
        let Some(content) = executable else {
            let end = body.find("*/")?;
            self.skip(2 + end + 2);
            return Some(());
        };
        let digits = content.bytes().take_while(u8::is_ascii_digit).count();
        // Everything alive runs what 5.6 ran; later numbers are run by one family or version and not by another.
        let version: u32 = content[..digits].parse().unwrap_or(0);
        self.out.conditional |= version > 50_699 || body.starts_with('M');
        self.open_comments += 1;
        self.rest = &content[digits..];
        Some(())
    }

    /// Reads a quoted token; a doubled quote stands for one, and outside backticks a backslash escapes.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                if chars.next_if(|(_, next)| *next == quote).is_some() {
                    text.push(quote);
                    continue;
                }
                self.skip(at + quote.len_utf8());
                return Some(text);
            }
            if c == '\\' && quote != '`' {
                text.push(unescape(chars.next()?.1));
            } else {
                text.push(c);
            }
        }
        None
    }
}

fn unescape(c: char) -> char {
    match c {
        '0' => '\0',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'Z' => '\u{1a}',
        other => other,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || c == '@' || (c as u32) >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(sql: &str) -> Vec<String> {
        let show = |t: &Token| match t {
            Token::Word(w) => w.clone(),
            Token::Quoted(q) => format!("`{q}`"),
            Token::Text(t) => format!("'{t}'"),
            Token::Symbol(c) => c.to_string(),
        };
        lex(sql).unwrap().tokens.iter().map(show).collect()
    }

    #[test]
    fn comments_vanish_unless_they_are_executed() {
        let sql = "ALTER/* x */TABLE -- y\n a # z\n ADD /*!50000 COLUMN */ b int";
        assert_eq!(words(sql), ["ALTER", "TABLE", "a", "ADD", "COLUMN", "b", "int"]);
        assert!(!lex(sql).unwrap().conditional);
        assert!(lex("alter table t /*!80023 add c int */").unwrap().conditional);
        assert!(lex("alter table t /*M!100301 add c int */").unwrap().conditional);
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(words("`a``b`.`c` 'it''s \\'x' \"q\""), ["`a`b`", ".", "`c`", "'it's 'x'", "`q`"]);
        assert!(lex("ALTER TABLE `t").is_none() && lex("/* x").is_none() && lex("'a").is_none());
        assert_eq!(words("表.列"), ["表", ".", "列"]);
    }
}
