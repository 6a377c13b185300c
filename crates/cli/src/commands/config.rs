//! `dujiang config show FILE...`: what pipelines are set to in the end.

use super::{Named, Output, refuse};
use crate::console::{Console, print};
use crate::pipeline_file;
use crate::registry::Connectors;
use clap::{Args, Subcommand};
use dujiang_spec::{Effective, Pipeline};
use serde_json::{Value, json};

/// What stands in place of a secret.
const MASK: &str = "***";

/// What to do with the configuration.
#[derive(Subcommand)]
pub enum Arguments {
    /// Every option in force, after environment, flags and defaults; secrets are masked
    Show(ShowArguments),
}

/// Flags of `config show`.
#[derive(Args)]
pub struct ShowArguments {
    #[command(flatten)]
    named: Named,
    /// Say where each value came from
    #[arg(long)]
    origin: bool,
}

/// Shows the options of every pipeline.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    let Arguments::Show(ShowArguments { named, origin }) = arguments;
    let loaded = match pipeline_file::open_all(&named.files, &named.settings) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes, console),
    };
    let pipelines = || loaded.iter().map(|loaded| (&loaded.pipeline, loaded.pipeline.effective(&Connectors)));
    match named.output {
        Output::Json => print(&format!("{}\n", Value::from_iter(pipelines().map(|(of, all)| to_json(of, &all))))),
        Output::Text => {
            for (index, (pipeline, all)) in pipelines().enumerate() {
                let gap = if index > 0 { "\n" } else { "" };
                print(&format!("{gap}# pipeline {}\n{}", pipeline.name, to_text(&all, *origin)));
            }
        }
    }
    0
}

fn to_text(all: &[Effective], origin: bool) -> String {
    let mut text = String::new();
    for option in all {
        // A value of several lines stays on one, with its line ends shown.
        let value = option.value.as_deref().map_or(MASK.to_owned(), |value| value.replace('\n', "\\n"));
        text.push_str(&format!("{} = {value}", option.path));
        if origin {
            text.push_str(&format!("\t# {}", option.origin));
        }
        text.push('\n');
    }
    text
}

fn to_json(pipeline: &Pipeline, all: &[Effective]) -> Value {
    let options: Vec<Value> = all
        .iter()
        .map(|option| {
            json!({
                "path": option.path,
                "value": option.value,
                "secret": option.value.is_none(),
                "origin": option.origin,
            })
        })
        .collect();
    json!({ "pipeline": pipeline.name, "file": pipeline.file.name(), "options": options })
}
