//! Arithmetic, `||`, AND, OR, NOT, elements and CASE.

use super::super::ast::{Binary, Chain, Node, Span};
use super::{Binder, Bound, Typed, folded, type_error};
use crate::error::SqlError;
use crate::eval::cast::Target;
use crate::eval::float;
use crate::eval::logic::Logic;
use crate::eval::number::{self, Unary};
use crate::eval::text;
use crate::types::{Type, decimal, unified};
use arrow_array::types::{Int16Type, Int32Type, Int64Type};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{self, BinaryExpr};
use std::sync::Arc;

fn sign(op: Binary) -> &'static str {
    match op {
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        Binary::Modulo => "%",
        Binary::Eq => "=",
        Binary::NotEq => "<>",
        Binary::Less => "<",
        Binary::LessEq => "<=",
        Binary::Greater => ">",
        Binary::GreaterEq => ">=",
    }
}

impl Binder<'_> {
    pub(super) fn binary(&mut self, op: Binary, left: &Node, right: &Node, span: Span) -> Bound {
        let operands = self.parts([left, right])?;
        let [left, right] = <[Typed; 2]>::try_from(operands).expect("invariant: two parts were bound");
        match op {
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Modulo => {
                self.arithmetic(op, left, right, span)
            }
            _ => self.compare(op, left, right, span),
        }
    }

    fn arithmetic(&mut self, op: Binary, left: Typed, right: Typed, span: Span) -> Bound {
        if let Some(result) = self.temporal(op, &left, &right, &span) {
            return result;
        }
        let (left, right) = (self.number_operand(left)?, self.number_operand(right)?);
        let (a, b) = match (&left.ty, &right.ty) {
            (Type::Null, Type::Null) => (Type::Int, Type::Int),
            (Type::Null, other) | (other, Type::Null) => (other.clone(), other.clone()),
            (a, b) => (a.clone(), b.clone()),
        };
        if !a.is_number() || !b.is_number() {
            let help = if a == Type::Text && b == Type::Text && op == Binary::Add {
                "|| joins texts"
            } else {
                "CAST converts a value to a number"
            };
            return Err(type_error(span, format!("{} {} {} is not possible", left.ty, sign(op), right.ty)).help(help));
        }
        if a.is_float() || b.is_float() {
            return self.float_arithmetic(op, left, right, &a, &b);
        }
        if a.is_decimal() || b.is_decimal() {
            return self.decimal_arithmetic(op, left, right, (&a, &b), span);
        }
        self.integer_arithmetic(op, left, right, &a, &b)
    }

    /// A string as written beside an operator is read as a number, as PostgreSQL does.
    fn number_operand(&self, operand: Typed) -> Bound {
        if !operand.is_string {
            return Ok(operand);
        }
        let text = operand.text_constant().unwrap_or_default().trim().to_owned();
        match super::literal::number(&text, operand.span.clone()) {
            Ok(number) if text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                Ok(number)
            }
            _ => Ok(operand),
        }
    }

    fn integer_arithmetic(&self, op: Binary, left: Typed, right: Typed, a: &Type, b: &Type) -> Bound {
        let wider = if a.digits() > b.digits() { a.clone() } else { b.clone() };
        let ty = if wider == Type::TinyInt { Type::SmallInt } else { wider };
        let left = self.cast(left, Target::plain(ty.clone()), false);
        let right = self.cast(right, Target::plain(ty.clone()), false);
        let width = match ty {
            Type::SmallInt => 2,
            Type::Int => 4,
            _ => 8,
        };
        let operator = match op {
            Binary::Add => Operator::Plus,
            Binary::Subtract => Operator::Minus,
            Binary::Multiply => Operator::Multiply,
            Binary::Divide => Operator::Divide,
            _ => return Ok(self.call("modulo", number::integer_rest(width), vec![left, right], ty)),
        };
        let nullable = left.nullable || right.nullable;
        let constant = left.constant.is_some() && right.constant.is_some();
        let span = left.span.start..right.span.end;
        let expr = BinaryExpr::new(left.expr, operator, right.expr).with_fail_on_overflow(true);
        Ok(folded(Arc::new(expr), ty, nullable, span, constant))
    }

    fn float_arithmetic(&self, op: Binary, left: Typed, right: Typed, a: &Type, b: &Type) -> Bound {
        let ty = if *a == Type::Float && *b == Type::Float { Type::Float } else { Type::Double };
        let left = self.cast(left, Target::plain(ty.clone()), false);
        let right = self.cast(right, Target::plain(ty.clone()), false);
        Ok(self.call("float arithmetic", float::arithmetic(op, ty == Type::Double), vec![left, right], ty))
    }

    fn decimal_arithmetic(&self, op: Binary, left: Typed, right: Typed, types: (&Type, &Type), span: Span) -> Bound {
        let wide = |t: &Type| matches!(t, Type::WideDecimal(..));
        if wide(types.0) || wide(types.1) {
            return Err(type_error(span, "a decimal of more than 38 digits cannot be computed with")
                .help("cast it first: CAST(... AS DECIMAL(38, s))"));
        }
        let (Some((before_a, sa)), Some((before_b, sb))) = (types.0.digits(), types.1.digits()) else {
            return Err(type_error(span, "these are no numbers"));
        };
        let (before_a, before_b) = (u32::from(before_a), u32::from(before_b));
        let most = sa.max(sb);
        let (before, scale) = match op {
            Binary::Add | Binary::Subtract => (before_a.max(before_b) + 1, most),
            Binary::Multiply => (before_a + before_b, sa + sb),
            Binary::Divide => {
                let before = before_a + sb as u32;
                let wanted = (i32::from(sa) + before_b as i32 + i32::from(sb) + 1).max(16);
                (before, wanted.min((38 - before as i32).max(6)) as i8)
            }
            _ => (before_a.max(before_b), most),
        };
        if scale > 38 {
            return Err(type_error(span, format!("the product would need {scale} digits after the point"))
                .help("cast one factor to fewer digits: CAST(... AS DECIMAL(p, s))"));
        }
        let out = decimal(before + scale as u32, scale, 38);
        let Type::Decimal(p, s) = out else { return Err(type_error(span, "no such decimal")) };
        let left = self.as_decimal(left, types.0);
        let right = self.as_decimal(right, types.1);
        Ok(self.call("decimal arithmetic", number::decimal_arithmetic(op, (sa, sb), (p, s)), vec![left, right], out))
    }

    /// An exact number as a decimal of its own scale.
    fn as_decimal(&self, value: Typed, ty: &Type) -> Typed {
        let (_, scale) = ty.digits().unwrap_or((38, 0));
        if value.ty.is_decimal() { value } else { self.cast(value, Target::plain(Type::Decimal(38, scale)), false) }
    }

    pub(super) fn negate(&mut self, inner: &Node, span: Span) -> Bound {
        let inner = self.part(inner)?;
        if let Some(i) = inner.interval {
            let interval = super::literal::IntervalValue { months: -i.months, days: -i.days, micros: -i.micros };
            return Ok(Typed { interval: Some(interval), ..inner });
        }
        self.number_function("-", Unary::Negate, inner, span)
    }

    /// Negation, ABS, CEIL and FLOOR.
    pub(super) fn number_function(&self, name: &'static str, op: Unary, value: Typed, span: Span) -> Bound {
        let value = self.number_operand(value)?;
        let value = if value.ty == Type::Null { self.cast(value, Target::plain(Type::Int), false) } else { value };
        let whole = matches!(op, Unary::Ceil | Unary::Floor);
        let value =
            if value.ty == Type::TinyInt { self.cast(value, Target::plain(Type::SmallInt), false) } else { value };
        let ty = value.ty.clone();
        let (kernel, out) = match ty {
            _ if ty.is_integer() && whole => return Ok(value),
            Type::SmallInt => (number::integer_unary::<Int16Type>(op), ty),
            Type::Int => (number::integer_unary::<Int32Type>(op), ty),
            Type::BigInt => (number::integer_unary::<Int64Type>(op), ty),
            Type::Decimal(p, s) if whole => {
                let digits = (p - s as u8 + 1).min(38);
                (number::decimal_unary(op, s, (digits, 0)), Type::Decimal(digits, 0))
            }
            Type::Decimal(p, s) => (number::decimal_unary(op, s, (p, s)), ty),
            Type::Float | Type::Double => (number::float_unary(op, ty == Type::Double), ty),
            _ => return Err(type_error(span, format!("{name} needs a number, and this is {ty}"))),
        };
        Ok(self.call(name, kernel, vec![value], out))
    }

    // ---- truth

    pub(super) fn truth(&self, value: Typed, what: &str) -> Bound {
        self.coerce(value, &Type::Boolean, what)
    }

    pub(super) fn not(&mut self, inner: &Node) -> Bound {
        let inner = self.part(inner)?;
        let inner = self.truth(inner, "the operand of NOT")?;
        Ok(negated(inner))
    }

    pub(super) fn chain(&mut self, chain: Chain, operands: &[Node], span: Span) -> Bound {
        let bound = self.parts(operands)?;
        match chain {
            Chain::Concat => self.concat_operator(bound, span),
            Chain::And | Chain::Or => {
                let name = if chain == Chain::And { "an operand of AND" } else { "an operand of OR" };
                let truths = bound.into_iter().map(|t| self.truth(t, name)).collect::<Result<Vec<_>, _>>()?;
                Ok(logic(truths, chain == Chain::And))
            }
        }
    }

    /// `||`: texts (and what can be printed beside a text), or byte strings.
    fn concat_operator(&self, operands: Vec<Typed>, span: Span) -> Bound {
        if operands.iter().all(|o| matches!(o.ty, Type::Bytes | Type::Null))
            && operands.iter().any(|o| o.ty == Type::Bytes)
        {
            let bytes = operands.into_iter().map(|o| self.coerce(o, &Type::Bytes, "an operand of ||"));
            return Ok(self.call("||", text::concat_bytes(), bytes.collect::<Result<_, _>>()?, Type::Bytes));
        }
        let printed = operands.into_iter().map(|o| self.printed(o, "an operand of ||"));
        let printed = printed.collect::<Result<Vec<_>, SqlError>>()?;
        let typed = self.call("||", text::concat(false), printed, Type::Text);
        Ok(Typed { span, ..typed })
    }

    /// A value as text, by itself.
    pub(super) fn printed(&self, value: Typed, what: &str) -> Bound {
        if value.ty == Type::Text {
            return Ok(value);
        }
        if value.ty == Type::Null || crate::eval::cast::possible(&value.ty, &Type::Text) && value.ty != Type::Bytes {
            return Ok(self.cast(value, Target::plain(Type::Text), false));
        }
        Err(type_error(value.span.clone(), format!("{what} must be STRING, and this is {}", value.ty)))
    }

    // ---- choices

    pub(super) fn case(
        &mut self,
        operand: Option<&Node>,
        branches: &[(Node, Node)],
        otherwise: Option<&Node>,
        span: Span,
    ) -> Bound {
        let operand = operand.map(|node| self.part(node)).transpose()?;
        let mut whens = Vec::new();
        let mut thens = Vec::new();
        for (when, then) in branches {
            let (bound, result) = (self.part(when), self.part(then));
            let bound = bound?;
            whens.push(match &operand {
                Some(operand) => self.compare(Binary::Eq, operand.clone(), bound, when.span.clone())?,
                None => self.truth(bound, "a condition")?,
            });
            thens.push(result?);
        }
        let otherwise = otherwise.map(|node| self.part(node)).transpose()?;
        self.choose(whens, thens, otherwise, span)
    }

    /// The first value whose condition is true. Values that are not chosen are not computed.
    pub(super) fn choose(&self, whens: Vec<Typed>, thens: Vec<Typed>, otherwise: Option<Typed>, span: Span) -> Bound {
        let ends_in_null = otherwise.is_none();
        let ty = self.common(thens.iter().chain(&otherwise), &span)?;
        let coerced = |value: Typed| self.coerce_result(value, &ty);
        let nullable = ends_in_null || thens.iter().chain(&otherwise).any(|t| t.nullable);
        let thens = thens.into_iter().map(coerced).collect::<Result<Vec<_>, _>>()?;
        let otherwise = otherwise.map(coerced).transpose()?;
        let constant = whens.iter().chain(&thens).chain(&otherwise).all(|t| t.constant.is_some());
        let pairs = whens.into_iter().zip(thens).map(|(when, then)| (when.expr, then.expr)).collect();
        let end = otherwise.map(|o| o.expr);
        let expr = expressions::CaseExpr::try_new(None, pairs, end)
            .map_err(|e| type_error(span.clone(), format!("this CASE is not possible: {e}")))?;
        Ok(folded(Arc::new(expr), ty, nullable, span, constant))
    }

    /// The type of a value that is one of several.
    pub(super) fn common<'t>(&self, values: impl Iterator<Item = &'t Typed>, span: &Span) -> Result<Type, SqlError> {
        let values: Vec<&Typed> = values.collect();
        let typed = values.iter().filter(|v| !v.is_string && v.ty != Type::Null);
        let mut ty = Type::Null;
        for value in typed {
            ty = unified(&ty, &value.ty).ok_or_else(|| {
                type_error(
                    value.span.clone(),
                    format!("this is {}, and another value is {ty}: they have no type in common", value.ty),
                )
                .help("CAST one to the type of the other")
            })?;
        }
        if ty == Type::Interval {
            return Err(type_error(span.clone(), "an INTERVAL can only be added or subtracted"));
        }
        if ty == Type::Null { Ok(Type::Text) } else { Ok(ty) }
    }

    pub(super) fn coerce_result(&self, value: Typed, ty: &Type) -> Bound {
        if value.ty == *ty {
            return Ok(value);
        }
        if value.is_string {
            return self.coerce(value, ty, "this value");
        }
        Ok(match (&value.ty, ty) {
            (Type::Array(_), Type::Array(_)) => self.cast_array(value, ty),
            _ => self.cast(value, Target::plain(ty.clone()), false),
        })
    }
}

/// NOT, three-valued.
pub(super) fn negated(value: Typed) -> Typed {
    let constant = value.constant.is_some();
    let expr: Arc<dyn PhysicalExpr> = Arc::new(expressions::NotExpr::new(value.expr));
    folded(expr, Type::Boolean, value.nullable, value.span, constant)
}

/// A chain as a tree whose depth is the logarithm of its length.
pub(super) fn logic(mut operands: Vec<Typed>, is_and: bool) -> Typed {
    if operands.len() == 1 {
        return operands.remove(0);
    }
    let right = operands.split_off(operands.len() / 2);
    let (left, right) = (logic(operands, is_and), logic(right, is_and));
    let nullable = left.nullable || right.nullable;
    let constant = left.constant.is_some() && right.constant.is_some();
    let span = left.span.start..right.span.end;
    let expr = Arc::new(Logic { left: left.expr, right: right.expr, is_and });
    folded(expr, Type::Boolean, nullable, span, constant)
}
