//! Debezium's envelope (<https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-events>).
//!
//! `source` has Debezium's common fields; `txId`, `position` and `ordinal` are what this project knows of a change's place.
//! There is no `ts_ms` beside it: it would be the time of encoding, which is no property of the change.

use super::images::Images;
use super::native::write_fields;
use super::runs::Change;
use dujiang_core::batch::TimePrecision;
use dujiang_core::text::{write_json_string, write_u64};
use dujiang_core::{Kind, Origin, TableSchema};

/// The parts of a table's messages that never change.
#[derive(Debug)]
pub(super) struct Envelope {
    /// `{`, or all up to the payload's brace.
    head: Vec<u8>,
    /// `"source":{...,`, up to where the origin's part begins.
    source: Vec<u8>,
    tail: &'static [u8],
    /// The origin's part of `source`, for the run at hand.
    origin: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(table: &TableSchema, stream: &str, schema: bool) -> Self {
        let mut head = Vec::new();
        if schema {
            head.extend_from_slice(b"{\"schema\":");
            write_envelope_schema(table, stream, &mut head);
            head.extend_from_slice(b",\"payload\":");
        }
        head.push(b'{');
        let mut source = b"\"source\":{\"version\":".to_vec();
        write_json_string(env!("CARGO_PKG_VERSION"), &mut source);
        source.extend_from_slice(b",\"connector\":\"dujiang\",\"name\":");
        write_json_string(stream, &mut source);
        source.extend_from_slice(b",\"db\":");
        write_json_string(&table.id.database, &mut source);
        source.extend_from_slice(b",\"table\":");
        write_json_string(&table.id.table, &mut source);
        Self { head, source, tail: if schema { b"}}" } else { b"}" }, origin: Vec::new() }
    }

    /// Prepares what the changes of one origin have in common.
    pub(super) fn begin_run(&mut self, origin: &Origin<'_>) {
        let out = &mut self.origin;
        out.clear();
        out.extend_from_slice(b",\"ts_ms\":");
        write_i64(origin.commit_micros.div_euclid(1_000), out);
        if origin.precision == TimePrecision::Micros {
            out.extend_from_slice(b",\"ts_us\":");
            write_i64(origin.commit_micros, out);
        }
        out.extend_from_slice(b",\"txId\":");
        write_json_string(origin.transaction, out);
        out.extend_from_slice(b",\"position\":");
        write_json_string(origin.position, out);
    }

    pub(super) fn write(&self, change: &Change, images: &Images<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"\"before\":");
        images.write(change.before, out);
        out.extend_from_slice(b",\"after\":");
        images.write(change.after, out);
        out.push(b',');
        out.extend_from_slice(&self.source);
        out.extend_from_slice(&self.origin);
        out.extend_from_slice(b",\"snapshot\":\"");
        out.extend_from_slice(if change.kind == Kind::Read { b"true" } else { b"false" });
        out.extend_from_slice(b"\",\"ordinal\":");
        write_u64(change.ordinal, out);
        out.extend_from_slice(b"},\"op\":\"");
        out.extend_from_slice(change.kind.letter().as_bytes());
        out.push(b'"');
        out.extend_from_slice(self.tail);
    }
}

pub(super) fn write_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn write_envelope_schema(table: &TableSchema, stream: &str, out: &mut Vec<u8>) {
    let name = format!("{stream}.{}", table.id);
    out.extend_from_slice(b"{\"type\":\"struct\",\"fields\":[");
    for image in ["before", "after"] {
        out.extend_from_slice(b"{\"type\":\"struct\",\"fields\":");
        write_fields(table.arrow.fields().iter().map(AsRef::as_ref), out);
        out.extend_from_slice(b",\"optional\":true,\"name\":");
        write_json_string(&format!("{name}.Value"), out);
        out.extend_from_slice(format!(",\"field\":\"{image}\"}},").as_bytes());
    }
    out.extend_from_slice(b"{\"type\":\"struct\",\"fields\":[");
    let fields = [
        ("string", false, "version"),
        ("string", false, "connector"),
        ("string", false, "name"),
        ("string", false, "db"),
        ("string", false, "table"),
        ("int64", false, "ts_ms"),
        ("int64", true, "ts_us"),
        ("string", true, "txId"),
        ("string", true, "position"),
        ("string", true, "snapshot"),
        ("int64", true, "ordinal"),
    ];
    for (index, (kind, optional, field)) in fields.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let text = format!("{comma}{{\"type\":\"{kind}\",\"optional\":{optional},\"field\":\"{field}\"}}");
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(b"],\"optional\":false,\"name\":\"io.dujiang.Source\",\"field\":\"source\"},");
    out.extend_from_slice(b"{\"type\":\"string\",\"optional\":false,\"field\":\"op\"}],\"optional\":false,\"name\":");
    write_json_string(&format!("{name}.Envelope"), out);
    out.push(b'}');
}
