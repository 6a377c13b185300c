//! A pipeline in small: a reader, barriers, crashes, and a sink that notices every row too many, too few or out of order.

use crate::support;
use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use dujiang_core::budget::Budget;
use dujiang_core::clock::Clock;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Place, RawOption};
use dujiang_core::source::{Reader, Source, SourceContext, SourceEvent};
use dujiang_core::{ChangeBatch, Error, Kind, Lineage, PipelineIdentity, Position, Result};
use dujiang_mysql::SPECS;
use dujiang_scratch::{Family, Kind as ServerKind, Options, Server, ServerBinary};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

struct WallClock;

impl Clock for WallClock {
    fn now_micros(&self) -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        now.as_micros() as i64
    }
}

/// A folder of its own for each opening; it is made and removed by the source if it needs it.
fn work_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("dujiang-work-{}-{number}", std::process::id()))
}

pub fn context() -> SourceContext {
    SourceContext {
        identity: PipelineIdentity { name: "test".into(), lineage: Lineage("00112233aabbccdd".into()) },
        clock: Arc::new(WallClock),
        budget: Budget::new(128 << 20),
        work_dir: work_dir(),
    }
}

/// A source of these tables, at a port.
pub fn source_at(port: u16, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    let port = port.to_string();
    let must = [("hostname", "127.0.0.1"), ("port", &port), ("username", "root"), ("password", ""), ("tables", tables)];
    let raw: Vec<_> = must.iter().chain(options).map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
    let pipeline = PipelineOptions { name: format!("test {tables}"), parallelism: 1, memory_limit: 128 << 20 };
    (SPECS[1].build)(&raw, &pipeline).unwrap()
}

pub fn source(server: &Server, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    source_at(server.port(), tables, options)
}

/// A cell as text.
pub fn cell(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".into();
    }
    match array.data_type() {
        DataType::Int8 => array.as_primitive::<t::Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<t::Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<t::Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<t::Int64Type>().value(row).to_string(),
        DataType::UInt8 => array.as_primitive::<t::UInt8Type>().value(row).to_string(),
        DataType::UInt16 => array.as_primitive::<t::UInt16Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<t::UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<t::UInt64Type>().value(row).to_string(),
        DataType::Float32 => array.as_primitive::<t::Float32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<t::Float64Type>().value(row).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<t::Decimal128Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => format!("{:02x?}", array.as_binary::<i32>().value(row)),
        DataType::Date32 => array.as_primitive::<t::Date32Type>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<t::TimestampMicrosecondType>().value(row).to_string(),
        DataType::Duration(_) => array.as_primitive::<t::DurationMicrosecondType>().value(row).to_string(),
        other => panic!("no text for {other}"),
    }
}

fn cells(rows: &RecordBatch, row: usize) -> Vec<String> {
    rows.columns().iter().map(|c| cell(c.as_ref(), row)).collect()
}

/// One row image as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub table: String,
    pub kind: Kind,
    /// (transaction, table, ordinal); for a snapshot row its key.
    pub id: String,
    pub cells: Vec<String>,
}

