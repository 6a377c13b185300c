//! A model of a sink that is keyed by another unique column than the source: rows move from key to key while chunks are read.

use super::handoff::*;
use super::stream_at::StreamAt;
use super::view::{Committed, View};
use crate::lsn::Lsn;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const KEYS: u8 = 8;

#[derive(Debug, Clone)]
enum Action {
    /// A transaction begins that makes these changes: the row of a key gets another key, another name, both, or is gone; or one
    /// comes. It leaves out what another one has locked.
    Begin(Vec<(u8, Option<(u8, u8)>)>),
    /// One that is open is logged; it is not visible yet.
    Log(usize),
    /// One that was logged becomes visible.
    Show(usize),
    /// The stream takes a change.
    Stream,
    /// The snapshot reads a chunk of so many keys, under the last view once more or a new one.
    Read(u8),
    /// The reader hands out a chunk.
    HandOut,
    /// A position is taken.
    Barrier,
    /// The process is killed and goes on from its last position.
    Crash,
}

/// A row: its key at the source, and its name, which is unique, too, and the sink's key.
type Row = (u8, u8);

#[derive(Debug, Clone)]
struct Change {
    old: Option<Row>,
    new: Option<Row>,
}

#[derive(Debug, Clone)]
struct Transaction {
    xid: u64,
    changes: Vec<Change>,
}

impl Transaction {
    /// Keys and names that it has locked.
    fn locks(&self, taken: &mut (BTreeSet<u8>, BTreeSet<u8>)) {
        for (key, name) in self.changes.iter().flat_map(|change| change.old.into_iter().chain(change.new)) {
            taken.0.insert(key);
            taken.1.insert(name);
        }
    }
}

#[derive(Debug, Clone)]
struct Server {
    next: u64,
    open: Vec<Transaction>,
    log: Vec<Transaction>,
    visible: BTreeSet<u64>,
    /// What there is when all have ended.
    rows: BTreeMap<u8, u8>,
    /// Every name a key got, in order; at first its own.
    history: Vec<(u64, u8, Option<u8>)>,
}

impl Server {
    fn new() -> Self {
        let rows: BTreeMap<u8, u8> = (0..KEYS).map(|key| (key, key)).collect();
        let history = rows.iter().map(|(key, name)| (1, *key, Some(*name))).collect();
        Self { next: 100, open: Vec::new(), log: Vec::new(), visible: BTreeSet::new(), rows, history }
    }

    fn under_way(&self) -> impl Iterator<Item = &Transaction> {
        self.open.iter().chain(self.log.iter().filter(|transaction| !self.visible.contains(&transaction.xid)))
    }

    fn begin(&mut self, changes: &[(u8, Option<(u8, u8)>)]) {
        let mut locked = Default::default();
        self.under_way().for_each(|transaction| transaction.locks(&mut locked));
        let free = |(key, name): Row| !locked.0.contains(&key) && !locked.1.contains(&name);
        let mut transaction = Transaction { xid: self.next, changes: Vec::new() };
        for (key, new) in changes {
            let old = self.rows.get(key).map(|name| (*key, *name));
            let others = |row: &Row| Some(*row) != old;
            let taken = new.is_some_and(|new| {
                self.rows.iter().map(|(k, n)| (*k, *n)).filter(others).any(|(k, n)| k == new.0 || n == new.1)
            });
            if taken || (old.is_none() && new.is_none()) || !old.into_iter().chain(*new).all(free) {
                continue;
            }
            if let Some((key, _)) = old {
                self.rows.remove(&key);
                self.history.push((self.next, key, None));
            }
            if let Some((key, name)) = *new {
                self.rows.insert(key, name);
                self.history.push((self.next, key, Some(name)));
            }
            transaction.changes.push(Change { old, new: *new });
        }
        self.next += 1;
        self.open.push(transaction);
    }

    fn view(&self) -> View {
        let running: BTreeSet<u64> = self.under_way().map(|transaction| transaction.xid).collect();
        let xmin = running.first().copied().unwrap_or(self.next);
        let list: Vec<String> = running.iter().map(u64::to_string).collect();
        View::parse(&format!("{xmin}:{}:{}", self.next, list.join(",")), Lsn(self.log.len() as u64)).unwrap()
    }

    /// The name that a key has under a view.
    fn name(&self, key: u8, view: &View) -> Option<u8> {
        let shown = |&&(xid, of, _): &&(u64, u8, Option<u8>)| of == key && view.shows(Committed { xid, place: Lsn(0) });
        self.history.iter().rev().find(shown).and_then(|(.., name)| *name)
    }
}

/// A chunk that is read: its first key, its view, its rows.
type Chunk = (u8, View, Vec<Row>);

#[derive(Debug, Clone, Default)]
struct Capture {
    handoff: Handoff,
    /// Next change of the log: (transaction, change within it).
    at: (usize, usize),
    /// The key of each name.
    sink: BTreeMap<u8, u8>,
    next_key: u8,
    ahead: VecDeque<Chunk>,
    young: Option<View>,
    waits: Option<Committed>,
}

