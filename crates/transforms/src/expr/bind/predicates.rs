//! Comparisons, IS, BETWEEN, IN, LIKE and SIMILAR TO.

use super::super::ast::{Binary, Node, Span, Truth};
use super::operators::{logic, negated};
use super::{Binder, Bound, Typed, folded, type_error};
use crate::error::SqlError;
use crate::eval::cast::Target;
use crate::eval::{float, like, regex};
use crate::types::{Type, comparable};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, IsNotNullExpr, IsNullExpr, Literal};
use std::sync::Arc;

fn operator(op: Binary) -> Operator {
    match op {
        Binary::NotEq => Operator::NotEq,
        Binary::Less => Operator::Lt,
        Binary::LessEq => Operator::LtEq,
        Binary::Greater => Operator::Gt,
        Binary::GreaterEq => Operator::GtEq,
        _ => Operator::Eq,
    }
}

impl Binder<'_> {
    pub(super) fn compare(&self, op: Binary, left: Typed, right: Typed, span: Span) -> Bound {
        let (left, right) = self.comparable(left, right, &span)?;
        let nullable = left.nullable || right.nullable;
        Ok(compared(operator(op), left, right, nullable))
    }

    /// Both operands in one type that Arrow compares as PostgreSQL does.
    fn comparable(&self, left: Typed, right: Typed, span: &Span) -> Result<(Typed, Typed), SqlError> {
        let ty = self.comparison_type(&left, &right, span)?;
        let left = self.for_comparison(left, &ty)?;
        let right = self.for_comparison(right, &ty)?;
        Ok((left, right))
    }

    fn comparison_type(&self, left: &Typed, right: &Typed, span: &Span) -> Result<Type, SqlError> {
        let ty = match (left.is_string, right.is_string) {
            (true, false) if right.ty != Type::Null => Some(right.ty.clone()),
            (false, true) if left.ty != Type::Null => Some(left.ty.clone()),
            _ => comparable(&left.ty, &right.ty),
        };
        match ty {
            Some(Type::Null) => Ok(Type::Text),
            Some(Type::Map(..) | Type::Row(_) | Type::Array(_) | Type::Variant | Type::Interval) | None => {
                Err(type_error(span.clone(), format!("{} and {} cannot be compared", left.ty, right.ty))
                    .help("CAST one to the type of the other"))
            }
            Some(ty) => Ok(ty),
        }
    }

    fn for_comparison(&self, value: Typed, ty: &Type) -> Bound {
        let value = if value.is_string { self.coerce(value, ty, "this value")? } else { value };
        let value = self.cast(value, Target::plain(ty.clone()), false);
        Ok(match ty {
            Type::Float => self.call("canonical", float::canonical(false), vec![value], Type::Float),
            Type::Double => self.call("canonical", float::canonical(true), vec![value], Type::Double),
            _ => value,
        })
    }

    pub(super) fn is(&mut self, operand: &Node, what: Truth, not: bool, span: Span) -> Bound {
        let operand = self.part(operand)?;
        if what == Truth::Null {
            let operand =
                if operand.ty == Type::Null { self.cast(operand, Target::plain(Type::Text), false) } else { operand };
            return Ok(is_null(operand, not, span));
        }
        let operand = self.truth(operand, "the operand of IS")?;
        let wanted = match what {
            Truth::True => true,
            Truth::False => false,
            _ => return Ok(is_null(operand, not, span)),
        };
        let literal = Typed::literal(ScalarValue::Boolean(Some(wanted)), Type::Boolean, span);
        let op = if not { Operator::IsDistinctFrom } else { Operator::IsNotDistinctFrom };
        Ok(compared(op, operand, literal, false))
    }

    pub(super) fn distinct(&mut self, left: &Node, right: &Node, not: bool, span: Span) -> Bound {
        let operands = self.parts([left, right])?;
        let [left, right] = <[Typed; 2]>::try_from(operands).expect("invariant: two parts were bound");
        let (left, right) = self.comparable(left, right, &span)?;
        let op = if not { Operator::IsNotDistinctFrom } else { Operator::IsDistinctFrom };
        Ok(compared(op, left, right, false))
    }

    pub(super) fn between(&mut self, operand: &Node, low: &Node, high: &Node, not: bool, span: Span) -> Bound {
        let operands = self.parts([operand, low, high])?;
        let [operand, low, high] = <[Typed; 3]>::try_from(operands).expect("invariant: three parts were bound");
        let above = self.compare(Binary::GreaterEq, operand.clone(), low, span.clone())?;
        let below = self.compare(Binary::LessEq, operand, high, span)?;
        let both = logic(vec![above, below], true);
        Ok(if not { negated(both) } else { both })
    }

    pub(super) fn in_list(&mut self, operand: &Node, list: &[Node], not: bool, span: Span) -> Bound {
        let operand = self.part(operand)?;
        let list = self.parts(list)?;
        let any = match self.in_set(&operand, &list, &span) {
            Some(set) => set,
            None => {
                let equal = |item: Typed| self.compare(Binary::Eq, operand.clone(), item, span.clone());
                logic(list.into_iter().map(equal).collect::<Result<Vec<_>, _>>()?, false)
            }
        };
        Ok(if not { negated(any) } else { any })
    }

    /// Many constants of one type are looked up in a set.
    fn in_set(&self, operand: &Typed, list: &[Typed], span: &Span) -> Option<Typed> {
        if list.len() < 4 || operand.constant.is_some() {
            return None;
        }
        let mut ty = None;
        for item in list {
            let common = self.comparison_type(operand, item, span).ok()?;
            if item.constant.is_none() || ty.get_or_insert_with(|| common.clone()) != &common {
                return None;
            }
        }
        let ty = ty.filter(|ty| !ty.is_float())?;
        let operand = self.for_comparison(operand.clone(), &ty).ok()?;
        let items: Vec<Typed> = list.iter().map(|i| self.for_comparison(i.clone(), &ty).ok()).collect::<Option<_>>()?;
        let values: Vec<Arc<dyn PhysicalExpr>> =
            items.iter().map(|i| i.constant.clone().map(|v| Arc::new(Literal::new(v)) as _)).collect::<Option<_>>()?;
        let nullable = operand.nullable || items.iter().any(|i| i.nullable);
        let schema = arrow_schema::Schema::new(
            self.inputs.iter().enumerate().map(|(i, input)| input.ty.field(&format!("c{i}"), true)).collect::<Vec<_>>(),
        );
        let expr = datafusion_physical_expr::expressions::in_list(operand.expr, values, &false, &schema).ok()?;
        Some(folded(expr, Type::Boolean, nullable, span.clone(), false))
    }

    pub(super) fn like(
        &mut self,
        operand: &Node,
        pattern: &Node,
        escape: Option<&Node>,
        not: bool,
        similar: bool,
        span: Span,
    ) -> Bound {
        let name = if similar { "SIMILAR TO" } else { "LIKE" };
        let mut args = self.parts([operand, pattern].into_iter().chain(escape))?;
        for arg in &mut args {
            *arg = self.coerce(arg.clone(), &Type::Text, &format!("an operand of {name}"))?;
        }
        if let Some(escape) = args.get(2).and_then(Typed::text_constant)
            && escape.chars().count() > 1
        {
            return Err(type_error(args[2].span.clone(), "the escape must be one character, or none"));
        }
        let kernel = if similar { regex::similar() } else { like::like() };
        let found = self.call(name, kernel, args, Type::Boolean);
        let found = Typed { span, ..found };
        Ok(if not { negated(found) } else { found })
    }
}

pub(super) fn is_null(operand: Typed, not: bool, span: Span) -> Typed {
    let constant = operand.constant.is_some();
    let expr: Arc<dyn PhysicalExpr> =
        if not { Arc::new(IsNotNullExpr::new(operand.expr)) } else { Arc::new(IsNullExpr::new(operand.expr)) };
    folded(expr, Type::Boolean, false, span, constant)
}

fn compared(op: Operator, left: Typed, right: Typed, nullable: bool) -> Typed {
    let constant = left.constant.is_some() && right.constant.is_some();
    let span = left.span.start..right.span.end.max(left.span.start);
    folded(Arc::new(BinaryExpr::new(left.expr, op, right.expr)), Type::Boolean, nullable, span, constant)
}
