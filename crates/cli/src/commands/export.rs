//! `dujiang export jsonschema`.

use crate::console::print;
use crate::registry::Connectors;
use clap::Subcommand;
use dujiang_spec::json_schema;

/// What to export.
#[derive(Subcommand)]
pub enum Arguments {
    /// The JSON Schema of pipeline files, for editors: completion, hints and checks while writing
    ///
    /// Write it to a file and name that in the first line of a pipeline file:
    /// `# yaml-language-server: $schema=dujiang.schema.json`
    Jsonschema,
}

/// Prints what is asked for.
pub fn run(arguments: &Arguments) -> u8 {
    match arguments {
        Arguments::Jsonschema => print(&format!("{:#}\n", json_schema(&Connectors))),
    }
    0
}
