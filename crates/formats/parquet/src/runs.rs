//! A column of text or of instants in which the same value stands many times in a row. Its values are neither hashed nor kept one
//! by one, as the Parquet crate's writer does: runs are counted, and what becomes of them is one dictionary page and one page of run
//! lengths.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, TimeUnit};
use parquet::basic::{Compression, Encoding, PageType, Type as Physical};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

/// More than so many are no runs: the dictionary is searched for each, and nothing is compressed.
const MOST_RUNS: usize = 1024;

/// What a run takes besides its text, with its place in the table of values.
const RUN_BYTES: usize = 96;

/// So many rows are written out at once.
const SLICE_ROWS: usize = 8 << 10;

/// So many rows are compared at once.
const BLOCK: usize = 64;

/// Whether a required column of this type can be kept in runs.
pub(crate) fn can_hold(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Timestamp(TimeUnit::Microsecond, _))
}

/// The runs of a row group.
#[derive(Default)]
pub(crate) struct Runs {
    /// Where in `values` a value stands.
    places: HashMap<Vec<u8>, usize>,
    /// The bytes of a text, or eight of an instant, the lowest first.
    values: Vec<Vec<u8>>,
    /// Place of the value, rows.
    runs: Vec<(usize, usize)>,
    /// Bytes of `values`.
    bytes: usize,
}

