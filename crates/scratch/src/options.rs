//! How a scratch server is set up.

use crate::binary::{Family, Kind};
use std::path::PathBuf;

/// Settings of a scratch server. The default is a server that Dujiang can capture from: binlog in ROW format with full
/// images and metadata, checksums, a server id.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which server; `None` takes the first of `mariadbd` and `mysqld` that the machine has.
    pub kind: Option<Kind>,
    /// The folder for everything the server writes; made if missing. `None`: a new folder under the system's folder for
    /// temporary files, removed when the server is dropped. A folder that is named here is never removed; one that
    /// already holds a data folder is started as it is.
    pub dir: Option<PathBuf>,
    /// The port; `None` takes a free one.
    pub port: Option<u16>,
    /// Whether to write a binlog.
    pub binlog: bool,
    /// `binlog_format`.
    pub binlog_format: &'static str,
    /// `binlog_row_image`.
    pub row_image: &'static str,
    /// `binlog_row_metadata`.
    pub row_metadata: &'static str,
    /// Whether binlog events carry CRC32 checksums.
    pub checksum: bool,
    /// `server_id`.
    pub server_id: u32,
    /// Whether the server logs GTIDs (MySQL; MariaDB always does).
    pub gtid: bool,
    /// InnoDB's buffer pool in MiB.
    pub buffer_pool_mb: u32,
    /// InnoDB's redo log in MiB; larger is faster under write load and slower to start.
    pub redo_log_mb: u32,
    /// More arguments, after all others, so that they win.
    pub args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: None,
            dir: None,
            port: None,
            binlog: true,
            binlog_format: "ROW",
            row_image: "FULL",
            row_metadata: "FULL",
            checksum: true,
            server_id: 1,
            gtid: true,
            buffer_pool_mb: 64,
            redo_log_mb: 32,
            args: Vec::new(),
        }
    }
}

impl Options {
    /// Adds an argument of the server, e.g. `--max-connections=20`; it wins over everything set here.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Names the server.
    #[must_use]
    pub fn on(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Loads the server's half of semi-synchronous replication and switches it on, so that a commit waits for a replica after
    /// its transaction is in the log and before its rows are visible (`AFTER_SYNC`). MySQL 5.7 of `cargo xtask servers` comes
    /// without the plugin.
    #[must_use]
    pub fn semi_sync(mut self, family: Family) -> Self {
        let wait = 3_600_000;
        self.args.extend(match family {
            Family::MariaDb => vec![
                "--rpl-semi-sync-master-enabled=ON".to_owned(),
                "--rpl-semi-sync-master-wait-point=AFTER_SYNC".to_owned(),
                format!("--rpl-semi-sync-master-timeout={wait}"),
            ],
            Family::MySql => vec![
                "--plugin-load-add=semisync_source.so".to_owned(),
                "--loose-rpl-semi-sync-source-enabled=ON".to_owned(),
                "--loose-rpl-semi-sync-source-wait-point=AFTER_SYNC".to_owned(),
                format!("--loose-rpl-semi-sync-source-timeout={wait}"),
            ],
        });
        self
    }

    /// Names the folder.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The arguments that do not depend on folder and port.
    pub(crate) fn arguments(&self, family: Family) -> Vec<String> {
        let mut args = common_arguments();
        args.push(format!("--innodb-buffer-pool-size={}M", self.buffer_pool_mb));
        args.push(format!("--server-id={}", self.server_id));
        args.extend(self.binlog_arguments(family));
        match family {
            Family::MariaDb => {
                args.push(format!("--innodb-log-file-size={}M", self.redo_log_mb));
                args.push("--innodb-flush-method=nosync".to_owned());
                args.push("--aria-pagecache-buffer-size=1M".to_owned());
            }
            Family::MySql => {
                args.push(format!("--loose-innodb-redo-log-capacity={}M", self.redo_log_mb.max(8)));
                args.push(format!("--loose-innodb-log-file-size={}M", (self.redo_log_mb / 2).max(4)));
                args.push("--loose-mysqlx=OFF".to_owned());
                args.push("--loose-explicit-defaults-for-timestamp=ON".to_owned());
                args.push("--innodb-flush-method=nosync".to_owned());
            }
        }
        args.extend(self.args.iter().cloned());
        args
    }

    fn binlog_arguments(&self, family: Family) -> Vec<String> {
        if !self.binlog {
            return vec!["--skip-log-bin".to_owned()];
        }
        let mut args = vec![
            "--log-bin=bin".to_owned(),
            format!("--binlog-format={}", self.binlog_format),
            format!("--binlog-row-image={}", self.row_image),
            format!("--loose-binlog-row-metadata={}", self.row_metadata),
            format!("--binlog-checksum={}", if self.checksum { "CRC32" } else { "NONE" }),
            "--sync-binlog=0".to_owned(),
        ];
        if family == Family::MySql {
            let mode = if self.gtid { "ON" } else { "OFF" };
            args.extend([format!("--gtid-mode={mode}"), format!("--enforce-gtid-consistency={mode}")]);
        }
        args
    }
}

/// A scratch server need not survive a power failure, and should start fast and stay small.
fn common_arguments() -> Vec<String> {
    [
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--performance-schema=0",
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-doublewrite=0",
        "--innodb-buffer-pool-dump-at-shutdown=0",
        "--innodb-buffer-pool-load-at-startup=0",
        "--key-buffer-size=1M",
        "--max-allowed-packet=1G",
        "--character-set-server=utf8mb4",
    ]
    .map(str::to_owned)
    .into()
}
