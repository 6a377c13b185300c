//! What goes to the terminal: colour, log form, errors.

use clap::ValueEnum;
use dujiang_spec::{Diagnostic, Severity};
use std::io::{IsTerminal, Write};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Form of log lines and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How this process talks: data on standard output, everything else on standard error.
#[derive(Debug, Clone)]
pub struct Console {
    /// Whether standard error takes colour.
    pub colour: bool,
    /// Whether standard output takes colour.
    pub colour_out: bool,
    /// Whether log lines and errors of a run are JSON.
    pub json: bool,
    /// Whether standard error is a terminal that can show progress.
    pub interactive: bool,
    /// The pipeline that is run, for log lines.
    pub pipeline: Option<String>,
}

impl Console {
    /// Looks at the terminal and at `NO_COLOR`, `FORCE_COLOR` and `TERM`. Only a command that `logs` talks JSON by itself.
    pub fn new(choice: ColorChoice, format: LogFormat, logs: bool) -> Self {
        let variable = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if variable("NO_COLOR") => false,
            ColorChoice::Auto => variable("FORCE_COLOR") || (terminal && !dumb),
        };
        let terminal = std::io::stderr().is_terminal();
        let json = match format {
            LogFormat::Auto => logs && !terminal,
            LogFormat::Text => false,
            LogFormat::Json => true,
        };
        Self {
            colour: colour(terminal),
            colour_out: colour(std::io::stdout().is_terminal()),
            json,
            interactive: terminal && !dumb && !json,
            pipeline: None,
        }
    }

    /// Shows a mistake or a warning of a running command on standard error, in the log's form.
    pub fn report(&self, diagnostic: &Diagnostic) {
        let mut stderr = std::io::stderr().lock();
        let text = if self.json { self.json_line(diagnostic) } else { diagnostic.render(self.colour) };
        let _ = stderr.write_all(text.as_bytes());
    }

    /// Text for people on standard error; nothing when the log is JSON.
    pub fn tell(&self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// A diagnostic as a log line: its fields, and the text a person would have seen.
    fn json_line(&self, diagnostic: &Diagnostic) -> String {
        let mut object = diagnostic.to_json();
        if let Some(map) = object.as_object_mut() {
            let level = if diagnostic.severity == Severity::Error { "error" } else { "warn" };
            map.insert("time".into(), crate::clock::now_text().into());
            map.insert("level".into(), level.into());
            if let Some(pipeline) = &self.pipeline {
                map.insert("pipeline".into(), pipeline.clone().into());
            }
            map.insert("rendered".into(), diagnostic.render(false).into());
        }
        format!("{object}\n")
    }
}

/// Writes data to standard output. A reader that has gone away (`| head`) is no error.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