impl Runs {
    pub(crate) fn add(&mut self, column: &ArrayRef) {
        match column.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(instants) => {
                let runs = instants.values().chunk_by(|a, b| a == b);
                runs.for_each(|run| self.put(&run[0].to_le_bytes(), run.len()));
            }
            None => self.add_texts(column.as_string()),
        }
    }

    fn add_texts(&mut self, column: &StringArray) {
        let (mut offsets, bytes) = (column.value_offsets(), column.value_data());
        while offsets.len() > 1 {
            let rows = equal_texts(offsets, bytes);
            self.put(&bytes[offsets[0] as usize..offsets[1] as usize], rows);
            offsets = &offsets[rows..];
        }
    }

    fn put(&mut self, value: &[u8], more: usize) {
        match self.runs.last_mut() {
            Some((place, rows)) if same(&self.values[*place], value) => *rows += more,
            _ => self.begin(value, more),
        }
    }

    fn begin(&mut self, value: &[u8], rows: usize) {
        let place = self.places.get(value).copied().unwrap_or_else(|| {
            self.places.insert(value.to_owned(), self.values.len());
            self.values.push(value.to_owned());
            self.bytes += value.len();
            self.values.len() - 1
        });
        self.runs.push((place, rows));
    }

    /// Whether they are so many that the column is better written as every other.
    pub(crate) fn are_too_many(&self) -> bool {
        self.runs.len() > MOST_RUNS
    }

    /// Estimated size if the row group were closed now.
    pub(crate) fn size(&self) -> usize {
        self.bytes + 4 * (self.values.len() + self.runs.len())
    }

    pub(crate) fn memory(&self) -> usize {
        2 * self.bytes + RUN_BYTES * (self.values.len() + self.runs.len())
    }

    /// The rows as they came, of a column of this type.
    pub(crate) fn rows(&self, data_type: &DataType) -> impl Iterator<Item = ArrayRef> {
        self.runs.iter().flat_map(move |&(place, rows)| {
            let slices = (0..rows).step_by(SLICE_ROWS);
            slices.map(move |start| repeated(&self.values[place], SLICE_ROWS.min(rows - start), data_type))
        })
    }

    /// Writes the column's part of a row group.
    pub(crate) fn append_to<W: Write + Send>(
        self,
        column: ColumnDescPtr,
        properties: &WriterProperties,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        let rows: usize = self.runs.iter().map(|(_, rows)| rows).sum();
        let physical = column.physical_type();
        let mut out = TrackedWrite::new(Vec::with_capacity(self.size() + (1 << 10)));
        let mut pages = SerializedPageWriter::new(&mut out);
        let dictionary = pages.write_page(self.dictionary_page(physical))?;
        let data = pages.write_page(self.data_page(rows))?;
        let mut offsets = OffsetIndexBuilder::new();
        offsets.append_row_count(rows as i64);
        offsets.append_offset_and_size(data.offset as i64, data.compressed_size as i32);
        let bytes_written = out.bytes_written() as u64;
        let stats = |page_type, encoding| PageEncodingStats { page_type, encoding, count: 1 };
        let with_statistics = properties.statistics_enabled(column.path()) != EnabledStatistics::None;
        let mut metadata = ColumnChunkMetaData::builder(column)
            .set_compression(Compression::UNCOMPRESSED)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(vec![
                stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN),
                stats(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY),
            ])
            .set_total_compressed_size(bytes_written as i64)
            .set_total_uncompressed_size(bytes_written as i64)
            .set_num_values(rows as i64)
            .set_dictionary_page_offset(Some(dictionary.offset as i64))
            .set_data_page_offset(data.offset as i64);
        if with_statistics {
            metadata = metadata.set_statistics(self.statistics(physical));
        }
        let closed = ColumnCloseResult {
            bytes_written,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(offsets.build()),
        };
        group.append_column(&bytes::Bytes::from(out.into_inner()?), closed)
    }

    fn statistics(&self, physical: Physical) -> Statistics {
        if physical == Physical::INT64 {
            let instants = || self.values.iter().map(|value| instant(value));
            return Statistics::int64(instants().min(), instants().max(), None, Some(0), false);
        }
        let end = |value: Option<&Vec<u8>>| value.map(|value| ByteArray::from(value.as_slice()));
        Statistics::byte_array(end(self.values.iter().min()), end(self.values.iter().max()), None, Some(0), false)
    }

    /// Layout: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>, "Plain": every text behind its length, every
    /// number in eight bytes.
    fn dictionary_page(&self, physical: Physical) -> CompressedPage {
        let mut page = Vec::with_capacity(self.bytes + 4 * self.values.len());
        for value in &self.values {
            if physical == Physical::BYTE_ARRAY {
                page.extend_from_slice(&(value.len() as u32).to_le_bytes());
            }
            page.extend_from_slice(value);
        }
        let size = page.len();
        let (num_values, encoding) = (self.values.len() as u32, Encoding::PLAIN);
        CompressedPage::new(Page::DictionaryPage { buf: page.into(), num_values, encoding, is_sorted: false }, size)
    }

    /// Layout: as above, "Dictionary Encoding" and "Run Length Encoding": the bits of a place, then for every run twice its rows as a
    /// varint, and the place in whole bytes. There are no levels before it, since the column is required and of the root.
    fn data_page(&self, rows: usize) -> CompressedPage {
        let bits = usize::BITS - self.values.len().saturating_sub(1).max(1).leading_zeros();
        let mut page = vec![bits as u8];
        for &(place, rows) in &self.runs {
            let mut rest = rows << 1;
            while rest > 0x7f {
                page.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            page.push(rest as u8);
            page.extend_from_slice(&place.to_le_bytes()[..bits.div_ceil(8) as usize]);
        }
        let size = page.len();
        let page = Page::DataPage {
            buf: page.into(),
            num_values: rows as u32,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        CompressedPage::new(page, size)
    }
}

/// Whether two values are the same. No bytes are not compared: where they would stand there may be no memory, which the processor
/// finds out slowly.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

/// How many of these texts, at least one, are equal to the first.
fn equal_texts(offsets: &[i32], bytes: &[u8]) -> usize {
    let (rows, start) = (offsets.len() - 1, offsets[0] as usize);
    let length = offsets[1] - offsets[0];
    let first = &bytes[start..offsets[1] as usize];
    let mut end = 1;
    while end < rows && same(&bytes[offsets[end] as usize..offsets[end + 1] as usize], first) {
        end += 1;
        // As long as they go on, a block is equal if it is the same as what stands one text before it.
        while end + BLOCK <= rows {
            let block = &offsets[end..=end + BLOCK];
            let (from, to) = (block[0] as usize, block[BLOCK] as usize);
            let of_one_length = block.windows(2).fold(true, |all, pair| all & (pair[1] - pair[0] == length));
            if !(of_one_length && same(&bytes[from..to], &bytes[from - first.len()..to - first.len()])) {
                break;
            }
            end += BLOCK;
        }
    }
    end
}

/// So many rows of one value.
fn repeated(value: &[u8], rows: usize, data_type: &DataType) -> ArrayRef {
    match data_type {
        DataType::Utf8 => {
            let text = std::str::from_utf8(value).expect("invariant: it was taken out of a column of text");
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)))
        }
        _ => {
            let instants = TimestampMicrosecondArray::from_value(instant(value), rows);
            Arc::new(instants.with_data_type(data_type.clone()))
        }
    }
}

fn instant(value: &[u8]) -> i64 {
    i64::from_le_bytes(value.try_into().expect("invariant: an instant is kept in eight bytes"))
}
