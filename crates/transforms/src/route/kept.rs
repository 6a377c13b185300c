//! The sink's shapes as they stand in a checkpoint: only those that do not follow from the source's. Beside each stand the
//! shapes of the tables that flow into it, as the rules made them: what is new about them at a start is the work of whoever
//! has edited the rules.

use arrow_schema::{DataType, Field, Schema};
use dujiang_core::dialect::{parse_field, type_name};
use dujiang_core::schema::{KeyEquality, TableSchema};
use dujiang_core::{Code, Error, Result, TableId};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

const FORMAT: u64 = 2;

/// A table of the sink, and the tables that flow into it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) table: TableSchema,
    pub(super) sources: Vec<TableSchema>,
}

/// The bytes of these tables; never none, so that a start can tell whether there was one before.
pub(super) fn write(tables: &[Kept]) -> Vec<u8> {
    let all: Vec<Value> = tables
        .iter()
        .map(|kept| {
            let mut value = one(&kept.table);
            value["sources"] = kept.sources.iter().map(one).collect();
            value
        })
        .collect();
    json!({ "format": FORMAT, "tables": all }).to_string().into_bytes()
}

fn one(table: &TableSchema) -> Value {
    let column = |field: &Arc<Field>| {
        json!({
            "name": field.name(),
            "type": type_text(field),
            "nullable": field.is_nullable(),
            "metadata": field.metadata(),
        })
    };
    json!({
        "database": &*table.id.database,
        "table": &*table.id.table,
        "version": table.version,
        "columns": table.arrow.fields().iter().map(column).collect::<Vec<_>>(),
        "key": table.key,
        "key_equality": equality_name(table.key_equality),
    })
}

/// Arrow's own text; a nested type, which that cannot read back, has the dialect's.
fn type_text(field: &Field) -> String {
    match field.data_type().is_nested() {
        false => field.data_type().to_string(),
        true => NESTED.to_owned() + &type_name(&field.clone().with_nullable(true)),
    }
}

fn type_of(text: &str) -> Option<DataType> {
    match text.strip_prefix(NESTED) {
        Some(name) => parse_field("", name).ok().map(|field| field.data_type().clone()),
        None => DataType::from_str(text).ok(),
    }
}

const NESTED: &str = "dialect:";

/// The tables of these bytes.
///
/// # Errors
/// `StateVersion` when they are of another version.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Kept>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    parse(bytes).ok_or_else(|| {
        Error::new(Code::StateVersion, "the checkpoint's shapes of the sink's tables cannot be read")
            .help("run the version of the program that wrote the checkpoint")
    })
}

fn parse(bytes: &[u8]) -> Option<Vec<Kept>> {
    let all: Value = serde_json::from_slice(bytes).ok()?;
    if all.get("format")?.as_u64()? != FORMAT {
        return None;
    }
    all.get("tables")?.as_array()?.iter().map(kept).collect()
}

fn kept(value: &Value) -> Option<Kept> {
    let sources = value.get("sources")?.as_array()?.iter().map(table).collect::<Option<_>>()?;
    Some(Kept { table: table(value)?, sources })
}

fn table(value: &Value) -> Option<TableSchema> {
    let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
    let columns: Option<Vec<Field>> = value.get("columns")?.as_array()?.iter().map(column).collect();
    let columns = columns?;
    let key = value.get("key")?.as_array()?.iter().map(|at| at.as_u64().map(|at| at as usize));
    let key: Vec<usize> = key.collect::<Option<_>>()?;
    if key.iter().any(|&at| at >= columns.len()) {
        return None;
    }
    Some(TableSchema {
        id: TableId::new(text("database")?, text("table")?),
        version: u32::try_from(value.get("version")?.as_u64()?).ok()?,
        arrow: Arc::new(Schema::new(columns)),
        key,
        key_equality: EQUALITIES
            .iter()
            .find(|e| equality_name(**e) == text("key_equality").as_deref().unwrap_or(""))
            .copied()?,
    })
}

fn column(value: &Value) -> Option<Field> {
    let data_type = type_of(value.get("type")?.as_str()?)?;
    let metadata: &Map<String, Value> = value.get("metadata")?.as_object()?;
    let pairs = metadata.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let metadata: HashMap<String, String> = pairs.collect::<Option<_>>()?;
    Some(Field::new(value.get("name")?.as_str()?, data_type, value.get("nullable")?.as_bool()?).with_metadata(metadata))
}

const EQUALITIES: [KeyEquality; 3] = [KeyEquality::ByValue, KeyEquality::ServerOnly, KeyEquality::NoKey];

fn equality_name(equality: KeyEquality) -> &'static str {
    match equality {
        KeyEquality::ByValue => "by-value",
        KeyEquality::ServerOnly => "server-only",
        KeyEquality::NoKey => "no-key",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::TimeUnit;
    use dujiang_core::schema::{LOGICAL_BIT, field};

    #[test]
    fn shapes_of_every_type_read_back() {
        let dialect = [
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INT",
            "BIGINT",
            "FLOAT",
            "DOUBLE",
            "DECIMAL(38, 18) NOT NULL",
            "CHAR(3)",
            "VARCHAR(17)",
            "STRING",
            "BYTES",
            "DATE",
            "TIME(3)",
            "TIME(9)",
            "TIMESTAMP(3)",
            "TIMESTAMP(9)",
            "TIMESTAMP_LTZ(6)",
            "ARRAY<INT NOT NULL>",
            "MAP<STRING NOT NULL, BIGINT>",
            "ROW<`a b` INT, `c` STRING>",
        ];
        let mut fields: Vec<Field> =
            dialect.iter().enumerate().map(|(i, t)| parse_field(&format!("c{i} \"`ü"), t).unwrap()).collect();
        let own = [DataType::UInt8, DataType::UInt16, DataType::UInt32, DataType::UInt64, DataType::Decimal256(70, 3)];
        fields.extend(own.iter().enumerate().map(|(i, t)| Field::new(format!("u{i}"), t.clone(), false)));
        fields.push(field("bits", DataType::UInt64, true, "bit(9)", Some(LOGICAL_BIT)));
        fields.push(Field::new("d", DataType::Duration(TimeUnit::Microsecond), true));
        let table =
            TableSchema { version: 7, ..(*TableSchema::by_value(TableId::new("d", "t"), fields, vec![2, 0])).clone() };
        let source = TableSchema { id: TableId::new("s", "t"), version: 3, ..table.clone() };
        let kept = [Kept { table, sources: vec![source] }];
        assert_eq!(read(&write(&kept)).unwrap(), kept);
        assert!(read(&write(&[])).unwrap().is_empty() && read(&[]).unwrap().is_empty());
        for bad in [&b"{"[..], b"{}", b"{\"format\":1,\"tables\":[]}", b"{\"format\":2,\"tables\":[{}]}"] {
            assert_eq!(read(bad).unwrap_err().code(), Code::StateVersion);
        }
    }
}
