//! What a table's rows look like in a file: which images, which added columns.

use crate::config::{Added, FileConfig};
use crate::names::{Partition, partition};
use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use dujiang_core::cells::check_types;
use dujiang_core::key::Keys;
use dujiang_core::text::write_event_prefix;
use dujiang_core::{ChangeBatch, Code, Error, Kind, Lineage, Origin, Result, ResultExt, TableSchema};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The columns of one table's files at one schema version.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) table: Arc<TableSchema>,
    pub(crate) arrow: SchemaRef,
    added: Vec<Added>,
}

impl Layout {
    /// # Errors
    /// `SinkName` when a column of the table has the name of an added one, `UnknownType` for a type without a form.
    pub(crate) fn new(table: &Arc<TableSchema>, config: &FileConfig) -> Result<Self> {
        check_types(table)?;
        for (_, name) in &config.added {
            // Case matters not to DuckDB and many others that read the files.
            if let Some(field) = table.arrow.fields().iter().find(|f| f.name().eq_ignore_ascii_case(name)) {
                return Err(collision(table, field.name(), name));
            }
        }
        let own = table.arrow.fields().iter().cloned();
        let added = config.added.iter().map(|(what, name)| Arc::new(added_field(*what, name)));
        let arrow = Arc::new(Schema::new(own.chain(added).collect::<Vec<_>>()));
        Ok(Self { table: table.clone(), arrow, added: config.added.iter().map(|(what, _)| *what).collect() })
    }

    /// The rows of a batch as they go into files, by partition.
    pub(crate) fn parts(
        &self,
        batch: &ChangeBatch,
        config: &FileConfig,
        lineage: &Lineage,
    ) -> Result<Vec<(Partition, Part)>> {
        let mut parts = Vec::new();
        for (partition, rows) in select(batch, config) {
            let part = self.part(batch, &rows, lineage)?;
            parts.push((partition, part));
        }
        Ok(parts)
    }

    fn part(&self, batch: &ChangeBatch, selection: &Selection, lineage: &Lineage) -> Result<Part> {
        let wrong = || format!("lay out the rows of {}", self.table.id);
        let picked = match selection {
            Selection::All => batch.rows.clone(),
            Selection::Rows(rows) => {
                let wanted = UInt32Array::from(rows.clone());
                arrow_select::take::take_record_batch(&batch.rows, &wanted).or_code(Code::Bug, wrong)?
            }
        };
        let mut columns = picked.columns().to_vec();
        let rows = AddedRows::collect(batch, selection, lineage, &self.added);
        let (first_commit_micros, last_commit_micros) = rows.commit_range();
        columns.extend(rows.into_columns(&self.added));
        let rows = RecordBatch::try_new(self.arrow.clone(), columns).or_code(Code::Bug, wrong)?;
        Ok(Part { rows, first_commit_micros, last_commit_micros })
    }
}

/// Rows of one batch for one file.
pub(crate) struct Part {
    pub(crate) rows: RecordBatch,
    pub(crate) first_commit_micros: i64,
    pub(crate) last_commit_micros: i64,
}

fn collision(table: &TableSchema, column: &str, added: &str) -> Error {
    Error::new(Code::SinkName, format!("column `{column}` of {} has the name of a column the sink adds", table.id))
        .fact("added column", added.to_owned())
        .help("rename the added column with the `metadata.*` options, switch it off, or rename the table's column in a projection")
}

fn added_field(what: Added, name: &str) -> Field {
    let data_type = match what {
        Added::CommitTime => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    };
    Field::new(name, data_type, false)
}

/// Rows of a batch, ascending.
enum Selection {
    All,
    Rows(Vec<u32>),
}

/// The rows to write, by partition. The usual batch is one partition and nothing left out.
fn select(batch: &ChangeBatch, config: &FileConfig) -> Vec<(Partition, Selection)> {
    let all = config.before_images || !batch.kinds.contains(&Kind::UpdateBefore);
    let of = |micros| partition(config.partition_by, micros);
    let mut runs = batch.origins.iter().map(|(_, origin)| of(origin.commit_micros));
    let Some(first) = runs.next() else { return Vec::new() };
    if all && runs.all(|partition| partition == first) {
        return vec![(first, Selection::All)];
    }
    let mut parts: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
    for (rows, origin) in batch.origins.iter() {
        let part = parts.entry(of(origin.commit_micros)).or_default();
        part.extend(rows.filter(|&row| all || batch.kinds[row] != Kind::UpdateBefore).map(|row| row as u32));
    }
    parts.retain(|_, rows| !rows.is_empty());
    parts.into_iter().map(|(partition, rows)| (partition, Selection::Rows(rows))).collect()
}

/// The added columns while they are built. Those that are not asked for stay empty.
#[derive(Default)]
struct AddedRows {
    commit_micros: Vec<i64>,
    op: Texts,
    event_id: Texts,
    position: Texts,
    transaction: Texts,
    image: Texts,
}

