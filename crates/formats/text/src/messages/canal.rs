//! Canal's flat message (`FlatMessage` of <https://github.com/alibaba/canal>).
//!
//! `es` is the commit time; so is `ts`, which at Canal is the time of encoding. There is no `id`, which counts Canal's batches.
//! A row read by a snapshot is an `INSERT`: Canal knows no other mark.

use super::cells::write_list;
use super::debezium::write_i64;
use super::images::Images;
use super::runs::Change;
use arrow_schema::{DataType, Field};
use dujiang_core::schema::{self, LOGICAL_BIT, META_SOURCE_TYPE};
use dujiang_core::text::write_json_string;
use dujiang_core::{Kind, Origin, TableSchema};

/// The parts of a table's messages that never change.
#[derive(Debug)]
pub(super) struct FlatMessage {
    /// From `database` to `table`.
    table: Vec<u8>,
    /// Times and transaction of the run at hand.
    origin: Vec<u8>,
}

impl FlatMessage {
    pub(super) fn new(table: &TableSchema) -> Self {
        let mut out = b",\"database\":".to_vec();
        write_json_string(&table.id.database, &mut out);
        out.extend_from_slice(b",\"table\":");
        write_json_string(&table.id.table, &mut out);
        out.extend_from_slice(b",\"isDdl\":false,\"sql\":\"\",\"pkNames\":");
        write_list(table.key_names(), &mut out);
        out.extend_from_slice(b",\"mysqlType\":{");
        for (index, field) in table.arrow.fields().iter().enumerate() {
            write_name(field, index, &mut out);
            let declared = field.metadata().get(META_SOURCE_TYPE).map_or("", String::as_str);
            write_json_string(declared, &mut out);
        }
        out.extend_from_slice(b"},\"sqlType\":{");
        for (index, field) in table.arrow.fields().iter().enumerate() {
            write_name(field, index, &mut out);
            write_i64(sql_type(field), &mut out);
        }
        out.push(b'}');
        Self { table: out, origin: Vec::new() }
    }

    /// Prepares what the changes of one origin have in common.
    pub(super) fn begin_run(&mut self, origin: &Origin<'_>) {
        self.origin.clear();
        let millis = origin.commit_micros.div_euclid(1_000);
        for name in [&b",\"es\":"[..], b",\"ts\":"] {
            self.origin.extend_from_slice(name);
            write_i64(millis, &mut self.origin);
        }
        self.origin.extend_from_slice(b",\"gtid\":");
        write_json_string(origin.transaction, &mut self.origin);
    }

    pub(super) fn write(&self, change: &Change, images: &Images<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"data\":[");
        images.write(Some(change.row()), out);
        out.push(b']');
        out.extend_from_slice(&self.table);
        out.extend_from_slice(&self.origin);
        out.extend_from_slice(b",\"type\":\"");
        let word: &[u8] = match change.kind {
            Kind::Insert | Kind::Read => b"INSERT",
            Kind::UpdateBefore | Kind::UpdateAfter => b"UPDATE",
            Kind::Delete => b"DELETE",
        };
        out.extend_from_slice(word);
        out.extend_from_slice(b"\",\"old\":");
        if change.kind == Kind::UpdateAfter {
            out.push(b'[');
            images.write_changed(change, out);
            out.push(b']');
        } else {
            out.extend_from_slice(b"null");
        }
        out.push(b'}');
    }
}

fn write_name(field: &Field, index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
    write_json_string(field.name(), out);
    out.push(b':');
}

/// The number of `java.sql.Types`.
fn sql_type(field: &Field) -> i64 {
    match field.data_type() {
        DataType::Boolean => 16,
        DataType::Int8 => -6,
        DataType::UInt8 | DataType::Int16 => 5,
        DataType::UInt16 | DataType::Int32 => 4,
        DataType::UInt32 | DataType::Int64 => -5,
        DataType::UInt64 if schema::logical(field) == Some(LOGICAL_BIT) => -7,
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => 3,
        DataType::Float32 => 7,
        DataType::Float64 => 8,
        DataType::Date32 => 91,
        DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => 92,
        DataType::Timestamp(..) => 93,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => 2004,
        _ => 12,
    }
}
