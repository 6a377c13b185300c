//! A log that lags behind the database, and markers in it: what was committed before a marker was written comes before it.
//!
//! The service orders transactions by the versions of their commits. A marker is written by a transaction of its own, into a
//! table that the user has made for it; its text is random, so that the bytes of the log that hold it are its event.

use crate::client::{BinlogRequest, BinlogStart, BinlogStream, Connection, quote, stream_ended};
use crate::config::Config;
use crate::decode::header::{Header, event_type};
use crate::gtid::{Executed, GtidSet};
use crate::oceanbase;
use crate::place::Place;
use crate::shape::Shape;
use crate::snapshot::{LaggingLog, Window};
use crate::startup;
use crate::stream::{Machine, Step, Tables, Undecided};
use async_trait::async_trait;
use dujiang_core::source::SourceContext;
use dujiang_core::{ChangeBatch, Code, Error, Result, TableId, fault};
use dujiang_spool::{Limits, Spool};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Changes of a table that are kept between a snapshot and its marker.
const WINDOW_BYTES: usize = 64 << 20;
/// How long a marker is waited for, and how often that is told meanwhile.
const PATIENCE: Duration = Duration::from_secs(600);
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Dumps at a time have numbers of their own, behind that of the stream.
const NUMBERS: u32 = 16;
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The log of a tenant, and the table for markers.
pub struct MarkedLog {
    config: Arc<Config>,
    context: SourceContext,
    table: TableId,
}

impl MarkedLog {
    /// If the options name a table for markers.
    pub fn of(config: &Arc<Config>, context: &SourceContext) -> Option<Arc<Self>> {
        let table = config.marker_table.clone()?;
        Some(Arc::new(Self { config: config.clone(), context: context.clone(), table }))
    }

    /// Behind everything that is committed now, and the transactions before it.
    ///
    /// # Errors
    /// As [`LaggingLog::window`]; `BinlogServiceOff`.
    pub async fn marked_end(&self, connection: &mut Connection) -> Result<(Place, Executed)> {
        let (_, known) = oceanbase::status(connection).await?;
        let reading = self.read(&known, Tables::new(Vec::new())?, connection).await?;
        Ok((reading.machine.place().clone(), reading.machine.executed().clone()))
    }

    /// Writes a marker and reads on until it is met.
    async fn read(&self, known: &GtidSet, tables: Tables, connection: &mut Connection) -> Result<Reading> {
        let mark = put(connection, &self.config.pipeline, &self.table).await?;
        let mut reading = Reading::of(self, known, tables)?;
        let mut log = dump(&self.config, known).await.map_err(elsewhere)?;
        let began = Instant::now();
        loop {
            match tokio::time::timeout(TOLD_EVERY, log.next_event()).await {
                Ok(event) => {
                    let event = event.map_err(elsewhere)?.ok_or_else(stream_ended)?;
                    if is_marker(event, &mark)? {
                        return Ok(reading);
                    }
                    reading.take(event)?;
                }
                Err(_) => tracing::warn!(table = %self.table, "Binlog Service sends nothing"),
            }
            if began.elapsed() > PATIENCE {
                return Err(unseen(&self.table));
            }
        }
    }
}

#[async_trait]
impl LaggingLog for MarkedLog {
    async fn known(&self, connection: &mut Connection) -> Result<GtidSet> {
        Ok(oceanbase::status(connection).await?.1)
    }

    async fn window(&self, known: &GtidSet, shape: &Shape) -> Result<Window> {
        let mut connection = Connection::connect(&self.config.endpoint).await?;
        let tables = startup::tables(&mut connection, vec![shape.clone()]).await?;
        let window = self.read(known, tables, &mut connection).await?.window();
        connection.close().await;
        window
    }

    async fn end(&self, connection: &mut Connection) -> Result<Place> {
        Ok(self.marked_end(connection).await?.0)
    }
}

/// What is read up to the marker.
struct Reading {
    machine: Machine,
    tables: Tables,
    changes: Vec<ChangeBatch>,
    altered: bool,
    budget: dujiang_core::budget::Budget,
}

impl Reading {
    fn of(log: &MarkedLog, known: &GtidSet, tables: Tables) -> Result<Self> {
        // Never written to: there are no distributed transactions.
        let spool = Spool::open(&log.context.work_dir.join("markers"), Limits::default())?;
        let undecided = Undecided::new(spool, Vec::new(), Vec::new())?;
        let executed = Executed::MySql(known.clone());
        let machine = Machine::new(oceanbase::place_after(known)?, executed, Vec::new(), undecided).numbered();
        let budget = log.context.budget.clone();
        Ok(Self { machine, tables, changes: Vec::new(), altered: false, budget })
    }

