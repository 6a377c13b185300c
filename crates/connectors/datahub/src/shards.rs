//! Which shard takes a record.

use crate::client::{Connection, ShardState};
use md5::{Digest, Md5};
use std::sync::Arc;
use tokio::sync::Mutex;

/// An active shard. One request at a time: whoever puts records holds its connection.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) id: String,
    begin: u128,
    end: u128,
    pub(crate) connection: Mutex<Connection>,
}

/// The active shards of a topic.
#[derive(Debug)]
pub(crate) struct Shards {
    active: Vec<Arc<Shard>>,
    /// All of them take all hashes, as in topics that only grow.
    alike: bool,
}

/// The hash by which a key's records find their shard: that of the service.
pub(crate) fn hash(key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

impl Shards {
    /// The active ones of a list; those that were known keep their connections, and the order of requests with them. None while
    /// some are still opening, or none is active.
    pub(crate) fn of(list: &[ShardState], known: Option<&Shards>) -> Option<Self> {
        if list.iter().any(|shard| matches!(shard.state.as_str(), "OPENING" | "CLOSING")) {
            return None;
        }
        let kept = |state: &ShardState| known?.active.iter().find(|shard| shard.id == state.id).cloned();
        let fresh = |state: &ShardState| {
            let connection = Mutex::new(Connection::default());
            Arc::new(Shard { id: state.id.clone(), begin: state.begin, end: state.end, connection })
        };
        let active = list.iter().filter(|state| state.state == "ACTIVE");
        let mut active: Vec<_> = active.map(|state| kept(state).unwrap_or_else(|| fresh(state))).collect();
        active.sort_by_key(|shard| (shard.begin, shard.id.parse::<u64>().unwrap_or(u64::MAX)));
        let alike = active.len() > 1 && active.iter().all(|shard| shard.begin == active[0].begin);
        (!active.is_empty()).then_some(Self { active, alike })
    }

    /// The shard of a hash; none if there is a gap between shards.
    pub(crate) fn of_hash(&self, hash: u128) -> Option<&Arc<Shard>> {
        if self.alike {
            return self.active.get((hash % self.active.len() as u128) as usize);
        }
        let shard = &self.active[self.active.partition_point(|shard| shard.begin <= hash).checked_sub(1)?];
        (hash < shard.end || shard.end == u128::MAX).then_some(shard)
    }

    #[cfg(test)]
    fn ids(&self) -> Vec<&str> {
        self.active.iter().map(|shard| shard.id.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u128 = 0x7FFF_FFFF_FFFF_FFFF_7FFF_FFFF_FFFF_FFFF;

    fn shard(id: &str, state: &str, begin: u128, end: u128) -> ShardState {
        ShardState { id: id.into(), state: state.into(), begin, end, parents: Vec::new() }
    }

    #[test]
    fn a_hash_has_one_shard_and_a_split_hands_it_on() {
        let two = [shard("1", "ACTIVE", HALF, u128::MAX), shard("0", "ACTIVE", 0, HALF)];
        let shards = Shards::of(&two, None).unwrap();
        let of = |shards: &Shards, hash| shards.of_hash(hash).map(|shard| shard.id.clone());
        assert_eq!([0, HALF - 1, HALF, u128::MAX].map(|h| of(&shards, h).unwrap()), ["0", "0", "1", "1"]);
        let mut split = vec![shard("0", "CLOSED", 0, HALF), two[0].clone(), shard("2", "OPENING", 0, 9)];
        assert!(Shards::of(&split, Some(&shards)).is_none(), "wait until they are open");
        split[2].state = "ACTIVE".into();
        split.push(shard("3", "ACTIVE", 9, HALF));
        let after = Shards::of(&split, Some(&shards)).unwrap();
        assert_eq!(after.ids(), ["2", "3", "1"]);
        assert!(Arc::ptr_eq(after.of_hash(HALF).unwrap(), shards.of_hash(HALF).unwrap()), "it keeps its connection");
        assert_eq!([8, 9].map(|h| of(&after, h).unwrap()), ["2", "3"]);
        let gap = Shards::of(&[two[0].clone()], None).unwrap();
        assert_eq!(of(&gap, 5), None);
    }

    #[test]
    fn shards_that_take_all_hashes_share_them() {
        let list: Vec<_> = (0..3).map(|id| shard(&id.to_string(), "ACTIVE", 0, u128::MAX)).collect();
        let shards = Shards::of(&list, None).unwrap();
        let found: Vec<_> = (0..6).map(|hash| shards.of_hash(hash).unwrap().id.clone()).collect();
        assert_eq!(found, ["0", "1", "2", "0", "1", "2"]);
    }
}
