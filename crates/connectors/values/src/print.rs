//! Events in the dialect's print grammar, one line each.
//!
//! ```text
//! CreateTableEvent{tableId=db.t, schema=columns={`id` INT NOT NULL,`name` STRING}, primaryKeys=id, options=()}
//! AddColumnEvent{tableId=db.t, addedColumns=[ColumnWithPosition{column=`x` INT, position=AFTER, existedColumnName=id}]}
//! AlterColumnTypeEvent{tableId=db.t, typeMapping={x=BIGINT}, oldTypeMapping={x=INT}}
//! RenameColumnEvent{tableId=db.t, nameMapping={x=y}}
//! DropColumnEvent{tableId=db.t, droppedColumnNames=[y]}
//! TruncateTableEvent{tableId=db.t}
//! DropTableEvent{tableId=db.t}
//! DataChangeEvent{tableId=db.t, before=[1, a], after=[1, b], op=UPDATE, meta=()}
//! ```
//! Values have the form that Java gives them: `18:00` for a time without seconds, `1.0E10`, base64 for bytes, `null`.
//! Source: the `toString` methods of flink-cdc-common's events, schema and data, and `ValuesDataSinkHelper`.

use crate::text::Column;
use dujiang_core::dialect::{quoted, type_name};
use dujiang_core::evolution::{AddedColumn, AlteredColumn, ColumnPlace, SchemaEvent, SinkChange};
use dujiang_core::{ChangeBatch, Kind, Result, TableSchema};

/// A schema change event, without a line end.
pub fn schema_event(change: &SinkChange) -> String {
    let table = change.table();
    match &change.event {
        SchemaEvent::CreateTable => format!("CreateTableEvent{{tableId={table}, schema={}}}", schema(&change.after)),
        SchemaEvent::AddColumns(added) => {
            format!("AddColumnEvent{{tableId={table}, addedColumns=[{}]}}", list(added, added_column))
        }
        SchemaEvent::AlterTypes(altered) => {
            let to = |c: &AlteredColumn| format!("{}={}", c.to.name(), type_name(&c.to));
            let from = |c: &AlteredColumn| format!("{}={}", c.from.name(), type_name(&c.from));
            let (to, from) = (list(altered, to), list(altered, from));
            format!("AlterColumnTypeEvent{{tableId={table}, typeMapping={{{to}}}, oldTypeMapping={{{from}}}}}")
        }
        SchemaEvent::RenameColumns(renamed) => {
            let mapping = list(renamed, |(old, new)| format!("{old}={new}"));
            format!("RenameColumnEvent{{tableId={table}, nameMapping={{{mapping}}}}}")
        }
        SchemaEvent::DropColumns(dropped) => {
            format!("DropColumnEvent{{tableId={table}, droppedColumnNames=[{}]}}", dropped.join(", "))
        }
        SchemaEvent::TruncateTable => format!("TruncateTableEvent{{tableId={table}}}"),
        SchemaEvent::DropTable => format!("DropTableEvent{{tableId={table}}}"),
    }
}

/// A table's shape: ``columns={`id` INT NOT NULL}, primaryKeys=id, options=()``, with `partitionKeys` and options where a
/// transform rule sets them.
pub fn schema(table: &TableSchema) -> String {
    let columns: Vec<String> = table.arrow.fields().iter().map(|field| column(field)).collect();
    let keys: Vec<&str> = table.key_names().collect();
    let metadata = |key: &str| table.arrow.metadata().get(key).filter(|text| !text.is_empty());
    let partitions = metadata(META_PARTITION_KEYS)
        .map_or_else(String::new, |keys| format!(", partitionKeys={}", keys.split(',').collect::<Vec<_>>().join(";")));
    let options = metadata(META_TABLE_OPTIONS)
        .map_or_else(String::new, |options| format!("{{{}}}", options.split(',').collect::<Vec<_>>().join(", ")));
    let (columns, keys) = (columns.join(","), keys.join(";"));
    format!("columns={{{columns}}}, primaryKeys={keys}{partitions}, options=({options})")
}

/// Schema metadata that transforms set: the partition keys, joined by commas.
const META_PARTITION_KEYS: &str = "dujiang.partition_keys";
/// Schema metadata that transforms set: the table's options, `key=value` joined by commas.
const META_TABLE_OPTIONS: &str = "dujiang.table_options";

fn column(field: &arrow_schema::Field) -> String {
    format!("{} {}", quoted(field.name()), type_name(field))
}

fn added_column(added: &AddedColumn) -> String {
    let (position, existing) = match &added.place {
        ColumnPlace::First => ("FIRST", "null"),
        ColumnPlace::Last => ("LAST", "null"),
        ColumnPlace::After(name) => ("AFTER", name.as_str()),
    };
    let column = column(&added.field);
    format!("ColumnWithPosition{{column={column}, position={position}, existedColumnName={existing}}}")
}

fn list<T>(items: &[T], print: impl Fn(&T) -> String) -> String {
    items.iter().map(print).collect::<Vec<_>>().join(", ")
}

/// Appends every change of a batch, each on a line that begins with `prefix`; the two images of an update are one event.
///
/// # Errors
/// `UnknownType` for a column that has no text form.
pub fn data_events(batch: &ChangeBatch, prefix: &str, out: &mut Vec<u8>) -> Result<()> {
    let columns: Vec<Column<'_>> = Column::all(batch)?;
    let table = batch.schema.id.to_string();
    for (row, kind) in batch.kinds.iter().enumerate() {
        let (before, after, op) = match kind {
            Kind::Insert | Kind::Read => (None, Some(row), "INSERT"),
            Kind::UpdateBefore => (Some(row), Some(row + 1), "UPDATE"),
            Kind::UpdateAfter => continue,
            Kind::Delete => (Some(row), None, "DELETE"),
        };
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(b"DataChangeEvent{tableId=");
        out.extend_from_slice(table.as_bytes());
        out.extend_from_slice(b", before=");
        image(&columns, before, out);
        out.extend_from_slice(b", after=");
        image(&columns, after, out);
        out.extend_from_slice(b", op=");
        out.extend_from_slice(op.as_bytes());
        out.extend_from_slice(b", meta=()}\n");
    }
    Ok(())
}

fn image(columns: &[Column<'_>], row: Option<usize>, out: &mut Vec<u8>) {
    out.push(b'[');
    if let Some(row) = row {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            column.write(row, out);
        }
    }
    out.push(b']');
}
