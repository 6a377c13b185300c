//! What a statement makes of a table's shape. Pure: what the server would add by itself comes in as [`Habits`].

use super::alter::{Alteration, ColumnPlace};
use super::column::NewColumn;
use super::create::Definition;
use super::lexer::Reading;
use super::types::{has_charset, spelled, widest};
use crate::decode::ZeroDates;
use crate::shape::{Shape, ShapeColumn};
use dujiang_core::TableId;
use std::collections::HashMap;

/// What a server adds to what statements say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Habits {
    /// How it reads statements.
    pub reading: Reading,
    /// The default collation of each character set.
    pub collations: HashMap<String, String>,
    /// Whether a TIMESTAMP may be NULL when nothing is said (`explicit_defaults_for_timestamp`).
    pub explicit_timestamps: bool,
    /// Default collation of the database in which tables are made, if it is known.
    pub database: Option<String>,
    /// What becomes of dates that are none, in tables that are made.
    pub zero_dates: ZeroDates,
}

/// What a statement makes of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// Its shape.
    pub shape: Shape,
    /// (old, new) names of renamed columns.
    pub renamed: Vec<(String, String)>,
    /// The key may be another unique one, of which nothing is known here.
    pub key_unsure: bool,
    /// A foreign key was added by which the server changes rows on its own.
    pub cascades: bool,
}

/// Carries out alterations, in the server's order (`mysql_prepare_alter_table`): what exists is named as before the statement, and
/// what is new is put among it and named in keys as it is called afterwards, wherever that stands in the statement.
///
/// # Errors
/// For people: why the shape cannot be told.
pub fn alter(shape: &Shape, alterations: &[Alteration], habits: &Habits) -> Result<Altered, String> {
    let mut state = State::of(shape, habits);
    for stage in Stage::ALL {
        alterations.iter().try_for_each(|alteration| state.apply(alteration, stage))?;
    }
    state.finish(shape.id(), shape.version)
}

/// Parts of an ALTER TABLE in the order in which they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Defaults,
    OldKeys,
    OldIndexNames,
    OldColumns,
    NewColumns,
    NewKeys,
    Conversion,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Defaults,
        Self::OldKeys,
        Self::OldIndexNames,
        Self::OldColumns,
        Self::NewColumns,
        Self::NewKeys,
        Self::Conversion,
    ];
}

/// The shape of a new table.
///
/// # Errors
/// For people: why it cannot be told.
pub fn create(table: &TableId, definition: &Definition, habits: &Habits) -> Result<Altered, String> {
    let collation = habits.default_collation(definition.charset.as_deref(), definition.collation.as_deref());
    let empty = Shape {
        database: table.database.to_string(),
        table: table.table.to_string(),
        version: 1,
        columns: Vec::new(),
        key: Vec::new(),
        key_name: None,
        zero_dates: habits.zero_dates,
        collation: collation.or_else(|| habits.database.clone()),
    };
    let mut state = State::of(&empty, habits);
    for column in &definition.columns {
        state.add(column, &ColumnPlace::Last, false)?;
    }
    for key in &definition.keys {
        state.apply(key, Stage::NewKeys)?;
    }
    state.finish(table.clone(), 1)
}

impl Habits {
    /// A collation, if anything is written that tells it.
    fn default_collation(&self, charset: Option<&str>, collation: Option<&str>) -> Option<String> {
        match (charset, collation) {
            (charset, Some(name)) if name.starts_with("uca1400") => Some(format!("{}_{name}", charset?)),
            (_, Some(collation)) => Some(collation.to_owned()),
            (Some(charset), None) => self.collation_of(charset),
            (None, None) => None,
        }
    }

    fn collation_of(&self, charset: &str) -> Option<String> {
        let renamed = match charset {
            "utf8" => "utf8mb3",
            "utf8mb3" => "utf8",
            other => other,
        };
        self.collations.get(charset).or_else(|| self.collations.get(renamed)).cloned()
    }
}

