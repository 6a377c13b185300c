//! How a relation message changes the shape known for its table.
//!
//! The message is what counts: names, types and their order are those in force at its place in the log. It lacks `attnum`,
//! nullability and keys; the catalog has them, but as of now, which may be later. What is asked of the catalog is therefore
//! only what cannot make a row read wrongly: whether a column of another name is the same one (`attnum`), whether it may be
//! NULL (a NULL that comes nevertheless is met by [`Shape::relaxed`]), and how many dimensions an array declares.

use crate::catalog::{CatalogColumn, TableDetail};
use crate::pgoutput::{Relation, RelationColumn};
use crate::shape::{Shape, ShapeColumn, Told};
use crate::values::{Types, ValueSettings};
use dujiang_core::{Code, Error, Result};

/// What a relation message makes of the shape known for its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evolution {
    /// Nothing.
    Same,
    /// Other columns, as the next version.
    Columns {
        /// The shape from here on.
        shape: Shape,
        /// (old name, new name).
        renamed: Vec<(String, String)>,
    },
    /// The table has another name now; its shape may have changed, too.
    Moved(Shape),
    /// Another table of the same name: the old one was dropped, with its rows. The shape has version 1.
    Recreated,
}

impl Shape {
    /// Whether the message says nothing new. A catalog need not be asked then.
    pub fn fits(&self, relation: &Relation) -> bool {
        let same = |(known, told): (&ShapeColumn, &RelationColumn)| {
            known.name == told.name
                && known.type_oid == told.type_oid
                && known.modifier == told.type_modifier
                && known.in_identity == told.in_identity
        };
        self.relation == relation.oid
            && self.schema == relation.schema
            && self.table == relation.table
            && self.columns.len() == relation.columns.len()
            && self.columns.iter().zip(&relation.columns).all(same)
    }

    /// What the message makes of this shape. `catalog` is the table as the catalog has it now, `None` when it is gone; `types`
    /// hold every type of the message that the catalog still has.
    ///
    /// # Errors
    /// `TypeGone`; `SchemaChange` when a key column is gone.
    pub fn follow(
        &self,
        relation: &Relation,
        catalog: Option<&TableDetail>,
        types: &Types,
        settings: &ValueSettings,
    ) -> Result<Evolution> {
        if self.fits(relation) {
            return Ok(Evolution::Same);
        }
        if self.relation != relation.oid {
            return Ok(Evolution::Recreated);
        }
        let catalog = catalog.filter(|table| table.oid == relation.oid);
        let numbers = align(&self.columns, &relation.columns, catalog.map_or(&[], |table| &table.columns));
        let mut columns = Vec::with_capacity(numbers.len());
        let mut renamed = Vec::new();
        for (column, number) in relation.columns.iter().zip(&numbers) {
            let known = self.columns.iter().position(|c| c.number == *number && *number != 0);
            let known = known.or_else(|| self.columns.iter().position(|c| c.name == column.name && c.number == 0));
            let next = self.column(column, *number, known, catalog, types, settings);
            columns.push(next.map_err(|e| e.fact("table", self.id().to_string()).fact("column", column.name.clone()))?);
            if let Some(old) = known.map(|at| &self.columns[at].name).filter(|old| **old != column.name) {
                renamed.push((old.clone(), column.name.clone()));
            }
        }
        let key = self.key_in(&columns, &renamed)?;
        let shape = Shape {
            relation: relation.oid,
            schema: relation.schema.clone(),
            table: relation.table.clone(),
            version: self.version,
            columns,
            key,
            key_images: self.key_images,
        };
        if shape.schema != self.schema || shape.table != self.table {
            return Ok(Evolution::Moved(Shape { version: 1, ..shape }));
        }
        if shape == *self {
            return Ok(Evolution::Same);
        }
        Ok(Evolution::Columns { shape: Shape { version: self.version + 1, ..shape }, renamed })
    }

    /// Columns that had another name in an earlier shape: (old name, new name).
    pub fn renamed_since(&self, before: &Self) -> Vec<(String, String)> {
        let known = before.columns.iter().filter(|old| old.number != 0);
        let now = |old: &ShapeColumn| self.columns.iter().find(|column| column.number == old.number);
        let both = known.filter_map(|old| now(old).map(|new| (&old.name, &new.name)));
        both.filter(|(old, new)| old != new).map(|(old, new)| (old.clone(), new.clone())).collect()
    }

