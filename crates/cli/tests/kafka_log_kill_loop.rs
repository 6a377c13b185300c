//! As the kill loop, with a log in Kafka between source and files: capture and delivery are processes of their own, which die at
//! any point, now and then the delivery is away while the capture goes on, and now and then the broker dies under both and comes
//! back: runs that live wait for it.
//!
//! `DUJIANG_KAFKA_LOG_KILLS` sets how many kills there are at least (100 by default); `DUJIANG_SEED` repeats a run's choices.

use crate::apart::{self, finish};
use crate::river::{Log, River, Settings};
use crate::support::{number, seed};
use crate::topics;
use dujiang_scratch::{Kafka, Options};
use dujiang_testkit::watch::Watcher;
use dujiang_testkit::workload::{DATABASE, Plan, specs};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const PARTITIONS: i32 = 3;

#[test]
fn p07_files_are_the_source_after_kills_with_kafka_between() {
    let wanted = number("DUJIANG_KAFKA_LOG_KILLS", 100);
    let seed = seed();
    let mut kafka = Kafka::start().expect("a broker");
    let plan =
        Plan { seed, facts: 3_000, chains: 1_000, range: 50, pause: Duration::from_millis(5), ..Plan::default() };
    let log = Log::Kafka(kafka.bootstrap());
    let mut river = River::new(
        &Options::default(),
        plan,
        Settings { chunk: 500, interval: "100ms", lanes: 2, log, proxied: false },
    );
    let watcher = Watcher::start(&river.out());
    river.load.start();
    let mut outages = 0;
    let kills = apart::kill(&river, wanted, seed, |round, random| {
        if round % 16 != 5 {
            return 0;
        }
        outage(&river, &mut kafka, Duration::from_millis(random.below(300)));
        outages += 1;
        2
    });
    let report = river.settle();
    report.must_be_clean();
    watcher.finish().must_be_clean();
    let messages = read_all(&kafka.bootstrap());
    eprintln!("{kills} kills, {outages} of a broker, {} images compared, {messages} messages", report.images);
    assert!(report.images > 5_000, "{report:?}");
}

/// The broker is killed under a capture and a delivery, both in the midst of their work, and comes back after `pause`; both wait
/// for it and go on. Then they are killed.
fn outage(river: &River, kafka: &mut Kafka, pause: Duration) {
    let mut capture = river.spawn("", &[]);
    let mut delivery = river.spawn_delivery("", &[]);
    let mut goes_on = |epochs: u64| {
        let reached = river.epoch() + epochs;
        let goes_on = delivery.wait_until(|| river.epoch() >= reached);
        assert!(goes_on, "the delivery has ended:\n{}", delivery.logged());
    };
    goes_on(2);
    kafka.kill9();
    // tidy: allow(sleep): for how long no broker is there is what is varied
    std::thread::sleep(pause);
    kafka.restart().expect("the broker again");
    // What was under way is the first, what has been captured since then is behind it.
    goes_on(3);
    assert!(capture.ended().is_none(), "the capture has ended:\n{}", capture.logged());
    finish(capture);
    finish(delivery);
}

/// An ordinary reader of committed messages sees no number twice, and per key each change behind the one before it.
fn read_all(bootstrap: &str) -> usize {
    let mut numbers = BTreeSet::new();
    let topics: Vec<String> = specs().iter().map(|table| format!("river.{}", table.name())).collect();
    assert!(topics.iter().all(|topic| topic.starts_with(&format!("river.{DATABASE}."))));
    topics::follow(bootstrap, &topics, PARTITIONS, "dujiang.log", Duration::from_secs(60), |topic, head| {
        let head: Value = serde_json::from_str(head).expect("JSON");
        let number = head["n"].as_u64().expect("a number");
        assert!(numbers.insert(number), "{topic}: entry {number} is seen twice");
        true
    });
    numbers.len()
}
