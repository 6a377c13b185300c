//! Log lines on standard error: for people on a terminal, one JSON object a line otherwise.

use crate::clock::now_text;
use crate::console::Console;
use dujiang_core::{Code, Error, Result, options};
use dujiang_spec::Pipeline;
use indicatif::MultiProgress;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::sync::{PoisonError, RwLock};
use tracing::dispatcher::{DefaultGuard, Dispatch};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, registry};

/// The variable with the filter: `DUJIANG_LOG=debug`, `DUJIANG_LOG=warn,dujiang_mysql=trace`.
const FILTER_VARIABLE: &str = "DUJIANG_LOG";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What log lines are told by: the crates that are in the binary.
const PARTS: [&str; 22] = [
    "dujiang",
    "dujiang_blackhole",
    "dujiang_core",
    "dujiang_database",
    "dujiang_datahub",
    "dujiang_engine",
    "dujiang_entries",
    "dujiang_file",
    "dujiang_format_ipc",
    "dujiang_format_parquet",
    "dujiang_format_text",
    "dujiang_generator",
    "dujiang_kafka",
    "dujiang_log",
    "dujiang_mysql",
    "dujiang_net",
    "dujiang_postgres",
    "dujiang_scratch",
    "dujiang_spec",
    "dujiang_spool",
    "dujiang_transforms",
    "dujiang_values",
];

/// Pipelines whose secrets no line holds, whoever has written it.
static HIDDEN: RwLock<Vec<Pipeline>> = RwLock::new(Vec::new());

/// Hides a pipeline's secrets from now on.
pub fn hide_secrets_of(pipeline: &Pipeline) {
    HIDDEN.write().unwrap_or_else(PoisonError::into_inner).push(pipeline.clone());
}

/// Starts logging for this process. Lines go above the progress bars.
///
/// # Errors
/// `Usage` when the variable asks for what there is not.
pub fn start(console: &Console, pipeline: &str, bars: MultiProgress) -> Result<()> {
    // What has been started before stays.
    let _ = tracing::dispatcher::set_global_default(dispatch(console, pipeline, bars)?);
    Ok(())
}

/// A log whose lines name a pipeline; of several pipelines in one process each has its own, on its own threads.
///
/// # Errors
/// As [`start`].
pub fn dispatch(console: &Console, pipeline: &str, bars: MultiProgress) -> Result<Dispatch> {
    let wanted = std::env::var_os(FILTER_VARIABLE).unwrap_or_default();
    let filter = filter(&wanted.to_string_lossy())?;
    let lines = Lines { json: console.json, colour: console.colour, pipeline: pipeline.to_owned(), bars };
    Ok(Dispatch::new(registry().with(lines.with_filter(filter))))
}

/// What is wanted, and `info` of whatever that says nothing about. For tracing a word that is no level is the name of a part of
/// the program, the only one that is to be heard.
fn filter(wanted: &str) -> Result<EnvFilter> {
    let mut all = "info".to_owned();
    for part in wanted.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (of, level) = part.rsplit_once('=').map_or((None, part), |(of, level)| (Some(of.trim()), level));
        let level = level.trim().to_ascii_lowercase();
        if !LEVELS.contains(&level.as_str()) {
            return Err(wrong(part, &level));
        }
        if let Some(of) = of.filter(|of| !may_log(of)) {
            return Err(no_part(of, &level));
        }
        let _ = write!(all, ",{part}");
    }
    EnvFilter::try_new(all).map_err(|e| wrong(wanted, "").with_source(e))
}

#[cold]
fn wrong(part: &str, level: &str) -> Error {
    let near = options::nearest(level, LEVELS.into_iter());
    let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    Error::new(Code::Usage, format!("the level `{part}` in {FILTER_VARIABLE} is not known"))
        .fact("known", LEVELS.join(", "))
        .help(format!("{near}write a level, or a part of the program with its level: `info,dujiang_mysql=trace`"))
}

/// Whether a part may be one that logs. Libraries log too, under names that nobody here knows.
fn may_log(part: &str) -> bool {
    let of = part.split("::").next().unwrap_or_default();
    match of.strip_prefix("dujiang") {
        Some(_) => PARTS.contains(&of),
        None => !PARTS.iter().any(|known| known.strip_prefix("dujiang_") == Some(of)),
    }
}

