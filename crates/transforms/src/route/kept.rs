//! The sink's shapes as they stand in a checkpoint. Of those that do not follow from the source's, all; beside each stand the
//! shapes of the tables that flow into it, as the rules made them: what is new about them at a start is the work of whoever
//! has edited the rules. Of a table that has the shape of the one that flows into it, as much as tells whether it still has
//! that shape at the next start.

use arrow_schema::{DataType, Field, Schema};
use dujiang_core::dialect::{parse_field, type_name};
use dujiang_core::schema::{KeyEquality, TableSchema};
use dujiang_core::{Code, Error, Result, TableId};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

const FORMAT: u64 = 2;

/// A table of the sink, and the tables that flow into it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) table: TableSchema,
    pub(super) sources: Vec<TableSchema>,
}

/// The shape of a table that has that of the one table that flows into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Natural {
    /// The sink's version of it.
    pub(super) version: u32,
    /// What the shape of another time is compared with.
    pub(super) digest: u64,
}

impl Natural {
    pub(super) fn of(table: &TableSchema) -> Self {
        Self { version: table.version, digest: digest(table) }
    }
}

/// A number that two shapes have in common only if they are the same.
pub(super) fn digest(table: &TableSchema) -> u64 {
    let mut value = one(table);
    for unrelated in ["database", "table", "version"] {
        value[unrelated] = Value::Null;
    }
    xxh3_64(value.to_string().as_bytes())
}

/// All that is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shapes {
    pub(super) tables: BTreeMap<TableId, Kept>,
    pub(super) natural: BTreeMap<TableId, Natural>,
}

/// The bytes of these shapes; never none, so that a start can tell whether there was one before.
pub(super) fn write(shapes: &Shapes) -> Vec<u8> {
    let all: Vec<Value> = shapes
        .tables
        .values()
        .map(|kept| {
            let mut value = one(&kept.table);
            value["sources"] = kept.sources.iter().map(one).collect();
            value
        })
        .collect();
    let natural: Vec<Value> = shapes
        .natural
        .iter()
        .map(|(id, natural)| {
            let digest = format!("{:016x}", natural.digest);
            json!({ "database": &*id.database, "table": &*id.table, "version": natural.version, "shape": digest })
        })
        .collect();
    json!({ "format": FORMAT, "tables": all, "natural": natural }).to_string().into_bytes()
}

