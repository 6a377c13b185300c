//! What a writer knows of the rows it owns, and how it takes a transaction back.

/// A row with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The chain's number; also the key, or a part of it, in tables where that part never changes.
    pub chain: u64,
    /// The part of the key that changes; not used in `children`.
    pub name: String,
    /// Version of the row, or of its last image when it does not live.
    pub version: u64,
    /// Whether the row is there.
    pub lives: bool,
}

/// The rows of one table that belong to one writer.
#[derive(Debug, Default)]
pub(super) struct Owned {
    entries: Vec<Entry>,
    /// What the open transaction has changed, oldest first; `None` for a new entry.
    undo: Vec<(usize, Option<Entry>)>,
}

impl Owned {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self { entries, undo: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, index: usize) -> &Entry {
        &self.entries[index]
    }

    /// Changes an entry within the open transaction.
    pub(super) fn change(&mut self, index: usize, change: impl FnOnce(&mut Entry)) -> Entry {
        self.undo.push((index, Some(self.entries[index].clone())));
        change(&mut self.entries[index]);
        self.entries[index].clone()
    }

    /// Adds an entry within the open transaction.
    pub(super) fn add(&mut self, entry: Entry) {
        self.undo.push((self.entries.len(), None));
        self.entries.push(entry);
    }

    /// A place to come back to within the open transaction.
    pub(super) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back everything since `mark`.
    pub(super) fn roll_back(&mut self, mark: usize) {
        for (index, before) in self.undo.drain(mark..).rev() {
            match before {
                Some(entry) => self.entries[index] = entry,
                None => self.entries.truncate(index),
            }
        }
    }

    pub(super) fn commit(&mut self) {
        self.undo.clear();
    }

    /// The outcome is unknown: nothing touched by the open transaction is used again.
    pub(super) fn forget(&mut self) {
        let mut touched: Vec<usize> = self.undo.drain(..).map(|(index, _)| index).collect();
        touched.sort_unstable();
        touched.dedup();
        for index in touched.into_iter().rev() {
            self.entries.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(chain: u64) -> Entry {
        Entry { chain, name: String::new(), version: 1, lives: true }
    }

    #[test]
    fn a_transaction_is_taken_back_to_its_mark() {
        let mut owned = Owned::new(vec![entry(1), entry(2)]);
        owned.change(0, |e| e.version = 2);
        let mark = owned.mark();
        owned.change(0, |e| e.version = 3);
        owned.add(entry(3));
        owned.roll_back(mark);
        assert_eq!((owned.len(), owned.get(0).version), (2, 2));
        owned.roll_back(0);
        assert_eq!(owned.get(0).version, 1);
    }

    #[test]
    fn what_an_unknown_transaction_touched_is_forgotten() {
        let mut owned = Owned::new(vec![entry(1), entry(2), entry(3)]);
        owned.change(1, |e| e.version = 2);
        owned.change(1, |e| e.version = 3);
        owned.add(entry(4));
        owned.forget();
        let mut left: Vec<u64> = (0..owned.len()).map(|i| owned.get(i).chain).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 3]);
    }
}
