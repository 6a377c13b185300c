//! What messages look like, and where they go.

use crate::support::*;
use dujiang_core::schema::KeyEquality;
use dujiang_core::sink::SinkState;
use dujiang_core::{Code, Epoch, Kind, TableId, TableSchema};
use serde_json::json;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn changes_become_messages_of_their_topics() {
    let (bootstrap, mapped) = (broker().bootstrap(), fresh("mapped"));
    let mapping = format!(r"shop.user\.*:{mapped}");
    let options = [
        ("sink.tableId-to-topic.mapping", mapping.as_str()),
        ("sink.add-tableId-to-header-enabled", "true"),
        ("sink.custom-header", "via:dujiang"),
        ("properties.compression.type", "zstd"),
        ("properties.linger.ms", "0"),
        ("topic.partitions", "2"),
        ("topic.properties.retention.ms", "-1"),
    ];
    let (orders, users) = (table(&fresh("orders")), table(&fresh("users")));
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    assert_eq!(process.state, SinkState::Unknown);
    let changes = [
        (Kind::Read, 1, "a"),
        (Kind::Insert, 2, "b"),
        (Kind::UpdateBefore, 2, "b"),
        (Kind::UpdateAfter, 2, "c"),
        (Kind::Delete, 2, "c"),
    ];
    assert!(process.writer.write(&rows(&orders, &changes)).await.unwrap().is_empty());
    assert!(process.writer.write(&inserts(&users, 5..6)).await.unwrap().is_empty(), "a topic is made when it is met");
    process.writer.flush().await.unwrap();

    let seen = read(&bootstrap, &orders.id.to_string(), "read_uncommitted");
    let of_two: Vec<_> = seen.iter().filter(|m| m.key.as_deref().unwrap().contains(":2")).collect();
    let ops: Vec<_> = of_two.iter().map(|m| m.json()["op"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ops, ["c", "u", "d"], "per key in order");
    assert_eq!(of_two[1].json()["before"], json!({"id": 2, "text": "b"}));
    assert_eq!(of_two[1].json()["after"], json!({"id": 2, "text": "c"}));
    assert_eq!(of_two[1].key.as_deref(), Some(format!(r#"{{"TableId":"{}","id":2}}"#, orders.id).as_str()));
    let header = |name: &str| of_two[1].headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.clone());
    assert_eq!(header("via").as_deref(), Some("dujiang"));
    assert_eq!(header("schemaName").as_deref(), Some("shop"));
    assert_eq!(header("tableName").as_deref(), Some(&*orders.id.table));
    assert_eq!(header("dujiang.op").as_deref(), Some("u"));
    let id = header("dujiang.event-id").unwrap();
    assert!(id.starts_with("00000000000000aa/tx1/shop.") && id.ends_with("/2"), "{id}");
    assert_eq!(ids(&bootstrap, &mapped, "read_uncommitted"), [5]);
}

/// Without a comparable key order can only be kept in one partition.
#[tokio::test(flavor = "multi_thread")]
async fn p07_a_key_stays_in_its_partition() {
    let (bootstrap, name) = (broker().bootstrap(), fresh("spread"));
    let options = [("topic.partitions", "4")];
    let by_value = table(&name);
    let equality = |name: String, key_equality| {
        Arc::new(TableSchema { id: TableId::new("shop", name), key_equality, ..(*by_value).clone() })
    };
    let collated = equality(fresh("collated"), KeyEquality::ServerOnly);
    let mut process = start(&bootstrap, 1, &options, &[]).await;
    for _ in 0..3 {
        process.writer.write(&inserts(&by_value, 0..100)).await.unwrap();
        process.writer.write(&inserts(&collated, 0..100)).await.unwrap();
    }
    process.writer.flush().await.unwrap();
    let seen = read(&bootstrap, &by_value.id.to_string(), "read_uncommitted");
    let mut places: Vec<_> = seen.iter().map(|m| (m.key.clone(), m.partition)).collect();
    places.sort();
    places.dedup();
    assert_eq!((seen.len(), places.len()), (300, 100), "one partition a key");
    let used: std::collections::BTreeSet<_> = places.iter().map(|(_, partition)| *partition).collect();
    assert_eq!(used.len(), 4, "and all of them are used");
    let one = read(&bootstrap, &collated.id.to_string(), "read_uncommitted");
    assert!(one.iter().all(|m| m.partition == one[0].partition));
    assert_eq!(one.len(), 300);
}

/// Records that Kafka cannot take come back, one by one; the others are written (P10).
#[tokio::test(flavor = "multi_thread")]
async fn p10_k9_a_record_that_is_too_large_comes_back_alone() {
    let bootstrap = broker().bootstrap();
    let options = [("properties.max.request.size", "100000"), ("properties.batch.size", "50000")];
    let orders = table(&fresh("large"));
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    let large = "x".repeat(200_000);
    let changes = [
        (Kind::Insert, 1, "a"),
        (Kind::Insert, 2, large.as_str()),
        (Kind::UpdateBefore, 1, "a"),
        (Kind::UpdateAfter, 1, large.as_str()),
        (Kind::Insert, 3, "c"),
    ];
    let failed = process.writer.write(&rows(&orders, &changes)).await.unwrap();
    assert_eq!(failed.iter().map(|f| f.row).collect::<Vec<_>>(), [1, 2], "an update by its first image");
    assert!(failed.iter().all(|f| f.error.code() == Code::KafkaTooLarge));
    process.writer.flush().await.unwrap();
    assert_eq!(ids(&bootstrap, &orders.id.to_string(), "read_uncommitted"), [1, 3]);
    let hide = [(&*orders.id.table, "<table>")];
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &failed[0].error, &hide);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_topics_cannot_have_are_told() {
    let odd = table("Bücher");
    let mut committer = sink(&broker().bootstrap(), &[]).committer(context(1)).await.unwrap();
    committer.open().await.unwrap();
    let error = committer.apply_schema(None, &odd).await.unwrap_err();
    assert_eq!(error.code(), Code::SinkName);
    assert!(error.help_text().unwrap().contains("sink.tableId-to-topic.mapping"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_the_brokers_refuse_are_told() {
    let bootstrap = broker().bootstrap();
    let opened = |more: Vec<(&'static str, &'static str)>| {
        let bootstrap = bootstrap.clone();
        async move {
            let mut committer = sink(&bootstrap, &more).committer(context(1)).await.unwrap();
            (committer.open().await, committer)
        }
    };
    // Longer than the brokers' `transaction.max.timeout.ms`.
    let options = vec![
        ("sink.delivery-guarantee", "exactly-once"),
        ("sink.commit-topic", "too-patient"),
        ("properties.transaction.timeout.ms", "86400000"),
    ];
    let error = opened(options).await.0.unwrap_err();
    assert_eq!(error.code(), Code::KafkaSetting);
    reads_as_written(&error, &bootstrap);
    // More replicas than there are brokers.
    let (state, mut committer) = opened(vec![("topic.replication-factor", "3")]).await;
    state.unwrap();
    let error = committer.apply_schema(None, &table("replicated")).await.unwrap_err();
    assert_eq!(error.code(), Code::KafkaTopic);
    reads_as_written(&error, &bootstrap);
}

/// What a broker refuses for good ends the pipeline; nothing behind it is said to be written.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_the_brokers_refuse_is_told() {
    let bootstrap = broker().bootstrap();
    // Every record is older than the topic allows by the time it is looked at.
    let options = [("topic", "too-young"), ("topic.properties.message.timestamp.before.max.ms", "0")];
    let orders = table("orders");
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    process.writer.write(&inserts(&orders, 0..3)).await.unwrap();
    let error = process.writer.flush().await.unwrap_err();
    assert_eq!(error.code(), Code::KafkaRefused, "{error:?}");
    reads_as_written(&error, &bootstrap);
    assert!(process.writer.prepare(Epoch(1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_told() {
    let free = dujiang_scratch::free_port();
    let address = format!("127.0.0.1:{free}");
    let mut committer = sink(&address, &[]).committer(context(1)).await.unwrap();
    let error = committer.open().await.unwrap_err();
    assert_eq!(error.code(), Code::KafkaUnreachable);
    reads_as_written(&error, &address);
}

/// A key's changes come after each other over epochs and lanes' commits, and what one epoch held comes once.
#[tokio::test(flavor = "multi_thread")]
async fn epochs_follow_each_other_in_a_topic() {
    let (bootstrap, topic, commits) = (broker().bootstrap(), fresh("epochs"), fresh("commits"));
    let options = [
        ("topic", topic.as_str()),
        ("sink.commit-topic", commits.as_str()),
        ("sink.delivery-guarantee", "exactly-once"),
    ];
    let orders = table("orders");
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    let mut tokens = Vec::new();
    for epoch in 1..=10u64 {
        process.writer.write(&inserts(&orders, epoch as i64 * 100..epoch as i64 * 100 + 50)).await.unwrap();
        tokens.extend(process.writer.prepare(Epoch(epoch)).await.unwrap());
        // Every third publish fails: its tokens go with the next.
        if epoch % 3 != 0 {
            // Rows of the next epoch are taken while this one is committed.
            process.writer.write(&inserts(&orders, epoch as i64 * 100 + 50..epoch as i64 * 100 + 60)).await.unwrap();
            process.commit(epoch, std::mem::take(&mut tokens)).await.unwrap();
        }
    }
    let seen = ids(&bootstrap, &topic, "read_committed");
    let mut expected: Vec<i64> = Vec::new();
    for epoch in 1..=10 {
        expected.extend(epoch * 100..epoch * 100 + 50);
        if epoch % 3 != 0 && epoch != 10 {
            expected.extend(epoch * 100 + 50..epoch * 100 + 60);
        }
    }
    assert_eq!(seen, expected);
}
