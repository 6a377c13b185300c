//! The hand-off against a model of a server: a log, views, and rows that become visible later than they are logged.

use super::handoff::{Chunk, Handoff, Upper, Verdict};
use crate::place::Place;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn place(transaction: u64) -> Place {
    Place::new("bin.000001", 4 + transaction * 10).unwrap()
}

/// One step of a run. Every step that is not possible at its time does nothing.
#[derive(Debug, Clone)]
enum Step {
    /// A transaction that sets `key` to its own number, or deletes it.
    Write {
        key: u8,
        delete: bool,
    },
    /// The oldest logged transaction that is not visible yet becomes visible.
    Show,
    /// The stream looks at its next event.
    Stream,
    /// The snapshot's connection is about to open a view, or gives that up.
    Opening,
    GivenUp,
    /// The snapshot's connection opens a view.
    View,
    /// The chunk of the open view is read, up to this many keys.
    Read {
        limit: usize,
    },
    /// The oldest chunk read is handed out.
    HandOut,
    /// The process dies and starts from its position.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..12u8, any::<bool>()).prop_map(|(key, delete)| Step::Write { key, delete }),
        5 => Just(Step::Show),
        6 => Just(Step::Stream),
        1 => Just(Step::Opening),
        1 => Just(Step::GivenUp),
        3 => Just(Step::View),
        3 => (1..4usize).prop_map(|limit| Step::Read { limit }),
        3 => Just(Step::HandOut),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..200)
}

#[derive(Default)]
struct Server {
    log: Vec<(u8, bool)>,
    visible: usize,
}

impl Server {
    fn rows_at(&self, transactions: usize) -> BTreeMap<u8, u64> {
        let mut rows: BTreeMap<u8, u64> = (0..12).step_by(3).map(|k| (k, 0)).collect();
        for (n, (key, delete)) in self.log[..transactions].iter().enumerate() {
            if *delete {
                rows.remove(key);
            } else {
                rows.insert(*key, n as u64 + 1);
            }
        }
        rows
    }
}

struct Run {
    server: Server,
    handoff: Handoff,
    streamed: usize,
    view: Option<usize>,
    frontier: Option<u8>,
    finished: bool,
    chunks: Vec<(BTreeMap<u8, u64>, Upper)>,
    sink: BTreeMap<u8, u64>,
}

impl Run {
    fn new() -> Self {
        Self {
            server: Server::default(),
            handoff: Handoff::new(place(0)),
            streamed: 0,
            view: None,
            frontier: None,
            finished: false,
            chunks: Vec::new(),
            sink: BTreeMap::new(),
        }
    }

    fn stream(&mut self) -> bool {
        let Some(&(key, delete)) = self.server.log.get(self.streamed) else { return false };
        match self.handoff.judge(&[key], &place(self.streamed as u64)) {
            Verdict::Wait => return false,
            Verdict::Drop => {}
            Verdict::Pass if delete => {
                self.sink.remove(&key);
            }
            Verdict::Pass => {
                self.sink.insert(key, self.streamed as u64 + 1);
            }
        }
        self.streamed += 1;
        let all = self.handoff.passed(&place(self.streamed as u64));
        assert!(!all || self.handoff.is_read());
        true
    }

    fn view(&mut self) {
        if self.view.is_none() && !self.finished && self.handoff.open(place(self.server.visible as u64)) {
            self.view = Some(self.server.visible);
        }
    }

    fn read(&mut self, limit: usize) {
        let Some(view) = self.view.take() else { return };
        let after = |k: &u8| self.frontier.is_none_or(|f| *k > f);
        let rows: Vec<_> = self.server.rows_at(view).into_iter().filter(|(k, _)| after(k)).take(limit).collect();
        self.finished = rows.len() < limit;
        self.frontier = rows.last().map(|r| r.0).or(self.frontier);
        let upper = (!self.finished).then(|| vec![rows[rows.len() - 1].0]);
        self.handoff.complete(upper.clone());
        self.chunks.push((rows.into_iter().collect(), upper));
    }

    fn hand_out(&mut self) {
        if self.chunks.is_empty() {
            return;
        }
        let (rows, _) = self.chunks.remove(0);
        for (key, value) in rows {
            assert!(self.sink.insert(key, value).is_none(), "key {key} was handed out before");
        }
        self.handoff.hand_out();
    }

