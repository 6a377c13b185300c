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

/// A transaction without its end.
#[cold]
pub fn torn(id: &str) -> Error {
    Error::new(Code::UnknownEvent, format!("the log holds transaction {id} without its end"))
        .help("the server crashed while writing it; start a new pipeline with a new snapshot")
}

/// A change outside of any transaction.
#[cold]
pub fn outside() -> Error {
    Error::new(Code::UnknownEvent, "the log holds a change outside of any transaction")
}

/// Rows of a table without its table map.
#[cold]
pub fn no_table_map() -> Error {
    Error::new(Code::UnknownEvent, "the log holds rows of a table that was not introduced")
}

/// Events inside events inside an event.
#[cold]
pub fn nested() -> Error {
    Error::new(Code::UnknownEvent, "the log holds an event inside another where none may be")
}

/// A transaction that ends in ROLLBACK.
#[cold]
pub fn rolled_back(id: &str) -> Error {
    let message = format!("transaction {id} in the log was rolled back after its rows were logged");
    Error::new(Code::UnknownEvent, message)
        .help("do not create or drop temporary tables inside transactions that change captured tables")
}

/// ROLLBACK TO a savepoint that was not set.
#[cold]
pub fn unknown_savepoint(name: &str) -> Error {
    Error::new(Code::UnknownEvent, format!("the log goes back to a savepoint that was not set: {name}"))
}

/// XA COMMIT of a transaction whose rows are not in the part of the log that was read.
#[cold]
pub fn prepared_before(xid: &str) -> Error {
    let message = format!("distributed transaction {xid} is committed, but was prepared before the log was read from");
    Error::new(Code::PreparedBefore, message)
        .fact("transaction", xid.to_owned())
        .help("its rows are not known: start a new pipeline with a new snapshot")
}
