//! The sink of the pipeline in small.

use super::cells::cell;
use arrow_array::RecordBatch;
use arrow_schema::{Field, FieldRef};
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::{ChangeBatch, Kind, Origin};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is a family's own.
pub trait Family {
    /// What column `now` holds in a row that was there before its table changed its shape; `was` is the column it comes
    /// from, if there was one, and what that held. `*` where only the server knows.
    fn reshaped(was: Option<(&Field, &str)>, now: &Field, in_key: bool) -> String;
}

/// Rows by table and key.
pub type Rows = HashMap<String, BTreeMap<Vec<String>, Vec<String>>>;

fn cells(rows: &RecordBatch, row: usize) -> Vec<String> {
    rows.columns().iter().map(|c| cell(c.as_ref(), row)).collect()
}

/// One row image as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its table.
    pub table: String,
    /// What it is.
    pub kind: Kind,
    /// (transaction, table, ordinal); for a snapshot row its key, if it has one.
    pub id: String,
    /// Its cells as text.
    pub cells: Vec<String>,
}

impl Image {
    fn adds(&self) -> bool {
        matches!(self.kind, Kind::Read | Kind::Insert | Kind::UpdateAfter)
    }
}

/// The images of a batch.
pub fn images(batch: &ChangeBatch) -> Vec<Image> {
    let table = batch.schema.id.to_string();
    let image = |(row, (ordinal, origin)): (usize, (u64, Origin<'_>))| {
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
    /// What it holds.
    pub rows: Rows,
    /// What came, in order.
    pub images: Vec<Image>,
    /// Columns that are the key here, where they are not the source's.
    pub keyed_by: Option<Vec<usize>>,
    /// Whether what happened to a row that came with a chunk before its place may be told again: it is there already, or is not.
    pub told_again: bool,
    seen: HashSet<(String, bool)>,
    /// How many rows without a key hold the same.
    copies: HashMap<(String, Vec<String>), usize>,
}

impl Sink {
    /// Applies a batch.
    ///
    /// # Panics
    /// For a row that is there already, one that is not there or not as it was, and an event id that was seen before.
    pub fn take(&mut self, batch: &ChangeBatch) {
        self.note_places(batch);
        for image in images(batch) {
            let key = self.key(batch, &image);
            let rows = self.rows.entry(image.table.clone()).or_default();
            if image.adds() {
                let old = rows.insert(key.clone(), image.cells.clone());
                let history = || self.history(&image.table, &key);
                assert!(old.is_none() || self.told_again, "{image:?}: key is there already: {old:?}\n{}", history());
            } else {
                let old = rows.remove(&key);
                let same = old.as_ref().is_some_and(|old| same_row(old, &image.cells));
                assert!(same || self.told_again, "{image:?}, was {old:?}\n{}", self.history(&image.table, &key));
            }
            let first_of_change = image.kind != Kind::UpdateBefore;
            assert!(self.seen.insert((image.id.clone(), first_of_change)), "event id twice: {image:?}");
            self.images.push(image);
        }
    }

    /// A sink that has thrown the key away has nothing but ordinals to tell rows of the snapshot apart.
    fn note_places(&mut self, batch: &ChangeBatch) {
        let reads = batch.ordinals().enumerate().filter(|(row, _)| batch.kinds[*row] == Kind::Read);
        for (row, (ordinal, origin)) in reads {
            let place = format!("{}/{}#{ordinal}", origin.transaction, batch.schema.id);
            assert!(self.seen.insert((place, true)), "row {row} has the ordinal {ordinal} of another row");
        }
    }

    /// Rows without a key are as many as there are of them: they are numbered, and the last one goes first.
    fn key(&mut self, batch: &ChangeBatch, image: &Image) -> Vec<String> {
        let columns = self.keyed_by.as_ref().unwrap_or(&batch.schema.key);
        let key: Vec<String> = columns.iter().map(|&k| image.cells[k].clone()).collect();
        if !key.is_empty() {
            return key;
        }
        let copies = self.copies.entry((image.table.clone(), image.cells.clone())).or_default();
        if !image.adds() {
            *copies = copies.saturating_sub(1);
        }
        let key = [image.cells.clone(), vec![copies.to_string()]].concat();
        *copies += usize::from(image.adds());
        key
    }

    /// Tables and columns come and go. The same change may be told again.
    pub fn reshape<F: Family>(&mut self, change: &SchemaChange) {
        let table = change.after.id.to_string();
        let renamed = match &change.ddl {
            Ddl::Drop => return drop(self.rows.remove(&table)),
            Ddl::Truncate => return self.rows.entry(table).or_default().clear(),
            Ddl::Columns { renamed } => renamed,
        };
        let rows = self.rows.entry(table).or_default();
        let Some(before) = &change.before else { return };
        let old = before.arrow.fields();
        let value = |field: &FieldRef, row: &[String]| {
            let was = renamed.iter().find(|(_, new)| new == field.name()).map(|(old, _)| old);
            let taken = renamed.iter().any(|(old, _)| old == field.name());
            let was = was.or_else(|| (!taken).then_some(field.name()));
            let at = old.iter().position(|o| Some(o.name()) == was);
            let in_key = change.after.key_names().any(|k| k == field.name());
            F::reshaped(at.map(|at| (old[at].as_ref(), row[at].as_str())), field, in_key)
        };
        let reshaped = std::mem::take(rows).into_iter().map(|(key, row)| {
            let row: Vec<String> = match row.len() == old.len() {
                true => change.after.arrow.fields().iter().map(|field| value(field, &row)).collect(),
                false => row,
            };
            match change.after.key.is_empty() {
                true => (key, row),
                false => (change.after.key.iter().map(|&k| row[k].clone()).collect(), row),
            }
        });
        *rows = reshaped.collect();
    }

    fn history(&self, table: &str, key: &[String]) -> String {
        let touches = |i: &&Image| i.table == table && key.iter().all(|k| i.cells.contains(k));
        self.images.iter().filter(touches).map(|i| format!("{:?} {} {:?}\n", i.kind, i.id, i.cells)).collect()
    }

    /// Rows of a table.
    pub fn count(&self, table: &str) -> usize {
        self.rows.get(table).map_or(0, BTreeMap::len)
    }
}

/// Whether two rows are equal, as far as both are known.
pub fn same_row(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a == "*" || b == "*")
}
