//! Which partition a change goes to.
//!
//! Decided here and not by the client, from the number of partitions that the topic had when the sink first saw it: when
//! partitions are added while a pipeline runs, its keys stay where they are (INV-7).

use crate::config::Strategy;
use dujiang_core::schema::KeyEquality;
use dujiang_core::{TableId, TableSchema};

/// The way of one table's messages through its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// By the key's bytes, over this many partitions.
    ByKey(u32),
    /// All into one.
    One(i32),
}

impl Spread {
    /// Keys that only the source can compare (`a` equals `A`) may be equal and have other bytes; and changes of a table
    /// without key may speak of the same row: both stay in one partition.
    pub(crate) fn of(table: &TableSchema, partitions: i32, strategy: Strategy) -> Self {
        let partitions = partitions.max(1) as u32;
        match (strategy, table.key_equality) {
            (Strategy::AllToZero, _) => Self::One(0),
            (Strategy::HashByKey, KeyEquality::ByValue) => Self::ByKey(partitions),
            (Strategy::HashByKey, _) => Self::One(of_bytes(name(&table.id).as_bytes(), partitions)),
        }
    }

    pub(crate) fn partition(self, key: Option<&[u8]>) -> i32 {
        match self {
            Self::One(partition) => partition,
            Self::ByKey(partitions) => of_bytes(key.unwrap_or_default(), partitions),
        }
    }
}

fn name(table: &TableId) -> String {
    table.to_string()
}

/// As Kafka's Java client (`org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey`).
fn of_bytes(key: &[u8], partitions: u32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % partitions) as i32
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mix = |k: u32| {
        let k = k.wrapping_mul(M);
        (k ^ (k >> 24)).wrapping_mul(M)
    };
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_are_those_of_kafkas_java_client() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, expected) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }
}
