//! The order of rows of different tables that become one table of the sink.
//!
//! A source hands out one batch per table and cut; rows of two batches may alternate at the source. That matters only where
//! they become changes of one key. So a cut is left as it is unless tables that are merged share a key in it; then their
//! batches are taken apart at the source's turns and put in the source's order (INV-7).

use dujiang_core::key::hash_keys;
use dujiang_core::schema::KeyEquality;
use dujiang_core::{ChangeBatch, Result, TableId};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Rows on their way to a lane, and their table's name at the source.
pub(super) type Routed = (TableId, ChangeBatch);

/// A cut, after transforms and routes, in an order that keeps that of each key.
///
/// # Errors
/// `Bug`, as [`ChangeBatch::slice`].
pub(super) fn by_key(cut: Vec<Routed>) -> Result<Vec<Routed>> {
    let mut groups: BTreeMap<TableId, Vec<Routed>> = BTreeMap::new();
    for routed in cut {
        groups.entry(routed.1.schema.id.clone()).or_default().push(routed);
    }
    let mut out = Vec::new();
    for (_, group) in groups {
        if share_keys(&group) { interleave(&group, &mut out)? } else { out.extend(group) }
    }
    Ok(out)
}

/// Whether rows of different tables may have one key.
fn share_keys(group: &[Routed]) -> bool {
    let Some(((table, first), others)) = group.split_first() else { return false };
    if others.iter().all(|(other, _)| other == table) {
        return false;
    }
    match first.schema.key_equality {
        KeyEquality::NoKey => false,
        // Keys may be equal without looking so.
        KeyEquality::ServerOnly => true,
        KeyEquality::ByValue => {
            let (mut owners, mut hashes) = (HashMap::new(), Vec::new());
            group.iter().any(|(table, batch)| {
                hash_keys(batch, &mut hashes);
                hashes.iter().any(|&hash| *owners.entry(hash).or_insert(table) != table)
            })
        }
    }
}

/// A batch and what is left of it: its runs with their turns, the next one last.
struct Rest<'a> {
    routed: &'a Routed,
    runs: Vec<(Range<usize>, u64)>,
}

impl Rest<'_> {
    fn turn(&self) -> Option<u64> {
        self.runs.last().map(|(_, turn)| *turn)
    }
}

