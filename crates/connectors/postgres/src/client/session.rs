//! Kinds of sessions.

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// Queries.
    Ordinary,
    /// Queries of the simple kind, and the commands of logical replication.
    Replication,
}
