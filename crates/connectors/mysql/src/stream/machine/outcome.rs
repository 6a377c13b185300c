//! Transactions whose rows do not count where they are logged: distributed ones, and those that are rolled back.

use super::*;
use crate::decode::transaction::MariaDbGtidList;
use crate::position::Prepared;
use crate::torn::nothing_is_missing;

impl Machine {
    /// The transaction only prepares a distributed one, or, MySQL, may turn out to do so.
    pub(super) fn begin_distributed(&mut self, xid: String) -> Result<()> {
        let t = self.transaction.as_mut().ok_or_else(refusals::outside)?;
        t.explicit = true;
        if !t.known || self.undecided.misses(&t.id) {
            self.undecided.begin(&xid);
            t.rows = Use::Spool(xid);
        }
        Ok(())
    }

    /// XA PREPARE: the rows wait for their outcome. MySQL says only here that a transaction is committed in one phase.
    pub(super) fn xa_prepare(&mut self, xa: &XaPrepare<'_>, at: &At<'_>) -> Result<()> {
        let t = self.transaction.as_mut().ok_or_else(refusals::outside)?;
        let Use::Spool(xid) = &t.rows else { return self.commit(at.next) };
        let xid = xid.clone();
        if !xa.one_phase {
            self.undecided.prepared(&xid, &t.id, &t.begin, &self.executed);
            return self.commit(at.next);
        }
        self.hand_out(xid, at)
    }

    /// The rows of a distributed transaction count from here.
    pub(super) fn hand_out(&mut self, xid: String, at: &At<'_>) -> Result<()> {
        let t = self.transaction.as_mut().ok_or_else(refusals::outside)?;
        t.rows = Use::HandOut;
        self.table_ids.clear();
        self.nested = Some(Box::new(Nested::spooled(self.undecided.records(&xid)?, xid, at)));
        Ok(())
    }

    pub(super) fn xa_commit(
        &mut self,
        statement: &query::Statement<'_>,
        at: &At<'_>,
        tables: &mut Tables,
    ) -> Result<()> {
        if self.transaction.as_ref().is_some_and(|t| t.known) {
            return self.commit(at.next);
        }
        let xid = statement.xid();
        if self.undecided.was_committed(&xid) {
            tracing::warn!(xid, "the source logs the commit of a distributed transaction once more");
            return self.commit(at.next);
        }
        if !self.undecided.knows(&xid) {
            return Err(refusals::prepared_before(&xid));
        }
        if self.transaction.is_none() {
            // Servers without GTID events.
            self.begin(Gtid::None, at.begin.to_string(), at, (0, TimePrecision::Seconds), true, tables)?;
        }
        self.hand_out(xid, at)
    }

    pub(super) fn xa_rollback(&mut self, statement: &query::Statement<'_>, at: &At<'_>) -> Result<()> {
        if !self.transaction.as_ref().is_some_and(|t| t.known) {
            self.undecided.decided(&statement.xid());
        }
        self.commit(at.next)
    }

    /// The transaction was rolled back after it was logged. Its rows are taken back, unless it was so large that some are
    /// handed out already.
    pub(super) fn rolled_back(&mut self, tables: &mut Tables) -> Result<()> {
        let Some(t) = &mut self.transaction else { return Ok(()) };
        if let Use::Spool(xid) = &t.rows {
            self.undecided.torn(xid);
        }
        if !tables.take_back(t.serial, &t.touched, None) {
            return Err(refusals::rolled_back(&t.id));
        }
        t.touched.clear();
        Ok(())
    }

    /// A file of the log begins, perhaps the first one since the server has started.
    pub(super) fn file_begins(&mut self, format: &EventFormat, at: &At<'_>, tables: &mut Tables) -> Result<()> {
        if format.begins_a_run && !self.moved {
            self.undecided.server_started(at.begin.number());
        }
        self.no_open_transaction(tables)
    }

    /// The file ends in the middle of an event, since the server crashed: the next one follows.
    pub fn behind_torn_end(&mut self) {
        self.torn_end = true;
    }

    /// A file says what was committed before it. Behind a torn end that proves that nothing else was lost there (INV-6).
    pub(super) fn goes_on(&mut self, list: &MariaDbGtidList<'_>) -> Result<()> {
        if !std::mem::take(&mut self.torn_end) {
            return Ok(());
        }
        nothing_is_missing(&self.executed, list)
    }

    /// Distributed transactions without an outcome, for a position.
    pub fn prepared(&self) -> Vec<Prepared> {
        self.undecided.saved()
    }

    /// Distributed transactions that were committed last, for a position.
    pub fn committed(&self) -> Vec<String> {
        self.undecided.committed()
    }

    /// Whether the server has to be asked which prepared transactions it still has.
    pub fn are_prepared_in_question(&self) -> bool {
        self.undecided.are_in_question()
    }

    /// What the server has told of prepared transactions, if it tells, and then of the end of its log.
    pub fn told_prepared(&mut self, prepared: Option<&[String]>, end: &Place) {
        self.undecided.told(prepared, end);
        self.undecided.passed(&self.boundary);
    }

    pub(super) fn savepoint(&mut self, name: String, tables: &Tables) {
        let Some(t) = &mut self.transaction else { return };
        match &t.rows {
            Use::PassOver => {}
            Use::Spool(xid) => self.undecided.savepoint(xid, &name),
            Use::HandOut => {
                t.savepoints.retain(|(known, _)| *known != name);
                t.savepoints.push((name, tables.savepoint(t.serial, &t.touched)));
            }
        }
    }

    pub(super) fn rolled_back_to(&mut self, savepoint: &str, tables: &mut Tables) -> Result<()> {
        let Some(t) = &mut self.transaction else { return Ok(()) };
        let known = match &t.rows {
            Use::PassOver => true,
            Use::Spool(xid) => self.undecided.roll_back_to(xid, savepoint)?,
            Use::HandOut => match t.savepoints.iter().position(|(known, _)| known == savepoint) {
                Some(at) => {
                    t.savepoints.truncate(at + 1);
                    if !tables.take_back(t.serial, &t.touched, Some(&t.savepoints[at].1)) {
                        return Err(refusals::rolled_back(&t.id));
                    }
                    true
                }
                None => t.touched.is_empty(),
            },
        };
        if known { Ok(()) } else { Err(refusals::unknown_savepoint(savepoint)) }
    }
}