pub fn images(batch: &ChangeBatch) -> Vec<Image> {
    let table = batch.schema.id.to_string();
    let image = |(row, (ordinal, origin)): (usize, (u64, dujiang_core::Origin<'_>))| {
        let cells = cells(&batch.rows, row);
        let kind = batch.kinds[row];
        let key: Vec<&str> = batch.schema.key.iter().map(|&k| cells[k].as_str()).collect();
        let id = match kind {
            Kind::Read => format!("{}/{table}/{}", origin.transaction, key.join("|")),
            _ => format!("{}/{table}/{ordinal}", origin.transaction),
        };
        Image { table: table.clone(), kind, id, cells }
    };
    batch.ordinals().enumerate().map(image).collect()
}

/// The sink: rows by table and key, and everything that came.
#[derive(Default)]
pub struct Sink {
    pub rows: Rows,
    pub images: Vec<Image>,
    seen: std::collections::HashSet<(String, bool)>,
}

impl Sink {
    pub fn take(&mut self, batch: &ChangeBatch) {
        for (row, (ordinal, origin)) in batch.ordinals().enumerate().filter(|(row, _)| batch.kinds[*row] == Kind::Read)
        {
            let place = format!("{}/{}#{ordinal}", origin.transaction, batch.schema.id);
            // A sink that has thrown the key away has nothing else to tell rows of the snapshot apart.
            assert!(self.seen.insert((place, true)), "row {row} has the ordinal {ordinal} of another row");
        }
        for image in images(batch) {
            let key: Vec<String> = batch.schema.key.iter().map(|&k| image.cells[k].clone()).collect();
            let rows = self.rows.entry(image.table.clone()).or_default();
            match image.kind {
                Kind::Read | Kind::Insert | Kind::UpdateAfter => {
                    let old = rows.insert(key.clone(), image.cells.clone());
                    assert!(
                        old.is_none(),
                        "{image:?}: key is there already: {old:?}\n{}",
                        self.history(&image.table, &key)
                    );
                }
                Kind::UpdateBefore | Kind::Delete => {
                    let old = rows.remove(&key);
                    let same = old.as_ref().is_some_and(|old| same_row(old, &image.cells));
                    assert!(same, "{image:?}, was {old:?}\n{}", self.history(&image.table, &key));
                }
            }
            let first_of_change = image.kind != Kind::UpdateBefore;
            assert!(self.seen.insert((image.id.clone(), first_of_change)), "event id twice: {image:?}");
            self.images.push(image);
        }
    }

    /// Tables and columns come and go. What a new column, or one of another type, holds in the rows that are there is the
    /// server's business: it is not compared. The same change may be told again.
    pub fn reshape(&mut self, change: &dujiang_core::schema::SchemaChange) {
        use dujiang_core::schema::Ddl;
        let table = change.after.id.to_string();
        let renamed = match &change.ddl {
            Ddl::Drop => return drop(self.rows.remove(&table)),
            Ddl::Truncate => return self.rows.entry(table).or_default().clear(),
            Ddl::Columns { renamed } => renamed,
        };
        let rows = self.rows.entry(table).or_default();
        let Some(before) = &change.before else { return };
        let old = before.arrow.fields();
        let value = |field: &arrow_schema::FieldRef, row: &[String]| {
            let was = renamed.iter().find(|(_, new)| new == field.name()).map(|(old, _)| old);
            let taken = renamed.iter().any(|(old, _)| old == field.name());
            let was = was.or_else(|| (!taken).then_some(field.name()));
            let at = old.iter().position(|o| Some(o.name()) == was);
            let same = |at: &usize| {
                old[*at].data_type() == field.data_type() || change.after.key_names().any(|k| k == field.name())
            };
            at.filter(same).map_or("*".to_owned(), |at| row[at].clone())
        };
        let reshaped = std::mem::take(rows).into_values().map(|row| {
            let row: Vec<String> = match row.len() == old.len() {
                true => change.after.arrow.fields().iter().map(|field| value(field, &row)).collect(),
                false => row,
            };
            (change.after.key.iter().map(|&k| row[k].clone()).collect(), row)
        });
        *rows = reshaped.collect();
    }

    fn history(&self, table: &str, key: &[String]) -> String {
        let touches = |i: &&Image| i.table == table && key.iter().all(|k| i.cells.contains(k));
        self.images.iter().filter(touches).map(|i| format!("{:?} {} {:?}\n", i.kind, i.id, i.cells)).collect()
    }

    pub fn count(&self, table: &str) -> usize {
        self.rows.get(table).map_or(0, BTreeMap::len)
    }
}

/// Whether two rows are equal, as far as both are known.
pub fn same_row(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a == "*" || b == "*")
}

/// The sink's rows of a table are those of the server.
pub fn assert_same(server: &Server, sink: &Sink, table: &str, key: usize) {
    let (mut expected, actual) = (rows_of(server, table, key), sink.rows.get(table).cloned().unwrap_or_default());
    for (key, row) in &actual {
        let other = expected.remove(key);
        assert!(other.as_ref().is_some_and(|o| same_row(o, row)), "{table} {key:?}: {row:?}, server {other:?}");
    }
    assert!(expected.is_empty(), "{table}: missing {expected:?}");
}

