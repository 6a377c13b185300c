//! What every at-least-once [`Sink`] promises: sinks that make visible at once, such as queues.

use super::clock;
use super::sink::{rows, table};
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity, Token};
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, SinkState, Writer};
use dujiang_core::{ChangeBatch, Epoch, Kind, Origin, Origins, Position, TableSchema};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A sink under test. The suite writes rows of one table: `id` BIGINT (the key) and `twice` BIGINT.
pub trait QueueUnderTest {
    /// The sink as a new process finds it, with two lanes at least; the one before is gone, its place is not.
    fn open(&mut self) -> Box<dyn Sink>;
    /// Every record that an ordinary reader sees, those of one partition in its order.
    fn visible(&mut self) -> Vec<Seen>;
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The key.
    pub id: i64,
    /// The value beside it, of the last image.
    pub twice: Option<i64>,
    /// What makes a change that is sent again recognisable.
    pub event_id: String,
}

/// One process.
struct Process {
    sink: Box<dyn Sink>,
    context: SinkContext,
    committer: Box<dyn Committer>,
}

impl Process {
    async fn start(test: &mut impl QueueUnderTest, generation: u64) -> Self {
        let context = SinkContext {
            identity: PipelineIdentity { name: "conformance".into(), lineage: Lineage("00000000000000aa".into()) },
            generation: Generation(generation),
            clock: clock(),
            budget: Budget::new(64 << 20),
            retries: Default::default(),
        };
        let sink = test.open();
        assert_eq!(sink.class(), SinkClass::AtLeastOnce, "this suite is for sinks that make visible at once");
        let mut committer = sink.committer(context.clone()).await.expect("make a committer");
        assert_eq!(committer.open().await.expect("open"), SinkState::Unknown, "it keeps no record of epochs");
        committer.apply_shapes(&[table(1)]).await.expect("the shape");
        committer.apply_shapes(&[table(1)]).await.expect("the shape again: idempotent");
        Self { sink, context, committer }
    }

    async fn writer(&self, lane: usize) -> Box<dyn Writer> {
        self.sink.writer(lane, self.context.clone()).await.expect("make a writer")
    }

    async fn commit(&mut self, epoch: u64, tokens: Vec<Token>) {
        let request = CommitRequest {
            epoch: Epoch(epoch),
            generation: self.context.generation,
            tokens,
            position: Position::new(format!("{epoch}").into_bytes()),
            position_text: format!("place {epoch}"),
        };
        self.committer.commit(&request).await.expect("commit");
        self.committer.commit(&request).await.expect("commit again: idempotent");
    }
}

/// The whole suite, on a sink whose place is empty at first.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn all(test: &mut impl QueueUnderTest) {
    flush_makes_visible(test).await;
    prepare_waits_for_everything(test).await;
    changes_of_a_key_stay_in_order(test).await;
    what_is_sent_again_can_be_recognised(test).await;
    shapes_change_between_epochs(test).await;
}

async fn write(writer: &mut Box<dyn Writer>, batch: &ChangeBatch) {
    let failed = writer.write(batch).await.expect("write");
    assert!(failed.is_empty(), "good rows are accepted: {failed:?}");
}

/// P06: all that was written is there, and nothing else.
fn sees(test: &mut impl QueueUnderTest, expected: impl IntoIterator<Item = i64>, when: &str) {
    let visible: BTreeSet<i64> = test.visible().iter().map(|seen| seen.id).collect();
    assert_eq!(visible, expected.into_iter().collect(), "{when}");
}

async fn flush_makes_visible(test: &mut impl QueueUnderTest) {
    let process = Process::start(test, 1).await;
    let (mut one, mut two) = (process.writer(0).await, process.writer(1).await);
    write(&mut one, &rows(&table(1), &[1, 2])).await;
    write(&mut two, &rows(&table(1), &[3])).await;
    one.flush().await.expect("flush");
    two.flush().await.expect("flush");
    sees(test, 1..=3, "what is flushed is visible, without a commit");
    assert_eq!(test.visible().len(), 3, "once");
    one.flush().await.expect("flush nothing");
    assert_eq!(one.buffered(), 0, "nothing waits behind a flush");
    assert_eq!(one.figures().units, 2, "a record is a unit");
}

