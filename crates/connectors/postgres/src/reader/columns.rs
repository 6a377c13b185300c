//! What rows, and not the messages before them, tell of their table.

use super::{Announced, PostgresReader, Then, changed};
use crate::shape::Shape;
use crate::snapshot::ReadWith;
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::{Code, Error, Result};
use std::sync::Arc;

impl PostgresReader {
    /// Rows of a table come with other columns than the stream has told of, and the stream is past the change of columns.
    pub(super) fn adopt(&mut self, at: usize, with: Arc<ReadWith>) -> Result<()> {
        if self.announced.is_some() || (self.start.machine.is_inside() && !self.waits()) {
            return Ok(());
        }
        let table = self.start.tables.get(at);
        if !self.start.config.options.schema_change {
            return Err(changed(&table.id.to_string(), "got other columns")
                .help("set `schema-change.enabled: true`, or start a new pipeline"));
        }
        let before = table.decodable.schema.clone();
        let shape = Shape { version: table.shape.version + 1, ..with.shape.clone() };
        let (after, renamed) = (shape.decodable().schema, shape.renamed_since(&table.shape));
        let statement = format!("ALTER TABLE {}", table.id);
        let change = SchemaChange { before: Some(before), after, statement, ddl: Ddl::Columns { renamed } };
        self.flush_all()?;
        self.announced = Some(Announced { at, change, then: Then::Adopt(with), told: false });
        Ok(())
    }

    /// All rows of a table are gone.
    pub(super) fn truncate(&mut self, at: usize) -> Result<()> {
        self.flush_all()?;
        let schema = self.start.tables.get(at).decodable.schema.clone();
        let statement = format!("TRUNCATE {}", schema.id);
        let change = SchemaChange { before: Some(schema.clone()), after: schema, statement, ddl: Ddl::Truncate };
        self.announced = Some(Announced { at, change, then: Then::Truncated, told: false });
        Ok(())
    }

    /// A row of before a column became NOT NULL, read after the catalog was (INV-10): the stream does not tell NOT NULL.
    pub(super) fn relax(&mut self, at: usize, column: usize) -> Result<()> {
        self.flush_all()?;
        let table = self.start.tables.get(at);
        let name = &table.shape.columns[column].name;
        if !self.start.config.options.schema_change {
            return Err(changed(&table.id.to_string(), &format!("holds a NULL in column {name}, which is NOT NULL"))
                .help("set `schema-change.enabled: true`, or start a new pipeline"));
        }
        let statement = format!("ALTER TABLE {} ALTER COLUMN {name} DROP NOT NULL", table.id);
        let shape = table.shape.relaxed(column);
        let (before, after) = (Some(table.decodable.schema.clone()), shape.decodable().schema);
        let change = SchemaChange { before, after, statement, ddl: Ddl::default() };
        self.announced = Some(Announced { at, change, then: Then::Relax(shape), told: false });
        Ok(())
    }

    /// Starts a stream of binary values over as text, when a table has a column now whose binary form is not read here.
    pub(super) fn read_as_text(&mut self) -> Result<()> {
        if !self.binary || self.start.tables.reads_binary() {
            return Ok(());
        }
        self.lost(Error::new(
            Code::ConnectionLost,
            "a new column cannot be read in binary, so all values are read as text",
        ))
    }
}
