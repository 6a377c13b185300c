//! The source: discovering tables, and where to begin.

use crate::catalog;
use crate::client::Connection;
use crate::config::{Config, StartupMode};
use crate::examine;
use crate::gtid::Executed;
use crate::marked::MarkedLog;
use crate::place::Place;
use crate::position::{self, Head, Prepared, SnapshotTable, from_hex};
use crate::preflight::{self, Demands};
use crate::reader::{MysqlReader, SideTable, SnapshotSide, Start, describe, snapshot_id};
use crate::server::{Instance, Resume, log_end, verify};
use crate::shape::Shape;
use crate::snapshot::{Chunk, Handoff, Job};
use crate::startup;
use crate::stream::{Machine, Scope, Undecided, worth_another_try};
use async_trait::async_trait;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::options::Problem;
use dujiang_core::source::{Acker, Reader, Source, SourceContext, Survey};
use dujiang_core::{Code, Error, Position, Result, TableId, TableSchema};
use dujiang_spool::{Limits, Spool};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Tables of a MySQL or MariaDB server.
pub struct MysqlSource {
    config: Arc<Config>,
}

impl MysqlSource {
    /// A source with these options; nothing is connected yet.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    /// The first connection is tried a few times; later ones for ever.
    async fn connect(&self) -> Result<Connection> {
        let mut failures = 0;
        loop {
            match Connection::connect(&self.config.endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(error) if !worth_another_try(&error, failures) => return Err(error),
                Err(error) => failures = self.another_try(error, failures).await?,
            }
        }
    }

    /// Waits before another try, if there is to be one. A connection that is lost during the start counts as the first one.
    async fn another_try(&self, error: Error, failures: u32) -> Result<u32> {
        if failures >= self.config.options.connect_max_retries {
            return Err(error);
        }
        tracing::warn!(%error, "the source cannot be reached yet");
        let failures = failures + 1;
        tokio::time::sleep(Duration::from_millis(500) * failures).await;
        Ok(failures)
    }

