//! What is to be told of tables, and then to be carried through.

use super::*;
use crate::place::Place;
use crate::shape::Shape;
use crate::snapshot::SnapshotContext;
use crate::stream::Riddle;
use dujiang_core::schema::Ddl as Kind;
use dujiang_core::{TableId, TableSchema};

/// Changes of tables that have been met: told one after another, and carried through when all are. Until then the position
/// lies before them, so that a crash meets all of them again.
pub struct Announced {
    /// For the engine, in order.
    pub changes: VecDeque<SchemaChange>,
    /// Whether the engine has been told the first of them.
    pub told: bool,
    pub(super) steps: Vec<Carry>,
    /// Captured tables of which the statement does not say what becomes of them.
    pub(super) unread: Vec<TableId>,
    /// The statement that is complete with them, if it is one.
    pub(super) finishes: Option<Box<Ddl>>,
}

/// One thing to be carried through.
pub(super) enum Carry {
    /// A captured table has another shape.
    Reshape(usize, Shape),
    /// Nothing of what a table held is left: its snapshot has nothing to read.
    Empty(usize),
    /// A table is captured no more.
    Remove(usize),
    /// A table is captured from now on.
    Add(Shape, Option<Joining>),
    /// A table's rows are read anew.
    Begin(usize, Shape, Joining),
    /// A shape is remembered, or forgotten.
    Shadow(TableId, Option<Shape>),
    /// A table's shape is not known.
    Riddle(usize, Riddle),
}

/// How a table joins.
pub struct Joining {
    pub(super) from: Place,
    pub(super) estimated: u64,
    /// Whether the rows that it holds are read.
    pub(super) reads: bool,
    pub(super) context: Option<Arc<SnapshotContext>>,
    pub(super) instance: Instance,
}

/// An empty announcement.
pub(super) fn nothing() -> Announced {
    Announced { changes: VecDeque::new(), told: false, steps: Vec::new(), unread: Vec::new(), finishes: None }
}

/// A change of one captured table that is not the work of a statement in the log.
pub(super) fn reshaped(at: usize, before: Arc<TableSchema>, shape: Shape, statement: &str) -> Result<Announced> {
    let mut out = nothing();
    out.changes.push_back(change(Some(before), shape.decodable()?.schema, statement, Kind::default()));
    out.steps.push(Carry::Reshape(at, shape));
    Ok(out)
}

pub(super) fn change(
    before: Option<Arc<TableSchema>>,
    after: Arc<TableSchema>,
    statement: &str,
    ddl: Kind,
) -> SchemaChange {
    SchemaChange { before, after, statement: statement.to_owned(), ddl }
}
