//! The dialect's grammar: a projection list or one expression.
//!
//! A parser of our own, because the dialect is (`MAP['k', 1]`, backticks, `\*`), because every mistake needs its exact
//! place, and because hostile text must cost neither stack nor time: nesting is bounded, nothing is tried twice.

use super::ast::{Binary, Chain, Item, Kind, Node, Span};
use super::lex::{self, Token, TokenKind};
use super::walk::check_item_calls;
use crate::error::SqlError;
use dujiang_core::Code;

mod forms;
mod types;

/// Deepest nesting of brackets, calls and operators.
pub(crate) const DEEPEST: u16 = 100;
/// Longest chain of operators that cannot be kept flat (`1 + 1 + …`).
const LONGEST_CHAIN: u16 = 300;

const RESERVED: &[&str] = &[
    "AND", "AS", "BETWEEN", "CASE", "DISTINCT", "ELSE", "END", "ESCAPE", "FOR", "FROM", "IN", "IS", "LIKE", "NOT",
    "OR", "PLACING", "SELECT", "SIMILAR", "THEN", "WHEN", "WHERE",
];

type Parsed<T> = Result<T, SqlError>;

/// Parses a projection list; every entry's first mistake is reported.
///
/// # Errors
/// [`Code::SqlSyntax`], [`Code::SqlTooLarge`], [`Code::SqlNotRowWise`].
pub(crate) fn projection(text: &str) -> Result<Vec<Item>, Vec<SqlError>> {
    // The dialect writes `\*` where YAML would take `*` for an alias; the length stays, so that places stay right.
    let text = text.replace("\\*", " *");
    let tokens = lex::tokens(&text).map_err(|e| vec![e])?;
    let mut items = Vec::new();
    let mut errors = Vec::new();
    for entry in entries(&tokens) {
        let end = entry.last().map_or(text.len(), |t| t.span.end);
        match Parser::new(entry, end).item() {
            Ok(item) => items.push(item),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        return Ok(items);
    }
    // An entry that cannot be read hides nothing of the others.
    check_item_calls(&items, &mut errors);
    errors.sort_by_key(|error| error.span.start);
    Err(errors)
}

/// Parses one expression.
///
/// # Errors
/// As [`projection`].
pub(crate) fn expression(text: &str) -> Parsed<Node> {
    let tokens = lex::tokens(text)?;
    let mut parser = Parser::new(&tokens, text.len());
    let node = parser.expression()?;
    parser.end()?;
    Ok(node)
}

/// The entries of a list: split at the commas outside brackets.
fn entries(tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    let mut level = 0_i64;
    tokens.split(move |token| {
        match token.kind {
            TokenKind::Sign("(" | "[") => level += 1,
            TokenKind::Sign(")" | "]") => level -= 1,
            _ => {}
        }
        level == 0 && token.kind == TokenKind::Sign(",")
    })
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    end: usize,
    nesting: u16,
}

impl<'a> Parser<'a> {
    fn new(tokens: &'a [Token], end: usize) -> Self {
        Self { tokens, at: 0, end, nesting: 0 }
    }

    fn item(&mut self) -> Parsed<Item> {
        if self.sign("*") {
            self.end()?;
            return Ok(Item::Star(None));
        }
        if let [name, point, star] = self.tokens
            && point.kind == TokenKind::Sign(".")
            && star.kind == TokenKind::Sign("*")
            && let TokenKind::Word(table) | TokenKind::Quoted(table) = &name.kind
        {
            return Ok(Item::Star(Some((table.clone(), name.span.clone()))));
        }
        let node = self.expression()?;
        let alias =
            if self.word("AS") || self.at < self.tokens.len() { Some(self.name("a column name")?) } else { None };
        self.end()?;
        Ok(Item::Expression { node, alias })
    }

    // ---- tokens

    fn peek(&self) -> Option<&'a TokenKind> {
        self.tokens.get(self.at).map(|t| &t.kind)
    }

    fn here(&self) -> Span {
        self.tokens.get(self.at).map_or(self.end..self.end, |t| t.span.clone())
    }

    fn last_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |t| t.span.end)
    }

    fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead).map(|t| &t.kind), Some(TokenKind::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    fn is_sign(&self, ahead: usize, sign: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead).map(|t| &t.kind), Some(TokenKind::Sign(s)) if *s == sign)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(0, sign);
        self.at += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.word(word) { Ok(()) } else { Err(self.wanted(&format!("`{word}`"))) }
    }

    fn expect_sign(&mut self, sign: &str) -> Parsed<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.wanted(&format!("`{sign}`"))) }
    }

    fn name(&mut self, what: &str) -> Parsed<(String, Span)> {
        let span = self.here();
        match self.peek() {
            Some(TokenKind::Quoted(name)) => {
                self.at += 1;
                Ok((name.clone(), span))
            }
            Some(TokenKind::Word(name)) if !is_reserved(name) => {
                self.at += 1;
                Ok((name.clone(), span))
            }
            _ => Err(self.wanted(what)),
        }
    }

    fn end(&self) -> Parsed<()> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(self.wanted("an operator or the end")) }
    }

    fn wanted(&self, what: &str) -> SqlError {
        let found = match self.peek() {
            None => "the end".to_owned(),
            Some(TokenKind::Word(w)) => format!("`{}`", clipped(w)),
            Some(TokenKind::Quoted(w)) => format!("the name `{}`", clipped(w)),
            Some(TokenKind::Number(n)) => format!("the number {}", clipped(n)),
            Some(TokenKind::Text(t)) => format!("the string '{}'", clipped(t)),
            Some(TokenKind::Sign(s)) => format!("`{s}`"),
        };
        SqlError::new(Code::SqlSyntax, self.here(), format!("expected {what}, found {found}"))
    }

    // ---- expressions

    fn expression(&mut self) -> Parsed<Node> {
        self.nested(|p| p.or())
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == DEEPEST {
            return Err(too_deep(self.here()));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    fn or(&mut self) -> Parsed<Node> {
        self.chain(Chain::Or, |p| p.word("OR"), Self::and)
    }

    fn and(&mut self) -> Parsed<Node> {
        self.chain(Chain::And, |p| p.word("AND"), Self::not)
    }

    fn chain(
        &mut self,
        chain: Chain,
        separator: impl Fn(&mut Self) -> bool,
        operand: impl Fn(&mut Self) -> Parsed<Node>,
    ) -> Parsed<Node> {
        let first = operand(self)?;
        let mut operands = vec![first];
        while separator(self) {
            operands.push(operand(self)?);
        }
        if operands.len() == 1 {
            return Ok(operands.remove(0));
        }
        let span = operands[0].span.start..self.last_end();
        let depth = operands.iter().map(|n| n.depth).max().unwrap_or(0);
        deeper(span, depth, Kind::Chain(chain, operands))
    }

    fn not(&mut self) -> Parsed<Node> {
        let start = self.here().start;
        if !self.word("NOT") {
            return self.predicate();
        }
        let inner = self.nested(Self::not)?;
        deeper(start..self.last_end(), inner.depth, Kind::Not(Box::new(inner)))
    }

    /// Comparisons and the predicates that bind like them.
    fn predicate(&mut self) -> Parsed<Node> {
        let mut left = self.concatenation()?;
        loop {
            let before = self.at;
            left = self.predicate_after(left)?;
            if self.at == before {
                return Ok(left);
            }
        }
    }

    fn predicate_after(&mut self, left: Node) -> Parsed<Node> {
        if let Some(op) = self.comparison() {
            let right = self.concatenation()?;
            return self.binary(op, left, right);
        }
        if self.word("IS") {
            return self.is(left);
        }
        let negated = self.is_word(0, "NOT") && ["BETWEEN", "LIKE", "SIMILAR", "IN"].iter().any(|w| self.is_word(1, w));
        self.at += usize::from(negated);
        if self.word("BETWEEN") {
            self.between(left, negated)
        } else if self.word("IN") {
            self.in_list(left, negated)
        } else if self.word("LIKE") {
            self.like(left, negated, false)
        } else if self.word("SIMILAR") {
            self.expect_word("TO")?;
            self.like(left, negated, true)
        } else {
            Ok(left)
        }
    }

    fn comparison(&mut self) -> Option<Binary> {
        let Some(TokenKind::Sign(sign)) = self.peek() else { return None };
        let op = match *sign {
            "=" => Binary::Eq,
            "<>" | "!=" => Binary::NotEq,
            "<" => Binary::Less,
            "<=" => Binary::LessEq,
            ">" => Binary::Greater,
            ">=" => Binary::GreaterEq,
            _ => return None,
        };
        self.at += 1;
        Some(op)
    }

    fn concatenation(&mut self) -> Parsed<Node> {
        self.chain(Chain::Concat, |p| p.sign("||"), Self::sum)
    }

    fn sum(&mut self) -> Parsed<Node> {
        let mut left = self.product()?;
        loop {
            let op = if self.sign("+") {
                Binary::Add
            } else if self.sign("-") {
                Binary::Subtract
            } else {
                return Ok(left);
            };
            let right = self.product()?;
            left = self.binary(op, left, right)?;
        }
    }

    fn product(&mut self) -> Parsed<Node> {
        let mut left = self.unary()?;
        loop {
            let op = if self.sign("*") {
                Binary::Multiply
            } else if self.sign("/") {
                Binary::Divide
            } else if self.sign("%") {
                Binary::Modulo
            } else {
                return Ok(left);
            };
            let right = self.unary()?;
            left = self.binary(op, left, right)?;
        }
    }

    fn binary(&self, op: Binary, left: Node, right: Node) -> Parsed<Node> {
        let span = left.span.start..right.span.end;
        let depth = left.depth.max(right.depth);
        deeper(span, depth, Kind::Binary(op, Box::new(left), Box::new(right)))
    }

    fn unary(&mut self) -> Parsed<Node> {
        let start = self.here().start;
        if self.sign("+") {
            return self.nested(Self::unary);
        }
        if !self.sign("-") {
            return self.postfix();
        }
        // The sign belongs to the digits, so that the smallest integer can be written.
        if let Some(TokenKind::Number(digits)) = self.peek()
            && !self.is_sign(1, "[")
        {
            self.at += 1;
            return deeper(start..self.last_end(), 0, Kind::Number(format!("-{digits}")));
        }
        let inner = self.nested(Self::unary)?;
        deeper(start..self.last_end(), inner.depth, Kind::Negate(Box::new(inner)))
    }

    fn postfix(&mut self) -> Parsed<Node> {
        let mut node = self.primary()?;
        while self.sign("[") {
            let index = self.expression()?;
            self.expect_sign("]")?;
            let span = node.span.start..self.last_end();
            let depth = node.depth.max(index.depth);
            node = deeper(span, depth, Kind::Element { operand: Box::new(node), index: Box::new(index) })?;
        }
        Ok(node)
    }

    fn primary(&mut self) -> Parsed<Node> {
        let span = self.here();
        let leaf = |kind| Ok(Node { span: span.clone(), depth: 0, kind });
        match self.peek() {
            Some(TokenKind::Number(digits)) => {
                self.at += 1;
                leaf(Kind::Number(digits.clone()))
            }
            Some(TokenKind::Text(text)) => {
                self.at += 1;
                leaf(Kind::Text(text.clone()))
            }
            Some(TokenKind::Sign("(")) => self.parenthesised(),
            Some(TokenKind::Quoted(_)) => self.column(),
            Some(TokenKind::Word(word)) => self.worded(word),
            _ => Err(self.wanted("an expression")),
        }
    }

    fn parenthesised(&mut self) -> Parsed<Node> {
        let start = self.here().start;
        self.at += 1;
        self.refuse_subquery()?;
        let inner = self.expression()?;
        self.expect_sign(")")?;
        Ok(Node { span: start..self.last_end(), ..inner })
    }

    fn refuse_subquery(&self) -> Parsed<()> {
        if !self.is_word(0, "SELECT") && !self.is_word(0, "WITH") {
            return Ok(());
        }
        Err(SqlError::new(Code::SqlNotRowWise, self.here(), "a subquery is not possible in a transform")
            .help("a transform sees one row at a time"))
    }

    fn column(&mut self) -> Parsed<Node> {
        let first = self.name("a column")?;
        let start = first.1.start;
        let mut parts = vec![first];
        while self.is_sign(0, ".") {
            self.at += 1;
            parts.push(self.name("a name")?);
        }
        Ok(Node { span: start..self.last_end(), depth: 0, kind: Kind::Name(parts) })
    }
}

/// A node one level above what it holds.
fn deeper(span: Span, below: u16, kind: Kind) -> Parsed<Node> {
    if below == LONGEST_CHAIN {
        return Err(too_deep(span.start..span.start));
    }
    Ok(Node { span, depth: below + 1, kind })
}

fn too_deep(span: Span) -> SqlError {
    SqlError::new(Code::SqlTooLarge, span, "the expression nests too deeply")
        .help(format!("at most {DEEPEST} brackets may be open and {LONGEST_CHAIN} operators be chained"))
}

fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| word.eq_ignore_ascii_case(reserved))
}

fn clipped(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(40).chain(['…']).collect() }
}
