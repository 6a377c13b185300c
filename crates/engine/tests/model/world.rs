//! The modelled world: what is durable, what is volatile, and what each action does to them.

use bytes::Bytes;
use dujiang_core::checkpoint::{Checkpoint, Generation, Standing, Token};
use dujiang_core::sink::{CommitRequest, SinkClass, SinkState};
use dujiang_core::{Code, Epoch, Position};
use dujiang_engine::protocol::{Action, Cause, Config, Event, Machine, Mark, Participant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const LANES: usize = 2;
/// The row that becomes a dead letter instead of going to the lanes.
const BAD_ROW: u8 = 2;

/// How much may go wrong on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budgets {
    pub rows: u8,
    pub crashes: u8,
    pub failures: u8,
    pub lost: u8,
    pub late: u8,
    pub stops: u8,
    /// The table changes its shape after this row; 0 for never.
    pub alter_after: u8,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// Nothing happened, and the caller knows.
    Failed,
    /// It happened, but the caller does not know.
    Lost,
    /// It has not happened, the caller does not know, and it may still happen.
    Late,
}

/// A call that is still under way in some network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LateCall {
    Publish((Generation, Epoch), Checkpoint),
    Commit(Participant, CommitRequest),
}

/// What survives a crash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Durable {
    pub generation: Generation,
    /// Oldest first.
    pub checkpoints: Vec<Checkpoint>,
    pub sink_generation: Generation,
    pub sink_epoch: Epoch,
    pub staged: BTreeSet<Bytes>,
    pub visible: BTreeMap<String, u8>,
    pub staged_letters: BTreeSet<Bytes>,
    pub letters: BTreeMap<String, u8>,
    pub acked: u8,
    pub late: Vec<LateCall>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub class: SinkClass,
    pub ack_lag: usize,
    pub budgets: Budgets,
    pub durable: Durable,
    pub machine: Machine,
    /// Asked of the committing task, in order.
    pub commands: VecDeque<Action>,
    pub barrier: Option<(Epoch, Cause)>,
    pub reading: bool,
    pub holding: bool,
    /// The change of shape has been told and taken.
    pub altered: bool,
    pub read: u8,
    /// Rows of the open epoch, the same for every lane.
    pub open: Vec<u8>,
    pub bad: Vec<u8>,
    /// Rows a lane is making durable.
    pub preparing: Vec<Option<(Epoch, Vec<u8>)>>,
    pub closing_bad: Vec<u8>,
    pub tokens_made: u8,
    /// The sink has been opened: from then on an orderly end leaves nothing published that is not visible.
    pub opened: bool,
    pub finished: bool,
    pub violation: Option<String>,
}

impl World {
    pub fn new(class: SinkClass, budgets: Budgets, ack_lag: usize) -> Self {
        let mut world = Self {
            class,
            ack_lag,
            budgets,
            durable: Durable::default(),
            machine: machine(class, ack_lag),
            commands: VecDeque::new(),
            barrier: None,
            reading: false,
            holding: false,
            altered: false,
            read: 0,
            open: Vec::new(),
            bad: Vec::new(),
            preparing: vec![None; LANES],
            closing_bad: Vec::new(),
            tokens_made: 0,
            opened: false,
            finished: false,
            violation: None,
        };
        world.happened(Event::Start);
        world
    }

    /// The process dies and a new one starts.
    pub fn restart(&mut self) {
        let fresh = Self::new(self.class, self.budgets, self.ack_lag);
        let durable = std::mem::take(&mut self.durable);
        let tokens_made = self.tokens_made;
        *self = Self { durable, tokens_made, ..fresh };
    }