/// Runs a source with barriers and crashes.
pub struct Pipeline {
    pub source: Box<dyn Source>,
    reader: Option<Box<dyn Reader>>,
    pub position: Option<Position>,
    open_epoch: Vec<ChangeBatch>,
    pub sink: Sink,
    pub events: Vec<&'static str>,
    pub changes: Vec<dujiang_core::schema::SchemaChange>,
    pub crashes: usize,
    idle: usize,
    /// The rows before changes of shape that no position lies behind yet, and whether the reader has carried them through.
    unchanged: Option<(Rows, bool)>,
}

type Rows = HashMap<String, BTreeMap<Vec<String>, Vec<String>>>;

impl Pipeline {
    pub fn new(source: Box<dyn Source>) -> Self {
        if let Ok(step) = std::env::var(REMOVED) {
            dujiang_core::fault::install(Box::new(Saboteur(step)));
        }
        Self {
            source,
            reader: None,
            position: None,
            open_epoch: Vec::new(),
            sink: Sink::default(),
            events: Vec::new(),
            changes: Vec::new(),
            crashes: 0,
            idle: 0,
            unchanged: None,
        }
    }

    pub async fn open(&mut self) -> Result<&mut Box<dyn Reader>> {
        if self.reader.is_none() {
            let (reader, _acker) = self.source.open(self.position.clone(), context()).await?;
            self.reader = Some(reader);
        }
        Ok(self.reader.as_mut().unwrap())
    }

    /// One event; fails when none comes for a minute.
    pub async fn step(&mut self) -> Result<&'static str> {
        let reader = self.open().await?;
        let next = tokio::time::timeout(Duration::from_secs(60), reader.next());
        let event = next.await.map_err(|_| Error::new(dujiang_core::Code::Bug, "no event for a minute"))??;
        let name = match event {
            SourceEvent::Batch(batch) => {
                self.open_epoch.push(batch);
                "batch"
            }
            SourceEvent::SchemaChange(change) => {
                // What the statement before has changed is carried through.
                if self.changes.last().is_some_and(|last| last.statement != change.statement)
                    && let Some((_, applied)) = &mut self.unchanged
                {
                    *applied = true;
                }
                self.barrier()?;
                let rows = self.sink.rows.clone();
                self.unchanged.get_or_insert((rows, false));
                self.sink.reshape(&change);
                self.changes.push(change);
                "schema-change"
            }
            SourceEvent::SnapshotDone => "snapshot-done",
            SourceEvent::CaughtUp => "caught-up",
            SourceEvent::Idle => "idle",
            SourceEvent::End => "end",
        };
        if let Some((_, applied)) = self.unchanged.as_mut().filter(|_| name != "schema-change") {
            *applied = true;
        }
        self.idle = if name == "idle" { self.idle + 1 } else { 0 };
        if self.idle > 15 {
            let status = self.status();
            return Err(Error::new(dujiang_core::Code::Bug, format!("nothing more comes: {status:?}")));
        }
        if name != "batch" && name != "idle" {
            self.events.push(name);
        }
        Ok(name)
    }

    /// As [`Pipeline::step`], but given up for a barrier after this long; whether something came before.
    pub async fn step_or_barrier(&mut self, interval: Duration) -> Result<bool> {
        self.open().await?;
        match tokio::time::timeout(interval, self.step()).await {
            Ok(event) => event.map(|_| true),
            Err(_) => self.barrier().map(|()| false),
        }
    }

    /// Makes everything handed out so far, and everything the barrier adds, visible.
    pub fn barrier(&mut self) -> Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let position = reader.barrier(&mut self.open_epoch)?;
        self.position = Some(position);
        self.unchanged.take_if(|(_, applied)| *applied);
        for batch in self.open_epoch.drain(..) {
            self.sink.take(&batch);
        }
        Ok(())
    }

    /// Forgets what no barrier has confirmed; the next step starts from the last one.
    pub fn crash(&mut self) {
        if let Some((rows, _)) = self.unchanged.take() {
            self.sink.rows = rows;
        }
        self.open_epoch.clear();
        self.reader = None;
        self.crashes += 1;
    }

    pub async fn until(&mut self, wanted: &str) -> Result<()> {
        while self.step().await? != wanted {}
        self.barrier()
    }

    /// Until everything that the server has logged by now is in the sink.
    pub async fn until_gtid(&mut self, gtid: &str) -> Result<()> {
        let wanted = sequence(gtid);
        loop {
            self.step().await?;
            if sequence(&self.status().position) >= wanted {
                return self.barrier();
            }
        }
    }

    /// What was handed out since the last barrier.
    pub fn open_batches(&self) -> &[ChangeBatch] {
        &self.open_epoch
    }

    /// Whether the sink has a row with this key.
    pub fn has(&self, table: &str, key: &str) -> bool {
        self.sink.rows.get(table).is_some_and(|rows| rows.contains_key(&vec![key.to_owned()]))
    }

    pub fn status(&self) -> dujiang_core::source::SourceStatus {
        self.reader.as_ref().unwrap().status()
    }
}

