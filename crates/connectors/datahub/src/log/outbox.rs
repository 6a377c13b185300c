//! Pure: records on their way, in pieces of one request each. What belongs to the next epoch waits until the one before is
//! decided: an epoch's records stand before its mark, and nothing else.

use crate::records::MAX_BODY;
use std::collections::VecDeque;
use std::sync::Arc;

/// The records of one request.
#[derive(Debug, Default, Clone)]
pub(crate) struct Chunk {
    pub(crate) body: Vec<u8>,
    pub(crate) count: usize,
    /// Number behind its last entry, or behind a later one of the same epoch.
    pub(crate) end: u64,
}

impl Chunk {
    fn takes(&self, bytes: usize, most: usize) -> bool {
        self.count < most && (self.count == 0 || self.body.len() + bytes <= MAX_BODY)
    }
}

/// Appends a record to the last piece, or to a new one.
pub(crate) fn append(chunks: &mut VecDeque<Arc<Chunk>>, record: &[u8], end: u64, most: usize) {
    // One that is on its way is shared, and stays as it is.
    let last = chunks.back_mut().and_then(Arc::get_mut).filter(|last| last.takes(record.len(), most));
    match last {
        Some(last) => {
            last.body.extend_from_slice(record);
            last.count += 1;
            last.end = last.end.max(end);
        }
        None => chunks.push_back(Arc::new(Chunk { body: record.to_vec(), count: 1, end })),
    }
}

/// Records that have not been put.
#[derive(Debug)]
pub(crate) struct Outbox {
    going: VecDeque<Arc<Chunk>>,
    held: VecDeque<Arc<Chunk>>,
    holding: bool,
    most: usize,
}

impl Outbox {
    /// With so many records in a request at most.
    pub(crate) fn new(most: u32) -> Self {
        Self { going: VecDeque::new(), held: VecDeque::new(), holding: false, most: most as usize }
    }

    /// Takes a record, and the number behind what has been numbered with it.
    pub(crate) fn push(&mut self, record: &[u8], end: u64) {
        append(if self.holding { &mut self.held } else { &mut self.going }, record, end, self.most);
    }

    /// What goes next; it stays until [`Outbox::pop`].
    pub(crate) fn front(&self) -> Option<Arc<Chunk>> {
        self.going.front().cloned()
    }

    /// The front one has been put.
    pub(crate) fn pop(&mut self) {
        self.going.pop_front();
    }

    /// Requests that may go.
    pub(crate) fn going(&self) -> usize {
        self.going.len()
    }

    /// What comes from now on belongs to the next epoch.
    pub(crate) fn hold(&mut self) {
        // There are never more than two: the one before is decided.
        self.release();
        self.holding = true;
    }

    /// The epoch before is decided.
    pub(crate) fn release(&mut self) {
        self.holding = false;
        self.going.append(&mut self.held);
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.going.iter().chain(&self.held).map(|chunk| chunk.body.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_epoch_waits_and_requests_have_limits() {
        let mut outbox = Outbox::new(2);
        (0..3).for_each(|_| outbox.push(b"1", 1));
        outbox.hold();
        outbox.push(b"2", 2);
        assert_eq!((outbox.going(), outbox.bytes()), (2, 4));
        let front = outbox.front().unwrap();
        assert_eq!((front.count, front.body.as_slice()), (2, &b"11"[..]));
        outbox.pop();
        outbox.release();
        assert_eq!(outbox.going(), 2);
        outbox.push(b"2", 2);
        outbox.push(&vec![0; MAX_BODY], 3);
        assert_eq!(outbox.going(), 3, "a large record goes alone");
    }

    #[test]
    fn what_is_on_its_way_stays_as_it_is() {
        let mut outbox = Outbox::new(9);
        outbox.push(b"1", 1);
        let on_its_way = outbox.front().unwrap();
        outbox.push(b"2", 2);
        assert_eq!((on_its_way.count, outbox.going()), (1, 2));
    }
}
