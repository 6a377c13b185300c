//! Pipeline files: text -> spans -> resolved pipeline.
//!
//! [`load`] reads a file's text, resolves references, lays environment and command line over it, checks every option
//! against the connector that will take it, and returns either a ready pipeline or **every** mistake at once, each with
//! its place. Nothing outside the process is touched; files named by `${file:path}` are read through a function that the
//! caller hands in.

#![warn(missing_docs)]

mod blocks;
mod bytes;
mod common;
mod diagnostic;
mod document;
mod effective;
mod environment;
mod finding;
mod formats;
mod given;
mod guarantee;
mod hints;
mod load;
mod overrides;
mod pages;
mod pipeline;
mod references;
mod registry;
mod render;
mod rules;
mod run_time;
mod scalar;
mod schema;
mod schema_changes;
mod secrets;
mod settings;
mod sinks;
mod source_text;
mod spanned;
mod sql;
mod sql_place;
mod yaml;

pub use bytes::MAX_FILE_BYTES;
pub use diagnostic::{Diagnostic, Severity};
pub use effective::Effective;
pub use environment::environment;
pub use formats::sarif;
pub use load::{AllInputs, Inputs, Loaded, load, load_all};
pub use overrides::variable_name;
pub use pages::{error_page, option_page, reference_page};
pub use pipeline::{Block, ErrorPolicy, Guarantee, Pipeline, PipelineSettings, RouteMode, SchemaBehavior};
pub use references::MAX_REFERENCED_BYTES;
pub use registry::Registry;
pub use rules::{Converter, KeyColumn, RouteOptions, RouteRule, TransformOptions, TransformRule};
pub use schema::json_schema;
pub use source_text::SourceText;
pub use spanned::SpannedText;
pub use sql::{Clause, SqlChecker, SqlMistake, SqlRule};
pub use yaml::{Tree, TreeValue, mistake_at, read_tree};
