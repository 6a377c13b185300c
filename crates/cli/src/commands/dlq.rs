//! `dujiang dlq list|show`: the dead letters of a pipeline.

use super::{fail, refuse};
use crate::console::{Console, print};
use crate::pipeline_file;
use crate::state_dir;
use clap::{Args, Subcommand, ValueEnum};
use dujiang_core::options::nearest;
use dujiang_core::{Code, Error, Result};
use dujiang_engine::state::inspect::{StoredLetter, list_dead_letters, show_dead_letter};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What to do with dead letters.
#[derive(Subcommand)]
pub enum Arguments {
    /// One line per dead letter, oldest first
    List(ListArguments),
    /// Everything known about one dead letter
    Show(ShowArguments),
}

/// Flags of `dlq list`.
#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
    /// Only this table (`database.table`)
    #[arg(long)]
    table: Option<String>,
    /// Only this error code
    #[arg(long)]
    code: Option<String>,
    /// How letters are printed
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    output: Output,
}

/// Flags of `dlq show`.
#[derive(Args)]
pub struct ShowArguments {
    #[command(flatten)]
    pipeline: PipelineArguments,
    /// The letter's id, from `dlq list`
    id: String,
    /// How the letter is printed
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORMAT")]
    output: Output,
}

#[derive(Args)]
struct PipelineArguments {
    /// The pipeline file, or the pipeline's name
    #[arg(value_name = "FILE|NAME")]
    pipeline: String,
    /// The pipeline's own folder, if it was run with --state-dir
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Which sink, if the pipeline has a log with several
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Those of the capture, if the pipeline has a log: records that did not get as far as the log
    #[arg(long, conflicts_with = "sink")]
    capture: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people; tab-separated when not on a terminal
    Table,
    /// JSON
    Json,
}

/// Runs `dlq list` or `dlq show`.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    let pipeline = match arguments {
        Arguments::List(list) => &list.pipeline,
        Arguments::Show(show) => &show.pipeline,
    };
    let place = match place(pipeline, console) {
        Ok(place) => place,
        Err(code) => return code,
    };
    let done = match arguments {
        Arguments::List(arguments) => list(&place, arguments, console),
        Arguments::Show(arguments) => show(&place.folder, arguments),
    };
    done.map_or_else(|error| fail(&error, console), |()| 0)
}

/// Where the dead letters of one loop are.
struct Place {
    folder: PathBuf,
    /// The capture's folder, if those of a sink behind it are looked at.
    capture: Option<PathBuf>,
}

/// A file's pipeline is known by the name in it; a name is taken as it is.
fn place(arguments: &PipelineArguments, console: &Console) -> std::result::Result<Place, u8> {
    let path = Path::new(&arguments.pipeline);
    let is_file = path.is_file() || matches!(path.extension().and_then(|e| e.to_str()), Some("yaml" | "yml"));
    let name = match &arguments.state_dir {
        None if is_file => {
            let loaded = pipeline_file::open(path, &[]).map_err(|mistakes| refuse(&mistakes, console))?;
            loaded.pipeline.name
        }
        _ => arguments.pipeline.clone(),
    };
    let folder = state_dir::of(&name, arguments.state_dir.clone());
    let folder = folder.map_err(|why| Error::new(Code::StateUnusable, why).help("name the folder with --state-dir"));
    let folder = folder.and_then(|folder| if folder.is_dir() { Ok(folder) } else { Err(never_ran(&name, &folder)) });
    let place = folder.and_then(|folder| of_loop(folder, arguments));
    place.map_err(|error| fail(&error, console))
}

/// With a log the capture and each sink have dead letters of their own.
fn of_loop(folder: PathBuf, arguments: &PipelineArguments) -> Result<Place> {
    let mut sinks = state_dir::deliveries(&folder);
    let capture = folder.join(state_dir::CAPTURE);
    if arguments.capture {
        return if sinks.is_empty() { Err(no_log()) } else { Ok(Place { folder: capture, capture: None }) };
    }
    let of_sink = |folder| Ok(Place { folder, capture: Some(capture) });
    if let Some(sink) = &arguments.sink {
        let wanted = folder.join(state_dir::delivery(sink));
        return if sinks.contains(&wanted) { of_sink(wanted) } else { Err(never_ran(sink, &wanted)) };
    }
    match sinks.len() {
        0 => Ok(Place { folder, capture: None }),
        1 => of_sink(sinks.remove(0)),
        _ => Err(Error::new(Code::Usage, "the pipeline has several sinks, each with dead letters of its own")
            .help("name one of them with --sink")),
    }
}

fn no_log() -> Error {
    Error::new(Code::Usage, "the pipeline has no log, and so no capture of its own").help("leave `--capture` out")
}

