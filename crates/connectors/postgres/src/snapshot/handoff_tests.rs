//! A model of a server, its log, and a snapshot beside the stream.

use super::handoff::*;
use super::view::{Committed, View};
use crate::lsn::Lsn;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const KEYS: u8 = 12;

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// Of the rows with these keys: one, or two if the row moves from one to the other.
    Rows(Vec<u8>),
    /// TRUNCATE.
    All,
}

impl Change {
    fn touches(&self, key: u8) -> bool {
        matches!(self, Self::All) || matches!(self, Self::Rows(keys) if keys.contains(&key))
    }
}

#[derive(Debug, Clone)]
enum Action {
    /// A transaction begins that makes these changes. The stream may leave out those that are made before the table is published.
    Begin(Vec<(u8, Option<u8>, bool)>),
    /// A transaction begins that empties the table.
    Truncate(bool),
    /// The oldest (or another) open one is logged; it is not visible yet.
    Log(usize),
    /// One that was logged becomes visible.
    Show(usize),
    /// One rolls back.
    RollBack(usize),
    /// The table, which is taken in already, is published, and read from then on.
    Publish,
    /// The stream takes a change.
    Stream,
    /// A view is taken, and is on its way from the server.
    View,
    /// The snapshot goes a step on: with the view of the statement that is read, the one that is on its way, the last one once more,
    /// or a new one, it reads a chunk of so many keys; more chunks of the same statement may follow.
    Snapshot(u8, bool),
    /// What is left of the statement is given up.
    GiveUp,
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

#[derive(Debug, Clone)]
struct Transaction {
    xid: u64,
    changes: Vec<Change>,
    /// Whether the stream tells of each.
    told: Vec<bool>,
}

impl Transaction {
    fn empties(&self) -> bool {
        self.changes.contains(&Change::All)
    }

    /// Its changes of a key.
    fn of(&self, key: u8) -> impl Iterator<Item = (u64, usize)> {
        let touching = self.changes.iter().enumerate().filter(move |(_, change)| change.touches(key));
        touching.map(|(at, _)| (self.xid, at))
    }
}

/// What was made of a row, as the changes that did it: (transaction, change within it).
type Row = BTreeSet<(u64, usize)>;

#[derive(Debug, Clone, Default)]
struct Server {
    next: u64,
    open: Vec<Transaction>,
    log: Vec<Transaction>,
    logged: BTreeSet<u64>,
    visible: BTreeSet<u64>,
    published: bool,
    /// The server is a standby, which has replayed so many transactions of the log: they are visible, and only they are in the
    /// stream.
    replayed: Option<usize>,
}

impl Server {
    fn running(&self) -> BTreeSet<u64> {
        let open = self.open.iter().map(|transaction| transaction.xid);
        open.chain(self.logged.difference(&self.visible).copied()).collect()
    }

    fn view(&self) -> View {
        if let Some(replayed) = self.replayed {
            return View::replayed(Lsn(replayed as u64));
        }
        let running = self.running();
        let xmin = running.first().copied().unwrap_or(self.next);
        let list: Vec<String> = running.iter().map(u64::to_string).collect();
        View::parse(&format!("{xmin}:{}:{}", self.next, list.join(",")), Lsn(self.log.len() as u64)).unwrap()
    }

    /// The table is locked by a transaction that empties it, until it is visible.
    fn is_locked(&self) -> bool {
        let logged = self.log.iter().filter(|t| !self.visible.contains(&t.xid));
        self.open.iter().chain(logged).any(Transaction::empties)
    }

    fn begin(&mut self, changes: Vec<Change>, told: Vec<bool>) {
        let told = told.into_iter().map(|told| told || self.published).collect();
        self.open.push(Transaction { xid: self.next, changes, told });
        self.next += 1;
    }

    /// What a snapshot under a view holds of a key.
    fn row(&self, key: u8, view: &View) -> Row {
        let shown = |at: usize, xid| view.shows(Committed { xid, place: Lsn(at as u64) });
        let shown = self.log.iter().enumerate().filter(|(at, t)| shown(*at, t.xid));
        shown.flat_map(|(_, t)| t.of(key)).collect()
    }

    /// What the stream may tell.
    fn told(&self) -> usize {
        self.replayed.unwrap_or(self.log.len())
    }
}

#[derive(Debug, Clone, Default)]
struct Capture {
    handoff: Handoff,
    /// The table is published, as far as is known here.
    joined: bool,
    /// Next change of the log: (transaction, change within it).
    at: (usize, usize),
    /// Rows by key.
    sink: BTreeMap<u8, Row>,
    /// First key not read, and chunks on their way: their first key, end, and view.
    next_key: u8,
    ahead: Vec<(u8, Option<u8>, View)>,
    frontier: u8,
    /// On its way from the server.
    taken: Option<View>,
    /// Of the statement that is read.
    reading: Option<View>,
    /// Of the last chunk, still open on the server.
    young: Option<View>,
    /// It had to halt.
    torn: bool,
}

type Saved = (Handoff, (usize, usize), BTreeMap<u8, Row>, u8, bool);

impl Capture {
    fn key(key: u8) -> Vec<u8> {
        vec![key]
    }

