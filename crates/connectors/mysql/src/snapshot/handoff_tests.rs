//! The hand-off against a model of a server: a log, views, and rows that become visible later than they are logged.

use super::handoff::{Chunk, Handoff, Upper, Verdict};
use crate::place::Place;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn place(transaction: u64) -> Place {
    Place::new("bin.000001", 4 + transaction * 10).unwrap()
}

const KEYS: u8 = 12;

/// One change of a transaction. Rows hold the number of the change that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Set(u8),
    Delete(u8),
    /// The key of a row changes.
    Move(u8, u8),
    /// TRUNCATE, which is a transaction of its own.
    Empty,
}

impl Change {
    /// The images: key, and whether there is a row afterwards.
    fn images(&self) -> Vec<(u8, bool)> {
        match *self {
            Self::Set(key) => vec![(key, true)],
            Self::Delete(key) => vec![(key, false)],
            Self::Move(from, to) => vec![(from, false), (to, true)],
            Self::Empty => Vec::new(),
        }
    }
}

/// One step of a run. Every step that is not possible at its time does nothing.
#[derive(Debug, Clone)]
enum Step {
    /// A transaction.
    Write(Vec<Change>),
    /// The oldest logged transaction that is not visible yet becomes visible.
    Show,
    /// The stream looks at its next change.
    Stream,
    /// The snapshot's connection is about to open a view, has taken one that is on its way, or gives that up.
    Opening,
    Take,
    GivenUp,
    /// The snapshot's connection opens a view: the last one once more, the one on its way, or a new one.
    View,
    /// The chunk of the open view is read, up to this many keys.
    Read {
        limit: usize,
    },
    /// The connection is lost.
    Lose,
    /// The oldest chunk read is handed out.
    HandOut,
    /// A position is taken.
    Barrier,
    /// The process dies and starts from its position.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..KEYS;
    let change = prop_oneof![
        3 => key().prop_map(Change::Set),
        2 => key().prop_map(Change::Delete),
        1 => (key(), key()).prop_map(|(from, to)| Change::Move(from, to)),
    ];
    let step = prop_oneof![
        20 => prop::collection::vec(change, 1..4).prop_map(Step::Write),
        1 => Just(Step::Write(vec![Change::Empty])),
        20 => Just(Step::Show),
        32 => Just(Step::Stream),
        4 => Just(Step::Opening),
        4 => Just(Step::Take),
        4 => Just(Step::GivenUp),
        12 => Just(Step::View),
        12 => (1..4usize).prop_map(|limit| Step::Read { limit }),
        3 => Just(Step::Lose),
        12 => Just(Step::HandOut),
        8 => Just(Step::Barrier),
        4 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..200)
}

type Rows = BTreeMap<u8, u64>;

#[derive(Default)]
struct Server {
    log: Vec<Vec<Change>>,
    visible: usize,
}

/// The number of a change.
fn number(transaction: usize, change: usize) -> u64 {
    (transaction as u64 + 1) * 100 + change as u64
}

impl Server {
    fn rows_at(&self, transactions: usize) -> Rows {
        let mut rows: Rows = (0..KEYS).step_by(3).map(|k| (k, 0)).collect();
        for (n, changes) in self.log[..transactions].iter().enumerate() {
            for (at, change) in changes.iter().enumerate() {
                if *change == Change::Empty {
                    rows.clear();
                }
                change.images().into_iter().for_each(|image| set(&mut rows, image, number(n, at)));
            }
        }
        rows
    }

    /// The table is locked by a transaction that empties it, until it is visible.
    fn is_locked(&self) -> bool {
        self.log[self.visible..].iter().any(|changes| changes.contains(&Change::Empty))
    }
}

fn set(rows: &mut Rows, (key, is_there): (u8, bool), value: u64) {
    if is_there {
        rows.insert(key, value);
    } else {
        rows.remove(&key);
    }
}

/// What a position holds, and what was in the sink then.
#[derive(Clone, Default)]
struct Saved {
    done: Vec<Chunk>,
    emptied: bool,
    streamed: (usize, usize),
    sink: Rows,
}

struct Run {
    server: Server,
    handoff: Handoff,
    /// The table was emptied: there is nothing to be read, and the stream hands out everything.
    emptied: bool,
    /// Next change of the log: (transaction, change within it).
    streamed: (usize, usize),
    view: Option<usize>,
    /// On its way from the server.
    taken: Option<usize>,
    /// Of the last chunk, still open on the server.
    young: Option<usize>,
    frontier: Option<u8>,
    finished: bool,
    chunks: Vec<(Rows, Upper)>,
    sink: Rows,
    saved: Saved,
}

