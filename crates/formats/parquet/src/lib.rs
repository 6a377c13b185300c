//! Arrow batches to Parquet bytes. No file is touched here: the bytes of finished row groups are fetched with
//! [`ParquetEncoder::take_output`] and may go anywhere.
//!
//! What a column becomes is `docs/reference/types.md`'s business; in short: unsigned integers, decimals, dates, times,
//! wall clocks and instants have their own logical types, text marked `json` is annotated JSON, a duration is a plain
//! INT64 of microseconds (Parquet has no type for it) whose Arrow type is kept in the file's `ARROW:schema`.
//!
//! Writers of columns are dear: each has a hash table and a compressor before its first page. So rows wait in Arrow
//! until they are worth writers of their own. Thousands of tables with few rows each then cost little more than their
//! rows, and a table of thousands of columns is encoded column by column, with one writer at a time.

#![warn(missing_docs)]

mod group;
mod pieces;
mod runs;
mod schema;
mod waiting;

use crate::group::{OpenGroup, write_columns};
pub use crate::pieces::Pieces;
use crate::waiting::Waiting;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use dujiang_core::{Code, Result, ResultExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions};
use parquet::basic::{Compression as Codec, Encoding, Type as Physical, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, ColumnPath, SchemaDescriptor};
use std::sync::Arc;

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
    /// Files end at about this many bytes: no more than that waits to be encoded.
    pub file_bytes: usize,
    /// Columns whose values hardly ever repeat but share their beginnings (event ids): stored as differences to the
    /// value before instead of through a dictionary.
    pub unique_columns: Vec<String>,
    /// Required columns of text or of instants in which the same value stands many times in a row (transactions): written as runs,
    /// uncompressed.
    pub run_columns: Vec<String>,
    /// Columns that nobody searches by range: no minimum and maximum are kept, which is a tenth of their cost.
    pub without_statistics: Vec<String>,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Zstd,
            row_group_bytes: 32 << 20,
            file_bytes: 128 << 20,
            unique_columns: Vec::new(),
            run_columns: Vec::new(),
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

/// Rows wait until there are so many bytes of them per column: about half of what writers of all columns at once need.
const WAITING_PER_COLUMN: usize = 256 << 10;

/// But never more than this. A table whose writers would need more is written column by column.
const MOST_WAITING: usize = 16 << 20;

/// Rows larger than this are written column by column: a page of such a value is there several times while it is encoded.
const LARGE_ROW: usize = 1 << 20;

/// Encodes the batches of one file.
pub struct ParquetEncoder {
    schema: SchemaRef,
    options: Arc<ParquetOptions>,
    /// Rows that are not encoded yet; none while `open` is there.
    waiting: Waiting,
    /// There was once enough: rows wait no more.
    flows: bool,
    /// Made with the first row group.
    file: Option<File>,
    /// The row group that takes rows as they come.
    open: Option<OpenGroup>,
}

/// A file that has begun.
pub(crate) struct File {
    schema: SchemaRef,
    writer: SerializedFileWriter<Pieces>,
    factory: ArrowRowGroupWriterFactory,
    /// Of every leaf whether its values come in runs.
    in_runs: Vec<bool>,
}

impl ParquetEncoder {
    /// Starts a file.
    ///
    /// # Errors
    /// `UnknownType` for a column type that Parquet cannot hold.
    pub fn new(schema: SchemaRef, options: Arc<ParquetOptions>) -> Result<Self> {
        schema::check(&schema).or_code(Code::UnknownType, unsupported)?;
        Ok(Self { schema, options, waiting: Waiting::default(), flows: false, file: None, open: None })
    }