fn never_ran(name: &str, folder: &Path) -> Error {
    Error::new(Code::StateUnusable, format!("there is no state of a pipeline `{name}`"))
        .fact("looked in", folder.display().to_string())
        .help("check the name, or name the folder with --state-dir if the pipeline was run with it")
}

/// A code that there is not would find nothing for ever.
fn must_be_a_code(wanted: &str) -> Result<()> {
    let numbers = || Code::ALL.iter().map(|code| code.number());
    if numbers().any(|number| number.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let error = Error::new(Code::Usage, format!("there is no error code `{wanted}`"));
    Err(match nearest(&wanted.to_ascii_uppercase(), numbers()) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("`dujiang explain` lists all codes"),
    })
}

fn list(place: &Place, arguments: &ListArguments, console: &Console) -> Result<()> {
    arguments.code.as_deref().map_or(Ok(()), must_be_a_code)?;
    let mut letters = list_dead_letters(&place.folder)?;
    letters.retain(|letter| {
        let table = arguments.table.as_ref().is_none_or(|table| *table == letter.table);
        table && arguments.code.as_ref().is_none_or(|code| code.eq_ignore_ascii_case(&letter.code))
    });
    match arguments.output {
        Output::Json => print(&format!("{}\n", Value::from_iter(letters.iter().map(to_json)))),
        Output::Table => print(&table(&letters, std::io::stdout().is_terminal())),
    }
    match letters.first() {
        Some(first) => console.tell(&format!("next: dujiang dlq show {} {}", arguments.pipeline.pipeline, first.id)),
        None => console.tell("no dead letters"),
    }
    let of_capture = place.capture.as_ref().and_then(|folder| list_dead_letters(folder).ok());
    match of_capture.map_or(0, |letters| letters.len()) {
        0 => {}
        1 => console.tell("the capture has a dead letter of its own: --capture"),
        count => console.tell(&format!("the capture has {count} dead letters of its own: --capture")),
    }
    Ok(())
}

fn show(folder: &Path, arguments: &ShowArguments) -> Result<()> {
    let letter = show_dead_letter(folder, &arguments.id)?;
    match arguments.output {
        Output::Json => print(&format!("{}\n", to_json(&letter))),
        Output::Table => print(&page(&letter)),
    }
    Ok(())
}

/// Padded for a terminal; otherwise tab-separated and whole.
fn table(letters: &[StoredLetter], terminal: bool) -> String {
    let head = ["ID", "CODE", "TABLE", "OP", "STAGE", "POSITION", "MESSAGE"].map(str::to_owned);
    let row = |l: &StoredLetter| {
        let cells = [&l.id, &l.code, &l.table, &l.op, l.stage.name(), &l.position, sentence(l)];
        cells.map(|cell: &str| cell.replace(['\t', '\n'], " "))
    };
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(letters.iter().map(row)).collect();
    let mut text = String::new();
    for cells in &rows {
        for (column, cell) in cells.iter().enumerate() {
            let last = column + 1 == cells.len();
            let widest = rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
            match (terminal, last) {
                (_, true) => text.push_str(cell),
                (true, false) => text.push_str(&format!("{cell:widest$}  ")),
                (false, false) => text.push_str(&format!("{cell}\t")),
            }
        }
        text.push('\n');
    }
    text
}

/// The message without its code, which stands in a place of its own.
fn sentence(letter: &StoredLetter) -> &str {
    let message = letter.message.as_str();
    message.strip_prefix(&*letter.code).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message)
}

fn page(letter: &StoredLetter) -> String {
    let image = |image: &Option<String>| image.clone().unwrap_or_else(|| "-".into());
    let mut committed = Vec::new();
    dujiang_core::text::write_instant(letter.commit_micros, &mut committed);
    format!(
        "id           {}\nwhy          {}: {}\nstage        {}\ntable        {}\nop           {}\nbefore       {}\n\
         after        {}\nposition     {}\ntransaction  {}\ncommitted    {}\nevent id     {}\nepoch        {}\n",
        letter.id,
        letter.code,
        sentence(letter),
        letter.stage.name(),
        letter.table,
        letter.op,
        image(&letter.before),
        image(&letter.after),
        letter.position,
        letter.transaction,
        String::from_utf8_lossy(&committed),
        letter.event_id,
        letter.epoch,
    )
}

fn to_json(letter: &StoredLetter) -> Value {
    let image = |image: &Option<String>| {
        image.as_ref().map(|text| serde_json::from_str(text).unwrap_or(Value::String(text.clone())))
    };
    json!({
        "id": letter.id,
        "epoch": letter.epoch.0,
        "event_id": letter.event_id,
        "table": letter.table,
        "op": letter.op,
        "before": image(&letter.before),
        "after": image(&letter.after),
        "position": letter.position,
        "transaction": letter.transaction,
        "commit_micros": letter.commit_micros,
        "stage": letter.stage.name(),
        "code": letter.code,
        "message": letter.message,
    })
}
