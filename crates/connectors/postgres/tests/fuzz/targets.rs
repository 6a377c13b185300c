//! What is shown bytes that nobody vouches for. Nothing here may panic, loop or take memory that the bytes do not justify.
//!
//! The tests run these over mutations of what real servers sent (`tests/fuzz/mod.rs`), `cargo fuzz` for as long as one likes
//! (`crates/fuzz`).

use dujiang_core::{Code, Error};
use dujiang_postgres::lsn::Lsn;
use dujiang_postgres::shape::Shape;
use dujiang_postgres::stream::{Begin, Machine, Step, Tables, Undecided};
use dujiang_postgres::values::ValueSettings;
use dujiang_spool::{Limits, Spool};

/// Shown again at most so often; more is a loop.
const MOST_STEPS: usize = 100_000;
/// Of a message: a stream is its messages, each behind its length.
const LENGTH: usize = 4;

/// The tables of which the seeds tell.
fn shapes() -> Vec<Shape> {
    serde_json::from_str(include_str!("shapes.json")).unwrap()
}

/// What a stream came to.
pub struct Outcome {
    /// Images.
    pub images: usize,
    /// Messages that were understood.
    pub messages: usize,
    /// The first error.
    pub failed: Option<Error>,
}

/// The messages of a stream, as [`framed`] makes it.
pub fn pgoutput(data: &[u8]) -> Outcome {
    let spool = Spool::open("no-such-folder".as_ref(), Limits { bytes: 1 << 20, ..Limits::default() }).unwrap();
    let begin = Begin { boundary: Lsn(0), from: Lsn(0), near: 700 };
    let mut machine = Machine::new(begin, None, Undecided::new(spool));
    let settings = ValueSettings { unchecked_text: true, ..ValueSettings::default() };
    let mut tables = Tables::new(shapes(), settings).rereading(true);
    let mut outcome = Outcome { images: 0, messages: 0, failed: None };
    for message in mended(data) {
        match show(&mut machine, &mut tables, &message) {
            Ok(()) => outcome.messages += 1,
            // The reader would begin anew at the boundary.
            Err(error) => {
                machine.disconnected(&tables);
                outcome.failed.get_or_insert(error);
            }
        }
        assert!(machine.resume_from() <= machine.boundary());
    }
    let mut batches = Vec::new();
    if let Err(error) = tables.flush_all(&mut batches) {
        outcome.failed.get_or_insert(error);
    }
    outcome.images = batches.iter().map(dujiang_core::ChangeBatch::images).sum();
    outcome
}

fn show(machine: &mut Machine, tables: &mut Tables, message: &[u8]) -> Result<(), Error> {
    for step in 0.. {
        assert!(step < MOST_STEPS, "a message that has no end");
        match machine.message(message, tables)? {
            Step::Done | Step::Rows(_) | Step::Wait(_) => break,
            Step::More(_) => {}
            // The reader would ask the server; here columns stay as they are, but for the numbers of their types.
            Step::Relation(at, relation) if relation.columns.len() == tables.get(at).shape.columns.len() => {
                machine.related(relation, at);
            }
            Step::Relation(..) => return Err(Error::new(Code::SchemaChange, "other columns")),
            Step::Truncate(at) => machine.truncated(at, tables),
            Step::Null(at, column) => {
                let shape = tables.get(at).shape.relaxed(column);
                tables.reshape(at, shape, None);
            }
            Step::Missing(_, missing) => {
                tables.found(missing.columns.iter().map(|column| (*column, Some(b"found".to_vec()))).collect());
            }
        }
    }
    Ok(())
}

/// Messages as a stream.
pub fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|message| [&(message.len() as u32).to_be_bytes()[..], message].concat()).collect()
}

/// The messages of a stream: as if the bytes had been sent so, all lengths fit, those of cells, too.
fn mended(data: &[u8]) -> Vec<Vec<u8>> {
    let (mut messages, mut rest, mut streamed) = (Vec::new(), data, false);
    while let Some((length, behind)) = rest.split_first_chunk::<LENGTH>() {
        let (message, behind) = behind.split_at((u32::from_be_bytes(*length) as usize).min(behind.len()));
        rest = behind;
        let mut message = message.to_vec();
        match message.first() {
            Some(b'S') => streamed = true,
            Some(b'E') => streamed = false,
            Some(b'I' | b'U' | b'D') => mend_row(&mut message, streamed),
            _ => {}
        }
        messages.push(message);
    }
    messages
}

/// Behind the tag: a subtransaction in a piece of a transaction, the table, then rows, each behind a letter.
fn mend_row(message: &mut Vec<u8>, streamed: bool) {
    let mut at = 1 + 4 + if streamed { 4 } else { 0 };
    let rows = message[0];
    while let Some(letter) = message.get(at).copied() {
        at = mend_tuple(message, at + 1);
        if letter == b'N' || rows == b'D' {
            break;
        }
    }
    message.truncate(at);
}

/// Where the tuple ends that begins there.
fn mend_tuple(message: &mut [u8], mut at: usize) -> usize {
    let Some(count) = message.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return message.len() };
    at += 2;
    for _ in 0..u16::from_be_bytes(*count) {
        let Some(form) = message.get(at).copied() else { return message.len() };
        at += 1;
        if form != b't' && form != b'b' {
            continue;
        }
        let Some(length) = message.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied() else {
            return message.len();
        };
        let length = (u32::from_be_bytes(length) as usize).min(message.len() - at - 4);
        message[at..at + 4].copy_from_slice(&(length as u32).to_be_bytes());
        at += 4 + length;
    }
    at
}