/// The character set of a collation.
fn charset_of(collation: &str) -> &str {
    collation.split('_').next().unwrap_or_default()
}

/// Names of columns and indexes are the same whatever their case.
fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

/// A column on its way.
struct Column {
    shape: ShapeColumn,
    /// Its name before the statement, if it was there.
    was: Option<String>,
    /// What keys know it by.
    id: usize,
}

struct State<'a> {
    habits: &'a Habits,
    columns: Vec<Column>,
    /// Ids of the key's columns.
    key: Vec<usize>,
    key_name: Option<String>,
    collation: Option<String>,
    zero_dates: ZeroDates,
    /// Unique indexes met in the statement: they become the key if there is no better one.
    uniques: Vec<(Option<String>, Vec<String>)>,
    next_id: usize,
    key_unsure: bool,
    cascades: bool,
}

impl<'a> State<'a> {
    fn of(shape: &Shape, habits: &'a Habits) -> Self {
        let column =
            |(id, column): (usize, &ShapeColumn)| Column { shape: column.clone(), was: Some(column.name.clone()), id };
        Self {
            habits,
            columns: shape.columns.iter().enumerate().map(column).collect(),
            key: shape.key.clone(),
            key_name: shape.key_name.clone(),
            collation: shape.collation.clone(),
            zero_dates: shape.zero_dates,
            uniques: Vec::new(),
            next_id: shape.columns.len(),
            key_unsure: false,
            cascades: false,
        }
    }

