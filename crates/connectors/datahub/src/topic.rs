//! What a topic holds of a table: names, types, and which field takes which column.

use crate::client::{Field, Form};
use crate::config::is_name;
use arrow_schema::{DataType, Field as Column, TimeUnit};
use dujiang_core::schema::{self, LOGICAL_JSON};
use dujiang_core::{Code, Error, Result, TableId, TableSchema};

/// The topic of a table, by the option `topic`.
///
/// # Errors
/// `SinkName` when no topic can have that name.
pub(crate) fn topic_name(pattern: &str, table: &TableId) -> Result<String> {
    let named = pattern.replace("{database}", &table.database).replace("{table}", &table.table);
    let fitting = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let name: String = named.chars().map(fitting).collect();
    if is_name(&name, 1..=128) {
        return Ok(name);
    }
    Err(Error::new(Code::SinkName, format!("table {table} has no name that a topic of DataHub can have"))
        .fact("topic", name)
        .help("choose another `topic`: 1 to 128 letters, digits and `_`, a letter first; or give the table a route"))
}

/// The fields of a topic for a table.
///
/// # Errors
/// `SinkName` for a column whose name no field can have.
pub(crate) fn fields(table: &TableSchema) -> Result<Vec<Field>> {
    let columns = table.arrow.fields();
    for (index, column) in columns.iter().enumerate() {
        let name = column.name();
        let twice = columns[..index].iter().any(|other| other.name().eq_ignore_ascii_case(name));
        if twice || !is_name(name, 1..=128) || name.eq_ignore_ascii_case("system_time") {
            let message = format!("column `{name}` of {} has no name that a field of DataHub can have", table.id);
            return Err(Error::new(Code::SinkName, message)
                .help("rename it with a projection: letters, digits and `_`, a letter first, not `system_time`; case is of no account"));
        }
    }
    let field = |column: &std::sync::Arc<Column>| Field {
        name: column.name().clone(),
        kind: kind(column).to_owned(),
        notnull: false,
    };
    Ok(columns.iter().map(field).collect())
}

/// The type that a column's field has if we make it.
fn kind(column: &Column) -> &'static str {
    match column.data_type() {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 | DataType::UInt8 => "SMALLINT",
        DataType::Int32 | DataType::UInt16 => "INTEGER",
        DataType::Int64 | DataType::UInt32 => "BIGINT",
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => "DECIMAL",
        DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Millisecond | TimeUnit::Second, Some(_)) => "TIMESTAMP",
        // A wall clock is no point in time; days and times of day have no type there.
        _ => "STRING",
    }
}

/// Whether every value of a column goes into a field of this type as it is.
fn takes(field: &str, column: &Column) -> bool {
    const WHOLE: [&str; 4] = ["TINYINT", "SMALLINT", "INTEGER", "BIGINT"];
    let made = kind(column);
    let rank = |kind: &str| WHOLE.iter().position(|whole| *whole == kind);
    match field {
        "STRING" => true,
        "DECIMAL" => made == "DECIMAL" || rank(made).is_some(),
        "JSON" => schema::logical(column) == Some(LOGICAL_JSON),
        _ => match (rank(field), rank(made)) {
            (Some(field), Some(made)) => made <= field,
            _ => field == made,
        },
    }
}

/// Which column goes into each field of a topic; none is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The column.
    pub(crate) column: Option<usize>,
    /// Whether the field holds microseconds.
    pub(crate) micros: bool,
    /// Whether it is a floating-point number, for which not every value can be told.
    pub(crate) float: bool,
    /// How a value stands in a batch.
    pub(crate) form: Form,
}

/// How a topic compares with a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// One a field of the topic.
    pub(crate) slots: Vec<Slot>,
    /// Fields that have to be appended.
    pub(crate) missing: Vec<Field>,
}

