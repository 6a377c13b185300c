//! Which schema changes reach the sink, and in what form: the dialect's five behaviours and its lists of events.
//!
//! Pure decisions over events; who applies them is the engine. What differs from the dialect: a change that would leave
//! the sink's key without values is refused by name.

use dujiang_core::evolution::{AddedColumn, AlteredColumn, ColumnPlace, SchemaEvent};
use dujiang_core::schema::TableSchema;
use dujiang_core::{Code, Error, Result};
use std::sync::Arc;

/// `pipeline.schema.change.behavior`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behavior {
    /// Every change is applied; one that the sink refuses stops the pipeline.
    Evolve,
    /// As evolve, but a change that the sink refuses is passed over.
    TryEvolve,
    /// Nothing is lost at the sink: new columns come last and may be NULL, dropped ones stay and may be NULL, a renamed one
    /// stays beside the new one.
    Lenient,
    /// Only new tables pass.
    Ignore,
    /// Every change stops the pipeline.
    Exception,
}

/// What a pipeline does about schema changes.
#[derive(Debug, Clone)]
pub struct Policy {
    behavior: Behavior,
    /// Tags that reach the sink.
    passing: Vec<String>,
}

impl Policy {
    /// A behaviour, and the tags of the events that may reach the sink.
    pub fn new(behavior: Behavior, passing: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { behavior, passing: passing.into_iter().map(Into::into).collect() }
    }

    /// A behaviour that holds back no event by its tag.
    pub fn all(behavior: Behavior) -> Self {
        Self::new(behavior, dujiang_core::evolution::TAGS.iter().copied())
    }

    /// Whether the pipeline goes on when the sink refuses a change.
    pub fn tolerates(&self, refusal: &Error) -> bool {
        self.behavior == Behavior::TryEvolve && matches!(refusal.code(), Code::SchemaChange | Code::NotSupported)
    }

    /// Whether events with this tag may reach the sink.
    pub fn passes(&self, tag: &str) -> bool {
        self.passing.iter().any(|passing| passing == tag)
    }

    /// Whether the sink's shape always holds the source's columns.
    pub(crate) fn follows_the_source(&self) -> bool {
        matches!(self.behavior, Behavior::Evolve | Behavior::Lenient)
            && self.passes("add.column")
            && self.passes("alter.column.type")
    }

    /// The events as they reach a table of the sink. `sink` is its shape, `after` the new shape of the source's table.
    ///
    /// # Errors
    /// `SchemaChange` when the behaviour forbids the change, or the change would take the key away.
    pub fn decide(
        &self,
        sink: &TableSchema,
        after: &TableSchema,
        events: Vec<SchemaEvent>,
    ) -> Result<Vec<SchemaEvent>> {
        let mut out = Vec::new();
        for event in events {
            match self.behavior {
                Behavior::Lenient => out.extend(lenient(sink, after, event)?),
                Behavior::Ignore if event != SchemaEvent::CreateTable => {}
                _ => out.push(event),
            }
        }
        out.retain(|event| self.passes(event.tag()));
        match out.iter().find(|event| **event != SchemaEvent::CreateTable) {
            Some(event) if self.behavior == Behavior::Exception => Err(forbidden(sink, event)),
            _ => Ok(out),
        }
    }
}

fn forbidden(sink: &TableSchema, event: &SchemaEvent) -> Error {
    let columns: Vec<&str> = match event {
        SchemaEvent::AddColumns(added) => added.iter().map(|column| column.field.name().as_str()).collect(),
        SchemaEvent::AlterTypes(altered) => altered.iter().map(|column| column.to.name().as_str()).collect(),
        SchemaEvent::RenameColumns(names) => names.iter().map(|(from, _)| from.as_str()).collect(),
        SchemaEvent::DropColumns(names) => names.iter().map(String::as_str).collect(),
        SchemaEvent::CreateTable | SchemaEvent::TruncateTable | SchemaEvent::DropTable => Vec::new(),
    };
    let mut error =
        Error::new(Code::SchemaChange, format!("a schema change of {} is not allowed: {}", sink.id, event.tag()));
    if !columns.is_empty() {
        error = error.fact("columns", columns.join(", "));
    }
    error
        .fact("option", "pipeline.schema.change.behavior: exception")
        .help(format!(
            "choose another `pipeline.schema.change.behavior`, or leave the event out with `exclude.schema.changes: {}` in the \
             sink, and start again",
            event.tag()
        ))
}

/// The lenient form of an event; none when nothing is left of it.
fn lenient(sink: &TableSchema, after: &TableSchema, event: SchemaEvent) -> Result<Vec<SchemaEvent>> {
    Ok(match event {
        SchemaEvent::AddColumns(added) => {
            vec![SchemaEvent::AddColumns(added.iter().map(|column| appended(&column.field)).collect())]
        }
        SchemaEvent::DropColumns(dropped) => {
            not_of_the_key(sink, &dropped, "dropped")?;
            made_nullable(sink, &dropped).into_iter().collect()
        }
        SchemaEvent::RenameColumns(renamed) => {
            let (old, new): (Vec<String>, Vec<String>) = renamed.into_iter().unzip();
            not_of_the_key(sink, &old, "renamed")?;
            let field = |name: &String| after.arrow.fields().find(name).map(|(_, field)| appended(field));
            let added = SchemaEvent::AddColumns(new.iter().filter_map(field).collect());
            std::iter::once(added).chain(made_nullable(sink, &old)).collect()
        }
        other => vec![other],
    })
}

fn appended(field: &arrow_schema::FieldRef) -> AddedColumn {
    AddedColumn { field: Arc::new(field.as_ref().clone().with_nullable(true)), place: ColumnPlace::Last }
}

fn made_nullable(sink: &TableSchema, names: &[String]) -> Option<SchemaEvent> {
    let strict = sink.arrow.fields().iter().filter(|f| names.contains(f.name()) && !f.is_nullable());
    let nullable = |from: &arrow_schema::FieldRef| AlteredColumn {
        from: from.clone(),
        to: Arc::new(from.as_ref().clone().with_nullable(true)),
    };
    let altered: Vec<AlteredColumn> = strict.map(nullable).collect();
    (!altered.is_empty()).then_some(SchemaEvent::AlterTypes(altered))
}

/// Rows without a value for the key could not be told apart.
fn not_of_the_key(sink: &TableSchema, names: &[String], what: &str) -> Result<()> {
    match sink.key_names().find(|key| names.iter().any(|name| name == key)) {
        None => Ok(()),
        Some(key) => Err(Error::new(Code::SchemaChange, format!("column `{key}` of {}'s key was {what}", sink.id))
            .fact("option", "pipeline.schema.change.behavior: lenient")
            .help("lenient keeps the old column, and its rows would have no key: use `evolve`")),
    }
}

#[cfg(test)]
mod tests;
