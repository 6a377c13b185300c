//! Schema changes as the dialect's events: what they are, how two shapes differ, what an event makes of a shape.

use crate::schema::{Ddl, SchemaChange, TableId, TableSchema};
use arrow_schema::{Field, FieldRef, Schema};
use std::sync::Arc;

/// One schema change event of the dialect, without its table.
#[derive(Debug, Clone, PartialEq)]
pub enum SchemaEvent {
    /// The table is new.
    CreateTable,
    /// Columns are new.
    AddColumns(Vec<AddedColumn>),
    /// Columns have another type or another nullability.
    AlterTypes(Vec<AlteredColumn>),
    /// (old name, new name).
    RenameColumns(Vec<(String, String)>),
    /// Columns are gone.
    DropColumns(Vec<String>),
    /// All rows are gone.
    TruncateTable,
    /// The table is gone.
    DropTable,
}

/// A new column and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct AddedColumn {
    /// The column.
    pub field: FieldRef,
    /// Where it stands.
    pub place: ColumnPlace,
}

/// Where a new column stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPlace {
    /// Before all others.
    First,
    /// After this one.
    After(String),
    /// After all others.
    Last,
}

/// A column with another type.
#[derive(Debug, Clone, PartialEq)]
pub struct AlteredColumn {
    /// The column before.
    pub from: FieldRef,
    /// The column after, under the same name.
    pub to: FieldRef,
}

/// Tags of the dialect, as in `include.schema.changes`. The last one has no event here: no source tells table comments.
pub const TAGS: &[&str] = &[
    "add.column",
    "alter.column.type",
    "create.table",
    "drop.column",
    "drop.table",
    "rename.column",
    "truncate.table",
    "alter.table.comment",
];

/// Families of tags: `add` stands for every tag that has the word `add`, `all` for every tag.
pub const FAMILIES: &[&str] = &["add", "alter", "create", "drop", "rename", "table", "column", "all"];

/// Whether a tag or family of the dialect covers a tag.
pub fn covers(selector: &str, tag: &str) -> bool {
    selector == tag || (FAMILIES.contains(&selector) && (selector == "all" || tag.split('.').any(|w| w == selector)))
}

impl SchemaEvent {
    /// The event's tag.
    pub fn tag(&self) -> &'static str {
        match self {
            SchemaEvent::AddColumns(_) => "add.column",
            SchemaEvent::AlterTypes(_) => "alter.column.type",
            SchemaEvent::CreateTable => "create.table",
            SchemaEvent::DropColumns(_) => "drop.column",
            SchemaEvent::DropTable => "drop.table",
            SchemaEvent::RenameColumns(_) => "rename.column",
            SchemaEvent::TruncateTable => "truncate.table",
        }
    }

    /// The events of a change, in the order in which they lead from the one shape to the other: renames, new columns, new
    /// types, dropped columns. A column that only moved makes no event.
    pub fn of_change(before: Option<&TableSchema>, after: &TableSchema, ddl: &Ddl) -> Vec<SchemaEvent> {
        let (before, renamed) = match (before, ddl) {
            (None, _) => return vec![SchemaEvent::CreateTable],
            (Some(_), Ddl::Truncate) => return vec![SchemaEvent::TruncateTable],
            (Some(_), Ddl::Drop) => return vec![SchemaEvent::DropTable],
            (Some(before), Ddl::Columns { renamed }) => (before, renamed),
        };
        let mut events = Vec::new();
        let renamed = visible_renames(before, after, renamed);
        let renamed_shape = rename(&before.arrow, &renamed);
        if !renamed.is_empty() {
            events.push(SchemaEvent::RenameColumns(renamed));
        }
        events.extend(differences(&renamed_shape, &after.arrow));
        events
    }

    /// The columns and key of a table after this event. A column to be added that is there, or to be dropped, renamed or
    /// altered that is not there, changes nothing: an event may come twice.
    #[must_use]
    pub fn apply_to(&self, table: &TableSchema) -> TableSchema {
        let mut columns: Vec<FieldRef> = table.arrow.fields().to_vec();
        let mut key: Vec<String> = table.key_names().map(str::to_owned).collect();
        match self {
            SchemaEvent::CreateTable | SchemaEvent::TruncateTable | SchemaEvent::DropTable => {}
            SchemaEvent::AddColumns(added) => added.iter().for_each(|column| insert(&mut columns, column)),
            SchemaEvent::AlterTypes(altered) => {
                for AlteredColumn { to, .. } in altered {
                    columns.iter_mut().filter(|c| c.name() == to.name()).for_each(|c| *c = to.clone());
                }
            }
            SchemaEvent::RenameColumns(renamed) => {
                columns = rename(&table.arrow, renamed).fields().to_vec();
                for name in &mut key {
                    if let Some((_, new)) = renamed.iter().find(|(old, _)| old == name) {
                        name.clone_from(new);
                    }
                }
            }
            SchemaEvent::DropColumns(dropped) => columns.retain(|c| !dropped.contains(c.name())),
        }
        let at = |name: &String| columns.iter().position(|c| c.name() == name);
        let key: Vec<usize> = key.iter().filter_map(at).collect();
        let arrow = Arc::new(Schema::new_with_metadata(columns, table.arrow.metadata().clone()));
        TableSchema { arrow, key, ..table.clone() }
    }
}

