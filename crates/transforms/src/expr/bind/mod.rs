//! Names to columns, operators and calls to functions over Arrow columns, with the types checked on the way.
//!
//! Every mistake of a text is collected, so that `check` shows them all at once.

mod calls;
mod casts;
mod literal;
mod operators;
mod predicates;
mod temporal;

use super::ast::{Item, Kind, Node, Span};
use super::input::{Input, InputKind, Meta};
use crate::error::{SqlError, nearest};
use crate::eval::{self, Kernel};
use crate::types::Type;
use datafusion_common::ScalarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, Literal};
use dujiang_core::{Code, TableSchema};
use literal::IntervalValue;
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use calls::{functions, unknown_function};

/// What expressions are compiled for.
pub(crate) struct Binder<'a> {
    pub schema: &'a TableSchema,
    pub zone: chrono_tz::Tz,
    /// Connector metadata that may be read (`op_ts`, ...).
    pub metadata: &'a [String],
    /// Names that stand for an expression (aliases of the projection, for the filter).
    pub aliases: HashMap<String, Node>,
    /// Columns the compiled expressions read, in the order of their physical columns.
    pub inputs: Vec<Input>,
    pub errors: Vec<SqlError>,
    expanding: bool,
    calls_of_uuid: usize,
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Typed {
    pub expr: Arc<dyn PhysicalExpr>,
    pub ty: Type,
    pub nullable: bool,
    pub span: Span,
    /// Its value, when it needs no row.
    pub constant: Option<ScalarValue>,
    /// A string as written, which takes the type it meets.
    pub is_string: bool,
    pub interval: Option<IntervalValue>,
}

impl Typed {
    pub fn text_constant(&self) -> Option<&str> {
        match &self.constant {
            Some(ScalarValue::Utf8(Some(text))) => Some(text),
            _ => None,
        }
    }

    pub fn integer_constant(&self) -> Option<i64> {
        match &self.constant {
            Some(ScalarValue::Int32(Some(n))) => Some(i64::from(*n)),
            Some(ScalarValue::Int64(Some(n))) => Some(*n),
            _ => None,
        }
    }

    fn literal(value: ScalarValue, ty: Type, span: Span) -> Self {
        let expr = Arc::new(Literal::new(value.clone()));
        Self { expr, ty, nullable: value.is_null(), span, constant: Some(value), is_string: false, interval: None }
    }
}

pub(crate) type Bound = Result<Typed, SqlError>;

/// The error of an aggregate.
pub(crate) fn not_row_wise(name: &str, span: Span) -> SqlError {
    SqlError::new(Code::SqlNotRowWise, span, format!("the aggregate {name} is not possible in a transform"))
        .help("a transform sees one row at a time")
}

fn type_error(span: Span, message: impl Into<String>) -> SqlError {
    SqlError::new(Code::SqlType, span, message)
}

impl<'a> Binder<'a> {
    pub fn new(schema: &'a TableSchema, zone: chrono_tz::Tz, metadata: &'a [String]) -> Self {
        Self {
            schema,
            zone,
            metadata,
            aliases: HashMap::new(),
            inputs: Vec::new(),
            errors: Vec::new(),
            expanding: false,
            calls_of_uuid: 0,
        }
    }

    /// Compiles an expression; `None` when it has mistakes, which are in `errors` then.
    pub fn bind(&mut self, node: &Node) -> Option<Typed> {
        let before = self.errors.len();
        match self.node(node) {
            Ok(typed) if self.errors.len() == before => Some(Typed { span: node.span.clone(), ..typed }),
            Ok(_) => None,
            Err(error) => {
                // Parts that failed have spoken already.
                if self.errors.len() == before {
                    self.errors.push(error);
                }
                None
            }
        }
    }

