//! A small tolerant tokenizer for statements of the MySQL family.

/// One token. Comments are gone; what the server executes of executable comments (`/*! ... */`) is there like any other
/// text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// An unquoted word: keyword, identifier or number.
    Word(String),
    /// An identifier in backticks, or in double quotes where those quote identifiers.
    Quoted(String),
    /// A string, escapes resolved.
    Text(String),
    /// Any other character.
    Symbol(char),
}

impl Token {
    /// Whether this is the keyword, unquoted, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Whether this is one of the keywords.
    pub fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// The identifier this token can be.
    pub fn identifier(&self) -> Option<&str> {
        match self {
            Token::Word(name) | Token::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

/// How the server that logged a statement reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Whether it is MariaDB.
    pub mariadb: bool,
    /// Its version as executable comments count: `80036`, `101106`.
    pub version: u32,
    /// `sql_mode` of the session.
    pub sql_mode: u64,
}

/// `"x"` is an identifier.
pub const ANSI_QUOTES: u64 = 4;
/// `REAL` is `FLOAT`.
pub const REAL_AS_FLOAT: u64 = 1;
/// A backslash in a string is a backslash.
pub const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

impl Reading {
    /// Whether a bit of `sql_mode` is set.
    pub fn has(&self, mode: u64) -> bool {
        self.sql_mode & mode != 0
    }

    /// Whether the content of `/*!<version> ... */` is executed. MariaDB passes over what only MySQL 5.7 and later knows
    /// (`sql_lex.cc`).
    fn executes(&self, version: u32) -> bool {
        version <= self.version && !(self.mariadb && (50_700..=99_999).contains(&version))
    }
}

/// Cuts a statement into tokens; `None` when a quote or comment does not end.
pub fn lex(sql: &str, reading: &Reading) -> Option<Vec<Token>> {
    let mut lexer = Lexer { rest: sql, reading, out: Vec::new(), open_comments: 0 };
    while !lexer.rest.is_empty() {
        lexer.step()?;
    }
    (lexer.open_comments == 0).then_some(lexer.out)
}

struct Lexer<'a> {
    rest: &'a str,
    reading: &'a Reading,
    out: Vec<Token>,
    open_comments: usize,
}

impl Lexer<'_> {
    fn step(&mut self) -> Option<()> {
        let first = self.rest.chars().next()?;
        match first {
            c if c.is_whitespace() || c == '\0' => self.skip(c.len_utf8()),
            '#' => self.skip_line(),
            '-' if self.rest.starts_with("--") && self.rest[2..].chars().next().is_none_or(is_space) => {
                self.skip_line()
            }
            '/' if self.rest.starts_with("/*") => self.comment()?,
            '*' if self.open_comments > 0 && self.rest.starts_with("*/") => {
                self.open_comments -= 1;
                self.skip(2);
            }
            '"' if !self.reading.has(ANSI_QUOTES) => {
                let text = self.quoted(first)?;
                self.out.push(Token::Text(text));
            }
            '`' | '"' => {
                let name = self.quoted(first)?;
                self.out.push(Token::Quoted(name));
            }
            '\'' => {
                let text = self.quoted(first)?;
                self.out.push(Token::Text(text));
            }
            c if is_word(c) => self.word(),
            c => {
                self.out.push(Token::Symbol(c));
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
        self.out.push(Token::Word(self.rest[..end].to_owned()));
        self.skip(end);
    }

    fn comment(&mut self) -> Option<()> {
        let body = &self.rest[2..];
        let for_mariadb = body.strip_prefix("M!").filter(|_| self.reading.mariadb);
        let Some(content) = body.strip_prefix('!').or(for_mariadb) else {
            let end = body.find("*/")?;
            self.skip(2 + end + 2);
            return Some(());
        };
        let digits = content.bytes().take(6).take_while(u8::is_ascii_digit).count();
        let digits = if digits < 5 { 0 } else { digits };
        if self.reading.executes(content[..digits].parse().unwrap_or(0)) {
            self.open_comments += 1;
            self.rest = &content[digits..];
            return Some(());
        }
        self.rest = after_comment(content)?;
        Some(())
    }

    /// Reads a quoted token; a doubled quote stands for one, and in strings a backslash may escape.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let identifier = quote == '`' || (quote == '"' && self.reading.has(ANSI_QUOTES));
        let escapes = !identifier && !self.reading.has(NO_BACKSLASH_ESCAPES);
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
            if c == '\\' && escapes {
                text.push(unescape(chars.next()?.1));
            } else {
                text.push(c);
            }
        }
        None
    }
}

/// What follows a comment that is not executed; one comment may stand in it.
fn after_comment(mut content: &str) -> Option<&str> {
    loop {
        let end = content.find("*/")?;
        match content[..end].find("/*") {
            Some(inner) => {
                let inner_end = content[inner..].find("*/")?;
                content = &content[inner + inner_end + 2..];
            }
            None => return Some(&content[end + 2..]),
        }
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

fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || c == '@' || (c as u32) >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    const MYSQL: Reading = Reading { mariadb: false, version: 80_036, sql_mode: 0 };
    const MARIADB: Reading = Reading { mariadb: true, version: 101_106, sql_mode: 0 };

    fn words(sql: &str, reading: &Reading) -> Vec<String> {
        let show = |t: &Token| match t {
            Token::Word(w) => w.clone(),
            Token::Quoted(q) => format!("`{q}`"),
            Token::Text(t) => format!("'{t}'"),
            Token::Symbol(c) => c.to_string(),
        };
        lex(sql, reading).unwrap().iter().map(show).collect()
    }

    #[test]
    fn f43_comments_vanish_unless_this_server_executes_them() {
        let sql = "ALTER/* x */TABLE -- y\n a # z\n ADD /*!50000 COLUMN */ b int";
        assert_eq!(words(sql, &MYSQL), ["ALTER", "TABLE", "a", "ADD", "COLUMN", "b", "int"]);
        let cases = [
            ("a /*!80023 b */ c", "a b c", "a c"),
            ("a /*!100301 b */ c", "a c", "a b c"),
            ("a /*M!100301 b */ c", "a c", "a b c"),
            ("a /*M! b */ c", "a c", "a b c"),
            ("a /*!999999 b /* x */ d */ c", "a c", "a c"),
            ("a /*! b */ c", "a b c", "a b c"),
            ("a /*!080023 b */ c", "a b c", "a c"),
        ];
        for (sql, mysql, mariadb) in cases {
            assert_eq!(words(sql, &MYSQL).join(" "), mysql, "{sql}");
            assert_eq!(words(sql, &MARIADB).join(" "), mariadb, "{sql}");
        }
    }

    #[test]
    fn quotes_and_escapes_follow_the_sessions_mode() {
        let (ansi, plain) =
            (Reading { sql_mode: ANSI_QUOTES, ..MYSQL }, Reading { sql_mode: NO_BACKSLASH_ESCAPES, ..MYSQL });
        assert_eq!(words("`a``b`.`c` 'it''s \\'x' \"q\"", &MYSQL), ["`a`b`", ".", "`c`", "'it's 'x'", "'q'"]);
        assert_eq!(words("\"a\"\"b\" '\\n'", &ansi), ["`a\"b`", "'\n'"]);
        assert_eq!(words("'a\\' b", &plain), ["'a\\'", "b"]);
        assert!(lex("ALTER TABLE `t", &MYSQL).is_none() && lex("/* x", &MYSQL).is_none());
        assert!(lex("'a", &MYSQL).is_none() && lex("/*! x", &MYSQL).is_none());
        assert_eq!(words("表.列", &MYSQL), ["表", ".", "列"]);
    }
}
