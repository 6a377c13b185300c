//! Statements that change captured tables: what they make of them is worked out, told, and then carried through.

use super::announced::{Announced, Carry, change};
use super::catalog::Later;
use super::*;
use crate::ddl::model::Altered;
use crate::ddl::plan::{After, Fate, Plan, Told, plan};
use crate::shape::Shape;
use crate::stream::{Riddle, shortened};
use dujiang_core::TableId;
use dujiang_core::schema::Ddl as Kind;

/// A table's shape after a statement.
enum Resolved {
    Shape(Altered),
    /// There is no such table any more, and nothing in the log says so.
    Gone,
    /// Only what comes can tell.
    Unknown(String),
}

impl MysqlReader {
    /// Works out what a statement makes of captured tables and has it told, before anything behind it is read.
    pub(super) async fn announce(&mut self, ddl: Ddl) -> Result<()> {
        let announced = self.worked_out(ddl).await?;
        self.ddl = None;
        self.told_next(announced)
    }

    /// Has changes told; those that nobody needs to be told are carried through at once.
    pub(super) fn told_next(&mut self, announced: Announced) -> Result<()> {
        self.setbacks = 0;
        self.questions.settled();
        if announced.changes.is_empty() || fault::removed("ddl-barrier") {
            return self.apply(announced);
        }
        self.announced = Some(announced);
        Ok(())
    }

    async fn worked_out(&mut self, ddl: Ddl) -> Result<Announced> {
        let plan = match &ddl.actions {
            Some(actions) => {
                let habits = self.habits(&ddl.database).await?;
                let habits = Habits { reading: ddl.reading, ..habits };
                plan(actions, &self.start.tables, &habits)?
            }
            None => self.riddle(&ddl),
        };
        if let Some((table, what)) = &plan.unlogged {
            self.unlogged(table, what, &ddl.statement)?;
        }
        if let Some(fate) = plan.fates.first().filter(|_| !self.start.config.options.schema_change) {
            return Err(switched_off(&fate.table, &ddl.statement));
        }
        let mut out =
            Announced { changes: VecDeque::new(), told: false, steps: Vec::new(), unread: Vec::new(), finishes: None };
        for fate in plan.fates {
            if let After::Kept { shape: Err(_), .. } | After::Replaced { shape: Err(_), .. } = &fate.after {
                out.unread.push(fate.table.clone());
            }
            self.carry(fate, &ddl, &mut out).await?;
        }
        out.steps.extend(plan.shadows.into_iter().map(|(id, shape)| Carry::Shadow(id, shape)));
        out.finishes = Some(Box::new(ddl));
        Ok(out)
    }

    /// A statement that cannot be read may have done anything to its tables.
    fn riddle(&self, ddl: &Ddl) -> Plan {
        tracing::warn!(
            statement = shortened(&ddl.statement),
            "a statement in the log cannot be read: the catalog is compared with what is known"
        );
        let fate = |&at: &usize| {
            let shape = Err("the statement cannot be read".to_owned());
            Fate { table: self.start.tables.get(at).id.clone(), after: After::Kept { shape, truncated: false } }
        };
        Plan { fates: ddl.tables.iter().map(fate).collect(), ..Plan::default() }
    }

    async fn carry(&mut self, fate: Fate, ddl: &Ddl, out: &mut Announced) -> Result<()> {
        let table = fate.table;
        let at = self.start.tables.find(&table.database, &table.table);
        let statement = &ddl.statement;
        match (fate.after, at) {
            (After::Gone, Some(at)) => self.gone(at, statement, out),
            (After::Kept { shape, truncated }, Some(at)) => match self.resolve(&table, shape, ddl).await? {
                Resolved::Shape(altered) => self.kept(at, altered, truncated, statement, out).await?,
                Resolved::Gone => self.gone(at, statement, out),
                Resolved::Unknown(why) => {
                    let statement = shortened(statement);
                    out.steps.push(Carry::Riddle(at, Riddle { statement, why }));
                }
            },
            (After::Replaced { shape, same_rows: true, .. }, Some(at)) => {
                match self.resolve(&table, shape, ddl).await? {
                    Resolved::Shape(altered) => self.kept(at, altered, false, statement, out).await?,
                    Resolved::Gone => self.gone(at, statement, out),
                    Resolved::Unknown(why) => {
                        let statement = shortened(statement);
                        out.steps.push(Carry::Riddle(at, Riddle { statement, why }));
                    }
                }
            }
            (After::Replaced { shape, empty, .. }, Some(at)) => {
                self.replaced(at, shape, empty, ddl, out).await?;
            }
            (After::New { shape, empty }, _) => self.new_table(&table, shape, empty, ddl, out).await?,
            (After::Gone | After::Kept { .. } | After::Replaced { .. }, None) => {}
        }
        Ok(())
    }

    fn gone(&self, at: usize, statement: &str, out: &mut Announced) {
        let schema = self.start.tables.get(at).decodable.schema.clone();
        out.changes.push_back(change(Some(schema.clone()), schema, statement, Kind::Drop));
        out.steps.push(Carry::Remove(at));
    }

