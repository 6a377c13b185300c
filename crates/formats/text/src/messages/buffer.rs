//! The buffer that messages are written into.

use dujiang_core::Kind;

/// Name of the header that carries a change's event id: the same whenever the change is sent again.
pub const HEADER_EVENT_ID: &str = "dujiang.event-id";
/// Name of the header that carries what a change is: `c`, `u`, `d` or `r`.
pub const HEADER_OPERATION: &str = "dujiang.op";

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Row of the batch it was made from; of an update, that of the new image.
    pub row: usize,
    /// What the change is. An update is [`Kind::UpdateAfter`].
    pub kind: Kind,
    /// The key; none for a table without one, if its format has none for it.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The event id, if headers are asked for.
    pub event_id: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Names and values of its headers.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'a [u8])> + use<'a> {
        let operation = self.kind.letter().as_bytes();
        let both = |id| [(HEADER_EVENT_ID, id), (HEADER_OPERATION, operation)];
        self.event_id.map(both).into_iter().flatten()
    }
}

/// Messages, end to end in one buffer that is used again and again.
#[derive(Debug, Default)]
pub struct Messages {
    pub(super) bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a message's parts begin and end: key, value, event id, one after the other. A part that is missing is empty and marked so.
#[derive(Debug)]
struct Place {
    row: usize,
    kind: Kind,
    start: usize,
    key: Option<usize>,
    value: Option<usize>,
    event_id: Option<usize>,
}

impl Messages {
    /// Forgets all messages and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    /// Leaves out the messages of rows for which `out` holds.
    pub fn forget(&mut self, mut out: impl FnMut(usize) -> bool) {
        self.places.retain(|place| !out(place.row));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<Place>()
    }

    /// A message.
    ///
    /// # Panics
    /// Beyond the last one.
    pub fn get(&self, index: usize) -> Message<'_> {
        let place = &self.places[index];
        let mut start = place.start;
        let mut part = |end: Option<usize>| {
            let end = end?;
            Some(&self.bytes[std::mem::replace(&mut start, end)..end])
        };
        let (key, value, event_id) = (part(place.key), part(place.value), part(place.event_id));
        Message { row: place.row, kind: place.kind, key, value, event_id }
    }

    /// The messages in order.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    pub(super) fn begin(&mut self, row: usize, kind: Kind) {
        let start = self.bytes.len();
        self.places.push(Place { row, kind, start, key: None, value: None, event_id: None });
    }

    /// What was written since the last part is the key.
    pub(super) fn end_key(&mut self) {
        let end = self.bytes.len();
        self.last().key = Some(end);
    }

    /// What was written since the last part is the value.
    pub(super) fn end_value(&mut self) {
        let end = self.bytes.len();
        self.last().value = Some(end);
    }

    /// What was written since the last part is the event id.
    pub(super) fn end_event_id(&mut self) {
        let end = self.bytes.len();
        self.last().event_id = Some(end);
    }

    fn last(&mut self) -> &mut Place {
        self.places.last_mut().expect("invariant: a part belongs to a message that was begun")
    }
}
