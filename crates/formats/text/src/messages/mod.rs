//! Changes as messages: a key, a value and headers for every change, as queues carry them, and back.
//!
//! An [`Encoder`] writes a run of rows into one reused buffer ([`Messages`]). What each format looks like, and how each type
//! looks in it, stands in `docs/reference/message-formats.md`.

mod canal;
mod cells;
mod debezium;
mod encode;
mod images;
mod key;
mod maxwell;
mod messages;
mod native;
mod options;
mod runs;

pub use encode::Encoder;
pub use messages::{HEADER_EVENT_ID, HEADER_OPERATION, Message, Messages};
pub use options::{KeyFormat, MessageFormat, MessageOptions};

#[cfg(test)]
mod tests;
