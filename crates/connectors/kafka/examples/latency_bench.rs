//! How long a commit takes to become visible to a reader of Kafka, at least once, through the real binary.
//!
//! `latency_bench BINARY TRANSACTIONS` starts a MariaDB and a broker, lets the binary follow a table, commits transactions of one
//! row, one after the other, and reads the topic beside it. A latency is the time from sending the statement, which commits
//! by itself, to the reader's having the message; so the server's own commit is in it.

#![allow(clippy::print_stdout, reason = "the bench quotes what it prints")]

use dujiang_scratch::{Kafka, Options, Server};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::error::Error;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Transactions before those that count, by which everything is warm.
const WARM: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two transactions: latencies are asked for, not throughput.
const PAUSE: Duration = Duration::from_millis(2);

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: latency_bench BINARY TRANSACTIONS";
    let binary = arguments.next().ok_or(usage)?;
    let wanted: usize = arguments.next().ok_or(usage)?.parse()?;
    let (server, kafka) = (Server::start(&Options::default())?, Kafka::start()?);
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id BIGINT PRIMARY KEY, note VARCHAR(100)); INSERT INTO shop.t VALUES (-1, 'x')")?;
    let folder = std::env::temp_dir().join(format!("dujiang-latency-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let file = folder.join("p.yaml");
    let text = format!(
        "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: shop.t\n\
         sink:\n  type: kafka\n  properties.bootstrap.servers: {}\n  topic: latency\n  topic.partitions: 1\n\
         pipeline:\n  name: latency\n  checkpoint.interval: 1s\n  guarantee: at-least-once\n",
        server.port(),
        kafka.bootstrap()
    );
    std::fs::write(&file, text)?;
    let log = std::fs::File::create(folder.join("run.log"))?;
    let mut command = Command::new(binary);
    command.arg("run").arg(&file).env("XDG_STATE_HOME", folder.join("state")).stdout(Stdio::null()).stderr(log);
    let mut run = command.spawn()?;
    let measured = measure(&server, &kafka.bootstrap(), wanted);
    run.kill()?;
    run.wait()?;
    let mut latencies = measured
        .map_err(|error| format!("{error}\n{}", std::fs::read_to_string(folder.join("run.log")).unwrap_or_default()))?;
    std::fs::remove_dir_all(&folder)?;
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() * share / 100).min(latencies.len() - 1)].as_secs_f64() * 1e3;
    println!(
        "{} transactions of one row, MariaDB -> Kafka, at least once; statement sent -> message read, in milliseconds: P50 {:.2}, P99 {:.2}, most {:.2}",
        latencies.len(),
        at(50),
        at(99),
        at(100)
    );
    Ok(())
}

fn measure(server: &Server, bootstrap: &str, wanted: usize) -> Outcome<Vec<Duration>> {
    let (told, arrivals) = mpsc::sync_channel(1024);
    let brokers = bootstrap.to_owned();
    // Ends with the process, or when nobody listens.
    std::thread::spawn(move || {
        if let Err(error) = follow(&brokers, &told) {
            // Nobody listens any more: then the broker was ended, too.
            let _ = told.send(Err(error.to_string()));
        }
    });
    // The row of the snapshot: from here on the stream is followed.
    arrivals.recv_timeout(PATIENCE)??;
    let mut session = server.session()?;
    let mut latencies = Vec::with_capacity(wanted);
    for number in 0..wanted + WARM {
        let begin = Instant::now();
        session.run(&format!("INSERT INTO shop.t VALUES ({number}, 'leave it with the neighbours')"))?;
        let arrived = arrivals.recv_timeout(PATIENCE)??;
        if number >= WARM {
            latencies.push(arrived.duration_since(begin));
        }
        // tidy: allow(sleep): the load is to be light
        std::thread::sleep(PAUSE);
    }
    Ok(latencies)
}

/// Tells the moment at which each message is there.
fn follow(brokers: &str, told: &mpsc::SyncSender<Result<Instant, String>>) -> Outcome<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "latency").set("enable.auto.commit", "false");
    // As a reader that wants to be quick sets it.
    config
        .set("fetch.min.bytes", "1")
        .set("fetch.queue.backoff.ms", "0")
        .set("topic.metadata.refresh.interval.ms", "200");
    let consumer: BaseConsumer = config.create()?;
    let deadline = Instant::now() + PATIENCE;
    while !consumer.fetch_metadata(None, PATIENCE)?.topics().iter().any(|topic| topic.name() == "latency") {
        if Instant::now() > deadline {
            return Err("the topic is not made".into());
        }
        // tidy: allow(sleep): how often brokers are asked
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut place = TopicPartitionList::new();
    place.add_partition_offset("latency", 0, Offset::Beginning)?;
    consumer.assign(&place)?;
    loop {
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(message)) if message.payload().is_some() && told.send(Ok(Instant::now())).is_err() => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
            _ => {}
        }
    }
}