    /// The column that has a name now.
    fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| same_name(&c.shape.name, name))
    }

    /// The column that had a name before the statement; none if that is no mistake.
    fn find_old(&self, name: &str, if_exists: bool) -> Result<Option<usize>, String> {
        let found = self.columns.iter().position(|c| c.was.as_ref().is_some_and(|was| same_name(was, name)));
        if found.is_none() && !if_exists { Err(missing(name)) } else { Ok(found) }
    }

    fn apply(&mut self, alteration: &Alteration, stage: Stage) -> Result<(), String> {
        match (alteration, stage) {
            (Alteration::Add { column, place, if_not_exists }, Stage::NewColumns) => {
                self.add(column, place, *if_not_exists)?;
            }
            (Alteration::Drop { name, if_exists }, Stage::OldColumns) => {
                if let Some(at) = self.find_old(name, *if_exists)? {
                    self.drop_column(at);
                }
            }
            (Alteration::Change { old, column, if_exists, .. }, Stage::OldColumns) => {
                if let Some(at) = self.find_old(old, *if_exists)? {
                    self.change(at, column)?;
                }
            }
            (Alteration::Change { old, place: Some(place), .. }, Stage::NewColumns) => {
                if let Some(at) = self.find_old(old, true)? {
                    let column = self.columns.remove(at);
                    let to = self.place(place)?;
                    self.columns.insert(to, column);
                }
            }
            (Alteration::Rename { old, new, if_exists }, Stage::OldColumns) => {
                if let Some(at) = self.find_old(old, *if_exists)? {
                    self.columns[at].shape.name = new.clone();
                }
            }
            (Alteration::AddPrimary { columns }, Stage::NewKeys) => self.primary(columns)?,
            (Alteration::DropPrimary, Stage::OldKeys) if self.is_key("PRIMARY") => self.forget_key(),
            (Alteration::AddUnique { name, columns }, Stage::NewKeys) => {
                self.uniques.push((name.clone(), columns.clone()));
            }
            (Alteration::DropIndex { name }, Stage::OldKeys) if self.is_key(name) => self.forget_key(),
            (Alteration::RenameIndex { old, new }, Stage::OldIndexNames) if self.is_key(old) => {
                self.key_name = Some(new.clone());
                // Among several unique keys the first by name is taken.
                self.key_unsure = true;
            }
            (Alteration::Convert { charset, collation }, Stage::Conversion) => {
                self.convert(charset.as_deref(), collation.as_deref())?;
            }
            (Alteration::Defaults { charset, collation }, Stage::Defaults) => {
                if let Some(name) = self.habits.default_collation(charset.as_deref(), collation.as_deref()) {
                    self.collation = Some(name);
                }
            }
            (Alteration::Cascade, Stage::NewKeys) => self.cascades = true,
            _ => {}
        }
        Ok(())
    }

    fn is_key(&self, index: &str) -> bool {
        self.key_name.as_deref().is_some_and(|key| same_name(key, index))
    }

    fn forget_key(&mut self) {
        self.key.clear();
        self.key_name = None;
        self.key_unsure = true;
    }

    fn primary(&mut self, columns: &[String]) -> Result<(), String> {
        let places: Result<Vec<usize>, String> =
            columns.iter().map(|name| self.find(name).ok_or_else(|| missing(name))).collect();
        self.primary_of(&places?);
        Ok(())
    }

    fn primary_of(&mut self, places: &[usize]) {
        places.iter().for_each(|&at| self.columns[at].shape.nullable = false);
        self.key = places.iter().map(|&at| self.columns[at].id).collect();
        self.key_name = Some("PRIMARY".into());
        self.key_unsure = false;
    }

    fn place(&self, place: &ColumnPlace) -> Result<usize, String> {
        Ok(match place {
            ColumnPlace::First => 0,
            ColumnPlace::Last => self.columns.len(),
            ColumnPlace::After(name) => self.find(name).ok_or_else(|| missing(name))? + 1,
        })
    }

    fn add(&mut self, new: &NewColumn, place: &ColumnPlace, if_not_exists: bool) -> Result<(), String> {
        if self.find(&new.name).is_some() {
            return if if_not_exists { Ok(()) } else { Err(format!("there is a column {} already", new.name)) };
        }
        let at = self.place(place)?;
        let column = Column { shape: self.column(new)?, was: None, id: self.next_id };
        self.next_id += 1;
        self.columns.insert(at, column);
        self.keys_of(at, new);
        Ok(())
    }

    fn keys_of(&mut self, at: usize, new: &NewColumn) {
        self.cascades |= new.cascades;
        if new.primary {
            self.primary_of(&[at]);
        } else if new.unique {
            self.uniques.push((None, vec![new.name.clone()]));
        }
    }

    fn drop_column(&mut self, at: usize) {
        let gone = self.columns.remove(at);
        if self.key.contains(&gone.id) {
            self.key.retain(|id| *id != gone.id);
            self.key_unsure = true;
            if self.key.is_empty() {
                self.key_name = None;
            }
        }
    }

    fn change(&mut self, at: usize, new: &NewColumn) -> Result<(), String> {
        let mut column = self.column(new)?;
        if self.key.contains(&self.columns[at].id) {
            if self.key_name.as_deref() == Some("PRIMARY") {
                column.nullable = false;
            } else if column.nullable {
                self.forget_key();
            }
        }
        self.columns[at].shape = column;
        self.keys_of(at, new);
        Ok(())
    }

    /// The column as the catalog will have it.
    fn column(&self, new: &NewColumn) -> Result<ShapeColumn, String> {
        let untold = |why: String| format!("the type of column {} cannot be told: {why}", new.name);
        let collation = self.collation(new);
        let charset = collation.as_deref().map(charset_of).unwrap_or_default();
        let column_type = spelled(new, charset, &self.habits.reading).map_err(untold)?;
        let is_text = has_charset(&column_type);
        let is_json = new.column_type.base == "json" && is_text;
        let collation = match (is_text, is_json) {
            (false, _) => None,
            (true, true) => Some("utf8mb4_bin".to_owned()),
            (true, false) => Some(collation.ok_or_else(|| untold("its character set is not known".into()))?),
        };
        let by_default = new.column_type.base != "timestamp" || self.habits.explicit_timestamps;
        let column = ShapeColumn {
            name: new.name.clone(),
            column_type,
            charset: collation.as_deref().map(|c| charset_of(c).to_owned()),
            collation,
            nullable: new.nullable.unwrap_or(by_default) && !new.counts && !new.primary,
        };
        column.decoded().map_err(|error| untold(error.message().to_owned()))?;
        Ok(column)
    }

    /// The column's collation; none if a character set is written whose default is not known.
    fn collation(&self, new: &NewColumn) -> Option<String> {
        let collation = match (&new.charset, &new.collation) {
            (None, None) => self.collation.clone(),
            (None, Some(name)) if name.starts_with("uca1400") => {
                self.collation.as_deref().map(|table| format!("{}_{name}", charset_of(table)))
            }
            (charset, collation) => self.habits.default_collation(charset.as_deref(), collation.as_deref()),
        };
        match new.binary {
            true => collation.map(|name| format!("{}_bin", charset_of(&name))),
            false => collation,
        }
    }

    /// Only character columns are converted; a TEXT may become the next larger one, which the log's rows show.
    fn convert(&mut self, charset: Option<&str>, collation: Option<&str>) -> Result<(), String> {
        let written = self.habits.default_collation(charset, collation);
        let to = match charset {
            Some(_) => written,
            None => self.habits.database.clone(),
        };
        let to = to.ok_or("the character set to convert to is not known")?;
        if charset_of(&to) == "binary" {
            return Err("character columns become binary".into());
        }
        let charset = charset_of(&to);
        for column in self.columns.iter_mut().map(|c| &mut c.shape).filter(|c| c.charset.is_some()) {
            if widest(charset) > widest(column.charset.as_deref().unwrap_or_default()) {
                let grown = match column.column_type.as_str() {
                    "tinytext" => "text",
                    "text" => "mediumtext",
                    "mediumtext" => "longtext",
                    other => other,
                };
                column.column_type = grown.to_owned();
            }
            column.charset = Some(charset.to_owned());
            column.collation = Some(to.clone());
        }
        self.collation = Some(to);
        Ok(())
    }

    fn finish(mut self, id: TableId, version: u32) -> Result<Altered, String> {
        if self.key.is_empty() {
            self.take_unique();
        }
        let place = |id: &usize| self.columns.iter().position(|c| c.id == *id);
        let key = self.key.iter().filter_map(place).collect();
        if self.columns.is_empty() {
            return Err("no column is left".into());
        }
        let renamed = |column: &Column| {
            let was = column.was.clone().filter(|was| *was != column.shape.name)?;
            Some((was, column.shape.name.clone()))
        };
        let renamed = self.columns.iter().filter_map(renamed).collect();
        let shape = Shape {
            database: id.database.to_string(),
            table: id.table.to_string(),
            version,
            columns: self.columns.into_iter().map(|c| c.shape).collect(),
            key,
            key_name: self.key_name,
            collation: self.collation,
            zero_dates: self.zero_dates,
        };
        Ok(Altered { shape, renamed, key_unsure: self.key_unsure, cascades: self.cascades })
    }

    /// The first unique index by name over columns that are not NULL, as the catalog is read.
    fn take_unique(&mut self) {
        let name = |(name, columns): &(Option<String>, Vec<String>)| {
            let first = columns.first().cloned().unwrap_or_default();
            name.clone().unwrap_or(first)
        };
        let mut uniques: Vec<(String, Vec<String>)> =
            self.uniques.iter().map(|unique| (name(unique), unique.1.clone())).collect();
        uniques.sort();
        for (name, columns) in uniques {
            let found: Option<Vec<usize>> = columns.iter().map(|c| self.find(c)).collect();
            let Some(found) = found.filter(|f| !f.is_empty()) else { continue };
            if found.iter().all(|&at| !self.columns[at].shape.nullable) {
                self.key = found.iter().map(|&at| self.columns[at].id).collect();
                self.key_name = Some(name);
                return;
            }
        }
    }
}

fn missing(name: &str) -> String {
    format!("there is no column {name}")
}
