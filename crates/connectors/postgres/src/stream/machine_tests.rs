//! Messages without a server.

use super::machine::*;
use super::step::Step;
use super::{Tables, Undecided};
use crate::lsn::Lsn;
use crate::values::ValueSettings;
use dujiang_core::Code;
use dujiang_scratch::Random;
use dujiang_spool::{Limits, Spool};

fn machine(boundary: u64, from: u64) -> Machine {
    let spool = Spool::open("unused".as_ref(), Limits::default()).unwrap();
    let begin = Begin { boundary: Lsn(boundary), from: Lsn(from), near: 700 };
    Machine::new(begin, None, Undecided::new(spool))
}

fn tables() -> Tables {
    Tables::new(Vec::new(), ValueSettings::default())
}

/// A message of a tag and numbers of 8 bytes, and what follows.
fn message(tag: &[u8], numbers: &[u64], rest: &[u8]) -> Vec<u8> {
    let mut out = tag.to_vec();
    numbers.iter().for_each(|number| out.extend(number.to_be_bytes()));
    out.extend(rest);
    out
}

fn xid(xid: u32, rest: &[u8]) -> Vec<u8> {
    [&xid.to_be_bytes()[..], rest].concat()
}

fn begin(commit: u64, of: u32) -> Vec<u8> {
    message(b"B", &[commit, 0], &xid(of, b""))
}

fn commit(at: u64, end: u64) -> Vec<u8> {
    message(b"C\0", &[at, end, 0], b"")
}

fn prepare(at: u64, end: u64, of: u32) -> [Vec<u8>; 2] {
    [message(b"b", &[at, end, 0], &xid(of, b"g\0")), message(b"P\0", &[at, end, 0], &xid(of, b"g\0"))]
}

fn commit_prepared(at: u64, end: u64, of: u32) -> Vec<u8> {
    message(b"K\0", &[at, end, 0], &xid(of, b"g\0"))
}

fn show(machine: &mut Machine, messages: &[Vec<u8>]) {
    for message in messages {
        while let Step::More(_) = machine.message(message, &mut tables()).unwrap() {}
    }
}

/// What cannot be understood where it stands is never passed over.
#[test]
fn f16_a_message_out_of_turn_halts() {
    let stream_start = |first: u8| message(b"S", &[], &xid(9, &[first]));
    let stream_commit = message(b"c", &[], &[&xid(9, b"\0")[..], &[0; 24]].concat());
    let cases: [&[Vec<u8>]; 9] = [
        &[b"?".to_vec()],
        &[commit(20, 30)],
        &[message(b"D", &[], b"\0\0\0\x01K\0\0")],
        &[b"E".to_vec()],
        &[stream_commit],
        &[stream_start(0)],
        &[stream_start(1), begin(20, 5)],
        &[begin(20, 5), begin(30, 6)],
        &[begin(20, 5), commit(21, 30)],
    ];
    for case in cases {
        let mut machine = machine(10, 10);
        let (last, before) = case.split_last().unwrap();
        show(&mut machine, before);
        let error = machine.message(last, &mut tables()).unwrap_err();
        assert_eq!(error.code(), Code::UnknownEvent, "{last:?}");
    }
}

/// A position stays before what is prepared and undecided, also while it has not been met again since a restart.
#[test]
fn f15_the_resume_position_stays_before_what_is_prepared() {
    let mut first = machine(10, 10);
    show(&mut first, &prepare(20, 30, 5));
    show(&mut first, &[begin(40, 6), commit(40, 50)]);
    assert_eq!((first.boundary(), first.resume_from()), (Lsn(50), Lsn(10)));
    // After a restart nothing is known of it, until it comes again.
    let mut again = machine(50, 10);
    assert_eq!(again.resume_from(), Lsn(10));
    show(&mut again, &prepare(20, 30, 5));
    show(&mut again, &[begin(40, 6)]);
    assert_eq!(again.inside(&tables()), None, "what was handed out is passed over");
    show(&mut again, &[commit(40, 50)]);
    assert_eq!((again.boundary(), again.resume_from()), (Lsn(50), Lsn(20)));
    show(&mut again, &[commit_prepared(60, 70, 5)]);
    assert_eq!((again.boundary(), again.resume_from()), (Lsn(70), Lsn(70)));
    again.looked(Lsn(80));
    assert_eq!(again.resume_from(), Lsn(80));
}

/// A lost connection takes with it what waited: the next one begins before it.
#[test]
fn r02_what_waited_comes_again_after_a_lost_connection() {
    let mut machine = machine(10, 10);
    show(&mut machine, &prepare(20, 30, 5));
    show(&mut machine, &[begin(40, 6), commit(40, 50)]);
    machine.disconnected(&tables());
    assert_eq!((machine.boundary(), machine.resume_from()), (Lsn(50), Lsn(10)));
    machine.looked(Lsn(15));
    assert_eq!(machine.resume_from(), Lsn(10), "not before the stream has come as far as it was");
}

/// A message that may come, of a few transactions and one table that is not captured.
fn any(random: &mut Random) -> Vec<u8> {
    let (at, of) = (10 + random.below(50), 5 + random.below(3) as u32);
    let streamed = random.chance(50);
    let row = |tag: &[u8], rest: &[u8]| {
        let part = if streamed { xid(of, b"") } else { Vec::new() };
        [tag, part.as_slice(), b"\0\0\0\x01", rest].concat()
    };
    match random.below(14) {
        0 => begin(at, of),
        1 => commit(at, at + 5),
        2 => prepare(at, at + 5, of)[0].clone(),
        3 => prepare(at, at + 5, of)[1].clone(),
        4 => message(b"p\0", &[at, at + 5, 0], &xid(of, b"g\0")),
        5 => commit_prepared(at, at + 5, of),
        6 => message(b"r\0", &[at, at + 5, 0, 0], &xid(of, b"g\0")),
        7 => message(b"S", &[], &xid(of, &[random.below(2) as u8])),
        8 => b"E".to_vec(),
        9 => message(b"c", &[], &[&xid(of, b"\0")[..], &at.to_be_bytes(), &[0; 16]].concat()),
        10 => message(b"A", &[], &[xid(of, b""), xid(of + random.below(2) as u32, b"")].concat()),
        11 => row(b"R", b"s\0t\0f\0\x01\x01a\0\0\0\0\x17\xff\xff\xff\xff"),
        12 => row(b"T", b"").iter().take(5).copied().chain([0, 0, 0, 0, 1]).collect(),
        _ => row(b"I", b"N\0\x01t\0\0\0\x017"),
    }
}

/// Whatever comes in whatever order, whole or damaged: it is understood or refused.
#[test]
fn messages_in_any_order_are_understood_or_refused() {
    let mut random = Random::new(17);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..2000 {
        let mut machine = machine(10, 10);
        for _ in 0..40 {
            let mut message = any(&mut random);
            if random.chance(10) {
                let at = random.below(message.len() as u64) as usize;
                if random.chance(50) { message.truncate(at) } else { message[at] ^= 1 << random.below(8) }
            }
            let step = loop {
                match machine.message(&message, &mut tables()) {
                    Ok(Step::More(_)) => {}
                    other => break other,
                }
            };
            assert!(machine.resume_from() <= machine.boundary());
            match step {
                Ok(_) => taken += 1,
                Err(error) => {
                    assert!([Code::UnknownEvent, Code::Protocol].contains(&error.code()), "{error:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}
