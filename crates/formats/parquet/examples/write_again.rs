//! The yardstick of the bench: the Parquet crate alone writing rows that a pipeline has written before.
//!
//! `write_again OUTPUT FILE...` reads the files into batches of 8,192 rows in memory, then writes them as one file with
//! the same codec, flushed to the disk, and prints the seconds the writing took.

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::error::Error;
use std::fs::File;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let output = arguments.next().ok_or("usage: write_again OUTPUT FILE...")?;
    let mut batches = Vec::new();
    for file in arguments {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.with_batch_size(8192).build()?;
        batches.extend(reader.collect::<Result<Vec<_>, _>>()?);
    }
    let schema = batches.first().ok_or("no rows")?.schema();
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();

    let start = Instant::now();
    let mut writer = ArrowWriter::try_new(File::create(&output)?, schema, Some(properties))?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.into_inner()?.sync_all()?;
    let seconds = start.elapsed().as_secs_f64();
    let rows: usize = batches.iter().map(|b| b.num_rows()).sum();
    eprintln!("{rows} rows in {seconds:.6} s");
    std::fs::write(format!("{output}.seconds"), format!("{seconds:.6}"))?;
    Ok(())
}