    fn demands(&self) -> Demands<'_> {
        Demands {
            filter: &self.config.filter,
            accept_cascades: self.config.options.accept_cascades,
            server_id: self.config.server_id,
            zero_dates: self.config.options.zero_dates,
            marker_table: self.config.marker_table.as_ref(),
        }
    }

    /// The place of a new pipeline, and the shapes in force there: the catalog read before and after the place is the
    /// same, so it is that of the place.
    async fn begin_now(&self, connection: &mut Connection, marked: Option<&MarkedLog>) -> Result<(Resume, Vec<Shape>)> {
        let mut before = preflight::check(connection, self.demands()).await?.tables;
        let ids: Vec<TableId> = before.iter().map(Shape::id).collect();
        for _ in 0..10 {
            let mut resume = log_end(connection).await?;
            if let Some(log) = marked {
                (resume.place, resume.executed) = log.marked_end(connection).await?;
            }
            let after = catalog::shapes(connection, &ids, self.config.options.zero_dates).await?;
            if before == after {
                return Ok((resume, after));
            }
            before = after;
        }
        Err(Error::new(Code::StartNotPossible, "the captured tables keep changing their columns")
            .help("start when no schema change is under way"))
    }

    fn counting(&self, machine: Machine) -> Machine {
        if self.config.endpoint.oceanbase { machine.numbered() } else { machine }
    }

    async fn fresh(&self, connection: &mut Connection, context: SourceContext) -> Result<Start> {
        let asked = startup::prepared::Asked::now(connection).await?;
        let marked = MarkedLog::of(&self.config, &context);
        let (now, shapes) = self.begin_now(connection, marked.as_deref()).await?;
        let end_at_open = now.place.clone();
        let tables = startup::tables(connection, shapes).await?;
        let resume = startup::place(&self.config, connection, &now).await?;
        startup::check_shapes(&self.config, &resume, &now, &tables).await?;
        let mut prepared = Vec::new();
        if let Some(asked) = asked.filter(|_| resume == now) {
            prepared = startup::prepared::find(&self.config, connection, &asked, &now).await?;
        }
        let undecided = self.undecided(&context, prepared, Vec::new())?;
        let machine = Machine::new(first_boundary(&resume), resume.executed.clone(), Vec::new(), undecided);
        let machine = self.counting(machine);
        let mode = self.config.options.startup_mode;
        let with_snapshot = matches!(mode, StartupMode::Initial | StartupMode::Snapshot);
        let mut start = Start {
            config: self.config.clone(),
            context,
            tables,
            machine,
            server: resume.server,
            instance: None,
            snapshot: SnapshotSide::new(String::new(), None, self.config.snapshot_connections()),
            bounded: mode == StartupMode::Snapshot,
            end_at_open,
            late: Vec::new(),
            marked,
        };
        start.tables.follow(self.scope(), Vec::new(), 0);
        if with_snapshot {
            let all = start.tables.iter().map(|(at, _)| SnapshotTable::new(at as u32)).collect();
            let id = snapshot_id(&start.context);
            self.begin_snapshot(&mut start, connection, id, all).await?;
        }
        Ok(start)
    }

    async fn resumed(&self, connection: &mut Connection, position: &Position, context: SourceContext) -> Result<Start> {
        let (head, shapes) = position::decode(position)?;
        let (head, shapes) = self.still_captured(head, shapes)?;
        self.check_policies(&shapes)?;
        let bound_to_server = head.snapshot.is_some();
        let (place, executed) = (head.boundary()?, head.executed()?);
        let Head { server, inside, prepared, committed, snapshot, mark, shadows, retired, .. } = head;
        let undecided = self.undecided(&context, prepared, committed)?;
        let first = Some(undecided.first_place(&place, &executed));
        let resume = Resume { server, place, executed, first, bound_to_server, mark, instance: None };
        let name = verify(connection, &resume).await?;
        let machine = Machine::new(resume.place.clone(), resume.executed.clone(), inside, undecided);
        let mut machine = machine.with_mark(resume.mark.clone());
        if name != resume.server {
            machine.moved();
        }
        let end_at_open = resume.place.clone();
        let machine = self.counting(machine);
        let marked = MarkedLog::of(&self.config, &context);
        let mut start = Start {
            config: self.config.clone(),
            context,
            tables: startup::tables(connection, shapes).await?,
            machine,
            server: name,
            instance: None,
            snapshot: SnapshotSide::new(String::new(), None, self.config.snapshot_connections()),
            bounded: self.config.options.startup_mode == StartupMode::Snapshot,
            end_at_open,
            late: Vec::new(),
            marked,
        };
        start.tables.follow(self.scope(), shadows, retired);
        self.find_new_tables(&mut start, connection).await?;
        // Only now: the log up to there holds the creation of each of them that was created meanwhile.
        start.end_at_open = log_end(connection).await?.place;
        if let Some(log) = start.marked.as_ref().filter(|_| !start.late.is_empty()) {
            start.end_at_open = log.marked_end(connection).await?.0;
        }
        if let Some(snapshot) = snapshot {
            self.begin_snapshot(&mut start, connection, snapshot.id, snapshot.tables).await?;
        }
        Ok(start)
    }

    /// A column cannot become text, or get NULLs, in the middle of a pipeline.
    fn check_policies(&self, shapes: &[Shape]) -> Result<()> {
        let policy = self.config.options.zero_dates;
        let Some(other) = shapes.iter().find(|shape| shape.zero_dates != policy) else { return Ok(()) };
        let message = format!("`zero-dates` was `{}` when the pipeline began, and is `{policy}` now", other.zero_dates);
        Err(Error::new(Code::ValuesChanged, message)
            .help("set it back, or start a new pipeline (another `pipeline.name`) with a new snapshot"))
    }

    /// Undecided transactions, and the spool in which they wait.
    fn undecided(&self, context: &SourceContext, prepared: Vec<Prepared>, committed: Vec<String>) -> Result<Undecided> {
        let limits = Limits { bytes: self.config.options.spool_max_bytes.0, ..Limits::default() };
        Undecided::new(Spool::open(&context.work_dir, limits)?, prepared, committed)
    }

    /// Forgets tables that `tables` no longer names, so that naming them again later does not pretend to know what happened
    /// in between. Numbers of tables are those of the shapes that are left.
    fn still_captured(&self, mut head: Head, shapes: Vec<Shape>) -> Result<(Head, Vec<Shape>)> {
        let captures = |shape: &Shape| self.config.filter.captures(&shape.id());
        let captured = shapes.iter().map(captures).collect::<Result<Vec<bool>>>()?;
        let mut next = 0u32;
        let mut number = |captured: &bool| {
            let this = next;
            next += u32::from(*captured);
            captured.then_some(this)
        };
        let numbers: Vec<Option<u32>> = captured.iter().map(&mut number).collect();
        head.renumber(&numbers);
        let forgotten = shapes.iter().zip(&captured).filter(|(_, captured)| !**captured);
        head.retired = forgotten.map(|(shape, _)| shape.version).fold(head.retired, u32::max);
        let kept = shapes.into_iter().zip(captured).filter_map(|(shape, captured)| captured.then_some(shape)).collect();
        Ok((head, kept))
    }

    /// Tables that are to be captured and that the position does not know: they were created meanwhile, which the stream
    /// will meet, or have been added to `tables`.
    async fn find_new_tables(&self, start: &mut Start, connection: &mut Connection) -> Result<()> {
        let found = catalog::find_tables(connection, &self.config.filter).await?;
        for id in found.captured {
            if start.tables.find(&id.database, &id.table).is_some() || start.tables.is_online_copy(&id) {
                continue;
            }
            if self.config.options.newly_added_table {
                start.late.push(id);
            } else {
                let help = "`scan.newly-added-table.enabled` is false";
                tracing::warn!(table = %id, help, "the table is newer than the pipeline and is not captured");
                start.tables.pass_over(&id);
            }
        }
        Ok(())
    }

    /// Which tables are captured when they appear.
    fn scope(&self) -> Scope {
        let options = &self.config.options;
        Scope {
            filter: Some(self.config.filter.clone()),
            follows_new: options.binlog_newly_added_table && options.schema_change,
            online: options.online_schema_changes,
        }
    }

    async fn begin_snapshot(
        &self,
        start: &mut Start,
        connection: &mut Connection,
        id: String,
        tables: Vec<SnapshotTable>,
    ) -> Result<()> {
        let inside = !start.machine.inside(&start.tables).is_empty();
        let floor = Handoff::stands_at(start.machine.boundary().clone(), inside);
        let ids: Vec<TableId> = tables.iter().map(|t| start.tables.get(t.table as usize).id.clone()).collect();
        let estimates = catalog::estimated_rows(connection, &ids).await?;
        let instance = Instance::of(connection).await?;
        let context = start.snapshot_context(instance.clone());
        start.instance = Some(instance);
        start.snapshot = SnapshotSide::new(id.clone(), Some(context), self.config.snapshot_connections());
        for saved in tables {
            let at = saved.table as usize;
            let chunks: Vec<Chunk> = saved.chunks.iter().map(chunk).collect::<Result<_>>()?;
            let read = chunks.last().is_some_and(|c| c.upper.is_none());
            let from = saved.from.as_deref().map(place).transpose()?;
            let floor = from.clone().map_or(floor.clone(), |from| from.max(floor.clone()));
            let handoff = Arc::new(Mutex::new(Handoff::resume(chunks, floor)));
            let table = start.tables.get_mut(at);
            (table.handoff, table.from) = (Some(handoff.clone()), from);
            let (shape, frontier) = (table.shape.clone(), saved.frontier.clone());
            let transaction = format!("snapshot:{}", saved.id.as_ref().unwrap_or(&id)).into();
            let job = (!read).then_some(Job { at, shape, handoff, frontier, rows: saved.rows, transaction });
            let estimated = estimates.get(&table.id).copied().unwrap_or(0);
            let (rows, frontier, id) = (saved.rows, saved.frontier, saved.id);
            start.snapshot.add(SideTable { at, rows, estimated, frontier, read, passed: false, id }, job)?;
        }
        Ok(())
    }
}