impl Capture {
    fn stream(&mut self, server: &Server) -> bool {
        self.waits = None;
        let Some(transaction) = server.log.get(self.at.0) else { return false };
        let Some(change) = transaction.changes.get(self.at.1) else {
            self.at = (self.at.0 + 1, 0);
            self.handoff.passed(Lsn(self.at.0 as u64));
            return true;
        };
        let of = Committed { xid: transaction.xid, place: Lsn(self.at.0 as u64) };
        let Some((mut old, mut new)) = self.judge(change, of) else {
            self.waits = Some(of);
            return false;
        };
        if old == Some(Verdict::Pass) && self.handoff.tell_again(of.place) {
            (old, new) = self.judge(change, of).expect("it did not wait before");
        }
        if let Some((_, name)) = change.old.filter(|_| old == Some(Verdict::Pass)) {
            self.sink.remove(&name);
        }
        if let Some((key, name)) = change.new.filter(|_| new == Some(Verdict::Pass)) {
            self.sink.insert(name, key);
        }
        self.at.1 += 1;
        true
    }

    /// What becomes of its old and of its new image; none while one of them has to wait.
    fn judge(&mut self, change: &Change, of: Committed) -> Option<(Option<Verdict>, Option<Verdict>)> {
        let mut judge = |row: Option<Row>| row.map(|(key, _)| self.handoff.judge(&[key], of));
        let verdicts = (judge(change.old), judge(change.new));
        (![verdicts.0, verdicts.1].contains(&Some(Verdict::Wait))).then_some(verdicts)
    }

    fn read(&mut self, server: &Server, keys: u8) {
        if self.next_key >= KEYS || self.ahead.len() > 2 {
            return;
        }
        let kept = self.young.take().filter(|view| self.handoff.open(view));
        let view = kept.or_else(|| {
            self.handoff.opening();
            let view = server.view();
            let taken = self.handoff.open(&view);
            if !taken {
                self.handoff.abandon();
            }
            taken.then_some(view)
        });
        let Some(view) = view else { return };
        let first = self.next_key;
        let end = (first + keys < KEYS).then_some(first + keys);
        self.handoff.complete(end.map(|end| vec![end - 1]));
        self.next_key = end.unwrap_or(KEYS);
        let row = |key| server.name(key, &view).map(|name| (key, name));
        self.ahead.push_back((first, view.clone(), (first..self.next_key).filter_map(row).collect()));
        self.young = Some(view);
    }

    fn hand_out(&mut self) -> bool {
        let stream = StreamAt { boundary: Lsn(self.at.0 as u64), waits: self.waits.map(|of| (0, of)) };
        let Some((.., rows)) = self.ahead.pop_front_if(|(_, view, _)| stream.admits(view)) else { return false };
        self.sink.extend(rows.into_iter().map(|(key, name)| (name, key)));
        self.handoff.hand_out();
        self.waits = None;
        self.handoff.passed(stream.boundary);
        true
    }

    fn saved(&self) -> Self {
        let handoff = Handoff::resume(self.handoff.done().to_vec(), self.handoff.dropped());
        let next_key = self.ahead.front().map_or(self.next_key, |(first, ..)| *first);
        Self { handoff, at: self.at, sink: self.sink.clone(), next_key, ..Self::default() }
    }
}

fn action() -> impl Strategy<Value = Action> {
    let change = (0..KEYS, proptest::option::weighted(0.8, (0..KEYS, 0..KEYS)));
    prop_oneof![
        8 => proptest::collection::vec(change, 1..4).prop_map(Action::Begin),
        8 => (0usize..4).prop_map(Action::Log),
        6 => (0usize..4).prop_map(Action::Show),
        10 => Just(Action::Stream),
        4 => (1u8..4).prop_map(Action::Read),
        4 => Just(Action::HandOut),
        2 => Just(Action::Barrier),
        1 => Just(Action::Crash),
    ]
}

fn act(action: &Action, server: &mut Server, capture: &mut Capture, saved: &mut Capture) {
    match action {
        Action::Begin(changes) => server.begin(changes),
        Action::Log(at) if *at < server.open.len() => server.log.push(server.open.remove(*at)),
        Action::Log(_) => {}
        Action::Show(at) => {
            let waiting: Vec<u64> =
                server.log.iter().map(|t| t.xid).filter(|xid| !server.visible.contains(xid)).collect();
            server.visible.extend(waiting.get(*at));
        }
        Action::Stream => drop(capture.stream(server)),
        Action::Read(keys) => capture.read(server, *keys),
        Action::HandOut => drop(capture.hand_out()),
        Action::Barrier => *saved = capture.saved(),
        Action::Crash => *capture = saved.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// P02: a sink that is keyed by another unique column ends with the source's rows, whenever rows move from key to key, commits
    /// are logged and become visible, chunks are read and handed out, and the process is killed.
    #[test]
    fn p02_rows_that_move_are_all_there_in_the_end(actions in proptest::collection::vec(action(), 0..120)) {
        let mut server = Server::new();
        let mut capture = Capture::default();
        let mut saved = capture.saved();
        for action in &actions {
            act(action, &mut server, &mut capture, &mut saved);
        }
        server.log.append(&mut server.open);
        server.visible = server.log.iter().map(|transaction| transaction.xid).collect();
        let mut rounds = 0;
        while !capture.handoff.is_read() || capture.at.0 < server.log.len() {
            capture.read(&server, 3);
            while capture.stream(&server) || capture.hand_out() {}
            rounds += 1;
            prop_assert!(rounds < 100, "it ends");
        }
        let rows: BTreeMap<u8, u8> = server.rows.iter().map(|(key, name)| (*name, *key)).collect();
        prop_assert_eq!(&capture.sink, &rows);
    }
}
