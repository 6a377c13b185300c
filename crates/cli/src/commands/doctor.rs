//! `dujiang doctor FILE...`: everything a run depends on, looked at read-only.

use super::{fail, refuse};
use crate::console::{Console, print};
use crate::doctor::{self, Doctored, Mark, json, script, text};
use crate::pipeline_file::{self, Setting};
use crate::state_dir;
use clap::{Args, ValueEnum};
use dujiang_core::{Code, Error, Result};
use dujiang_spec::Loaded;
use std::path::PathBuf;

/// Exit code when there is something to mend.
const FINDINGS: u8 = 1;

/// Flags of `doctor`.
#[derive(Args)]
pub struct Arguments {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the statements that mend what was found, as a script, and nothing else
    #[arg(long, conflicts_with = "output_format")]
    sql: bool,
    /// How the examination is printed
    #[arg(short = 'o', long = "output", alias = "output-format", value_enum, default_value_t = OutputFormat::Full)]
    #[arg(value_name = "FORMAT")]
    output_format: OutputFormat,
    /// This pipeline's own folder, as in `run`
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Override one value of the file, as in `run`
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<Setting>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people, every check with what was found
    #[value(alias = "text")]
    Full,
    /// One JSON document for all pipelines
    Json,
}

/// Examines every pipeline; nothing is written anywhere.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    let loaded = match pipeline_file::open_all(&arguments.files, &arguments.settings) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes, console),
    };
    loaded.iter().flat_map(|loaded| &loaded.warnings).for_each(|warning| console.report(warning));
    let alone = loaded.len() == 1;
    let examined: Result<Vec<Doctored>> = loaded.iter().map(|loaded| examine(loaded, alone, arguments)).collect();
    let examined = match examined {
        Ok(examined) => examined,
        Err(error) => return fail(&error, console),
    };
    match (arguments.sql, arguments.output_format) {
        (true, _) => examined.iter().for_each(|doctored| print(&script::render(doctored))),
        (false, OutputFormat::Full) => {
            examined.iter().for_each(|doctored| print(&text::render(doctored, console.colour_out)));
        }
        (false, OutputFormat::Json) => print(&format!("{}\n", json::envelope(&examined))),
    }
    let found = examined.iter().any(|doctored| doctored.count(Mark::Finding) > 0);
    if arguments.output_format == OutputFormat::Full && !arguments.sql {
        next(&examined, found, arguments, console);
    }
    if found { FINDINGS } else { 0 }
}

fn examine(loaded: &Loaded, alone: bool, arguments: &Arguments) -> Result<Doctored> {
    let (name, given) = (&loaded.pipeline.name, arguments.state_dir.clone());
    let folder = if alone { state_dir::of(name, given) } else { state_dir::of_one_of(name, given.as_deref()) };
    let folder = folder.map_err(|why| Error::new(Code::StateUnusable, why).help("name a folder with --state-dir"))?;
    doctor::examine(loaded, &folder)
}

/// What to type now.
fn next(examined: &[Doctored], found: bool, arguments: &Arguments, console: &Console) {
    let files: Vec<_> = arguments.files.iter().map(|file| file.display().to_string()).collect();
    let files = files.join(" ");
    let remedies = examined.iter().flat_map(|doctored| &doctored.parts).flat_map(|part| &part.checks);
    let has_statements = remedies.into_iter().any(|check| check.mark == Mark::Finding && !check.remedies.is_empty());
    console.tell(&match (found, has_statements) {
        (true, true) => format!("next: dujiang doctor --sql {files}    prints every statement that is missing"),
        (true, false) => format!("next: mend that, then dujiang doctor {files}"),
        (false, _) => format!("next: dujiang plan {files}, then dujiang run {files}"),
    });
}
