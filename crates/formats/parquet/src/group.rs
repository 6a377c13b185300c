//! Row groups: one that takes rows as they come, or one that is written column by column.

use crate::runs::Runs;
use crate::{Compression, DICTIONARY_BYTES, File, ParquetOptions, properties, schema};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;
use std::sync::Arc;

/// Rows of a group at most.
const MOST_ROWS: usize = 1 << 20;

/// What the compressor of a column takes once it has compressed a page, which its writer does not count: zstd at level 1
/// allocates 0.6 MB of tables for pages of 1 MB and touches most of it.
const COMPRESSOR: usize = 576 << 10;

/// A column with a batch whose values are larger than this on the average gets no dictionary, minimum and maximum: each of them would
/// be one more copy of a value that nobody searches by range.
const LARGE_VALUE: usize = 64 << 10;

/// So much of one tells whether it can be compressed.
const SAMPLE: usize = 128 << 10;

/// A row group with a writer for every column.
pub(crate) struct OpenGroup {
    schema: SchemaRef,
    leaves: Vec<Leaf>,
    rows: usize,
}

/// A leaf of the schema.
struct Leaf {
    /// As long as its values come in runs.
    runs: Option<Runs>,
    writer: ArrowColumnWriter,
}

impl Leaf {
    /// Adds rows to the runs; hands all of them to the writer once they come in runs no more.
    fn add_to_runs(&mut self, field: &FieldRef, column: &ArrayRef) -> Result<()> {
        let mut runs = self.runs.take().unwrap_or_default();
        runs.add(column);
        if !runs.are_too_many() {
            self.runs = Some(runs);
            return Ok(());
        }
        runs.rows(field.data_type())
            .try_for_each(|rows| write_column(field, &rows, &mut std::iter::once(&mut self.writer)))
    }

    fn size(&self) -> usize {
        self.runs.as_ref().map_or_else(|| self.writer.get_estimated_total_bytes(), Runs::size)
    }

    /// What it holds. Pages that wait for their dictionary are part of a writer's size, not of what it says it holds.
    fn memory(&self) -> usize {
        let writer = &self.writer;
        let written = || writer.memory_size().max(writer.get_estimated_total_bytes()) + COMPRESSOR;
        self.runs.as_ref().map_or_else(written, Runs::memory)
    }
}

impl OpenGroup {
    pub(crate) fn new(file: &File) -> Result<Self> {
        let writers = file.factory.create_column_writers(file.writer.flushed_row_groups().len())?;
        let leaf = |(writer, in_runs): (_, &bool)| Leaf { runs: in_runs.then(Runs::default), writer };
        let leaves = writers.into_iter().zip(&file.in_runs).map(leaf).collect();
        Ok(Self { schema: file.schema.clone(), leaves, rows: 0 })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        let mut leaves = self.leaves.iter_mut().peekable();
        for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
            match leaves.next_if(|leaf| leaf.runs.is_some()) {
                Some(leaf) => leaf.add_to_runs(field, column)?,
                None => write_column(field, column, &mut leaves.by_ref().map(|leaf| &mut leaf.writer))?,
            }
        }
        Ok(())
    }

    pub(crate) fn is_full(&self, limit: usize) -> bool {
        self.rows >= MOST_ROWS || self.size() >= limit
    }

    /// Estimated size if it were closed now.
    pub(crate) fn size(&self) -> usize {
        self.leaves.iter().map(Leaf::size).sum()
    }

    pub(crate) fn memory(&self) -> usize {
        self.leaves.iter().map(Leaf::memory).sum()
    }

    /// Ends the group; its columns leave one after the other.
    pub(crate) fn close(self, file: &mut File) -> Result<()> {
        let columns = file.writer.schema_descr().columns().to_vec();
        let properties = file.writer.properties().clone();
        let mut group = file.writer.next_row_group()?;
        for (leaf, column) in self.leaves.into_iter().zip(columns) {
            match leaf.runs {
                None => leaf.writer.close()?.append_to_row_group(&mut group)?,
                Some(runs) => runs.append_to(column, &properties, &mut group)?,
            }
        }
        group.close()?;
        Ok(())
    }
}

fn write_column<'a>(
    field: &FieldRef,
    column: &ArrayRef,
    writers: &mut impl Iterator<Item = &'a mut ArrowColumnWriter>,
) -> Result<()> {
    for leaf in compute_leaves(field, column)? {
        let writer = writers.next().expect("invariant: a writer for every leaf of the schema");
        writer.write(&leaf)?;
    }
    Ok(())
}

