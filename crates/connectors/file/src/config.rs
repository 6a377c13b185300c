//! Options of the sink, and what they come to.

use dujiang_core::Code;
use dujiang_core::choice;
use dujiang_core::options;
use dujiang_core::options::{ByteSize, Place, Problem, RawOption};
use dujiang_format_parquet::{Compression as ParquetCompression, ParquetOptions};
use dujiang_format_text::csv::CsvOptions;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

choice! {
    /// What a file's bytes are.
    pub enum Format {
        /// One JSON object a line.
        Json = "json",
        /// RFC 4180.
        Csv = "csv",
        /// Apache Parquet.
        Parquet = "parquet",
    }
}

choice! {
    /// How a file is compressed.
    pub enum CompressionOption {
        /// Not at all.
        None = "none",
        /// Parquet only.
        Snappy = "snappy",
        /// Every format.
        Zstd = "zstd",
        /// JSON and CSV only.
        Gzip = "gzip",
    }
}

choice! {
    /// How a table's files are spread over folders.
    pub enum PartitionBy {
        /// All in the table's folder.
        None = "none",
        /// One folder per day of the commit time (UTC).
        CommitDate = "commit-date",
        /// One folder per hour of the commit time (UTC).
        CommitHour = "commit-hour",
    }
}

choice! {
    /// A switch.
    pub enum Switch {
        /// Yes.
        On = "on",
        /// No.
        Off = "off",
    }
}

choice! {
    /// What becomes of the row as it was before an update.
    pub enum BeforeImages {
        /// It is left out.
        None = "none",
        /// It is a row of its own.
        Rows = "rows",
    }
}

options! {
    /// Options of the `file` sink.
    pub struct FileOptions {
        /// Folder that takes the files; made if it is missing. It belongs to one pipeline.
        "path" => path: String, required;
        /// Format of the files.
        "format" => format: Format, default "parquet";
        /// Compression of the files. Default: `zstd` for Parquet, `none` for JSON and CSV.
        /// Parquet takes `none`, `snappy` or `zstd`; JSON and CSV take `none`, `gzip` or `zstd`.
        "compression" => compression: CompressionOption, optional;
        /// A file that has reached this size is closed and the next one begun.
        "roll.size" => roll_size: ByteSize, default "128mb";
        /// A file that is this old is closed when the next row for it arrives. The end of an epoch
        /// (`pipeline.checkpoint.interval`) closes every file in any case.
        "roll.age" => roll_age: Duration, default "5 min";
        /// Folders inside a table's folder: `commit_date=2026-11-20` or `commit_date=2026-11-20/commit_hour=17`.
        "partition-by" => partition_by: PartitionBy, default "none";
        /// Whether columns are added that say what happened to a row, when, and where in the source's log.
        "metadata.columns" => metadata_columns: Switch, default "on";
        /// Name of the column with the operation: `r` (read by the snapshot), `c`, `u`, `d`. Empty: no such column.
        "metadata.op" => op: String, default "__op";
        /// Name of the column with the commit time. Empty: no such column.
        "metadata.commit-time" => commit_time: String, default "__commit_time";
        /// Name of the column with the event id, which is the same on every re-read. Empty: no such column.
        "metadata.event-id" => event_id: String, default "__event_id";
        /// Name of the column with the transaction's place in the source's log. Empty: no such column.
        "metadata.position" => position: String, default "__position";
        /// Name of the column with the transaction's id. Empty: no such column.
        "metadata.transaction" => transaction: String, default "__transaction";
        /// `rows`: an update is written as two rows, the one before and the one after, told apart by the column of
        /// `metadata.image`. `none`: only the one after.
        "before-images" => before_images: BeforeImages, default "none";
        /// Name of the column that says `before` or `after` when `before-images` is `rows`.
        "metadata.image" => image: String, default "__image";
        /// What stands for NULL in CSV; never quoted, while equal text is.
        "csv.null" => csv_null: String, default "\\N";
        /// Whether a CSV file begins with a line of column names.
        "csv.header" => csv_header: bool, default "true";
        /// Puts a `'` before CSV text that a spreadsheet would run as a formula. Changes data.
        "csv.safe" => csv_safe: bool, default "false";
    }
}