/// What the pipeline halts with.
pub async fn failure(pipeline: &mut Pipeline) -> Error {
    loop {
        if let Err(error) = pipeline.step().await {
            return error;
        }
    }
}

/// The rows of a table as the server has them, in the text form of [`cell`] (for numbers and text).
pub fn rows_of(server: &Server, table: &str, key: usize) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut session = server.session().unwrap();
    let rows = session.run(&format!("SELECT * FROM {table}")).unwrap();
    let text = |row: Vec<Option<String>>| -> Vec<String> {
        row.into_iter().map(|c| c.unwrap_or_else(|| "NULL".into())).collect()
    };
    rows.into_iter().map(text).map(|row| (row[..key].to_vec(), row)).collect()
}

pub fn last_gtid(server: &Server) -> String {
    let mut session = server.session().unwrap();
    let sql = match server.family() {
        Family::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos",
        Family::MySql => "SELECT @@GLOBAL.gtid_executed",
    };
    session.run(sql).unwrap()[0][0].clone().unwrap()
}

/// Until no session of the server reads its log: it purges no file that a reader holds, and notices that one is gone with
/// the next sign of life.
pub fn until_nobody_reads(server: &Server) {
    let mut session = server.session().unwrap();
    let readers = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog%'";
    while session.number(readers).unwrap() > 0 {}
}

/// Purges all files of the log but the last. The server keeps a file until its rows are on disk, which takes it a moment.
pub fn purge(server: &Server) {
    let mut session = server.session().unwrap();
    loop {
        let files = session.run("SHOW BINARY LOGS").unwrap();
        if files.len() == 1 {
            return;
        }
        let last = files.last().unwrap()[0].clone().unwrap();
        session.run(&format!("PURGE BINARY LOGS TO '{last}'")).unwrap();
    }
}

/// The number of the last transaction, of `bin.000001:4711 (0-1-99)` or `0-1-99`.
pub fn sequence(position: &str) -> u64 {
    position.trim_end_matches(')').rsplit(['-', ':']).next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A server of the test's own: of the program that the variable `DUJIANG_TEST_SERVER` names, or what is installed.
pub fn own() -> Server {
    let options = Options::default();
    match std::env::var_os("DUJIANG_TEST_SERVER") {
        Some(path) => Server::start_with(&ServerBinary::at(path.as_ref()).unwrap(), &options).unwrap(),
        None => Server::start(&options).unwrap(),
    }
}

/// A server of this kind, of the test's own.
pub fn own_on(kind: ServerKind) -> Server {
    Server::start(&Options::default().on(kind)).unwrap()
}

/// Runs statements that may read from `seq_1_to_500` and the like, which only MariaDB has by itself.
pub fn sql(server: &Server, statements: &str) -> dujiang_scratch::Result<String> {
    if server.family() == Family::MariaDb {
        return server.sql(statements);
    }
    let mut pieces = statements.split("seq_");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (range, rest) = piece.split_at(end);
        let (first, last) = range.split_once("_to_").unwrap();
        let numbers = support::numbers(last.parse().unwrap());
        out += &format!("(SELECT seq FROM {numbers} WHERE seq >= {first}) seq_{range}{rest}");
    }
    server.sql(&out)
}

/// Names the safety step that this process does without.
pub const REMOVED: &str = "DUJIANG_TEST_REMOVED";

struct Saboteur(String);

impl dujiang_core::fault::Faults for Saboteur {
    fn at(&self, _point: &'static str) {}

    fn removed(&self, step: &'static str) -> bool {
        self.0 == step
    }
}
