//! One file's encoder, whatever its format: rows in, bytes out. It never touches the disk, so it never fails for the
//! disk's sake.

use crate::config::{CompressionOption, FileConfig, Format};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use dujiang_core::{Code, Result, ResultExt};
use dujiang_format_parquet::{ParquetEncoder, Pieces};
use dujiang_format_text::csv::CsvOptions;
use dujiang_format_text::{csv, json};
use flate2::write::GzEncoder;
use std::io::Write;

/// Encodes one file.
pub(crate) enum Encoder {
    Parquet(Box<ParquetEncoder>),
    Json(TextOut),
    Csv(TextOut, CsvOptions),
}

impl Encoder {
    pub(crate) fn new(config: &FileConfig, schema: &SchemaRef) -> Result<Self> {
        Ok(match config.format {
            Format::Parquet => Self::Parquet(Box::new(ParquetEncoder::new(schema.clone(), config.parquet.clone())?)),
            Format::Json => Self::Json(TextOut::new(config.compression)?),
            Format::Csv => {
                let mut out = TextOut::new(config.compression)?;
                if config.csv_header {
                    csv::write_header(schema, &mut out.lines);
                    out.compress()?;
                }
                Self::Csv(out, config.csv.clone())
            }
        })
    }

    pub(crate) fn write(&mut self, rows: RecordBatch) -> Result<()> {
        match self {
            Self::Parquet(encoder) => encoder.write(rows),
            Self::Json(out) => {
                json::encode(&rows, &mut out.lines)?;
                out.compress()
            }
            Self::Csv(out, options) => {
                csv::encode(&rows, options, &mut out.lines)?;
                out.compress()
            }
        }
    }

    /// Moves finished bytes to the end of `into`.
    pub(crate) fn drain(&mut self, into: &mut Pieces) {
        match self {
            Self::Parquet(encoder) => into.append(encoder.take_output()),
            Self::Json(out) | Self::Csv(out, _) => into.push(out.take()),
        }
    }

    /// Ends the file: its last bytes.
    pub(crate) fn finish(self, into: &mut Pieces) -> Result<()> {
        match self {
            Self::Parquet(encoder) => into.append(encoder.finish()?),
            Self::Json(out) | Self::Csv(out, _) => into.push(out.finish()?),
        }
        Ok(())
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Parquet(encoder) => encoder.memory(),
            Self::Json(out) | Self::Csv(out, _) => out.lines.capacity() + out.sink.held() + out.sink.compressor(),
        }
    }

    /// Estimated size of the file if it ended now.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Parquet(encoder) => encoder.size() as u64,
            Self::Json(out) | Self::Csv(out, _) => out.taken + out.sink.held() as u64,
        }
    }
}

fn append(into: &mut Vec<u8>, mut bytes: Vec<u8>) {
    if into.is_empty() {
        *into = bytes;
    } else {
        into.append(&mut bytes);
    }
}

/// Lines of text on their way through a compressor.
pub(crate) struct TextOut {
    lines: Vec<u8>,
    sink: TextSink,
    taken: u64,
}

enum TextSink {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl TextSink {
    fn held(&self) -> usize {
        match self {
            Self::Plain(out) => out.len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// What a compressor takes besides its output: its window, tables and buffers.
    fn compressor(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Gzip(_) => 300 << 10,
            Self::Zstd(_) => 1300 << 10,
        }
    }
}

impl TextOut {
    fn new(compression: CompressionOption) -> Result<Self> {
        let sink = match compression {
            CompressionOption::None | CompressionOption::Snappy => TextSink::Plain(Vec::new()),
            CompressionOption::Gzip => {
                TextSink::Gzip(Box::new(GzEncoder::new(Vec::new(), flate2::Compression::default())))
            }
            CompressionOption::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(Vec::new(), 1);
                TextSink::Zstd(Box::new(encoder.or_code(Code::Bug, || "start a zstd stream".to_owned())?))
            }
        };
        Ok(Self { lines: Vec::new(), sink, taken: 0 })
    }

    fn compress(&mut self) -> Result<()> {
        let written = match &mut self.sink {
            TextSink::Plain(out) => {
                append(out, std::mem::take(&mut self.lines));
                return Ok(());
            }
            TextSink::Gzip(encoder) => encoder.write_all(&self.lines),
            TextSink::Zstd(encoder) => encoder.write_all(&self.lines),
        };
        self.lines.clear();
        written.or_code(Code::Bug, || "compress text".to_owned())
    }

    fn take(&mut self) -> Vec<u8> {
        let bytes = match &mut self.sink {
            TextSink::Plain(out) => std::mem::take(out),
            TextSink::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            TextSink::Zstd(encoder) => std::mem::take(encoder.get_mut()),
        };
        self.taken += bytes.len() as u64;
        bytes
    }

    fn finish(self) -> Result<Vec<u8>> {
        let finished = match self.sink {
            TextSink::Plain(out) => Ok(out),
            TextSink::Gzip(encoder) => encoder.finish(),
            TextSink::Zstd(encoder) => encoder.finish(),
        };
        finished.or_code(Code::Bug, || "finish compressed text".to_owned())
    }
}
