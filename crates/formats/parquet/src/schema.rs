//! The Parquet schema of a table.

use arrow_schema::{DataType, Schema};
use dujiang_core::schema::{LOGICAL_JSON, logical};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::errors::Result;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use std::sync::Arc;

/// The Parquet crate's own mapping, with text marked `json` annotated as JSON.
pub(crate) fn descriptor(arrow: &Schema) -> Result<SchemaDescriptor> {
    let plain = ArrowSchemaConverter::new().convert(arrow)?;
    let plain = plain.root_schema();
    let mut columns: Vec<TypePtr> = plain.get_fields().to_vec();
    for (column, field) in columns.iter_mut().zip(arrow.fields()) {
        let text = matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        if text && logical(field) == Some(LOGICAL_JSON) {
            *column = Arc::new(json_column(field.name(), field.is_nullable())?);
        }
    }
    Ok(SchemaDescriptor::new(root(plain.name(), columns)?))
}

/// Whether every column has a Parquet type.
pub(crate) fn check(arrow: &Schema) -> Result<()> {
    ArrowSchemaConverter::new().convert(arrow).map(drop)
}

/// A schema of these columns.
pub(crate) fn root(name: &str, columns: Vec<TypePtr>) -> Result<TypePtr> {
    Ok(Arc::new(Type::group_type_builder(name).with_fields(columns).build()?))
}

fn json_column(name: &str, nullable: bool) -> Result<Type> {
    Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
        .with_repetition(if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED })
        .with_logical_type(Some(LogicalType::Json))
        .with_converted_type(ConvertedType::JSON)
        .build()
}
