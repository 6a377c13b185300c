//! Which server this is and how it is set up.

use crate::client::{Connection, ServerFamily};
use dujiang_core::{Code, Error, Result};
use std::collections::HashMap;
use std::fmt;

/// The dialect a server speaks, found by what it knows.
pub type ServerFlavor = ServerFamily;

/// A server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// Reads `10.11.6-MariaDB-log` or `8.4.3`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().ok());
        Some(Self(numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Settings that decide whether and how changes can be read. A setting the server does not know is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerProfile {
    /// MySQL or MariaDB.
    pub flavor: ServerFlavor,
    /// Its version.
    pub version: Version,
    /// Its version, as it writes it.
    pub version_text: String,
    variables: HashMap<String, String>,
}

/// GTID sets are not among them: servers cut long values of this list.
const VARIABLES: &[&str] = &[
    "version",
    "log_bin",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_checksum",
    "binlog_expire_logs_seconds",
    "binlog_expire_logs_auto_purge",
    "expire_logs_days",
    "max_binlog_total_size",
    "binlog_space_limit",
    "gtid_mode",
    "enforce_gtid_consistency",
    "gtid_domain_id",
    "server_id",
    "server_uuid",
    "log_slave_updates",
    "log_replica_updates",
    "lower_case_table_names",
    "time_zone",
    "sql_mode",
    "system_time_zone",
    "max_allowed_packet",
    "wsrep_on",
];

impl ServerProfile {
    /// Asks the server.
    ///
    /// # Errors
    /// `ConnectionLost`, `SourceQuery`; `NotADatabase` when its version cannot be read.
    pub async fn read(connection: &mut Connection) -> Result<Self> {
        let names = crate::client::quote::text_list(VARIABLES.iter().copied());
        let rows = connection.query(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")).await?;
        let mut variables = HashMap::new();
        for row in rows.iter() {
            variables.insert(row.required(0)?.to_ascii_lowercase(), row.text(1)?.unwrap_or_default().to_owned());
        }
        let version_text = variables.get("version").cloned().unwrap_or_else(|| connection.server().version.clone());
        let version = Version::parse(&version_text).ok_or_else(|| {
            Error::new(Code::NotADatabase, format!("the version of {} cannot be read", connection.address()))
                .fact("found", version_text.clone())
                .help("see whether a proxy changes what the server says")
        })?;
        // The version text can be set at will; only MariaDB has GTID domains.
        let flavor = match connection.server().family {
            ServerFlavor::OceanBase => ServerFlavor::OceanBase,
            _ if variables.contains_key("gtid_domain_id") => ServerFlavor::MariaDb,
            _ => ServerFlavor::MySql,
        };
        Ok(Self { flavor, version, version_text, variables })
    }

    /// A global variable; empty when the server does not know it.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// Whether a global variable is on.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.variable(name).to_ascii_uppercase().as_str(), "ON" | "1" | "TRUE" | "YES")
    }

    /// `MariaDB 10.11.6` or `MySQL 8.4.3`.
    pub fn name(&self) -> String {
        let family = match self.flavor {
            ServerFlavor::MariaDb => "MariaDB",
            ServerFlavor::MySql => "MySQL",
            // The number is that of the MySQL it stands for.
            ServerFlavor::OceanBase => return format!("OceanBase ({})", self.version_text),
        };
        format!("{family} {}", self.version)
    }

    /// Whether this is MariaDB from that version on.
    pub fn mariadb_since(&self, version: Version) -> bool {
        self.flavor == ServerFlavor::MariaDb && self.version >= version
    }

    /// Whether this is MySQL from that version on.
    pub fn mysql_since(&self, version: Version) -> bool {
        self.flavor == ServerFlavor::MySql && self.version >= version
    }

    /// Whether rows that foreign keys change are in the log: OceanBase's has everything that the storage does, MySQL logs them
    /// from 9.6 on.
    pub fn logs_cascades(&self) -> bool {
        self.flavor == ServerFlavor::OceanBase || self.mysql_since(Version(9, 6, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let cases = [
            ("10.11.6-MariaDB-0+deb12u1-log", Some(Version(10, 11, 6))),
            ("8.4.3", Some(Version(8, 4, 3))),
            ("9.6", Some(Version(9, 6, 0))),
            ("5.7.44-48-log", Some(Version(5, 7, 44))),
            ("8.0.mysql_aurora.3", Some(Version(8, 0, 0))),
            ("unknown", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Version::parse(text), expected, "{text}");
        }
        assert!(Version(10, 5, 0) < Version(10, 11, 6));
    }

    #[test]
    fn servers_that_log_what_foreign_keys_change_are_told_from_others() {
        let logs = |flavor, version| {
            let variables = HashMap::new();
            ServerProfile { flavor, version, version_text: version.to_string(), variables }.logs_cascades()
        };
        assert!(logs(ServerFlavor::OceanBase, Version(5, 7, 35)));
        assert!(logs(ServerFlavor::MySql, Version(9, 6, 0)));
        assert!(!logs(ServerFlavor::MySql, Version(9, 5, 0)));
        assert!(!logs(ServerFlavor::MariaDb, Version(12, 0, 0)));
    }
}
