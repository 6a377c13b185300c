//! A column of text in which the same value stands many times in a row. Its values are neither hashed nor kept one by one, as the
//! Parquet crate's writer does: runs are counted, and what becomes of them is one dictionary page and one page of run lengths.

use arrow_array::{Array, ArrayRef, StringArray};
use parquet::basic::{Compression, Encoding, PageType};
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

/// The runs of a row group.
#[derive(Default)]
pub(crate) struct Runs {
    /// Where in `values` a value stands.
    places: HashMap<String, usize>,
    values: Vec<String>,
    /// Place of the value, rows.
    runs: Vec<(usize, usize)>,
    /// Bytes of `values`.
    bytes: usize,
}

impl Runs {
    pub(crate) fn add(&mut self, column: &StringArray) {
        for row in 0..column.len() {
            let value = column.value(row);
            match self.runs.last_mut() {
                Some((place, rows)) if self.values[*place] == value => *rows += 1,
                _ => self.begin(value),
            }
        }
    }

    fn begin(&mut self, value: &str) {
        let place = self.places.get(value).copied().unwrap_or_else(|| {
            self.places.insert(value.to_owned(), self.values.len());
            self.values.push(value.to_owned());
            self.bytes += value.len();
            self.values.len() - 1
        });
        self.runs.push((place, 1));
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

    /// The rows as they came.
    pub(crate) fn rows(&self) -> impl Iterator<Item = ArrayRef> {
        self.runs.iter().flat_map(move |&(place, rows)| {
            (0..rows).step_by(SLICE_ROWS).map(move |start| -> ArrayRef {
                let value = &self.values[place];
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, SLICE_ROWS.min(rows - start))))
            })
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
        let mut out = TrackedWrite::new(Vec::with_capacity(self.size() + (1 << 10)));
        let mut pages = SerializedPageWriter::new(&mut out);
        let dictionary = pages.write_page(self.dictionary_page())?;
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
            let end = |value: Option<&String>| value.map(|value| ByteArray::from(value.as_str()));
            let (min, max) = (end(self.values.iter().min()), end(self.values.iter().max()));
            metadata = metadata.set_statistics(Statistics::byte_array(min, max, None, Some(0), false));
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

    /// Layout: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>, "Plain": every value behind its length.
    fn dictionary_page(&self) -> CompressedPage {
        let mut page = Vec::with_capacity(self.bytes + 4 * self.values.len());
        for value in &self.values {
            page.extend_from_slice(&(value.len() as u32).to_le_bytes());
            page.extend_from_slice(value.as_bytes());
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
