//! The sink alone against Kafka's own `kafka-producer-perf-test`, with the same payloads, settings and broker.
//!
//! `produce_bench ROWS PAIRS` starts a broker, encodes rows of nine columns, and lets sink and yardstick alternate after one
//! warm-up of each. Our time is from the first batch to the last confirmation, encoding included; the yardstick's is the one
//! it prints itself, without the start of its Java.

#![allow(clippy::print_stdout, reason = "the bench quotes what it prints")]

use arrow_array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity};
use dujiang_core::clock::Standing;
use dujiang_core::connector::PipelineOptions;
use dujiang_core::options::{Place, RawOption};
use dujiang_core::sink::{CommitRequest, SinkContext};
use dujiang_core::{ChangeBatch, Epoch, Kind, Origin, Origins, Position, TableId, TableSchema};
use dujiang_format_text::messages::{Encoder, MessageFormat, MessageOptions, Messages};
use dujiang_scratch::Kafka;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const BATCH: i64 = 8192;
/// Payloads in the yardstick's file, from which it picks.
const PAYLOADS: i64 = 10_000;
/// Both clients: what the sink sets, and Java's default batch of 16 KiB raised to the other one's.
const SETTINGS: [(&str, &str); 2] = [("linger.ms", "5"), ("batch.size", "1000000")];

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<i64>());
    let rows = arguments.next().ok_or("usage: produce_bench ROWS PAIRS")??;
    let pairs = arguments.next().ok_or("usage: produce_bench ROWS PAIRS")??;
    let kafka = Kafka::start()?;
    let folder = std::env::temp_dir().join(format!("dujiang-produce-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let payloads = folder.join("payloads");
    let bytes = write_payloads(&payloads)?;
    println!(
        "messages of {bytes} bytes, debezium-json, no compression, acks=all; messages per second, ours / yardstick"
    );
    for guarantee in ["at-least-once", "exactly-once"] {
        let mut ratios = Vec::new();
        for pair in 0..=pairs {
            let topic = format!("{guarantee}-{pair}");
            let ours = ours(&kafka, &format!("{topic}-ours"), guarantee, rows).await?;
            make_topic(&kafka, &format!("{topic}-theirs")).await?;
            let theirs = theirs(&kafka, &format!("{topic}-theirs"), guarantee, &payloads, rows)?;
            // The first pair warms both up.
            if pair > 0 {
                ratios.push(ours / theirs);
                println!("{guarantee}: {ours:.0} / {theirs:.0}");
            }
        }
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
        println!("{guarantee}: ratio {median:.2} ({:.2} - {:.2})", ratios[0], ratios[ratios.len() - 1]);
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn table() -> Arc<TableSchema> {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("customer", DataType::Int64, true),
        Field::new("lines", DataType::Int32, true),
        Field::new("total", DataType::Float64, true),
        text("status"),
        text("city"),
        text("street"),
        text("note"),
        Field::new("version", DataType::Int32, true),
    ];
    TableSchema::by_value(TableId::new("shop", "orders"), fields, vec![0])
}

fn batch(table: &Arc<TableSchema>, from: i64, rows: i64) -> Outcome<ChangeBatch> {
    let ids = || from..from + rows;
    let text = |word: &str| Arc::new(StringArray::from_iter_values(ids().map(|id| format!("{word} {id}")))) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids())),
        Arc::new(Int64Array::from_iter_values(ids().map(|id| id % 9973))),
        Arc::new(Int32Array::from_iter_values(ids().map(|id| (id % 7) as i32))),
        Arc::new(Float64Array::from_iter_values(ids().map(|id| id as f64 / 4.0))),
        text("confirmed"),
        text("Chengdu"),
        text("Number 7, Weir Street, house"),
        text("leave it with the neighbours, order"),
        Arc::new(Int32Array::from_iter_values(ids().map(|_| 1))),
    ];
    let mut origins = Origins::default();
    let origin = Origin {
        transaction: "bench",
        position: "bin.000001:4",
        commit_micros: 1_700_000_000_000_000,
        precision: TimePrecision::Micros,
        first_ordinal: from as u64,
    };
    origins.push(rows as usize, origin);
    let batch = RecordBatch::try_new(table.arrow.clone(), columns)?;
    Ok(ChangeBatch::new(table.clone(), batch, vec![Kind::Insert; rows as usize], origins)?)
}

