//! Forms that begin with a word: literals, CASE, CAST, calls, and calls with keywords inside.

use super::super::ast::{Kind, Node, Span, Truth};
use super::super::lex::TokenKind;
use super::types::is_type_word;
use super::{Parsed, Parser, deeper, is_reserved};
use crate::error::SqlError;
use dujiang_core::Code;

/// Functions that may be written without brackets.
const BARE: &[&str] = &["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"];

impl Parser<'_> {
    pub(super) fn worded(&mut self, word: &str) -> Parsed<Node> {
        let span = self.here();
        let upper = word.to_ascii_uppercase();
        let constant = match upper.as_str() {
            "NULL" => Some(Kind::Null),
            "TRUE" => Some(Kind::Boolean(true)),
            "FALSE" => Some(Kind::Boolean(false)),
            // The third truth value.
            "UNKNOWN" if !self.is_sign(1, "(") && !self.is_sign(1, ".") => Some(Kind::Null),
            _ => None,
        };
        if let Some(kind) = constant {
            self.at += 1;
            return Ok(Node { span, depth: 0, kind });
        }
        match upper.as_str() {
            "CASE" => return self.case(),
            "SELECT" | "EXISTS" if self.is_sign(1, "(") || upper == "SELECT" => {
                return Err(SqlError::new(Code::SqlNotRowWise, span, "a subquery is not possible in a transform")
                    .help("a transform sees one row at a time"));
            }
            "INTERVAL" if self.text_follows() => return self.interval(),
            "ARRAY" | "MAP" if self.is_sign(1, "[") => return self.bracketed(upper),
            _ => {}
        }
        if self.text_follows() && is_type_word(&upper) {
            return self.typed_text();
        }
        if self.is_sign(1, "(") {
            return self.call(upper);
        }
        if BARE.contains(&upper.as_str()) {
            self.at += 1;
            return Ok(Node {
                span: span.clone(),
                depth: 0,
                kind: Kind::Call { name: upper, name_span: span, args: vec![] },
            });
        }
        if is_reserved(word) {
            return Err(self.wanted("an expression"));
        }
        self.column()
    }

    fn text_follows(&self) -> bool {
        matches!(self.tokens.get(self.at + 1).map(|t| &t.kind), Some(TokenKind::Text(_)))
    }

    fn typed_text(&mut self) -> Parsed<Node> {
        let start = self.here().start;
        let ty = self.type_name()?;
        let Some(TokenKind::Text(text)) = self.peek() else { return Err(self.wanted("a string")) };
        self.at += 1;
        Ok(Node { span: start..self.last_end(), depth: 0, kind: Kind::TypedText(ty, text.clone()) })
    }

    fn interval(&mut self) -> Parsed<Node> {
        let start = self.here().start;
        self.at += 1;
        let Some(TokenKind::Text(text)) = self.peek() else { return Err(self.wanted("a string")) };
        self.at += 1;
        let from = self.unit()?;
        let to = if self.word("TO") { Some(self.unit()?) } else { None };
        let kind = Kind::Interval { text: text.clone(), from, to };
        Ok(Node { span: start..self.last_end(), depth: 0, kind })
    }

    /// A unit of time, with a precision that says nothing.
    fn unit(&mut self) -> Parsed<String> {
        let (unit, _) = self.name("a unit such as DAY")?;
        if self.sign("(") {
            while matches!(self.peek(), Some(TokenKind::Number(_) | TokenKind::Sign(","))) {
                self.at += 1;
            }
            self.expect_sign(")")?;
        }
        Ok(unit.to_ascii_uppercase())
    }

    fn case(&mut self) -> Parsed<Node> {
        let start = self.here().start;
        self.at += 1;
        let operand = if self.is_word(0, "WHEN") { None } else { Some(Box::new(self.expression()?)) };
        let mut depth = operand.as_ref().map_or(0, |n| n.depth);
        let mut branches = Vec::new();
        while self.word("WHEN") {
            let when = self.expression()?;
            self.expect_word("THEN")?;
            let then = self.expression()?;
            depth = depth.max(when.depth).max(then.depth);
            branches.push((when, then));
        }
        if branches.is_empty() {
            return Err(self.wanted("`WHEN`"));
        }
        let otherwise = if self.word("ELSE") { Some(Box::new(self.expression()?)) } else { None };
        depth = depth.max(otherwise.as_ref().map_or(0, |n| n.depth));
        self.expect_word("END")?;
        deeper(start..self.last_end(), depth, Kind::Case { operand, branches, otherwise })
    }

    fn bracketed(&mut self, name: String) -> Parsed<Node> {
        let name_span = self.here();
        self.at += 2;
        let args = self.list("]")?;
        self.finish_call(name, name_span, args)
    }

    fn list(&mut self, close: &str) -> Parsed<Vec<Node>> {
        let mut args = Vec::new();
        if self.sign(close) {
            return Ok(args);
        }
        loop {
            self.refuse_subquery()?;
            args.push(self.expression()?);
            if self.sign(close) {
                return Ok(args);
            }
            if !self.sign(",") {
                return Err(self.wanted(&format!("`,` or `{close}`")));
            }
        }
    }

    fn finish_call(&mut self, name: String, name_span: Span, args: Vec<Node>) -> Parsed<Node> {
        if self.is_word(0, "OVER") || self.is_word(0, "FILTER") && self.is_sign(1, "(") {
            return Err(SqlError::new(
                Code::SqlNotRowWise,
                self.here(),
                "a window function is not possible in a transform",
            )
            .help("a transform sees one row at a time"));
        }
        let depth = args.iter().map(|n| n.depth).max().unwrap_or(0);
        deeper(name_span.start..self.last_end(), depth, Kind::Call { name, name_span, args })
    }

    fn call(&mut self, name: String) -> Parsed<Node> {
        let name_span = self.here();
        self.at += 2;
        match name.as_str() {
            "CAST" | "TRY_CAST" => return self.cast(name_span, name == "TRY_CAST"),
            "COUNT" if self.is_sign(0, "*") => {
                return Err(super::super::bind::not_row_wise(&name, name_span));
            }
            "DISTINCT" => return Err(self.wanted("an expression")),
            _ => {}
        }
        if self.is_word(0, "DISTINCT") {
            return Err(super::super::bind::not_row_wise(&name, name_span));
        }
        let args = match name.as_str() {
            "EXTRACT" => self.extract()?,
            "POSITION" => self.separated(&["IN"])?,
            "OVERLAY" => self.separated(&["PLACING", "FROM", "FOR"])?,
            "SUBSTRING" | "SUBSTR" => self.separated(&["FROM", "FOR"])?,
            "TRIM" => self.trim()?,
            "CEIL" | "CEILING" | "FLOOR" => self.separated(&["TO"])?,
            _ => self.list(")")?,
        };
        self.finish_call(name, name_span, args)
    }

    fn cast(&mut self, name_span: Span, lenient: bool) -> Parsed<Node> {
        let operand = Box::new(self.expression()?);
        self.expect_word("AS")?;
        let from = self.here().start;
        let target = self.type_name()?;
        let target_span = from..self.last_end();
        self.expect_sign(")")?;
        let depth = operand.depth;
        deeper(name_span.start..self.last_end(), depth, Kind::Cast { operand, target, target_span, lenient })
    }

    fn extract(&mut self) -> Parsed<Vec<Node>> {
        let span = self.here();
        let unit = self.unit()?;
        self.expect_word("FROM")?;
        let operand = self.expression()?;
        self.expect_sign(")")?;
        Ok(vec![Node { span, depth: 0, kind: Kind::Text(unit) }, operand])
    }

    /// Arguments separated by these words in this order, or by commas.
    fn separated(&mut self, words: &[&str]) -> Parsed<Vec<Node>> {
        // `POSITION(a IN b)`: the first operand must not take the IN for its own.
        let mut args = vec![if words == ["IN"] { self.nested(Self::concatenation)? } else { self.expression()? }];
        let mut words = words.iter();
        loop {
            if self.sign(")") {
                return Ok(args);
            }
            if !self.sign(",") && !words.any(|word| self.word(word)) {
                return Err(self.wanted("`,` or `)`"));
            }
            args.push(self.expression()?);
        }
    }

    /// TRIM: (side, characters, text); without FROM (text) or (text, characters).
    fn trim(&mut self) -> Parsed<Vec<Node>> {
        let span = self.here();
        let side = ["BOTH", "LEADING", "TRAILING"].into_iter().find(|side| self.word(side));
        let text = |text: &str| Node { span: span.clone(), depth: 0, kind: Kind::Text(text.to_owned()) };
        let side_node = text(side.unwrap_or("BOTH"));
        if self.word("FROM") {
            let operand = self.expression()?;
            self.expect_sign(")")?;
            return Ok(vec![side_node, text(" "), operand]);
        }
        let first = self.expression()?;
        if self.word("FROM") {
            let operand = self.expression()?;
            self.expect_sign(")")?;
            return Ok(vec![side_node, first, operand]);
        }
        let characters = if self.sign(",") { self.expression()? } else { text(" ") };
        self.expect_sign(")")?;
        Ok(vec![side_node, characters, first])
    }

    // ---- predicates

    pub(super) fn is(&mut self, left: Node) -> Parsed<Node> {
        let negated = self.word("NOT");
        let start = left.span.start;
        if self.word("DISTINCT") {
            self.expect_word("FROM")?;
            let right = self.concatenation()?;
            let depth = left.depth.max(right.depth);
            let kind = Kind::Distinct { left: Box::new(left), right: Box::new(right), negated };
            return deeper(start..self.last_end(), depth, kind);
        }
        let words =
            [("NULL", Truth::Null), ("TRUE", Truth::True), ("FALSE", Truth::False), ("UNKNOWN", Truth::Unknown)];
        let Some((_, what)) = words.into_iter().find(|(word, _)| self.word(word)) else {
            return Err(self.wanted("`NULL`, `TRUE`, `FALSE`, `UNKNOWN` or `DISTINCT FROM`"));
        };
        let depth = left.depth;
        deeper(start..self.last_end(), depth, Kind::Is { operand: Box::new(left), what, negated })
    }

    pub(super) fn between(&mut self, left: Node, negated: bool) -> Parsed<Node> {
        let low = self.concatenation()?;
        self.expect_word("AND")?;
        let high = self.concatenation()?;
        let depth = left.depth.max(low.depth).max(high.depth);
        let span = left.span.start..self.last_end();
        let kind = Kind::Between { operand: Box::new(left), low: Box::new(low), high: Box::new(high), negated };
        deeper(span, depth, kind)
    }

    pub(super) fn in_list(&mut self, left: Node, negated: bool) -> Parsed<Node> {
        self.expect_sign("(")?;
        if self.is_sign(0, ")") {
            return Err(self.wanted("a value"));
        }
        let list = self.list(")")?;
        let depth = list.iter().map(|n| n.depth).max().unwrap_or(0).max(left.depth);
        let span = left.span.start..self.last_end();
        deeper(span, depth, Kind::In { operand: Box::new(left), list, negated })
    }

    pub(super) fn like(&mut self, left: Node, negated: bool, similar: bool) -> Parsed<Node> {
        let pattern = self.concatenation()?;
        let escape = if self.word("ESCAPE") { Some(Box::new(self.concatenation()?)) } else { None };
        let depth = left.depth.max(pattern.depth).max(escape.as_ref().map_or(0, |n| n.depth));
        let span = left.span.start..self.last_end();
        let kind = Kind::Like { operand: Box::new(left), pattern: Box::new(pattern), escape, negated, similar };
        deeper(span, depth, kind)
    }
}
