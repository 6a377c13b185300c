//! A pipeline in small: a reader, barriers, crashes, and a sink that notices every row too many, too few or out of order.

use arrow_array::cast::AsArray;
use arrow_array::types as t;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use dujiang_core::budget::Budget;
use dujiang_core::clock::Clock;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Place, RawOption};
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent};
use dujiang_core::{ChangeBatch, Error, Kind, Lineage, PipelineIdentity, Position, Result};
use dujiang_postgres::SPEC;
use dujiang_postgres::lsn::Lsn;
use dujiang_scratch::{Postgres, PostgresOptions};
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

/// A source of these tables of the database `postgres`, at a port; `options` win.
pub fn source_at(port: u16, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    source_of(&format!("test {tables}"), port, tables, options)
}

/// As [`source_at`], of a pipeline of this name.
pub fn source_of(pipeline: &str, port: u16, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    if let Ok(step) = std::env::var(REMOVED) {
        dujiang_core::fault::install(Box::new(Saboteur(step)));
    }
    let port = port.to_string();
    let must =
        [("hostname", "127.0.0.1"), ("port", &port), ("username", "postgres"), ("password", ""), ("tables", tables)];
    let given = |key: &str| options.iter().any(|(k, _)| *k == key);
    let raw: Vec<_> = must
        .iter()
        .filter(|(k, _)| !given(k))
        .chain(options)
        .map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine))
        .collect();
    let pipeline = PipelineOptions { name: pipeline.into(), parallelism: 1, memory_limit: 128 << 20 };
    (SPEC.build)(&raw, &pipeline).unwrap()
}

pub fn source(server: &Postgres, tables: &str, options: &[(&str, &str)]) -> Box<dyn Source> {
    source_at(server.port(), tables, options)
}

/// A cell as text.
pub fn cell(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".into();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
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
        DataType::Time64(_) => array.as_primitive::<t::Time64MicrosecondType>().value(row).to_string(),
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
            Kind::Read if key.is_empty() => format!("{}/{table}/#{ordinal}", origin.transaction),
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
    pub rows: HashMap<String, BTreeMap<Vec<String>, Vec<String>>>,
    pub images: Vec<Image>,
    seen: std::collections::HashSet<(String, bool)>,
    /// How many rows without a key hold the same.
    copies: HashMap<(String, Vec<String>), usize>,
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
            let rows = self.rows.entry(image.table.clone()).or_default();
            let mut key: Vec<String> = batch.schema.key.iter().map(|&k| image.cells[k].clone()).collect();
            if key.is_empty() {
                // Rows without a key are as many as there are of them: they are numbered, and the last one goes first.
                let copies = self.copies.entry((image.table.clone(), image.cells.clone())).or_default();
                let adds = matches!(image.kind, Kind::Read | Kind::Insert | Kind::UpdateAfter);
                if !adds {
                    *copies = copies.saturating_sub(1);
                }
                key = [image.cells.clone(), vec![copies.to_string()]].concat();
                *copies += usize::from(adds);
            }
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
                    assert_eq!(old.as_ref(), Some(&image.cells), "{image:?}\n{}", self.history(&image.table, &key));
                }
            }
            let first_of_change = image.kind != Kind::UpdateBefore;
            assert!(self.seen.insert((image.id.clone(), first_of_change)), "event id twice: {image:?}");
            self.images.push(image);
        }
    }

    /// Columns come and go; a new one is NULL in the rows that are there. The same change may be told again.
    pub fn reshape(&mut self, change: &dujiang_core::schema::SchemaChange) {
        let Some(before) = &change.before else { return };
        let names =
            |s: &dujiang_core::TableSchema| s.arrow.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        let (old, new) = (names(before), names(&change.after));
        for row in self.rows.entry(before.id.to_string()).or_default().values_mut().filter(|r| r.len() == old.len()) {
            let value =
                |name: &String| old.iter().position(|o| o == name).map_or("NULL".to_owned(), |at| row[at].clone());
            *row = new.iter().map(value).collect();
        }
    }

    fn history(&self, table: &str, key: &[String]) -> String {
        let touches = |i: &&Image| i.table == table && key.iter().all(|k| i.cells.contains(k));
        self.images.iter().filter(touches).map(|i| format!("{:?} {} {:?}\n", i.kind, i.id, i.cells)).collect()
    }

    pub fn count(&self, table: &str) -> usize {
        self.rows.get(table).map_or(0, BTreeMap::len)
    }
}

