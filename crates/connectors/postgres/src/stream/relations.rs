//! What the ids of tables in the stream mean.
//!
//! The server tells a table's shape before its first change and whenever it may have changed, in the order of the messages. A
//! transaction whose outcome is not known yet is read later than that: what it was told then holds for its own rows only.

use super::tables::Tables;
use crate::pgoutput::Relation;
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::HashMap;

/// What was told of one table.
struct Told {
    /// Last, wherever that was.
    last: Relation,
    /// What rows are read with, and the captured table, if it is one. None while `last` has still to be compared with the
    /// table's columns.
    in_force: Option<(Relation, Option<usize>)>,
}

/// What is to be done before rows of a table can be read.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// Nothing.
    Table(usize),
    /// Nothing: it is not captured.
    Other,
    /// The captured table has other columns, or another name.
    Columns(usize, Relation),
}

/// All that was told.
#[derive(Default)]
pub struct Relations(HashMap<u32, Told>);

impl Relations {
    /// Told, of rows that may be read later, see [`Relations::used`].
    pub fn note(&mut self, relation: Relation) {
        match self.0.get_mut(&relation.oid) {
            Some(told) => told.last = relation,
            None => {
                self.0.insert(relation.oid, Told { last: relation, in_force: None });
            }
        }
    }

    /// The table of rows, if it is captured, whatever its columns.
    pub fn captured(&self, oid: u32, tables: &Tables) -> Option<usize> {
        captured(&self.0.get(&oid)?.last, tables)
    }

    /// The rows that are read now were told this.
    pub fn used(&mut self, relation: Relation, tables: &Tables) -> Found {
        let told = self.0.entry(relation.oid).or_insert_with(|| Told { last: relation.clone(), in_force: None });
        if let Some((known, at)) = &told.in_force
            && *known == relation
        {
            return at.map_or(Found::Other, Found::Table);
        }
        let at = captured(&relation, tables);
        match at {
            Some(at) if !tables.get(at).shape.fits(&relation) => Found::Columns(at, relation),
            at => {
                told.in_force = Some((relation, at));
                at.map_or(Found::Other, Found::Table)
            }
        }
    }

    /// What was told has been carried through.
    pub fn carried(&mut self, relation: Relation, at: usize) {
        if let Some(told) = self.0.get_mut(&relation.oid) {
            told.in_force = Some((relation, Some(at)));
        }
    }

    /// Rows to come were told what was told last, which may not be in force.
    pub fn doubt(&mut self, oid: u32) {
        if let Some(told) = self.0.get_mut(&oid) {
            told.in_force = None;
        }
    }

    /// The table of rows.
    ///
    /// # Errors
    /// `UnknownEvent` for a table that was not told of.
    #[inline]
    pub fn table(&mut self, oid: u32, tables: &Tables) -> Result<Found> {
        match self.0.get(&oid) {
            Some(Told { in_force: Some((_, at)), .. }) => Ok(at.map_or(Found::Other, Found::Table)),
            Some(Told { last, in_force: None }) => {
                let last = last.clone();
                Ok(self.used(last, tables))
            }
            None => Err(Error::new(Code::UnknownEvent, "a change of a table that the stream has not told of")
                .fact("relation", oid.to_string())
                .help("report a bug with the server's version")),
        }
    }

    /// The stream is gone, and with it all that was told.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A table that was renamed keeps its id.
fn captured(relation: &Relation, tables: &Tables) -> Option<usize> {
    let id = TableId::new(relation.schema.as_str(), relation.table.as_str());
    tables.find(&id).or_else(|| tables.iter().position(|table| table.shape.relation == relation.oid))
}
