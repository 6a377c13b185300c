//! Whose rows may go into the open transaction.
//!
//! One transaction holds the rows of one epoch, of all lanes. A lane that has passed a barrier holds its next rows back until
//! every lane has, and until the epoch is decided: committed, or carried into the next one because its checkpoint could not be
//! published.

/// Pure: what lanes and committer tell it, and who may send.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// By lane: the last epoch it has closed.
    closed: Vec<Option<u64>>,
    /// Rows wait in the transaction for their commit.
    filled: bool,
    /// Up to this epoch all is decided.
    decided: u64,
}

impl Gate {
    /// A lane begins to write.
    pub(crate) fn join(&mut self, lane: usize) {
        if self.closed.len() <= lane {
            self.closed.resize(lane + 1, None);
        }
        self.closed[lane] = Some(self.decided);
    }

    /// Whether what the lane writes now belongs into the open transaction. Once true it stays so until the lane closes an
    /// epoch.
    pub(crate) fn may_send(&self, lane: usize) -> bool {
        let Some(own) = self.closed.get(lane).copied().flatten() else { return false };
        self.decided >= own && self.closed.iter().flatten().all(|&other| other >= own)
    }

    /// Rows go into the transaction.
    pub(crate) fn fill(&mut self) {
        self.filled = true;
    }

    /// A lane ends its part of an epoch. The one before is decided by now: there are never more than two.
    pub(crate) fn close(&mut self, lane: usize, epoch: u64) {
        let Some(own) = self.closed.get_mut(lane) else { return };
        let before = own.replace(epoch).unwrap_or_default();
        self.decided = self.decided.max(before);
        if !self.filled && self.closed.iter().flatten().all(|&other| other >= epoch) {
            // Nobody wrote anything: nothing will be committed.
            self.decided = self.decided.max(epoch);
        }
    }

    /// The epoch is committed, the transaction empty.
    pub(crate) fn committed(&mut self, epoch: u64) {
        self.filled = false;
        self.decided = self.decided.max(epoch);
    }

    /// What is closed will be committed together with the next epoch.
    pub(crate) fn carried(&mut self) {
        let closed = self.closed.iter().flatten().copied().min().unwrap_or_default();
        self.decided = self.decided.max(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn two() -> Gate {
        let mut gate = Gate::default();
        gate.join(0);
        gate.join(1);
        gate
    }

    #[test]
    fn the_next_epoch_waits_for_the_commit() {
        let mut gate = two();
        assert!(gate.may_send(0) && gate.may_send(1));
        gate.fill();
        gate.close(0, 1);
        assert!(!gate.may_send(0), "lane 1 still writes epoch 1");
        assert!(gate.may_send(1));
        gate.close(1, 1);
        assert!(!gate.may_send(0) && !gate.may_send(1), "epoch 1 is not committed");
        gate.committed(1);
        assert!(gate.may_send(0) && gate.may_send(1));
    }

    #[test]
    fn an_epoch_without_rows_is_not_waited_for() {
        let mut gate = two();
        gate.close(0, 1);
        gate.close(1, 1);
        assert!(gate.may_send(0));
        gate.fill();
        assert!(gate.may_send(1), "the rows of lane 0 are of the same epoch");
    }

    #[test]
    fn an_unpublished_epoch_goes_with_the_next() {
        let mut gate = two();
        gate.fill();
        gate.close(0, 1);
        gate.close(1, 1);
        gate.carried();
        assert!(gate.may_send(0) && gate.may_send(1));
        gate.fill();
        gate.close(0, 2);
        gate.close(1, 2);
        assert!(!gate.may_send(0));
        gate.committed(2);
        assert!(gate.may_send(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// P03 within this sink: whatever lanes do in whatever order, a transaction holds rows of one epoch only, or of
        /// epochs that are committed together because the first could not be published.
        #[test]
        fn p03_a_transaction_never_mixes_epochs(steps in proptest::collection::vec((0usize..3, 0u8..4, any::<bool>()), 1..200)) {
            let lanes = 3;
            let mut gate = Gate::default();
            (0..lanes).for_each(|lane| gate.join(lane));
            // The model: epoch each lane writes, epochs in the transaction, epochs carried.
            let mut epoch = vec![1u64; lanes];
            let mut inside: Vec<u64> = Vec::new();
            let mut carried = 0;
            for (lane, what, published) in steps {
                let last = *epoch.iter().min().unwrap();
                match what {
                    0 | 1 if gate.may_send(lane) => {
                        gate.fill();
                        inside.push(epoch[lane]);
                        prop_assert!(inside.iter().all(|&e| e == epoch[lane] || e <= carried), "{:?} {:?}", inside, epoch);
                    }
                    // A lane never runs more than one epoch ahead of a commit.
                    2 if epoch[lane] == last => {
                        gate.close(lane, epoch[lane]);
                        epoch[lane] += 1;
                        let all_closed = epoch.iter().all(|&e| e > last);
                        if all_closed && inside.is_empty() {
                            prop_assert!(gate.may_send(lane));
                        } else if all_closed {
                            prop_assert!(!gate.may_send(lane));
                            if published {
                                gate.committed(last);
                                inside.clear();
                            } else {
                                gate.carried();
                                carried = last;
                            }
                            prop_assert!(gate.may_send(lane));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
