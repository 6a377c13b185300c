//! What a statement makes of the captured tables. Pure: what it cannot tell it says so, and others ask the server.

use super::alter::Alteration;
use super::create::Origin;
use super::model::{self, Altered, Habits};
use super::statement::Action;
use crate::shape::Shape;
use dujiang_core::{Result, TableId};
use std::collections::BTreeMap;

/// What is known of tables before the statement.
pub trait Known {
    /// A written name as the server spells it.
    fn spelled(&self, written: &TableId) -> TableId;
    /// The shape of a captured table.
    fn captured(&self, table: &TableId) -> Option<&Shape>;
    /// Why the present shape of a captured table is not known, if it is not.
    fn riddle(&self, table: &TableId) -> Option<&str>;
    /// The shape of a table that is not captured, but may take the place of one that is.
    fn shadow(&self, table: &TableId) -> Option<&Shape>;
    /// All tables of a database of which a shape is known.
    fn of_database(&self, database: &str) -> Vec<TableId>;
    /// Whether a table of this name would be captured if it appeared now.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    fn is_wanted(&self, table: &TableId) -> Result<bool>;
    /// Whether a table of the first name is the second one's copy in the making by a tool for online schema changes, and
    /// such tools are followed.
    fn is_ghost_of(&self, ghost: &TableId, table: &TableId) -> bool;
    /// Whether its name is that of a copy in the making of any captured table, and such tools are followed.
    fn is_ghost(&self, table: &TableId) -> bool;
}

/// What becomes of one captured name.
#[derive(Debug, Clone, PartialEq)]
pub struct Fate {
    /// The name.
    pub table: TableId,
    /// What becomes of it.
    pub after: After,
}

/// A table after a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum After {
    /// It is gone, or not captured any more.
    Gone,
    /// It is the same table.
    Kept {
        /// Its shape.
        shape: Told,
        /// All its rows were removed.
        truncated: bool,
    },
    /// Another table bears its name.
    Replaced {
        /// The other's shape.
        shape: Told,
        /// It holds no rows.
        empty: bool,
        /// It holds the same rows.
        same_rows: bool,
    },
    /// It was not there, or not captured.
    New {
        /// Its shape.
        shape: Told,
        /// It holds no rows.
        empty: bool,
    },
}

/// A shape, or for people why it cannot be told.
pub type Told = std::result::Result<Altered, String>;

/// What a statement makes of the captured tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// By name; names of which nothing changes are not here.
    pub fates: Vec<Fate>,
    /// Shapes of tables that are not captured; `None` to forget one.
    pub shadows: Vec<(TableId, Option<Shape>)>,
    /// A captured table whose rows come or go without being logged, and how.
    pub unlogged: Option<(TableId, String)>,
}

impl Plan {
    /// Whether nothing changes.
    pub fn is_nothing(&self) -> bool {
        self.fates.is_empty() && self.shadows.is_empty() && self.unlogged.is_none()
    }
}

/// Works out what a statement does.
///
/// # Errors
/// `PatternTooCostly`.
pub fn plan(actions: &[Action], known: &dyn Known, habits: &Habits) -> Result<Plan> {
    let mut world = World { known, habits, names: BTreeMap::new(), plan: Plan::default() };
    for action in actions {
        world.act(action)?;
    }
    world.finish()
}

/// Who bears a name while the statement is carried out.
#[derive(Debug, Clone)]
struct Holder {
    /// The captured table that it was before.
    origin: Option<TableId>,
    /// The name under which it came to this one.
    came_from: Option<TableId>,
    shape: std::result::Result<Shape, String>,
    renamed: Vec<(String, String)>,
    key_unsure: bool,
    cascades: bool,
    truncated: bool,
    /// It was made by this statement, with certainty.
    fresh: bool,
}

impl Holder {
    fn of(shape: std::result::Result<Shape, String>) -> Self {
        Self {
            origin: None,
            came_from: None,
            shape,
            renamed: Vec::new(),
            key_unsure: false,
            cascades: false,
            truncated: false,
            fresh: false,
        }
    }

    fn told(&self, table: &TableId) -> Told {
        let shape = self.shape.clone()?;
        let shape = Shape { database: table.database.to_string(), table: table.table.to_string(), ..shape };
        let (key_unsure, cascades) = (self.key_unsure, self.cascades);
        Ok(Altered { shape, renamed: self.renamed.clone(), key_unsure, cascades })
    }
}

struct World<'a> {
    known: &'a dyn Known,
    habits: &'a Habits,
    /// Names met so far; `None` for a name that nobody bears, or nobody of whom anything is known.
    names: BTreeMap<TableId, Option<Holder>>,
    plan: Plan,
}