impl AddedRows {
    fn collect(batch: &ChangeBatch, selection: &Selection, lineage: &Lineage, added: &[Added]) -> Self {
        let mut this = Self::default();
        let mut picked = match selection {
            Selection::All => None,
            Selection::Rows(rows) => Some(rows.as_slice()),
        };
        for (rows, origin) in batch.origins.iter() {
            let run = Run { batch, picked: take_run(&mut picked, &rows), rows, origin };
            let count = run.count();
            this.commit_micros.resize(this.commit_micros.len() + count, origin.commit_micros);
            for what in added {
                match what {
                    Added::CommitTime => {}
                    Added::Op => this.op.add_letters(&run),
                    Added::Image => run.each(|row, _| this.image.push(image(batch.kinds[row]))),
                    Added::Position => this.position.repeat(origin.position.as_bytes(), count),
                    Added::Transaction => this.transaction.repeat(origin.transaction.as_bytes(), count),
                    Added::EventId => this.event_id.add_event_ids(&run, lineage),
                }
            }
        }
        this
    }

    fn commit_range(&self) -> (i64, i64) {
        let first = self.commit_micros.iter().min().copied().unwrap_or_default();
        (first, self.commit_micros.iter().max().copied().unwrap_or_default())
    }

    fn into_columns(self, added: &[Added]) -> Vec<ArrayRef> {
        let Self { commit_micros, op, event_id, position, transaction, image } = self;
        let mut times = Some(commit_micros);
        let mut texts = [Some(op), Some(event_id), Some(position), Some(transaction), Some(image)];
        let mut text = |index: usize| texts[index].take().unwrap_or_default().finish();
        let column = |what: &Added| -> ArrayRef {
            match what {
                Added::CommitTime => {
                    Arc::new(TimestampMicrosecondArray::from(times.take().unwrap_or_default()).with_timezone("UTC"))
                }
                Added::Op => text(0),
                Added::EventId => text(1),
                Added::Position => text(2),
                Added::Transaction => text(3),
                Added::Image => text(4),
            }
        };
        added.iter().map(column).collect()
    }
}

fn image(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::UpdateBefore | Kind::Delete => b"before",
        Kind::Insert | Kind::UpdateAfter | Kind::Read => b"after",
    }
}

/// The rows of one origin that are written.
struct Run<'a> {
    batch: &'a ChangeBatch,
    rows: Range<usize>,
    /// If not all of them.
    picked: Option<&'a [u32]>,
    origin: Origin<'a>,
}

/// Takes the picked rows of the next run from the front.
fn take_run<'a>(picked: &mut Option<&'a [u32]>, rows: &Range<usize>) -> Option<&'a [u32]> {
    let all = (*picked)?;
    let (run, rest) = all.split_at(all.partition_point(|&row| (row as usize) < rows.end));
    *picked = Some(rest);
    Some(run)
}

impl Run<'_> {
    fn count(&self) -> usize {
        self.picked.map_or(self.rows.len(), <[u32]>::len)
    }

    /// Calls back for every row that is written, with the row's ordinal.
    fn each(&self, mut call: impl FnMut(usize, u64)) {
        let mut picked = self.picked.map(|rows| rows.iter().map(|&row| row as usize).peekable());
        let mut ordinal = self.origin.first_ordinal;
        for row in self.rows.clone() {
            if picked.as_mut().is_none_or(|rows| rows.next_if_eq(&row).is_some()) {
                call(row, ordinal);
            }
            ordinal += u64::from(self.batch.kinds[row] != Kind::UpdateBefore);
        }
    }
}

/// A text column while it is built.
struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }
}

impl Texts {
    /// Ends a value with `rest`; what stands in `bytes` since the last one is its beginning.
    fn push(&mut self, rest: &[u8]) {
        self.bytes.extend_from_slice(rest);
        let end = i32::try_from(self.bytes.len()).expect("invariant: a batch's added text is far below 2 GiB");
        self.offsets.push(end);
    }

    fn repeat(&mut self, text: &[u8], count: usize) {
        let (start, length) = (self.bytes.len(), text.len());
        let end = start + length * count;
        i32::try_from(end).expect("invariant: a batch's added text is far below 2 GiB");
        self.offsets.extend((1..=count).map(|number| (start + length * number) as i32));
        self.bytes.reserve(end - start);
        self.bytes.extend_from_slice(&text[..length.min(end - start)]);
        // Twice as many every time.
        while self.bytes.len() < end {
            let more = (self.bytes.len() - start).min(end - self.bytes.len());
            self.bytes.extend_from_within(start..start + more);
        }
    }

    fn add_letters(&mut self, run: &Run<'_>) {
        let kinds = &run.batch.kinds[run.rows.clone()];
        match kinds.first() {
            Some(first) if kinds.iter().all(|kind| kind == first) => {
                self.repeat(first.letter().as_bytes(), run.count());
            }
            _ => run.each(|row, _| self.push(run.batch.kinds[row].letter().as_bytes())),
        }
    }

    fn add_event_ids(&mut self, run: &Run<'_>, lineage: &Lineage) {
        let mut prefix = Vec::new();
        write_event_prefix(lineage, run.batch.source_table(), &run.origin, &mut prefix);
        let keys = Keys::new(run.batch);
        // A digest, or a small number.
        let end = if run.batch.kinds[run.rows.start] == Kind::Read { 32 } else { 4 };
        self.bytes.reserve((prefix.len() + end) * run.count());
        self.offsets.reserve(run.count());
        run.each(|row, ordinal| {
            self.bytes.extend_from_slice(&prefix);
            keys.write_event_end(run.batch.kinds[row], row, ordinal, &mut self.bytes);
            self.push(b"");
        });
    }

    fn finish(self) -> ArrayRef {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let array = StringArray::try_new(offsets, self.bytes.into(), None);
        Arc::new(array.expect("invariant: added text is UTF-8 and its offsets rise"))
    }
}
