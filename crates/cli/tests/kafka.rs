//! Kafka as the sink of the real binary, on a real broker, read by an ordinary reader of committed messages.
//!
//! `DUJIANG_KAFKA_KILLS` sets how many kills the loop makes at most (60 by default); `DUJIANG_SEED` repeats a run's choices.

use crate::river::Run;
use crate::support::{Place, number, seed};
use crate::topics;
use dujiang_scratch::{Kafka, Random};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

const TABLES: [&str; 5] = ["customers", "products", "orders", "order_items", "payments"];
const SIGKILL: i32 = 9;
/// Points of the epoch protocol at which a run is killed.
const POINTS: [&str; 7] = [
    "epoch.prepare",
    "epoch.before-publish",
    "epoch.after-publish",
    "epoch.commit",
    "epoch.after-commit",
    "recovery.acquired",
    "recovery.committed",
];
/// Longest life of a run before a kill at a random moment.
const LONGEST: u64 = 700;

fn pipeline(bootstrap: &str, prefix: &str, rows: u64, rate: u64, guarantee: &str) -> String {
    format!(
        "source:\n  type: generator\n  rate: {rate}\n  rows: {rows}\n  alter-after: 0\n  initial-rows: 300\n\
         sink:\n  type: kafka\n  properties.bootstrap.servers: {bootstrap}\n  topic.partitions: 3\n\
         \x20 sink.tableId-to-topic.mapping: {}\n\
         pipeline:\n  name: {prefix}\n  parallelism: 2\n  checkpoint.interval: 100ms\n  guarantee: {guarantee}\n",
        TABLES.map(|table| format!("shop.{table}:{prefix}-{table}")).join(";"),
    )
}

/// What a reader of committed messages sees of all topics.
#[derive(Default)]
struct Seen {
    messages: u64,
    repeated: u64,
    ids: BTreeSet<String>,
}

/// Reads everything and follows every row from image to image.
fn read(bootstrap: &str, prefix: &str) -> Seen {
    let mut seen = Seen::default();
    let topics = TABLES.map(|table| format!("{prefix}-{table}"));
    topics::follow(bootstrap, &topics, 3, "dujiang.event-id", Duration::from_secs(120), |_, id| {
        seen.messages += 1;
        let fresh = seen.ids.insert(id.to_owned());
        seen.repeated += u64::from(!fresh);
        fresh
    });
    seen
}

fn start(place: &Place, file: &Path, faults: &str) -> Run {
    let mut command = place.dujiang();
    command.arg("run").arg(file);
    Run::start(command, place.path("run.log"), faults)
}

fn log(place: &Place) -> String {
    std::fs::read_to_string(place.path("run.log")).unwrap_or_default()
}

/// At least once is the default of this sink: everything is there, in order.
#[test]
fn changes_reach_their_topics() {
    let kafka = Kafka::start().expect("a broker");
    let place = Place::new();
    let text = pipeline(&kafka.bootstrap(), "plain", 5_000, 0, "at-least-once");
    let file = place.file("plain.yaml", &text);
    let path = file.display().to_string();
    place.run(["run", &path]).code(0);
    let seen = read(&kafka.bootstrap(), "plain");
    assert!((5_000..5_100).contains(&seen.messages), "{}", seen.messages);
    assert_eq!(seen.repeated, 0);
    let said = place.run(["doctor", &path]).code(0);
    assert!(said.out.contains(&kafka.bootstrap()), "{}", said.out);
}

