//! The source: discovering tables, and where to begin.

use crate::catalog::{Collation, Imprint, Published, TableDetail};
use crate::client::{Connection, Session, quote, worth_another_try};
use crate::config::{Config, StartupMode, UnchangedValue};
use crate::discovery::{self, Facts};
use crate::examine;
use crate::followed::Followed;
use crate::position::{self, Head, SnapshotState, SnapshotTable};
use crate::preflight::{self, Agreement, Asked, Fit};
use crate::reader::{Key, Partitions, PostgresReader, SideTable, SnapshotSide, Start, check_keys};
use crate::server::{self, Instance, Resume};
use crate::shape::Shape;
use crate::snapshot::{Handoff, Job, KeyOrder, SnapshotContext, current_view, interrupted};
use crate::stream::{Begin, Durable, Machine, Tables, Undecided};
use async_trait::async_trait;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::options::Problem;
use dujiang_core::source::{Acker, Reader, Source, SourceContext, Survey, SurveyedTable};
use dujiang_core::{Code, Error, Position, Result, TableId, TableSchema};
use dujiang_spool::{Limits, Spool};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod slot;

/// Tables of a PostgreSQL database.
pub struct PostgresSource {
    config: Arc<Config>,
}

/// A source about to be read.
struct Opening {
    /// For the catalog.
    side: Connection,
    published: Vec<Published>,
}

impl PostgresSource {
    /// A source with these options; nothing is connected yet.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    /// The first connection is tried a few times; later ones for ever.
    async fn connect(&self, session: Session) -> Result<Connection> {
        let mut failures = 0;
        loop {
            match Connection::connect(&self.config.endpoint, session).await {
                Ok(connection) => return Ok(connection),
                Err(error)
                    if !worth_another_try(&error, failures) || failures >= self.config.options.connect_max_retries =>
                {
                    return Err(error);
                }
                Err(error) => tracing::warn!(%error, "the source cannot be reached yet"),
            }
            failures += 1;
            tokio::time::sleep(Duration::from_millis(500) * failures).await;
        }
    }

    async fn fresh(&self, context: SourceContext) -> Result<Start> {
        let config = &self.config;
        let mut side = self.connect(Session::Ordinary).await?;
        let checked = preflight::check(&mut side, config).await?;
        checked.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let there = self.slot_that_is_there(&mut side).await?;
        let new = preflight::publish(&mut side, config, &checked.facts, &checked.details.tables).await?;
        let mut replication = self.connect(Session::Replication).await?;
        let instance = server::identify(&mut replication).await?;
        let boundary = self.slot(&mut replication, &mut side, there, new).await?;
        let followed = self.followed(&mut replication, &mut side, &instance).await?;
        replication.close().await;
        // The catalog is read after the place from which the stream tells of every change of it.
        let oids: Vec<u32> = checked.details.tables.iter().map(|table| table.oid).collect();
        let details = discovery::details(&mut side, &oids).await?;
        let ids: Vec<TableId> = details.tables.iter().map(|table| table.id()).collect();
        let agreement = Agreement::new(Imprint::default(), config);
        agreement.take_in(&mut side, config, &checked.facts, &ids).await?;
        let published = preflight::published(&mut side, config, &checked.facts, &ids, Asked::Before).await?;
        let key_images = config.key_images();
        let shapes = discovery::shapes(&details, &published, &checked.facts, key_images)?;
        let partitions = Partitions::new(BTreeMap::new(), BTreeMap::new(), config);
        // What is attached later may be missing in the snapshot.
        partitions.look(&mut side, &ids).await?;
        let view = current_view(&mut side).await?;
        let durable = Arc::new(Durable::default());
        durable.reached(boundary);
        let tables = Tables::new(shapes, checked.facts.settings).rereading(self.rereads());
        let mode = config.options.startup_mode;
        let undecided = self.undecided(&context)?;
        let id = snapshot_id(&context);
        let snapshot = self.no_snapshot(id, &context, followed.clone(), &checked.facts);
        let mut start = Start {
            config: config.clone(),
            context,
            machine: Machine::new(Begin { boundary, from: boundary, near: view.next_xid() }, None, undecided),
            tables,
            server: instance.name,
            followed,
            snapshot,
            bounded: mode == StartupMode::Snapshot,
            end_at_open: view.high(),
            durable,
            facts: checked.facts,
            partitions,
            agreement,
        };
        let mut opening = Opening { side, published };
        if matches!(mode, StartupMode::Initial | StartupMode::Snapshot) {
            // A transaction that is under way now may be logged before the boundary, and then does not come in the stream: every
            // view must show it.
            let under_way: Vec<u64> = view.running().collect();
            let table = |at| SnapshotTable { dropped: under_way.clone(), ..SnapshotTable::new(at as u32) };
            let all = (0..start.tables.iter().count()).map(table).collect();
            begin_snapshot(&mut start, &mut opening, all).await?;
        }
        opening.side.close().await;
        Ok(start)
    }

