//! Two sources and two sinks that do nothing but parse their options.

use async_trait::async_trait;
use dujiang_core::connector::{PipelineOptions, SinkSpec, SourceSpec};
use dujiang_core::options::{ByteSize, Problem, RawOption};
use dujiang_core::schema::TableSchema;
use dujiang_core::sink::{Committer, Sink, SinkClass, SinkContext, Writer};
use dujiang_core::source::{Acker, Reader, Source, SourceContext};
use dujiang_core::{Code, Position, Secret};
use dujiang_spec::{
    AllInputs, Clause, Diagnostic, Inputs, Loaded, Registry, SourceText, SqlChecker, SqlMistake, SqlRule, load,
    load_all,
};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

dujiang_core::choice! {
    /// Where to start.
    pub enum StartMode {
        /// With a snapshot.
        Initial = "initial",
        /// At the end of the log.
        LatestOffset = "latest-offset",
    }
}

dujiang_core::options! {
    /// Options of the sample database source: every kind of option there is.
    pub struct DatabaseOptions {
        /// Host.
        "hostname" => hostname: String, required;
        /// Port.
        "port" => port: u16, default "3306";
        /// User.
        "username" => username: String, required;
        /// Password.
        "password" => password: Secret, optional;
        /// Tables.
        "tables" => tables: String, required;
        /// Tables left out.
        "tables.exclude" => tables_exclude: String, optional;
        /// Mode.
        "scan.startup.mode" => scan_startup_mode: StartMode, default "initial";
        /// Pause.
        "heartbeat.interval" => heartbeat_interval: Duration, default "30s";
        /// Chunk.
        "scan.incremental.snapshot.chunk.size" => chunk_size: std::num::NonZeroU32, default "8096";
        /// Factor.
        "chunk-key.even-distribution.factor" => factor: f64, default "0.05";
        /// Whether comments are read.
        "include-comments.enabled" => include_comments: bool, default "false";
        /// Buffer.
        "read.buffer" => read_buffer: ByteSize, default "1mb";
        /// Anything.
        "debezium." => debezium: String, prefix;
    }
}

dujiang_core::options! {
    /// Options of the sample generator.
    pub struct GeneratorOptions {
        /// Rows.
        "rows" => rows: u64, default "10";
    }
}

dujiang_core::options! {
    /// Options of the sample file sink.
    pub struct FileOptions {
        /// Path.
        "path" => path: String, required;
        /// Format.
        "format" => format: Format, default "json";
        /// Size limit.
        "roll.size" => roll_size: ByteSize, default "128mb";
        /// Key of the store.
        "s3.secret-access-key" => s3_secret: Secret, optional;
    }
}

dujiang_core::choice! {
    /// File formats.
    pub enum Format {
        /// JSON.
        Json = "json",
        /// Parquet.
        Parquet = "parquet",
    }
}

dujiang_core::options! {
    /// Options of the sample queue sink, which can only promise at-least-once.
    pub struct QueueOptions {
        /// Topic.
        "topic" => topic: String, optional;
        /// Driver properties.
        "properties." => properties: String, prefix;
    }
}