/// The values of as many messages, one a line; their mean size.
fn write_payloads(path: &Path) -> Outcome<usize> {
    let table = table();
    let mut encoder = Encoder::new(&table, &MessageOptions::new(MessageFormat::DebeziumJson, "bench"))?;
    let mut messages = Messages::default();
    encoder.encode(&batch(&table, 0, PAYLOADS)?, 0..PAYLOADS as usize, &mut messages)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut bytes = 0;
    for message in messages.iter() {
        let value = message.value.unwrap_or_default();
        bytes += value.len();
        file.write_all(value)?;
        file.write_all(b"\n")?;
    }
    Ok(bytes / PAYLOADS as usize)
}

async fn ours(kafka: &Kafka, topic: &str, guarantee: &str, rows: i64) -> Outcome<f64> {
    let option = |key: &str, value: &str| RawOption::new(key, value, Place::CommandLine);
    let mut raw = vec![
        option("properties.bootstrap.servers", &kafka.bootstrap()),
        option("topic", topic),
        option("topic.partitions", "1"),
        option("sink.delivery-guarantee", guarantee),
        option("sink.commit-topic", &format!("{topic}-commits")),
        option("sink.add-event-id-to-header-enabled", "false"),
    ];
    raw.extend(SETTINGS.iter().map(|(name, value)| option(&format!("properties.{name}"), value)));
    let pipeline = PipelineOptions { name: "bench".into(), parallelism: 1, memory_limit: 128 << 20 };
    let sink = (dujiang_kafka::SINK.build)(&raw, &pipeline).map_err(|problems| format!("{problems:?}"))?;
    let context = SinkContext {
        identity: PipelineIdentity { name: topic.into(), lineage: Lineage("00000000000000aa".into()) },
        generation: Generation(1),
        clock: Arc::new(Standing(1_700_000_000_000_000)),
        budget: Budget::new(128 << 20),
        retries: Default::default(),
    };
    let table = table();
    let batches: Vec<ChangeBatch> = (0..8).map(|n| batch(&table, n * BATCH, BATCH)).collect::<Outcome<_>>()?;
    let mut committer = sink.committer(context.clone()).await?;
    committer.open().await?;
    committer.apply_schema(None, &table).await?;
    let mut writer = sink.writer(0, context.clone()).await?;
    let begin = Instant::now();
    let mut written = 0;
    while written < rows {
        let batch = &batches[(written / BATCH % 8) as usize];
        writer.write(batch).await?;
        written += BATCH;
    }
    writer.flush().await?;
    let tokens = writer.prepare(Epoch(1)).await?;
    let (position, position_text) = (Position::default(), String::new());
    committer
        .commit(&CommitRequest { epoch: Epoch(1), generation: Generation(1), tokens, position, position_text })
        .await?;
    Ok(written as f64 / begin.elapsed().as_secs_f64())
}

/// The yardstick makes none, and the broker neither.
async fn make_topic(kafka: &Kafka, topic: &str) -> Outcome<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    for made in admin.create_topics([&new], &AdminOptions::new()).await? {
        made.map_err(|(topic, why)| format!("{topic}: {why}"))?;
    }
    Ok(())
}

fn theirs(kafka: &Kafka, topic: &str, guarantee: &str, payloads: &Path, rows: i64) -> Outcome<f64> {
    let mut command = Command::new(kafka.home().join("bin/kafka-run"));
    command.args(["org.apache.kafka.tools.ProducerPerformance", "--topic", topic, "--throughput", "-1"]);
    command.args(["--num-records", &rows.to_string(), "--bootstrap-server", &kafka.bootstrap()]);
    command.arg("--payload-file").arg(payloads);
    if guarantee == "exactly-once" {
        command.args(["--transactional-id", topic, "--transaction-duration-ms", "600000"]);
    }
    command.arg("--command-property").args(["acks=all", "buffer.memory=67108864"]);
    command.args(SETTINGS.map(|(name, value)| format!("{name}={value}")));
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `500000 records sent, 123456.8 records/sec (12.3 MB/sec), ...`; the last such line is the sum.
    let last = text.lines().rev().find(|line| line.contains("records sent") && line.contains("records/sec"));
    let rate = last.and_then(|line| line.split(", ").nth(1)?.split(' ').next()?.parse().ok());
    Ok(rate.ok_or_else(|| format!("no figure in: {text}{}", String::from_utf8_lossy(&output.stderr)))?)
}
