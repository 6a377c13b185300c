//! The log alone against its disk: appending with a commit for every 64 MB, and reading, beside plain writing and reading of as
//! many bytes with as many fsyncs.
//!
//! `disk_bench FOLDER ROWS PAIRS [COMPRESSION]` alternates after one warm-up of each. Our time is from the first batch to the
//! last commit, encoding included; ours of reading is that of every batch. What was written is in the page cache for both.

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
use dujiang_log::LOG;
use dujiang_log::inspect::View;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const BATCH: i64 = 8192;
/// Bytes of the log between two commits, about.
const EPOCH: u64 = 64 << 20;
const BLOCK: usize = 1 << 20;

#[tokio::main]
async fn main() -> Outcome<()> {
    let usage = "usage: disk_bench FOLDER ROWS PAIRS [COMPRESSION]";
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or(usage)?;
    let (rows, pairs): (i64, usize) =
        (arguments.next().ok_or(usage)?.parse()?, arguments.next().ok_or(usage)?.parse()?);
    let compression = arguments.next().unwrap_or_else(|| "zstd".into());
    let place = Path::new(&folder).join(format!("dujiang-disk-{}", std::process::id()));
    let (mut appends, mut reads) = (Vec::new(), Vec::new());
    for pair in 0..=pairs {
        std::fs::create_dir(&place)?;
        let (appended, commits) = append(&place.join("log"), &compression, rows).await?;
        let bytes = size(&place.join("log"))?;
        let written = write_plainly(&place.join("plain"), bytes, commits)?;
        let (read, read_plainly) = (read(&place.join("log"), rows)?, read_plainly(&place.join("plain"))?);
        std::fs::remove_dir_all(&place)?;
        if pair > 0 {
            appends.push(written / appended);
            reads.push(read_plainly / read);
            let rate = |seconds: f64| bytes as f64 / seconds / 1e6;
            println!(
                "{compression}, {bytes} bytes: append {:.0} MB/s, disk {:.0}; read {:.0} MB/s, disk {:.0}; {:.0} thousand rows/s in, {:.0} out",
                rate(appended),
                rate(written),
                rate(read),
                rate(read_plainly),
                rows as f64 / appended / 1e3,
                rows as f64 / read / 1e3,
            );
        }
    }
    for (what, mut ratios) in [("append", appends), ("read", reads)] {
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
        let ends = ratios.first().zip(ratios.last()).unwrap_or((&0.0, &0.0));
        println!("{what}: ratio to the disk {median:.2} ({:.2} - {:.2})", ends.0, ends.1);
    }
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
        text("note"),
    ];
    TableSchema::by_value(TableId::new("shop", "orders"), fields, vec![0])
}

fn batch(table: &Arc<TableSchema>, from: i64) -> Outcome<ChangeBatch> {
    let ids = || from..from + BATCH;
    let text = |words: &[&str]| -> ArrayRef {
        let word = |id: i64| words[(id.wrapping_mul(0x9E37_79B9) >> 7) as usize % words.len()];
        Arc::new(StringArray::from_iter_values(ids().map(|id| format!("{} {}", word(id), id % 1009))))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids())),
        Arc::new(Int64Array::from_iter_values(ids().map(|id| id.wrapping_mul(7919) % 9973))),
        Arc::new(Int32Array::from_iter_values(ids().map(|id| (id % 7) as i32))),
        Arc::new(Float64Array::from_iter_values(ids().map(|id| (id.wrapping_mul(31) % 100_000) as f64 / 4.0))),
        text(&["new", "confirmed", "sent"]),
        text(&["Chengdu", "Dujiangyan", "Leshan", "Mianyang"]),
        text(&["leave it with the neighbours", "call before you come", "ring twice", "no note"]),
    ];
    let (mut origins, transactions) = (Origins::default(), 64);
    for number in 1..=transactions {
        let transaction = format!("0-1-{}", from + number);
        let origin = Origin {
            transaction: &transaction,
            position: "bin.000001:4",
            commit_micros: 1_700_000_000_000_000 + from + number,
            precision: TimePrecision::Micros,
            first_ordinal: 0,
        };
        origins.push((BATCH / transactions * number) as usize, origin);
    }
    let rows = RecordBatch::try_new(table.arrow.clone(), columns)?;
    Ok(ChangeBatch::new(table.clone(), rows, vec![Kind::Insert; BATCH as usize], origins)?)
}

/// Seconds, and how many commits there were.
async fn append(path: &Path, compression: &str, rows: i64) -> Outcome<(f64, u64)> {
    let option = |key: &str, value: &str| RawOption::new(key, value, Place::CommandLine);
    let raw =
        [option("path", &path.display().to_string()), option("compression", compression), option("max-bytes", "100gb")];
    let pipeline = PipelineOptions { name: "bench".into(), parallelism: 1, memory_limit: 128 << 20 };
    let log = (LOG.build)(&raw, &pipeline).map_err(|problems| format!("{problems:?}"))?;
    let context = SinkContext {
        identity: PipelineIdentity { name: "bench".into(), lineage: Lineage("00000000000000aa".into()) },
        generation: Generation(1),
        clock: Arc::new(Standing(1_700_000_000_000_000)),
        budget: Budget::new(128 << 20),
        retries: Default::default(),
    };
    let table = table();
    let batches: Vec<ChangeBatch> = (0..64).map(|n| batch(&table, n * BATCH)).collect::<Outcome<_>>()?;
    let mut committer = log.sink.committer(context.clone()).await?;
    committer.open().await?;
    committer.abort_except(&[]).await?;
    committer.apply_shapes(std::slice::from_ref(&table)).await?;
    let mut writer = log.sink.writer(0, context).await?;
    let begin = Instant::now();
    let (mut written, mut epoch, mut ended) = (0, 0, 0);
    while written < rows {
        writer.write(&batches[(written / BATCH % 64) as usize]).await?;
        written += BATCH;
        let bytes = writer.figures().bytes;
        if bytes >= ended + EPOCH || written >= rows {
            (epoch, ended) = (epoch + 1, bytes);
            let tokens = writer.prepare(Epoch(epoch)).await?;
            let (position, position_text) = (Position::new(vec![1]), String::new());
            let request =
                CommitRequest { epoch: Epoch(epoch), generation: Generation(1), tokens, position, position_text };
            committer.commit(&request).await?;
        }
    }
    Ok((begin.elapsed().as_secs_f64(), epoch))
}

fn read(path: &Path, rows: i64) -> Outcome<f64> {
    let begin = Instant::now();
    let verified = View::open(path)?.verify();
    let seconds = begin.elapsed().as_secs_f64();
    match verified.problems.into_iter().next() {
        Some(problem) => Err(problem.into()),
        None if verified.images < rows as u64 => Err(format!("{} of {rows} rows are there", verified.images).into()),
        None => Ok(seconds),
    }
}

fn size(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn write_plainly(path: &Path, bytes: u64, syncs: u64) -> Outcome<f64> {
    let block: Vec<u8> = (0..BLOCK as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let begin = Instant::now();
    let mut file = File::create(path)?;
    let (blocks, syncs) = (bytes.div_ceil(BLOCK as u64), syncs.max(1));
    for number in 1..=blocks {
        file.write_all(&block)?;
        if number % blocks.div_ceil(syncs) == 0 || number == blocks {
            file.sync_data()?;
        }
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn read_plainly(path: &Path) -> Outcome<f64> {
    let (begin, mut block, mut file) = (Instant::now(), vec![0; BLOCK], File::open(path)?);
    while file.read(&mut block)? > 0 {}
    Ok(begin.elapsed().as_secs_f64())
}
