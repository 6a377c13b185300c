//! Messages of Arrow IPC, read with suspicion.
//!
//! Arrow's own reader believes what a message says and panics where that is not so. Here a message is looked through before it
//! is handed to that reader: what is not sound, or of a kind that tables do not have, cannot be read.
//! <https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format>

#![warn(missing_docs)]

mod batch;
mod schema;

pub use batch::Batches;
pub use schema::read_schema;

/// Before the metadata of a message: a marker, and the metadata's length.
const HEAD: usize = 8;

/// The metadata of the message at the beginning, and its length with all that is before it.
pub fn metadata(bytes: &[u8]) -> Option<(arrow_ipc::Message<'_>, usize)> {
    let head = bytes.get(..HEAD)?;
    if head[..4] != [0xff; 4] {
        return None;
    }
    let end = HEAD.checked_add(u32::from_le_bytes(head[4..].try_into().ok()?) as usize)?;
    Some((arrow_ipc::root_as_message(bytes.get(HEAD..end)?).ok()?, end))
}