/// A column that the sink adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    Op,
    CommitTime,
    EventId,
    Position,
    Transaction,
    Image,
}

/// The options, checked.
#[derive(Debug, Clone)]
pub(crate) struct FileConfig {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) compression: CompressionOption,
    pub(crate) roll_size: u64,
    pub(crate) roll_age: Duration,
    pub(crate) partition_by: PartitionBy,
    pub(crate) before_images: bool,
    /// The columns to add, with their names.
    pub(crate) added: Vec<(Added, String)>,
    pub(crate) csv: CsvOptions,
    pub(crate) csv_header: bool,
    pub(crate) parquet: Arc<ParquetOptions>,
}

impl FileConfig {
    pub(crate) fn parse(raw: &[RawOption]) -> Result<Self, Vec<Problem>> {
        let options = FileOptions::parse(raw)?;
        let mut problems = Vec::new();
        check_path(&options, &mut problems);
        let compression = compression(&options, &mut problems);
        let added = added(&options, &mut problems);
        check_csv(&options, &mut problems);
        check_limits(&options, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let parquet = Arc::new(parquet(compression, &added, options.roll_size));
        Ok(Self {
            path: PathBuf::from(&options.path),
            format: options.format,
            compression,
            roll_size: options.roll_size.0,
            roll_age: options.roll_age,
            partition_by: options.partition_by,
            before_images: options.before_images == BeforeImages::Rows,
            added,
            csv: CsvOptions { null: options.csv_null, safe: options.csv_safe },
            csv_header: options.csv_header,
            parquet,
        })
    }

    /// What follows the last point of a file's name.
    pub(crate) fn extension(&self) -> &'static str {
        match (self.format, self.compression) {
            (Format::Parquet, _) => "parquet",
            (Format::Json, CompressionOption::Gzip) => "json.gz",
            (Format::Json, CompressionOption::Zstd) => "json.zst",
            (Format::Json, _) => "json",
            (Format::Csv, CompressionOption::Gzip) => "csv.gz",
            (Format::Csv, CompressionOption::Zstd) => "csv.zst",
            (Format::Csv, _) => "csv",
        }
    }
}

fn parquet(compression: CompressionOption, added: &[(Added, String)], roll_size: ByteSize) -> ParquetOptions {
    let compression = match compression {
        CompressionOption::None | CompressionOption::Gzip => ParquetCompression::None,
        CompressionOption::Snappy => ParquetCompression::Snappy,
        CompressionOption::Zstd => ParquetCompression::Zstd,
    };
    let named = |wanted: &[Added]| {
        let added = added.iter().filter(|(what, _)| wanted.contains(what));
        added.map(|(_, name)| name.clone()).collect()
    };
    ParquetOptions {
        compression,
        file_bytes: usize::try_from(roll_size.0).unwrap_or(usize::MAX),
        unique_columns: named(&[Added::EventId]),
        run_columns: named(&[Added::Op, Added::CommitTime, Added::Position, Added::Transaction, Added::Image]),
        without_statistics: named(&[Added::EventId, Added::Position, Added::Transaction, Added::Image]),
        ..ParquetOptions::default()
    }
}

fn check_path(options: &FileOptions, problems: &mut Vec<Problem>) {
    if options.path.is_empty() {
        problems.push(Problem::new(Code::BadValue, "`path` is empty", options.place("path")));
    }
}

fn compression(options: &FileOptions, problems: &mut Vec<Problem>) -> CompressionOption {
    let parquet = options.format == Format::Parquet;
    let Some(chosen) = options.compression else {
        return if parquet { CompressionOption::Zstd } else { CompressionOption::None };
    };
    let (refused, allowed) = match chosen {
        CompressionOption::Gzip => (parquet, "`none`, `snappy` or `zstd` with Parquet"),
        CompressionOption::Snappy => (!parquet, "`none`, `gzip` or `zstd` with JSON and CSV"),
        CompressionOption::None | CompressionOption::Zstd => (false, ""),
    };
    if refused {
        let message = "`compression` does not go with `format`";
        problems.push(
            Problem::new(Code::Conflict, message, options.place("compression")).help(format!("choose {allowed}")),
        );
    }
    chosen
}