    fn stream(&mut self, server: &Server) -> bool {
        let Some(transaction) = server.log[..server.told()].get(self.at.0).filter(|_| !self.torn) else { return false };
        let Some(change) = transaction.changes.get(self.at.1) else {
            self.at = (self.at.0 + 1, 0);
            self.handoff.passed(Lsn(self.at.0 as u64));
            return true;
        };
        if transaction.told[self.at.1] {
            let of = Committed { xid: transaction.xid, place: Lsn(self.at.0 as u64) };
            let taken = match change {
                Change::Rows(keys) => self.rows(keys, of),
                Change::All => self.all(of),
            };
            if !taken {
                return false;
            }
        }
        self.at.1 += 1;
        true
    }

    /// As the stream's tables judge an update: nothing is done as long as one of its images has to wait.
    fn rows(&mut self, keys: &[u8], of: Committed) -> bool {
        let verdicts: Vec<Verdict> = keys.iter().map(|key| self.handoff.judge(&Self::key(*key), of)).collect();
        if verdicts.contains(&Verdict::Wait) {
            return false;
        }
        for (key, _) in keys.iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Pass) {
            self.add(*key, of.xid);
        }
        true
    }

    fn all(&mut self, of: Committed) -> bool {
        match self.handoff.judge_table(of) {
            TableVerdict::Wait => return false,
            TableVerdict::Drop => {}
            TableVerdict::Torn => self.torn = true,
            TableVerdict::Pass => {
                self.sink.keys().copied().collect::<Vec<_>>().into_iter().for_each(|key| self.add(key, of.xid))
            }
        }
        true
    }

    fn add(&mut self, key: u8, xid: u64) {
        let row = self.sink.get_mut(&key).expect("a change comes after its row");
        assert!(row.insert((xid, self.at.1)), "key {key}: {xid} twice");
    }

    fn may_read(&self) -> bool {
        let last = self.ahead.last().is_some_and(|(_, end, _)| end.is_none());
        self.joined && !self.handoff.is_read() && !last && self.ahead.len() < 3
    }

    fn holds_view(&self) -> bool {
        self.taken.is_some() || self.reading.is_some() || self.young.is_some()
    }

    fn take_view(&mut self, server: &Server) {
        if self.may_read() && self.taken.is_none() && self.reading.is_none() {
            self.young = None;
            self.handoff.opening();
            // The table is locked before the view is taken.
            self.taken = (!server.is_locked()).then(|| server.view());
        }
    }

    fn view(&mut self, server: &Server) -> Option<View> {
        if let Some(view) = self.reading.take() {
            return Some(view);
        }
        if let Some(view) = self.young.take().filter(|view| self.handoff.open(view)) {
            return Some(view);
        }
        self.take_view(server);
        let view = self.taken.take()?;
        if self.handoff.open(&view) {
            return Some(view);
        }
        self.handoff.abandon();
        None
    }

    fn snapshot(&mut self, server: &Server, keys: u8, goes_on: bool) {
        if !self.may_read() {
            return;
        }
        let Some(view) = self.view(server) else { return };
        let first = self.next_key;
        let end = (first + keys < KEYS).then_some(first + keys);
        match end.filter(|_| goes_on) {
            Some(end) => {
                self.handoff.split(Self::key(end - 1));
                self.reading = Some(view.clone());
            }
            None => {
                self.handoff.complete(end.map(|end| Self::key(end - 1)));
                self.young = Some(view.clone());
            }
        }
        self.next_key = end.unwrap_or(KEYS);
        self.ahead.push((first, end, view));
    }

    fn lose(&mut self) {
        self.handoff.abandon();
        (self.taken, self.reading, self.young) = (None, None, None);
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
        (handoff, self.at, self.sink.clone(), self.frontier, self.joined)
    }

    fn restore(&mut self, (handoff, at, sink, frontier, joined): &Saved, server: &mut Server) {
        *self = Self {
            handoff: handoff.clone(),
            at: *at,
            sink: sink.clone(),
            next_key: *frontier,
            frontier: *frontier,
            joined: *joined,
            ..Self::default()
        };
        self.join(server);
    }

