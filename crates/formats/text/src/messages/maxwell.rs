//! Maxwell's messages (<https://maxwells-daemon.io/dataformat/>).
//!
//! `ts` is the commit time in seconds. `gtid` holds the transaction; there is no `xid`, the number that a server gives it. A
//! row read by a snapshot is a `bootstrap-insert`.

use super::cells::write_list;
use super::debezium::write_i64;
use super::images::Images;
use super::runs::Change;
use dujiang_core::text::{write_json_string, write_u64};
use dujiang_core::{Kind, Origin, TableSchema};

/// The parts of a table's messages that never change.
#[derive(Debug)]
pub(super) struct Maxwell {
    head: Vec<u8>,
    key: Vec<u8>,
    /// Times and transaction of the run at hand.
    origin: Vec<u8>,
}

impl Maxwell {
    pub(super) fn new(table: &TableSchema) -> Self {
        let mut head = b"{\"database\":".to_vec();
        write_json_string(&table.id.database, &mut head);
        head.extend_from_slice(b",\"table\":");
        write_json_string(&table.id.table, &mut head);
        head.extend_from_slice(b",\"type\":\"");
        let mut key = b",\"primary_key_columns\":".to_vec();
        write_list(table.key_names(), &mut key);
        Self { head, key, origin: Vec::new() }
    }

    /// Prepares what the changes of one origin have in common.
    pub(super) fn begin_run(&mut self, origin: &Origin<'_>) {
        self.origin.clear();
        self.origin.extend_from_slice(b"\",\"ts\":");
        write_i64(origin.commit_micros.div_euclid(1_000_000), &mut self.origin);
        self.origin.extend_from_slice(b",\"gtid\":");
        write_json_string(origin.transaction, &mut self.origin);
        self.origin.extend_from_slice(b",\"position\":");
        write_json_string(origin.position, &mut self.origin);
    }

    pub(super) fn write(&self, change: &Change, images: &Images<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        let word: &[u8] = match change.kind {
            Kind::Insert => b"insert",
            Kind::Read => b"bootstrap-insert",
            Kind::UpdateBefore | Kind::UpdateAfter => b"update",
            Kind::Delete => b"delete",
        };
        out.extend_from_slice(word);
        out.extend_from_slice(&self.origin);
        out.extend_from_slice(b",\"xoffset\":");
        write_u64(change.ordinal, out);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(b",\"data\":");
        images.write(Some(change.row()), out);
        if change.kind == Kind::UpdateAfter {
            out.extend_from_slice(b",\"old\":");
            images.write_changed(change, out);
        }
        out.push(b'}');
    }
}
