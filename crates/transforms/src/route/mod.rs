//! From tables after transforms to tables of the sink: names by the rules of `route`, shapes merged where several tables
//! flow into one, schema changes as the pipeline's behaviour has it.
//!
//! A table of the sink is *natural* while exactly one table flows into it and has its shape; then every checkpoint keeps its
//! version and a digest of the shape, so that a start notices edited rules. All others have a shape of their own, which every
//! checkpoint keeps.

mod cast;
mod exact;
mod kept;
mod merge;

use crate::evolve::Policy;
use arrow_schema::Schema;
use bytes::Bytes;
use cast::{Plan, Unfit};
use chrono_tz::Tz;
use dujiang_core::evolution::{AlteredColumn, SchemaEvent, SinkChange, differences};
use dujiang_core::pattern::Route;
use dujiang_core::routing::Routing;
use dujiang_core::schema::{Ddl, SchemaChange, TableSchema};
use dujiang_core::transform::{RowError, Transformed};
use dujiang_core::{ChangeBatch, Code, Error, Result, TableId};
use kept::{Kept, Natural, Shapes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// How many rules a table follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every rule that matches: one copy of each row for every table of the sink.
    AllMatch,
    /// The first rule that matches.
    FirstMatch,
}

/// The routes and the schema evolution of a pipeline.
pub struct Router {
    rules: Vec<Route>,
    mode: Mode,
    policy: Policy,
    /// Where wall clock times count, when such a column flows into one of instants.
    zone: Tz,
    state: RwLock<Arc<State>>,
}

/// The tables of both sides. Replaced as a whole, so that rows under way never see half a change.
#[derive(Debug, Default, Clone)]
struct State {
    sources: BTreeMap<TableId, Arc<Source>>,
    sinks: BTreeMap<TableId, Arc<TableSchema>>,
    /// Natural tables of an earlier run into which nothing flows any more.
    left: BTreeMap<TableId, Natural>,
    /// Whether a table of the sink has several sources.
    merges: bool,
    /// What a checkpoint keeps of it, once asked for.
    kept: OnceLock<Bytes>,
}

impl State {
    /// What a start has to know.
    fn shapes(&self) -> Shapes {
        let mut flowing: BTreeMap<&TableId, Vec<&Arc<TableSchema>>> = BTreeMap::new();
        for source in self.sources.values() {
            for target in &source.targets {
                flowing.entry(&target.schema.id).or_default().push(&source.shape);
            }
        }
        let mut shapes = Shapes { tables: BTreeMap::new(), natural: self.left.clone() };
        for (name, sink) in &self.sinks {
            let sources = flowing.get(name).map(Vec::as_slice).unwrap_or_default();
            if matches!(sources, [only] if same_shape(sink, only)) {
                shapes.natural.insert(name.clone(), Natural::of(sink));
            } else {
                let sources = sources.iter().map(|source| TableSchema::clone(source)).collect();
                shapes.tables.insert(name.clone(), Kept { table: TableSchema::clone(sink), sources });
            }
        }
        shapes
    }

    fn note_merges(&mut self) {
        let mut seen = BTreeSet::new();
        let mut all = self.sources.values().flat_map(|source| &source.targets);
        self.merges = all.any(|target| !seen.insert(&target.schema.id));
    }
}

#[derive(Debug)]
struct Source {
    shape: Arc<TableSchema>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    schema: Arc<TableSchema>,
    /// `None`: rows stay as they are.
    plan: Option<Plan>,
}

impl Router {
    /// Without rules every table keeps its name.
    pub fn new(rules: Vec<Route>, mode: Mode, policy: Policy, zone: Tz) -> Self {
        Self { rules, mode, policy, zone, state: RwLock::default() }
    }

