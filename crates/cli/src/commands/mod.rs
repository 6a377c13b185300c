//! One file per command.

mod check;
mod config;
mod demo;
mod dlq;
mod doctor;
mod explain;
mod export;
mod log;
mod plan;
mod run;
mod test;

use crate::console::Console;
use crate::pipeline_file::Setting;
use dujiang_core::Error;
use dujiang_spec::{Diagnostic, Severity};
use std::path::PathBuf;

/// Pipelines to be looked at, and how what is found is printed.
#[derive(clap::Args)]
struct Named {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How it is printed
    #[arg(short, long, alias = "output-format", value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    output: Output,
    /// Override one value of the file, as in `run`
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<Setting>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people
    Text,
    /// JSON
    Json,
}

/// What the command line can do.
#[derive(clap::Subcommand)]
pub enum Command {
    /// See it work: a private database, a write load, Parquet files
    Demo(demo::Arguments),
    /// Run a pipeline file in the foreground
    Run(run::Arguments),
    /// Check pipeline files offline: every mistake at once
    Check(check::Arguments),
    /// Look, read-only, at everything a run depends on, and say how to mend what is wrong
    Doctor(doctor::Arguments),
    /// Look up, read-only, what a run would do: tables, types, places, and what stands in the way
    Plan(plan::Arguments),
    /// Play fixtures: unit tests of pipelines, without a database
    Test(test::Arguments),
    /// Look at what pipelines are set to
    #[command(subcommand)]
    Config(config::Arguments),
    /// Print files for other programs
    #[command(subcommand)]
    Export(export::Arguments),
    /// Look at the dead letters of a pipeline: records that could not be processed
    #[command(subcommand)]
    Dlq(dlq::Arguments),
    /// Look at a pipeline's log: what it holds, who reads it, whether it is whole
    #[command(subcommand)]
    Log(log::Arguments),
    /// Explain an error code, an option or a connector
    Explain(explain::Arguments),
}

impl Command {
    /// Whether it runs a pipeline and so writes a log.
    pub fn logs(&self) -> bool {
        matches!(self, Command::Demo(_) | Command::Run(_))
    }
}

/// Runs one command; the result is the exit code.
pub fn run(command: Command, console: &Console) -> u8 {
    match command {
        Command::Demo(arguments) => demo::run(&arguments, console),
        Command::Run(arguments) => run::run(arguments, console),
        Command::Check(arguments) => check::run(&arguments, console),
        Command::Doctor(arguments) => doctor::run(&arguments, console),
        Command::Plan(arguments) => plan::run(&arguments, console),
        Command::Test(arguments) => test::run(&arguments, console),
        Command::Config(arguments) => config::run(&arguments, console),
        Command::Export(arguments) => export::run(&arguments),
        Command::Dlq(arguments) => dlq::run(&arguments, console),
        Command::Log(arguments) => log::run(&arguments, console),
        Command::Explain(arguments) => explain::run(&arguments, console),
    }
}

/// Shows mistakes of a file; the exit code is that of the first error.
fn refuse(mistakes: &[Diagnostic], console: &Console) -> u8 {
    mistakes.iter().for_each(|mistake| console.report(mistake));
    let first = mistakes.iter().find(|mistake| mistake.severity == Severity::Error);
    first.map_or(78, |mistake| mistake.code.exit_code())
}

/// Shows an error that has no pipeline file.
fn fail(error: &Error, console: &Console) -> u8 {
    let mut diagnostic = Diagnostic::about_file(error.code(), error.message(), "command line");
    diagnostic.notes = error.facts().iter().map(|(name, value)| format!("{name}: {value}")).collect();
    diagnostic.notes.extend(error.causes().map(|cause| format!("cause: {cause}")));
    diagnostic.help = error.help_text().map(str::to_owned);
    console.report(&diagnostic);
    error.code().exit_code()
}
