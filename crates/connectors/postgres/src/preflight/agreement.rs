//! Whether the publication is still the one that was agreed on. The server says nothing of changes that it passed over while a table
//! was taken out, or a kind of change or some rows were left out; that a publication was changed, and changed back, shows only in the
//! transactions that wrote its entries in the catalog.

use crate::catalog::{Imprint, Publishing, read};
use crate::client::Connection;
use crate::config::{Config, Gap};
use crate::discovery::Facts;
use dujiang_core::{Code, Error, Result, TableId};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The publication as it was when each table was taken in. It is kept in positions, so that what happens while the pipeline is off is
/// noticed at the next start.
#[derive(Clone)]
pub struct Agreement {
    imprint: Arc<Mutex<Imprint>>,
    on_change: Gap,
}

impl Agreement {
    /// What was agreed on when the position was written.
    pub fn new(imprint: Imprint, config: &Config) -> Self {
        Self { imprint: Arc::new(Mutex::new(imprint)), on_change: config.options.publication_changed }
    }

    /// For the next position.
    pub fn imprint(&self) -> Imprint {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Imprint> {
        self.imprint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Agrees on how tables are published that are taken in now: nothing was read of them before.
    ///
    /// # Errors
    /// What keeps from looking.
    pub async fn take_in(
        &self,
        connection: &mut Connection,
        config: &Config,
        facts: &Facts,
        tables: &[TableId],
    ) -> Result<()> {
        let now = read::publishing(connection, &config.publication, facts.database.version, tables).await?;
        let mut imprint = self.lock();
        for table in now {
            imprint.publication.get_or_insert(table.publication);
            imprint.tables.insert(table.oid, table.entries);
        }
        Ok(())
    }

    /// Looks whether these tables are published as they were all the time. A table that is looked at for the first time, of a position
    /// that an earlier version wrote, is taken as it is.
    ///
    /// # Errors
    /// `Publication`; what keeps from looking.
    pub async fn look(
        &self,
        connection: &mut Connection,
        config: &Config,
        facts: &Facts,
        tables: &[TableId],
    ) -> Result<()> {
        let now = read::publishing(connection, &config.publication, facts.database.version, tables).await?;
        if let Some(error) = changed(&config.publication, &self.imprint(), &now) {
            match self.on_change {
                Gap::Halt => return Err(error),
                Gap::PassOver => tracing::warn!("{}; it is passed over", error.message()),
            }
            *self.lock() = Imprint::default();
        }
        let mut imprint = self.lock();
        for table in now {
            imprint.publication.get_or_insert(table.publication);
            imprint.tables.entry(table.oid).or_insert(table.entries);
        }
        Ok(())
    }
}

/// What was changed, if anything was that may have left changes out.
fn changed(name: &str, then: &Imprint, now: &[Publishing]) -> Option<Error> {
    let itself = match (then.publication, now.first()) {
        (Some(then), Some(now)) if then.oid != now.publication.oid => Some("it was made anew"),
        (Some(then), Some(now)) if then != now.publication => Some("its options, its owner or its name"),
        _ => None,
    };
    let differs = |now: &&Publishing| then.tables.get(&now.oid).is_some_and(|then| !now.goes_on(then));
    let tables: Vec<String> = now.iter().filter(differs).map(|table| table.id().to_string()).collect();
    if itself.is_none() && tables.is_empty() {
        return None;
    }
    let mut error = Error::new(
        Code::Publication,
        format!("the publication `{name}` was changed, and may have left changes out meanwhile"),
    )
    .fact("publication", name.to_owned());
    if let Some(itself) = itself {
        error = error.fact("changed", itself);
    }
    if !tables.is_empty() {
        error = error.fact("tables", tables.join(", "));
    }
    Some(error.help(
        "what it left out cannot be read any more, also if it is as before again: start a new pipeline with a new snapshot; if nothing \
         was written meanwhile, or only its owner was changed, go on: set `publication.changed: pass-over`",
    ))
}
