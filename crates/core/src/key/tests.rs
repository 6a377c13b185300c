use super::*;
use crate::batch::{Origin, Origins, TimePrecision};
use crate::schema::{TableId, TableSchema};
use arrow_array::*;
use arrow_schema::Field;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

fn batch(columns: Vec<ArrayRef>, kinds: Vec<Kind>) -> ChangeBatch {
    let fields: Vec<_> =
        columns.iter().enumerate().map(|(i, c)| Field::new(format!("k{i}"), c.data_type().clone(), true)).collect();
    let key = (0..columns.len()).collect();
    let schema = TableSchema::by_value(TableId::new("d", "t"), fields, key);
    let rows = RecordBatch::try_new(schema.arrow.clone(), columns).unwrap();
    let mut origins = Origins::default();
    let precision = TimePrecision::Micros;
    origins.push(kinds.len(), Origin { transaction: "t", position: "", commit_micros: 0, precision, first_ordinal: 0 });
    ChangeBatch::new(schema, rows, kinds, origins).unwrap()
}

fn inserts(columns: Vec<ArrayRef>) -> ChangeBatch {
    let rows = columns[0].len();
    batch(columns, vec![Kind::Insert; rows])
}

fn keys(batch: &ChangeBatch) -> Vec<Vec<u8>> {
    (0..batch.images())
        .map(|row| {
            let mut out = Vec::new();
            write_key(batch, row, &mut out);
            out
        })
        .collect()
}

#[test]
fn integers_of_every_width_are_one_type() {
    let narrow = keys(&inserts(vec![Arc::new(Int8Array::from(vec![-1, 5]))]));
    let wide = keys(&inserts(vec![Arc::new(Int64Array::from(vec![-1, 5]))]));
    let unsigned = keys(&inserts(vec![Arc::new(UInt64Array::from(vec![u64::MAX, 5]))]));
    assert_eq!(narrow, wide);
    assert_eq!(unsigned[1], wide[1]);
    assert_ne!(unsigned[0], wide[0]);
}

#[test]
fn nothing_runs_together() {
    let a: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("ab"), None, Some("")]));
    let b: ArrayRef = Arc::new(StringArray::from(vec![Some("bc"), Some("c"), Some(""), None]));
    let all = keys(&inserts(vec![a, b]));
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn zeros_and_nans_of_floats_are_equal() {
    let all = keys(&inserts(vec![Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]))]));
    assert!(all[0] == all[1] && all[2] == all[3] && all[0] != all[2]);
}

#[test]
fn updates_that_change_the_key_are_found() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 9, 4]));
    let kinds = vec![Kind::UpdateBefore, Kind::UpdateAfter, Kind::UpdateBefore, Kind::UpdateAfter, Kind::Insert];
    assert_eq!(changed_keys(&batch(vec![column], kinds)), [2]);
}

#[test]
fn rows_without_key_are_never_the_same() {
    let mut batch = inserts(vec![Arc::new(Int64Array::from(vec![1, 1]))]);
    let mut schema = (*batch.schema).clone();
    schema.key.clear();
    batch.schema = Arc::new(schema);
    assert!(!same_key(&batch, 0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn p07_equal_keys_have_equal_bytes_and_hashes(
        rows in prop::collection::vec((0i64..4, prop::option::of("[ab]{0,2}"), -2i128..2), 1..40)
    ) {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)));
        let names: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1.clone())));
        let amounts: ArrayRef = Arc::new(Decimal128Array::from_iter_values(rows.iter().map(|r| r.2)));
        let batch = inserts(vec![ids, names, amounts]);
        let mut hashes = Vec::new();
        hash_keys(&batch, &mut hashes);
        let bytes = keys(&batch);
        let mut hash_of: HashMap<&[u8], u64> = HashMap::new();
        for a in 0..rows.len() {
            prop_assert_eq!(*hash_of.entry(&bytes[a]).or_insert(hashes[a]), hashes[a]);
            for b in 0..rows.len() {
                prop_assert_eq!(rows[a] == rows[b], bytes[a] == bytes[b]);
                prop_assert_eq!(rows[a] == rows[b], same_key(&batch, a, b));
            }
        }
        let single = batch.take(&[0]).unwrap();
        let mut alone = Vec::new();
        hash_keys(&single, &mut alone);
        prop_assert_eq!(alone[0], hashes[0], "a hash does not depend on the batch");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Event ids of rows of a snapshot end with them, and may never change.
    #[test]
    fn digests_are_the_hexadecimal_digits_of_the_hash(numbers in prop::collection::vec(any::<i64>(), 1..8)) {
        let batch = inserts(vec![Arc::new(Int64Array::from(numbers))]);
        for (row, key) in keys(&batch).iter().enumerate() {
            let mut out = b"shop:".to_vec();
            Keys::new(&batch).write_digest(row, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("shop:{:032x}", xxh3_128(key)));
        }
    }
}
