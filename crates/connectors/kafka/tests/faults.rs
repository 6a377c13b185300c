//! Brokers and instances that fail: what was promised holds.

use crate::support::*;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::sink::SinkState;
use dujiang_core::{Code, Epoch};
use dujiang_scratch::{Kafka, KafkaOptions};
use dujiang_testkit::proxy::{Direction, Proxy};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

type Proxied = (Kafka, Proxy);

/// A broker behind a proxy, whose address clients are told; one test after the other has it.
async fn behind_proxy() -> MutexGuard<'static, Proxied> {
    static PROXIED: OnceLock<Mutex<Proxied>> = OnceLock::new();
    let start = || {
        let nobody = SocketAddr::from(([127, 0, 0, 1], dujiang_scratch::free_port()));
        let proxy = Proxy::start(nobody).expect("a proxy");
        let options = KafkaOptions { advertised: Some(proxy.port()), ..KafkaOptions::default() };
        let kafka = Kafka::start_with(&options).expect("a broker");
        proxy.retarget(SocketAddr::from(([127, 0, 0, 1], kafka.port())));
        Mutex::new((kafka, proxy))
    };
    PROXIED.get_or_init(start).lock().await
}

/// K7: the broker is killed while messages are in flight, and comes back: each message is there once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn k7_a_killed_broker_costs_time_only() {
    let mut kafka = Kafka::start().unwrap();
    let bootstrap = kafka.bootstrap();
    for guarantee in ["at-least-once", "exactly-once"] {
        let (topic, commits) = (fresh("k7"), fresh("commits"));
        let options = [
            ("topic", topic.as_str()),
            ("sink.commit-topic", commits.as_str()),
            ("sink.delivery-guarantee", guarantee),
            ("publish.timeout", "60s"),
        ];
        let orders = table("orders");
        let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
        for part in 0..20 {
            if part == 10 {
                kafka.kill9();
            }
            process.writer.write(&inserts(&orders, part * 100..part * 100 + 100)).await.unwrap();
        }
        kafka.restart().unwrap();
        process.writer.flush().await.unwrap();
        let tokens = process.writer.prepare(Epoch(1)).await.unwrap();
        commit_for_ever(&mut process, 1, tokens).await;
        let expected: Vec<i64> = (0..2000).collect();
        assert_eq!(ids(&bootstrap, &topic, "read_committed"), expected, "{guarantee}");
    }
}