/// Always takes from the batch whose turn it is, as much as stands before the next turn of any other.
fn interleave(group: &[Routed], out: &mut Vec<Routed>) -> Result<()> {
    let rest = |routed| {
        let (_, batch): &Routed = routed;
        let mut runs: Vec<_> = batch.origins.turns().collect();
        runs.reverse();
        Rest { routed, runs }
    };
    let mut rests: Vec<Rest<'_>> = group.iter().map(rest).collect();
    while let Some(first) = (0..rests.len()).filter(|&at| rests[at].turn().is_some()).min_by_key(|&at| rests[at].turn())
    {
        // Of equal turns, the batch that was handed out first comes first.
        let others = rests.iter().enumerate().filter(|(at, _)| *at != first);
        let limit = others.filter_map(|(at, rest)| Some((rest.turn()?, at))).min();
        let rest = &mut rests[first];
        let start = rest.runs.last().map_or(0, |(rows, _)| rows.start);
        let mut end = start;
        while let Some((rows, turn)) = rest.runs.last()
            && (end == start || limit.is_none_or(|limit| (*turn, first) < limit))
        {
            end = rows.end;
            rest.runs.pop();
        }
        let (table, batch) = rest.routed;
        let whole = start == 0 && end == batch.images();
        out.push((table.clone(), if whole { batch.clone() } else { batch.slice(start..end)? }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field};
    use dujiang_core::batch::TimePrecision;
    use dujiang_core::{Kind, Origin, Origins, TableSchema};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn routed(table: usize, sink: &str, equality: KeyEquality, rows: &[(i64, u64)]) -> Routed {
        let schema =
            TableSchema::by_value(TableId::new("s", sink), vec![Field::new("k", DataType::Int64, false)], vec![0]);
        let schema = Arc::new(TableSchema { key_equality: equality, ..(*schema).clone() });
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let data = RecordBatch::try_new(schema.arrow.clone(), vec![keys]).unwrap();
        let mut origins = Origins::default();
        for (row, (_, turn)) in rows.iter().enumerate() {
            let precision = TimePrecision::Micros;
            // The ordinal is the row's place at the source, so that the test can see it.
            let origin = Origin { transaction: "t", position: "p", commit_micros: 0, precision, first_ordinal: *turn };
            origins.push_in_turn(row + 1, origin, *turn);
        }
        let batch = ChangeBatch::new(schema, data, vec![Kind::Insert; rows.len()], origins).unwrap();
        (TableId::new("d", format!("t{table}")), batch)
    }

    fn rows(cut: &[Routed]) -> Vec<(String, i64, u64)> {
        let row = |(table, batch): &Routed| {
            let keys = batch.rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
            let turns = batch.ordinals().map(|(ordinal, _)| ordinal).collect::<Vec<_>>();
            keys.into_iter().zip(turns).map(|(key, turn)| (table.to_string(), key, turn)).collect::<Vec<_>>()
        };
        cut.iter().flat_map(row).collect()
    }

    #[test]
    fn tables_that_share_no_key_stay_whole() {
        let by_value = KeyEquality::ByValue;
        let cut = vec![
            routed(0, "all", by_value, &[(1, 1), (2, 3)]),
            routed(1, "all", by_value, &[(3, 2), (4, 4)]),
            routed(2, "other", by_value, &[(1, 5)]),
        ];
        assert_eq!(by_key(cut.clone()).unwrap(), cut);
        let no_key = |cut: &[Routed]| {
            let of = |(table, batch): &Routed| {
                let schema = TableSchema { key: vec![], key_equality: KeyEquality::NoKey, ..(*batch.schema).clone() };
                (table.clone(), ChangeBatch { schema: Arc::new(schema), ..batch.clone() })
            };
            cut.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(by_key(no_key(&cut)).unwrap(), no_key(&cut));
    }

    #[test]
    fn rows_between_two_turns_stay_together() {
        let by_value = KeyEquality::ByValue;
        let cut = vec![
            routed(1, "all", by_value, &[(1, 1), (9, 2), (2, 7)]),
            routed(0, "all", by_value, &[(2, 3), (1, 4), (3, 5)]),
        ];
        let sizes: Vec<usize> = by_key(cut).unwrap().iter().map(|(_, batch)| batch.images()).collect();
        assert_eq!(sizes, [2, 3, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn p07_merged_tables_keep_the_sources_order_per_key(
            changes in prop::collection::vec((0usize..4, 0i64..6), 1..60),
            keys_apart: bool,
            server_only: bool,
            shuffle in prop::collection::vec(any::<u32>(), 4),
        ) {
            let equality = if server_only { KeyEquality::ServerOnly } else { KeyEquality::ByValue };
            let mut tables: Vec<Vec<(i64, u64)>> = vec![Vec::new(); 4];
            for (turn, (table, key)) in changes.iter().enumerate() {
                // Now and then the tables have no key in common.
                let key = if keys_apart { key * 4 + *table as i64 } else { *key };
                tables[*table].push((key, turn as u64));
            }
            let mut order: Vec<usize> = (0..4).filter(|&table| !tables[table].is_empty()).collect();
            order.sort_by_key(|&table| shuffle[table]);
            let cut: Vec<Routed> = order.iter().map(|&t| routed(t, "all", equality, &tables[t])).collect();
            let out = rows(&by_key(cut.clone()).unwrap());
            let mut all = (out.clone(), rows(&cut));
            all.0.sort();
            all.1.sort();
            prop_assert_eq!(&all.0, &all.1, "the same rows");
            let mut last: BTreeMap<i64, u64> = BTreeMap::new();
            for (_, key, turn) in out {
                let before = last.insert(key, turn);
                prop_assert!(before.is_none_or(|before| before < turn), "key {} at {turn} after {before:?}", key);
            }
        }
    }
}
