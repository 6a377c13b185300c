//! The `values` sink: prints every event on standard output, in the words of Flink CDC's sink of the same name.
//!
//! For trying a pipeline out, and for looking at what transforms and routes make of a table. An event is printed as soon
//! as it arrives; after a crash some may be printed twice. The grammar is in `print.rs`.

#![warn(missing_docs)]

pub mod print;
mod text;

use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::connector::SinkSpec;
use dujiang_core::evolution::{SchemaEvent, SinkChange};
use dujiang_core::sink::{
    CommitRequest, Committer, Detached, Sink, SinkClass, SinkContext, SinkFigures, SinkState, Writer,
};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Result, ResultExt, TableSchema};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

dujiang_core::choice! {
    /// The dialect's two ways to run this sink inside Flink.
    pub enum SinkApi {
        /// The newer one.
        SinkV2 = "sink_v2",
        /// The older one.
        SinkFunction = "sink_function",
    }
}

dujiang_core::options! {
    /// Options of the `values` sink.
    pub struct ValuesOptions {
        /// Whether events are printed. Without it the sink counts them and drops them.
        "print.enabled" => print_enabled: bool, default "true";
        /// Accepted, without effect: nothing outside the process could read a table kept in memory.
        "materialized.in.memory" => materialized_in_memory: bool, default "false";
        /// Accepted, without effect: a choice between two interfaces of Flink.
        "sink.api" => sink_api: SinkApi, default "sink_v2";
        /// Refuses every schema change but the creation of a table; for trying out what a pipeline does then.
        "error.on.schema.change" => error_on_schema_change: bool, default "false";
    }
}

/// The sink type, for the command's registry.
pub const SPEC: SinkSpec = SinkSpec {
    kind: "values",
    summary: "prints events on standard output, at least once; for trying out a pipeline",
    options: ValuesOptions::DEFS,
    build: |raw, pipeline| {
        let options = ValuesOptions::parse(raw)?;
        Ok(Box::new(Values::new(&options, pipeline.parallelism, Arc::new(Mutex::new(std::io::stdout())))))
    },
};

/// Where events are printed.
pub type Output = Arc<Mutex<dyn Write + Send>>;

/// The sink.
pub struct Values {
    output: Option<Output>,
    lanes: usize,
    refuses_changes: bool,
}

impl Values {
    /// A sink that prints to `output`.
    pub fn new(options: &ValuesOptions, lanes: usize, output: Output) -> Self {
        let output = options.print_enabled.then_some(output);
        Self { output, lanes, refuses_changes: options.error_on_schema_change }
    }
}

#[async_trait]
impl Sink for Values {
    fn class(&self) -> SinkClass {
        SinkClass::AtLeastOnce
    }

    fn unit(&self) -> (&'static str, &'static str) {
        ("line", "lines")
    }

    async fn committer(&self, _context: SinkContext) -> Result<Box<dyn Committer>> {
        Ok(Box::new(Announcer { output: self.output.clone(), refuses_changes: self.refuses_changes }))
    }

    async fn writer(&self, lane: usize, _context: SinkContext) -> Result<Box<dyn Writer>> {
        // As in the dialect: lanes are told apart where there are several.
        let prefix = if self.lanes > 1 { format!("{lane}> ") } else { String::new() };
        Ok(Box::new(Printer {
            output: self.output.clone(),
            prefix,
            lines: Vec::new(),
            figures: SinkFigures::default(),
        }))
    }
}

/// Prints one lane's changes.
struct Printer {
    output: Option<Output>,
    prefix: String,
    lines: Vec<u8>,
    figures: SinkFigures,
}

#[async_trait]
impl Writer for Printer {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        if let Some(output) = &self.output {
            self.lines.clear();
            print::data_events(batch, &self.prefix, &mut self.lines)?;
            print(output, &self.lines)?;
            self.figures.bytes += self.lines.len() as u64;
        }
        self.figures.units += batch.changes() as u64;
        Ok(Vec::new())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Detached<Vec<Token>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn buffered(&self) -> usize {
        0
    }

    async fn spill(&mut self) -> Result<()> {
        Ok(())
    }

    fn figures(&self) -> SinkFigures {
        self.figures
    }
}

/// Prints schema changes.
struct Announcer {
    output: Option<Output>,
    refuses_changes: bool,
}

#[async_trait]
impl Committer for Announcer {
    async fn open(&mut self) -> Result<SinkState> {
        Ok(SinkState::Unknown)
    }

    async fn commit(&mut self, _epoch: &CommitRequest) -> Result<()> {
        Ok(())
    }

    async fn abort_except(&mut self, _keep: &[Token]) -> Result<()> {
        Ok(())
    }

    /// A table's first shape, or the difference of two.
    async fn apply_schema(&mut self, expected: Option<&Arc<TableSchema>>, next: &Arc<TableSchema>) -> Result<()> {
        let events = SchemaEvent::of_change(expected.map(Arc::as_ref), next, &dujiang_core::schema::Ddl::default());
        for event in events {
            self.apply_event(&SinkChange { before: expected.cloned(), after: next.clone(), event }).await?;
        }
        Ok(())
    }

    async fn apply_event(&mut self, change: &SinkChange) -> Result<()> {
        if self.refuses_changes && change.event != SchemaEvent::CreateTable {
            return Err(Error::new(Code::SchemaChange, format!("the sink refuses {}", change.event.tag()))
                .fact("table", change.table().to_string())
                .fact("option", "error.on.schema.change: true"));
        }
        match &self.output {
            Some(output) => print(output, (print::schema_event(change) + "\n").as_bytes()),
            None => Ok(()),
        }
    }

    async fn withdraw_after(&mut self, _epoch: Epoch) -> Result<()> {
        Err(Error::new(Code::NotSupported, "what has been printed cannot be taken back")
            .help("start without `--restore-from`, under another pipeline name if need be"))
    }
}

fn print(output: &Output, lines: &[u8]) -> Result<()> {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    let written = output.write_all(lines).and_then(|()| output.flush());
    written.or_code(Code::SinkWrite, || "events could not be printed".to_owned())
}

#[cfg(test)]
mod tests;