fn one(table: &TableSchema) -> Value {
    let column = |field: &Arc<Field>| {
        json!({
            "name": field.name(),
            "type": type_text(field),
            "nullable": field.is_nullable(),
            // It has no order of its own; a digest needs one.
            "metadata": field.metadata().iter().collect::<BTreeMap<_, _>>(),
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

/// The shapes of these bytes.
///
/// # Errors
/// `StateVersion` when they are of another version.
pub(super) fn read(bytes: &[u8]) -> Result<Shapes> {
    if bytes.is_empty() {
        return Ok(Shapes::default());
    }
    parse(bytes).ok_or_else(|| {
        Error::new(Code::StateVersion, "the checkpoint's shapes of the sink's tables cannot be read")
            .help("run the version of the program that wrote the checkpoint")
    })
}

fn parse(bytes: &[u8]) -> Option<Shapes> {
    let all: Value = serde_json::from_slice(bytes).ok()?;
    if all.get("format")?.as_u64()? != FORMAT {
        return None;
    }
    let tables = all.get("tables")?.as_array()?.iter().map(kept).collect::<Option<_>>()?;
    // Checkpoints of before have none.
    let natural = all.get("natural").map_or(Some(BTreeMap::new()), |all| all.as_array()?.iter().map(natural).collect());
    Some(Shapes { tables, natural: natural? })
}

fn natural(value: &Value) -> Option<(TableId, Natural)> {
    let text = |key: &str| value.get(key)?.as_str();
    let version = u32::try_from(value.get("version")?.as_u64()?).ok()?;
    let digest = u64::from_str_radix(text("shape")?, 16).ok()?;
    Some((TableId::new(text("database")?, text("table")?), Natural { version, digest }))
}

fn kept(value: &Value) -> Option<(TableId, Kept)> {
    let sources = value.get("sources")?.as_array()?.iter().map(table).collect::<Option<_>>()?;
    let table = table(value)?;
    Some((table.id.clone(), Kept { table, sources }))
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
        let natural = BTreeMap::from([(source.id.clone(), Natural::of(&source))]);
        let kept =
            Shapes { tables: BTreeMap::from([(table.id.clone(), Kept { table, sources: vec![source] })]), natural };
        assert_eq!(read(&write(&kept)).unwrap(), kept);
        let none = Shapes::default();
        assert!(read(&write(&none)).unwrap() == none && read(&[]).unwrap() == none);
        assert_eq!(read(b"{\"format\":2,\"tables\":[]}").unwrap(), none);
        for bad in [
            &b"{"[..],
            b"{}",
            b"{\"format\":1,\"tables\":[]}",
            b"{\"format\":2,\"tables\":[{}]}",
            b"{\"format\":2,\"tables\":[],\"natural\":[{}]}",
        ] {
            assert_eq!(read(bad).unwrap_err().code(), Code::StateVersion);
        }
    }

    #[test]
    fn the_bytes_are_those_of_earlier_versions() {
        let metadata = ["z", "a", "m", "b"].map(|key| (key.to_owned(), format!("of {key}")));
        let x = parse_field("x", "STRING").unwrap().with_metadata(HashMap::from(metadata));
        let fields = vec![parse_field("id", "INT NOT NULL").unwrap(), x];
        let table = (*TableSchema::by_value(TableId::new("d", "t"), fields, vec![0])).clone();
        let natural = BTreeMap::from([(TableId::new("d", "n"), Natural::of(&table))]);
        let kept = Shapes { tables: BTreeMap::from([(table.id.clone(), Kept { table, sources: vec![] })]), natural };
        let written = r#"{"format":2,
            "natural":[{"database":"d","shape":"36f241a26be15830","table":"n","version":1}],
            "tables":[{"columns":[
                {"metadata":{"dujiang.source_type":"INT"},"name":"id","nullable":false,"type":"Int32"},
                {"metadata":{"a":"of a","b":"of b","m":"of m","z":"of z"},"name":"x","nullable":true,"type":"Utf8"}],
                "database":"d","key":[0],"key_equality":"by-value","sources":[],"table":"t","version":1}]}"#;
        let written: String = written.lines().map(str::trim_start).collect();
        assert_eq!(String::from_utf8(write(&kept)).unwrap(), written);
    }

    #[test]
    fn a_digest_tells_shapes_apart_and_nothing_else() {
        let shape = |columns: &[(&str, &str)], key: Vec<usize>| {
            let fields = columns.iter().map(|(name, declared)| parse_field(name, declared).unwrap()).collect();
            (*TableSchema::by_value(TableId::new("d", "t"), fields, key)).clone()
        };
        let one = shape(&[("id", "INT NOT NULL"), ("x", "STRING")], vec![0]);
        let elsewhere = TableSchema { id: TableId::new("e", "u"), version: 9, ..one.clone() };
        assert_eq!(digest(&one), digest(&elsewhere));
        let others = [
            shape(&[("id", "INT NOT NULL"), ("y", "STRING")], vec![0]),
            shape(&[("id", "INT NOT NULL"), ("x", "INT")], vec![0]),
            shape(&[("id", "INT NOT NULL"), ("x", "STRING NOT NULL")], vec![0]),
            shape(&[("x", "STRING"), ("id", "INT NOT NULL")], vec![1]),
            shape(&[("id", "INT NOT NULL"), ("x", "STRING")], vec![]),
        ];
        assert!(others.iter().all(|other| digest(other) != digest(&one)));
    }
}
