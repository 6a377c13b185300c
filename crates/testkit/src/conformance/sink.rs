//! What every [`Sink`] promises, for staged and transactional sinks.

use super::clock;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::batch::TimePrecision;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Generation, Lineage, PipelineIdentity, Token};
use dujiang_core::schema::KeyEquality;
use dujiang_core::sink::{CommitRequest, Committer, Sink, SinkClass, SinkContext, SinkState, Writer};
use dujiang_core::{ChangeBatch, Code, Epoch, Kind, Origin, Origins, Position, TableId, TableSchema};
use std::sync::Arc;

/// A sink under test. The suite writes rows of one table: `id` BIGINT (the key) and `twice` BIGINT.
pub trait SinkUnderTest {
    /// The sink as a new process finds it; the one before is gone, its place is not.
    fn open(&mut self) -> Box<dyn Sink>;
    /// The `id`s that an ordinary reader sees, with repetitions, in any order.
    fn visible(&mut self) -> Vec<i64>;

    /// The lineage of the suite's pipelines; sinks that share a system need one each, or they shut each other out.
    fn lineage(&self) -> Lineage {
        Lineage("00000000000000aa".into())
    }
}

/// The table of the suite.
pub fn table(version: u32) -> Arc<TableSchema> {
    let mut fields = vec![Field::new("id", DataType::Int64, false), Field::new("twice", DataType::Int64, true)];
    fields.extend((1..version).map(|n| Field::new(format!("c{n}"), DataType::Int64, true)));
    Arc::new(TableSchema {
        id: TableId::new("conformance", "rows"),
        version,
        arrow: Arc::new(Schema::new(fields)),
        key: vec![0],
        key_equality: KeyEquality::ByValue,
    })
}

/// Inserts of these ids.
pub fn rows(schema: &Arc<TableSchema>, ids: &[i64]) -> ChangeBatch {
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids.to_vec()))];
    while columns.len() < schema.arrow.fields().len() {
        columns.push(Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| id * 2))));
    }
    let batch = RecordBatch::try_new(schema.arrow.clone(), columns).expect("columns fit");
    let mut origins = Origins::default();
    let transaction = format!("tx{}", ids[0]);
    let origin = Origin {
        transaction: &transaction,
        position: "place",
        commit_micros: 1_700_000_000_000_000,
        precision: TimePrecision::Seconds,
        first_ordinal: 0,
    };
    origins.push(ids.len(), origin);
    ChangeBatch::new(schema.clone(), batch, vec![Kind::Insert; ids.len()], origins).expect("a consistent batch")
}

/// One process: committer and two writers of a generation.
struct Process {
    sink: Box<dyn Sink>,
    context: SinkContext,
    committer: Box<dyn Committer>,
}

impl Process {
    async fn start(
        test: &mut impl SinkUnderTest,
        generation: u64,
        name: &str,
    ) -> (Self, dujiang_core::Result<SinkState>) {
        let context = SinkContext {
            identity: PipelineIdentity { name: name.into(), lineage: test.lineage() },
            generation: Generation(generation),
            clock: clock(),
            budget: Budget::new(64 << 20),
            retries: Default::default(),
        };
        let sink = test.open();
        let mut committer = sink.committer(context.clone()).await.expect("make a committer");
        let state = committer.open().await;
        (Self { sink, context, committer }, state)
    }

    async fn writer(&self, lane: usize) -> Box<dyn Writer> {
        self.sink.writer(lane, self.context.clone()).await.expect("make a writer")
    }

    fn request(&self, epoch: u64, tokens: &[Token]) -> CommitRequest {
        CommitRequest {
            epoch: Epoch(epoch),
            generation: self.context.generation,
            tokens: tokens.to_vec(),
            position: Position::new(format!("{epoch}").into_bytes()),
            position_text: format!("place {epoch}"),
        }
    }

    async fn commit(&mut self, epoch: u64, tokens: &[Token]) {
        let request = self.request(epoch, tokens);
        self.committer.commit(&request).await.expect("commit");
    }
}

