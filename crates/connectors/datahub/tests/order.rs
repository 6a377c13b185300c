//! The order of a key's records, whatever becomes of shards and requests.

use crate::support::*;
use dujiang_testkit::datahub::Fault;
use proptest::prelude::*;
use std::collections::HashSet;

#[derive(Debug, Clone)]
enum Step {
    /// A batch of changes of these keys.
    Write(Vec<i64>),
    /// The active shard at this place is split.
    Split(usize),
    /// The active shard at this place is merged with its right neighbour.
    Merge(usize),
    /// A put goes wrong.
    Fail(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0..12_i64, 1..20).prop_map(Step::Write),
        1 => any::<usize>().prop_map(Step::Split),
        1 => any::<usize>().prop_map(Step::Merge),
        2 => any::<u8>().prop_map(Step::Fail),
    ]
}

fn fault(number: u8) -> Fault {
    match number % 5 {
        0 => Fault::Refuse(500, "InternalServerError"),
        1 => Fault::LoseRequest,
        2 => Fault::LoseAnswer,
        3 => Fault::Refuse(503, "ServiceUnavailable"),
        _ => Fault::Partly(vec![0, 2, 3], "InternalServerError"),
    }
}

async fn play(steps: &[Step], protocol: &str) {
    let mut hub = Hub::start(&[("protocol", protocol), ("request.max-records", "5"), ("compression", "none")]).await;
    let table = table(2);
    hub.committer.apply_schema(None, &table).await.unwrap();
    let mut expected: Vec<(i64, String)> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Write(keys) => {
                let transaction = format!("t{number}");
                hub.write(&inserts(&table, &transaction, keys, Some("x")), 8).await.unwrap();
                let id = |ordinal| format!("00000000000000aa/{transaction}/shop.orders/{ordinal}");
                expected.extend(keys.iter().enumerate().map(|(ordinal, key)| (*key, id(ordinal))));
            }
            Step::Split(place) => {
                let active = hub.service.active("orders");
                hub.service.split("orders", active[place % active.len()]);
            }
            Step::Merge(place) => {
                let active = hub.service.active("orders");
                if active.len() > 1 {
                    let first = place % (active.len() - 1);
                    hub.service.merge("orders", active[first], active[first + 1]);
                }
            }
            Step::Fail(number) => hub.service.fail([fault(*number)]),
        }
    }
    hub.fair();
    // What a consumer sees that leaves out what it has seen, key by key, is what was written.
    let mut seen = HashSet::new();
    let records = hub.records();
    let ids = hub.ids();
    for key in 0..12 {
        let own = records.iter().zip(&ids).filter(|(_, id)| **id == key);
        let events: Vec<_> = own.map(|(record, _)| record.attribute("dujiang.event-id").to_owned()).collect();
        let written: Vec<_> = expected.iter().filter(|(id, _)| *id == key).map(|(_, event)| event.clone()).collect();
        assert_eq!(events.last(), written.last(), "the last word on key {key}");
        if protocol != "json" {
            let first: Vec<_> = events.iter().filter(|event| seen.insert((*event).clone())).cloned().collect();
            assert_eq!(first, written, "key {key}");
        } else {
            // A part of a request may fail: then later records of a key may stand before, and again behind the earlier one.
            let all: HashSet<_> = events.into_iter().collect();
            assert_eq!(all, written.into_iter().collect(), "key {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn p07_a_keys_records_keep_their_order_while_shards_split_and_merge(
        steps in prop::collection::vec(step(), 1..10),
        protocol in prop::sample::select(vec!["protobuf", "batch", "json"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&steps, protocol));
    }
}

#[tokio::test]
async fn two_lanes_share_a_shard_one_request_at_a_time() {
    let mut hub = Hub::start(&[("topic.shards", "1"), ("request.max-records", "1")]).await;
    hub.committer.apply_schema(None, &table(2)).await.unwrap();
    let mut other = hub.another_writer().await;
    let (odd, even): (Vec<i64>, Vec<i64>) = (0..40).partition(|id| id % 2 == 1);
    let (first, second) = (inserts(&table(2), "a", &odd, None), inserts(&table(2), "b", &even, None));
    let (first, second) = tokio::join!(hub.writer.write(&first), other.write(&second));
    assert!(first.unwrap().is_empty() && second.unwrap().is_empty());
    hub.fair();
    let ids = hub.ids();
    assert_eq!(ids.len(), 40);
    assert!(ids.iter().filter(|id| *id % 2 == 1).eq(&odd));
}
