//! Tables that join a stream under way: created, renamed or moved into the pattern, or added to it.
//!
//! Such a table joins at the end of the log of that moment, in the shape it has there. Whatever the log holds of it before
//! that place is in the rows that its snapshot reads; whatever comes after is the stream's. So its history before is never
//! needed.

use super::announced::{Joining, nothing, reshaped};
use super::catalog::Beginning;
use super::*;
use crate::config::StartupMode;
use crate::shape::Shape;
use crate::snapshot::view::is_locked;
use crate::snapshot::{Chunk, Handoff, Job};
use dujiang_core::TableId;
use std::hash::{BuildHasher, Hasher};
use std::sync::Mutex;

impl MysqlReader {
    /// The table as it is now, under this version, and how it joins; none when it does not exist.
    pub(super) async fn begins(&mut self, id: &TableId, version: u32) -> Result<Option<(Shape, Joining)>> {
        let Some(Beginning { standing, estimated, instance }) = self.beginning(id).await? else { return Ok(None) };
        let mode = self.start.config.options.startup_mode;
        let reads = matches!(mode, StartupMode::Initial | StartupMode::Snapshot);
        if reads && standing.shape.key.is_empty() {
            return Err(without_key(id));
        }
        let instance = self.start.instance.clone().unwrap_or(instance);
        let context = Some(self.start.snapshot_context(instance.clone()));
        let joining = Joining { from: standing.place, estimated, reads, context, instance };
        Ok(Some((Shape { version, ..standing.shape }, joining)))
    }

    /// The table of this number joins.
    pub(super) fn join(&mut self, at: usize, joining: Joining) -> Result<()> {
        let start = &mut self.start;
        let chunks = if joining.reads { Vec::new() } else { vec![Chunk { upper: None, point: joining.from.clone() }] };
        let handoff = Arc::new(Mutex::new(Handoff::resume(chunks, joining.from.clone())));
        let id = snapshot_id(&start.context);
        let table = start.tables.get_mut(at);
        (table.handoff, table.from) = (Some(handoff.clone()), Some(joining.from));
        let job = joining.reads.then(|| Job {
            at,
            shape: table.shape.clone(),
            handoff,
            frontier: None,
            rows: 0,
            transaction: format!("snapshot:{id}").into(),
        });
        let side = SideTable {
            at,
            rows: 0,
            estimated: joining.estimated,
            frontier: None,
            read: !joining.reads,
            passed: false,
            id: Some(id),
        };
        if let Some(context) = joining.context {
            start.snapshot.read_with(context);
        }
        start.instance.get_or_insert(joining.instance);
        self.snapshot_told &= !joining.reads;
        start.snapshot.add(side, job)
    }

    /// Tables that were there before the pipeline looked for them join when the stream has met all that happened before.
    pub(super) async fn join_late(&mut self) -> Result<()> {
        // It leaves the list only when it has joined: whoever polls may give up before.
        let Some(id) = self.start.late.last().cloned() else { return Ok(()) };
        if self.start.tables.find(&id.database, &id.table).is_none()
            && let Err(error) = self.joined(&id).await
        {
            return self.patient(error).await;
        }
        self.start.late.pop();
        Ok(())
    }

    /// A table joins that no statement in the log has announced.
    pub(super) async fn joined(&mut self, id: &TableId) -> Result<()> {
        let mut out = nothing();
        self.welcome(id, "", &mut out).await?;
        self.told_next(out)
    }

    /// Rows come of a captured table in a shape that nothing in the log explains (F43).
    pub(super) async fn reconcile(&mut self, unfit: Unfit) -> Result<()> {
        let (at, map, error) = match unfit {
            Unfit::New(id) => return self.joined(&id).await,
            Unfit::Mismatch { table, map, error } => (table, map, error),
        };
        let found = self.explained(at, &map.map()).await?;
        let table = self.start.tables.get(at);
        let Some(shape) = found else {
            return Err(match &table.riddle {
                Some(riddle) => unknown_shape(&table.id, riddle),
                None => error,
            });
        };
        let shape = Shape { version: table.shape.version + 1, ..shape };
        let statement = match &table.riddle {
            Some(riddle) => riddle.statement.clone(),
            None => {
                tracing::warn!(table = %table.id, "the table was changed without the log showing it; its rows are read as the log describes them");
                String::new()
            }
        };
        let announced = reshaped(at, table.decodable.schema.clone(), shape, &statement)?;
        self.told_next(announced)
    }

    /// # Errors
    /// `CascadingKey`.
    pub(super) async fn refuse_cascades(&mut self, id: &TableId) -> Result<()> {
        if self.start.config.options.accept_cascades {
            return Ok(());
        }
        let Some(constraint) = self.cascading(id).await? else { return Ok(()) };
        let message = format!("foreign key {constraint} changes rows of {id} without a trace in the binlog");
        Err(Error::new(Code::CascadingKey, message).help(
            "make the key RESTRICT and let the application change the rows, or accept that such changes are missed with \
             `foreign-keys.cascade.accept: true`",
        ))
    }

    /// Waits before what failed is met again; an error that waiting does not mend comes back.
    pub(super) async fn patient(&mut self, error: Error) -> Result<()> {
        // Somebody else holds the table, for as long as they like.
        if !worth_another_try(&error, self.setbacks) && !is_locked(&error) {
            return Err(error);
        }
        self.setbacks += 1;
        tracing::warn!(%error, "a change of the captured tables cannot be carried through yet");
        tokio::time::sleep(LINGER * 100).await;
        Ok(())
    }
}

/// New with every snapshot that is begun.
pub fn snapshot_id(context: &SourceContext) -> String {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write(context.identity.lineage.0.as_bytes());
    hasher.write_i64(context.clock.now_micros());
    format!("{:016x}", hasher.finish())
}

#[cold]
fn without_key(id: &TableId) -> Error {
    Error::new(Code::NoKey, format!("table {id} appeared with rows in it, and has no key to read them by"))
        .fact("expected", "a primary key, or a unique key over columns that are NOT NULL")
        .help("add one, or leave the table out with `tables.exclude`")
}

#[cold]
fn unknown_shape(id: &TableId, riddle: &crate::stream::Riddle) -> Error {
    Error::new(
        Code::ShapeUnknown,
        format!("the columns of captured table {id} at this place are not known: {}", riddle.why),
    )
    .fact("statement", riddle.statement.clone())
    .help(
        "start a new pipeline with a new snapshot of the table; with binlog_row_metadata=FULL the log itself tells the \
             columns, so that this cannot happen again",
    )
}