/// The events, other than renames, that lead from one shape to another.
pub fn differences(before: &Schema, after: &Schema) -> Vec<SchemaEvent> {
    let (mut added, mut altered) = (Vec::new(), Vec::new());
    let last_known = after.fields().iter().rposition(|f| before.field_with_name(f.name()).is_ok());
    for (at, to) in after.fields().iter().enumerate() {
        match before.fields().find(to.name()) {
            Some((_, from)) if same_type(from, to) => {}
            Some((_, from)) => altered.push(AlteredColumn { from: from.clone(), to: to.clone() }),
            None => {
                let place = match at.checked_sub(1) {
                    _ if last_known.is_some_and(|last| at > last) => ColumnPlace::Last,
                    None => ColumnPlace::First,
                    Some(previous) => ColumnPlace::After(after.field(previous).name().clone()),
                };
                added.push(AddedColumn { field: to.clone(), place });
            }
        }
    }
    let gone = before.fields().iter().filter(|f| after.field_with_name(f.name()).is_err());
    let dropped: Vec<String> = gone.map(|f| f.name().clone()).collect();
    let events = [SchemaEvent::AddColumns(added), SchemaEvent::AlterTypes(altered), SchemaEvent::DropColumns(dropped)];
    events.into_iter().filter(|event| !event.is_empty()).collect()
}

/// Whether two columns hold the same values under the same type name.
fn same_type(a: &Field, b: &Field) -> bool {
    a.data_type() == b.data_type() && a.is_nullable() == b.is_nullable() && a.metadata() == b.metadata()
}

impl SchemaEvent {
    fn is_empty(&self) -> bool {
        match self {
            SchemaEvent::AddColumns(columns) => columns.is_empty(),
            SchemaEvent::AlterTypes(columns) => columns.is_empty(),
            SchemaEvent::RenameColumns(columns) => columns.is_empty(),
            SchemaEvent::DropColumns(columns) => columns.is_empty(),
            SchemaEvent::CreateTable | SchemaEvent::TruncateTable | SchemaEvent::DropTable => false,
        }
    }
}

/// Renames of the source that both shapes show: a transform may have dropped or computed the column.
fn visible_renames(before: &TableSchema, after: &TableSchema, renamed: &[(String, String)]) -> Vec<(String, String)> {
    let has = |table: &TableSchema, name: &str| table.arrow.field_with_name(name).is_ok();
    let old_is_gone = |old: &str| !has(after, old) || renamed.iter().any(|(_, new)| new == old);
    let new_is_new = |new: &str| !has(before, new) || renamed.iter().any(|(old, _)| old == new);
    let visible =
        |(old, new): &&(String, String)| has(before, old) && has(after, new) && old_is_gone(old) && new_is_new(new);
    renamed.iter().filter(visible).cloned().collect()
}

fn rename(shape: &Schema, renamed: &[(String, String)]) -> Schema {
    let column = |field: &FieldRef| match renamed.iter().find(|(old, _)| old == field.name()) {
        Some((_, new)) => Arc::new(field.as_ref().clone().with_name(new)),
        None => field.clone(),
    };
    let columns: Vec<FieldRef> = shape.fields().iter().map(column).collect();
    Schema::new_with_metadata(columns, shape.metadata().clone())
}

fn insert(columns: &mut Vec<FieldRef>, added: &AddedColumn) {
    if columns.iter().any(|c| c.name() == added.field.name()) {
        return;
    }
    let at = match &added.place {
        ColumnPlace::First => 0,
        ColumnPlace::Last => columns.len(),
        ColumnPlace::After(name) => columns.iter().position(|c| c.name() == name).map_or(columns.len(), |at| at + 1),
    };
    columns.insert(at, added.field.clone());
}

/// One schema change as a sink is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkChange {
    /// The table's shape at the sink before; `None` for a new one.
    pub before: Option<Arc<TableSchema>>,
    /// Its shape after; for a dropped table its last one.
    pub after: Arc<TableSchema>,
    /// What leads from the one to the other.
    pub event: SchemaEvent,
}

impl SinkChange {
    /// The table at the sink.
    pub fn table(&self) -> &TableId {
        &self.after.id
    }

    /// The same as the source would tell it, for sinks that keep changes whole.
    pub fn as_told(&self) -> SchemaChange {
        let ddl = match &self.event {
            SchemaEvent::TruncateTable => Ddl::Truncate,
            SchemaEvent::DropTable => Ddl::Drop,
            _ => Ddl::default(),
        };
        SchemaChange { ddl, ..SchemaChange::of_shapes(self.before.as_ref(), &self.after) }
    }
}

#[cfg(test)]
mod tests;