impl World<'_> {
    fn get(&self, table: &TableId) -> Option<Holder> {
        if let Some(holder) = self.names.get(table) {
            return holder.clone();
        }
        let of = |shape: &Shape, origin: Option<&TableId>| Holder {
            origin: origin.cloned(),
            ..Holder::of(Ok(shape.clone()))
        };
        let captured = self.known.captured(table).map(|shape| {
            let holder = of(shape, Some(table));
            match self.known.riddle(table) {
                Some(why) => Holder { shape: Err(why.to_owned()), ..holder },
                None => holder,
            }
        });
        captured.or_else(|| self.known.shadow(table).map(|shape| of(shape, None)))
    }

    fn act(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::Create { table, origin, replaces, if_not_exists } => {
                let table = self.known.spelled(table);
                self.create(table, origin, *replaces, *if_not_exists)?;
            }
            Action::Alter { table, alterations, unclear } => {
                let table = self.known.spelled(table);
                self.alter(table, alterations, unclear.as_deref());
            }
            Action::Rename { from, to } => {
                let (from, to) = (self.known.spelled(from), self.known.spelled(to));
                let unknown = || Holder::of(Err("it was not captured under its name so far".into()));
                let mut holder = self.get(&from).unwrap_or_else(unknown);
                holder.came_from = Some(from.clone());
                self.names.insert(from, None);
                self.names.insert(to, Some(holder));
            }
            Action::Truncate { table } => {
                let table = self.known.spelled(table);
                if let Some(mut holder) = self.get(&table) {
                    holder.truncated = true;
                    self.names.insert(table, Some(holder));
                }
            }
            Action::Drop { table } => {
                let table = self.known.spelled(table);
                self.names.insert(table, None);
            }
            Action::DropDatabase { database } => {
                let gone = self.known.of_database(&database.database);
                self.names.extend(gone.into_iter().map(|table| (table, None)));
            }
            Action::Unlogged { table, what } => self.unlogged(self.known.spelled(table), what)?,
        }
        Ok(())
    }

    fn create(&mut self, table: TableId, origin: &Origin, replaces: bool, if_not_exists: bool) -> Result<()> {
        let there = self.get(&table);
        if if_not_exists && there.is_some() {
            return Ok(());
        }
        if there.is_none() && !self.known.is_wanted(&table)? && !self.known.is_ghost(&table) {
            return Ok(());
        }
        let mut holder = match origin {
            Origin::Defined(definition) => match model::create(&table, definition, self.habits) {
                Ok(made) => Holder { cascades: made.cascades, ..Holder::of(Ok(made.shape)) },
                Err(why) => Holder::of(Err(why)),
            },
            Origin::Like(database, other) => {
                let other = TableId::new(database.as_deref().unwrap_or(&table.database), other.as_str());
                match self.get(&self.known.spelled(&other)) {
                    Some(like) => Holder::of(like.shape),
                    None => Holder::of(Err(format!("the columns of {other} are not known"))),
                }
            }
            Origin::Unclear(what) => Holder::of(Err(format!("{what} is not understood"))),
        };
        // Met again after a restart in the midst of its transaction.
        let again = |there: &Holder| match (&there.shape, &holder.shape) {
            (Ok(old), Ok(new)) => old.is_like(new),
            _ => true,
        };
        if !replaces && there.as_ref().is_some_and(|there| there.origin.is_some() && again(there)) {
            return Ok(());
        }
        // With IF NOT EXISTS the table may have been there all the time.
        holder.fresh = !if_not_exists;
        self.names.insert(table, Some(holder));
        Ok(())
    }

    fn alter(&mut self, table: TableId, alterations: &[Alteration], unclear: Option<&str>) {
        let Some(mut holder) = self.get(&table) else { return };
        if let Ok(shape) = &holder.shape {
            let altered = match unclear {
                Some(part) => Err(format!("{part} is not understood")),
                None => model::alter(shape, alterations, self.habits),
            };
            holder.shape = altered.map(|altered| {
                // Two renames in one statement cannot chain: a name is used once.
                holder.renamed.extend(altered.renamed);
                holder.key_unsure |= altered.key_unsure;
                holder.cascades |= altered.cascades;
                altered.shape
            });
        }
        self.names.insert(table, Some(holder));
    }

    fn unlogged(&mut self, table: TableId, what: &str) -> Result<()> {
        match self.get(&table) {
            Some(holder) if holder.origin.is_some() => self.plan.unlogged = Some((table, what.to_owned())),
            None if self.known.is_wanted(&table)? && what.ends_with("CONVERT PARTITION") => {
                let holder = Holder::of(Err("it was a partition".into()));
                self.names.insert(table, Some(holder));
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Plan> {
        for (table, holder) in std::mem::take(&mut self.names) {
            let before = self.known.captured(&table);
            let after = match (before, holder) {
                (Some(_), None) => Some(After::Gone),
                (Some(before), Some(holder)) => self.of_captured(&table, before, &holder),
                (None, Some(holder)) if self.known.is_wanted(&table)? => {
                    let empty = holder.fresh || holder.truncated;
                    Some(After::New { shape: holder.told(&table), empty })
                }
                (None, holder) => {
                    self.shadow(table.clone(), holder);
                    None
                }
            };
            self.plan.fates.extend(after.map(|after| Fate { table, after }));
        }
        Ok(self.plan)
    }

    fn of_captured(&self, table: &TableId, before: &Shape, holder: &Holder) -> Option<After> {
        let (shape, truncated) = (holder.told(table), holder.truncated);
        if holder.origin.as_ref() != Some(table) {
            let came = holder.came_from.as_ref();
            let same_rows = came.is_some_and(|from| self.known.is_ghost_of(from, table));
            return Some(After::Replaced { shape, empty: holder.fresh || truncated, same_rows });
        }
        let same =
            |told: &Altered| told.shape == *before && !told.cascades && !told.key_unsure && told.renamed.is_empty();
        let nothing = !truncated && shape.as_ref().is_ok_and(same);
        (!nothing).then_some(After::Kept { shape, truncated })
    }

    /// Remembers what may take a captured table's place.
    fn shadow(&mut self, table: TableId, holder: Option<Holder>) {
        let shape = holder.filter(|_| self.known.is_ghost(&table)).and_then(|h| h.told(&table).ok());
        let shape = shape.map(|told| told.shape);
        if shape.is_some() || self.known.shadow(&table).is_some() {
            self.plan.shadows.push((table, shape));
        }
    }
}
