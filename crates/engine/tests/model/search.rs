//! Depth-first search over the world's states, each visited once.

use super::world::{Budgets, LANES, LateCall, Reply, World};
use dujiang_core::sink::SinkClass;
use dujiang_engine::protocol::{Action, Cause, Event};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a search has found.
pub struct Found {
    pub states: usize,
    pub ends: usize,
    pub violation: Option<(String, Vec<String>)>,
}

/// One thing that may happen next.
#[derive(Debug, Clone)]
enum Move {
    Read,
    Alter,
    Tick,
    PassBarrier,
    Prepare(usize),
    Command(Reply),
    Land(usize),
    Crash,
    Stop,
    LastStop,
}

pub fn search(class: SinkClass, budgets: Budgets, ack_lag: usize) -> Found {
    let mut seen = HashSet::new();
    let mut found = Found { states: 0, ends: 0, violation: None };
    let start = World::new(class, budgets, ack_lag);
    seen.insert(fingerprint(&start));
    let mut stack = vec![(start, Vec::<Move>::new().into_iter(), String::from("start"))];
    let first = moves(&stack[0].0);
    stack[0].1 = first.into_iter();
    while let Some((world, rest, _)) = stack.last_mut() {
        let Some(next) = rest.next() else {
            stack.pop();
            continue;
        };
        let mut after = world.clone();
        make(&mut after, &next);
        check(&mut after);
        if let Some(violation) = &after.violation {
            let mut trace: Vec<String> = stack.iter().map(|s| s.2.clone()).collect();
            trace.push(format!("{next:?}"));
            found.violation = Some((violation.clone(), trace));
            return found;
        }
        if !seen.insert(fingerprint(&after)) {
            continue;
        }
        found.states += 1;
        found.ends += usize::from(after.finished);
        let ahead = moves(&after);
        let text = format!("{next:?}   next: {:?}", after.commands.front());
        stack.push((after, ahead.into_iter(), text));
    }
    found
}

/// 128 bits of hash: two different states practically never share them.
fn fingerprint(world: &World) -> (u64, u64) {
    let (mut a, mut b) = (DefaultHasher::new(), DefaultHasher::new());
    1u8.hash(&mut b);
    world.hash(&mut a);
    world.hash(&mut b);
    (a.finish(), b.finish())
}

fn moves(world: &World) -> Vec<Move> {
    let mut moves = Vec::new();
    if world.finished {
        return moves;
    }
    if world.reading && !world.holding && (world.read < world.budgets.rows || world.at_alter()) {
        moves.push(if world.at_alter() { Move::Alter } else { Move::Read });
    }
    let idle = world.barrier.is_none() && world.machine.is_running();
    if idle && !(world.open.is_empty() && world.bad.is_empty()) {
        moves.push(Move::Tick);
    }
    if world.barrier.is_some() {
        moves.push(Move::PassBarrier);
    }
    moves.extend((0..LANES).filter(|&lane| world.preparing[lane].is_some()).map(Move::Prepare));
    if let Some(command) = world.commands.front() {
        moves.push(Move::Command(Reply::Done));
        if matches!(command, Action::Publish { .. } | Action::Commit { .. }) {
            let replies = [
                (Reply::Failed, world.budgets.failures),
                (Reply::Lost, world.budgets.lost),
                (Reply::Late, world.budgets.late),
            ];
            moves.extend(replies.iter().filter(|r| r.1 > 0).map(|r| Move::Command(r.0)));
        }
    }
    moves.extend((0..world.durable.late.len()).map(Move::Land));
    let running = world.machine.is_running();
    if world.budgets.stops > 0 && (world.read == world.budgets.rows || running) {
        moves.push(Move::Stop);
    }
    // A run that has nothing more to do is stopped, so that every path has an end.
    if moves.is_empty() && running {
        moves.push(Move::LastStop);
    }
    if world.budgets.crashes > 0 {
        moves.push(Move::Crash);
    }
    moves
}

fn make(world: &mut World, next: &Move) {
    match next {
        Move::Read => world.read_row(),
        Move::Alter => world.find_alter(),
        Move::Tick => world.happened(Event::Due(Cause::Due)),
        Move::PassBarrier => world.pass_barrier(),
        Move::Prepare(lane) => world.prepare(*lane),
        Move::Command(reply) => {
            let budget = match reply {
                Reply::Done => None,
                Reply::Failed => Some(&mut world.budgets.failures),
                Reply::Lost => Some(&mut world.budgets.lost),
                Reply::Late => Some(&mut world.budgets.late),
            };
            if let Some(budget) = budget {
                *budget -= 1;
            }
            world.next_command(*reply);
        }
        Move::Land(index) => match world.durable.late.remove(*index) {
            LateCall::Publish(expected, checkpoint) => {
                world.store(expected, &checkpoint);
            }
            LateCall::Commit(participant, request) => world.make_visible(participant, &request),
        },
        Move::Crash => {
            world.budgets.crashes -= 1;
            world.restart();
        }
        Move::LastStop => world.happened(Event::Due(Cause::Final)),
        Move::Stop => {
            world.budgets.stops -= 1;
            world.happened(Event::Due(Cause::Final));
        }
    }
}

/// What holds in every state.
fn check(world: &mut World) {
    for (row, times) in world.durable.visible.clone() {
        if times > 1 {
            world.violated(format!("row {row} is visible {times} times"));
        }
    }
    if world.finished && world.opened {
        let upto = world.durable.checkpoints.last().map_or(0, |c| c.position.as_bytes()[0]);
        world.check_visible(upto, "at the end, at");
        if world.reading && upto != world.read {
            world.violated(format!("a drained run ends at {upto} though it read up to {}", world.read));
        }
    }
    if !world.finished && world.violation.is_none() && moves(world).is_empty() {
        world.violated("nothing can happen any more, and the run has not ended");
    }
}
