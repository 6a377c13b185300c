//! Everything that can be checked before the first row is read, without touching anything.
//!
//! The first kind of problem that stands in the way is reported, with everything it concerns and the statement that
//! mends it on this kind of server.

mod logged;
mod look;
mod privileges;
mod settings;
mod survey;
mod tables;

use crate::catalog::{ServerProfile, TableFilter};
use crate::client::Connection;
use crate::decode::ZeroDates;
use crate::shape::Shape;
use dujiang_core::{Error, Result, TableId};

pub(crate) use look::{Looked, look};
pub(crate) use privileges::{account, may_lock, replicas_statement};
pub(crate) use settings::{checksums, gtids, lasting, set};
pub use survey::survey;

/// Longest list of things in one error.
const LISTED: usize = 200;

/// What the pipeline asks of the server.
#[derive(Debug, Clone, Copy)]
pub struct Demands<'a> {
    /// Which tables.
    pub filter: &'a TableFilter,
    /// Whether tables may be captured whose rows change by cascading foreign keys.
    pub accept_cascades: bool,
    /// Our id among the server's replicas.
    pub server_id: u32,
    /// What becomes of dates that are none.
    pub zero_dates: ZeroDates,
    /// Where markers are to be written (OceanBase).
    pub marker_table: Option<&'a TableId>,
}

/// A server that can be captured from.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The server.
    pub server: ServerProfile,
    /// The captured tables in order of their names, with keys and columns that can be carried.
    pub tables: Vec<Shape>,
    /// What is no obstacle and should be known.
    pub warnings: Vec<String>,
}

/// Checks everything.
///
/// # Errors
/// `BinlogOff`, `BinlogFormat`, `BinlogRowImage`, `MissingPrivilege`, `UnknownDatabase`, `NoTable`, `NotSupported`,
/// `NoKey`, `CascadingKey`, `UnknownType`; `ConnectionLost`, `SourceQuery`.
pub async fn check(connection: &mut Connection, demands: Demands<'_>) -> Result<Checked> {
    let mut looked = look(connection, demands).await?;
    for (_, outcome) in std::mem::take(&mut looked.checks) {
        outcome?;
    }
    let warnings = looked.warnings(demands)?;
    Ok(Checked { server: looked.server, tables: looked.shapes, warnings })
}

/// Adds one fact per thing, as far as a person can read.
fn listed(mut error: Error, name: &'static str, things: impl ExactSizeIterator<Item = String>) -> Error {
    let more = things.len().saturating_sub(LISTED);
    for thing in things.take(LISTED) {
        error = error.fact(name, thing);
    }
    if more > 0 { error.fact(name, format!("and {more} more")) } else { error }
}
