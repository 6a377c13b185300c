//! The nouns of Dujiang and the contracts between its parts.
//!
//! Everything here is data or a trait: no file, no socket, no clock, no random number. A source turns wire bytes into
//! [`ChangeBatch`]es, a sink turns batches into something durable, and the engine drives both through the traits of
//! [`source`], [`transform`], [`sink`] and [`checkpoint`].

#![warn(missing_docs)]

pub mod batch;
pub mod budget;
pub mod calendar;
pub mod cells;
pub mod checkpoint;
pub mod clock;
pub mod codes;
pub mod connector;
pub mod dead_letter;
pub mod dialect;
pub mod error;
pub mod evolution;
pub mod examine;
pub mod fault;
pub mod key;
pub mod options;
pub mod pattern;
pub mod position;
pub mod routing;
pub mod schema;
pub mod secret;
pub mod sink;
pub mod source;
pub mod span;
mod start;
pub mod text;
pub mod transform;

pub use batch::{ChangeBatch, Kind, Origin, OriginSpan, Origins, UnfitCell};
pub use checkpoint::{Checkpoint, CheckpointStore, Generation, Lineage, PipelineIdentity};
pub use codes::Code;
pub use error::{Error, Result, ResultExt};
pub use position::{Epoch, Position};
pub use schema::{TableId, TableSchema};
pub use secret::Secret;
pub use start::Start;
