//! Errors of the running pipeline, shown at the option they are about.

use crate::diagnostic::Diagnostic;
use crate::pipeline::{Block, Pipeline};
use crate::secrets;
use dujiang_core::{Code, Error};

/// The option that is most likely to blame for an error of the running pipeline that does not name one.
const LIKELY_OPTIONS: &[(Code, &str, &[&str])] = &[
    (Code::SourceUnreachable, "source", &["hostname"]),
    (Code::NotADatabase, "source", &["port", "hostname"]),
    (Code::LoginRefused, "source", &["password", "username"]),
    (Code::MissingPrivilege, "source", &["username"]),
    (Code::UnknownDatabase, "source", &["tables"]),
    (Code::NoTable, "source", &["tables"]),
    (Code::NoKey, "source", &["tables"]),
    (Code::CascadingKey, "source", &["tables"]),
    (Code::ServerIdTaken, "source", &["server-id"]),
    (Code::StartNotPossible, "source", &["scan.startup.mode"]),
    (Code::SinkNotWritable, "sink", &["path"]),
    (Code::SinkFull, "sink", &["path"]),
    (Code::SinkTaken, "sink", &["path"]),
    (Code::StateLost, "sink", &["path"]),
];

impl Diagnostic {
    /// An error of the running pipeline, with the snippet of the option it is about.
    ///
    /// The option is the one named by the fact `("option", "source.password")`, or the likely one for the error's code.
    pub fn from_error(error: &Error, pipeline: &Pipeline) -> Self {
        let mut diagnostic = Self::about_file(error.code(), error.message(), pipeline.file.name());
        diagnostic.file = pipeline.file.clone();
        let facts = error.facts().iter().filter(|(name, _)| *name != "option");
        diagnostic.notes = facts.map(|(name, value)| format!("{name}: {value}")).collect();
        diagnostic.notes.extend(error.causes().map(|cause| format!("cause: {cause}")));
        diagnostic.help = error.help_text().map(str::to_owned);
        if !diagnostic.point_into_sql(error, pipeline) {
            diagnostic.point_at_option(error, pipeline);
        }
        for text in diagnostic.notes.iter_mut().chain([&mut diagnostic.message]).chain(&mut diagnostic.help) {
            secrets::scrub(text, &pipeline.secrets);
        }
        diagnostic
    }

    fn point_at_option(&mut self, error: &Error, pipeline: &Pipeline) {
        let named = error.facts().iter().find(|(name, _)| *name == "option").map(|(_, path)| path.as_str());
        let (block_name, keys) = match named {
            Some(path) => match path.split_once('.') {
                Some((block, key)) => (block, vec![key]),
                None => ("source", vec![path]),
            },
            None => match LIKELY_OPTIONS.iter().find(|(code, ..)| *code == error.code()) {
                Some((_, block, keys)) => (*block, keys.to_vec()),
                None => return,
            },
        };
        let block = match block_name {
            "source" => &pipeline.source,
            "sink" => &pipeline.sink,
            "log" => match &pipeline.log {
                Some(log) => log,
                None => return,
            },
            "pipeline" => {
                self.place = pipeline.settings.place(keys.first().unwrap_or(&""));
                return;
            }
            _ => return,
        };
        match keys.iter().find_map(|key| block.option(key)) {
            Some(option) => {
                self.place = option.value_place.clone();
                self.notes.extend(provenance(block, &option.key, option.value.is_empty()));
            }
            None => self.place = block.place.clone(),
        }
    }
}

impl Pipeline {
    /// Hides the pipeline's secrets in a text that others have written.
    pub fn without_secrets(&self, text: &str) -> String {
        let mut text = text.to_owned();
        secrets::scrub(&mut text, &self.secrets);
        text
    }
}

/// Where a value came from that the snippet does not show.
fn provenance<'a>(block: &'a Block, key: &'a str, empty: bool) -> impl Iterator<Item = String> + 'a {
    let origins = block.origins.iter().filter(move |(of, _)| of == key);
    let state = if empty { ", which is empty" } else { "" };
    origins.map(move |(_, origin)| format!("the value comes from {origin}{state}"))
}