thread_local! {
    /// Texts that the checker was asked about.
    pub static CHECKED: RefCell<usize> = const { RefCell::new(0) };
    /// What the connectors of the last load were built from: (source, sink).
    pub static BUILT: RefCell<(Vec<RawOption>, Vec<RawOption>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

struct SampleSource;

#[async_trait]
impl Source for SampleSource {
    async fn discover(&self) -> dujiang_core::Result<Vec<Arc<TableSchema>>> {
        Ok(Vec::new())
    }
    async fn open(
        &self,
        _: Option<Position>,
        _: SourceContext,
    ) -> dujiang_core::Result<(Box<dyn Reader>, Box<dyn Acker>)> {
        unreachable!("the samples are never run")
    }
    fn describe(&self, _: &Position) -> String {
        String::new()
    }
}

struct SampleSink(SinkClass);

#[async_trait]
impl Sink for SampleSink {
    fn class(&self) -> SinkClass {
        self.0
    }
    async fn committer(&self, _: SinkContext) -> dujiang_core::Result<Box<dyn Committer>> {
        unreachable!("the samples are never run")
    }
    async fn writer(&self, _: usize, _: SinkContext) -> dujiang_core::Result<Box<dyn Writer>> {
        unreachable!("the samples are never run")
    }
}

fn source(raw: &[RawOption], parsed: Result<(), Vec<Problem>>) -> Result<Box<dyn Source>, Vec<Problem>> {
    BUILT.with_borrow_mut(|built| built.0 = raw.to_vec());
    parsed.map(|()| Box::new(SampleSource) as Box<dyn Source>)
}

fn sink(raw: &[RawOption], parsed: Result<(), Vec<Problem>>, class: SinkClass) -> Result<Box<dyn Sink>, Vec<Problem>> {
    BUILT.with_borrow_mut(|built| built.1 = raw.to_vec());
    parsed.map(|()| Box::new(SampleSink(class)) as Box<dyn Sink>)
}

pub const SOURCES: &[SourceSpec] = &[
    SourceSpec {
        kind: "database",
        summary: "A database.",
        options: DatabaseOptions::DEFS,
        build: |raw, _: &PipelineOptions| source(raw, DatabaseOptions::parse(raw).map(drop)),
    },
    SourceSpec {
        kind: "generator",
        summary: "Made-up rows.",
        options: GeneratorOptions::DEFS,
        build: |raw, _| source(raw, GeneratorOptions::parse(raw).map(drop)),
    },
];

pub const SINKS: &[SinkSpec] = &[
    SinkSpec {
        kind: "file",
        summary: "Files.",
        options: FileOptions::DEFS,
        build: |raw, _| sink(raw, FileOptions::parse(raw).map(drop), SinkClass::Staged),
    },
    SinkSpec {
        kind: "queue",
        summary: "A queue.",
        options: QueueOptions::DEFS,
        build: |raw, _| sink(raw, QueueOptions::parse(raw).map(drop), SinkClass::AtLeastOnce),
    },
];

pub struct Samples;

/// Knows one column too few, `nme`, and misses a bracket at the end.
struct SampleChecker;

impl SqlChecker for SampleChecker {
    fn check(&self, rule: &SqlRule<'_>) -> Vec<SqlMistake> {
        let mut mistakes = Vec::new();
        let mut unknown = |clause: Clause, text: &str| {
            CHECKED.with_borrow_mut(|checked| *checked += 1);
            let mistake = |span: std::ops::Range<usize>, code: Code, message: &str| SqlMistake {
                clause,
                span,
                code,
                message: message.to_owned(),
                label: None,
                notes: Vec::new(),
                help: (code == Code::SqlUnknownColumn).then(|| "did you mean `name`?".to_owned()),
            };
            let found = text.match_indices("nme");
            mistakes
                .extend(found.map(|(at, word)| {
                    mistake(at..at + word.len(), Code::SqlUnknownColumn, "there is no column `nme`")
                }));
            if text.matches('(').count() > text.matches(')').count() {
                mistakes.push(mistake(text.len()..text.len(), Code::SqlSyntax, "a `)` is missing"));
            }
        };
        rule.projection.into_iter().for_each(|text| unknown(Clause::Projection, text));
        rule.filter.into_iter().for_each(|text| unknown(Clause::Filter, text));
        rule.primary_keys.iter().enumerate().for_each(|(i, key)| unknown(Clause::PrimaryKey(i), key));
        rule.partition_keys.iter().enumerate().for_each(|(i, key)| unknown(Clause::PartitionKey(i), key));
        mistakes
    }

    fn check_time_zone(&self, name: &str) -> Result<(), String> {
        if name == "Mars/Base" { Err("names no time zone".into()) } else { Ok(()) }
    }
}

impl Registry for Samples {
    fn sql(&self) -> Option<&dyn SqlChecker> {
        Some(&SampleChecker)
    }

    fn sources(&self) -> &[SourceSpec] {
        SOURCES
    }
    fn sinks(&self) -> &[SinkSpec] {
        SINKS
    }
}

/// Files that `${file:...}` finds.
pub fn read_file(path: &str) -> io::Result<String> {
    match path {
        "/run/secrets/db" => Ok("from-a-file\n".into()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

pub fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

pub fn load_with(text: &str, env: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Loaded, Vec<Diagnostic>> {
    let text = SourceText::new("pipeline.yaml", text);
    load(Inputs { text, env: pairs(env), set: pairs(set), read_file: &read_file }, &Samples)
}

pub fn load_text(text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(text, &[], &[])
}

/// Everything a load has to say, rendered.
pub fn rendered(text: &str, env: &[(&str, &str)], set: &[(&str, &str)]) -> String {
    let diagnostics = match load_with(text, env, set) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    };
    diagnostics.iter().map(|d| d.render(false)).collect::<Vec<_>>().join("\n")
}

/// A file without a mistake.
pub const GOOD: &str = "\
source:
  type: database
  hostname: db1
  username: capture
  password: 012345
  tables: shop.\\.*
sink:
  type: file
  path: /data/ods
  format: parquet
pipeline:
  name: orders-lake
  checkpoint.interval: 10s
";

/// Loads files (name, text) that run in one process.
pub fn load_files(
    files: &[(&str, &str)],
    env: &[(&str, &str)],
    set: &[(&str, &str)],
) -> Result<Vec<Loaded>, Vec<Diagnostic>> {
    let texts = files.iter().map(|(name, text)| SourceText::new(*name, *text)).collect();
    let read_file = |_: &str, path: &str| read_file(path);
    load_all(AllInputs { texts, env: pairs(env), set: pairs(set), read_file: &read_file }, &Samples)
}
