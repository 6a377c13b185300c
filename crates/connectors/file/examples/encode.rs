//! Rows per second of the writer against the Parquet crate alone, for the same batches, codec and row-group limit.
//!
//! `cargo run --release -p dujiang-file --example encode [rows] [rounds]`. Rounds alternate; medians are printed, of
//! wall-clock time and of the CPU time of all threads, which a busy machine does not change much. The crate alone writes to a file, without fsync; the writer ends with `prepare`, fsync included.

use arrow_array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, TimeUnit};
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Budget;
use dujiang_core::clock::Standing;
use dujiang_core::options::{Place, RawOption};
use dujiang_core::sink::{Sink, SinkContext};
use dujiang_core::{
    ChangeBatch, Epoch, Generation, Kind, Lineage, Origin, Origins, PipelineIdentity, TableId, TableSchema,
};
use dujiang_file::FileSink;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// CPU seconds of this process so far, in steps of 10 ms (proc(5), fields 14 and 15 of `stat`).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name in brackets") + 2..].split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|n| n.parse::<u64>().expect("a number")).sum();
    ticks as f64 / 100.0
}

/// Name and options of what is measured; without options, the crate alone.
type Variant = (&'static str, Option<&'static [(&'static str, &'static str)]>);

const BATCH_ROWS: usize = 8192;
const TRANSACTION_ROWS: usize = 7;

fn batches(rows: usize) -> Vec<ChangeBatch> {
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("customer", DataType::Int64, false),
        Field::new("total", DataType::Decimal128(12, 2), false),
        Field::new("status", DataType::Utf8, false),
        Field::new("note", DataType::Utf8, true),
        Field::new("created", DataType::Timestamp(TimeUnit::Microsecond, None), false),
    ];
    let schema = TableSchema::by_value(TableId::new("shop", "orders"), fields, vec![0]);
    (0..rows.div_ceil(BATCH_ROWS)).map(|n| batch(&schema, n as i64)).collect()
}

fn batch(schema: &Arc<TableSchema>, number: i64) -> ChangeBatch {
    let mix = |i: i64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) >> 20).rem_euclid(1 << 40);
    let ids = number * BATCH_ROWS as i64..(number + 1) * BATCH_ROWS as i64;
    let total = Decimal128Array::from_iter_values(ids.clone().map(|i| i128::from(mix(i) % 1_000_000)));
    let status = ["new", "paid", "shipped", "done"];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(Int64Array::from_iter_values(ids.clone().map(|i| mix(i) % 100_000))),
        Arc::new(total.with_precision_and_scale(12, 2).expect("12 digits")),
        Arc::new(StringArray::from_iter_values(ids.clone().map(|i| status[(mix(i) % 4) as usize]))),
        Arc::new(StringArray::from_iter_values(ids.clone().map(|i| format!("note {:x} on an order", mix(i))))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(ids.clone().map(|i| 1_795_196_305_000_000 + i * 130))),
    ];
    let rows = RecordBatch::try_new(schema.arrow.clone(), columns).expect("columns fit");
    let mut origins = Origins::default();
    for start in (0..BATCH_ROWS).step_by(TRANSACTION_ROWS) {
        let transaction = format!("0-1-{}", number * 2000 + start as i64);
        let position = format!("bin.000003:{}", number * 900_000 + start as i64 * 110);
        let end = (start + TRANSACTION_ROWS).min(BATCH_ROWS);
        let commit_micros = 1_795_196_305_000_000 + number * 1_000_000;
        let precision = TimePrecision::Seconds;
        let (transaction, position) = (transaction.as_str(), position.as_str());
        origins.push(end, Origin { transaction, position, commit_micros, precision, first_ordinal: 0 });
    }
    ChangeBatch::new(schema.clone(), rows, vec![Kind::Insert; BATCH_ROWS], origins).expect("batch is consistent")
}

fn crate_alone(folder: &Path, batches: &[ChangeBatch]) {
    let file = std::fs::File::create(folder.join("alone.parquet")).expect("make a file");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_bytes(Some(32 << 20))
        .build();
    let mut writer = ArrowWriter::try_new(file, batches[0].rows.schema(), Some(properties)).expect("start");
    for batch in batches {
        writer.write(&batch.rows).expect("write");
    }
    writer.close().expect("close");
}

async fn ours(folder: &Path, batches: &[ChangeBatch], options: &[(&str, &str)]) {
    let path = folder.display().to_string();
    let all = [("path", path.as_str()), ("roll.size", "4gb")].into_iter().chain(options.iter().copied());
    let raw: Vec<_> = all.map(|(k, v)| RawOption::new(k, v, Place::CommandLine)).collect();
    let sink = FileSink::from_options(&raw).expect("options");
    let context = SinkContext {
        identity: PipelineIdentity { name: "bench".into(), lineage: Lineage("00000000000000aa".into()) },
        generation: Generation(1),
        clock: Arc::new(Standing(1_795_196_305_123_456)),
        budget: Budget::new(128 << 20),
        retries: Default::default(),
    };
    let mut committer = sink.committer(context.clone()).await.expect("committer");
    committer.open().await.expect("open");
    let mut writer = sink.writer(0, context).await.expect("writer");
    for batch in batches {
        writer.write(batch).await.expect("write");
    }
    writer.prepare(Epoch(1)).await.expect("prepare");
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let (rows, rounds): (usize, usize) = (numbers.next().unwrap_or(2_000_000), numbers.next().unwrap_or(5));
    let batches = batches(rows);
    let images: usize = batches.iter().map(ChangeBatch::images).sum();
    let bytes: usize = batches.iter().map(|b| b.rows.get_array_memory_size()).sum();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("runtime");
    let variants: [Variant; 7] = [
        ("parquet crate alone", None),
        ("writer, no added columns", Some(&[("metadata.columns", "off")])),
        ("writer, all but event id", Some(&[("metadata.event-id", "")])),
        ("writer, default", Some(&[])),
        ("writer, snappy", Some(&[("compression", "snappy")])),
        ("writer, json", Some(&[("format", "json")])),
        ("writer, csv", Some(&[("format", "csv")])),
    ];
    let mut times = vec![Vec::new(); variants.len()];
    for _ in 0..rounds {
        for (variant, times) in variants.iter().zip(&mut times) {
            let folder = tempfile::tempdir().expect("a scratch folder");
            let (start, cpu) = (Instant::now(), cpu_seconds());
            match variant.1 {
                None => crate_alone(folder.path(), &batches),
                Some(options) => runtime.block_on(ours(folder.path(), &batches, options)),
            }
            times.push((cpu_seconds() - cpu, start.elapsed().as_secs_f64()));
        }
    }
    #[allow(clippy::print_stdout)]
    for ((name, _), times) in variants.iter().zip(&times) {
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut sorted: Vec<f64> = times.iter().map(of).collect();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        let (cpu, wall) = (median(|t| t.0), median(|t| t.1));
        let rate = |seconds: f64| images as f64 / seconds;
        let megabytes = bytes as f64 / cpu / 1e6;
        println!("{name:26} {:>9.0} rows/CPU-s {megabytes:>7.1} MB/CPU-s {:>9.0} rows/s", rate(cpu), rate(wall));
    }
}
