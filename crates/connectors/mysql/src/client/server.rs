//! What a server says of itself.

/// Which family's dialect a server speaks, as far as its greeting tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFamily {
    /// MySQL and everything that calls itself so.
    MySql,
    /// MariaDB.
    MariaDb,
    /// OceanBase in MySQL mode with its Binlog Service. Its greeting does not tell: the endpoint says so.
    OceanBase,
}

/// What a server says of itself when greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Version as greeted, without MariaDB's `5.5.5-` disguise: `10.11.11-MariaDB-0+deb12u1-log`, `8.4.3`.
    pub version: String,
    /// The family the version text tells.
    pub family: ServerFamily,
    /// Id of this session in the server's process list.
    pub connection_id: u32,
    /// Whether the session is encrypted.
    pub encrypted: bool,
}
