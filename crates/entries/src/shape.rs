//! Shapes of tables as messages.
//!
//! The value is JSON: what a person reads, and the columns as an empty stream of Arrow IPC in base64, by which nothing of
//! their types is lost.

use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dujiang_core::schema::{Ddl, KeyEquality, SchemaChange};
use dujiang_core::{Code, Result, ResultExt, TableId, TableSchema};
use dujiang_format_ipc::read_schema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct ShapeText {
    /// Number of the entry.
    n: u64,
    database: String,
    table: String,
    version: u32,
    /// Names and types, for people.
    columns: Vec<(String, String)>,
    /// Places of the key's columns.
    key: Vec<usize>,
    key_equality: String,
    /// The shape before: database, table, version.
    before: Option<(String, String, u32)>,
    statement: String,
    ddl: DdlText,
    arrow: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DdlText {
    Columns { renamed: Vec<(String, String)> },
    Truncate,
    Drop,
}

/// The message that tells a change of a shape.
pub fn write_shape(number: u64, change: &SchemaChange) -> Result<Vec<u8>> {
    let table = &change.after;
    let text = ShapeText {
        n: number,
        database: table.id.database.to_string(),
        table: table.id.table.to_string(),
        version: table.version,
        columns: table.arrow.fields().iter().map(|f| (f.name().clone(), f.data_type().to_string())).collect(),
        key: table.key.clone(),
        key_equality: table.key_equality.name().to_owned(),
        before: change.before.as_ref().map(|b| (b.id.database.to_string(), b.id.table.to_string(), b.version)),
        statement: change.statement.clone(),
        ddl: match &change.ddl {
            Ddl::Columns { renamed } => DdlText::Columns { renamed: renamed.clone() },
            Ddl::Truncate => DdlText::Truncate,
            Ddl::Drop => DdlText::Drop,
        },
        arrow: STANDARD.encode(columns(&table.arrow)?),
    };
    serde_json::to_vec(&text).or_code(Code::Bug, || "write a shape".to_owned())
}

fn columns(schema: &SchemaRef) -> Result<Vec<u8>> {
    let stream = StreamWriter::try_new(Vec::new(), schema).and_then(|mut stream| {
        stream.finish()?;
        stream.into_inner()
    });
    stream.or_code(Code::Bug, || "write a schema".to_owned())
}

/// Every shape that was told, by the number of its entry.
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    told: BTreeMap<u64, SchemaChange>,
}

impl Shapes {
    /// Takes a message; the number it has, or `None` when it is none of the log.
    pub fn read(&mut self, bytes: &[u8]) -> Option<u64> {
        let text: ShapeText = serde_json::from_slice(bytes).ok()?;
        let stream = STANDARD.decode(&text.arrow).ok()?;
        let arrow = read_schema(&stream)?;
        if text.key.iter().any(|&column| column >= arrow.fields().len()) {
            return None;
        }
        let after = Arc::new(TableSchema {
            id: TableId::new(text.database, text.table),
            version: text.version,
            arrow,
            key: text.key,
            key_equality: KeyEquality::named(&text.key_equality)?,
        });
        let before = match text.before {
            Some((database, table, version)) => {
                let id = TableId::new(database, table);
                let earlier =
                    || self.told.range(..text.n).rev().map(|(_, change)| &change.after).filter(|s| s.id == id);
                let same = earlier().find(|shape| shape.version == version);
                Some(same.or_else(|| earlier().next())?.clone())
            }
            None => None,
        };
        let ddl = match text.ddl {
            DdlText::Columns { renamed } => Ddl::Columns { renamed },
            DdlText::Truncate => Ddl::Truncate,
            DdlText::Drop => Ddl::Drop,
        };
        self.told.insert(text.n, SchemaChange { before, after, statement: text.statement, ddl });
        Some(text.n)
    }

    /// The number of the entry that a message is; nothing else of it is looked at.
    pub fn number(bytes: &[u8]) -> Option<u64> {
        #[derive(Deserialize)]
        struct Numbered {
            n: u64,
        }
        serde_json::from_slice::<Numbered>(bytes).ok().map(|numbered| numbered.n)
    }

    /// Takes a message that repeats what an earlier entry has told; as [`Shapes::read`].
    pub fn repeat(&mut self, bytes: &[u8]) -> Option<u64> {
        let text: ShapeText = serde_json::from_slice(bytes).ok()?;
        if self.told.contains_key(&text.n) { Some(text.n) } else { self.read(bytes) }
    }

    /// Forgets what was told from `number` on.
    pub fn forget_from(&mut self, number: u64) {
        self.told.split_off(&number);
    }

    /// The shape that entry `number` tells.
    pub fn get(&self, number: u64) -> Option<&SchemaChange> {
        self.told.get(&number)
    }

    /// The numbers from `number` on at which one is told.
    pub fn from(&self, number: u64) -> impl Iterator<Item = u64> {
        self.told.range(number..).map(|(n, _)| *n)
    }

    /// The shape that each table has before entry `number`, with the entry that told it.
    pub fn before(&self, number: u64) -> BTreeMap<TableId, (u64, Arc<TableSchema>)> {
        let earlier = self.told.range(..number);
        earlier.map(|(n, change)| (change.after.id.clone(), (*n, change.after.clone()))).collect()
    }

    /// The tables that are known before entry `number`.
    pub fn tables(&self, number: u64) -> Vec<Arc<TableSchema>> {
        self.before(number).into_values().map(|(_, table)| table).collect()
    }

    /// The first number from `number` on at which no shape is told.
    pub fn behind(&self, mut number: u64) -> u64 {
        while self.told.contains_key(&number) {
            number += 1;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::{DataType, TimeUnit};
    use dujiang_core::schema::{LOGICAL_JSON, field};

    #[test]
    fn shapes_are_read_as_they_were_told() {
        let fields = vec![
            field("id", DataType::UInt64, false, "bigint(20) unsigned", None),
            field("doc", DataType::Utf8, true, "json", Some(LOGICAL_JSON)),
            field("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true, "timestamp(6)", None),
            field("price", DataType::Decimal256(65, 30), true, "decimal(65,30)", None),
        ];
        let first = TableSchema::by_value(TableId::new("shop", "orders"), fields.clone(), vec![0]);
        let second = Arc::new(TableSchema {
            version: 2,
            key_equality: KeyEquality::ServerOnly,
            arrow: Arc::new(arrow_schema::Schema::new(fields[..3].to_vec())),
            ..(*first).clone()
        });
        let told = SchemaChange { before: None, after: first.clone(), statement: String::new(), ddl: Ddl::default() };
        let changed = SchemaChange {
            before: Some(first.clone()),
            after: second.clone(),
            statement: "ALTER TABLE orders DROP price".into(),
            ddl: Ddl::Columns { renamed: vec![("a".into(), "b".into())] },
        };
        let dropped = SchemaChange { before: Some(second.clone()), ddl: Ddl::Drop, ..changed.clone() };
        let mut shapes = Shapes::default();
        for (number, change) in [(0, &told), (5, &changed), (6, &dropped)] {
            assert_eq!(shapes.read(&write_shape(number, change).unwrap()), Some(number));
            assert_eq!(shapes.get(number), Some(change));
        }
        assert_eq!(shapes.before(5)[&first.id], (0, first.clone()));
        assert_eq!((shapes.behind(5), shapes.behind(1)), (7, 1));
        assert_eq!(shapes.read(b"{}"), None);
    }
}