/// Compares a topic's fields with a table.
///
/// # Errors
/// `SchemaChange` when the table's rows cannot go into them; `SinkName`.
pub(crate) fn compare(topic: &str, found: &[Field], table: &TableSchema) -> Result<Comparison> {
    let columns = table.arrow.fields();
    let mut slots = Vec::new();
    for field in found {
        let column = columns.iter().position(|column| column.name().eq_ignore_ascii_case(&field.name));
        let kind = field.kind.to_ascii_uppercase();
        if column.is_none() && field.notnull {
            return Err(misfit(
                topic,
                table,
                &format!("field `{}` must have a value, and the table has none", field.name),
            ));
        }
        if let Some(index) = column.filter(|&index| !takes(&kind, &columns[index])) {
            let why = format!("field `{}` is {kind}, which does not take {}", field.name, columns[index].data_type());
            return Err(misfit(topic, table, &why));
        }
        let micros = kind == "TIMESTAMP";
        let float = kind == "FLOAT" || kind == "DOUBLE";
        slots.push(Slot { column, micros, float, form: Form::of(&kind) });
    }
    let known = |field: &Field| found.iter().any(|other| other.name.eq_ignore_ascii_case(&field.name));
    let missing = fields(table)?.into_iter().filter(|field| !known(field)).collect();
    Ok(Comparison { slots, missing })
}

fn misfit(topic: &str, table: &TableSchema, why: &str) -> Error {
    Error::new(Code::SchemaChange, format!("topic `{topic}` cannot take {}: {why}", table.id))
        .help("fields can only be appended in DataHub: choose another `topic`, or convert the column in a projection")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: Vec<Column>) -> std::sync::Arc<TableSchema> {
        TableSchema::by_value(TableId::new("shop", "orders"), columns, vec![0])
    }

    fn field(name: &str, kind: &str, notnull: bool) -> Field {
        Field { name: name.into(), kind: kind.into(), notnull }
    }

    #[test]
    fn topics_are_named_after_tables() {
        let name = |pattern: &str, table: &str| topic_name(pattern, &TableId::new("shop-1", table));
        assert_eq!(name("{table}", "orders").unwrap(), "orders");
        assert_eq!(name("cdc_{database}_{table}", "o.x").unwrap(), "cdc_shop_1_o_x");
        assert_eq!(name("{table}", "1st").unwrap_err().code(), Code::SinkName);
        assert_eq!(name("{table}", &"x".repeat(129)).unwrap_err().code(), Code::SinkName);
    }

    #[test]
    fn a_topic_is_compared_field_by_field() {
        let table = table(vec![
            Column::new("id", DataType::UInt32, false),
            Column::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Column::new("big", DataType::UInt64, true),
        ]);
        let made = fields(&table).unwrap();
        assert_eq!(made.iter().map(|f| f.kind.as_str()).collect::<Vec<_>>(), ["BIGINT", "TIMESTAMP", "DECIMAL"]);
        let found = [field("old", "STRING", false), field("ID", "bigint", true), field("big", "STRING", false)];
        let compared = compare("t", &found, &table).unwrap();
        assert_eq!(compared.slots.iter().map(|s| s.column).collect::<Vec<_>>(), [None, Some(0), Some(2)]);
        assert_eq!(compared.missing, [field("at", "TIMESTAMP", false)]);
        for wrong in [field("id", "INTEGER", false), field("at", "BIGINT", false), field("x", "STRING", true)] {
            assert_eq!(compare("t", &[wrong], &table).unwrap_err().code(), Code::SchemaChange);
        }
    }

    #[test]
    fn names_that_no_field_can_have_are_refused() {
        for name in ["system_TIME", "a-b", "1", ""] {
            let error = fields(&table(vec![Column::new(name, DataType::Int8, true)])).unwrap_err();
            assert_eq!(error.code(), Code::SinkName, "{name}");
        }
        let twice = table(vec![Column::new("a", DataType::Int8, true), Column::new("A", DataType::Int8, true)]);
        assert_eq!(fields(&twice).unwrap_err().code(), Code::SinkName);
    }
}
