//! `dujiang log ls|cat|seek|verify|forget`: a pipeline's log, looked at from outside. Nothing is changed but by `forget`.

mod datahub;
mod embedded;
mod entries;
mod kafka;
mod view;

use self::entries::entry_lines;
use self::view::LogView;
use super::{fail, refuse};
use crate::console::{Console, print};
use crate::pipeline_file;
use clap::{Args, Subcommand, ValueEnum};
use dujiang_core::options::{OptionValue, Problem};
use dujiang_core::{Code, Error, Result, Start};
use dujiang_spec::Block;
use std::path::{Path, PathBuf};

/// The kinds of logs that can be looked at.
const KINDS: &[Kind] = &[embedded::KIND, kafka::KIND, datahub::KIND];

/// A kind of log: what blocks of that kind are called, and how the log of one is opened; with the pipeline's name.
struct Kind {
    log: &'static str,
    source: &'static str,
    of_log: fn(&Block, &str) -> Opened,
    of_source: fn(&Block, &str) -> Opened,
}

type Opened = Result<Box<dyn LogView>>;

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
    let view = match find(&of.log, console) {
        Ok(view) => view,
        Err(code) => return code,
    };
    let done = match arguments {
        Arguments::Ls(arguments) => ls(&*view, arguments.output),
        Arguments::Cat(arguments) => cat(&*view, arguments),
        Arguments::Seek(arguments) => seek(&*view, &arguments.time),
        Arguments::Verify(_) => return verify(&*view, console),
        Arguments::Forget(arguments) => view.forget(&arguments.consumer),
    };
    done.map_or_else(|error| fail(&error, console), |()| 0)
}

/// The log in a folder, or the one a pipeline file names.
fn find(given: &Path, console: &Console) -> std::result::Result<Box<dyn LogView>, u8> {
    let opened = if given.is_dir() {
        embedded::open(given)
    } else {
        let loaded = pipeline_file::open(given, &[]).map_err(|mistakes| refuse(&mistakes, console))?;
        let pipeline = &loaded.pipeline;
        let (block, name) = (pipeline.log.as_ref().unwrap_or(&pipeline.source), &pipeline.name);
        let opened = KINDS.iter().find_map(|kind| match &pipeline.log {
            Some(_) => (kind.log == block.kind).then(|| (kind.of_log)(block, name)),
            None => (kind.source == block.kind).then(|| (kind.of_source)(block, name)),
        });
        opened.unwrap_or_else(|| {
            let error = Error::new(Code::LogMissing, format!("the pipeline `{name}` has no log"));
            Err(error.help("add a `log:` block, or name the folder of a log"))
        })
    };
    opened.map_err(|error| fail(&error, console))
}

/// The options of a block that was checked before.
fn misread(problems: Vec<Problem>) -> Error {
    let found = problems.into_iter().next();
    found.map_or_else(
        || Error::new(Code::Bug, "the options of a log cannot be read, and nothing is wrong with them"),
        |Problem { code, message, help, .. }| {
            let error = Error::new(code, message);
            match help {
                Some(help) => error.help(help),
                None => error,
            }
        },
    )
}

fn ls(view: &dyn LogView, output: Output) -> Result<()> {
    let summary = view.summary()?;
    match output {
        Output::Json => print(&format!("{}\n", summary.json())),
        Output::Table => print(&summary.text()),
    }
    Ok(())
}

fn cat(view: &dyn LogView, arguments: &CatArguments) -> Result<()> {
    let mut left = arguments.count.unwrap_or(u64::MAX);
    view.each(arguments.from, &mut |offset, event| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        let mut lines = String::new();
        entry_lines(offset, &event, arguments.table.as_deref(), &mut lines);
        print(&lines);
        Ok(left > 0)
    })
}

fn seek(view: &dyn LogView, time: &str) -> Result<()> {
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

fn verify(view: &dyn LogView, console: &Console) -> u8 {
    let verified = view.verify();
    for problem in &verified.problems {
        fail(problem, console);
    }
    let (commits, called) = verified.commits;
    let outcome = match verified.problems.len() {
        0 => "all is well".to_owned(),
        damaged => format!("{damaged} damaged"),
    };
    let (entries, images) = (verified.entries, verified.images);
    console.tell(&format!("read {entries} entries with {images} images and {commits} {called}: {outcome}"));
    u8::from(!verified.problems.is_empty())
}
