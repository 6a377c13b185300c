//! SQL text to words, numbers, strings and signs, each with its place.

use crate::error::SqlError;
use dujiang_core::Code;
use std::ops::Range;

/// Longest SQL text that is read at all; far beyond what a person writes.
pub(crate) const LONGEST_SQL: usize = 256 * 1024;

/// One token and the bytes it takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub span: Range<usize>,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// A bare word; keywords are compared without case, names with it.
    Word(String),
    /// A name in backticks or double quotes.
    Quoted(String),
    /// Digits, perhaps with point and exponent.
    Number(String),
    /// A string in single quotes, without them.
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
}

const SIGNS: &[&str] =
    &["<>", "!=", "<=", ">=", "||", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", "."];

/// Cuts the text into tokens.
///
/// # Errors
/// [`Code::SqlTooLarge`], or [`Code::SqlSyntax`] for a sign SQL does not have or a quote that is never closed.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, SqlError> {
    if text.len() > LONGEST_SQL {
        let what = format!("the SQL is {} bytes long; at most {LONGEST_SQL} are read", text.len());
        return Err(SqlError::new(Code::SqlTooLarge, 0..0, what).help("shorten it"));
    }
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    while lexer.skip_blank()? {
        lexer.token()?;
    }
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips blanks and comments; false at the end.
    fn skip_blank(&mut self) -> Result<bool, SqlError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                let Some(end) = trimmed.find("*/") else {
                    return Err(self.unclosed("comment", 2));
                };
                self.at += end + 2;
            } else {
                return Ok(!trimmed.is_empty());
            }
        }
    }

    fn unclosed(&self, what: &str, width: usize) -> SqlError {
        SqlError::new(Code::SqlSyntax, self.at..self.at + width, format!("this {what} is never closed"))
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        self.tokens.push(Token { kind, span: self.at..self.at + length });
        self.at += length;
    }

    fn token(&mut self) -> Result<(), SqlError> {
        let rest = self.rest();
        let first = rest.chars().next().expect("invariant: called before the end only");
        let second_is_digit = rest[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        if first == '\'' {
            let (text, length) = self.delimited('\'', "string")?;
            self.push(TokenKind::Text(text), length);
        } else if first == '`' || first == '"' {
            let (name, length) = self.delimited(first, "name")?;
            self.push(TokenKind::Quoted(name), length);
        } else if first.is_ascii_digit() || (first == '.' && second_is_digit && !self.after_name()) {
            let number = number(rest).to_owned();
            let length = number.len();
            self.push(TokenKind::Number(number), length);
        } else if is_name_start(first) {
            let length = rest.find(|c: char| !is_name_part(c)).unwrap_or(rest.len());
            self.push(TokenKind::Word(rest[..length].to_owned()), length);
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.push(TokenKind::Sign(sign), sign.len());
        } else {
            let span = self.at..self.at + first.len_utf8();
            return Err(SqlError::new(Code::SqlSyntax, span, format!("`{first}` means nothing here")));
        }
        Ok(())
    }

    /// Whether the last token is a name right before this place, so that a point goes on with it.
    fn after_name(&self) -> bool {
        self.tokens.last().is_some_and(|last| {
            last.span.end == self.at && matches!(last.kind, TokenKind::Word(_) | TokenKind::Quoted(_))
        })
    }

    /// The inside of quotes (a doubled quote stands for one) and the length with quotes.
    fn delimited(&self, quote: char, what: &str) -> Result<(String, usize), SqlError> {
        let rest = &self.rest()[1..];
        let mut inside = String::new();
        let mut from = 0;
        loop {
            let Some(end) = rest[from..].find(quote) else { return Err(self.unclosed(what, 1)) };
            inside.push_str(&rest[from..from + end]);
            from += end + 1;
            if !rest[from..].starts_with(quote) {
                return Ok((inside, from + 1));
            }
            inside.push(quote);
            from += 1;
        }
    }
}

fn number(text: &str) -> &str {
    let bytes = text.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    &text[..end]
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

fn is_name_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}