/// P04: brokers that stay away cost the tries that are asked for, then the run ends and says so; the next one goes on behind the
/// last checkpoint. Nothing is dropped, and the changes of a row stay in order. A topic that the brokers refuse to make ends the
/// run before anything is read.
#[test]
fn p04_brokers_that_stay_away_end_the_run_and_cost_nothing() {
    let mut kafka = Kafka::start().expect("a broker");
    let place = Place::new();
    let rows = 12_000;
    let quick = "  topic.partitions: 3\n  publish.timeout: 300ms\n";
    let text =
        pipeline(&kafka.bootstrap(), "away", rows, 3_000, "at-least-once").replace("  topic.partitions: 3\n", quick);
    let file = place.file("away.yaml", &format!("{text}  retry.attempts: 2\n  retry.pause: 100ms\n"));
    let mut run = start(&place, &file, "");
    let deadline = Instant::now() + Duration::from_secs(60);
    while log_end(&kafka.bootstrap(), "away-orders") == 0 {
        assert!(Instant::now() < deadline && run.ended().is_none(), "{}", log(&place));
    }
    kafka.kill9();
    let ended = wait(run, Duration::from_secs(60)).expect("it gives up");
    let said = log(&place);
    assert!(ended.code().is_some_and(|code| code != 0), "{ended:?} {said}");
    assert!(said.contains("E0503") || said.contains("E0850"), "{said}");
    kafka.restart().expect("the broker again");
    place.run(["run", &file.display().to_string()]).code(0);
    let seen = read(&kafka.bootstrap(), "away");
    assert!((rows..rows + 100).contains(&(seen.messages - seen.repeated)), "{} {}", seen.messages, seen.repeated);
    let refused = text.replace("topic.partitions: 3", "topic.replication-factor: 3").replace("away", "refused");
    let file = place.file("refused.yaml", &refused);
    let ended = place.run(["run", &file.display().to_string()]);
    assert!(ended.code != Some(0) && ended.err.contains("E0853"), "{ended:?}");
}

/// Messages of a topic's first partition; none while there is no topic.
fn log_end(bootstrap: &str, topic: &str) -> i64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "looker");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.fetch_watermarks(topic, 0, Duration::from_secs(1)).map_or(0, |(_, high)| high)
}

/// Runs are killed at every point, and the broker now and then: readers of committed messages see each change once, and the changes
/// of a row in order.
#[test]
fn p07_committed_messages_are_the_source_after_kills() {
    let wanted = number("DUJIANG_KAFKA_KILLS", 60);
    let seed = seed();
    let mut random = Random::new(seed);
    let mut kafka = Kafka::start().expect("a broker");
    let place = Place::new();
    let rows = 45_000;
    let file = place.file("kills.yaml", &pipeline(&kafka.bootstrap(), "kills", rows, 1_500, "exactly-once"));
    let (mut kills, mut setbacks, mut done) = (0, 0, false);
    while kills < wanted && !done {
        let at_point = random.chance(70);
        let faults = if at_point { format!("{}@{}", random.pick(&POINTS), 1 + random.below(4)) } else { String::new() };
        let run = start(&place, &file, &faults);
        let life = Duration::from_millis(if at_point { 1_500 } else { random.below(LONGEST) });
        let broker_dies = kills % 10 == 6;
        if broker_dies {
            kafka.kill9();
        }
        let ended = wait(run, life);
        if broker_dies {
            kafka.restart().expect("the broker again");
        }
        match ended.map(|status| (status.signal(), status.code())) {
            None | Some((Some(SIGKILL), _)) => kills += 1,
            Some((_, Some(0))) => done = true,
            // A broker that dies may cost the transaction, or be out of reach: the next run goes on.
            Some((_, Some(75 | 69))) => setbacks += 1,
            Some(_) => panic!("a run ended with {ended:?}:\n{}", log(&place)),
        }
    }
    let mut tries = 0;
    while !done {
        let ended = wait(start(&place, &file, ""), Duration::from_secs(180));
        done = ended.and_then(|status| status.code()) == Some(0);
        tries += 1;
        assert!(tries < 4, "no run comes to its end: {ended:?}\n{}", log(&place));
    }
    let seen = read(&kafka.bootstrap(), "kills");
    eprintln!("{kills} kills, {setbacks} ends by the broker's death, {} messages", seen.messages);
    assert_eq!(seen.repeated, 0, "nothing is seen twice");
    assert!((rows..rows + 100).contains(&seen.messages), "{} of {rows}", seen.messages);
    assert!(kills >= wanted.min(8), "{kills}");
}

/// How the run ended by itself within this time; otherwise it is killed.
fn wait(mut run: Run, life: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + life;
    while Instant::now() < deadline {
        if let Some(status) = run.ended() {
            return Some(status);
        }
        // tidy: allow(sleep): the moment of the kill is what is varied
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill();
    None
}
