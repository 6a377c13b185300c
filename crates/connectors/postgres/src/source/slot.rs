//! The slot that the stream reads: the one that is there, or one that is made.

use super::PostgresSource;
use crate::client::Connection;
use crate::config::StartupMode;
use crate::lsn::Lsn;
use crate::owner;
use crate::server::{self, Since, Slot};
use crate::snapshot::current_view;
use dujiang_core::{Code, Error, Result};
use std::time::Duration;

/// How long a slot may take to be made before it is said what it waits for (F18).
const SLOT_PATIENCE: Duration = Duration::from_secs(3);

/// How long a slot that is in use is waited for; `wal_sender_timeout` is a minute where nobody has changed it.
const ZOMBIE_PATIENCE: Duration = Duration::from_secs(70);

impl PostgresSource {
    /// The slot that is there, if it can be begun with. Asked before anything is made.
    pub(super) async fn slot_that_is_there(&self, side: &mut Connection) -> Result<Option<Slot>> {
        let config = &self.config;
        let name = &config.slot;
        let Some(slot) = self.whole_slot(side).await? else {
            if config.options.startup_mode == StartupMode::CommittedOffset {
                return Err(Error::new(Code::SlotLost, format!("there is no replication slot `{name}`")).help(
                    "`scan.startup.mode: committed-offset` goes on from a slot that is there: name it with `slot.name`, or \
                     begin with `initial` or `latest-offset`",
                ));
            }
            return Ok(None);
        };
        server::is_usable(&slot, name, &config.endpoint.database)?;
        let Some(reason) = slot.lost() else {
            owner::check(side, config).await?;
            return Ok(Some(slot));
        };
        Err(Error::new(Code::SlotInvalid, format!("the server has invalidated the replication slot `{name}`"))
            .fact("reason", reason.to_owned())
            .help(format!("run {}", server::drop_statement(name))))
    }

    /// The place from which on the slot sends everything; it is made if it is not there.
    pub(super) async fn slot(
        &self,
        replication: &mut Connection,
        side: &mut Connection,
        there: Option<Slot>,
        published_now: bool,
    ) -> Result<Lsn> {
        let config = &self.config;
        if let Some(slot) = there {
            if config.options.startup_mode == StartupMode::CommittedOffset {
                return slot.confirmed()?.ok_or_else(|| Error::new(Code::Protocol, "the slot has no place"));
            }
            // Changes of before are of no use to a new pipeline.
            let since = if published_now { Since::Now } else { Since::Its(&config.publication) };
            self.outlast(side, &slot, since).await?;
            replayed_ends(side).await?;
            let advanced = self.advance(side).await?;
            if config.options.slot_name.is_some() {
                tracing::warn!(
                    slot = %config.slot,
                    from = %slot.confirmed_flush_lsn.as_deref().unwrap_or("its beginning"),
                    to = %advanced,
                    "the replication slot was there, and was moved to the end of the log: whoever else has read from it misses what \
                     lies between"
                );
            }
            return Ok(advanced);
        }
        let making = server::create_slot(replication, &config.slot, &config.endpoint.user);
        tokio::pin!(making);
        loop {
            match tokio::time::timeout(SLOT_PATIENCE, &mut making).await {
                Ok(made) => return made,
                Err(_) => self.tell_what_is_waited_for(side).await,
            }
        }
    }

    /// The slot, if it is there. One that a start before this one has begun to make is still made by the server: it becomes whole, or
    /// goes with the session that was left behind, and that is waited for (F18).
    async fn whole_slot(&self, side: &mut Connection) -> Result<Option<Slot>> {
        let mut told = std::time::Instant::now();
        loop {
            let slot = server::slot(side, &self.config.slot).await?;
            if !slot.as_ref().is_some_and(Slot::is_being_made) {
                return Ok(slot);
            }
            self.wait_a_moment(side, &mut told).await;
        }
    }

    /// Waits for the transactions that have written before the publication was what it is: the server decodes their changes with
    /// the catalog of then, and the slot has to begin behind them. (The server does the same when it makes a slot.)
    async fn outlast(&self, side: &mut Connection, slot: &Slot, publication: Since<'_>) -> Result<()> {
        let mut before = server::writing(side, slot, publication).await?;
        let mut told = std::time::Instant::now();
        while !before.is_empty() {
            self.wait_a_moment(side, &mut told).await;
            let now = server::writing(side, slot, publication).await?;
            before.retain(|xid| now.contains(xid));
        }
        Ok(())
    }

    /// Says first what is waited for, if that was `told` long ago.
    async fn wait_a_moment(&self, side: &mut Connection, told: &mut std::time::Instant) {
        if told.elapsed() >= SLOT_PATIENCE {
            self.tell_what_is_waited_for(side).await;
            *told = std::time::Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn tell_what_is_waited_for(&self, side: &mut Connection) {
        if server::is_standby(side).await.unwrap_or(false) {
            tracing::warn!(
                slot = %self.config.slot,
                "the replication slot waits for the primary server to log which transactions are under way, and for those that \
                 write to end; an idle one does so on SELECT pg_log_standby_snapshot()"
            );
            return;
        }
        match server::oldest_transactions(side).await {
            Ok(oldest) => tracing::warn!(
                slot = %self.config.slot,
                "the replication slot waits for transactions that write: {}",
                oldest.join("; ")
            ),
            Err(error) => tracing::debug!(%error, "what the slot waits for cannot be asked"),
        }
    }

    /// Moves the slot to the end of the log. A session that died without a word holds it until the server notices (F19).
    async fn advance(&self, side: &mut Connection) -> Result<Lsn> {
        let mut told = false;
        let begun = std::time::Instant::now();
        loop {
            match server::advance_slot(side, &self.config.slot).await {
                Err(error) if error.code() == Code::SlotActive && begun.elapsed() < ZOMBIE_PATIENCE => {
                    if !std::mem::replace(&mut told, true) {
                        let error = server::with_holder(error, side, &self.config.slot).await;
                        tracing::warn!(%error, "the replication slot is waited for");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(server::with_holder(error, side, &self.config.slot).await),
                Ok(place) => return Ok(place),
            }
        }
    }
}

/// On a standby: waits until all transactions have ended that were under way. Its snapshots do not name them, and what they did before
/// the publication was made does not come in the stream.
async fn replayed_ends(side: &mut Connection) -> Result<()> {
    if !server::is_standby(side).await? {
        return Ok(());
    }
    let (begun, mut told) = (std::time::Instant::now(), false);
    let next = current_view(side).await?.next_xid();
    while current_view(side).await?.oldest() < next {
        if begun.elapsed() >= SLOT_PATIENCE && !std::mem::replace(&mut told, true) {
            tracing::warn!("the snapshot waits for transactions that write at the primary server");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