    pub fn violated(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    pub fn happened(&mut self, event: Event) {
        self.opened |= matches!(event, Event::SinkOpened(_)) && !self.finished;
        for action in self.machine.step(event) {
            match action {
                Action::Barrier { epoch, cause, .. } => {
                    self.holding |= cause != Cause::Due;
                    self.barrier = Some((epoch, cause));
                }
                Action::Resume => (self.holding, self.altered) = (false, true),
                Action::Finish => self.finish(),
                Action::Halt(why) => self.halted(&why),
                action => self.commands.push_back(action),
            }
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        // What is queued before the end is still carried out: acks only.
        while let Some(action) = self.commands.pop_front() {
            self.carry_out(action, Reply::Done);
        }
    }

    fn halted(&mut self, why: &dujiang_engine::protocol::Halt) {
        use dujiang_engine::protocol::Halt;
        match why {
            // A late publish of ours has landed after all, or too much failed: the supervisor starts a new process.
            Halt::Fenced(_) | Halt::Failed(Code::Fenced) | Halt::PublishFailures(..) => self.restart(),
            Halt::Failed(Code::CheckpointWrite) => self.restart(),
            why => self.violated(format!("halted: {why:?}")),
        }
    }

    /// The reader reads one row.
    pub fn read_row(&mut self) {
        self.read += 1;
        if self.read == BAD_ROW {
            self.bad.push(self.read);
        } else {
            self.open.push(self.read);
        }
    }

    /// Whether the next thing the reader finds is a change of shape.
    pub fn at_alter(&self) -> bool {
        self.budgets.alter_after > 0 && self.read == self.budgets.alter_after && !self.altered
    }

    /// The reader finds it, tells it, and waits.
    pub fn find_alter(&mut self) {
        self.holding = true;
        self.happened(Event::Due(Cause::Schema));
    }

    /// The reader passes the barrier it was asked for.
    pub fn pass_barrier(&mut self) {
        let Some((epoch, _)) = self.barrier.take() else { return };
        let any = !(self.open.is_empty() && self.bad.is_empty());
        if any {
            let rows = std::mem::take(&mut self.open);
            self.closing_bad = std::mem::take(&mut self.bad);
            self.preparing = vec![Some((epoch, rows)); LANES];
        }
        let mark =
            Mark { position: Position::new(vec![self.read]), text: self.read.to_string(), shapes: Default::default() };
        self.happened(Event::BarrierPassed { epoch, mark, any });
    }

    /// A lane's part becomes durable.
    pub fn prepare(&mut self, lane: usize) {
        let Some((epoch, rows)) = self.preparing[lane].take() else { return };
        let mut tokens = Vec::new();
        if !rows.is_empty() {
            let names: Vec<String> = rows.iter().map(|row| format!("{row}@{lane}")).collect();
            let token = self.token(&names);
            self.durable.staged.insert(token.0.clone());
            tokens.push(token);
        }
        self.happened(Event::Prepared { epoch, lane, tokens });
    }

    fn token(&mut self, names: &[String]) -> Token {
        // Names are unique per generation, as file names are.
        let text = format!("{}|{}", self.machine.generation(), names.join(" "));
        Token(text.into_bytes().into())
    }

    /// The committing task does what it was asked first.
    pub fn next_command(&mut self, reply: Reply) {
        if let Some(action) = self.commands.pop_front() {
            self.carry_out(action, reply);
        }
    }

    fn carry_out(&mut self, action: Action, reply: Reply) {
        let event = match action {
            Action::Acquire => {
                self.durable.generation.0 += 1;
                let mut checkpoints = self.durable.checkpoints.clone();
                checkpoints.reverse();
                Event::Acquired { generation: self.durable.generation, checkpoints }
            }
            Action::OpenSink => self.open_sink(),
            Action::Rewind(epoch) => {
                self.durable.checkpoints.retain(|c| c.epoch <= epoch);
                Event::Rewound
            }
            Action::AbortExcept { sink, letters } => {
                self.durable.staged.retain(|t| sink.iter().any(|k| k.0 == t));
                self.durable.staged_letters.retain(|t| letters.iter().any(|k| k.0 == t));
                Event::Aborted
            }
            Action::OpenSource(from) => self.open_source(from.as_ref()),
            Action::PrepareLetters(_) => {
                let names: Vec<String> = std::mem::take(&mut self.closing_bad).iter().map(u8::to_string).collect();
                let tokens: Vec<Token> = if names.is_empty() { vec![] } else { vec![self.token(&names)] };
                self.durable.staged_letters.extend(tokens.iter().map(|t| t.0.clone()));
                Event::LettersPrepared(tokens)
            }
            Action::Publish { expected, checkpoint, .. } => self.publish(expected, &checkpoint, reply),
            Action::ReadBack => Event::ReadBack(self.durable.checkpoints.last().cloned()),
            Action::Commit { participant, request, .. } => self.commit(participant, &request, reply),
            Action::Ack(position) => return self.ack(&position),
            Action::ApplySchema => {
                self.check_visible(self.read, "a shape changes between two epochs: at");
                Event::SchemaApplied
            }
            other => return self.violated(format!("not for the committing task: {other:?}")),
        };
        self.happened(event);
    }

    fn open_sink(&mut self) -> Event {
        self.durable.sink_generation = self.machine.generation();
        if self.class == SinkClass::Transactional {
            // Open transactions of the earlier process are rolled back.
            self.durable.staged.clear();
        }
        let epoch = self.durable.sink_epoch;
        Event::SinkOpened(match epoch {
            Epoch::NONE => SinkState::Empty,
            epoch => SinkState::Holds { generation: self.durable.sink_generation, epoch },
        })
    }

    fn open_source(&mut self, from: Option<&Position>) -> Event {
        let from = from.map_or(0, |p| p.as_bytes()[0]);
        if from < self.durable.acked {
            self.violated(format!("INV-1: the source was acked at {}, but we resume at {from}", self.durable.acked));
        }
        self.check_visible(from, "INV-3: at the resume position");
        self.read = from;
        self.altered = from > self.budgets.alter_after;
        self.reading = true;
        Event::SourceOpened
    }

    /// Exactly the rows up to `upto` are visible, each once.
    pub fn check_visible(&mut self, upto: u8, when: &str) {
        let good = (1..=upto).filter(|row| *row != BAD_ROW);
        let rows = good.flat_map(|row| (0..LANES).map(move |lane| (format!("{row}@{lane}"), 1))).collect();
        let letters = (1..=upto).filter(|row| *row == BAD_ROW).map(|row| (row.to_string(), 1)).collect();
        if self.durable.visible != rows {
            self.violated(format!("{when} {upto}: visible {:?}", self.durable.visible));
        }
        if self.durable.letters != letters {
            self.violated(format!("{when} {upto}: dead letters {:?}", self.durable.letters));
        }
    }

    fn publish(&mut self, expected: (Generation, Epoch), checkpoint: &Checkpoint, reply: Reply) -> Event {
        match reply {
            Reply::Failed => return Event::PublishFailed(Code::CheckpointWrite),
            Reply::Late => {
                self.durable.late.push(LateCall::Publish(expected, checkpoint.clone()));
                return Event::PublishUnknown;
            }
            Reply::Done | Reply::Lost => {}
        }
        if !self.store(expected, checkpoint) {
            return Event::Failed(Code::Fenced);
        }
        if reply == Reply::Lost { Event::PublishUnknown } else { Event::Published }
    }

    /// INV-11: compare and set.
    pub fn store(&mut self, expected: (Generation, Epoch), checkpoint: &Checkpoint) -> bool {
        let stands_at = self.durable.checkpoints.last().map_or(Epoch::NONE, |c| c.epoch);
        if expected != (self.durable.generation, stands_at) {
            return false;
        }
        self.durable.checkpoints.retain(|c| c.epoch != checkpoint.epoch);
        self.durable.checkpoints.push(checkpoint.clone());
        if checkpoint.standing == Standing::Final && self.durable.checkpoints.len() > 2 {
            self.durable.checkpoints.remove(0);
        }
        true
    }

    fn commit(&mut self, participant: Participant, request: &CommitRequest, reply: Reply) -> Event {
        match reply {
            Reply::Failed => return Event::CommitFailed(participant),
            Reply::Late => {
                self.durable.late.push(LateCall::Commit(participant, request.clone()));
                return Event::CommitFailed(participant);
            }
            Reply::Done | Reply::Lost => {}
        }
        self.make_visible(participant, request);
        if reply == Reply::Lost { Event::CommitFailed(participant) } else { Event::Committed(participant) }
    }

    /// INV-11: a commit of an earlier generation changes nothing.
    pub fn make_visible(&mut self, participant: Participant, request: &CommitRequest) {
        if request.generation != self.durable.sink_generation {
            return;
        }
        for token in &request.tokens {
            let (staged, visible) = match participant {
                Participant::Sink => (&mut self.durable.staged, &mut self.durable.visible),
                Participant::Letters => (&mut self.durable.staged_letters, &mut self.durable.letters),
            };
            // What is not staged any more is committed already: the call is idempotent.
            if staged.remove(&token.0) {
                let text = String::from_utf8_lossy(&token.0).into_owned();
                for row in text.split_once('|').map_or("", |t| t.1).split(' ') {
                    *visible.entry(row.to_owned()).or_default() += 1;
                }
                self.check_published(token, participant);
            }
        }
        if participant == Participant::Sink {
            self.durable.sink_epoch = self.durable.sink_epoch.max(request.epoch);
        }
    }

    /// INV-2: nothing becomes visible that no published checkpoint names.
    fn check_published(&mut self, token: &Token, participant: Participant) {
        let named = self.durable.checkpoints.iter().any(|checkpoint| {
            let mut of = checkpoint.tokens.iter().filter(|t| t.participant == participant.name());
            of.any(|t| t.tokens.contains(token))
        });
        if !named {
            self.violated(format!("INV-2: {token:?} commits without a checkpoint that names it"));
        }
    }

    fn ack(&mut self, position: &Position) {
        let position = position.as_bytes()[0];
        if position < self.durable.acked {
            self.violated(format!("INV-3: ack {position} after {}", self.durable.acked));
        }
        self.durable.acked = position;
        let stands = self.durable.checkpoints.iter().rev().find(|c| c.standing == Standing::Final);
        let durable = stands.map_or(0, |c| c.position.as_bytes()[0]);
        if position > durable {
            self.violated(format!("INV-1: ack {position}, but the last final checkpoint is at {durable}"));
        }
    }
}

pub fn machine(class: SinkClass, ack_lag: usize) -> Machine {
    Machine::new(Config { class, lanes: LANES, max_publish_failures: 3, ack_lag, restore_from: None })
}
