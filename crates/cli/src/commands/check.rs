//! `dujiang check FILE...`.

use crate::console::{Console, print};
use crate::pipeline_file::{self, Setting};
use clap::{Args, ValueEnum};
use dujiang_spec::{Diagnostic, Severity};
use serde_json::json;
use std::path::PathBuf;

/// Exit code when there is something to mend.
const FINDINGS: u8 = 1;

/// Flags of `check`.
#[derive(Args)]
pub struct Arguments {
    /// Pipeline files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How mistakes are printed
    #[arg(short = 'o', long = "output", alias = "output-format", value_enum, default_value_t = OutputFormat::Full)]
    #[arg(value_name = "FORMAT")]
    output_format: OutputFormat,
    /// Override one value of the file, as in `run`
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<Setting>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// With the lines of the file and a caret
    #[value(alias = "text")]
    Full,
    /// One line each
    Concise,
    /// One JSON document for all files
    Json,
    /// Commands of a GitHub workflow, which shows them in the pull request
    Github,
    /// One SARIF 2.1.0 document for all files
    Sarif,
}

/// Checks every file; nothing outside the process is touched.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    let found = match pipeline_file::open_all(&arguments.files, &arguments.settings) {
        Ok(loaded) => {
            loaded.iter().for_each(|pipeline| praise(pipeline, console));
            next(&arguments.files, console);
            loaded.into_iter().flat_map(|pipeline| pipeline.warnings).collect()
        }
        Err(mistakes) => mistakes,
    };
    let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
    match arguments.output_format {
        OutputFormat::Full => found.iter().for_each(|d| print(&format!("{}\n", d.render(console.colour_out)))),
        OutputFormat::Concise => found.iter().for_each(|d| print(&format!("{}\n", d.render_line()))),
        OutputFormat::Json => print(&format!("{}\n", envelope(&found, errors))),
        OutputFormat::Github => found.iter().for_each(|d| print(&format!("{}\n", d.render_github()))),
        OutputFormat::Sarif => print(&format!("{}\n", dujiang_spec::sarif(&found, env!("CARGO_PKG_VERSION")))),
    }
    if errors > 0 {
        console.tell(&format!("{errors} {} to mend", if errors == 1 { "mistake" } else { "mistakes" }));
    }
    if errors > 0 { FINDINGS } else { 0 }
}

fn next(files: &[PathBuf], console: &Console) {
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    console.tell(&format!("next: dujiang doctor {}", files.join(" ")));
}

fn praise(loaded: &dujiang_spec::Loaded, console: &Console) {
    let pipeline = &loaded.pipeline;
    let warnings = match loaded.warnings.len() {
        0 => String::new(),
        1 => ", 1 warning".into(),
        n => format!(", {n} warnings"),
    };
    let file = pipeline.file.name();
    console.tell(&format!(
        "ok: {file}: pipeline `{}`, {} to {}{}{}{warnings}",
        pipeline.name,
        pipeline.source.kind,
        pipeline.sink.kind,
        counted(pipeline.transforms.len(), "transform"),
        counted(pipeline.routes.len(), "route"),
    ));
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!(", 1 {what}"),
        n => format!(", {n} {what}s"),
    }
}

/// The envelope of every check-like command.
fn envelope(found: &[Diagnostic], errors: usize) -> serde_json::Value {
    let result: Vec<_> = found.iter().map(Diagnostic::to_json).collect();
    json!({
        "command": "check",
        "ok": errors == 0,
        "summary": { "errors": errors, "warnings": found.len() - errors },
        "result": result,
    })
}
