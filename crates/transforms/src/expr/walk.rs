//! What can be said of an expression before any table is known.

use super::ast::{Item, Kind, Node};
use super::bind;
use crate::error::SqlError;

/// Calls of functions that do not exist, in a projection list.
pub(crate) fn check_item_calls(items: &[Item], errors: &mut Vec<SqlError>) {
    for item in items {
        if let Item::Expression { node, .. } = item {
            check_calls(node, errors);
        }
    }
}

/// Calls of functions that do not exist.
pub(crate) fn check_calls(node: &Node, errors: &mut Vec<SqlError>) {
    if let Kind::Call { name, name_span, .. } = &node.kind
        && !bind::functions().any(|known| known == name)
    {
        errors.push(bind::unknown_function(name, name_span.clone()));
    }
    for child in children(node) {
        check_calls(child, errors);
    }
}

fn children(node: &Node) -> Vec<&Node> {
    match &node.kind {
        Kind::Null
        | Kind::Boolean(_)
        | Kind::Number(_)
        | Kind::Text(_)
        | Kind::TypedText(..)
        | Kind::Interval { .. }
        | Kind::Name(_) => vec![],
        Kind::Negate(inner) | Kind::Not(inner) => vec![inner],
        Kind::Is { operand, .. } | Kind::Cast { operand, .. } => vec![operand],
        Kind::Binary(_, left, right) | Kind::Distinct { left, right, .. } => vec![left, right],
        Kind::Chain(_, operands) => operands.iter().collect(),
        Kind::Between { operand, low, high, .. } => vec![operand, low, high],
        Kind::Like { operand, pattern, escape, .. } => {
            [operand, pattern].into_iter().chain(escape).map(|node| &**node).collect()
        }
        Kind::In { operand, list, .. } => std::iter::once(&**operand).chain(list).collect(),
        Kind::Case { operand, branches, otherwise } => {
            let ends = operand.iter().chain(otherwise).map(|node| &**node);
            ends.chain(branches.iter().flat_map(|(when, then)| [when, then])).collect()
        }
        Kind::Call { args, .. } => args.iter().collect(),
        Kind::Element { operand, index } => vec![operand, index],
    }
}
