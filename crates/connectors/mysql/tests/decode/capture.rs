//! Runs statements on a real server and decodes the same rows from the log and from a SELECT.

use crate::support::own;
use crate::support::walk::each_event;
use dujiang_core::batch::{ChangeBatch, TimePrecision};
use dujiang_core::schema::{META_SOURCE_TYPE, TableSchema};
use dujiang_core::{Origin, Result, Secret, TableId};
use dujiang_mysql::client::{Connection, Endpoint, TlsMode};
use dujiang_mysql::decode::event::{Event, EventData};
use dujiang_mysql::decode::{CatalogColumn, Column, ColumnType, RowsEvent, TableBuilder, TableMap, ZeroDates, column};
use dujiang_mysql::snapshot::read_expression;
use dujiang_scratch::{Kind, Options, Server, Session};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A server whose log files can be read.
pub struct Host {
    socket: PathBuf,
    port: u16,
    data: PathBuf,
    /// Keeps it running.
    _server: Option<Server>,
}

/// The server all these tests share: a private one, or the one that the variable `DUJIANG_TEST_SERVER` names as
/// `socket,port,data folder` (whose user `root` has no password), so that the tests can be run against any version.
static SHARED: LazyLock<Host> = LazyLock::new(|| match std::env::var("DUJIANG_TEST_SERVER") {
    Ok(named) => {
        let parts: Vec<&str> = named.split(',').collect();
        Host { socket: parts[0].into(), port: parts[1].parse().unwrap(), data: parts[2].into(), _server: None }
    }
    Err(_) => Host::start(&Options::default()),
});

static OTHERS: [LazyLock<Host>; 3] = [
    LazyLock::new(|| Host::start(&Options::default().on(Kind::MariaDbNewest))),
    LazyLock::new(|| Host::start(&Options::default().on(Kind::Mysql57))),
    LazyLock::new(|| Host::start(&Options::default().on(Kind::MysqlNewest))),
];

/// The server of that kind that all these tests share.
pub fn host(kind: Kind) -> &'static Host {
    match kind {
        Kind::MariaDb => &SHARED,
        Kind::MariaDbNewest => &OTHERS[0],
        Kind::Mysql57 => &OTHERS[1],
        Kind::MysqlNewest => &OTHERS[2],
    }
}

/// Runs a test on every server, on all at the same time.
pub fn on_each(test: impl Fn(Kind) + Sync) {
    on_some(&Kind::ALL, test);
}

/// As [`on_each`] for some servers.
pub fn on_some(kinds: &[Kind], test: impl Fn(Kind) + Sync) {
    std::thread::scope(|scope| {
        let run = |kind: Kind| {
            (
                kind,
                scope.spawn({
                    let test = &test;
                    move || test(kind)
                }),
            )
        };
        let all: Vec<_> = kinds.iter().map(|kind| run(*kind)).collect();
        let failed: Vec<Kind> = all.into_iter().filter_map(|(kind, t)| t.join().is_err().then_some(kind)).collect();
        assert!(failed.is_empty(), "fails on {failed:?}");
    });
}

impl Host {
    pub fn start(options: &Options) -> Self {
        let server = own(options);
        let (socket, port, data) = (server.socket().to_owned(), server.port(), server.data_dir());
        Self { socket, port, data, _server: Some(server) }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { tls: TlsMode::Disabled.into(), ..Endpoint::new("127.0.0.1", self.port, "root", Secret::default()) }
    }
}

/// Whether the shared server is MariaDB; some types and events are its alone.
pub fn is_mariadb() -> bool {
    let mut session = Session::connect(&SHARED.socket).unwrap();
    session.run("SELECT VERSION()").unwrap()[0][0].as_deref().unwrap().contains("MariaDB")
}

/// A table of its own on a server, and its binlog from the table's creation on.
pub struct Table {
    host: &'static Host,
    session: Session,
    pub name: String,
    first_file: String,
    zero_dates: ZeroDates,
}

impl Table {
    /// A table with a key `id` and these columns, on the server all these tests share.
    pub fn create(columns: &str) -> Self {
        Self::create_on(&SHARED, columns)
    }

