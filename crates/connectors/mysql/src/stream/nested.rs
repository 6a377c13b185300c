//! Events inside an event: those of a compressed transaction, and those that a commit lets go.

use super::at::At;
use crate::decode::event::EventData;
use crate::decode::transaction::{PayloadEvents, TransactionPayload};
use crate::decode::{Event, EventFormat};
use crate::place::Place;
use dujiang_core::{Code, Error, Result};
use dujiang_spool::Records;

enum Events {
    Payload(PayloadEvents),
    Spooled(Records),
}

/// What is left of the events inside another.
pub(super) struct Nested {
    events: Events,
    /// How to read the outer one.
    outer: EventFormat,
    /// How to read the inner ones.
    pub format: EventFormat,
    /// Where the outer one begins, and the next.
    pub begin: Place,
    pub next: Option<Place>,
    /// The distributed transaction whose outcome is known at the end, which is also the end of the current one.
    pub decides: Option<String>,
}

impl Nested {
    /// Of a compressed transaction.
    pub fn payload(payload: &TransactionPayload<'_>, at: &At<'_>) -> Result<Self> {
        Ok(Self::new(Events::Payload(payload.events()?), at, None))
    }

    /// Of a distributed transaction.
    pub fn spooled(records: Records, xid: String, at: &At<'_>) -> Self {
        Self::new(Events::Spooled(records), at, Some(xid))
    }

    fn new(events: Events, at: &At<'_>, decides: Option<String>) -> Self {
        Self {
            events,
            outer: at.format.clone(),
            format: at.format.without_checksum(),
            begin: at.begin.clone(),
            next: at.next.cloned(),
            decides,
        }
    }

    /// The next event, the same until [`Nested::advance`]. `outer`: the bytes of the event around it.
    pub fn peek<'a>(&'a mut self, outer: &'a [u8]) -> Result<Option<Event<'a>>> {
        let bytes = match &mut self.events {
            Events::Spooled(records) => return records.peek()?.map(Event::checked).transpose(),
            Events::Payload(events) => {
                let EventData::TransactionPayload(payload) = Event::again(outer, &self.outer)?.data(&self.outer)?
                else {
                    return Err(Error::new(Code::Bug, "another event was shown amid a compressed transaction"));
                };
                events.peek(&payload)?
            }
        };
        bytes.map(|bytes| Event::parse(bytes, &self.format)).transpose()
    }

    /// Goes past the event that was peeked at.
    pub fn advance(&mut self) {
        match &mut self.events {
            Events::Payload(events) => events.advance(),
            Events::Spooled(records) => records.advance(),
        }
    }
}
