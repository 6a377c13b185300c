//! The numbers of entries: what is written next, and what of it belongs to which epoch.

use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_core::sink::Milestone;
use dujiang_core::{TableId, TableSchema};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where entries stand, by topic and partition: the first offset, and the one behind the last.
pub type Ranges = BTreeMap<String, BTreeMap<i32, (i64, i64)>>;

/// The entries of an epoch, as its record tells them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Number of the first entry.
    pub from: u64,
    /// Number behind the last one.
    pub end: u64,
    /// Milestones among them, with their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub milestones: Vec<(u64, String)>,
    /// Changes of shapes among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<u64>,
    /// Where the others stand: in a log of several partitions.
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    pub topics: Ranges,
}

/// Shared by the writers and the committer of a log.
#[derive(Default)]
pub struct Entries(Mutex<State>);

#[derive(Default)]
struct State {
    /// Number of the next entry.
    next: u64,
    /// Behind the last epoch that was prepared, and the last one that was committed.
    cut: u64,
    committed: u64,
    milestones: VecDeque<(u64, Milestone)>,
    told: Vec<u64>,
    /// The change of a shape that was told last, and the number behind what had been numbered by then.
    told_last: Option<(SchemaChange, u64)>,
    /// The shape that each table has, and the entry that told it.
    shapes: HashMap<TableId, (u64, Arc<TableSchema>)>,
}

impl Entries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins behind what is committed.
    pub fn begin(&self, end: u64, shapes: HashMap<TableId, (u64, Arc<TableSchema>)>) {
        *self.state() = State { next: end, cut: end, committed: end, shapes, ..State::default() };
    }

    /// Numbers for so many entries; the first one.
    pub fn take(&self, count: u64) -> u64 {
        let mut state = self.state();
        state.next += count;
        state.next - count
    }

    /// Number of the next entry.
    pub fn next(&self) -> u64 {
        self.state().next
    }

    /// Numbers a milestone.
    pub fn mark(&self, milestone: Milestone) {
        let mut state = self.state();
        let number = state.next;
        state.milestones.push_back((number, milestone));
        state.next += 1;
    }

    /// The shapes of all tables, in the order in which they were told.
    pub fn shapes(&self) -> Vec<(u64, Arc<TableSchema>)> {
        let mut shapes: Vec<_> = self.state().shapes.values().cloned().collect();
        shapes.sort_unstable_by_key(|(number, _)| *number);
        shapes
    }

    /// The shape of a table, with the entry that told it.
    pub fn shape(&self, table: &TableId) -> Option<(u64, Arc<TableSchema>)> {
        self.state().shapes.get(table).cloned()
    }

    /// Remembers a change of a shape that entry `number` tells.
    pub fn told(&self, number: u64, change: &SchemaChange) {
        let mut state = self.state();
        state.told.push(number);
        state.shapes.insert(change.after.id.clone(), (number, change.after.clone()));
        state.told_last = Some((change.clone(), state.next));
    }

    /// Whether the log knows a change already: one comes again when telling it has failed halfway.
    pub fn is_told(&self, change: &SchemaChange) -> bool {
        let state = self.state();
        match change.ddl {
            Ddl::Columns { .. } => state.shapes.get(&change.after.id).is_some_and(|(_, known)| *known == change.after),
            _ => state.told_last.as_ref().is_some_and(|(last, next)| last == change && state.next == *next),
        }
    }

    /// Ends an epoch: the number behind its last entry, if it has any.
    pub fn cut(&self) -> Option<u64> {
        let mut state = self.state();
        let new = state.next > state.cut;
        state.cut = state.next;
        new.then_some(state.next)
    }

    /// What the record of an epoch that ends before `end` says.
    pub fn part(&self, end: u64, topics: Ranges) -> Part {
        let state = self.state();
        let end = end.max(state.committed);
        let reached = state.milestones.iter().filter(|(number, _)| *number < end);
        let milestones = reached.map(|(number, milestone)| (*number, milestone.name().to_owned())).collect();
        let shapes = state.told.iter().copied().filter(|number| *number < end).collect();
        Part { from: state.committed, end, milestones, shapes, topics }
    }

    /// The epoch that ends before `end` is visible.
    pub fn committed(&self, end: u64) {
        let mut state = self.state();
        state.committed = state.committed.max(end);
        let committed = state.committed;
        state.milestones.retain(|(number, _)| *number >= committed);
        state.told.retain(|number| *number >= committed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_what_was_numbered_before_its_cut() {
        let entries = Entries::default();
        entries.begin(10, HashMap::new());
        assert_eq!(entries.cut(), None, "nothing was written");
        assert_eq!(entries.take(3), 10);
        entries.mark(Milestone::SnapshotDone);
        let end = entries.cut().unwrap();
        entries.mark(Milestone::CaughtUp);
        let part = entries.part(end, Ranges::new());
        assert_eq!((part.from, part.end, part.milestones), (10, 14, vec![(13, "snapshot-done".to_owned())]));
        entries.committed(end);
        let part = entries.part(entries.cut().unwrap(), Ranges::new());
        assert_eq!((part.from, part.end, part.milestones), (14, 15, vec![(14, "caught-up".to_owned())]));
    }

    #[test]
    fn a_change_of_a_shape_that_comes_again_is_known() {
        let entries = Entries::default();
        let shape = TableSchema::by_value(TableId::new("shop", "orders"), vec![], vec![]);
        let first = SchemaChange::of_shapes(None, &shape);
        assert!(!entries.is_told(&first));
        entries.told(entries.take(1), &first);
        assert!(entries.is_told(&first));
        let emptied = SchemaChange { ddl: Ddl::Truncate, ..first.clone() };
        assert!(!entries.is_told(&emptied));
        entries.told(entries.take(1), &emptied);
        assert!(entries.is_told(&emptied));
        entries.take(1);
        assert!(!entries.is_told(&emptied), "rows lie between: it is another one");
        assert!(entries.is_told(&first));
    }
}