    async fn kept(
        &mut self,
        at: usize,
        after: Altered,
        truncated: bool,
        statement: &str,
        out: &mut Announced,
    ) -> Result<()> {
        let table = self.start.tables.get(at);
        let (before, id) = (table.decodable.schema.clone(), table.id.clone());
        let under_way = table.handoff.is_some();
        let shape = Shape { version: table.shape.version, ..after.shape };
        let same = shape.is_like(&table.shape);
        if after.cascades {
            self.refuse_cascades(&id).await?;
        }
        // The chunks that are read are told apart by the key: with another one they are read anew.
        let other_key = key_names(&shape) != key_names(&self.start.tables.get(at).shape);
        let again = under_way && other_key && !truncated;
        if truncated || again {
            out.changes.push_back(change(Some(before.clone()), before.clone(), statement, Kind::Truncate));
        }
        let shape = if same { shape } else { Shape { version: shape.version + 1, ..shape } };
        if again && let Some((shape, joining)) = self.begins(&id, shape.version).await? {
            let kind = Kind::Columns { renamed: after.renamed };
            out.changes.push_back(change(Some(before), shape.decodable()?.schema, statement, kind));
            out.steps.push(Carry::Begin(at, shape, joining));
            return Ok(());
        }
        if truncated || again {
            out.steps.push(Carry::Empty(at));
        }
        if !same {
            let kind = Kind::Columns { renamed: after.renamed };
            out.changes.push_back(change(Some(before), shape.decodable()?.schema, statement, kind));
        }
        out.steps.push(Carry::Reshape(at, shape));
        Ok(())
    }

    /// Another table bears the name: its rows are others.
    async fn replaced(&mut self, at: usize, told: Told, empty: bool, ddl: &Ddl, out: &mut Announced) -> Result<()> {
        let table = self.start.tables.get(at);
        let (id, before, version) = (table.id.clone(), table.decodable.schema.clone(), table.shape.version);
        if empty && let Resolved::Shape(altered) = self.resolve(&id, told, ddl).await? {
            return self.kept(at, altered, true, &ddl.statement, out).await;
        }
        let Some((shape, joining)) = self.begins(&id, version + 1).await? else {
            self.gone(at, &ddl.statement, out);
            return Ok(());
        };
        out.changes.push_back(change(Some(before.clone()), before.clone(), &ddl.statement, Kind::Truncate));
        let schema = shape.decodable()?.schema;
        if !shape.is_like(&self.start.tables.get(at).shape) {
            out.changes.push_back(change(Some(before), schema, &ddl.statement, Kind::default()));
            out.steps.push(Carry::Begin(at, shape, joining));
        } else {
            out.steps.push(Carry::Begin(at, Shape { version, ..shape }, joining));
        }
        Ok(())
    }

    async fn new_table(&mut self, id: &TableId, told: Told, empty: bool, ddl: &Ddl, out: &mut Announced) -> Result<()> {
        let version = self.start.tables.first_version();
        if empty && let Resolved::Shape(altered) = self.resolve(id, told, ddl).await? {
            if altered.cascades {
                self.refuse_cascades(id).await?;
            }
            let shape = Shape { version, ..altered.shape };
            out.changes.push_back(change(None, shape.decodable()?.schema, &ddl.statement, Kind::default()));
            out.steps.push(Carry::Add(shape, None));
            return Ok(());
        }
        self.welcome(id, &ddl.statement, out).await
    }

    /// A table joins the stream as it is now, with the rows that it holds.
    pub(super) async fn welcome(&mut self, id: &TableId, statement: &str, out: &mut Announced) -> Result<()> {
        let version = self.start.tables.first_version();
        let Some((shape, joining)) = self.begins(id, version).await? else {
            tracing::info!(table = %id, "a table that appeared is gone again and is not captured");
            self.start.tables.pass_over(id);
            return Ok(());
        };
        self.refuse_cascades(id).await?;
        out.changes.push_back(change(None, shape.decodable()?.schema, statement, Kind::default()));
        out.steps.push(Carry::Add(shape, Some(joining)));
        Ok(())
    }

    /// The shape after the statement: as it says, if the catalog agrees; as the catalog has it, if nothing later in the log
    /// explains the difference; else as it says, if it says everything.
    async fn resolve(&mut self, id: &TableId, told: Told, ddl: &Ddl) -> Result<Resolved> {
        let catalog = self.glance(id).await?;
        if let (Ok(told), Some(catalog)) = (&told, &catalog)
            && let Some(shape) = agreed(told, catalog)
        {
            return Ok(Resolved::Shape(Altered { shape, ..told.clone() }));
        }
        let after = ddl.next.clone().unwrap_or_else(|| ddl.begin.clone());
        let Later { catalog, changed_by: later } = self.look_up(id, &after).await?;
        let why = match (later, catalog, told) {
            (None, None, _) => return Ok(Resolved::Gone),
            (None, Some(catalog), told) => {
                let (renamed, cascades) = told.map(|t| (t.renamed, t.cascades)).unwrap_or_default();
                tracing::info!(table = %id, statement = shortened(&ddl.statement), "the shape of the table is the catalog's");
                return Ok(Resolved::Shape(Altered { shape: catalog, renamed, key_unsure: false, cascades }));
            }
            (Some(_), _, Ok(told)) => return Ok(Resolved::Shape(told)),
            (Some(later), _, Err(why)) => format!("{why}, and the table has been changed since: {}", shortened(&later)),
        };
        tracing::warn!(table = %id, statement = shortened(&ddl.statement), why, "the shape of the table is not known until its next rows");
        Ok(Resolved::Unknown(why))
    }