    /// The server that the stream is going to follow, which the other session has to be with, too.
    async fn followed(
        &self,
        replication: &mut Connection,
        side: &mut Connection,
        instance: &Instance,
    ) -> Result<Followed> {
        let (endpoint, slot) = (self.config.endpoint.clone(), self.config.slot.clone());
        let standby = server::is_standby(replication).await?;
        let followed = Followed { endpoint, name: instance.name.clone(), slot, standby };
        followed.is_met_by(side).await?;
        Ok(followed)
    }

    async fn resumed(&self, position: &Position, context: SourceContext) -> Result<Start> {
        let config = &self.config;
        let (head, shapes) = position::decode(position)?;
        let (head, shapes) = self.still_captured(head, shapes)?;
        let resume = Resume::of(&head, config)?;
        let (boundary, from) = (resume.boundary, resume.from);
        let mut replication = self.connect(Session::Replication).await?;
        let instance = server::verify(&mut replication, &resume).await?;
        let mut side = self.connect(Session::Ordinary).await?;
        let followed = self.followed(&mut replication, &mut side, &instance).await?;
        replication.close().await;
        let facts = discovery::facts(&mut side, config).await?;
        let Head { inside, mut snapshot, xid, partitions, files, published: imprint, .. } = head;
        let agreement = Agreement::new(imprint, config);
        publish_joining(&mut side, config, &facts, &shapes, &mut snapshot, &agreement).await?;
        let ids: Vec<TableId> = shapes.iter().map(Shape::id).collect();
        let published = preflight::published(&mut side, config, &facts, &ids, Asked::Later).await?;
        agreement.look(&mut side, config, &facts, &ids).await?;
        let partitions = Partitions::new(partitions, files, config);
        // Before anything is handed out.
        partitions.look(&mut side, &ids).await?;
        let keys: Vec<Key> = shapes.iter().filter_map(Key::of).collect();
        check_keys(&mut side, &keys).await?;
        let view = current_view(&mut side).await?;
        let undecided = self.undecided(&context)?;
        let id = snapshot.as_ref().map_or_else(|| snapshot_id(&context), |snapshot| snapshot.id.clone());
        let none = self.no_snapshot(id, &context, followed.clone(), &facts);
        let mut start = Start {
            config: config.clone(),
            context,
            machine: Machine::new(Begin { boundary, from, near: xid }, inside, undecided),
            tables: Tables::new(shapes, facts.settings).rereading(self.rereads()),
            server: instance.name,
            followed,
            snapshot: none,
            bounded: config.options.startup_mode == StartupMode::Snapshot,
            end_at_open: view.high(),
            durable: Arc::new(Durable::default()),
            facts,
            partitions,
            agreement,
        };
        let mut opening = Opening { side, published };
        if let Some(snapshot) = snapshot {
            begin_snapshot(&mut start, &mut opening, snapshot.tables).await?;
        }
        opening.side.close().await;
        Ok(start)
    }

    /// Whether large values that the log does not hold are read from the table.
    fn rereads(&self) -> bool {
        self.config.options.values_unchanged == UnchangedValue::Reread
    }

    /// The spool in which transactions wait for their outcome.
    fn undecided(&self, context: &SourceContext) -> Result<Undecided> {
        let limits = Limits { bytes: self.config.options.spool_max_bytes.0, ..Limits::default() };
        Ok(Undecided::new(Spool::open(&context.work_dir, limits)?))
    }

