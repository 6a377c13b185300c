//! The messages of the output plugin `pgoutput`, read without copying. Pure.
//!
//! Layouts: <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>.

mod message;
mod relation;
mod tuple;

pub use message::{Finished, Message, OldKind, Prepared};
pub use relation::{Identity, Relation, RelationColumn};
pub use tuple::{Cell, Cells, Tuple};