    fn column(
        &self,
        column: &RelationColumn,
        number: i16,
        known: Option<usize>,
        catalog: Option<&TableDetail>,
        types: &Types,
        settings: &ValueSettings,
    ) -> Result<ShapeColumn> {
        let in_catalog = catalog.and_then(|table| table.column(number));
        let may_be_null = in_catalog.is_none_or(|c| !c.not_null);
        let Some(at) = known else {
            let told = Told { column, catalog: in_catalog, number, nullable: may_be_null, in_key: false };
            return ShapeColumn::told(&told, types, settings);
        };
        let old = &self.columns[at];
        // What became NOT NULL stays as it was: rows of before may still come.
        let nullable = old.nullable || in_catalog.is_some_and(|c| !c.not_null);
        if old.type_oid == column.type_oid && old.modifier == column.type_modifier {
            let (name, in_identity) = (column.name.clone(), column.in_identity);
            return Ok(ShapeColumn { name, nullable, in_identity, ..old.clone() });
        }
        let in_key = self.key.contains(&at);
        ShapeColumn::told(&Told { column, catalog: in_catalog, number, nullable, in_key }, types, settings)
    }

    /// The key columns in the new order of columns.
    fn key_in(&self, columns: &[ShapeColumn], renamed: &[(String, String)]) -> Result<Vec<usize>> {
        let find = |&at: &usize| {
            let old = &self.columns[at].name;
            let name = renamed.iter().find(|(from, _)| from == old).map_or(old, |(_, to)| to);
            columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                let message = format!("key column {old} of captured table {} is gone", self.id());
                Error::new(Code::SchemaChange, message).help("start a new pipeline with a new snapshot of the table")
            })
        };
        self.key.iter().map(find).collect()
    }
}

/// The `attnum` of every column of a message, 0 where it cannot be known.
///
/// Columns stand in the order of their numbers, and a new column's number is larger than all before it. So a column whose name
/// is unknown and that stands before a known old one cannot be new: it is an old one of another name.
fn align(known: &[ShapeColumn], told: &[RelationColumn], catalog: &[CatalogColumn]) -> Vec<i16> {
    let in_catalog = |name: &str| catalog.iter().find(|c| c.name == name).map(|c| c.number);
    let in_shape = |name: &str| known.iter().find(|c| c.name == name).map(|c| c.number).filter(|number| *number != 0);
    // As long as the catalog has the same columns it is no later than the message, as far as columns go.
    let same = |column: &RelationColumn| {
        catalog
            .iter()
            .any(|c| c.name == column.name && c.type_oid == column.type_oid && c.modifier == column.type_modifier)
    };
    if told.iter().all(same) {
        let numbers: Vec<i16> = told.iter().filter_map(|column| in_catalog(&column.name)).collect();
        if numbers.is_sorted() {
            return numbers;
        }
    }
    let mut numbers = vec![0; told.len()];
    let mut last = 0;
    for (number, column) in numbers.iter_mut().zip(told) {
        let candidates = [in_shape(&column.name), in_catalog(&column.name)];
        if let Some(found) = candidates.into_iter().flatten().find(|candidate| *candidate > last) {
            (*number, last) = (found, found);
        }
    }
    fill_gaps(&mut numbers, known);
    numbers
}

/// Gives the numbers of old columns that no name leads to, to the columns without a number that stand where they stood.
fn fill_gaps(numbers: &mut [i16], known: &[ShapeColumn]) {
    let last_old = known.iter().map(|column| column.number).max().unwrap_or(0);
    let mut at = 0;
    while at < numbers.len() {
        if numbers[at] != 0 {
            at += 1;
            continue;
        }
        let end = numbers[at..].iter().position(|number| *number != 0).map_or(numbers.len(), |n| at + n);
        let after = if at == 0 { 0 } else { numbers[at - 1] };
        // Behind all old columns a column without a number may be new as well as renamed: it counts as new.
        let before = numbers.get(end).copied().filter(|number| *number <= last_old);
        if let Some(before) = before {
            let free: Vec<i16> = known.iter().map(|c| c.number).filter(|n| *n > after && *n < before).collect();
            // More old ones than new names: some were dropped, and which cannot be told.
            if free.len() == end - at {
                numbers[at..end].copy_from_slice(&free);
            }
        }
        at = end;
    }
}