    /// Forgets tables that `tables` no longer names, so that naming them again later does not pretend to know what happened in
    /// between. Numbers of tables are those of the shapes that are left.
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
        let renumbered = |old: u32| numbers.get(old as usize).copied().flatten();
        if let Some(inside) = &mut head.inside {
            let changes = std::mem::take(&mut inside.changes);
            inside.changes = changes.into_iter().filter_map(|(at, n)| Some((renumbered(at)?, n))).collect();
        }
        if let Some(snapshot) = &mut head.snapshot {
            snapshot.tables.retain_mut(|table| renumbered(table.table).map(|at| table.table = at).is_some());
        }
        head.snapshot = head.snapshot.filter(|snapshot| !snapshot.tables.is_empty());
        let kept: Vec<Shape> =
            shapes.into_iter().zip(captured).filter_map(|(shape, captured)| captured.then_some(shape)).collect();
        if kept.is_empty() {
            return Err(Error::new(
                Code::NoTable,
                format!("no table that was captured matches `{}`", self.config.options.tables),
            )
            .help("check `tables`, or start a new pipeline"));
        }
        let relations: BTreeSet<u32> = kept.iter().map(|shape| shape.relation).collect();
        head.published.tables.retain(|relation, _| relations.contains(relation));
        // A table that is left out, and named again later, is read anew.
        head.partitions.retain(|relation, _| relations.contains(relation));
        head.files.retain(|relation, _| relations.contains(relation));
        Ok((head, kept))
    }

    /// What tables are read with, now or when they come later.
    fn no_snapshot(&self, id: String, context: &SourceContext, followed: Followed, facts: &Facts) -> SnapshotSide {
        let read_with = SnapshotContext {
            followed,
            chunk_rows: self.config.options.chunk_size.get(),
            transaction: format!("snapshot:{id}"),
            clock: context.clock.clone(),
            budget: context.budget.clone(),
            settings: facts.settings,
            wal_page: facts.wal_page,
            publication: self.config.publication.clone(),
            version: facts.database.version,
        };
        SnapshotSide::none(id, Arc::new(read_with))
    }
}

/// Tables that came while the pipeline ran, and of which it is not known whether they were published: they are now, and whatever
/// is under way is shown by every view.
async fn publish_joining(
    side: &mut Connection,
    config: &Config,
    facts: &Facts,
    shapes: &[Shape],
    snapshot: &mut Option<SnapshotState>,
    agreement: &Agreement,
) -> Result<()> {
    let Some(snapshot) = snapshot else { return Ok(()) };
    for table in snapshot.tables.iter_mut().filter(|table| table.joining) {
        let id = shapes[table.table as usize].id();
        preflight::publish_one(side, config, facts, &id).await?;
        agreement.take_in(side, config, facts, std::slice::from_ref(&id)).await?;
        table.dropped.extend(current_view(side).await?.running());
        table.joining = false;
    }
    Ok(())
}

async fn begin_snapshot(start: &mut Start, opening: &mut Opening, tables: Vec<SnapshotTable>) -> Result<()> {
    let oids: Vec<u32> = tables.iter().map(|t| start.tables.get(t.table as usize).shape.relation).collect();
    let details = discovery::details(&mut opening.side, &oids).await?;
    let (mut sides, mut jobs) = (Vec::new(), Vec::new());
    for saved in tables {
        let at = saved.table as usize;
        let chunks = saved.done()?;
        let read = chunks.last().is_some_and(|c| c.upper.is_none());
        let shape = start.tables.get(at).shape.clone();
        let detail = details.tables.iter().find(|detail| detail.oid == shape.relation);
        let (rows, bytes) = detail.map_or((0, 0), |d| (d.rows.max(0.0) as u64, d.bytes.max(0) as u64));
        let collations = discovery::collations(&mut opening.side, &shape).await?;
        // Also when all of it is read: what the stream has not passed yet is told apart by these keys.
        let ordered = chunks.iter().any(|chunk| chunk.upper.is_some());
        let order = order(&shape, &collations, &saved, ordered, detail);
        if saved.is_interrupted() || (order.is_none() && ordered) {
            return Err(interrupted(&shape));
        }
        let handoff = Arc::new(Mutex::new(Handoff::resume(chunks, saved.dropped.iter().copied())));
        let table = start.tables.get_mut(at);
        table.handoff = Some(handoff.clone());
        table.order.clone_from(&order);
        if !read {
            let published = opening.published.iter().find(|p| p.id() == table.id);
            jobs.push(Job {
                at,
                order,
                filter: published.and_then(|p| p.filter.clone()),
                bytes,
                handoff,
                frontier: saved.frontier.clone(),
                rows: saved.rows,
                shape,
            });
        }
        sides.push(SideTable {
            at,
            rows: saved.rows,
            estimated: rows,
            frontier: saved.frontier,
            torn: false,
            read,
            passed: false,
            joining: false,
        });
    }
    start.snapshot.begin(sides, jobs, start.config.snapshot_connections());
    Ok(())
}

/// The order in which a table is read, or goes on to be read.
fn order(
    shape: &Shape,
    collations: &[Collation],
    saved: &SnapshotTable,
    ordered: bool,
    detail: Option<&TableDetail>,
) -> Option<KeyOrder> {
    if !saved.by.is_empty() {
        return KeyOrder::of_columns(shape, collations, &saved.by);
    }
    // What was begun in the order of a key does not go on in another.
    KeyOrder::new(shape, collations, detail).filter(|order| !ordered || !order.is_content())
}

