//! What the parser makes of SQL text: a tree with the place of every part.

pub(crate) use crate::operator::Binary;
use std::ops::Range;

/// Bytes of the SQL text.
pub(crate) type Span = Range<usize>;

/// One part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub span: Span,
    /// Levels below this one; the parser keeps it small.
    pub depth: u16,
    pub kind: Kind,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    /// `DATE '…'`, `TIMESTAMP '…'`, `TIME '…'`.
    TypedText(TypeName, String),
    Interval {
        text: String,
        from: String,
        to: Option<String>,
    },
    /// A column, perhaps after its table, perhaps followed by fields of a ROW.
    Name(Vec<(String, Span)>),
    Negate(Box<Node>),
    Not(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    /// AND, OR and `||` over two or more operands: chains stay flat.
    Chain(Chain, Vec<Node>),
    Is {
        operand: Box<Node>,
        what: Truth,
        negated: bool,
    },
    Distinct {
        left: Box<Node>,
        right: Box<Node>,
        negated: bool,
    },
    Between {
        operand: Box<Node>,
        low: Box<Node>,
        high: Box<Node>,
        negated: bool,
    },
    Like {
        operand: Box<Node>,
        pattern: Box<Node>,
        escape: Option<Box<Node>>,
        negated: bool,
        similar: bool,
    },
    In {
        operand: Box<Node>,
        list: Vec<Node>,
        negated: bool,
    },
    Case {
        operand: Option<Box<Node>>,
        branches: Vec<(Node, Node)>,
        otherwise: Option<Box<Node>>,
    },
    Cast {
        operand: Box<Node>,
        target: TypeName,
        target_span: Span,
        lenient: bool,
    },
    /// Any call; forms with keywords inside are written as plain calls.
    Call {
        name: String,
        name_span: Span,
        args: Vec<Node>,
    },
    Element {
        operand: Box<Node>,
        index: Box<Node>,
    },
}

/// Operators whose chains are flat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    And,
    Or,
    Concat,
}

/// What follows IS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    Null,
    True,
    False,
    Unknown,
}

/// A type as written: its words in upper case and the numbers in brackets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TypeName {
    pub name: String,
    pub arguments: Vec<u32>,
}

/// One entry of a projection list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// `*` or `table.*`.
    Star(Option<(String, Span)>),
    /// `expression AS name`.
    Expression { node: Node, alias: Option<(String, Span)> },
}
