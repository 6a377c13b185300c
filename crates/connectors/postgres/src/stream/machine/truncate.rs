//! Tables that are emptied.

use super::{Machine, Place, Step, outside, skip};
use crate::snapshot::TableVerdict;
use crate::stream::Tables;
use dujiang_core::{Code, Error, Result};

impl Machine {
    pub(super) fn truncate(&mut self, relations: &[u8], tables: &mut Tables) -> Result<Step> {
        let all = relations.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]));
        for relation in all.skip(self.truncated) {
            let at = match self.place(relation, tables)? {
                Place::Table(at) => at,
                Place::Other => {
                    self.truncated += 1;
                    continue;
                }
                Place::PassOver(at) => {
                    tables.count(at);
                    self.truncated += 1;
                    continue;
                }
                Place::Columns(at, relation) => return Ok(Step::Relation(at, relation)),
            };
            let Some(transaction) = &mut self.transaction else { return Err(outside()) };
            let skip = skip(self.resumed.as_ref(), transaction);
            let verdict = tables.judge_truncate(at, &transaction.rows_of(&skip))?;
            transaction.touch(at);
            match verdict {
                TableVerdict::Pass => return Ok(Step::Truncate(at)),
                TableVerdict::Wait => return Ok(Step::Wait(at)),
                TableVerdict::Drop => {
                    tables.count(at);
                    self.truncated += 1;
                    self.emptied.push(relation);
                }
                TableVerdict::Torn => {
                    let id = tables.get(at).id.to_string();
                    return Err(Error::new(
                        Code::SnapshotInterrupted,
                        format!("{id} was emptied while its snapshot was read"),
                    )
                    .fact("table", id)
                    .help("a part of the snapshot is of before and a part of after: start a new pipeline"));
                }
            }
        }
        self.truncated = 0;
        Ok(Step::Done)
    }

    /// The table is emptied; the message is to be shown again.
    pub fn truncated(&mut self, at: usize, tables: &mut Tables) {
        tables.count(at);
        self.truncated += 1;
        self.emptied.push(tables.get(at).shape.relation);
    }

    /// Tables that the stream has emptied since this was asked last, by their ids.
    pub fn emptied(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.emptied)
    }
}