/// New with every snapshot that is begun.
fn snapshot_id(context: &SourceContext) -> String {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write(context.identity.lineage.0.as_bytes());
    hasher.write_i64(context.clock.now_micros());
    format!("{:016x}", hasher.finish())
}

#[async_trait]
impl Source for PostgresSource {
    async fn discover(&self) -> Result<Vec<Arc<TableSchema>>> {
        let mut side = self.connect(Session::Ordinary).await?;
        let checked = preflight::check(&mut side, &self.config).await?;
        let published = discovery::published(&mut side, &self.config, checked.facts.database.version).await?;
        let shapes = discovery::shapes(
            &checked.details,
            &published.unwrap_or_default(),
            &checked.facts,
            self.config.key_images(),
        )?;
        Ok(shapes.iter().map(|shape| shape.decodable().schema).collect())
    }

    async fn survey(&self) -> Survey {
        let surveyed = async {
            let mut side = self.connect(Session::Ordinary).await?;
            let (mut checked, mut refusals) = preflight::survey(&mut side, &self.config).await?;
            let ids: Vec<TableId> = checked.details.tables.iter().map(TableDetail::id).collect();
            let mut published = Vec::new();
            if !ids.is_empty() {
                match preflight::fits(&mut side, &self.config, &checked, &ids, Asked::Before).await {
                    Ok(Fit::Publishes(these)) => published = these,
                    Ok(Fit::IsMade) => published = preflight::once_made(&checked.facts, &checked.details.tables),
                    Err(error) => refusals.push(error),
                }
            }
            checked.warnings.extend(preflight::left_out(&self.config, &published, &checked.details.tables));
            let shapes = discovery::shapes(&checked.details, &published, &checked.facts, self.config.key_images())?;
            let table = |(shape, detail): (&Shape, &TableDetail)| SurveyedTable {
                rows: (detail.rows >= 0.0).then_some(detail.rows as u64),
                bytes: u64::try_from(detail.bytes).ok(),
                schema: shape.decodable().schema,
            };
            let tables: Vec<SurveyedTable> = shapes.iter().zip(&checked.details.tables).map(table).collect();
            let schemas: Vec<&str> = checked.found.captured.iter().map(|entry| entry.schema.as_str()).collect();
            let near = |id: &&TableId| schemas.contains(&&*id.database);
            let near_misses = checked.found.others.iter().filter(near).cloned().collect();
            Ok::<_, Error>(Survey { tables, near_misses, warnings: checked.warnings, refusals })
        };
        surveyed.await.unwrap_or_else(|error| Survey { refusals: vec![error], ..Survey::default() })
    }

    async fn examine(&self, visit: &Visit) -> Examination {
        examine::examine(&self.config, visit).await
    }

    fn warnings(&self) -> Vec<Problem> {
        self.config.warnings.clone()
    }

    async fn open(&self, from: Option<Position>, context: SourceContext) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        let start = match from {
            None => self.fresh(context).await?,
            Some(position) => self.resumed(&position, context).await?,
        };
        let acker = SlotAcker(start.durable.clone());
        Ok((Box::new(PostgresReader::new(start)), Box::new(acker)))
    }

    fn ack_lag(&self) -> usize {
        self.config.options.ack_lag as usize
    }

    fn remains(&self) -> Option<String> {
        let Config { slot, publication, .. } = &*self.config;
        let drop_publication = if self.config.owns_publication() {
            format!("; DROP PUBLICATION {}", quote::identifier(publication))
        } else {
            String::new()
        };
        Some(format!(
            "the replication slot `{slot}` stays, and keeps the server's log until the pipeline goes on; if it never does, run \
             {}{drop_publication}",
            server::drop_statement(slot)
        ))
    }

    fn describe(&self, position: &Position) -> String {
        position::decode_head(position).map_or_else(|error| error.message().to_owned(), |head| head.place)
    }

    async fn schemas_at(&self, position: &Position) -> Result<Vec<Arc<TableSchema>>> {
        let shapes = position::decode(position).map(|(_, shapes)| shapes).unwrap_or_default();
        Ok(shapes.iter().map(|shape| shape.decodable().schema).collect())
    }
}

/// Lets the server drop the log before what is durable (INV-1): a boundary between transactions, everything before it (INV-3).
struct SlotAcker(Arc<Durable>);

#[async_trait]
impl Acker for SlotAcker {
    async fn ack(&mut self, position: &Position) -> Result<()> {
        self.0.reached(position::decode_head(position)?.from()?);
        Ok(())
    }
}
