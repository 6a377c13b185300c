//! The way back: messages in the order of their numbers into the batches that they were.

use crate::head::Head;
use crate::shape::Shapes;
use dujiang_core::batch::TimePrecision;
use dujiang_core::{ChangeBatch, Code, Error, Origin, Result};
use dujiang_format_text::messages::{Decoded, DecodedRows, Decoder, KeyFormat, MessageFormat, MessageOptions};
use std::collections::HashMap;

/// How a log writes changes, and reads them.
pub fn messages(stream: &str) -> MessageOptions {
    MessageOptions { key: KeyFormat::Debezium, ..MessageOptions::new(MessageFormat::DebeziumJson, stream) }
}

struct Table {
    decoder: Decoder,
    rows: DecodedRows,
}

/// A batch that has come together.
pub struct Joined {
    /// It.
    pub batch: ChangeBatch,
    /// Whether it is followed by another one of its cut.
    pub goes_on: bool,
}

/// The batch that is being put together, and how each shape is read.
pub struct Rows {
    options: MessageOptions,
    /// By the entry that told the shape.
    tables: HashMap<u64, Table>,
    /// The first entry of the open batch, its shape, and whether its cut goes on.
    open: Option<(u64, u64, bool)>,
}

impl Rows {
    /// Of a log's messages.
    pub fn new(options: MessageOptions) -> Self {
        Self { options, tables: HashMap::new(), open: None }
    }

    /// Takes the next change; the batch before it, if it belongs to another one.
    ///
    /// # Errors
    /// `LogRangeDamaged` for a message that is none of its shape.
    pub fn append(&mut self, shapes: &Shapes, head: &Head, payload: &[u8]) -> Result<Option<Joined>> {
        let other = self.open.is_some_and(|(first, shape, _)| (first, shape) != (head.first, head.shape));
        let ended = if other { self.end()? } else { None };
        self.open = Some((head.first, head.shape, head.goes_on));
        if !self.tables.contains_key(&head.shape) {
            let shape = shapes.get(head.shape).ok_or_else(|| damaged(head, "its shape was never told"))?;
            let decoder = Decoder::new(&shape.after, &self.options)?;
            self.tables.insert(head.shape, Table { rows: decoder.rows(), decoder });
        }
        let table = self.tables.get_mut(&head.shape).expect("invariant: it has just been put there");
        table.rows.in_turn(head.turn);
        let (precision, commit_micros) = (TimePrecision::Micros, 0);
        let nowhere = Origin { transaction: "", position: "", commit_micros, precision, first_ordinal: 0 };
        match table.decoder.decode(Some(payload), &nowhere, &mut table.rows) {
            Ok(Decoded::Changes(1)) => Ok(ended),
            Ok(_) => Err(damaged(head, "it is not one change")),
            Err(error) => Err(damaged(head, error.message()).with_source(error)),
        }
    }

    /// Forgets the batch at hand, and shapes that were told from `number` on.
    ///
    /// # Errors
    /// `Bug`.
    pub fn forget_from(&mut self, number: u64) -> Result<()> {
        self.end()?;
        self.tables.retain(|shape, _| *shape < number);
        Ok(())
    }

    /// Ends the batch at hand, if there is one.
    ///
    /// # Errors
    /// `Bug`.
    pub fn end(&mut self) -> Result<Option<Joined>> {
        let Some((_, shape, goes_on)) = self.open.take() else { return Ok(None) };
        let table = self.tables.get_mut(&shape).expect("invariant: a batch that was begun has a table");
        Ok(Some(Joined { batch: table.rows.take()?, goes_on }))
    }
}

fn damaged(head: &Head, why: &str) -> Error {
    Error::new(Code::LogRangeDamaged, format!("entry {} of the log cannot be read: {why}", head.n))
        .help("nothing is passed over: bring the topics back, or begin the delivery anew behind this entry (`start`)")
}