async fn prepare_waits_for_everything(test: &mut impl QueueUnderTest) {
    let mut process = Process::start(test, 2).await;
    let mut writer = process.writer(0).await;
    write(&mut writer, &rows(&table(1), &[10, 11])).await;
    let pending = writer.prepare(Epoch(1));
    write(&mut writer, &rows(&table(1), &[12])).await;
    let tokens = pending.await.expect("prepare beside a write");
    let visible: BTreeSet<i64> = test.visible().iter().map(|seen| seen.id).collect();
    assert!(visible.is_superset(&[10, 11].into()), "INV-1: an epoch that is prepared is written: {visible:?}");
    process.commit(1, tokens).await;
    let tokens = writer.prepare(Epoch(2)).await.expect("prepare");
    process.commit(2, tokens).await;
    sees(test, (1..=3).chain(10..=12), "nothing is missing");
    let tokens = writer.prepare(Epoch(3)).await.expect("prepare nothing");
    process.commit(3, tokens).await;
}

/// Updates of one row, each a step further, among rows of others.
fn steps(schema: &Arc<TableSchema>, id: i64, steps: std::ops::Range<i64>) -> ChangeBatch {
    let (mut ids, mut values, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for step in steps.clone() {
        ids.extend([id, id, 1000 + step]);
        values.extend([step - 1, step, step]);
        kinds.extend([Kind::UpdateBefore, Kind::UpdateAfter, Kind::Insert]);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids)), Arc::new(Int64Array::from(values))];
    let batch = RecordBatch::try_new(schema.arrow.clone(), columns).expect("columns fit");
    let mut origins = Origins::default();
    let transaction = format!("steps{}", steps.start);
    let origin = Origin {
        transaction: &transaction,
        position: "place",
        commit_micros: 1_700_000_000_000_000,
        precision: TimePrecision::Seconds,
        first_ordinal: 0,
    };
    origins.push(kinds.len(), origin);
    ChangeBatch::new(schema.clone(), batch, kinds, origins).expect("a consistent batch")
}

/// P07, INV-7.
async fn changes_of_a_key_stay_in_order(test: &mut impl QueueUnderTest) {
    let mut process = Process::start(test, 3).await;
    let mut writer = process.writer(0).await;
    for part in 0..10 {
        write(&mut writer, &steps(&table(1), 50, part * 20..part * 20 + 20)).await;
        if part % 3 == 0 {
            writer.flush().await.expect("flush");
        }
        if part % 4 == 0 {
            let tokens = writer.prepare(Epoch(10 + part as u64)).await.expect("prepare");
            process.commit(10 + part as u64, tokens).await;
        }
    }
    writer.flush().await.expect("flush");
    let of_row: Vec<i64> = test.visible().iter().filter(|seen| seen.id == 50).filter_map(|seen| seen.twice).collect();
    assert_eq!(of_row, (0..200).collect::<Vec<_>>(), "INV-7: changes of a row stay in order");
}

/// P39: ids are those of the change, not those of the sending.
async fn what_is_sent_again_can_be_recognised(test: &mut impl QueueUnderTest) {
    let mut sent = BTreeMap::new();
    for generation in [4, 5] {
        let process = Process::start(test, generation).await;
        let mut writer = process.writer(0).await;
        write(&mut writer, &rows(&table(1), &[60, 61, 62])).await;
        writer.flush().await.expect("flush");
        for seen in test.visible().into_iter().filter(|seen| (60..63).contains(&seen.id)) {
            let id = sent.entry(seen.id).or_insert_with(|| seen.event_id.clone()).clone();
            assert_eq!(seen.event_id, id, "a change that is sent again has the same event id");
        }
    }
    let all: BTreeSet<&String> = sent.values().collect();
    assert_eq!((sent.len(), all.len()), (3, 3), "and no other change has it");
}

async fn shapes_change_between_epochs(test: &mut impl QueueUnderTest) {
    let mut process = Process::start(test, 6).await;
    let mut writer = process.writer(0).await;
    let (before, after) = (table(1), table(2));
    write(&mut writer, &rows(&before, &[70])).await;
    let tokens = writer.prepare(Epoch(1)).await.expect("prepare");
    process.commit(1, tokens).await;
    for _ in 0..2 {
        process.committer.apply_schema(Some(&before), &after).await.expect("change the shape; again: idempotent");
    }
    write(&mut writer, &rows(&after, &[71])).await;
    writer.flush().await.expect("flush");
    let visible: Vec<i64> = test.visible().iter().map(|seen| seen.id).filter(|id| (70..80).contains(id)).collect();
    assert_eq!(visible.len(), 2, "rows of both shapes are visible: {visible:?}");
}