/// As the engine does it.
async fn commit_for_ever(process: &mut Process, epoch: u64, tokens: Vec<dujiang_core::checkpoint::Token>) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while let Err(error) = process.commit(epoch, tokens.clone()).await {
        assert!(Instant::now() < deadline, "{error:?}");
        assert_ne!(error.code(), Code::KafkaAborted, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// K8: the reply to a commit is lost, with the connection: the outcome is looked up, and it is never taken for a failure
/// (INV-12).
#[tokio::test(flavor = "multi_thread")]
async fn k8_a_lost_reply_to_a_commit_is_looked_up() {
    let held = behind_proxy().await;
    let (kafka, proxy) = &*held;
    let (through, direct) = (format!("127.0.0.1:{}", proxy.port()), kafka.bootstrap());
    let options = [("topic", "k8"), ("sink.commit-topic", "k8-commits"), ("sink.delivery-guarantee", "exactly-once")];
    let orders = table("orders");
    let mut process = start(&through, 1, &options, std::slice::from_ref(&orders)).await;
    for epoch in 1..=3 {
        process.writer.write(&inserts(&orders, epoch * 10..epoch * 10 + 10)).await.unwrap();
        let tokens = process.writer.prepare(Epoch(epoch as u64)).await.unwrap();
        // What the broker answers is thrown away for a while, then every connection breaks.
        proxy.rules(Direction::ToClient, |rules| rules.swallow = true);
        let before = proxy.swallowed(Direction::ToClient);
        let breaking = async {
            while proxy.swallowed(Direction::ToClient) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            proxy.cut();
            proxy.heal();
        };
        let committing = commit_for_ever(&mut process, epoch as u64, tokens);
        tokio::join!(breaking, committing);
    }
    assert_eq!(ids(&direct, "k8", "read_committed"), (10..40).collect::<Vec<i64>>());
    let next = start(&through, 2, &options, &[orders]).await;
    assert!(matches!(next.state, SinkState::Holds { epoch: Epoch(3), .. }), "{:?}", next.state);
}

/// K8: a coordinator that moves, loads, times out or breaks the connection while a transaction is begun, filled or committed.
/// The cluster is librdkafka's mock, which answers as told; it has no transactions to roll back, so what is looked at is that
/// each epoch is written once and that nothing is taken for a failure.
#[tokio::test(flavor = "multi_thread")]
async fn k8_a_coordinator_that_moves_costs_time_only() {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as E};
    let cluster = MockCluster::new(3).expect("a mock cluster");
    for topic in ["moved", "moved-commits"] {
        cluster.create_topic(topic, 1, 1).expect("a topic");
    }
    let bootstrap = cluster.bootstrap_servers();
    let options =
        [("topic", "moved"), ("sink.commit-topic", "moved-commits"), ("sink.delivery-guarantee", "exactly-once")];
    let orders = table("orders");
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    let answers = [
        (RDKafkaApiKey::EndTxn, E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
        (RDKafkaApiKey::EndTxn, E::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS),
        (RDKafkaApiKey::EndTxn, E::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS),
        (RDKafkaApiKey::EndTxn, E::RD_KAFKA_RESP_ERR__TRANSPORT),
        (RDKafkaApiKey::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS),
        (RDKafkaApiKey::AddPartitionsToTxn, E::RD_KAFKA_RESP_ERR_NOT_COORDINATOR),
        (RDKafkaApiKey::Produce, E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
        (RDKafkaApiKey::Produce, E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS),
        (RDKafkaApiKey::Produce, E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        (RDKafkaApiKey::Produce, E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
    ];
    for (epoch, (request, answer)) in (1i64..).zip(answers) {
        cluster.request_errors(request, &[answer; 2]);
        process.writer.write(&inserts(&orders, epoch * 10..epoch * 10 + 10)).await.unwrap();
        let tokens = process.writer.prepare(Epoch(epoch as u64)).await.unwrap();
        commit_for_ever(&mut process, epoch as u64, tokens).await;
        cluster.clear_request_errors(request);
    }
    assert_eq!(ids(&bootstrap, "moved", "read_uncommitted"), (10..110).collect::<Vec<i64>>());
}

/// K8: the brokers give a transaction up that takes too long. The epoch is not visible, the instance ends, and the next one
/// is told what is there.
#[tokio::test(flavor = "multi_thread")]
async fn k8_a_transaction_that_was_given_up_is_told() {
    let bootstrap = broker().bootstrap();
    let options = [
        ("topic", "given-up"),
        ("sink.commit-topic", "given-up-commits"),
        ("sink.delivery-guarantee", "exactly-once"),
        // Long enough for a busy machine to open the sink and to commit an epoch, which must not be given up.
        ("properties.transaction.timeout.ms", "5000"),
    ];
    let orders = table("orders");
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    process.writer.write(&inserts(&orders, 0..10)).await.unwrap();
    let tokens = process.writer.prepare(Epoch(1)).await.unwrap();
    process.commit(1, tokens).await.unwrap();
    process.writer.write(&inserts(&orders, 10..20)).await.unwrap();
    let tokens = process.writer.prepare(Epoch(2)).await.unwrap();
    // The brokers end it: then readers pass the place where it stood.
    let deadline = Instant::now() + Duration::from_secs(60);
    while ends_behind_messages(&bootstrap) < 2 {
        assert!(Instant::now() < deadline, "the brokers do not give the transaction up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error = process.commit(2, tokens).await.unwrap_err();
    assert_eq!(error.code(), Code::KafkaAborted, "{error:?}");
    reads_as_written(&error, &bootstrap);
    assert_eq!(ids(&bootstrap, "given-up", "read_committed"), (0..10).collect::<Vec<i64>>());
    let mut next = start(&bootstrap, 2, &options, std::slice::from_ref(&orders)).await;
    assert!(matches!(next.state, SinkState::Holds { epoch: Epoch(1), .. }), "{:?}", next.state);
    next.writer.write(&inserts(&orders, 10..20)).await.unwrap();
    let tokens = next.writer.prepare(Epoch(2)).await.unwrap();
    next.commit(2, tokens).await.unwrap();
    assert_eq!(ids(&bootstrap, "given-up", "read_committed"), (0..20).collect::<Vec<i64>>());
}

/// How many transactions of two with ten rows each have their end in the topic.
fn ends_behind_messages(bootstrap: &str) -> i64 {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "looker");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let (_, high) = consumer.fetch_watermarks("given-up", 0, Duration::from_secs(10)).expect("watermarks");
    high / 11
}

/// K8: an instance that was thought dead can commit nothing once another one has taken over (INV-11).
#[tokio::test(flavor = "multi_thread")]
async fn k8_an_instance_that_comes_back_is_shut_out() {
    let bootstrap = broker().bootstrap();
    let (topic, commits) = (fresh("zombie"), fresh("commits"));
    let options = [
        ("topic", topic.as_str()),
        ("sink.commit-topic", commits.as_str()),
        ("sink.delivery-guarantee", "exactly-once"),
    ];
    let orders = table("orders");
    let mut old = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    old.writer.write(&inserts(&orders, 0..10)).await.unwrap();
    let tokens = old.writer.prepare(Epoch(1)).await.unwrap();
    let mut new = start(&bootstrap, 2, &options, std::slice::from_ref(&orders)).await;
    assert_eq!(new.state, SinkState::Empty);
    // A broker that is slow to answer is asked again, as the engine does it.
    let deadline = Instant::now() + Duration::from_secs(60);
    let error = loop {
        let error = old.commit(1, tokens.clone()).await.expect_err("it is shut out");
        if !matches!(error.code(), Code::SinkUnwritten | Code::KafkaUnreachable) {
            break error;
        }
        assert!(Instant::now() < deadline, "{error:?}");
    };
    assert_eq!(error.code(), Code::Fenced, "{error:?}");
    new.writer.write(&inserts(&orders, 0..10)).await.unwrap();
    let tokens = new.writer.prepare(Epoch(1)).await.unwrap();
    new.commit(1, tokens).await.unwrap();
    assert_eq!(ids(&bootstrap, &topic, "read_committed"), (0..10).collect::<Vec<i64>>());
}

/// K8, INV-11: what a later instance has written is heeded as soon as it stands in the commit topic, also while it is not
/// committed: brokers end a commit behind their answer, and an earlier instance that took over in between would shut out the
/// later one.
#[tokio::test(flavor = "multi_thread")]
async fn k8_an_earlier_instance_takes_nothing_over() {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let bootstrap = broker().bootstrap();
    let commits = fresh("commits");
    let options = [("sink.commit-topic", commits.as_str()), ("sink.delivery-guarantee", "exactly-once")];
    let first = start(&bootstrap, 1, &options, &[]).await;
    drop(first);
    let lineage = context(1).identity.lineage.0;
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &bootstrap).set("transactional.id", format!("dujiang-{commits}-{lineage}"));
    let patience = Duration::from_secs(30);
    let later: BaseProducer = config.create().expect("a producer");
    later.init_transactions(patience).expect("the later instance takes over");
    later.begin_transaction().expect("a transaction");
    let record = format!(r#"{{"pipeline":"{commits}","lineage":"{lineage}","generation":3,"epoch":0,"position":""}}"#);
    later.send(BaseRecord::to(&commits).partition(0).key("dujiang").payload(&record)).expect("room");
    later.flush(patience).expect("sent");
    let mut earlier = sink(&bootstrap, &options).committer(context_of(&commits, 2)).await.unwrap();
    let error = earlier.open().await.expect_err("a later one is there");
    assert_eq!(error.code(), Code::Fenced, "{error:?}");
    later.commit_transaction(patience).expect("nobody has shut it out");
}

/// P04: brokers that do not answer for k tries, k <= 3, cost k tries; nothing is dropped, repeated or reordered. The engine
/// makes the pauses and applies the error policy.
#[tokio::test(flavor = "multi_thread")]
async fn p04_publishing_is_tried_again() {
    let held = behind_proxy().await;
    let (kafka, proxy) = &*held;
    let (through, direct) = (format!("127.0.0.1:{}", proxy.port()), kafka.bootstrap());
    let orders = table("orders");
    for failures in 0..=3i64 {
        let topic = fresh("p04");
        let options = [("topic", topic.as_str()), ("publish.timeout", "300ms")];
        let mut process = start(&through, 1, &options, std::slice::from_ref(&orders)).await;
        process.writer.write(&inserts(&orders, 0..10)).await.unwrap();
        flush_for_ever(&mut process).await;
        if failures > 0 {
            proxy.rules(Direction::ToServer, |rules| rules.stall = true);
        }
        process.writer.write(&inserts(&orders, 10..1000)).await.unwrap();
        for attempt in 1..=failures {
            let error = process.writer.flush().await.unwrap_err();
            assert_eq!(error.code(), Code::SinkUnwritten, "no record is at fault");
            if attempt == failures {
                proxy.heal();
            }
        }
        flush_for_ever(&mut process).await;
        assert_eq!(ids(&direct, &topic, "read_committed"), (0..1000).collect::<Vec<i64>>(), "{failures} failures");
    }
}

async fn flush_for_ever(process: &mut Process) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = process.writer.flush().await {
        assert!(error.code() == Code::SinkUnwritten && Instant::now() < deadline, "{error:?}");
    }
}

/// K9: a topic that is deleted under the sink is told; nothing is said to be written that is not.
#[tokio::test(flavor = "multi_thread")]
async fn k9_a_topic_that_is_deleted_is_told() {
    let bootstrap = broker().bootstrap();
    let topic = fresh("deleted");
    let options = [("topic", topic.as_str()), ("publish.timeout", "1s")];
    let orders = table("orders");
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    process.writer.write(&inserts(&orders, 0..10)).await.unwrap();
    process.writer.flush().await.unwrap();
    delete_topic(&bootstrap, &topic).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let error = loop {
        let written = process.writer.write(&inserts(&orders, 10..20)).await;
        let flushed = process.writer.flush().await;
        // The first tries may end before the brokers have forgotten the topic.
        if let Some(error) = written.err().or(flushed.err()).filter(|error| error.code() != Code::SinkUnwritten) {
            break error;
        }
        assert!(Instant::now() < deadline, "a deleted topic takes messages");
    };
    assert_eq!(error.code(), Code::KafkaTopic, "{error:?}");
    assert!(error.message().contains(&topic), "{error:?}");
}

async fn delete_topic(bootstrap: &str, topic: &str) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let admin: AdminClient<rdkafka::client::DefaultClientContext> = config.create().expect("an admin");
    let done = admin.delete_topics(&[topic], &AdminOptions::new()).await.expect("an answer");
    assert!(done.iter().all(Result::is_ok), "{done:?}");
}

/// K9: partitions that are added while the sink writes move no key.
#[tokio::test(flavor = "multi_thread")]
async fn k9_added_partitions_move_no_key() {
    use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
    let bootstrap = broker().bootstrap();
    let topic = fresh("grown");
    let options = [
        ("topic", topic.as_str()),
        ("topic.partitions", "2"),
        ("properties.topic.metadata.refresh.interval.ms", "100"),
    ];
    let orders = table("orders");
    let mut process = start(&bootstrap, 1, &options, std::slice::from_ref(&orders)).await;
    process.writer.write(&inserts(&orders, 0..50)).await.unwrap();
    process.writer.flush().await.unwrap();
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &bootstrap);
    let admin: AdminClient<rdkafka::client::DefaultClientContext> = config.create().expect("an admin");
    admin.create_partitions(&[NewPartitions::new(&topic, 7)], &AdminOptions::new()).await.expect("an answer");
    process.writer.write(&inserts(&orders, 0..50)).await.unwrap();
    process.writer.flush().await.unwrap();
    let mut places: Vec<_> =
        read(&bootstrap, &topic, "read_committed").into_iter().map(|m| (m.key, m.partition)).collect();
    assert_eq!(places.len(), 100);
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 50, "a key has one partition");
}

/// TLS and a password, by the settings of Kafka's own client; a wrong password is told as what it is.
#[tokio::test(flavor = "multi_thread")]
async fn tls_and_passwords_are_used() {
    let (kafka, certificate) = (broker(), &certificate().0);
    let secure = format!("127.0.0.1:{}", kafka.secure_port());
    let login = |password: &str| {
        format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"user\" password=\"{password}\";"
        )
    };
    let (good, bad) = (login("password"), login("guess"));
    let settings = |jaas| {
        [
            ("topic", "secured"),
            ("properties.security.protocol", "SASL_SSL"),
            ("properties.sasl.mechanism", "PLAIN"),
            ("properties.ssl.ca.pem", certificate.as_str()),
            ("properties.sasl.jaas.config", jaas),
        ]
    };
    let orders = table("orders");
    let mut process = start(&secure, 1, &settings(&good), std::slice::from_ref(&orders)).await;
    process.writer.write(&inserts(&orders, 0..10)).await.unwrap();
    process.writer.flush().await.unwrap();
    assert_eq!(ids(&kafka.bootstrap(), "secured", "read_committed"), (0..10).collect::<Vec<i64>>());
    let mut committer = sink(&secure, &settings(&bad)).committer(context(1)).await.unwrap();
    let error = committer.open().await.unwrap_err();
    assert_eq!(error.code(), Code::KafkaDenied, "{error:?}");
    assert!(!format!("{error:?}").contains("guess"), "{error:?}");
    reads_as_written(&error, &secure);
    // The source and the log say the same.
    let pipeline = PipelineOptions { name: "test".into(), parallelism: 1, memory_limit: 64 << 20 };
    let shape = ("schema", "id BIGINT NOT NULL, text STRING, PRIMARY KEY (id)");
    let options = [&settings(&bad)[..], &[shape]].concat();
    let source = (dujiang_kafka::SOURCE.build)(&raw(&secure, &options), &pipeline).expect("good options");
    let error = source.discover().await.unwrap_err();
    assert_eq!(error.code(), Code::KafkaDenied, "{error:?}");
    let mut options = settings(&bad).to_vec();
    options.retain(|(name, _)| name.starts_with("properties."));
    options.push(("topic.prefix", "secured-log"));
    let source = (dujiang_kafka::LOG_SOURCE.build)(&raw(&secure, &options), &pipeline).expect("good options");
    let survey = source.survey().await;
    assert_eq!(survey.refusals.first().map(dujiang_core::Error::code), Some(Code::KafkaDenied), "{survey:?}");
}