#[cold]
fn no_part(of: &str, level: &str) -> Error {
    let whole = if of.starts_with("dujiang") { of.to_owned() } else { format!("dujiang_{of}") };
    let near = options::nearest(&whole, PARTS.into_iter()).unwrap_or("dujiang_mysql");
    Error::new(Code::Usage, format!("no part of the program is called `{of}`, as {FILTER_VARIABLE} has it"))
        .fact("known", PARTS.join(", "))
        .help(format!("did you mean `{near}={level}`?"))
}

thread_local! {
    /// The log of this thread, for as long as it lives.
    static OWN_LOG: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Sends what this thread logs to a log of its own.
pub fn on_this_thread(log: &Dispatch) {
    OWN_LOG.set(Some(tracing::dispatcher::set_default(log)));
}

struct Lines {
    json: bool,
    colour: bool,
    pipeline: String,
    bars: MultiProgress,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.hide_secrets();
        let level = *event.metadata().level();
        let line = if self.json { self.json_line(level, fields) } else { self.text_line(level, &fields) };
        self.bars.suspend(|| {
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        });
    }
}

impl Lines {
    fn json_line(&self, level: Level, fields: Fields) -> String {
        let mut object = Map::new();
        object.insert("time".into(), now_text().into());
        object.insert("level".into(), level.as_str().to_ascii_lowercase().into());
        object.insert("pipeline".into(), self.pipeline.clone().into());
        object.insert("message".into(), fields.message.into());
        object.extend(fields.others);
        format!("{}\n", Value::Object(object))
    }

    fn text_line(&self, level: Level, fields: &Fields) -> String {
        let (on, off) = if self.colour { (colour_of(level), "\x1b[0m") } else { ("", "") };
        let level = level.as_str();
        let mut line = format!("{} {on}{level:<5}{off} {}", now_text(), fields.message);
        for (name, value) in &fields.others {
            let _ = match value {
                Value::String(text) if text.is_empty() => Ok(()),
                Value::String(text) if text.contains(' ') => write!(line, " {name}={value}"),
                Value::String(text) => write!(line, " {name}={text}"),
                other => write!(line, " {name}={other}"),
            };
        }
        line.push('\n');
        line
    }
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[1;31m",
        Level::WARN => "\x1b[1;33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }

    fn hide_secrets(&mut self) {
        let hidden = HIDDEN.read().unwrap_or_else(PoisonError::into_inner);
        let texts = self.others.values_mut().filter_map(|value| match value {
            Value::String(text) => Some(text),
            _ => None,
        });
        for text in texts.chain([&mut self.message]) {
            hidden.iter().for_each(|pipeline| *text = pipeline.without_secrets(text));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::{PARTS, filter};

    #[test]
    fn a_filter_never_silences_what_it_does_not_name() {
        for (wanted, kept) in [
            ("", "info"),
            ("debug", "debug"),
            ("WARN", "warn"),
            ("off", "off"),
            ("dujiang_mysql=trace", "dujiang_mysql=trace,info"),
            ("warn, dujiang_mysql=trace", "dujiang_mysql=trace,warn"),
        ] {
            assert_eq!(filter(wanted).unwrap().to_string(), kept, "{wanted}");
        }
        for (wrong, near) in
            [("debgu", "`debug`?"), ("info,dujiang_mysql=trce", "`trace`?"), ("dujiang_mysql", "write a level")]
        {
            let error = filter(wrong).unwrap_err();
            assert!(error.help_text().unwrap().contains(near), "{wrong}: {error:?}");
        }
    }

    #[test]
    fn a_part_that_there_is_not_is_named() {
        for wrong in ["dujiang_mysq=trace", "mysql=trace", "info,dujiang-mysql=trace", "dujiang_mysqll::reader=trace"] {
            let error = filter(wrong).unwrap_err();
            assert_eq!(error.help_text(), Some("did you mean `dujiang_mysql=trace`?"), "{wrong}: {error:?}");
        }
        for right in ["rustls=debug", "dujiang_mysql::reader=debug", "dujiang=debug"] {
            filter(right).unwrap();
        }
    }

    /// Whoever adds a crate adds its name.
    #[test]
    fn every_part_of_the_binary_can_be_named() {
        let lock = include_str!("../../../Cargo.lock");
        let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"dujiang")?.strip_suffix('"'));
        let names = names.map(|rest| format!("dujiang{}", rest.replace('-', "_")));
        assert_eq!(names.filter(|name| name != "dujiang_testkit").collect::<Vec<_>>(), PARTS);
    }
}
