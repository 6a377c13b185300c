//! Transaction ids in full. Pure.

use dujiang_core::fault;

/// Completes the halves of ids that the stream tells.
///
/// It says nothing of transactions that are of no captured table, and of those there may be billions between two of ours: only near to
/// an id that the server gives out now can a half be completed. What is still to come was under way when the slot's `catalog_xmin` was
/// taken, or begun later, and no server gives out an id that is 2^31 after what it keeps.
#[derive(Debug)]
pub struct Ids {
    near: u64,
}

impl Ids {
    /// Begins near to this id.
    pub fn new(near: u64) -> Self {
        Self { near }
    }

    /// The server gives out ids from this one on.
    pub fn given_out(&mut self, next: u64) {
        if !fault::removed("ids-near-the-servers") {
            self.near = self.near.max(next);
        }
    }

    /// The whole id of a transaction.
    pub fn complete(&mut self, half: u32) -> u64 {
        let xid = widen(half, self.near);
        self.near = self.near.max(xid);
        xid
    }

    /// An id near to those that come.
    pub fn near(&self) -> u64 {
        self.near
    }
}

/// The whole id that is nearest to `near`.
fn widen(xid: u32, near: u64) -> u64 {
    let distance = i64::from(xid.wrapping_sub(near as u32) as i32);
    near.saturating_add_signed(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_widened_to_the_nearest() {
        let epoch = 3u64 << 32;
        assert_eq!(widen(5, epoch + 7), epoch + 5);
        assert_eq!(widen(u32::MAX, epoch + 7), epoch - 1);
        assert_eq!(widen(3, epoch - 2), epoch + 3);
        assert_eq!(widen(800, 700), 800);
    }

    /// Transactions of others between two of ours may be more than half of an id can tell.
    #[test]
    fn ids_are_completed_by_those_that_the_server_gives_out() {
        let mut ids = Ids::new(700);
        let complete = |ids: &mut Ids, full: u64| assert_eq!(ids.complete(full as u32), full);
        complete(&mut ids, 705);
        let mut full = 705;
        for _ in 0..40 {
            full += 3_000_000_000;
            ids.given_out(full + 1_000);
            complete(&mut ids, full);
            // What comes late was under way long before.
            complete(&mut ids, full - 2_000_000_000);
            complete(&mut ids, full + 1_500);
        }
    }
}
