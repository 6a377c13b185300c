//! What in the log stops the stream.

use dujiang_core::{Code, Error};

/// The server says that its log has a hole.
#[cold]
pub fn incident(number: u16, message: &str) -> Error {
    let text = format!("the source reports lost events (incident {number}): {message}");
    Error::new(Code::SourceIncident, text).help("the log has a hole: start a new pipeline with a new snapshot")
}

/// An event of a type that is not known.
#[cold]
pub fn unknown(event_type: u8) -> Error {
    Error::new(Code::UnknownEvent, format!("the log holds an event of type {event_type}, which cannot be read"))
        .help("rows may be missing without it; ask for a version that knows this server's version")
}

/// Keys that the server would have to weigh lie inside a compressed transaction.
#[cold]
pub fn compressed_text_keys() -> Error {
    let message = "a compressed transaction changes a table with a text key while its snapshot is under way";
    Error::new(Code::UnknownEvent, message)
        .help("run SET GLOBAL binlog_transaction_compression = OFF until the snapshot is complete")
}

/// A transaction without its end.
#[cold]
pub fn torn(id: &str) -> Error {
    Error::new(Code::UnknownEvent, format!("the log holds transaction {id} without its end"))
        .help("the server crashed while writing it; start a new pipeline with a new snapshot")
}

/// The first phase of a distributed transaction.
#[cold]
pub fn distributed(id: &str) -> Error {
    let message = format!("transaction {id} prepares a distributed (XA) transaction that changes captured tables");
    Error::new(Code::UnknownEvent, message).help("distributed transactions are not supported yet")
}
