//! INV-8: in images, per table: read + copies = sunk + dead letters + filtered (+ in flight, which is zero when an
//! epoch ends). Counted where rows pass, compared at the end of every epoch.

use dujiang_core::{Code, Error, Result, TableId};
use std::collections::BTreeMap;

/// Images of one table in one epoch. Tables are counted under their name at the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Images {
    /// Handed out by the source.
    pub(crate) read: u64,
    /// Made by transforms, besides the one each image becomes.
    pub(crate) copies: u64,
    /// Dropped by transforms on purpose.
    pub(crate) filtered: u64,
    /// Sent to the dead letters.
    pub(crate) dead: u64,
    /// Accepted by a writer.
    pub(crate) sunk: u64,
}

impl Images {
    fn add(&mut self, other: Images) {
        self.read += other.read;
        self.copies += other.copies;
        self.filtered += other.filtered;
        self.dead += other.dead;
        self.sunk += other.sunk;
    }
}

/// The account of one epoch.
#[derive(Debug, Default)]
pub(crate) struct Ledger(BTreeMap<TableId, Images>);

impl Ledger {
    /// Adds to a table's account.
    pub(crate) fn count(&mut self, table: &TableId, images: Images) {
        match self.0.get_mut(table) {
            Some(account) => account.add(images),
            None => {
                self.0.insert(table.clone(), images);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: Ledger) {
        for (table, images) in other.0 {
            self.count(&table, images);
        }
    }

    /// Images dropped on purpose, of all tables.
    pub(crate) fn filtered(&self) -> u64 {
        self.0.values().map(|images| images.filtered).sum()
    }

    /// Whether every account is even.
    ///
    /// # Errors
    /// `Bug` for the first table whose images do not add up.
    pub(crate) fn check(&self) -> Result<()> {
        for (table, i) in &self.0 {
            if i.read + i.copies != i.sunk + i.dead + i.filtered {
                return Err(Error::new(Code::Bug, format!("images of {table} do not add up (INV-8)"))
                    .fact("account", format!("{i:?}"))
                    .help("nothing of this epoch is visible; please report this"));
            }
        }
        Ok(())
    }
}
