//! What became of a table behind a place of the log, looked up by a task of its own.
//!
//! Whoever polls the reader gives up for every barrier. Reading the log to its end can take longer than the time between
//! two barriers: looked up within the poll it would begin anew for ever.

use super::catalog::{changed_later, standing};
use super::*;
use crate::shape::Shape;
use dujiang_core::TableId;
use tokio::task::JoinHandle;

/// What the server says of a table, and whether that is of the place.
#[derive(Debug, Clone)]
pub(super) struct Later {
    /// The table's shape; none when it does not exist.
    pub catalog: Option<Shape>,
    /// The statement between the place and the end of the log that changed the table again, if there is one. The log was
    /// read after the catalog, so that a change in the catalog is in the log that was read.
    pub changed_by: Option<String>,
}

/// A question, and its answer once it is there.
pub(super) struct Lookup {
    table: TableId,
    after: Place,
    task: JoinHandle<Result<Later>>,
    answer: Option<Later>,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MysqlReader {
    /// What became of a table behind a place. **Cancel-safe**: the next call with the same place goes on waiting, and an
    /// answer is kept until what was met is dealt with.
    pub(super) async fn look_up(&mut self, table: &TableId, after: &Place) -> Result<Later> {
        self.lookups.retain(|lookup| lookup.after == *after);
        let asked = self.lookups.iter().position(|lookup| lookup.table == *table);
        let at = asked.unwrap_or_else(|| {
            let task = self.begin_lookup(table.clone(), after.clone());
            self.lookups.push(Lookup { table: table.clone(), after: after.clone(), task, answer: None });
            self.lookups.len() - 1
        });
        let lookup = &mut self.lookups[at];
        if let Some(answer) = &lookup.answer {
            return Ok(answer.clone());
        }
        let broken = |e| Error::new(Code::Bug, "looking up a table broke off").with_source(e);
        match (&mut lookup.task).await.map_err(broken).and_then(|answer| answer) {
            Ok(answer) => Ok(lookup.answer.insert(answer).clone()),
            Err(error) => {
                self.lookups.remove(at);
                Err(error)
            }
        }
    }

    fn begin_lookup(&self, table: TableId, after: Place) -> JoinHandle<Result<Later>> {
        let (config, resume) = (self.start.config.clone(), resume(&self.start));
        let names = *self.start.tables.names();
        tokio::spawn(async move {
            let mut connection = Connection::connect(&config.endpoint).await?;
            // Held, so that a statement that is being carried out is in the log or not in the catalog.
            let found = standing(&mut connection, &table, config.options.zero_dates).await?;
            let changed_by = changed_later(&config, &resume, &after, names, &table).await?;
            Ok(Later { catalog: found.map(|found| found.shape), changed_by })
        })
    }
}
