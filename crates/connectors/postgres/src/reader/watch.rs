//! Looks after what the stream does not tell: the publication, and the log that the slot holds back.

use crate::client::{Connection, Endpoint, Session, quote};
use crate::config::Config;
use crate::discovery::Facts;
use crate::{preflight, server};
use dujiang_core::{Code, Error, Result, TableId};
use std::sync::Arc;
use tokio::sync::mpsc;

/// From so many bytes of log on that the slot holds back, it is said why; and again whenever they have doubled.
const MUCH_LOG: u64 = 1 << 30;

/// A task that looks at the server from time to time; ends when dropped.
pub struct Watch {
    alarms: mpsc::Receiver<Error>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Begins to look every `heartbeat.interval`.
    pub fn start(config: Arc<Config>, facts: Facts, tables: Vec<TableId>) -> Self {
        let (sender, alarms) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut guard = Guard { config, facts, tables, told: MUCH_LOG / 2, danger: false };
            let mut connection = None;
            loop {
                tokio::time::sleep(guard.config.options.heartbeat_interval).await;
                match guard.look(&mut connection).await {
                    Ok(()) => {}
                    Err(error) if matches!(error.code(), Code::Publication | Code::TableGone) => {
                        // The reader is gone if this fails.
                        let _ = sender.send(error).await;
                        return;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the server cannot be looked at");
                        connection = None;
                    }
                }
            }
        });
        Self { alarms, task }
    }

    /// What halts the pipeline, if anything does.
    pub fn alarm(&mut self) -> Option<Error> {
        self.alarms.try_recv().ok()
    }
}

struct Guard {
    config: Arc<Config>,
    facts: Facts,
    tables: Vec<TableId>,
    /// Bytes of log that were told last.
    told: u64,
    /// Whether it was told that the slot is in danger.
    danger: bool,
}

impl Guard {
    async fn look(&mut self, connection: &mut Option<Connection>) -> Result<()> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(Connection::connect(&self.config.endpoint, Session::Ordinary).await?),
        };
        // The server passes over changes of tables that are not published, without a word.
        preflight::published(connection, &self.config, &self.facts, &self.tables).await?;
        self.slot(connection).await
    }

    async fn slot(&mut self, connection: &mut Connection) -> Result<()> {
        let name = &self.config.slot;
        let Some(slot) = server::slot(connection, name).await? else { return Ok(()) };
        let danger =
            slot.wal_status.as_deref() == Some("unreserved") || slot.safe_wal_size.is_some_and(|left| left <= 0);
        if danger && !self.danger {
            tracing::warn!(
                slot = %name,
                "the server is about to give the replication slot up: it holds back more of the log than \
                 max_slot_wal_keep_size allows"
            );
        }
        self.danger = danger;
        let sql = format!(
            "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint, s.safe_wal_size \
             FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {}",
            quote::literal(name)
        );
        let rows = connection.simple(&sql).await?;
        let held = rows.first().and_then(|row| row.parse::<u64>(0).ok()).unwrap_or(0);
        if held < MUCH_LOG {
            self.told = MUCH_LOG / 2;
        } else if held >= self.told.saturating_mul(2) {
            self.told = held;
            let oldest = server::oldest_transactions(connection).await?;
            let left = slot.safe_wal_size.map_or_else(|| "no limit".to_owned(), |left| format!("{left} bytes"));
            tracing::warn!(
                slot = %name,
                held_bytes = held,
                left = %left,
                "the replication slot holds back much of the server's log: the pipeline is behind, or transactions are open \
                 for long: {}",
                if oldest.is_empty() { "none".to_owned() } else { oldest.join("; ") }
            );
        }
        Ok(())
    }
}

/// Gives the server something to log: a commit of any kind writes all before it to disk.
pub fn nudge(endpoint: Endpoint) {
    tokio::spawn(async move {
        let Ok(mut connection) = Connection::connect(&endpoint, Session::Ordinary).await else { return };
        let nudge = "SELECT pg_catalog.pg_logical_emit_message(true, 'dujiang', '')";
        if let Err(error) = connection.execute(nudge).await {
            tracing::debug!(%error, "the server takes no message into its log");
        }
        connection.close().await;
    });
}
