//! What the records of a topic hold.

use super::options::{SourceConfig, TupleChanges};
use super::place::TopicPlace;
use crate::client::{Field, Row, TopicInfo};
use arrow_schema::{DataType, TimeUnit};
use dujiang_core::schema::{self, KeyEquality, LOGICAL_JSON, LOGICAL_NUMBER};
use dujiang_core::{Code, Error, Kind, Origin, Result, TableSchema};
use dujiang_format_text::messages::{DecodedRows, Decoder};
use std::sync::Arc;

/// Whether a topic's records are of a kind that the options explain.
pub(crate) fn check(config: &SourceConfig, topic: &str, info: &TopicInfo) -> Result<()> {
    let conflict = |why: &str, help: &str| {
        Err(Error::new(Code::Conflict, format!("topic `{topic}` holds {} records{why}", info.record_type)).help(help))
    };
    match (info.record_type.as_str(), &config.shape) {
        ("TUPLE", None) | ("BLOB", Some(_)) => Ok(()),
        ("TUPLE", Some(_)) => conflict(", whose fields tell what is in them", "leave out `schema`; name the `key`"),
        ("BLOB", None) => conflict(", and nothing says what is in them", "write `schema` and `value.format`"),
        _ => conflict("", "choose topics of type TUPLE or BLOB"),
    }
}

/// The table of a topic as a place has it.
///
/// # Errors
/// `UnknownType` for a field of a type that is not known, `BadValue` for a key that is no field.
pub(crate) fn table(config: &SourceConfig, topic: &str, place: &TopicPlace) -> Result<Arc<TableSchema>> {
    let id = config.table(topic);
    let (fields, key) = match &config.shape {
        Some(shape) => shape.clone(),
        None => columns(config, topic, &place.fields)?,
    };
    let key_equality = if key.is_empty() { KeyEquality::NoKey } else { KeyEquality::ByValue };
    let arrow = Arc::new(arrow_schema::Schema::new(fields));
    Ok(Arc::new(TableSchema { id, version: 1 + place.appended, arrow, key, key_equality }))
}

fn columns(config: &SourceConfig, topic: &str, fields: &[Field]) -> Result<super::options::Shape> {
    let mut columns = fields.iter().map(|field| column(topic, field)).collect::<Result<Vec<_>>>()?;
    let place = |name: &String| {
        fields.iter().position(|field| field.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            Error::new(Code::BadValue, format!("`key` names `{name}`, which is no field of topic `{topic}`"))
                .fact("fields", fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", "))
        })
    };
    let key = config.key.iter().map(place).collect::<Result<Vec<_>>>()?;
    for &index in &key {
        columns[index] = columns[index].clone().with_nullable(false);
    }
    Ok((columns, key))
}

fn column(topic: &str, field: &Field) -> Result<arrow_schema::Field> {
    let kind = field.kind.to_ascii_uppercase();
    let (data, logical) = match kind.as_str() {
        "TINYINT" => (DataType::Int8, None),
        "SMALLINT" => (DataType::Int16, None),
        "INTEGER" => (DataType::Int32, None),
        "BIGINT" => (DataType::Int64, None),
        "FLOAT" => (DataType::Float32, None),
        "DOUBLE" => (DataType::Float64, None),
        "BOOLEAN" => (DataType::Boolean, None),
        "STRING" => (DataType::Utf8, None),
        "TIMESTAMP" => (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), None),
        "DECIMAL" => (DataType::Utf8, Some(LOGICAL_NUMBER)),
        "JSON" => (DataType::Utf8, Some(LOGICAL_JSON)),
        _ => {
            let message = format!("field `{}` of topic `{topic}` has a type that is not known", field.name);
            return Err(Error::new(Code::UnknownType, message).fact("type", kind));
        }
    };
    Ok(schema::field(&field.name, data, !field.notnull, &kind, logical))
}

/// Reads the records of a topic as rows of its table.
pub(crate) struct Reading {
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) rows: DecodedRows,
    decoder: Decoder,
    blob: bool,
    changes: TupleChanges,
}

impl Reading {
    pub(crate) fn new(config: &SourceConfig, schema: Arc<TableSchema>) -> Result<Self> {
        let blob = config.shape.is_some();
        let decoder = if blob { Decoder::new(&schema, &config.messages)? } else { Decoder::of_rows(&schema)? };
        Ok(Self { rows: decoder.rows(), decoder, schema, blob, changes: config.options.tuple_changes })
    }

    /// Appends what a record tells.
    ///
    /// # Errors
    /// What is wrong with it; it alone is at fault.
    pub(crate) fn append(&mut self, row: &Row, origin: &Origin<'_>) -> Result<()> {
        if self.blob {
            return self.decoder.decode(row.values().next().flatten(), origin, &mut self.rows).map(drop);
        }
        self.decoder.decode_row(kind(self.changes, row)?, row.values(), origin, &mut self.rows)
    }
}

fn kind(changes: TupleChanges, row: &Row) -> Result<Kind> {
    let told = row.attribute("dujiang.op").filter(|_| changes == TupleChanges::Told);
    match told {
        None | Some(b"c") => Ok(Kind::Insert),
        Some(b"r") => Ok(Kind::Read),
        Some(b"u") => Ok(Kind::UpdateAfter),
        Some(b"d") => Ok(Kind::Delete),
        Some(other) => {
            let other = String::from_utf8_lossy(other).into_owned();
            Err(Error::new(Code::MessageKind, "a record is of an unknown kind").fact("dujiang.op", other))
        }
    }
}

/// What stands for a record in an error.
pub(crate) fn shown(row: &Row) -> Vec<u8> {
    let values: Vec<_> = row.values().map(|value| value.map(String::from_utf8_lossy)).collect();
    match values.as_slice() {
        [Some(only)] => only.as_bytes().to_vec(),
        _ => serde_json::to_vec(&values).unwrap_or_default(),
    }
}
