//! The partitions that are read, and which of them rest because they are far ahead of the others. Pure.

use std::collections::{BTreeMap, HashMap};

/// Bytes of messages that may wait for one before them, shared by all partitions.
const MOST_WAITING: usize = 16 << 20;

/// Which partition a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionId(usize);

#[derive(Debug)]
struct Partition {
    topic: String,
    number: i32,
    /// Behind the last message.
    next: i64,
    /// Bytes of its messages that wait.
    waiting: usize,
    rests: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Partitions {
    all: Vec<Partition>,
    places: HashMap<String, BTreeMap<i32, usize>>,
    most_waiting: usize,
}

/// Partitions whose reading changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) rest: Vec<(String, i32)>,
    pub(crate) go_on: Vec<(String, i32)>,
}

impl Default for Partitions {
    fn default() -> Self {
        Self::with_room(MOST_WAITING)
    }
}

impl Partitions {
    fn with_room(most_waiting: usize) -> Self {
        Self { all: Vec::new(), places: HashMap::new(), most_waiting }
    }

    /// Reads one from an offset on; false when it is read already.
    pub(crate) fn add(&mut self, topic: &str, number: i32, first: i64) -> bool {
        if self.find(topic, number).is_some() {
            return false;
        }
        self.places.entry(topic.to_owned()).or_default().insert(number, self.all.len());
        self.all.push(Partition { topic: topic.to_owned(), number, next: first, waiting: 0, rests: false });
        true
    }

    /// A message was read; `None` when nobody has asked for that partition.
    pub(crate) fn read(&mut self, topic: &str, number: i32, offset: i64) -> Option<PartitionId> {
        let from = self.find(topic, number)?;
        self.all[from.0].next = offset + 1;
        Some(from)
    }

    /// Whether a partition has been read up to an offset.
    pub(crate) fn has_passed(&self, topic: &str, number: i32, end: i64) -> bool {
        self.find(topic, number).is_some_and(|from| self.all[from.0].next >= end)
    }

    fn find(&self, topic: &str, number: i32) -> Option<PartitionId> {
        self.places.get(topic)?.get(&number).copied().map(PartitionId)
    }

    /// A message waits.
    pub(crate) fn wait(&mut self, from: PartitionId, bytes: usize) {
        self.all[from.0].waiting += bytes;
    }

    /// A message waits no more.
    pub(crate) fn pass(&mut self, from: PartitionId, bytes: usize) {
        self.all[from.0].waiting -= bytes;
    }

    /// Each partition has a share of the room: it rests from when its messages fill that, until half of it is free again.
    /// The one that has the next entry never rests: its messages come in order, so none of them waits.
    pub(crate) fn hold_back(&mut self) -> Moved {
        let (share, mut moved) = (self.most_waiting / self.all.len().max(1), Moved::default());
        for partition in &mut self.all {
            let rests = if partition.rests { partition.waiting > share / 2 } else { partition.waiting > share };
            if rests != partition.rests {
                partition.rests = rests;
                let list = if rests { &mut moved.rest } else { &mut moved.go_on };
                list.push((partition.topic.clone(), partition.number));
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn three(room: usize) -> Partitions {
        let mut partitions = Partitions::with_room(room);
        (0..3).for_each(|number| assert!(partitions.add("t", number, 0)));
        partitions
    }

    fn named(numbers: &[i32]) -> Vec<(String, i32)> {
        numbers.iter().map(|number| ("t".to_owned(), *number)).collect()
    }

    /// A partition with little waiting goes on, however much waits of another one.
    #[test]
    fn each_partition_rests_for_itself() {
        let mut partitions = three(300);
        let [small, large] = [0, 1].map(|number| partitions.read("t", number, 0).unwrap());
        partitions.wait(small, 101);
        partitions.wait(large, 150);
        assert_eq!(partitions.hold_back(), Moved { rest: named(&[0, 1]), go_on: vec![] });
        partitions.pass(small, 51);
        assert_eq!(partitions.hold_back(), Moved { rest: vec![], go_on: named(&[0]) });
        assert_eq!(partitions.hold_back(), Moved::default());
    }

    #[test]
    fn what_was_read_is_known() {
        let mut partitions = three(300);
        assert!(!partitions.add("t", 2, 7) && partitions.read("u", 0, 0).is_none());
        partitions.read("t", 1, 9);
        assert!(partitions.has_passed("t", 1, 10) && !partitions.has_passed("t", 1, 11));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// Entries lie in partitions anyhow and the brokers send of any partition that does not rest: all come out in
        /// order, and no more waits than there is room for and one message of each.
        #[test]
        fn p03_whatever_rests_the_next_entry_comes(
            places in proptest::collection::vec((0usize..3, 1usize..40), 1..300),
            favourites in proptest::collection::vec(0usize..3, 1..20),
        ) {
            let mut partitions = three(120);
            let mut brokers: [VecDeque<(usize, usize)>; 3] = Default::default();
            for (number, (partition, bytes)) in places.iter().enumerate() {
                brokers[*partition].push_back((number, *bytes));
            }
            let (mut waiting, mut next, mut rests) = (BTreeMap::new(), 0, [false; 3]);
            for turn in 0.. {
                let first = favourites[turn % favourites.len()];
                let sends = (0..3).map(|n| (first + n) % 3).find(|&n| !rests[n] && !brokers[n].is_empty());
                let Some(partition) = sends else { break };
                let (number, bytes) = brokers[partition].pop_front().unwrap();
                let from = partitions.read("t", partition as i32, number as i64).unwrap();
                waiting.insert(number, (from, bytes));
                partitions.wait(from, bytes);
                while let Some((from, bytes)) = waiting.remove(&next) {
                    partitions.pass(from, bytes);
                    next += 1;
                }
                prop_assert!(waiting.values().map(|(_, bytes)| bytes).sum::<usize>() <= 120 + 3 * 40);
                let moved = partitions.hold_back();
                moved.rest.iter().for_each(|(_, n)| rests[*n as usize] = true);
                moved.go_on.iter().for_each(|(_, n)| rests[*n as usize] = false);
            }
            prop_assert_eq!(next, places.len());
        }
    }
}
