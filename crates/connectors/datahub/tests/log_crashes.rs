//! A capture and a delivery of a log in DataHub that die at any point, instances that go on after they were given up, and answers
//! that are lost: what is delivered is the source, each change once and in order.

use crate::log::{capture, source};
use dujiang_core::sink::SinkState;
use dujiang_core::source::{Reader, SourceEvent};
use dujiang_core::{Epoch, Position, TableSchema};
use dujiang_testkit::conformance::log::{Capture, next, open};
use dujiang_testkit::datahub::{Datahub, Fault};
use dujiang_testkit::sample::{self, inserts, table};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    /// So many changes are captured.
    Capture(u8),
    Commit,
    /// The capture dies while it commits, after so many microseconds, and another one begins.
    DieCommitting(u16),
    /// Another capture begins; the one before may still write.
    Begin,
    /// What was given up writes on, and commits.
    Old,
    Fault(u8),
    ExpireCursors,
    /// A delivery reads so many events, and dies before its checkpoint or after it.
    Deliver(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u8..6).prop_map(Step::Capture),
        5 => Just(Step::Commit),
        2 => (0u16..4_000).prop_map(Step::DieCommitting),
        1 => Just(Step::Begin),
        2 => Just(Step::Old),
        1 => any::<u8>().prop_map(Step::Fault),
        1 => Just(Step::ExpireCursors),
        4 => (0u8..6, any::<bool>()).prop_map(|(events, dies)| Step::Deliver(events, dies)),
    ]
}

/// A source of numbers, what is known of its capture, and what was delivered.
struct World {
    service: Datahub,
    orders: Arc<TableSchema>,
    now: Capture,
    old: Option<Capture>,
    /// The next number of the source, and the epoch.
    next: i64,
    epoch: u64,
    /// The last checkpoint: epoch and the number behind it; and the one that is not known to be committed.
    kept: (u64, i64),
    candidate: Option<(u64, i64)>,
    delivered: Vec<i64>,
    position: Option<Position>,
}

impl World {
    async fn start() -> Self {
        let (service, orders) = (Datahub::start().await, table("orders"));
        let now = capture(&service, 1, std::slice::from_ref(&orders)).await.expect("a capture");
        let (kept, candidate, delivered, position) = ((0, 0), None, Vec::new(), None);
        Self { service, orders, now, old: None, next: 0, epoch: 0, kept, candidate, delivered, position }
    }

    async fn capture(&mut self, count: u8) {
        let to = self.next + i64::from(count);
        let failed = self.now.writer.write(&inserts(&self.orders, self.next..to)).await.expect("write");
        assert!(failed.is_empty());
        self.next = to;
    }

    /// As the engine does: the checkpoint is published as a candidate before the commit.
    async fn commit(&mut self, dies_after: Option<u16>) {
        let epoch = self.epoch + 1;
        let tokens = self.now.writer.prepare(Epoch(epoch)).await.expect("prepare");
        if tokens.is_empty() {
            return;
        }
        (self.epoch, self.candidate) = (epoch, Some((epoch, self.next)));
        let commit = self.now.commit(epoch, tokens);
        match dies_after {
            None => {
                commit.await.expect("commit");
                self.kept = self.candidate.take().expect("a candidate");
            }
            Some(micros) => {
                if let Ok(done) = tokio::time::timeout(Duration::from_micros(micros.into()), commit).await {
                    done.expect("commit");
                }
                self.begin().await;
            }
        }
    }

    /// Another capture goes on from what the log holds.
    async fn begin(&mut self) {
        let generation = self.now.generation + 1;
        let new = capture(&self.service, generation, std::slice::from_ref(&self.orders)).await.expect("begin");
        let held = match new.state {
            SinkState::Holds { epoch, .. } => epoch.0,
            _ => 0,
        };
        match self.candidate.take().filter(|(epoch, _)| *epoch == held) {
            Some(candidate) => self.kept = candidate,
            None => assert_eq!(held, self.kept.0, "the log holds the last epoch, or the one that was under way"),
        }
        (self.epoch, self.next) = self.kept;
        self.old = Some(std::mem::replace(&mut self.now, new));
    }

    async fn deliver(&mut self, events: usize, dies: bool) {
        let reading = source(&self.service, &[("request.max-records", "7")]);
        let (mut reader, _acker) = open(&*reading, self.position.clone()).await.expect("open");
        let mut read = Vec::new();
        for _ in 0..events {
            if !read_one(&mut reader, &mut read).await {
                break;
            }
        }
        if !dies {
            self.position = Some(reader.barrier(&mut Vec::new()).expect("a position"));
            self.delivered.extend(read);
        }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Capture(count) => self.capture(*count).await,
            Step::Commit => self.commit(None).await,
            Step::DieCommitting(micros) => self.commit(Some(*micros)).await,
            Step::Begin => self.begin().await,
            Step::Old => {
                if let Some(mut old) = self.old.take() {
                    let tokens = old.prepare(self.epoch + 1, &[inserts(&self.orders, 1_000_000..1_000_003)]).await;
                    assert!(old.commit(self.epoch + 1, tokens).await.is_err(), "INV-11: it commits nothing");
                }
            }
            Step::Fault(kind) => self.service.fail([match kind % 3 {
                0 => Fault::LoseAnswer,
                1 => Fault::LoseRequest,
                _ => Fault::Refuse(500, "InternalServerError"),
            }]),
            Step::ExpireCursors => self.service.expire_cursors(),
            Step::Deliver(events, dies) => self.deliver((*events).into(), *dies).await,
        }
    }
}

/// False when everything has been read.
async fn read_one(reader: &mut Box<dyn Reader>, ids: &mut Vec<i64>) -> bool {
    match next(reader).await.expect("next") {
        SourceEvent::Batch(batch) => {
            ids.extend(sample::ids(&batch));
            true
        }
        event => !matches!(event, SourceEvent::CaughtUp),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// P36 for a log in DataHub.
    #[test]
    fn p36_a_log_in_datahub_delivers_the_source_through_crashes(steps in proptest::collection::vec(step(), 5..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (delivered, source, violations) = runtime.block_on(async {
            let mut world = World::start().await;
            for step in &steps {
                world.step(step).await;
            }
            world.capture(1).await;
            world.commit(None).await;
            world.deliver(100_000, false).await;
            (world.delivered, world.next, world.service.violations())
        });
        prop_assert_eq!(delivered, (0..source).collect::<Vec<_>>());
        // An instance that was given up puts beside its successor: that is what the test is about.
        prop_assert!(violations.iter().all(|what| what.starts_with("two requests at once")), "{:?}", violations);
    }
}