    /// Compiles a condition.
    pub fn condition(&mut self, node: &Node) -> Option<Typed> {
        let typed = self.bind(node)?;
        match self.truth(typed, "a filter") {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    /// NULL without a type as a column: text.
    pub fn null_as_text(&self, typed: Typed) -> Typed {
        self.cast(typed, crate::eval::cast::Target::plain(Type::Text), false)
    }

    /// Compiles a part; its mistakes are kept, and the whole goes on with a stand-in only to find more of them.
    fn part(&mut self, node: &Node) -> Bound {
        self.bind(node).ok_or_else(|| SqlError::new(Code::SqlType, node.span.clone(), "a part of this is wrong"))
    }

    fn parts<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) -> Result<Vec<Typed>, SqlError> {
        let bound: Vec<Bound> = nodes.into_iter().map(|node| self.part(node)).collect();
        bound.into_iter().collect()
    }

    fn node(&mut self, node: &Node) -> Bound {
        let span = node.span.clone();
        match &node.kind {
            Kind::Null => Ok(Typed::literal(ScalarValue::Null, Type::Null, span)),
            Kind::Boolean(value) => Ok(Typed::literal(ScalarValue::Boolean(Some(*value)), Type::Boolean, span)),
            Kind::Number(digits) => literal::number(digits, span),
            Kind::Text(text) => Ok(literal::text(text, span)),
            Kind::TypedText(ty, text) => self.typed_text(ty, text, span),
            Kind::Interval { text, from, to } => literal::interval(text, from, to.as_deref(), span),
            Kind::Name(parts) => self.name(parts, span),
            Kind::Negate(inner) => self.negate(inner, span),
            Kind::Not(inner) => self.not(inner),
            Kind::Binary(op, left, right) => self.binary(*op, left, right, span),
            Kind::Chain(chain, operands) => self.chain(*chain, operands, span),
            Kind::Is { operand, what, negated } => self.is(operand, *what, *negated, span),
            Kind::Distinct { left, right, negated } => self.distinct(left, right, *negated, span),
            Kind::Between { operand, low, high, negated } => self.between(operand, low, high, *negated, span),
            Kind::Like { operand, pattern, escape, negated, similar } => {
                self.like(operand, pattern, escape.as_deref(), *negated, *similar, span)
            }
            Kind::In { operand, list, negated } => self.in_list(operand, list, *negated, span),
            Kind::Case { operand, branches, otherwise } => {
                self.case(operand.as_deref(), branches, otherwise.as_deref(), span)
            }
            Kind::Cast { operand, target, target_span, lenient } => {
                self.cast_node(operand, target, target_span.clone(), *lenient, span)
            }
            Kind::Call { name, name_span, args } => self.call_node(name, name_span.clone(), args, span),
            Kind::Element { operand, index } => self.element(operand, index, span),
        }
    }

    // ---- names

    fn name(&mut self, parts: &[(String, Span)], span: Span) -> Bound {
        let mut parts = parts;
        let is_table =
            parts.len() > 1 && parts[0].0 == *self.schema.id.table && self.column_index(&parts[0].0).is_none();
        if is_table {
            parts = &parts[1..];
        }
        let (name, name_span) = &parts[0];
        let mut typed = self.column(name, name_span.clone())?;
        for (field, field_span) in &parts[1..] {
            typed = self.field(typed, field, field_span.clone())?;
        }
        Ok(Typed { span, ..typed })
    }

    fn column_index(&self, name: &str) -> Option<usize> {
        self.schema.arrow.fields().iter().position(|f| f.name() == name)
    }

    fn column(&mut self, name: &str, span: Span) -> Bound {
        // The projected name wins; inside its own definition names are those of the table.
        if !self.expanding
            && let Some(node) = self.aliases.get(name).cloned()
        {
            self.expanding = true;
            let bound = self.node(&node);
            self.expanding = false;
            return bound.map_err(|e| SqlError { span, ..e });
        }
        if let Some(meta) = Meta::named(name, self.metadata) {
            return Ok(self.input(InputKind::Meta(meta), meta.ty(), meta.nullable(), span));
        }
        let Some(index) = self.column_index(name) else { return Err(self.unknown_column(name, span)) };
        let field = self.schema.arrow.field(index);
        let Some(ty) = Type::of(field) else {
            return Err(type_error(
                span,
                format!("column `{name}` of type {} cannot be computed with", field.data_type()),
            )
            .help("it can be projected as it is"));
        };
        Ok(self.input(InputKind::Column(index), ty, field.is_nullable(), span))
    }

    fn unknown_column(&self, name: &str, span: Span) -> SqlError {
        let columns: Vec<&str> = self.schema.arrow.fields().iter().map(|f| f.name().as_str()).collect();
        let known =
            columns.iter().copied().chain(self.aliases.keys().map(String::as_str)).chain(Meta::NAMES.iter().copied());
        let error =
            SqlError::new(Code::SqlUnknownColumn, span, format!("table {} has no column `{name}`", self.schema.id));
        if Meta::LISTED.contains(&name) {
            return error.help(format!("to read this fact about a change, set `metadata.list: {name}` in the source"));
        }
        // Backticks or double quotes around a name are part of its place in the text.
        let quoted = error.span.len() == name.len() + 2;
        match nearest(name, known) {
            None if quoted => error.help(format!("a name stands in double quotes, a text in single ones: '{name}'")),
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None if columns.len() <= 20 => error.help(format!("it has {}", columns.join(", "))),
            None => error,
        }
    }

    /// A column the expressions read.
    pub fn input(&mut self, kind: InputKind, ty: Type, nullable: bool, span: Span) -> Typed {
        let found = self.inputs.iter().position(|input| input.kind == kind);
        let index = found.unwrap_or_else(|| {
            self.inputs.push(Input { kind, ty: ty.clone(), nullable });
            self.inputs.len() - 1
        });
        let expr = Arc::new(Column::new(&format!("c{index}"), index));
        Typed { expr, ty, nullable, span, constant: None, is_string: false, interval: None }
    }

    // ---- calls

    /// A call of a kernel that is NULL at most where an argument is.
    fn call(&self, name: &'static str, kernel: Kernel, args: Vec<Typed>, out: Type) -> Typed {
        let nullable = args.iter().any(|a| a.nullable);
        self.call_nullable(name, kernel, args, out, nullable)
    }

    fn call_nullable(&self, name: &'static str, kernel: Kernel, args: Vec<Typed>, out: Type, nullable: bool) -> Typed {
        let constant = args.iter().all(|a| a.constant.is_some());
        let span = span_of(&args);
        let physical = args.into_iter().map(|a| a.expr).collect();
        let expr = eval::call(name, kernel, physical, out.arrow(), nullable);
        folded(expr, out, nullable, span, constant)
    }
}

/// The expression, or its value if that can be known now.
fn folded(expr: Arc<dyn PhysicalExpr>, ty: Type, nullable: bool, span: Span, constant: bool) -> Typed {
    let value = if constant { eval::constant(expr.as_ref()) } else { None };
    match value {
        Some(value) => Typed::literal(value, ty, span),
        None => Typed { expr, ty, nullable, span, constant: None, is_string: false, interval: None },
    }
}

fn span_of(args: &[Typed]) -> Span {
    match (args.first(), args.last()) {
        (Some(first), Some(last)) => first.span.start..last.span.end.max(first.span.start),
        _ => 0..0,
    }
}

/// The names a projection gives to expressions, the later of two winning.
pub(crate) fn aliases(items: &[Item]) -> HashMap<String, Node> {
    let mut names = HashMap::new();
    for item in items {
        if let Item::Expression { node, alias: Some((name, _)) } = item {
            names.insert(name.clone(), node.clone());
        }
    }
    names
}