/// The whole suite, on a sink whose place is empty at first.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn all(test: &mut impl SinkUnderTest) {
    let class = test.open().class();
    assert_ne!(class, SinkClass::AtLeastOnce, "this suite is for sinks that can carry exactly-once");
    commit_makes_visible(test).await;
    another_pipeline_is_refused(test).await;
    epochs_overlap(test).await;
    what_is_not_named_is_discarded(test).await;
    if class == SinkClass::Staged {
        staged_work_survives_the_process(test).await;
    } else {
        open_transactions_do_not(test).await;
    }
    an_earlier_generation_is_fenced(test).await;
    shapes_change_between_epochs(test).await;
    going_back(test).await;
}

async fn write(writer: &mut Box<dyn Writer>, schema: &Arc<TableSchema>, ids: &[i64]) {
    let failed = writer.write(&rows(schema, ids)).await.expect("write");
    assert!(failed.is_empty(), "good rows are accepted: {failed:?}");
}

fn sees(test: &mut impl SinkUnderTest, mut expected: Vec<i64>, when: &str) {
    let mut visible = test.visible();
    visible.sort_unstable();
    expected.sort_unstable();
    assert_eq!(visible, expected, "{when}");
}

async fn commit_makes_visible(test: &mut impl SinkUnderTest) {
    let (mut process, state) = Process::start(test, 1, "conformance").await;
    assert_eq!(state.expect("open"), SinkState::Empty, "an empty place is empty");
    process.committer.apply_schema(None, &table(1)).await.expect("first shape");
    process.committer.apply_schema(None, &table(1)).await.expect("first shape again: idempotent");
    let (mut one, mut two) = (process.writer(0).await, process.writer(1).await);
    write(&mut one, &table(1), &[1, 2]).await;
    write(&mut two, &table(1), &[3]).await;
    one.spill().await.expect("spill");
    write(&mut one, &table(1), &[4]).await;
    sees(test, vec![], "INV-2: what is written is invisible");
    let mut tokens = one.prepare(Epoch(1)).await.expect("prepare");
    tokens.extend(two.prepare(Epoch(1)).await.expect("prepare"));
    assert!(!tokens.is_empty(), "what was written has tokens");
    sees(test, vec![], "INV-2: what is prepared is invisible");
    process.commit(1, &tokens).await;
    sees(test, vec![1, 2, 3, 4], "what is committed is visible");
    process.commit(1, &tokens).await;
    sees(test, vec![1, 2, 3, 4], "a commit is idempotent");
    let nothing = one.prepare(Epoch(2)).await.expect("prepare nothing");
    assert!(nothing.is_empty(), "nothing written, no token");
    let (_, state) = Process::start(test, 2, "conformance").await;
    let held = state.expect("open again");
    assert!(matches!(held, SinkState::Holds { epoch: Epoch(1), .. }), "it knows what it holds: {held:?}");
}

async fn another_pipeline_is_refused(test: &mut impl SinkUnderTest) {
    let (_, state) = Process::start(test, 9, "another").await;
    assert_eq!(state.expect_err("another pipeline must be refused").code(), Code::SinkTaken);
    sees(test, vec![1, 2, 3, 4], "a refused pipeline changes nothing");
}

async fn epochs_overlap(test: &mut impl SinkUnderTest) {
    let (mut process, _) = Process::start(test, 3, "conformance").await;
    let mut writer = process.writer(0).await;
    write(&mut writer, &table(1), &[10]).await;
    let pending = writer.prepare(Epoch(2));
    write(&mut writer, &table(1), &[11]).await;
    let second = pending.await.expect("prepare beside a write");
    process.commit(2, &second).await;
    sees(test, vec![1, 2, 3, 4, 10], "prepare takes what was written before it, nothing else");
    let third = writer.prepare(Epoch(3)).await.expect("prepare");
    let fourth_rows = rows(&table(1), &[12]);
    writer.write(&fourth_rows).await.expect("write");
    let fourth = writer.prepare(Epoch(4)).await.expect("prepare");
    // Epoch 3 was not published: its tokens are carried into 4.
    process.commit(4, &[third, fourth].concat()).await;
    sees(test, vec![1, 2, 3, 4, 10, 11, 12], "carried tokens commit together");
}