    /// The engine has ended its epoch: what lies behind the changes may come.
    pub(super) fn apply(&mut self, announced: Announced) -> Result<()> {
        for step in announced.steps {
            let start = &mut self.start;
            match step {
                Carry::Reshape(at, shape) => start.tables.reshape(at, shape)?,
                Carry::Empty(at) => start.snapshot.cancel(at, &mut start.tables),
                Carry::Remove(at) => {
                    start.snapshot.cancel(at, &mut start.tables);
                    start.tables.remove(at);
                }
                Carry::Add(shape, joining) => {
                    let at = start.tables.add(shape)?;
                    if let Some(joining) = joining {
                        self.join(at, joining)?;
                    }
                }
                Carry::Begin(at, shape, joining) => {
                    start.snapshot.cancel(at, &mut start.tables);
                    start.tables.reshape(at, shape)?;
                    self.join(at, joining)?;
                }
                Carry::Shadow(id, shape) => start.tables.set_shadow(id, shape),
                Carry::Riddle(at, riddle) => start.tables.get_mut(at).riddle = Some(riddle),
            }
        }
        // A chunk that waited for the change may fit now.
        self.waiting = false;
        if let Some(ddl) = announced.finishes {
            announced.unread.into_iter().for_each(|table| self.note_not_understood(table, &ddl.statement));
            self.start.machine.finish_statement(ddl.next.as_ref());
            if !self.start.machine.is_inside_event() {
                self.advance();
            }
        }
        Ok(())
    }

    fn note_not_understood(&mut self, table: TableId, statement: &str) {
        let count = self.not_understood.as_ref().map_or(0, |before| before.count) + 1;
        let met_micros = self.start.context.clock.now_micros();
        self.not_understood = Some(NotUnderstood { count, table, kind: kind(statement), met_micros });
    }

    fn unlogged(&self, table: &TableId, what: &str, statement: &str) -> Result<()> {
        if self.start.config.options.accept_unlogged {
            tracing::warn!(%table, statement = shortened(statement), "rows of a captured table came or went without being logged");
            return Ok(());
        }
        Err(Error::new(Code::UnloggedRows, format!("rows of captured table {table} came or went without being logged: {what}"))
            .fact("statement", shortened(statement))
            .help(
                "accept that such rows stay (or are missing) in the sink with `partitions.unlogged.accept: true`, or start a \
                 new pipeline with a new snapshot",
            ))
    }
}

fn key_names(shape: &Shape) -> Vec<&str> {
    shape.key.iter().map(|&at| shape.columns[at].name.as_str()).collect()
}

/// The catalog's shape, if it is what the statement says, in other words maybe: the same columns with the same values, and
/// the same key, unless the statement leaves that open.
fn agreed(told: &Altered, catalog: &Shape) -> Option<Shape> {
    let said = &told.shape;
    let same_key = key_names(said) == key_names(catalog) || told.key_unsure;
    let same = |(a, b): (&crate::shape::ShapeColumn, &crate::shape::ShapeColumn)| {
        a == b
            || (a.name == b.name
                && a.nullable == b.nullable
                && a.collation == b.collation
                && matches!((a.decoded(), b.decoded()), (Ok(a), Ok(b)) if (&a.column_type, a.compressed) == (&b.column_type, b.compressed)))
    };
    let agree =
        same_key && said.columns.len() == catalog.columns.len() && said.columns.iter().zip(&catalog.columns).all(same);
    agree.then(|| catalog.clone())
}

#[cold]
fn switched_off(table: &TableId, statement: &str) -> Error {
    Error::new(Code::SchemaChange, format!("captured table {table} was changed, and `schema-change.enabled` is false"))
        .fact("statement", shortened(statement))
        .help("set `schema-change.enabled: true`, or start a new pipeline with a new snapshot of the table")
}

/// What a statement is, and nothing of what it holds: that may be secret.
fn kind(statement: &str) -> &'static str {
    let words = statement.split(|c: char| !c.is_ascii_alphabetic());
    let known = |word: &str| {
        ["ALTER", "CREATE", "RENAME", "DROP", "TRUNCATE"].into_iter().find(|k| word.eq_ignore_ascii_case(k))
    };
    words.into_iter().find_map(known).unwrap_or("statement")
}
