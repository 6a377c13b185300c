//! The suite that every sink passes.

use crate::support::{scratch, sink, visible, visible_ids};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use dujiang_core::sink::Sink;
use dujiang_testkit::conformance::sink::{SinkUnderTest, all};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::PathBuf;
use tempfile::TempDir;

struct Folder {
    dir: TempDir,
    format: &'static str,
}

impl SinkUnderTest for Folder {
    fn open(&mut self) -> Box<dyn Sink> {
        Box::new(sink(self.dir.path(), &[("format", self.format)]))
    }

    fn visible(&mut self) -> Vec<i64> {
        match self.format {
            "json" => visible_ids(self.dir.path()),
            "csv" => visible(self.dir.path()).iter().flat_map(csv_ids).collect(),
            _ => visible(self.dir.path()).iter().flat_map(parquet_ids).collect(),
        }
    }
}

fn csv_ids(file: &PathBuf) -> Vec<i64> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

fn parquet_ids(file: &PathBuf) -> Vec<i64> {
    let batches = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap().build().unwrap();
    batches.flat_map(|batch| batch.unwrap().column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn json_conforms() {
    all(&mut Folder { dir: scratch(), format: "json" }).await;
}

#[tokio::test]
async fn csv_conforms() {
    all(&mut Folder { dir: scratch(), format: "csv" }).await;
}

#[tokio::test]
async fn parquet_conforms() {
    all(&mut Folder { dir: scratch(), format: "parquet" }).await;
}
