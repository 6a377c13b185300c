//! The `dujiang` command: every committed change of databases into files, exactly once, and into queues.
//!
//! The only place that names concrete connectors ([`registry`]) and the only one that prints.

mod clock;
mod commands;
mod console;
mod demo;
#[cfg(test)]
mod docs;
mod doctor;
mod faults;
mod fixture;
mod logging;
mod loops;
mod pipeline_file;
mod plan;
mod progress;
mod registry;
mod session;
mod several;
mod signals;
mod state_dir;
mod wiring;

use clap::Parser;
use console::{ColorChoice, Console, LogFormat};
use std::process::ExitCode;

/// Batches are made and dropped all the time: with the system's allocator wide rows cost half as much again in page
/// faults.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "\
Examples:
  dujiang demo                          a private database, a write load, Parquet files: see it work
  dujiang check pipeline.yaml           every mistake of the file at once
  dujiang doctor pipeline.yaml          connect read-only and say how to mend what is wrong
  dujiang plan pipeline.yaml            connect read-only and tell what a run would do
  dujiang run pipeline.yaml             run it in the foreground; Ctrl-C finishes the epoch and ends
  dujiang run pipeline.yaml --until snapshot
  dujiang explain E0211                 what an error code means and what to do
  dujiang explain source.tables         what an option means and how it is set

Exit codes:
   0  done, or stopped as asked           73  a folder cannot be written to
   1  something is to be mended           74  a disk failed
   2  the command was used wrongly        75  another process runs it: try later
  65  data integrity                      77  login refused, privilege missing
  69  the source cannot be reached        78  the file or a server's settings are wrong
  70  our bug: please report it          130  quit at the second Ctrl-C";

/// Streams every committed change of operational databases into files, exactly once, and into queues.
#[derive(Parser)]
#[command(name = "dujiang", version, after_help = EXAMPLES, infer_subcommands = false)]
struct Arguments {
    /// When to colour messages: `auto` (on a terminal; heeds NO_COLOR, FORCE_COLOR and TERM=dumb), `always` or `never`
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    #[arg(hide_possible_values = true, hide_default_value = true, help_heading = "With every command")]
    color: ColorChoice,
    /// Form of the log of `run` and `demo`, on standard error: `auto` (text on a terminal, JSON otherwise), `text` or `json`
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto, value_name = "FORMAT")]
    #[arg(hide_possible_values = true, hide_default_value = true, help_heading = "With every command")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let console = Console::new(arguments.color, arguments.log_format, arguments.command.logs());
    ExitCode::from(commands::run(arguments.command, &console))
}
