//! Runs statements on a real server and decodes the same rows from the log and from a SELECT.

use crate::support::{connect, own};
use dujiang_core::batch::{ChangeBatch, TimePrecision};
use dujiang_core::schema::TableSchema;
use dujiang_core::{Origin, Result, TableId};
use dujiang_mysql::decode::event::{Event, EventData, EventFormat};
use dujiang_mysql::decode::file::FileEvents;
use dujiang_mysql::decode::{CatalogColumn, Column, ColumnType, RowsEvent, TableBuilder, TableMap, column};
use dujiang_scratch::{Options, Server, Session};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

static SERVER: LazyLock<Server> = LazyLock::new(|| own(&Options::default()));
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A table of its own on a server, and its binlog from the table's creation on.
pub struct Table<'s> {
    server: &'s Server,
    session: Session,
    pub name: String,
    first_file: String,
}

impl Table<'static> {
    /// A table with a key `id` and these columns, on the server all these tests share.
    pub fn create(columns: &str) -> Self {
        Self::create_on(&SERVER, columns)
    }
}

impl<'s> Table<'s> {
    pub fn create_on(server: &'s Server, columns: &str) -> Self {
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut session = server.session().unwrap();
        session.run("CREATE DATABASE IF NOT EXISTS dec_db; USE dec_db; SET time_zone='+00:00', sql_mode=''").unwrap();
        session.run("FLUSH BINARY LOGS").unwrap();
        let first_file = session.run("SHOW MASTER STATUS").unwrap()[0][0].clone().unwrap();
        session.run(&format!("CREATE TABLE {name} (id INT PRIMARY KEY AUTO_INCREMENT, {columns})")).unwrap();
        Self { server, session, name, first_file }
    }

    pub fn run(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.session.run(&sql.replace("$t", &self.name)).unwrap()
    }

    pub fn columns(&mut self) -> Result<Arc<[Column]>> {
        let rows = self.run(
            "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE FROM information_schema.COLUMNS
             WHERE TABLE_SCHEMA='dec_db' AND TABLE_NAME='$t' ORDER BY ORDINAL_POSITION",
        );
        rows.iter()
            .map(|row| {
                column(CatalogColumn {
                    name: row[0].as_deref().unwrap(),
                    column_type: row[1].as_deref().unwrap(),
                    charset: row[2].as_deref(),
                    collation: row[3].as_deref(),
                    nullable: row[4].as_deref() == Some("YES"),
                })
            })
            .collect()
    }

    pub fn builder(&mut self) -> TableBuilder {
        let columns = self.columns().unwrap();
        let fields = columns.iter().map(|c| c.field.clone()).collect();
        let schema = TableSchema::by_value(TableId::new("dec_db", self.name.as_str()), fields, vec![0]);
        TableBuilder::new(schema, columns).unwrap()
    }

    /// The bytes of the binlog files written since the table was created.
    pub fn log(&mut self) -> Vec<Vec<u8>> {
        self.run("FLUSH BINARY LOGS");
        let files: Vec<String> = self.run("SHOW BINARY LOGS").into_iter().map(|row| row[0].clone().unwrap()).collect();
        let wanted = files.iter().skip_while(|file| **file != self.first_file);
        wanted.map(|file| std::fs::read(self.server.data_dir().join(file)).unwrap()).collect()
    }

    /// Shows every rows event of the table, with the table map before it, to `take`.
    pub fn each_rows_event(&mut self, mut take: impl FnMut(&TableMap<'_>, &RowsEvent<'_>)) {
        for file in self.log() {
            let mut format = EventFormat::unknown();
            let mut map = None;
            let mut events = FileEvents::new(&file).unwrap();
            while let Some(bytes) = events.next_event().unwrap() {
                let event = Event::parse(bytes, &format).unwrap();
                let mut buffer = Vec::new();
                match event.data(&format).unwrap() {
                    EventData::FormatDescription(found) => format = found,
                    EventData::TableMap(found) if found.table == self.name => map = Some(found),
                    EventData::Rows(rows) => {
                        if let Some(map) = map.filter(|map| map.table_id == rows.table_id) {
                            take(&map, &rows);
                        }
                    }
                    EventData::CompressedRows(rows) => {
                        let rows = rows.inflate(&mut buffer).unwrap();
                        if let Some(map) = map.filter(|map| map.table_id == rows.table_id) {
                            take(&map, &rows);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The changes of the table as the log has them.
    pub fn from_log(&mut self) -> Result<ChangeBatch> {
        let mut builder = self.builder();
        builder.begin_span(origin("tx"));
        let mut failed = None;
        self.each_rows_event(|map, rows| {
            let done = builder.use_table_map(map).and_then(|()| builder.append_rows(rows));
            failed = failed.take().or(done.err());
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(builder.finish()?.expect("the log has rows of the table")),
        }
    }

    /// The rows of the table as a SELECT of the binary protocol gives them, in key order.
    pub fn from_select(&mut self) -> Result<ChangeBatch> {
        let mut builder = self.builder();
        builder.begin_span(origin("snapshot"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sql = format!("SELECT {} FROM dec_db.{} ORDER BY id", names(builder.columns()), self.name);
        runtime.block_on(async {
            let mut connection = connect(self.server).await;
            connection.execute("SET NAMES utf8mb4").await?;
            connection.execute("SET time_zone='+00:00'").await?;
            let statement = connection.prepare(&sql).await?;
            let mut rows = connection.execute_stmt(&statement, &[]).await?;
            while let Some(packet) = rows.next().await? {
                builder.append_binary_row(packet)?;
            }
            Ok::<_, dujiang_core::Error>(())
        })?;
        Ok(builder.finish()?.expect("the table has rows"))
    }

    /// The rows as the server prints them, in key order; text and bytes as hexadecimal digits.
    pub fn printed(&mut self) -> Vec<Vec<Option<String>>> {
        let columns = self.columns().unwrap();
        let shown: Vec<String> = columns.iter().map(expression).collect();
        let sql = format!("SELECT {} FROM $t ORDER BY id", shown.join(", "));
        self.run(&sql)
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let _ = self.session.run(&format!("DROP TABLE {}", self.name));
    }
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|c| format!("`{}`", c.name)).collect::<Vec<_>>().join(", ")
}

fn expression(column: &Column) -> String {
    let name = format!("`{}`", column.name);
    match &column.column_type {
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => {
            format!("HEX(CONVERT({name} USING utf8mb4))")
        }
        ColumnType::Binary { .. } | ColumnType::Bytes | ColumnType::Geometry => format!("HEX({name})"),
        ColumnType::Bit { .. } => format!("CAST({name} AS UNSIGNED)"),
        ColumnType::Float => format!("{name} + 0e0"),
        ColumnType::Year
        | ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. } => format!("{name} + 0"),
        _ => format!("CAST({name} AS CHAR)"),
    }
}

pub fn origin(transaction: &str) -> Origin<'_> {
    Origin { transaction, position: "bin.000001:4", commit_micros: 1, precision: TimePrecision::Seconds, first_ordinal: 0 }
}
