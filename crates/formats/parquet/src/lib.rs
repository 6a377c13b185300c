//! Arrow batches to Parquet bytes. No file is touched here: the bytes of finished row groups are fetched with
//! [`ParquetEncoder::take_output`] and may go anywhere.
//!
//! What a column becomes is `docs/reference/types.md`'s business; in short: unsigned integers, decimals, dates, times,
//! wall clocks and instants have their own logical types, text marked `json` is annotated JSON, a duration is a plain
//! INT64 of microseconds (Parquet has no type for it) whose Arrow type is kept in the file's `ARROW:schema`.

#![warn(missing_docs)]

mod schema;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use dujiang_core::{Code, Result, ResultExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy: fast.
    Snappy,
    /// Zstandard, level 1: a third smaller than Snappy, nearly as fast.
    Zstd,
}

/// How a file is built.
#[derive(Debug, Clone)]
pub struct ParquetOptions {
    /// Codec of the pages.
    pub compression: Compression,
    /// A row group ends when it has this many encoded bytes.
    pub row_group_bytes: usize,
    /// Columns whose values hardly ever repeat but share their beginnings (event ids): stored as differences to the
    /// value before instead of through a dictionary.
    pub unique_columns: Vec<String>,
    /// Columns that nobody searches by range: no minimum and maximum are kept, which is a tenth of their cost.
    pub without_statistics: Vec<String>,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Zstd,
            row_group_bytes: 32 << 20,
            unique_columns: Vec::new(),
            without_statistics: Vec::new(),
        }
    }
}

/// Rows handed to the Parquet crate at once, at most this many bytes of them: a bound on how far a row group can pass
/// its limit.
const SLICE_BYTES: usize = 4 << 20;

/// A column's dictionary ends at so many bytes, and the rest of the row group is stored plainly. A column of a wide table
/// that hardly ever repeats would otherwise spend half of a row group, and megabytes, on a dictionary of no use.
const DICTIONARY_BYTES: usize = 256 << 10;

/// What the writer of a column holds before its first value, and as much of that as is counted for one file: a table of
/// thousands of columns must not look like one whose file is due to be closed. (10,000 files of 8 columns held 3 GB.)
const IDLE_COLUMN: usize = 36 << 10;
const IDLE_FILE: usize = 16 << 20;

/// Encodes the batches of one file.
pub struct ParquetEncoder {
    writer: ArrowWriter<Vec<u8>>,
    rows: u64,
    idle: usize,
}

impl ParquetEncoder {
    /// Starts a file.
    ///
    /// # Errors
    /// `UnknownType` for a column type that Parquet cannot hold.
    pub fn new(schema: SchemaRef, options: &ParquetOptions) -> Result<Self> {
        let unsupported = || "a column type cannot be written to Parquet".to_owned();
        let idle = (schema.fields().len() * IDLE_COLUMN).min(IDLE_FILE);
        let parquet_schema = schema::descriptor(&schema).or_code(Code::UnknownType, unsupported)?;
        let writer_options =
            ArrowWriterOptions::new().with_properties(properties(options)).with_parquet_schema(parquet_schema);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, writer_options)
            .or_code(Code::UnknownType, unsupported)?;
        Ok(Self { writer, rows: 0, idle })
    }

    /// Adds rows. After an error the encoder is of no use any more.
    ///
    /// # Errors
    /// `Bug` when the batch does not have the file's schema.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let pieces = batch.get_array_memory_size().div_ceil(SLICE_BYTES).clamp(1, rows.max(1));
        let step = rows.div_ceil(pieces).max(1);
        for start in (0..rows).step_by(step) {
            let piece = batch.slice(start, step.min(rows - start));
            self.writer.write(&piece).or_code(Code::Bug, || "encode rows as Parquet".to_owned())?;
        }
        self.rows += rows as u64;
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes held: the row group in progress, output not yet taken, and what the writers of columns need before their first
    /// value, so that thousands of tables do not keep thousands of files open.
    pub fn memory(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().len() + self.idle
    }

    /// Estimated size of the file if it were finished now.
    pub fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// The bytes that are complete, to be appended to the file.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.inner_mut())
    }

    /// Ends the file; returns its last bytes.
    ///
    /// # Errors
    /// `Bug` when the Parquet crate contradicts itself.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.writer.into_inner().or_code(Code::Bug, || "finish a Parquet file".to_owned())
    }
}

fn properties(options: &ParquetOptions) -> WriterProperties {
    let codec = match options.compression {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
    };
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("dujiang ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_max_row_group_bytes(Some(options.row_group_bytes));
    for name in &options.unique_columns {
        let path = ColumnPath::from(vec![name.clone()]);
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BYTE_ARRAY);
    }
    for name in &options.without_statistics {
        let path = ColumnPath::from(vec![name.clone()]);
        builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    builder.build()
}

#[cfg(test)]
mod tests;