async fn what_is_not_named_is_discarded(test: &mut impl SinkUnderTest) {
    let (process, _) = Process::start(test, 4, "conformance").await;
    let mut writer = process.writer(0).await;
    write(&mut writer, &table(1), &[20]).await;
    writer.prepare(Epoch(5)).await.expect("prepare");
    write(&mut writer, &table(1), &[21]).await;
    drop((writer, process));
    let (mut process, state) = Process::start(test, 5, "conformance").await;
    let held = state.expect("open");
    assert!(matches!(held, SinkState::Holds { epoch: Epoch(4), .. }), "nothing has been committed: {held:?}");
    process.committer.abort_except(&[]).await.expect("abort");
    process.committer.abort_except(&[]).await.expect("abort again");
    sees(test, vec![1, 2, 3, 4, 10, 11, 12], "discarded work is never seen");
}

async fn staged_work_survives_the_process(test: &mut impl SinkUnderTest) {
    let (process, _) = Process::start(test, 6, "conformance").await;
    let mut writer = process.writer(0).await;
    write(&mut writer, &table(1), &[30]).await;
    let kept = writer.prepare(Epoch(5)).await.expect("prepare");
    write(&mut writer, &table(1), &[31]).await;
    writer.prepare(Epoch(6)).await.expect("prepare");
    drop((writer, process));
    let (mut process, _) = Process::start(test, 7, "conformance").await;
    process.commit(5, &kept).await;
    process.committer.abort_except(&kept).await.expect("abort the rest");
    process.commit(5, &kept).await;
    sees(test, vec![1, 2, 3, 4, 10, 11, 12, 30], "a published epoch is committed by the next process");
}

async fn open_transactions_do_not(test: &mut impl SinkUnderTest) {
    let (mut process, _) = Process::start(test, 6, "conformance").await;
    let mut writer = process.writer(0).await;
    write(&mut writer, &table(1), &[30]).await;
    let tokens = writer.prepare(Epoch(5)).await.expect("prepare");
    process.commit(5, &tokens).await;
    sees(test, vec![1, 2, 3, 4, 10, 11, 12, 30], "committed");
    let (_, state) = Process::start(test, 7, "conformance").await;
    let held = state.expect("open");
    assert!(matches!(held, SinkState::Holds { epoch: Epoch(5), .. }), "data and epoch commit together: {held:?}");
}

async fn an_earlier_generation_is_fenced(test: &mut impl SinkUnderTest) {
    let (mut old, _) = Process::start(test, 8, "conformance").await;
    let mut writer = old.writer(0).await;
    write(&mut writer, &table(1), &[40]).await;
    let tokens = writer.prepare(Epoch(6)).await.expect("prepare");
    let (mut new, _) = Process::start(test, 10, "conformance").await;
    new.committer.abort_except(&[]).await.expect("abort");
    let request = old.request(6, &tokens);
    let refused = old.committer.commit(&request).await;
    assert!(refused.is_err(), "INV-11: an earlier generation commits nothing");
    sees(test, vec![1, 2, 3, 4, 10, 11, 12, 30], "INV-11: an earlier generation changes nothing");
}

async fn shapes_change_between_epochs(test: &mut impl SinkUnderTest) {
    let (mut process, _) = Process::start(test, 11, "conformance").await;
    let mut writer = process.writer(0).await;
    let (before, after) = (table(1), table(2));
    for _ in 0..2 {
        process.committer.apply_schema(Some(&before), &after).await.expect("change the shape; again: idempotent");
    }
    write(&mut writer, &after, &[50]).await;
    let tokens = writer.prepare(Epoch(6)).await.expect("prepare");
    process.commit(6, &tokens).await;
    sees(test, vec![1, 2, 3, 4, 10, 11, 12, 30, 50], "rows of both shapes are visible");
}

async fn going_back(test: &mut impl SinkUnderTest) {
    let (mut process, _) = Process::start(test, 12, "conformance").await;
    match process.committer.withdraw_after(Epoch(4)).await {
        Ok(()) => sees(test, vec![1, 2, 3, 4, 10, 11, 12], "later epochs are withdrawn, the others stay"),
        Err(error) => {
            assert_eq!(error.code(), Code::NotSupported, "a sink that cannot withdraw says so");
            sees(test, vec![1, 2, 3, 4, 10, 11, 12, 30, 50], "and changes nothing");
            return;
        }
    }
    process.committer.withdraw_after(Epoch(4)).await.expect("withdraw again: idempotent");
    let (_, state) = Process::start(test, 13, "conformance").await;
    let held = state.expect("open");
    assert!(matches!(held, SinkState::Holds { epoch: Epoch(4), .. }), "it knows what is left: {held:?}");
}