    /// What cannot be read with the columns that the catalog has now was written with others: the stream, which knows them,
    /// will meet it.
    fn take(&mut self, event: &[u8]) -> Result<()> {
        if self.altered && is_of_rows(Header::parse(event)?.event_type) {
            return Ok(());
        }
        match self.read(event) {
            Err(error) if error.code() != Code::WindowTooLarge => {
                tracing::debug!(%error, "a change behind a snapshot cannot be read");
                self.altered = true;
                Ok(())
            }
            read => read,
        }
    }

    fn read(&mut self, event: &[u8]) -> Result<()> {
        loop {
            match self.machine.event(event, &mut self.tables, None)? {
                Step::Done => return Ok(()),
                Step::Rows(table) => {
                    self.tables.flush_if_full(table, &mut self.changes)?;
                    return self.measured();
                }
                Step::Part(table) => self.tables.flush_if_full(table, &mut self.changes)?,
                Step::Ddl(ddl) => {
                    self.altered = true;
                    self.machine.finish_statement(ddl.next.as_ref());
                    return Ok(());
                }
                Step::Unfit(_) => {
                    self.altered = true;
                    return Ok(());
                }
                Step::Wait | Step::Keys(_) => {
                    return Err(Error::new(Code::Bug, "a table without a snapshot waits for one"));
                }
            }
        }
    }

    fn measured(&self) -> Result<()> {
        let bytes = self.memory() + self.tables.wire_bytes();
        if bytes > WINDOW_BYTES { Err(too_large(bytes)) } else { Ok(()) }
    }

    fn memory(&self) -> usize {
        self.changes.iter().map(ChangeBatch::memory).sum()
    }

    /// At the marker.
    fn window(mut self) -> Result<Window> {
        let point = self.machine.place().clone();
        self.tables.flush_all(&mut self.changes)?;
        if fault::removed("fold-window") {
            self.changes.clear();
        }
        let held = self.budget.hold(self.memory());
        Ok(Window { point, altered: self.altered, changes: self.changes, held })
    }
}

/// Writes a marker; returns its text.
async fn put(connection: &mut Connection, pipeline: &str, table: &TableId) -> Result<String> {
    let random = || std::hash::RandomState::new().build_hasher().finish();
    let mark = format!("{:016x}{:016x}", random(), random());
    let pipeline: String = pipeline.chars().take(255).collect();
    let sql = format!(
        "INSERT INTO {} (pipeline, token) VALUES ({}, {}) ON DUPLICATE KEY UPDATE token = VALUES(token)",
        quote::table(table)?,
        quote::text(&pipeline),
        quote::text(&mark)
    );
    let written = connection.execute(&sql).await;
    written.map_err(|error| oceanbase::no_marker_table(error, table, "the pipeline's user"))?;
    Ok(mark)
}

async fn dump(config: &Config, known: &GtidSet) -> Result<BinlogStream> {
    let request = BinlogRequest {
        server_id: config.server_id.wrapping_add(1 + NEXT.fetch_add(1, Ordering::Relaxed) % NUMBERS).max(1),
        start: BinlogStart::MySqlGtidSet(known.encode()),
        heartbeat: config.options.heartbeat_interval,
        replica_uuid: None,
        wait_at_end: true,
    };
    Connection::connect(&config.endpoint).await?.dump(&request).await
}

fn is_of_rows(kind: u8) -> bool {
    use event_type as t;
    matches!(kind, t::TABLE_MAP | t::WRITE_ROWS | t::UPDATE_ROWS | t::DELETE_ROWS)
}

fn is_marker(event: &[u8], mark: &str) -> Result<bool> {
    use event_type as t;
    let kind = Header::parse(event)?.event_type;
    let rows = matches!(kind, t::WRITE_ROWS | t::UPDATE_ROWS);
    Ok(rows && event.windows(mark.len()).any(|part| part == mark.as_bytes()))
}

/// A node of the service that does not have yet what another has told is not another history.
fn elsewhere(error: Error) -> Error {
    if error.code() != Code::OtherServer {
        return error;
    }
    Error::new(Code::ConnectionLost, "a node of Binlog Service is behind another").with_source(error)
}

#[cold]
fn unseen(table: &TableId) -> Error {
    let message = format!("a marker in {table} has not come through Binlog Service for {} s", PATIENCE.as_secs());
    Error::new(Code::MarkerUnseen, message)
        .help("see how far the service is behind (SHOW BINLOG SERVER), and whether it serves this tenant")
}

#[cold]
fn too_large(bytes: usize) -> Error {
    let message = "a table changes faster than its snapshot can be brought up to the log";
    Error::new(Code::WindowTooLarge, message)
        .fact("bytes", bytes.to_string())
        .help("let Binlog Service catch up (SHOW BINLOG SERVER), or take the snapshot when less is written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_testkit::messages;

    #[test]
    fn what_keeps_a_snapshot_from_its_place_in_the_log_is_said() {
        for error in [unseen(&TableId::new("ops", "marker")), too_large(WINDOW_BYTES + 1)] {
            messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
        }
    }
}
