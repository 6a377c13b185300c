//! The key of the output.

use super::{Clause, Mistake, Rule, Source};
use crate::error::{SqlError, nearest};
use arrow_schema::{DataType, Field, FieldRef};
use dujiang_core::schema::KeyEquality;
use dujiang_core::{Code, TableSchema};
use std::sync::Arc;

/// The key columns of an output and how they compare.
pub(super) struct Key {
    pub columns: Vec<usize>,
    pub equality: KeyEquality,
}

/// The columns the rule names, or else the table's own key as far as all of it is there. Columns of a named key cannot be
/// NULL.
pub(super) fn choose(
    rule: &Rule,
    input: &TableSchema,
    sources: &[Source],
    fields: &mut [FieldRef],
    mistakes: &mut Vec<Mistake>,
) -> Key {
    for (nth, name) in rule.partition_keys.iter().enumerate() {
        if !fields.iter().any(|f| f.name() == name) {
            mistakes.push(no_such_output(Clause::PartitionKey(nth), name, fields));
        }
    }
    if rule.primary_keys.is_empty() {
        let key = own(input, sources, fields);
        // A computed column can have taken the place of a key column.
        let nested = key.columns.iter().map(|at| &fields[*at]).find(|f| f.data_type().is_nested());
        mistakes.extend(nested.map(|field| {
            let error = SqlError::new(Code::SqlOutput, 0..rule.projection_text().len(), no_key(field));
            Mistake { clause: Clause::Projection, error: error.help("name other primary-keys, or rename the column") }
        }));
        return key;
    }
    let mut columns = Vec::new();
    for (nth, name) in rule.primary_keys.iter().enumerate() {
        match fields.iter().position(|f| f.name() == name) {
            None => mistakes.push(no_such_output(Clause::PrimaryKey(nth), name, fields)),
            Some(at) if columns.contains(&at) => {
                mistakes.push(Mistake::key(Clause::PrimaryKey(nth), name, format!("`{name}` is in the key twice")));
            }
            Some(at) if fields[at].data_type().is_nested() => {
                let mut mistake = Mistake::key(Clause::PrimaryKey(nth), name, no_key(&fields[at]));
                mistake.error = mistake.error.help("name columns of single values: numbers, texts, times");
                mistakes.push(mistake);
            }
            Some(at) => {
                fields[at] = Arc::new(fields[at].as_ref().clone().with_nullable(false));
                columns.push(at);
            }
        }
    }
    let by_value = columns.iter().all(|at| compares_by_value(input, sources[*at], &fields[*at]));
    Key { columns, equality: if by_value { KeyEquality::ByValue } else { KeyEquality::ServerOnly } }
}

/// The error of a key that is no output column.
fn no_such_output(clause: Clause, name: &str, fields: &[FieldRef]) -> Mistake {
    let mut mistake = Mistake::key(clause, name, format!("the output has no column `{name}`"));
    if let Some(near) = nearest(name, fields.iter().map(|f| f.name().as_str())) {
        mistake.error = mistake.error.help(format!("did you mean `{near}`?"));
    }
    mistake
}

fn no_key(field: &Field) -> String {
    format!("`{}` is an ARRAY, MAP or ROW, which cannot be in a key", field.name())
}

fn own(input: &TableSchema, sources: &[Source], fields: &[FieldRef]) -> Key {
    let place = |column: usize| {
        let named = sources.iter().zip(fields).position(|(_, f)| f.name() == input.arrow.field(column).name());
        let same = |at: &usize| sources.get(*at) == Some(&Source::Column(column));
        named.filter(same).or_else(|| sources.iter().position(|s| *s == Source::Column(column))).or(named)
    };
    let columns: Option<Vec<usize>> = input.key.iter().map(|column| place(*column)).collect();
    let Some(columns) = columns.filter(|columns| !columns.is_empty()) else {
        return Key { columns: Vec::new(), equality: KeyEquality::NoKey };
    };
    let untouched = columns.iter().zip(&input.key).all(|(at, column)| sources[*at] == Source::Column(*column));
    let by_value = columns.iter().all(|at| compares_by_value(input, sources[*at], &fields[*at]));
    let equality = if untouched {
        input.key_equality
    } else if by_value {
        KeyEquality::ByValue
    } else {
        KeyEquality::ServerOnly
    };
    Key { columns, equality }
}

/// Text of a table compares as its collation says, which only the server knows, unless it is in a key that is known to
/// compare by value; -0 equals 0 among floats.
fn compares_by_value(input: &TableSchema, source: Source, field: &FieldRef) -> bool {
    match field.data_type() {
        DataType::Float32 | DataType::Float64 | DataType::Float16 => false,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => match source {
            Source::Column(index) => input.key_equality == KeyEquality::ByValue && input.key.contains(&index),
            Source::Computed(_) => true,
        },
        DataType::List(_) | DataType::Map(..) | DataType::Struct(_) => false,
        _ => true,
    }
}
