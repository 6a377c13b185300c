//! The log's one lane: batches into numbered records.

use super::line::Line;
use super::record::{Kind, milestone, write};
use async_trait::async_trait;
use bytes::Bytes;
use dujiang_core::budget::Held;
use dujiang_core::checkpoint::Token;
use dujiang_core::sink::{Detached, Milestone, Retries, SinkContext, SinkFigures, Writer};
use dujiang_core::transform::RowError;
use dujiang_core::{ChangeBatch, Code, Epoch, Error, Result, TableId, TableSchema};
use dujiang_entries::{HEADER, Heads, Numbering, encoded, messages, without_large};
use dujiang_format_text::messages::{Encoder, MessageOptions, Messages};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

/// Longest message of one change.
const MAX_CHANGE: usize = 2 << 20;
/// Bytes of records that wait before a batch has to wait.
const MOST_WAITING: usize = 8 << 20;

/// Takes the batches of the capture.
pub(crate) struct LogWriter {
    line: Arc<Line>,
    options: MessageOptions,
    encoders: HashMap<TableId, (Arc<TableSchema>, Encoder)>,
    /// Buffers of messages that are used again.
    spare: Vec<Messages>,
    entry: Vec<u8>,
    record: Vec<u8>,
    held: Held,
    most_waiting: usize,
    goes_on: bool,
    figures: SinkFigures,
    /// How often the service is asked to take an epoch before it fails.
    retries: Retries,
}

impl LogWriter {
    pub(crate) fn new(line: Arc<Line>, context: &SinkContext) -> Self {
        let headers = Some(context.identity.lineage.clone());
        let options = MessageOptions { headers, ..messages(&line.hub.topic) };
        Self {
            line,
            options,
            encoders: HashMap::new(),
            spare: Vec::new(),
            entry: Vec::new(),
            record: Vec::new(),
            held: context.budget.hold(0),
            most_waiting: (context.budget.limit() / 16).min(MOST_WAITING),
            goes_on: false,
            figures: SinkFigures::default(),
            retries: context.retries,
        }
    }

    fn count(&mut self) {
        self.held.resize(self.line.outbox().bytes());
    }

    /// Puts whole requests, and waits until another batch may be taken.
    async fn make_room(&mut self) -> Result<()> {
        loop {
            let line = self.line.clone();
            let mut opened = pin!(line.opened.notified());
            opened.as_mut().enable();
            let (bytes, going) = {
                let outbox = line.outbox();
                (outbox.bytes(), outbox.going())
            };
            let full = bytes >= self.most_waiting;
            if going > 1 || going > 0 && full {
                line.pump().await?;
            } else if full {
                // The epoch before waits for its commit, which is told elsewhere.
                opened.await;
            } else {
                self.count();
                return Ok(());
            }
        }
    }

    fn encoder(&mut self, schema: &Arc<TableSchema>) -> Result<&mut Encoder> {
        let known = self.encoders.get(&schema.id).is_some_and(|(known, _)| known == schema);
        if !known {
            let encoder = Encoder::new(schema, &self.options)?;
            self.encoders.insert(schema.id.clone(), (schema.clone(), encoder));
        }
        let found = self.encoders.get_mut(&schema.id);
        Ok(&mut found.expect("invariant: it has just been put there").1)
    }

    fn keep(&mut self, by: &str, messages: &Messages, heads: &Heads) {
        let line = self.line.clone();
        let (mut outbox, end) = (line.outbox(), line.entries.next());
        for (index, message) in messages.iter().enumerate() {
            let head = heads.get(index).unwrap_or_default();
            let (mut more, mut count) = ([(HEADER, head); 3], 1);
            for header in message.headers().take(2) {
                more[count] = header;
                count += 1;
            }
            self.record.clear();
            let data = message.value.unwrap_or_default();
            write(by, Kind::Change, &more[..count], data, &mut self.entry, &mut self.record);
            outbox.push(&self.record, end);
            self.figures.bytes += self.record.len() as u64;
        }
        self.figures.units += messages.len() as u64;
    }
}

fn too_large(table: &TableId, bytes: usize) -> Error {
    Error::new(Code::BadRecord, format!("a record of {table} is larger than a record of DataHub may be"))
        .fact("bytes", bytes.to_string())
        .fact("most", MAX_CHANGE.to_string())
        .help("leave large columns out, or use another log")
}

#[async_trait]
impl Writer for LogWriter {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<Vec<RowError>> {
        self.make_room().await?;
        let (line, id) = (self.line.clone(), &batch.schema.id);
        let shape = match line.entries.shape(id) {
            Some((shape, known)) if known == batch.schema && batch.source_table() == id => shape,
            _ => {
                let what = "rows come in a shape that the log has not been told";
                return Err(Error::new(Code::Bug, what).fact("table", id.to_string()));
            }
        };
        let mut spare = std::mem::take(&mut self.spare);
        let encoder = self.encoder(&batch.schema)?;
        let (encoded, failed) = encoded(
            batch,
            || spare.pop().unwrap_or_default(),
            |rows, out| {
                out.clear();
                let failed = encoder.encode(rows, 0..rows.images(), out)?;
                Ok(without_large(rows, out, failed, MAX_CHANGE, |bytes| too_large(id, bytes)))
            },
        )?;
        let (by, goes_on) = (line.by(), self.goes_on);
        let mut numbering = Numbering::new(&line.entries, shape, goes_on);
        for (rows, messages) in encoded {
            let heads = numbering.heads(&rows, &messages)?;
            self.keep(&by, &messages, &heads);
            spare.push(messages);
        }
        spare.truncate(2);
        self.spare = spare;
        self.count();
        Ok(failed)
    }

    fn cut_goes_on(&mut self, goes_on: bool) {
        self.goes_on = goes_on;
    }

    async fn mark(&mut self, reached: Milestone) -> Result<()> {
        let number = self.line.entries.take(1);
        let chunk = self.line.single(Kind::Milestone, &milestone(number, reached)?);
        self.line.outbox().push(&chunk.body, number + 1);
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Detached<Vec<Token>> {
        let end = self.line.entries.cut();
        if end.is_some() {
            self.line.outbox().hold();
        }
        let (line, retries) = (self.line.clone(), self.retries);
        Box::pin(async move {
            let mut tries = 0;
            loop {
                match line.pump().await {
                    Ok(true) => tries = 0,
                    Ok(false) => break,
                    Err(error) if error.code() == Code::SinkUnwritten && tries < retries.attempts => {
                        tracing::warn!(%error, "DataHub is asked again");
                        tries += 1;
                        tokio::time::sleep(retries.pause).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(end.map(|end| Token(Bytes::from(format!("{{\"end\":{end}}}")))).into_iter().collect())
        })
    }

    fn buffered(&self) -> usize {
        self.line.outbox().bytes()
    }

    async fn spill(&mut self) -> Result<()> {
        self.line.pump().await?;
        self.count();
        Ok(())
    }

    fn trouble(&self) -> Option<String> {
        self.line.trouble.told()
    }

    fn figures(&self) -> SinkFigures {
        self.figures
    }
}
