//! A model of a server, its log, and a snapshot beside the stream.

use super::handoff::*;
use super::view::{Committed, View};
use crate::lsn::Lsn;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const KEYS: u8 = 12;

#[derive(Debug, Clone)]
enum Action {
    /// A transaction begins that touches these keys.
    Begin(Vec<u8>),
    /// The oldest (or another) open one is logged; it is not visible yet.
    Log(usize),
    /// One that was logged becomes visible.
    Show(usize),
    /// One rolls back.
    RollBack(usize),
    /// The stream takes a change.
    Stream,
    /// A view is taken, and is on its way from the server.
    View,
    /// The snapshot goes a step on: with the view that is on its way, the last one once more, or a new one, it reads a chunk of so
    /// many keys.
    Snapshot(u8),
    /// A chunk of another table is read under a view of this moment.
    Elsewhere,
    /// The reader hands out a chunk.
    HandOut,
    /// The snapshot's connection is lost.
    Lose,
    /// The process is killed and goes on from its last position.
    Crash,
    /// A position is taken.
    Barrier,
}

#[derive(Debug, Clone, Default)]
struct Server {
    next: u64,
    open: Vec<(u64, Vec<u8>)>,
    log: Vec<(u64, Vec<u8>)>,
    logged: BTreeSet<u64>,
    visible: BTreeSet<u64>,
    /// The server is a standby, which has replayed so many transactions of the log: they are visible, and only they are in the
    /// stream.
    replayed: Option<usize>,
}

impl Server {
    fn view(&self) -> View {
        if let Some(replayed) = self.replayed {
            return View::replayed(Lsn(replayed as u64));
        }
        let running: BTreeSet<u64> =
            self.open.iter().map(|(xid, _)| *xid).chain(self.logged.difference(&self.visible).copied()).collect();
        let xmin = running.first().copied().unwrap_or(self.next);
        let list: Vec<String> = running.iter().map(u64::to_string).collect();
        View::parse(&format!("{xmin}:{}:{}", self.next, list.join(",")), Lsn(self.log.len() as u64)).unwrap()
    }

    /// What a snapshot under a view holds of a key: the transactions that changed it.
    fn row(&self, key: u8, view: &View) -> BTreeSet<u64> {
        let shown = |at: usize, xid| view.shows(Committed { xid, place: Lsn(at as u64) });
        let of = |(at, (xid, keys)): (usize, &(u64, Vec<u8>))| (shown(at, *xid) && keys.contains(&key)).then_some(*xid);
        self.log.iter().enumerate().filter_map(of).collect()
    }

    /// What the stream may tell.
    fn told(&self) -> usize {
        self.replayed.unwrap_or(self.log.len())
    }
}

#[derive(Debug, Clone, Default)]
struct Capture {
    handoff: Handoff,
    /// Next change of the log: (transaction, change within it).
    at: (usize, usize),
    /// Rows by key, as the transactions that made them.
    sink: BTreeMap<u8, BTreeSet<u64>>,
    /// First key not read, and chunks on their way: their first key, end, and view.
    next_key: u8,
    ahead: Vec<(u8, Option<u8>, View)>,
    frontier: u8,
    /// On its way from the server.
    taken: Option<View>,
    /// Of the last chunk, still open on the server.
    young: Option<View>,
}

type Saved = (Handoff, (usize, usize), BTreeMap<u8, BTreeSet<u64>>, u8);

impl Capture {
    fn key(key: u8) -> Vec<u8> {
        vec![key]
    }

    fn stream(&mut self, server: &Server) -> bool {
        let Some((xid, keys)) = server.log[..server.told()].get(self.at.0) else { return false };
        let Some(&key) = keys.get(self.at.1) else {
            self.at = (self.at.0 + 1, 0);
            self.handoff.passed(Lsn(self.at.0 as u64));
            return true;
        };
        let of = Committed { xid: *xid, place: Lsn(self.at.0 as u64) };
        match self.handoff.judge(&Self::key(key), of) {
            Verdict::Wait => return false,
            Verdict::Drop => {}
            Verdict::Pass => {
                let row = self.sink.get_mut(&key).expect("a change comes after its row");
                assert!(row.insert(*xid), "key {key}: {xid} twice");
            }
        }
        self.at.1 += 1;
        true
    }

    fn may_read(&self) -> bool {
        let last = self.ahead.last().is_some_and(|(_, end, _)| end.is_none());
        !self.handoff.is_read() && !last && self.ahead.len() < 2
    }

    fn take_view(&mut self, server: &Server) {
        if self.may_read() && self.taken.is_none() {
            self.young = None;
            self.handoff.opening();
            self.taken = Some(server.view());
        }
    }

    fn snapshot(&mut self, server: &Server, keys: u8) {
        if !self.may_read() {
            return;
        }
        let view = match self.young.take().filter(|view| self.handoff.open(view)) {
            Some(view) => view,
            None => {
                self.take_view(server);
                let view = self.taken.take().expect("a view was taken");
                if !self.handoff.open(&view) {
                    self.handoff.abandon();
                    return;
                }
                view
            }
        };
        let first = self.next_key;
        let end = (first + keys < KEYS).then_some(first + keys);
        self.handoff.complete(end.map(|end| Self::key(end - 1)));
        self.next_key = end.unwrap_or(KEYS);
        self.ahead.push((first, end, view.clone()));
        self.young = Some(view);
    }

    fn lose(&mut self) {
        self.handoff.abandon();
        (self.taken, self.young) = (None, None);
    }