    /// Adds rows. After an error the encoder is of no use any more.
    ///
    /// # Errors
    /// `Bug` when the batch does not have the file's schema.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let bytes = waiting::bytes_of(&batch);
        let large = bytes / rows >= LARGE_ROW;
        if self.flows && !large && self.waiting.is_empty() {
            return self.stream(&batch, bytes);
        }
        self.close_group()?;
        self.waiting.push(batch, bytes)?;
        if self.waiting.bytes() < self.enough() {
            return Ok(());
        }
        if large || self.is_wide() {
            return self.write_waiting();
        }
        self.flows = true;
        for batch in self.waiting.take() {
            self.stream(&batch, waiting::bytes_of(&batch))?;
        }
        Ok(())
    }

    /// Bytes of rows that are worth to be encoded.
    fn enough(&self) -> usize {
        let columns = self.schema.fields().len();
        (columns * WAITING_PER_COLUMN).min(MOST_WAITING).min(self.options.row_group_bytes).min(self.options.file_bytes)
    }

    fn is_wide(&self) -> bool {
        self.schema.fields().len() * WAITING_PER_COLUMN > MOST_WAITING
    }

    /// Encodes rows into the open row group.
    fn stream(&mut self, batch: &RecordBatch, bytes: usize) -> Result<()> {
        let rows = batch.num_rows();
        let pieces = bytes.div_ceil(SLICE_BYTES).clamp(1, rows);
        let step = rows.div_ceil(pieces).max(1);
        for start in (0..rows).step_by(step) {
            let piece = batch.slice(start, step.min(rows - start));
            let mut group = match self.open.take() {
                Some(group) => group,
                None => OpenGroup::new(self.file()?).or_code(Code::Bug, encoding)?,
            };
            group.write(&piece).or_code(Code::Bug, encoding)?;
            let full = group.is_full(self.options.row_group_bytes);
            self.open = Some(group);
            if full {
                self.close_group()?;
            }
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<()> {
        match self.open.take() {
            Some(group) => group.close(self.file()?).or_code(Code::Bug, encoding),
            None => Ok(()),
        }
    }

    /// Makes a row group of what waits, column by column.
    fn write_waiting(&mut self) -> Result<()> {
        let batches = self.waiting.take();
        if batches.is_empty() {
            return Ok(());
        }
        let options = self.options.clone();
        write_columns(self.file()?, batches, &options).or_code(Code::Bug, encoding)
    }

    fn file(&mut self) -> Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::begin(&self.schema, &self.options).or_code(Code::UnknownType, unsupported)?,
        };
        Ok(self.file.insert(file))
    }

    /// Bytes held: rows that wait, the row group in progress with its writers, and output not yet taken.
    pub fn memory(&self) -> usize {
        let open = self.open.as_ref().map_or(0, OpenGroup::memory);
        let output = self.file.as_ref().map_or(0, |file| file.writer.inner().memory());
        self.waiting.memory() + open + output
    }

    /// Estimated size of the file if it were finished now.
    pub fn size(&self) -> usize {
        let open = self.open.as_ref().map_or(0, OpenGroup::size);
        self.file.as_ref().map_or(0, |file| file.writer.bytes_written()) + open + self.waiting.bytes()
    }

    /// The bytes that are complete, to be appended to the file.
    pub fn take_output(&mut self) -> Pieces {
        self.file.as_mut().map(|file| std::mem::take(file.writer.inner_mut())).unwrap_or_default()
    }

    /// Ends the file; returns its last bytes.
    ///
    /// # Errors
    /// `Bug` when the Parquet crate contradicts itself.
    pub fn finish(mut self) -> Result<Pieces> {
        self.close_group()?;
        self.write_waiting()?;
        self.file()?;
        let Some(file) = self.file else { return Ok(Pieces::default()) };
        file.writer.into_inner().or_code(Code::Bug, || "finish a Parquet file".to_owned())
    }
}

fn unsupported() -> String {
    "a column type cannot be written to Parquet".to_owned()
}

fn encoding() -> String {
    "encode rows as Parquet".to_owned()
}

impl File {
    fn begin(schema: &SchemaRef, options: &ParquetOptions) -> parquet::errors::Result<Self> {
        let descriptor = schema::descriptor(schema)?;
        let properties = integers_as_differences(properties(options), &descriptor).build();
        let writer_options = ArrowWriterOptions::new().with_properties(properties).with_parquet_schema(descriptor);
        let writer = ArrowWriter::try_new_with_options(Pieces::default(), schema.clone(), writer_options)?;
        let (writer, factory) = writer.into_serialized_writer()?;
        let can_be = |name: &str| schema.field_with_name(name).is_ok_and(|field| runs::can_hold(field.data_type()));
        let in_runs = |leaf: &ColumnDescPtr| {
            let plain = leaf.path().parts().len() == 1 && leaf.max_def_level() == 0;
            plain && options.run_columns.iter().any(|name| name == leaf.name() && can_be(name))
        };
        let in_runs = writer.schema_descr().columns().iter().map(in_runs).collect();
        Ok(Self { schema: schema.clone(), writer, factory, in_runs })
    }

    /// The leaf that a column of this name is, if its values come in runs.
    fn run_column(&self, name: &str) -> Option<ColumnDescPtr> {
        let leaves = self.writer.schema_descr().columns().iter().zip(&self.in_runs);
        leaves.filter(|(_, in_runs)| **in_runs).map(|(leaf, _)| leaf.clone()).find(|leaf| leaf.name() == name)
    }
}

/// Whole numbers, decimals that are stored as such, dates and times of which there are too many for a dictionary are stored as
/// differences in as few bits as they need: keys and times rise, and what does not is not larger than plain. So there is less
/// to compress, which takes longer.
fn integers_as_differences(builder: WriterPropertiesBuilder, descriptor: &SchemaDescriptor) -> WriterPropertiesBuilder {
    let whole = |leaf: &&ColumnDescPtr| matches!(leaf.physical_type(), Physical::INT32 | Physical::INT64);
    descriptor
        .columns()
        .iter()
        .filter(whole)
        .fold(builder, |builder, leaf| builder.set_column_encoding(leaf.path().clone(), Encoding::DELTA_BINARY_PACKED))
}

fn properties(options: &ParquetOptions) -> WriterPropertiesBuilder {
    let codec = match options.compression {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
    };
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("dujiang ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES);
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
    builder
}

#[cfg(test)]
mod tests;
