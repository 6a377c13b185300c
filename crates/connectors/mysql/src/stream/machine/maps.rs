//! Whose rows come.

use super::*;

/// Rows that nothing known explains.
#[derive(Debug)]
pub enum Unfit {
    /// Of a captured table, in another shape.
    Mismatch {
        /// The table's number.
        table: usize,
        /// What the log says of it.
        map: OwnedTableMap,
        /// How it differs.
        error: Error,
    },
    /// Of a table that is to be captured and is not.
    New(TableId),
}

impl Machine {
    pub(super) fn table_map(
        &mut self,
        event: &Event<'_>,
        map: &TableMap<'_>,
        at: &At<'_>,
        tables: &mut Tables,
    ) -> Result<Step> {
        let rows = self.transaction.as_ref().map(|t| &t.rows);
        let begin = self.transaction.as_ref().map_or(at.begin, |t| &t.begin);
        let found = match (tables.whose(map.database, map.table, begin)?, rows) {
            (Whose::Captured(table), _) => Some(table),
            // What is not decided yet counts from its commit, which may come after the table has joined.
            (Whose::Others, Some(Use::Spool(_))) => tables.find(map.database, map.table),
            (Whose::Others, _) | (Whose::Wanted, Some(Use::PassOver)) => None,
            (Whose::Wanted, _) => {
                return Ok(Step::Unfit(Box::new(Unfit::New(TableId::new(map.database, map.table)))));
            }
        };
        if let Some(table) = found {
            match rows {
                Some(Use::PassOver) => {}
                Some(Use::Spool(xid)) => self.undecided.append(xid, event)?,
                Some(Use::HandOut) | None => {
                    if let Some(unfit) = fitted(table, map, tables)? {
                        return Ok(Step::Unfit(Box::new(unfit)));
                    }
                }
            }
        }
        self.table_ids.insert(map.table_id, found);
        Ok(Step::Done)
    }
}

/// Shows a table map to its table; what comes back does not fit it.
fn fitted(table: usize, map: &TableMap<'_>, tables: &mut Tables) -> Result<Option<Unfit>> {
    let Err(error) = tables.use_table_map(table, map) else { return Ok(None) };
    let error = error.fact("table", tables.get(table).id.to_string());
    match error.code() {
        Code::SchemaMismatch => Ok(Some(Unfit::Mismatch { table, map: OwnedTableMap::of(map), error })),
        _ => Err(error),
    }
}