impl Run {
    fn new() -> Self {
        Self {
            server: Server::default(),
            handoff: Handoff::new(place(0)),
            emptied: false,
            streamed: (0, 0),
            view: None,
            taken: None,
            young: None,
            frontier: None,
            finished: false,
            chunks: Vec::new(),
            sink: Rows::new(),
            saved: Saved::default(),
        }
    }

    fn stream(&mut self) -> bool {
        let (transaction, at) = self.streamed;
        let Some(changes) = self.server.log.get(transaction) else { return false };
        let Some(change) = changes.get(at).cloned() else {
            self.streamed = (transaction + 1, 0);
            let all = self.handoff.passed(&place(self.streamed.0 as u64));
            assert!(!all || self.handoff.is_read());
            return true;
        };
        let begin = place(transaction as u64);
        if change == Change::Empty {
            if !self.emptied && self.handoff.judge_table(&begin) == Verdict::Wait {
                return false;
            }
            self.empty();
        }
        let images = change.images();
        let judge =
            |(key, _): &(u8, bool)| if self.emptied { Verdict::Pass } else { self.handoff.judge(&[*key], &begin) };
        let verdicts: Vec<Verdict> = images.iter().map(judge).collect();
        // As the stream's tables judge an update: nothing is done as long as one of its images has to wait.
        if verdicts.contains(&Verdict::Wait) {
            return false;
        }
        let passed = images.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Pass);
        passed.for_each(|(image, _)| set(&mut self.sink, image, number(transaction, at)));
        self.streamed.1 += 1;
        true
    }

    fn empty(&mut self) {
        self.sink.clear();
        self.handoff.cancel();
        (self.emptied, self.finished) = (true, true);
        (self.view, self.taken, self.young) = (None, None, None);
        self.chunks.clear();
    }

    fn view(&mut self) {
        if self.view.is_some() || self.finished {
            return;
        }
        self.view = self.young.take().filter(|young| self.handoff.open(place(*young as u64)));
        if self.view.is_some() || (self.taken.is_none() && self.server.is_locked()) {
            return;
        }
        self.handoff.opening();
        let view = self.taken.take().unwrap_or(self.server.visible);
        if self.handoff.open(place(view as u64)) {
            self.view = Some(view);
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
        self.young = Some(view);
    }

    fn lose(&mut self) {
        (self.view, self.taken, self.young) = (None, None, None);
        self.handoff.abandon();
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

    fn barrier(&mut self) {
        let (emptied, streamed, sink) = (self.emptied, self.streamed, self.sink.clone());
        self.saved = Saved { done: self.handoff.done().to_vec(), emptied, streamed, sink };
    }

    fn crash(&mut self) {
        let Saved { done, emptied, streamed, sink } = self.saved.clone();
        let stream = Handoff::stands_at(place(streamed.0 as u64), streamed.1 > 0);
        let (server, handoff) = (std::mem::take(&mut self.server), Handoff::resume(done, stream));
        let finished = emptied || handoff.is_read();
        let frontier = handoff.done().last().and_then(|c| c.upper.as_ref()).map(|u| u[0]);
        let saved = std::mem::take(&mut self.saved);
        *self = Self { server, handoff, emptied, streamed, sink, finished, frontier, saved, ..Self::new() };
    }

    fn step(&mut self, step: &Step) {
        let holds_view = self.view.or(self.taken).or(self.young).is_some();
        match step {
            // It waits for whoever reads the table, and whoever writes for it.
            Step::Write(changes) if changes.contains(&Change::Empty) && holds_view => {}
            Step::Write(_) if self.server.is_locked() => {}
            Step::Write(changes) => self.server.log.push(changes.clone()),
            Step::Show => self.server.visible = self.server.log.len().min(self.server.visible + 1),
            Step::Stream => drop(self.stream()),
            Step::Opening if self.view.is_none() && !self.finished => {
                self.young = None;
                self.handoff.opening();
            }
            Step::Take if self.view.is_none() && !self.finished && !self.server.is_locked() => {
                self.young = None;
                self.handoff.opening();
                self.taken.get_or_insert(self.server.visible);
            }
            Step::GivenUp if self.view.is_none() && !self.emptied => self.lose(),
            Step::Opening | Step::Take | Step::GivenUp => {}
            Step::View => self.view(),
            Step::Read { limit } => self.read(*limit),
            Step::Lose if !self.emptied => self.lose(),
            Step::Lose => {}
            Step::HandOut => self.hand_out(),
            Step::Barrier => self.barrier(),
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
        assert!(self.emptied || self.handoff.is_read());
        assert_eq!(self.streamed, (self.server.log.len(), 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// P01 in the small: whatever the order of commits, visibility, views, chunks, hand-outs, positions and crashes, the sink ends
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