    fn crash(&mut self) {
        self.chunks.clear();
        self.view = None;
        self.handoff = Handoff::resume(self.handoff.done().to_vec(), place(self.streamed as u64));
        self.finished = self.handoff.is_read();
        self.frontier = self.handoff.done().last().and_then(|c| c.upper.as_ref()).map(|u| u[0]);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write { key, delete } => self.server.log.push((*key, *delete)),
            Step::Show => self.server.visible = self.server.log.len().min(self.server.visible + 1),
            Step::Stream => drop(self.stream()),
            Step::Opening if self.view.is_none() && !self.finished => self.handoff.opening(),
            Step::GivenUp if self.view.is_none() => self.handoff.abandon(),
            Step::Opening | Step::GivenUp => {}
            Step::View => self.view(),
            Step::Read { limit } => self.read(*limit),
            Step::HandOut => self.hand_out(),
            Step::Crash => self.crash(),
        }
    }

    /// Everything becomes visible and is read.
    fn finish(&mut self) {
        self.server.visible = self.server.log.len();
        for _ in 0..1000 {
            self.view();
            self.read(3);
            self.hand_out();
            while self.stream() {}
        }
        assert!(self.handoff.is_read() && self.streamed == self.server.log.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// P01 in the small: whatever the order of commits, visibility, views, chunks, hand-outs and crashes, the sink ends
    /// with the server's rows, and no row was handed out twice by the snapshot.
    #[test]
    fn p01_the_sink_ends_with_the_servers_rows(steps in steps()) {
        let mut run = Run::new();
        steps.iter().for_each(|step| run.step(step));
        run.finish();
        prop_assert_eq!(run.sink, run.server.rows_at(run.server.log.len()));
    }
}

#[test]
fn a_view_older_than_a_dropped_change_is_refused() {
    let mut handoff = Handoff::new(place(0));
    assert_eq!(handoff.judge(b"k", &place(5)), Verdict::Drop);
    assert!(!handoff.open(place(5)), "the change at 5 is in the log, but not in this view");
    assert!(handoff.open(place(6)));
    assert_eq!(handoff.judge(b"z", &place(6)), Verdict::Wait, "it may lie in the chunk being read");
    handoff.complete(Some(b"m".to_vec()));
    assert_eq!(handoff.judge(b"k", &place(6)), Verdict::Wait);
    assert_eq!(handoff.judge(b"k", &place(5)), Verdict::Drop);
    handoff.hand_out();
    assert_eq!(handoff.judge(b"k", &place(6)), Verdict::Pass);
    assert_eq!(handoff.judge(b"z", &place(6)), Verdict::Drop, "a later chunk has it");
    assert!(!handoff.open(place(6)));
}

#[test]
fn nothing_is_dropped_while_a_view_is_being_opened() {
    let mut handoff = Handoff::new(place(0));
    handoff.opening();
    assert_eq!(handoff.judge(b"k", &place(5)), Verdict::Wait);
    assert_eq!(handoff.judge_table(&place(5)), Verdict::Wait);
    assert!(handoff.open(place(5)), "however much the stream has met meanwhile");
    assert_eq!(handoff.judge(b"k", &place(4)), Verdict::Drop);
    handoff.abandon();
    handoff.opening();
    handoff.abandon();
    assert_eq!(handoff.judge(b"k", &place(5)), Verdict::Drop, "nobody opens a view any more");
}

#[test]
fn a_ddl_waits_for_chunks_read_before_it() {
    let mut handoff = Handoff::new(place(0));
    assert!(handoff.open(place(3)));
    assert_eq!(handoff.judge_table(&place(2)), Verdict::Pass, "the view knows the new shape");
    assert_eq!(handoff.judge_table(&place(3)), Verdict::Wait);
    handoff.complete(None);
    assert_eq!(handoff.judge_table(&place(3)), Verdict::Wait);
    handoff.hand_out();
    assert_eq!(handoff.judge_table(&place(3)), Verdict::Pass);
    assert!(!handoff.passed(&place(2)) && handoff.passed(&place(3)));
}

#[test]
fn views_never_go_back() {
    let mut handoff = Handoff::new(place(0));
    assert!(handoff.open(place(10)));
    assert_eq!(handoff.judge(b"z", &place(5)), Verdict::Drop, "the view shows it");
    handoff.abandon();
    assert!(!handoff.open(place(4)), "a change that this view does not show was dropped");
    let mut resumed = Handoff::resume(vec![Chunk { upper: Some(b"m".to_vec()), point: place(10) }], place(3));
    assert!(!resumed.open(place(5)) && resumed.open(place(10)));
}
