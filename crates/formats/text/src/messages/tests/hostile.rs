//! Bytes that no tool would write: every one is an error of its record or is read, and nothing of a refused message stays.

use super::samples::*;
use crate::messages::{Decoder, MessageFormat, table_of};
use dujiang_core::Code;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

fn mutate(message: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    const PIECES: [&[u8]; 12] = [
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b"null",
        b"-",
        b"1e999999999",
        b"\\ud83d",
        b",",
        b"99999999999999999999999999999999999999999",
    ];
    let mut out = message.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(out.len().max(1));
        match dice.roll(6) {
            0 => out.truncate(at),
            1 => out.splice(at..at, PIECES[dice.roll(PIECES.len())].iter().copied()).for_each(drop),
            2 if at < out.len() => out[at] ^= 1 << dice.roll(8),
            3 if at < out.len() => {
                let end = (at + dice.roll(9)).min(out.len());
                out.drain(at..end);
            }
            4 => {
                let from = dice.roll(other.len().max(1));
                let end = (from + dice.roll(60)).min(other.len());
                out.splice(at..at, other[from.min(end)..end].iter().copied()).for_each(drop);
            }
            _ => {
                let end = (at + dice.roll(30)).min(out.len());
                let piece = out[at.min(end)..end].to_vec();
                out.extend_from_slice(&piece);
            }
        }
    }
    out
}

#[test]
fn mutated_messages_are_refused_whole_or_read() {
    let table = products(true);
    for format in MessageFormat::ALL {
        let (messages, _) = encode(&changes(&table), &options(format));
        let values: Vec<&[u8]> = messages.iter().filter_map(|message| message.value).collect();
        let mut decoder = Decoder::new(&table, &options(format)).unwrap();
        let mut rows = decoder.rows();
        let mut dice = Dice(0x5EED_1234_5678_9ABC);
        let mut refused = 0;
        for round in 0..4_000 {
            let message = mutate(values[round % values.len()], values[(round + 1) % values.len()], &mut dice);
            let before = rows.len();
            if let Err(error) = decoder.decode(Some(&message), &origin("topic", round as u64), &mut rows) {
                refused += 1;
                let known = [Code::MessageSyntax, Code::MessageKind, Code::MessageField];
                assert!(known.contains(&error.code()), "{format:?}: {error:?}");
                assert_eq!(rows.len(), before, "{format:?}: {error:?}");
            }
            let _ = table_of(format, &message);
            if rows.len() > 100 {
                let images = rows.len();
                assert_eq!(rows.take().unwrap().images(), images);
            }
        }
        assert!(refused > 1_000, "{format:?}: {refused}");
        rows.take().unwrap();
    }
}

#[test]
fn depth_and_odd_bytes_are_no_danger() {
    let table = products(true);
    let mut decoder = Decoder::new(&table, &options(MessageFormat::Json)).unwrap();
    let mut rows = decoder.rows();
    let deep = |open: &str| open.repeat(200_000).into_bytes();
    for message in [deep("["), deep("{\"a\":"), deep("[{\"a\":"), vec![0xFF], vec![b'"'], b"{\"id\":1e}".to_vec()] {
        let refused = decoder.decode(Some(&message), &origin("t", 0), &mut rows).unwrap_err();
        assert_eq!(refused.code(), Code::MessageSyntax);
    }
    assert!(rows.is_empty() && rows.memory() < 4096);
}
