//! A log that lags behind its database, as the snapshot needs it.

use crate::client::Connection;
use crate::gtid::GtidSet;
use crate::place::Place;
use crate::shape::Shape;
use async_trait::async_trait;
use dujiang_core::budget::Held;
use dujiang_core::{ChangeBatch, Result};

/// A log that shows transactions later than the database does.
#[async_trait]
pub trait LaggingLog: Send + Sync {
    /// What the log holds by now.
    ///
    /// # Errors
    /// `BinlogServiceOff`, `ConnectionLost`.
    async fn known(&self, connection: &mut Connection) -> Result<GtidSet>;

    /// Writes a marker, and reads the log from after `known` up to it.
    ///
    /// # Errors
    /// `MarkerTable`, `MarkerUnseen`, `WindowTooLarge`; `ConnectionLost`.
    async fn window(&self, known: &GtidSet, shape: &Shape) -> Result<Window>;

    /// A place behind everything that is committed now.
    ///
    /// # Errors
    /// As [`LaggingLog::window`].
    async fn end(&self, connection: &mut Connection) -> Result<Place>;
}

/// What the log holds of a table between two places.
pub struct Window {
    /// The marker's.
    pub point: Place,
    /// The table was altered in between: its changes before and after do not go together.
    pub altered: bool,
    /// The changes, in order.
    pub changes: Vec<ChangeBatch>,
    /// Their bytes.
    pub held: Held,
}
