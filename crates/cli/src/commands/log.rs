//! `dujiang log ls|cat|seek|verify|forget`: a pipeline's log, looked at from outside. Nothing is changed but by `forget`.

mod kafka;

use super::{fail, refuse};
use crate::console::{Console, print};
use crate::pipeline_file;
use clap::{Args, Subcommand, ValueEnum};
use dujiang_core::options::OptionValue;
use dujiang_core::source::SourceEvent;
use dujiang_core::text::{write_instant, write_json_row};
use dujiang_core::{ChangeBatch, Code, Error, Kind, Result, Start};
use dujiang_log::inspect::{Summary, View};
use dujiang_log::{Entry, Placed};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// What to do with a log.
#[derive(Subcommand)]
pub enum Arguments {
    /// What it holds: offsets, segments, the last commit, and how far each consumer has read
    Ls(LsArguments),
    /// Its entries as JSON, one line per image, change of a table, or milestone
    Cat(CatArguments),
    /// The offset at which a time begins, for `start: offset:<number>`
    Seek(SeekArguments),
    /// Read everything and compare it with its checksums; exit code 1 with findings
    Verify(LogArguments),
    /// Forget a consumer that is gone for good: what only it has not read may then be removed
    Forget(ForgetArguments),
}

/// Which log.
#[derive(Args)]
pub struct LogArguments {
    /// The pipeline file with the log, or the log's folder
    #[arg(value_name = "FILE|FOLDER")]
    log: PathBuf,
}

/// Flags of `log ls`.
#[derive(Args)]
pub struct LsArguments {
    #[command(flatten)]
    of: LogArguments,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    output: Output,
}

/// Flags of `log cat`.
#[derive(Args)]
pub struct CatArguments {
    #[command(flatten)]
    of: LogArguments,
    /// Begin here: `earliest`, `offset:<number>` or `time:<time>`
    #[arg(long, value_name = "START", default_value = "earliest", value_parser = start)]
    from: Start,
    /// End after this many entries
    #[arg(long, value_name = "ENTRIES")]
    count: Option<u64>,
    /// Only changes of this table (`database.table`)
    #[arg(long)]
    table: Option<String>,
}

/// Flags of `log seek`.
#[derive(Args)]
pub struct SeekArguments {
    #[command(flatten)]
    of: LogArguments,
    /// `2026-11-27T08:30:00Z`, or milliseconds since 1970
    #[arg(value_name = "TIME")]
    time: String,
}

/// Flags of `log forget`.
#[derive(Args)]
pub struct ForgetArguments {
    #[command(flatten)]
    of: LogArguments,
    /// The consumer's name, from `log ls`
    consumer: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// JSON
    Json,
}

fn start(text: &str) -> std::result::Result<Start, String> {
    Start::from_text(text)
}

/// Runs one of the subcommands.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    let of = match arguments {
        Arguments::Ls(arguments) => &arguments.of,
        Arguments::Cat(arguments) => &arguments.of,
        Arguments::Seek(arguments) => &arguments.of,
        Arguments::Verify(arguments) => arguments,
        Arguments::Forget(arguments) => &arguments.of,
    };
    let folder = match find(&of.log, console) {
        Ok(Found::Folder(folder)) => folder,
        Ok(Found::Kafka(place)) => return kafka::run(arguments, place, console),
        Err(code) => return code,
    };
    let view = match View::open(&folder) {
        Ok(view) => view,
        Err(error) => return fail(&error, console),
    };
    let done = match arguments {
        Arguments::Ls(arguments) => ls(&view, arguments.output),
        Arguments::Cat(arguments) => cat(&view, arguments),
        Arguments::Seek(arguments) => seek(&view, &arguments.time),
        Arguments::Verify(_) => return verify(&view, console),
        Arguments::Forget(arguments) => view.forget(&arguments.consumer),
    };
    done.map_or_else(|error| fail(&error, console), |()| 0)
}

