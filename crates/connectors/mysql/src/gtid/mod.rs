//! Global transaction ids of both families, and sets of them.
//!
//! MariaDB names a place by the last transaction of every replication domain; MySQL names it by the set of all
//! transactions executed. Neither is ever compared as text (F34, R6).

mod mariadb;
mod mysql;

pub use mariadb::{MariaGtid, MariaPosition};
pub use mysql::{GtidSet, Sid};

use std::fmt;

/// What of the log has been read, in global transaction ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// The server has no global transaction ids (MySQL with `gtid_mode=OFF`); file and offset are all there is.
    None,
    /// Last transaction per domain.
    MariaDb(MariaPosition),
    /// All transactions executed.
    MySql(GtidSet),
}

impl Executed {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        match self {
            Executed::None => true,
            Executed::MariaDb(position) => position.is_empty(),
            Executed::MySql(set) => set.is_empty(),
        }
    }
}

impl fmt::Display for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Executed::None => Ok(()),
            Executed::MariaDb(position) => write!(f, "{position}"),
            Executed::MySql(set) => write!(f, "{set}"),
        }
    }
}