/// Writes a row group of these batches with one column's writers at a time; of every column the batches let go as soon as
/// it is written.
pub(crate) fn write_columns(file: &mut File, batches: Vec<RecordBatch>, options: &ParquetOptions) -> Result<()> {
    let mut columns: Vec<_> = batches.into_iter().map(|batch| batch.columns().to_vec().into_iter()).collect();
    let types = file.writer.schema_descr().root_schema().get_fields().to_vec();
    let usual = file.writer.properties().clone();
    let in_runs: Vec<_> = file.schema.fields().iter().map(|field| file.run_column(field.name())).collect();
    let mut group = file.writer.next_row_group()?;
    for ((field, of), in_runs) in file.schema.fields().iter().zip(types).zip(in_runs) {
        let arrays: Vec<ArrayRef> = columns.iter_mut().filter_map(Iterator::next).collect();
        if let Some(column) = in_runs {
            let mut runs = Runs::default();
            arrays.iter().for_each(|array| runs.add(array));
            if !runs.are_too_many() {
                runs.append_to(column, &usual, &mut group)?;
                continue;
            }
        }
        let is_large = |array: &ArrayRef| array.get_array_memory_size() / array.len().max(1) > LARGE_VALUE;
        let properties = match arrays.iter().find(|array| is_large(array)) {
            Some(array) => large_values(array, options)?,
            None => usual.clone(),
        };
        let mut writers = writers_of(field, of, &properties)?;
        for array in arrays {
            write_column(field, &array, &mut writers.iter_mut())?;
        }
        for writer in writers {
            writer.close()?.append_to_row_group(&mut group)?;
        }
    }
    group.close()?;
    Ok(())
}

/// How values like these are written: as they are, if they do not get smaller. Compressing takes two more copies of a page.
fn large_values(values: &ArrayRef, options: &ParquetOptions) -> Result<WriterPropertiesPtr> {
    let plain = ParquetOptions { unique_columns: Vec::new(), without_statistics: Vec::new(), ..options.clone() };
    let builder = |options: &ParquetOptions| {
        let builder = properties(options).set_dictionary_enabled(false).set_statistics_enabled(EnabledStatistics::None);
        Arc::new(builder.set_data_page_size_limit(DICTIONARY_BYTES).build())
    };
    let usual = builder(&plain);
    match sample(values) {
        Some(sample) if !gets_smaller(sample, &usual)? => {
            Ok(builder(&ParquetOptions { compression: Compression::None, ..plain }))
        }
        _ => Ok(usual),
    }
}

/// The midst of the longest value.
fn sample(values: &ArrayRef) -> Option<&[u8]> {
    let longest = match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().iter().flatten().map(str::as_bytes).max_by_key(|value| value.len()),
        DataType::Binary => values.as_binary::<i32>().iter().flatten().max_by_key(|value| value.len()),
        _ => None,
    }?;
    let middle = longest.len() / 2;
    Some(&longest[middle - (SAMPLE / 2).min(middle)..(middle + SAMPLE / 2).min(longest.len())])
}

/// Whether compression takes more than a tenth away.
fn gets_smaller(sample: &[u8], properties: &WriterPropertiesPtr) -> Result<bool> {
    let field = Arc::new(Field::new("sample", DataType::Binary, false));
    let of = schema::descriptor(&Schema::new(vec![field.clone()]))?.root_schema().get_fields()[0].clone();
    let mut writers = writers_of(&field, of, properties)?;
    let value: ArrayRef = Arc::new(BinaryArray::from_vec(vec![sample]));
    write_column(&field, &value, &mut writers.iter_mut())?;
    let mut smaller = true;
    for writer in writers {
        let chunk = writer.close()?;
        let metadata = &chunk.close().metadata;
        smaller &= metadata.compressed_size() < metadata.uncompressed_size() / 10 * 9;
    }
    Ok(smaller)
}

/// The writers of one field. The Parquet crate only makes those of a whole file, so there is one with nothing else in it.
fn writers_of(field: &FieldRef, of: TypePtr, properties: &WriterPropertiesPtr) -> Result<Vec<ArrowColumnWriter>> {
    let alone = SerializedFileWriter::new(std::io::sink(), schema::root("schema", vec![of])?, properties.clone())?;
    let factory = ArrowRowGroupWriterFactory::new(&alone, Arc::new(Schema::new(vec![field.clone()])));
    factory.create_column_writers(0)
}