/// Where a log is.
enum Found {
    Folder(PathBuf),
    Kafka(dujiang_kafka::log::inspect::Place),
}

/// The log in a folder, or the one a pipeline file names.
fn find(given: &Path, console: &Console) -> std::result::Result<Found, u8> {
    if given.is_dir() {
        return Ok(Found::Folder(given.to_owned()));
    }
    let loaded = pipeline_file::open(given, &[]).map_err(|mistakes| refuse(&mistakes, console))?;
    let pipeline = &loaded.pipeline;
    if let Some(place) = kafka::place(pipeline) {
        return Ok(Found::Kafka(place));
    }
    let source = Some(&pipeline.source).filter(|source| source.kind == dujiang_log::SOURCE.kind);
    match pipeline.log.as_ref().or(source).and_then(|block| block.option("path")) {
        Some(path) => Ok(Found::Folder(PathBuf::from(&path.value))),
        None => {
            let error = Error::new(Code::LogMissing, format!("the pipeline `{}` has no log", pipeline.name));
            Err(fail(&error.help("add a `log:` block, or name the folder of a log"), console))
        }
    }
}

fn instant(micros: i64) -> String {
    let mut text = Vec::new();
    write_instant(micros, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn ls(view: &View, output: Output) -> Result<()> {
    let summary = view.summary()?;
    match output {
        Output::Json => print(&format!("{}\n", summary_json(&summary))),
        Output::Table => print(&summary_text(&summary)),
    }
    Ok(())
}

fn summary_json(summary: &Summary) -> Value {
    let committed = &summary.committed;
    json!({
        "pipeline": summary.pipeline,
        "lineage": summary.lineage,
        "first": summary.first,
        "end": summary.end,
        "bytes": summary.segments.iter().map(|segment| segment.bytes).sum::<u64>(),
        "epoch": committed.epoch,
        "generation": committed.generation,
        "position": committed.position_text,
        "committed_micros": committed.written_micros,
        "segments": summary.segments.iter().map(|segment| json!({
            "first": segment.base, "bytes": segment.bytes, "created_micros": segment.created_micros,
        })).collect::<Vec<_>>(),
        "consumers": summary.consumers.iter().map(|consumer| json!({
            "name": consumer.name, "offset": consumer.offset, "behind": summary.end.saturating_sub(consumer.offset),
        })).collect::<Vec<_>>(),
    })
}

fn summary_text(summary: &Summary) -> String {
    let committed = &summary.committed;
    let bytes: u64 = summary.segments.iter().map(|segment| segment.bytes).sum();
    let mut text = format!(
        "pipeline     {} (lineage {})\nentries      {} to {}\nbytes        {bytes}\n",
        summary.pipeline, summary.lineage, summary.first, summary.end
    );
    if committed.generation > 0 {
        text.push_str(&format!(
            "last commit  epoch {} at {}, source at {}\n",
            committed.epoch,
            instant(committed.written_micros),
            committed.position_text
        ));
    }
    text.push_str("\nSEGMENT               BYTES         BEGUN\n");
    for segment in &summary.segments {
        text.push_str(&format!("{:<20}  {:<12}  {}\n", segment.base, segment.bytes, instant(segment.created_micros)));
    }
    text.push_str("\nCONSUMER              OFFSET        BEHIND\n");
    for consumer in &summary.consumers {
        let behind = summary.end.saturating_sub(consumer.offset);
        text.push_str(&format!("{:<20}  {:<12}  {behind}\n", consumer.name, consumer.offset));
    }
    text
}

fn cat(view: &View, arguments: &CatArguments) -> Result<()> {
    let offset = match arguments.from {
        Start::Earliest => view.offsets().start,
        Start::Latest => view.offsets().end,
        Start::Offset(offset) => offset,
        Start::Time(micros) => view.offset_at(micros)?,
    };
    let mut left = arguments.count.unwrap_or(u64::MAX);
    view.each(offset, |placed| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        let mut lines = String::new();
        if let Some((offset, event)) = event(placed) {
            entry_lines(offset, &event, arguments.table.as_deref(), &mut lines);
        }
        print(&lines);
        Ok(left > 0)
    })
}

fn event(placed: Placed) -> Option<(u64, SourceEvent)> {
    let event = match placed.entry? {
        Entry::Batch(batch) => SourceEvent::Batch(batch),
        Entry::Schema(change) => SourceEvent::SchemaChange(change),
        Entry::Marker(milestone) => milestone.into(),
    };
    Some((placed.header.offset, event))
}

/// An entry as lines; `offset` is its own, or that of its first change.
fn entry_lines(offset: u64, event: &SourceEvent, only: Option<&str>, out: &mut String) {
    let milestone = match event {
        SourceEvent::Batch(batch) => {
            if only.is_none_or(|only| batch.source_table().to_string() == only) {
                batch_lines(offset, batch, out);
            }
            return;
        }
        SourceEvent::SchemaChange(change) => {
            if only.is_none_or(|only| change.after.id.to_string() == only) {
                let columns: Vec<&str> =
                    change.after.arrow.fields().iter().map(|field| field.name().as_str()).collect();
                let line = json!({
                    "offset": offset, "schema": change.after.id.to_string(), "version": change.after.version,
                    "columns": columns, "statement": change.statement,
                });
                out.push_str(&format!("{line}\n"));
            }
            return;
        }
        other => other.milestone(),
    };
    if let Some(milestone) = milestone.filter(|_| only.is_none()) {
        out.push_str(&format!("{}\n", json!({ "offset": offset, "milestone": milestone.name() })));
    }
}

fn batch_lines(offset: u64, batch: &ChangeBatch, out: &mut String) {
    let table = batch.source_table().to_string();
    let mut row_text = Vec::new();
    for (row, (ordinal, origin)) in batch.ordinals().enumerate() {
        row_text.clear();
        write_json_row(batch, row, &mut row_text);
        let mut line = Map::new();
        line.insert("offset".into(), offset.into());
        line.insert("table".into(), table.as_str().into());
        line.insert("op".into(), batch.kinds[row].letter().into());
        if batch.kinds[row] == Kind::UpdateBefore {
            line.insert("image".into(), "before".into());
        }
        line.insert("transaction".into(), origin.transaction.into());
        line.insert("ordinal".into(), ordinal.into());
        line.insert("position".into(), origin.position.into());
        line.insert("commit_time".into(), instant(origin.commit_micros).into());
        // The row's own text: numbers keep all their digits.
        let head = Value::Object(line).to_string();
        out.push_str(head.trim_end_matches('}'));
        out.push_str(",\"row\":");
        out.push_str(&String::from_utf8_lossy(&row_text));
        out.push_str("}\n");
    }
}

fn seek(view: &View, time: &str) -> Result<()> {
    print(&format!("{}\n", view.offset_at(micros(time)?)?));
    Ok(())
}

fn micros(time: &str) -> Result<i64> {
    let wrong = |why| Error::new(Code::Usage, format!("the time {why}"));
    match Start::from_text(&format!("time:{time}")).map_err(wrong)? {
        Start::Time(micros) => Ok(micros),
        _ => Err(Error::new(Code::Bug, "a time is read as something else")),
    }
}

fn verify(view: &View, console: &Console) -> u8 {
    let verified = view.verify();
    for problem in &verified.problems {
        fail(problem, console);
    }
    console.tell(&format!(
        "read {} entries with {} images and {} commits: {}",
        verified.entries,
        verified.images,
        verified.commits,
        if verified.problems.is_empty() {
            "all is well".to_owned()
        } else {
            format!("{} damaged", verified.problems.len())
        },
    ));
    u8::from(!verified.problems.is_empty())
}