    /// The names of a table at the sink. Two rules that lead to one table of the sink are one copy.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn targets(&self, table: &TableId) -> Result<Vec<TableId>> {
        let mut out = Vec::new();
        for rule in &self.rules {
            if let Some(target) = rule.target(table)? {
                if !out.contains(&target) {
                    out.push(target);
                }
                if self.mode == Mode::FirstMatch {
                    break;
                }
            }
        }
        if out.is_empty() {
            out.push(table.clone());
        }
        Ok(out)
    }

    fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update<T>(&self, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut guard = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = State::clone(&guard);
        next.kept = OnceLock::new();
        let result = work(&mut next)?;
        *guard = Arc::new(next);
        Ok(result)
    }

    /// Whether another table than `table` flows into this one of the sink.
    fn is_shared(&self, state: &State, sink: &TableId, table: &TableId) -> Result<bool> {
        for other in state.sources.keys().filter(|other| *other != table) {
            if self.targets(other)?.contains(sink) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first shape of a table of the sink, from what was kept of it and the tables that flow into it. `resumed` says that
    /// there was a run before this one.
    fn first_shape(
        &self,
        name: &TableId,
        kept: &Shapes,
        sources: &[Arc<TableSchema>],
        resumed: bool,
    ) -> Result<Arc<TableSchema>> {
        let natural = kept.natural.get(name);
        match (kept.tables.get(name), sources) {
            (Some(kept), sources) => self.kept_shape(kept, sources),
            (None, [only]) => {
                Ok(natural.map_or_else(|| renamed(only, name), |before| natural_shape(before, only, name)))
            }
            (None, [first, others @ ..]) => {
                // Whatever table had this name before, with files of its own, was as old as those that flow in now.
                let versions = sources.iter().map(|source| source.version).chain(natural.map(|before| before.version));
                let version = versions.max().unwrap_or(1) + u32::from(resumed);
                let first = TableSchema { version, ..(*renamed(first, name)).clone() };
                others.iter().try_fold(first, |shape, source| merge::merged(&shape, source)).map(Arc::new)
            }
            (None, []) => Err(Error::new(Code::Bug, format!("no table flows into {name}"))),
        }
    }

    /// The shape of a table of the sink after a restart.
    fn kept_shape(&self, kept: &Kept, sources: &[Arc<TableSchema>]) -> Result<Arc<TableSchema>> {
        let mut start = kept.table.clone();
        if let Some(source) = sources.first() {
            // What the rules say of the table is not history.
            let columns = start.arrow.fields().clone();
            start.arrow = Arc::new(Schema::new_with_metadata(columns, source.arrow.metadata().clone()));
        }
        let mut shape = start.clone();
        for source in sources {
            if source.key_names().ne(shape.key_names()) {
                return Err(other_key(&shape, source));
            }
            let before = kept.sources.iter().find(|before| before.id == source.id);
            shape = match before {
                Some(before) if !self.policy.follows_the_source() => merge::edited(&shape, before, source)?,
                _ => merge::merged(&shape, source)?,
            };
        }
        if shape != start {
            shape.version += 1;
        }
        Ok(Arc::new(shape))
    }

    /// The way of a table's rows into the sink's tables.
    fn source(&self, state: &State, shape: &Arc<TableSchema>) -> Result<Arc<Source>> {
        let mut targets = Vec::new();
        for name in self.targets(&shape.id)? {
            let schema = state.sinks.get(&name).cloned().unwrap_or_else(|| renamed(shape, &name));
            let plan = Plan::new(shape, &schema, self.zone)?;
            targets.push(Target { schema, plan });
        }
        Ok(Arc::new(Source { shape: shape.clone(), targets }))
    }

    fn events(&self, state: &State, change: &SchemaChange, name: &TableId) -> Result<Vec<SchemaEvent>> {
        let after = &change.after;
        let Some(sink) = state.sinks.get(name) else {
            let new = if change.ddl == Ddl::Drop { vec![] } else { vec![SchemaEvent::CreateTable] };
            return self.policy.decide(after, after, new);
        };
        let shared = self.is_shared(state, name, &after.id)?;
        let events = match (&change.before, &change.ddl) {
            (Some(before), ddl) if !shared => SchemaEvent::of_change(Some(before), after, ddl),
            (_, Ddl::Truncate | Ddl::Drop) => {
                // Rows of the other tables are still there.
                Vec::new()
            }
            _ => differences(&sink.arrow, &merge::merged(sink, after)?.arrow),
        };
        added_again(sink, self.policy.decide(sink, after, events)?)
    }
}

/// A column that the source adds and the sink already has, because it once kept it, gets a type that holds both.
fn added_again(sink: &TableSchema, events: Vec<SchemaEvent>) -> Result<Vec<SchemaEvent>> {
    let mut out = Vec::with_capacity(events.len());
    for event in events {
        if let SchemaEvent::AddColumns(added) = &event {
            let mut altered = Vec::new();
            for column in added {
                let Some((_, has)) = sink.arrow.fields().find(column.field.name()) else { continue };
                let to = merge::with_added(sink, has, &column.field)?;
                altered.extend(to.map(|to| AlteredColumn { from: has.clone(), to }));
            }
            if !altered.is_empty() {
                out.push(SchemaEvent::AlterTypes(altered));
            }
        }
        out.push(event);
    }
    Ok(out)
}

fn other_key(sink: &TableSchema, source: &TableSchema) -> Error {
    let keys = |table: &TableSchema| format!("({})", table.key_names().collect::<Vec<_>>().join(", "));
    Error::new(Code::SchemaChange, format!("{} was written under another key than the rules give it now", sink.id))
        .fact("table", source.id.to_string())
        .fact("its key now", keys(source))
        .fact("key so far", keys(sink))
        .help("give it the key it had with `primary-keys` in its transform rule; for another key, route it to a table of another name")
}

/// The shape of the one table that flows into this one of the sink: with edited rules a new version of it.
fn natural_shape(before: &Natural, only: &Arc<TableSchema>, name: &TableId) -> Arc<TableSchema> {
    let version = before.version + u32::from(kept::digest(only) != before.digest);
    Arc::new(TableSchema { id: name.clone(), version, ..(**only).clone() })
}

/// The same shape under another name.
fn renamed(shape: &Arc<TableSchema>, name: &TableId) -> Arc<TableSchema> {
    if shape.id == *name { shape.clone() } else { Arc::new(TableSchema { id: name.clone(), ..(**shape).clone() }) }
}

fn same_shape(a: &TableSchema, b: &TableSchema) -> bool {
    (Arc::ptr_eq(&a.arrow, &b.arrow) || a.arrow == b.arrow) && a.key == b.key
}

/// The sink's shape after an event.
fn changed(before: Option<&Arc<TableSchema>>, planned: &SinkChange) -> SinkChange {
    let after = match (before, &planned.event) {
        (None, _) | (_, SchemaEvent::CreateTable) => planned.after.clone(),
        (Some(before), SchemaEvent::TruncateTable | SchemaEvent::DropTable) => before.clone(),
        (Some(before), event) => {
            Arc::new(TableSchema { version: planned.after.version.max(before.version), ..event.apply_to(before) })
        }
    };
    SinkChange { before: before.cloned(), after, event: planned.event.clone() }
}

impl Routing for Router {
    fn start(&self, tables: &[Arc<TableSchema>], kept: &[u8]) -> Result<Vec<Arc<TableSchema>>> {
        let resumed = !kept.is_empty();
        let kept = kept::read(kept)?;
        let mut tables: Vec<_> = tables.to_vec();
        tables.sort_by(|a, b| a.id.cmp(&b.id));
        let mut flowing: BTreeMap<TableId, Vec<Arc<TableSchema>>> = BTreeMap::new();
        for table in &tables {
            for name in self.targets(&table.id)? {
                flowing.entry(name).or_default().push(table.clone());
            }
        }
        let mut state = State::default();
        for (name, sources) in &flowing {
            state.sinks.insert(name.clone(), self.first_shape(name, &kept, sources, resumed)?);
        }
        // Nothing flows into these any more; their versions must not begin anew.
        state.left = kept.natural.into_iter().filter(|(name, _)| !flowing.contains_key(name)).collect();
        for (name, kept) in kept.tables {
            state.sinks.entry(name).or_insert_with(|| Arc::new(kept.table));
        }
        for table in &tables {
            let source = self.source(&state, table)?;
            state.sources.insert(table.id.clone(), source);
        }
        state.note_merges();
        let shapes = flowing.keys().filter_map(|name| state.sinks.get(name).cloned()).collect();
        self.update(|current| {
            *current = state;
            Ok(())
        })?;
        Ok(if self.policy.passes("create.table") { shapes } else { Vec::new() })
    }

    fn plan(&self, change: &SchemaChange) -> Result<Vec<SinkChange>> {
        let state = self.state();
        let mut out = Vec::new();
        for name in self.targets(&change.after.id)? {
            let events = self.events(&state, change, &name)?;
            let mut sink = state.sinks.get(&name).cloned();
            let version = sink.as_ref().map_or(change.after.version, |sink| change.after.version.max(sink.version + 1));
            for event in events {
                let target = TableSchema { version, ..(*renamed(&change.after, &name)).clone() };
                let change = changed(sink.as_ref(), &SinkChange { before: None, after: Arc::new(target), event });
                sink = Some(change.after.clone());
                out.push(change);
            }
        }
        Ok(out)
    }

    fn prepare(&self, planned: &SinkChange) -> Option<SinkChange> {
        let state = self.state();
        let before = state.sinks.get(planned.table());
        let change = changed(before, planned);
        let acts = matches!(change.event, SchemaEvent::TruncateTable | SchemaEvent::DropTable);
        let new = before.is_none_or(|before| !same_shape(before, &change.after));
        (acts || new).then_some(change)
    }

    fn accept(&self, change: &SinkChange) {
        let accepted = self.update(|state| {
            match change.event {
                SchemaEvent::DropTable => state.sinks.remove(change.table()),
                _ => state.sinks.insert(change.table().clone(), change.after.clone()),
            };
            Ok(())
        });
        debug_assert!(accepted.is_ok(), "nothing in it can fail");
    }

    fn tolerates(&self, refusal: &Error) -> bool {
        self.policy.tolerates(refusal)
    }

    fn settle(&self, change: &SchemaChange) -> Result<()> {
        let names = self.targets(&change.after.id)?;
        self.update(|state| {
            if change.ddl == Ddl::Drop {
                state.sources.remove(&change.after.id);
            } else {
                for name in &names {
                    let natural = || renamed(&change.after, name);
                    state.sinks.entry(name.clone()).or_insert_with(natural);
                }
                let source = self.source(state, &change.after)?;
                state.sources.insert(change.after.id.clone(), source);
            }
            // Other tables may flow into the same ones.
            let shapes: Vec<_> = state.sources.values().map(|source| source.shape.clone()).collect();
            for shape in shapes.iter().filter(|shape| shape.id != change.after.id) {
                let touched = self.targets(&shape.id)?.iter().any(|name| names.contains(name));
                if touched {
                    let source = self.source(state, shape)?;
                    state.sources.insert(shape.id.clone(), source);
                }
            }
            state.note_merges();
            Ok(())
        })
    }

    fn merges(&self) -> bool {
        self.state().merges
    }

    fn apply(&self, batch: ChangeBatch) -> Result<Transformed> {
        let state = self.state();
        let source = state.sources.get(&batch.schema.id).filter(|s| same_shape(&s.shape, &batch.schema));
        let Some(source) = source else {
            let message = format!("rows of {} come in a shape that the source has not told", batch.schema.id);
            return Err(Error::new(Code::SchemaMismatch, message)
                .help("the table was changed while the pipeline started: start it again"));
        };
        source.take(&batch)
    }

    fn kept(&self) -> Bytes {
        let state = self.state();
        state.kept.get_or_init(|| kept::write(&state.shapes()).into()).clone()
    }
}

impl Source {
    /// A batch for every table of the sink. A record that does not fit one of them goes to none, so that it is never both at
    /// the sink and among the failed.
    fn take(&self, batch: &ChangeBatch) -> Result<Transformed> {
        let mut batches = Vec::with_capacity(self.targets.len());
        let mut failed = Unfit::new();
        for target in &self.targets {
            match target.fit(batch)? {
                Ok(whole) => batches.push(whole),
                Err(unfit) => target.tell(batch, unfit, &mut failed),
            }
        }
        if !failed.is_empty() {
            batches = self.take_others(batch, &failed)?;
        }
        let failed = failed.into_iter().map(|(row, error)| RowError { row, error }).collect();
        Ok(Transformed { batches, failed, ..Transformed::default() })
    }

    fn take_others(&self, batch: &ChangeBatch, failed: &Unfit) -> Result<Vec<ChangeBatch>> {
        let others = (0..batch.images()).filter(|&row| !failed.contains_key(&batch.first_image(row)));
        let others: Vec<u32> = others.map(|row| row as u32).collect();
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let part = batch.take(&others)?;
        let fit = |target: &Target| {
            target
                .fit(&part)?
                .map_err(|_| Error::new(Code::Bug, format!("rows that fit {} do not fit it", target.schema.id)))
        };
        self.targets.iter().map(fit).collect()
    }
}

impl Target {
    /// The batch in the sink's shape. If any row does not fit, only those are told of.
    fn fit(&self, batch: &ChangeBatch) -> Result<std::result::Result<ChangeBatch, Unfit>> {
        let Some(plan) = &self.plan else { return Ok(Ok(self.named(batch, batch.rows.clone()))) };
        Ok(plan.apply(&batch.rows)?.map(|rows| self.named(batch, rows)))
    }

    /// Rows that do not fit join `failed`, unless a table before this one has told of their record.
    fn tell(&self, batch: &ChangeBatch, unfit: Unfit, failed: &mut Unfit) {
        for (row, error) in unfit {
            let error = || error.fact("sink table", self.schema.id.to_string());
            failed.entry(batch.first_image(row)).or_insert_with(error);
        }
    }

    fn named(&self, batch: &ChangeBatch, rows: arrow_array::RecordBatch) -> ChangeBatch {
        let mut origins = batch.origins.clone();
        if self.schema.id != batch.schema.id {
            Arc::make_mut(&mut origins).keep_table(&batch.schema.id);
        }
        ChangeBatch { schema: self.schema.clone(), rows, origins, ..batch.clone() }
    }
}

#[cfg(test)]
mod tests;