/// Runs a source with barriers and crashes.
pub struct Pipeline {
    pub source: Box<dyn Source>,
    reader: Option<Box<dyn Reader>>,
    acker: Option<Box<dyn Acker>>,
    pub position: Option<Position>,
    open_epoch: Vec<ChangeBatch>,
    pub sink: Sink,
    pub events: Vec<&'static str>,
    pub changes: Vec<dujiang_core::schema::SchemaChange>,
    pub crashes: usize,
    /// Chunks are handed out at their place in the stream.
    pub in_order: bool,
    idle: usize,
}

impl Pipeline {
    pub fn new(source: Box<dyn Source>) -> Self {
        Self {
            source,
            reader: None,
            acker: None,
            position: None,
            open_epoch: Vec::new(),
            sink: Sink::default(),
            events: Vec::new(),
            changes: Vec::new(),
            crashes: 0,
            in_order: false,
            idle: 0,
        }
    }

    pub async fn open(&mut self) -> Result<&mut Box<dyn Reader>> {
        if self.reader.is_none() {
            let (mut reader, acker) = self.source.open(self.position.clone(), context()).await?;
            if self.in_order {
                reader.keep_order_across_tables();
            }
            self.reader = Some(reader);
            self.acker = Some(acker);
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
                self.barrier()?;
                self.sink.reshape(&change);
                self.changes.push(change);
                "schema-change"
            }
            SourceEvent::SnapshotDone => "snapshot-done",
            SourceEvent::CaughtUp => "caught-up",
            SourceEvent::Idle => "idle",
            SourceEvent::End => "end",
        };
        self.idle = if name == "idle" { self.idle + 1 } else { 0 };
        if self.idle > 15 {
            return Err(Error::new(dujiang_core::Code::Bug, "nothing more comes"));
        }
        if name != "batch" && name != "idle" {
            self.events.push(name);
        }
        Ok(name)
    }

    /// Makes everything handed out so far, and everything the barrier adds, visible.
    pub fn barrier(&mut self) -> Result<()> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let position = reader.barrier(&mut self.open_epoch)?;
        self.position = Some(position);
        for batch in self.open_epoch.drain(..) {
            self.sink.take(&batch);
        }
        Ok(())
    }

    /// Forgets what no barrier has confirmed; the next step starts from the last one.
    pub fn crash(&mut self) {
        self.open_epoch.clear();
        self.reader = None;
        self.acker = None;
        self.crashes += 1;
    }

    pub async fn until(&mut self, wanted: &str) -> Result<()> {
        while self.step().await? != wanted {}
        self.barrier()
    }

    /// Everything up to the last barrier is durable.
    pub async fn ack(&mut self) {
        let position = self.position.clone().unwrap();
        self.acker.as_mut().unwrap().ack(&position).await.unwrap();
    }

    /// Until everything that the server has logged by now is in the sink.
    pub async fn until_now(&mut self, server: &Postgres) -> Result<()> {
        let wanted = end_of_log(server);
        while Lsn::parse(&self.status().position).unwrap() < wanted {
            self.step().await?;
        }
        self.barrier()
    }

    pub fn status(&self) -> dujiang_core::source::SourceStatus {
        self.reader.as_ref().unwrap().status()
    }
}

/// The rows of a table as the server has them, in the text form of [`cell`] (for numbers and text).
pub fn rows_of(server: &Postgres, table: &str, key: usize) -> BTreeMap<Vec<String>, Vec<String>> {
    let text = server.sql(&format!("\\pset null NULL\n SELECT * FROM {table}")).unwrap();
    let rows = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row: Vec<String>| (row[..key].to_vec(), row)).collect()
}

/// The end of the log, all of it on disk.
pub fn end_of_log(server: &Postgres) -> Lsn {
    let sql = "SELECT pg_logical_emit_message(true, 'test', 'x'); SELECT pg_current_wal_flush_lsn()";
    Lsn::parse(server.sql(sql).unwrap().lines().last().unwrap()).unwrap()
}

/// What the server was told to be durable.
pub fn confirmed(server: &Postgres, slot: &str) -> Lsn {
    let sql = format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{slot}'");
    Lsn::parse(server.sql(&sql).unwrap().trim()).unwrap()
}

/// A server of the test's own.
pub fn own() -> Postgres {
    with(&[])
}

/// One server of each version, one after the other; its version is printed.
pub fn every() -> impl Iterator<Item = Postgres> {
    dujiang_scratch::PostgresKind::ALL.into_iter().map(|kind| {
        let server = Postgres::start_with(&PostgresOptions::default().on(kind)).unwrap();
        println!("PostgreSQL {}", server.version());
        server
    })
}

/// As [`own`], with settings.
pub fn with(settings: &[&str]) -> Postgres {
    let options = settings.iter().fold(PostgresOptions::default(), |options, setting| options.set(*setting));
    Postgres::start_with(&options).unwrap()
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