    /// The table is published, whether that is known or not, and what is under way is shown by every view.
    fn join(&mut self, server: &mut Server) {
        if !std::mem::replace(&mut self.joined, true) {
            server.published = true;
            self.handoff.must_show(server.running());
        }
    }
}

fn action() -> impl Strategy<Value = Action> {
    let change = (0..KEYS, proptest::option::weighted(0.3, 0..KEYS), any::<bool>());
    prop_oneof![
        8 => proptest::collection::vec(change, 1..4).prop_map(Action::Begin),
        1 => any::<bool>().prop_map(Action::Truncate),
        8 => (0usize..4).prop_map(Action::Log),
        6 => (0usize..4).prop_map(Action::Show),
        1 => (0usize..4).prop_map(Action::RollBack),
        2 => Just(Action::Publish),
        12 => Just(Action::Stream),
        2 => Just(Action::View),
        4 => (1u8..5, any::<bool>()).prop_map(|(keys, goes_on)| Action::Snapshot(keys, goes_on)),
        1 => Just(Action::GiveUp),
        2 => Just(Action::Elsewhere),
        4 => Just(Action::HandOut),
        2 => Just(Action::Lose),
        2 => Just(Action::Crash),
        4 => Just(Action::Barrier),
    ]
}

fn change(&(key, other, _): &(u8, Option<u8>, bool)) -> Change {
    Change::Rows(std::iter::once(key).chain(other.filter(|other| *other != key)).collect())
}

fn act(action: &Action, server: &mut Server, capture: &mut Capture, saved: &mut Saved) {
    match action {
        Action::Begin(changes) if !server.is_locked() => {
            server.begin(changes.iter().map(change).collect(), changes.iter().map(|(.., told)| *told).collect());
        }
        // It waits for whoever reads or writes the table.
        Action::Truncate(told) if server.replayed.is_none() && server.running().is_empty() && !capture.holds_view() => {
            server.begin(vec![Change::All], vec![*told]);
        }
        Action::Log(at) if *at < server.open.len() => {
            let transaction = server.open.remove(*at);
            server.logged.insert(transaction.xid);
            server.log.push(transaction);
        }
        Action::Show(_) if server.replayed.is_some() => {
            server.replayed = server.replayed.map(|n| (n + 1).min(server.log.len()));
        }
        Action::Show(at) => {
            let waiting: Vec<u64> = server.logged.difference(&server.visible).copied().collect();
            server.visible.extend(waiting.get(*at));
        }
        Action::RollBack(at) if *at < server.open.len() => drop(server.open.remove(*at)),
        Action::Publish => capture.join(server),
        Action::Stream => drop(capture.stream(server)),
        Action::View => capture.take_view(server),
        Action::Snapshot(keys, goes_on) => capture.snapshot(server, *keys, *goes_on),
        Action::GiveUp if capture.reading.is_some() => capture.lose(),
        Action::Elsewhere => capture.handoff.shown_elsewhere(&server.view()),
        Action::HandOut => drop(capture.hand_out(server)),
        // What was read and not handed out is gone with the connection only before it is complete.
        Action::Lose => capture.lose(),
        Action::Barrier => *saved = capture.save(),
        Action::Crash => capture.restore(saved, server),
        Action::Begin(_) | Action::Truncate(_) | Action::Log(_) | Action::RollBack(_) | Action::GiveUp => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// P02: on a primary server and on a standby, of a table that was there and of one that joins: whenever commits are logged and
    /// become visible, chunks are read and handed out, rows move from chunk to chunk or are all gone, connections are lost and the
    /// process is killed: every change reaches the sink once, after its row.
    #[test]
    fn p02_snapshot_and_stream_meet_exactly(
        standby: bool,
        joins: bool,
        actions in proptest::collection::vec(action(), 0..120),
    ) {
        let published = standby || !joins;
        let mut server = Server { next: 100, replayed: standby.then_some(0), published, ..Server::default() };
        let mut capture = Capture { joined: published, ..Capture::default() };
        let mut saved = capture.save();
        for action in &actions {
            act(action, &mut server, &mut capture, &mut saved);
        }
        capture.join(&mut server);
        while !server.open.is_empty() {
            act(&Action::Log(0), &mut server, &mut capture, &mut saved);
        }
        server.visible = server.logged.clone();
        server.replayed = server.replayed.map(|_| server.log.len());
        let mut rounds = 0;
        while !capture.torn && (!capture.handoff.is_read() || capture.at.0 < server.log.len()) {
            capture.snapshot(&server, 3, false);
            capture.hand_out(&server);
            while capture.stream(&server) {}
            rounds += 1;
            prop_assert!(rounds < 100, "it ends");
        }
        for key in (0..KEYS).filter(|_| !capture.torn) {
            let all: Row = server.log.iter().flat_map(|t| t.of(key)).collect();
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