    fn hand_out(&mut self, server: &Server) -> bool {
        if self.ahead.is_empty() {
            return false;
        }
        let (first, end, view) = self.ahead.remove(0);
        for key in first..end.unwrap_or(KEYS) {
            assert!(self.sink.insert(key, server.row(key, &view)).is_none(), "key {key} is read twice");
        }
        self.handoff.hand_out();
        self.frontier = end.unwrap_or(KEYS);
        self.handoff.passed(Lsn(self.at.0 as u64));
        true
    }

    fn save(&self) -> Saved {
        let handoff = Handoff::resume(self.handoff.done().to_vec(), self.handoff.dropped());
        (handoff, self.at, self.sink.clone(), self.frontier)
    }

    fn restore(&mut self, (handoff, at, sink, frontier): &Saved) {
        *self = Self {
            handoff: handoff.clone(),
            at: *at,
            sink: sink.clone(),
            next_key: *frontier,
            frontier: *frontier,
            ..Self::default()
        };
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => proptest::collection::vec(0..KEYS, 1..4).prop_map(Action::Begin),
        4 => (0usize..4).prop_map(Action::Log),
        3 => (0usize..4).prop_map(Action::Show),
        1 => (0usize..4).prop_map(Action::RollBack),
        6 => Just(Action::Stream),
        1 => Just(Action::View),
        2 => (1u8..5).prop_map(Action::Snapshot),
        1 => Just(Action::Elsewhere),
        2 => Just(Action::HandOut),
        1 => Just(Action::Lose),
        1 => Just(Action::Crash),
        2 => Just(Action::Barrier),
    ]
}

fn act(action: &Action, server: &mut Server, capture: &mut Capture, saved: &mut Saved) {
    match action {
        Action::Begin(keys) => {
            let mut keys = keys.clone();
            keys.dedup();
            keys.sort_unstable();
            keys.dedup();
            server.open.push((server.next, keys));
            server.next += 1;
        }
        Action::Log(at) if *at < server.open.len() => {
            let (xid, keys) = server.open.remove(*at);
            server.logged.insert(xid);
            server.log.push((xid, keys));
        }
        Action::Show(_) if server.replayed.is_some() => {
            server.replayed = server.replayed.map(|n| (n + 1).min(server.log.len()));
        }
        Action::Show(at) => {
            let waiting: Vec<u64> = server.logged.difference(&server.visible).copied().collect();
            server.visible.extend(waiting.get(*at));
        }
        Action::RollBack(at) if *at < server.open.len() => drop(server.open.remove(*at)),
        Action::Stream => drop(capture.stream(server)),
        Action::View => capture.take_view(server),
        Action::Snapshot(keys) => capture.snapshot(server, *keys),
        Action::Elsewhere => capture.handoff.shown_elsewhere(&server.view()),
        Action::HandOut => drop(capture.hand_out(server)),
        // What was read and not handed out is gone with the connection only before it is complete.
        Action::Lose => capture.lose(),
        Action::Barrier => *saved = capture.save(),
        Action::Crash => capture.restore(saved),
        Action::Log(_) | Action::RollBack(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// P02: on a primary server and on a standby: whenever commits are logged and become visible, chunks are read and handed out, connections are lost and the
    /// process is killed: every change reaches the sink once, after its row.
    #[test]
    fn p02_snapshot_and_stream_meet_exactly(standby: bool, actions in proptest::collection::vec(action(), 0..120)) {
        let mut server = Server { next: 100, replayed: standby.then_some(0), ..Server::default() };
        let mut capture = Capture::default();
        let mut saved = capture.save();
        for action in &actions {
            act(action, &mut server, &mut capture, &mut saved);
        }
        while !server.open.is_empty() {
            act(&Action::Log(0), &mut server, &mut capture, &mut saved);
        }
        server.visible = server.logged.clone();
        server.replayed = server.replayed.map(|_| server.log.len());
        let mut rounds = 0;
        while !capture.handoff.is_read() || capture.at.0 < server.log.len() {
            capture.snapshot(&server, 3);
            capture.hand_out(&server);
            while capture.stream(&server) {}
            rounds += 1;
            prop_assert!(rounds < 100, "it ends");
        }
        for key in 0..KEYS {
            let all: BTreeSet<u64> =
                server.log.iter().filter(|(_, keys)| keys.contains(&key)).map(|(xid, _)| *xid).collect();
            prop_assert_eq!(capture.sink.get(&key), Some(&all), "key {}", key);
        }
    }
}

#[test]
fn a_truncate_is_told_once_or_refused() {
    let view = |text| View::parse(text, Lsn(9)).unwrap();
    let chunk = |upper, text| Chunk { upper, view: view(text) };
    let of = |xid| Committed { xid, place: Lsn(1) };
    let mut handoff = Handoff::resume(vec![chunk(Some(vec![5]), "10:10:"), chunk(None, "20:20:")], []);
    assert_eq!(handoff.judge_table(of(9)), TableVerdict::Drop);
    assert_eq!(handoff.judge_table(of(15)), TableVerdict::Torn);
    assert_eq!(handoff.judge_table(of(25)), TableVerdict::Pass);
    handoff = Handoff::default();
    assert_eq!(handoff.judge_table(of(15)), TableVerdict::Pass);
    handoff.opening();
    assert_eq!(handoff.judge_table(of(15)), TableVerdict::Wait);
    assert!(!handoff.open(&view("14:14:")) && handoff.open(&view("16:16:")));
}