/// MySQL tells the end of its log and the identifiers in it at two moments; one that waits for a replica is before the end
/// and not among them. It is in the last file, since a file is only closed when nobody waits: the stream begins at the
/// file's head, and the server passes over what is known.
fn first_boundary(resume: &Resume) -> Place {
    match resume.executed {
        Executed::MySql(_) if resume.place.is_number() => resume.place.clone(),
        Executed::MySql(_) => resume.place.at(4),
        Executed::MariaDb(_) | Executed::None => resume.place.clone(),
    }
}

fn chunk((upper, point): &(Option<String>, String)) -> Result<Chunk> {
    Ok(Chunk { upper: upper.as_deref().map(from_hex).transpose()?, point: place(point)? })
}

fn place(text: &str) -> Result<Place> {
    let damaged = || Error::new(Code::CheckpointDamaged, format!("a hand-off point cannot be read: {text}"));
    Place::parse(text).ok_or_else(damaged)
}

#[async_trait]
impl Source for MysqlSource {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        let mut failures = 0;
        let checked = loop {
            let mut connection = self.connect().await?;
            match preflight::check(&mut connection, self.demands()).await {
                Err(error) if error.code() == Code::ConnectionLost => {
                    failures = self.another_try(error, failures).await?;
                }
                checked => break checked?,
            }
        };
        for warning in &checked.warnings {
            tracing::warn!("{warning}");
        }
        checked.tables.iter().map(|shape| Ok(shape.decodable()?.schema)).collect()
    }

    async fn survey(&self) -> Survey {
        let surveyed = match self.connect().await {
            Ok(mut connection) => preflight::survey(&mut connection, self.demands()).await,
            Err(error) => Err(error),
        };
        surveyed.unwrap_or_else(|error| Survey { refusals: vec![error], ..Survey::default() })
    }

    async fn examine(&self, visit: &Visit) -> Examination {
        examine::examine(&self.config, self.demands(), visit).await
    }

    fn warnings(&self) -> Vec<Problem> {
        self.config.warnings.clone()
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let mut failures = 0;
        let start = loop {
            let mut connection = self.connect().await?;
            let start = match &from {
                None => self.fresh(&mut connection, context.clone()).await,
                Some(position) => self.resumed(&mut connection, position, context.clone()).await,
            };
            match start {
                Err(error) if error.code() == Code::ConnectionLost => {
                    failures = self.another_try(error, failures).await?;
                }
                start => break start?,
            }
        };
        Ok((Box::new(MysqlReader::new(start)), Box::new(NoAck)))
    }

    fn describe(&self, position: &Position) -> String {
        let head = position::decode_head(position).and_then(|head| Ok((head.boundary()?, head)));
        head.map_or_else(
            |error| error.message().to_owned(),
            |(place, head)| describe(&place, &head.gtid, &head.prepared),
        )
    }

    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        let shapes = position::decode(position).map(|(_, shapes)| shapes).unwrap_or_default();
        Ok(shapes.iter().filter_map(|shape| Some(shape.decodable().ok()?.schema)).collect())
    }
}

/// The server keeps its log by time and size, whatever its readers have read: nobody waits for us.
struct NoAck;

#[async_trait]
impl Acker for NoAck {
    async fn ack(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }
}
