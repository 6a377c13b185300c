//! Walking over tokens.

use super::lexer::Token;

/// A place among tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [Token],
}

impl<'a> Cursor<'a> {
    pub fn new(tokens: &'a [Token]) -> Self {
        Self { rest: tokens }
    }

    pub fn rest(&self) -> &'a [Token] {
        self.rest
    }

    pub fn is_at_end(&self) -> bool {
        matches!(self.rest, [] | [Token::Symbol(';')])
    }

    pub fn peek(&self) -> Option<&'a Token> {
        self.rest.first()
    }

    pub fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub fn at(&self, keyword: &str) -> bool {
        self.peek().is_some_and(|t| t.is(keyword))
    }

    /// Whether the tokens from here on are these keywords.
    pub fn at_all(&self, keywords: &[&str]) -> bool {
        keywords.len() <= self.rest.len() && keywords.iter().zip(self.rest).all(|(k, t)| t.is(k))
    }

    pub fn eat(&mut self, keyword: &str) -> bool {
        let hit = self.at(keyword);
        if hit {
            self.next();
        }
        hit
    }

    pub fn eat_all(&mut self, keywords: &[&str]) -> bool {
        let hit = self.at_all(keywords);
        if hit {
            self.rest = &self.rest[keywords.len()..];
        }
        hit
    }

    pub fn eat_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|k| self.eat(k))
    }

    pub fn at_symbol(&self, symbol: char) -> bool {
        self.peek() == Some(&Token::Symbol(symbol))
    }

    pub fn eat_symbol(&mut self, symbol: char) -> bool {
        let hit = self.at_symbol(symbol);
        if hit {
            self.next();
        }
        hit
    }

    pub fn identifier(&mut self) -> Option<&'a str> {
        self.next()?.identifier()
    }

    /// A name or value that may also be quoted as a string, in lower case.
    pub fn value(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(word) | Token::Quoted(word) | Token::Text(word) => Some(word.to_ascii_lowercase()),
            Token::Symbol(_) => None,
        }
    }

    /// `[IF [NOT] EXISTS]`; whether it was there.
    pub fn if_exists(&mut self) -> bool {
        self.eat_all(&["IF", "NOT", "EXISTS"]) || self.eat_all(&["IF", "EXISTS"])
    }

    /// What is between `(` here and its `)`, which is passed over too.
    pub fn parentheses(&mut self) -> Option<&'a [Token]> {
        self.at_symbol('(').then_some(())?;
        let mut depth = 0i32;
        for (at, token) in self.rest.iter().enumerate() {
            match token {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inner = &self.rest[1..at];
                self.rest = &self.rest[at + 1..];
                return Some(inner);
            }
        }
        None
    }
}

/// Cuts at commas outside parentheses.
pub(super) fn split_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0i32;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth -= 1,
            Token::Symbol(',') if depth == 0 => {
                parts.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts.retain(|part| !part.is_empty() && *part != [Token::Symbol(';')]);
    parts
}

/// The beginning of some tokens, for people.
pub(super) fn excerpt(tokens: &[Token]) -> String {
    let words = tokens.iter().take(6).map(|t| match t {
        Token::Word(w) | Token::Quoted(w) => w.clone(),
        Token::Text(_) => "'...'".to_owned(),
        Token::Symbol(c) => c.to_string(),
    });
    words.collect::<Vec<_>>().join(" ")
}
