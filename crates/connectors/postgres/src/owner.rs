//! Whose a slot is that is there before a new pipeline begins: it is moved to the end of the log, and whoever else reads it would
//! miss what is before.

use crate::client::{Connection, quote};
use crate::config::{Config, StartupMode};
use crate::server::drop_statement;
use dujiang_core::{Code, Error, Result};

/// What the server knows of those who read from a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Readers {
    /// A subscription of one of this server's own databases that names it.
    subscription: Option<String>,
    /// Transactions that were read from it, since it was made or the server has crashed.
    transactions: u64,
    /// This pipeline may have read them, in a start that came to no checkpoint: its publication is there, or is not its own.
    ours: bool,
}

/// Whether a new pipeline may begin with the slot that is there. One of the pipeline's own name is its own; one that the user has
/// named may be somebody else's.
///
/// # Errors
/// `SlotForeign`; as [`Connection::execute`].
pub async fn check(connection: &mut Connection, config: &Config) -> Result<()> {
    if config.options.slot_name.is_none() || config.options.startup_mode == StartupMode::CommittedOffset {
        return Ok(());
    }
    readers(connection, config).await?.check(&config.slot)
}

async fn readers(connection: &mut Connection, config: &Config) -> Result<Readers> {
    let (slot, publication) = (quote::literal(&config.slot), quote::literal(&config.publication));
    let sql = format!(
        "SELECT (SELECT pg_catalog.min(pg_catalog.format('%s of the database %s', s.subname, d.datname))
           FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE s.subslotname = {slot}),
         (SELECT coalesce(pg_catalog.max(r.total_txns), 0) FROM pg_catalog.pg_stat_replication_slots r WHERE r.slot_name = {slot}),
         EXISTS (SELECT 1 FROM pg_catalog.pg_publication p WHERE p.pubname = {publication})"
    );
    let rows = connection.simple(&sql).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "the server does not tell who reads a slot"))?;
    let ours = row.flag(2)? || !config.owns_publication();
    Ok(Readers { subscription: row.opt(0)?.map(str::to_owned), transactions: row.parse(1)?, ours })
}

impl Readers {
    fn check(&self, slot: &str) -> Result<()> {
        const MISSED: &str =
            "a new pipeline moves it to the end of the log, and whoever else reads it would miss what is before";
        let another = "give this pipeline a slot of its own: another `slot.name`, or none";
        if let Some(subscription) = &self.subscription {
            let message = format!("the replication slot `{slot}` is read by a subscription");
            return Err(Error::new(Code::SlotForeign, message)
                .fact("subscription", subscription.clone())
                .fact("why that matters", MISSED)
                .help(another));
        }
        if self.transactions == 0 || self.ours {
            return Ok(());
        }
        let statement = drop_statement(slot);
        let message = format!("the replication slot `{slot}` has been read by somebody else");
        Err(Error::new(Code::SlotForeign, message)
            .fact("transactions read from it", self.transactions.to_string())
            .fact("why that matters", MISSED)
            .help(format!("{another}; or, if nobody reads it any more, run {statement}"))
            .remedy_with_care(statement, "whoever reads from it cannot go on"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_of_somebody_else_is_left_alone() {
        let fresh = Readers { subscription: None, transactions: 0, ours: false };
        fresh.check("s").unwrap();
        Readers { transactions: 7, ours: true, ..fresh.clone() }.check("s").unwrap();
        let subscribed = Readers { subscription: Some("s of the database d".into()), ours: true, ..fresh.clone() };
        assert_eq!(subscribed.check("s").unwrap_err().code(), Code::SlotForeign);
        let error = Readers { transactions: 7, ..fresh }.check("s").unwrap_err();
        assert_eq!(error.code(), Code::SlotForeign);
        assert_eq!(error.remedies()[0].statement, "SELECT pg_drop_replication_slot('s')");
    }
}