    /// As [`Table::create`] on the server of that kind.
    pub fn on(kind: Kind, columns: &str) -> Self {
        Self::create_on(host(kind), columns)
    }

    pub fn create_on(host: &'static Host, columns: &str) -> Self {
        let name = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut session = Session::connect(&host.socket).unwrap();
        session.run("CREATE DATABASE IF NOT EXISTS dec_db; USE dec_db; SET time_zone='+00:00', sql_mode=''").unwrap();
        session.run("FLUSH BINARY LOGS").unwrap();
        let first_file = session.run("SHOW BINARY LOGS").unwrap().pop().unwrap()[0].clone().unwrap();
        session.run(&format!("CREATE TABLE {name} (id INT PRIMARY KEY AUTO_INCREMENT, {columns})")).unwrap();
        Self { host, session, name, first_file, zero_dates: ZeroDates::Error }
    }

    pub fn run(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.session.run(&sql.replace("$t", &self.name)).unwrap()
    }

    /// Decodes under another policy from now on.
    pub fn zero_dates(mut self, policy: ZeroDates) -> Self {
        self.zero_dates = policy;
        self
    }

    pub fn columns(&mut self) -> Result<Arc<[Column]>> {
        let rows = self.run(
            "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE FROM information_schema.COLUMNS
             WHERE TABLE_SCHEMA='dec_db' AND TABLE_NAME='$t' ORDER BY ORDINAL_POSITION",
        );
        let policy = self.zero_dates;
        rows.iter()
            .map(|row| {
                let column = column(CatalogColumn {
                    name: row[0].as_deref().unwrap(),
                    column_type: row[1].as_deref().unwrap(),
                    charset: row[2].as_deref(),
                    collation: row[3].as_deref(),
                    nullable: row[4].as_deref() == Some("YES"),
                })?;
                Ok(column.with_zero_dates(policy, false))
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
        wanted.map(|file| std::fs::read(self.host.data.join(file)).unwrap()).collect()
    }

    /// Shows every rows event of the table, with the table map before it, to `take`.
    pub fn each_rows_event(&mut self, mut take: impl FnMut(&TableMap<'_>, &RowsEvent<'_>)) {
        for file in self.log() {
            // The last table map of the table.
            let mut last: Option<Vec<u8>> = None;
            each_event(&file, |event, format, data| match data {
                EventData::TableMap(map) if map.table == self.name => last = Some(event.without_checksum().to_vec()),
                EventData::Rows(rows) => {
                    let map = last.as_deref().map(|map| Event::checked(map).unwrap().data(format).unwrap());
                    if let Some(EventData::TableMap(map)) = map
                        && map.table_id == rows.table_id
                    {
                        take(&map, &rows);
                    }
                }
                _ => {}
            });
        }
    }

    /// The changes of the table as the log has them.
    pub fn logged(&mut self) -> Result<ChangeBatch> {
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
    pub fn selected(&mut self) -> Result<ChangeBatch> {
        let mut builder = self.builder();
        builder.begin_span(origin("snapshot"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sql = format!("SELECT {} FROM dec_db.{} ORDER BY id", names(builder.columns()), self.name);
        runtime.block_on(async {
            let mut connection = Connection::connect(&self.host.endpoint()).await?;
            connection.execute("SET character_set_results = NULL").await?;
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

impl Drop for Table {
    fn drop(&mut self) {
        let _ = self.session.run(&format!("DROP TABLE {}", self.name));
    }
}

fn names(columns: &[Column]) -> String {
    let read = |c: &Column| read_expression(&format!("`{}`", c.name), &c.field.metadata()[META_SOURCE_TYPE]);
    columns.iter().map(read).collect::<Vec<_>>().join(", ")
}

fn expression(column: &Column) -> String {
    let name = format!("`{}`", column.name);
    match &column.column_type {
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => {
            format!("HEX(CONVERT({name} USING utf8mb4))")
        }
        ColumnType::Binary { .. } | ColumnType::Bytes | ColumnType::Geometry | ColumnType::Vector => {
            format!("HEX({name})")
        }
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
    Origin {
        transaction,
        position: "bin.000001:4",
        commit_micros: 1,
        precision: TimePrecision::Seconds,
        first_ordinal: 0,
    }
}
