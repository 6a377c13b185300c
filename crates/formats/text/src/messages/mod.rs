//! Changes as messages: a key, a value and headers for every change, as queues carry them, and back.
//!
//! An [`Encoder`] writes a run of rows into one reused buffer ([`Messages`]); a [`Decoder`] reads messages of a table whose
//! shape is known into columns ([`DecodedRows`]). A message that does not fit is an error of that record, with its place.
//! What each format looks like, and how each type looks in it, stands in `docs/reference/message-formats.md`.

mod buffer;
mod canal;
mod cells;
mod debezium;
mod decimals;
mod decode;
mod encode;
mod envelope;
mod explained;
mod fault;
mod growing;
mod images;
mod key;
mod maxwell;
mod moments;
mod native;
mod options;
mod quoted;
mod reading;
mod record;
mod rows;
mod runs;
mod scan;
mod shape;
mod unreadable;

pub use buffer::{HEADER_EVENT_ID, HEADER_OPERATION, Message, Messages};
pub use decode::{Decoded, Decoder, table_of};
pub use encode::Encoder;
pub use options::{KeyFormat, MessageFormat, MessageOptions, ValueText};
pub use rows::DecodedRows;
pub use shape::read_shape;
pub use unreadable::unreadable;

#[cfg(test)]
mod tests;
