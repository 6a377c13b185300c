//! Requests that fail.

use crate::support::*;
use dujiang_core::Code;
use dujiang_testkit::datahub::Fault;

async fn one_shard(more: &[(&str, &str)]) -> Hub {
    let mut options = vec![("topic.shards", "1"), ("request.max-records", "2")];
    options.extend_from_slice(more);
    let mut hub = Hub::start(&options).await;
    hub.committer.apply_schema(None, &table(2)).await.unwrap();
    hub
}

#[tokio::test]
async fn what_stands_is_not_sent_again_when_a_batch_is_tried_again() {
    for fault in [Fault::Refuse(500, "InternalServerError"), Fault::LoseRequest, Fault::Refuse(503, "SomethingNew")] {
        for before in 0..3 {
            let mut hub = one_shard(&[]).await;
            let batch = inserts(&table(2), "a", &[1, 2, 3, 4, 5], Some("x"));
            // `before` requests pass, then three in a row fail.
            hub.service.pass(before);
            hub.service.fail(vec![fault.clone(); 3]);
            let failed = hub.writer.write(&batch).await.unwrap_err();
            assert_eq!(failed.code(), Code::SinkWrite, "{failed}");
            assert_eq!(hub.ids().len(), before * 2, "{fault:?}");
            assert!(hub.writer.buffered() > 0);
            assert!(hub.write(&batch, 3).await.unwrap().is_empty());
            assert_eq!(hub.ids(), [1, 2, 3, 4, 5], "{fault:?}");
            hub.fair();
        }
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_records_twice_with_equal_ids() {
    for fault in [Fault::LoseAnswer, Fault::DamageAnswer] {
        let mut hub = one_shard(&[]).await;
        hub.service.fail([fault.clone()]);
        hub.write(&inserts(&table(2), "a", &[1, 2, 3], Some("x")), 2).await.unwrap();
        assert_eq!(hub.ids(), [1, 2, 1, 2, 3], "{fault:?}");
        let records = hub.records();
        assert_eq!(records[0].attributes, records[2].attributes);
    }
}

#[tokio::test]
async fn too_much_at_once_is_waited_out() {
    let mut hub = one_shard(&[]).await;
    hub.service.fail(vec![Fault::Refuse(403, "LimitExceeded"); 2]);
    assert!(hub.write(&inserts(&table(2), "a", &[1, 2, 3], Some("x")), 1).await.unwrap().is_empty());
    assert_eq!(hub.ids(), [1, 2, 3]);
}

#[tokio::test]
async fn a_refusal_that_does_not_pass_is_final() {
    let mut hub = one_shard(&[]).await;
    hub.service.fail([Fault::Refuse(403, "NoPermission")]);
    let refused = hub.write(&inserts(&table(2), "a", &[1], Some("x")), 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::DatahubRefused);
}

#[tokio::test]
async fn a_record_that_the_service_refuses_is_found_among_the_others() {
    for protocol in ["protobuf", "batch", "json"] {
        let mut hub = one_shard(&[("protocol", protocol), ("request.max-records", "100")]).await;
        // Somebody has made the topic anew, with another type.
        hub.service.make_topic("orders", &[("id", "TINYINT"), ("c1", "STRING")], 1);
        hub.service.open("orders");
        let ids = [1, 2, 300, 4, 5, 6, 7000, 8];
        let failed = hub.write(&inserts(&table(2), "a", &ids, Some("x")), 1).await.unwrap();
        let told: Vec<_> = failed.iter().map(|failed| (failed.row, failed.error.code())).collect();
        assert_eq!(told, [(2, Code::BadRecord), (6, Code::BadRecord)], "{protocol}");
        assert_eq!(hub.ids(), [1, 2, 4, 5, 6, 8], "{protocol}");
        hub.fair();
    }
}

#[tokio::test]
async fn where_a_part_of_a_request_fails_the_last_word_on_a_key_stays_the_last() {
    let mut hub = one_shard(&[("protocol", "json"), ("request.max-records", "100")]).await;
    let ids = [1, 2, 1, 3, 2, 1];
    hub.service.fail([Fault::Partly(vec![0, 3], "InternalServerError")]);
    hub.write(&inserts(&table(2), "a", &ids, Some("x")), 2).await.unwrap();
    // 2, 1, 2, 1 were taken; then all of key 1 again, and 3.
    assert_eq!(hub.ids(), [2, 1, 2, 1, 1, 1, 3, 1]);
    let events: Vec<_> = hub.records().iter().map(|r| r.attribute("dujiang.event-id").to_owned()).collect();
    let of = |id: i64| -> Vec<&str> {
        let ids = hub.ids();
        let own = ids.iter().zip(&events).filter(move |(other, _)| **other == id);
        own.map(|(_, event)| event.rsplit_once('/').unwrap().1).collect()
    };
    assert_eq!(of(1), ["2", "5", "0", "2", "5"]);
    assert_eq!(of(2), ["1", "4"]);
}