fn added(options: &FileOptions, problems: &mut Vec<Problem>) -> Vec<(Added, String)> {
    let mut added = Vec::new();
    if options.metadata_columns == Switch::On {
        added.extend([
            (Added::Op, "metadata.op", &options.op),
            (Added::CommitTime, "metadata.commit-time", &options.commit_time),
            (Added::EventId, "metadata.event-id", &options.event_id),
            (Added::Position, "metadata.position", &options.position),
            (Added::Transaction, "metadata.transaction", &options.transaction),
        ]);
    }
    if options.before_images == BeforeImages::Rows {
        added.push((Added::Image, "metadata.image", &options.image));
        if options.image.is_empty() {
            let message = "`metadata.image` must have a name when `before-images` is `rows`";
            problems.push(Problem::new(Code::Conflict, message, options.place("metadata.image")));
        }
    }
    added.retain(|(_, _, name)| !name.is_empty());
    for (index, (_, key, name)) in added.iter().enumerate() {
        if let Some((_, other, _)) = added[..index].iter().find(|(_, _, n)| n.eq_ignore_ascii_case(name)) {
            let message = format!("`{key}` and `{other}` name the same column");
            problems.push(Problem::new(Code::Conflict, message, options.place(key)));
        }
    }
    added.into_iter().map(|(what, _, name)| (what, name.clone())).collect()
}

fn check_csv(options: &FileOptions, problems: &mut Vec<Problem>) {
    if options.csv_null.contains(['"', ',', '\r', '\n']) {
        let message = "`csv.null` must not contain a quote, a comma or a line end";
        problems.push(Problem::new(Code::BadValue, message, options.place("csv.null")));
    }
    if options.format == Format::Csv {
        return;
    }
    for key in ["csv.null", "csv.header", "csv.safe"] {
        let place = options.place(key);
        if place != Place::Block(None) {
            let message = format!("`{key}` has no effect unless `format` is `csv`");
            problems.push(Problem::new(Code::Conflict, message, place).help("remove it, or choose `format: csv`"));
        }
    }
}

fn check_limits(options: &FileOptions, problems: &mut Vec<Problem>) {
    if options.roll_size.0 == 0 {
        let problem = Problem::new(Code::BadValue, "`roll.size` must not be 0", options.place("roll.size"));
        problems.push(problem.help("leave it out for 128mb"));
    }
    if options.roll_age.is_zero() {
        let problem = Problem::new(Code::BadValue, "`roll.age` must not be 0", options.place("roll.age"));
        problems.push(problem.help("leave it out for 5 min"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<FileConfig, Vec<Problem>> {
        let raw: Vec<_> = pairs.iter().map(|(k, v)| RawOption::new(*k, *v, Place::CommandLine)).collect();
        FileConfig::parse(&raw)
    }

    #[test]
    fn defaults_are_parquet_with_zstd_and_five_columns() {
        let config = parse(&[("path", "/data")]).unwrap();
        assert_eq!((config.extension(), config.compression), ("parquet", CompressionOption::Zstd));
        let names: Vec<_> = config.added.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["__op", "__commit_time", "__event_id", "__position", "__transaction"]);
        assert_eq!((config.roll_size, config.roll_age), (128 << 20, Duration::from_secs(300)));
    }

    #[test]
    fn an_empty_name_or_the_switch_takes_columns_away() {
        let config = parse(&[("path", "/d"), ("metadata.op", ""), ("metadata.position", "pos")]).unwrap();
        assert!(!config.added.iter().any(|(what, _)| *what == Added::Op));
        assert!(config.added.contains(&(Added::Position, "pos".to_owned())));
        assert!(parse(&[("path", "/d"), ("metadata.columns", "off")]).unwrap().added.is_empty());
    }

    #[test]
    fn contradictions_are_named_all_at_once() {
        let problems = parse(&[
            ("path", ""),
            ("compression", "gzip"),
            ("metadata.op", "__POSITION"),
            ("csv.safe", "true"),
            ("csv.null", "a,b"),
            ("roll.size", "0"),
            ("roll.age", "0s"),
            ("before-images", "rows"),
            ("metadata.image", ""),
        ])
        .unwrap_err();
        assert_eq!(problems.len(), 9, "{problems:?}");
        assert_eq!(parse(&[("path", "/d"), ("format", "csv"), ("compression", "snappy")]).unwrap_err().len(), 1);
    }
}
