//! Bounded fuzzing: mutations of logs and values that real servers wrote, the same ones for the same seed.
//!
//! `DUJIANG_SEED` repeats a run, `DUJIANG_FUZZ_RUNS` sets how many inputs each target is shown.

use dujiang_scratch::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

mod targets;

const RUNS: u64 = 6000;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The inputs of a target that lie in the corpus, and the given ones.
fn corpus(target: &str, more: &[&[u8]]) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let files = files.iter().map(|file| std::fs::read(file).unwrap());
    files.chain(more.iter().map(|bytes| bytes.to_vec())).collect()
}

/// Bytes that break things more often than others.
const INTERESTING: [u8; 10] = [0, 1, 0x7f, 0x80, 0xff, 0xfb, 0xfc, 0xfd, 0xfe, 0x10];

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    for _ in 0..1 + random.below(6) {
        let length = input.len() as u64;
        let at = random.below(length.max(1)) as usize;
        let more = random.below(40) as usize;
        match random.below(8) {
            _ if input.is_empty() => input.push(random.below(256) as u8),
            0 | 1 => input[at] ^= 1 << random.below(8),
            2 => input[at] = INTERESTING[random.below(10) as usize],
            3 => input[at] = random.below(256) as u8,
            4 => drop(input.drain(at..(at + more).min(input.len()))),
            5 => {
                let part = input[at..(at + more).min(input.len())].to_vec();
                input.splice(at..at, part);
            }
            6 => {
                let word = [0u32, 1, 0xffff, u32::MAX, i32::MAX as u32, length as u32][random.below(6) as usize];
                let end = (at + 4).min(input.len());
                input[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
            }
            _ => {
                let other = &corpus[random.below(corpus.len() as u64) as usize];
                let from = random.below(other.len().max(1) as u64) as usize;
                let part = other[from.min(other.len())..(from + more).min(other.len())].to_vec();
                input.splice(at..at, part);
            }
        }
    }
}

fn fuzz(name: &str, corpus: &[Vec<u8>], target: fn(&[u8])) {
    let seed = number("DUJIANG_SEED", 20_261_127);
    eprintln!("DUJIANG_SEED={seed}");
    let mut random = Random::new(seed);
    for run in 0..number("DUJIANG_FUZZ_RUNS", RUNS) {
        let mut input = corpus[(run % corpus.len() as u64) as usize].clone();
        if run >= corpus.len() as u64 {
            mutate(&mut input, corpus, &mut random);
        }
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let file = std::env::temp_dir().join(format!("dujiang-fuzz-{name}-{run}"));
            std::fs::write(&file, &input).unwrap();
            panic!("{name}: input {run} of seed {seed} panics; it is kept in {}", file.display());
        }
    }
}

/// Events are mutated one by one, so that what is behind a broken one is still read.
#[test]
fn damaged_logs_end_in_errors() {
    let files = corpus("event_stream", &[]);
    assert!(files.len() >= 2);
    for file in &files {
        let (images, failed) = targets::event_stream(file);
        assert!(images > 8 && failed.is_none(), "the corpus is read: {images} images, {failed:?}");
    }
    fuzz("event_stream", &files, |data| {
        targets::event_stream(&framed(data));
    });
}

/// Gives every event the length that it has, as far as events can be told apart.
fn framed(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    let mut at = 4;
    while at + 19 <= out.len() {
        let told = u32::from_le_bytes(out[at + 9..at + 13].try_into().unwrap()) as usize;
        let size = told.clamp(19, out.len() - at);
        out[at + 9..at + 13].copy_from_slice(&(size as u32).to_le_bytes());
        at += size;
    }
    out[..4.min(data.len())].copy_from_slice(&[0xfe, b'b', b'i', b'n'][..4.min(data.len())]);
    out
}

#[test]
fn damaged_row_images_end_in_errors() {
    let row: &[u8] = &[
        0, 0xff, 0, 1, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff, 3, b'a', b'b', b'c', 0x80, 0, 0, 0, 0, 0, 0x30, 0x39, 0x1a,
        0x85, 0x65, 0xe0, 0x71, 0x40, 0x13, 0x88, 2, 0, 0, 0xff, 1, 3, 0, 0, 0, 5, 1, 0,
    ];
    let nulls: &[u8] = &[2, 0xff, 0xfe, 1, 0, 0, 0];
    let update: &[u8] = &[1, 0xff, 0xfe, 1, 0, 0, 0, 0xfe, 2, 0, 0, 0];
    let partial: &[u8] = &[0x81, 0xff, 0xfe, 1, 0, 0, 0, 1, 1, 0xfe, 2, 0, 0, 0];
    let nodup: &[u8] = &[0x41, 0x03, 0xfe, 1, 0, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0];
    fuzz("row_image", &corpus("row_image", &[row, nulls, update, partial, nodup]), targets::row_image);
}

#[test]
fn damaged_documents_end_in_errors() {
    let object: &[u8] = &[
        32, 0, 0, 2, 0, 31, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 1, 0, 2, 20, 0, b'a', b'b', 2, 0, 10, 0, 5, 1, 0, 5, 2, 0,
        0, 6, b'$', b'.', b'b', b'[', b'1', b']', 3, 5, 7, 0,
    ];
    let text: &[u8] = &[5, 0, 12, 3, b'a', b'b', b'c', 2, 1, b'$'];
    let decimal: &[u8] = &[8, 0, 15, 246, 5, 4, 2, 0x80, 1, 5];
    fuzz("jsonb", &corpus("jsonb", &[object, text, decimal]), targets::jsonb);
}

#[test]
fn damaged_statements_end_in_answers() {
    let statements: [&[u8]; 6] = [
        b"ALTER TABLE d.t ADD COLUMN a VARCHAR(10) CHARACTER SET latin1 NOT NULL DEFAULT 'x''y' COMMENT \"z\" AFTER `b``c`, DROP e",
        b"CREATE TABLE IF NOT EXISTS `d`.`t` (id INT PRIMARY KEY /* c */, v ENUM('a','b') -- x\n) ENGINE=InnoDB",
        b"/*!50100 ALTER TABLE t ADD x INT */; RENAME TABLE d.t TO d.u, d.u TO d.t",
        b"ALTER TABLE t CHANGE a b DECIMAL(10,2) UNSIGNED, ADD INDEX (a), RENAME TO u",
        b"DROP TABLE /* generated by server */ `t`, d.u",
        b"TRUNCATE t",
    ];
    fuzz("ddl_text", &corpus("ddl_text", &statements), targets::ddl_text);
}

#[test]
fn damaged_sets_end_in_errors() {
    let sets: [&[u8]; 4] = [
        b"24da167c-0c0d-11e8-8442-00059a3c7b00:1-5:7:blue:3-9|24da167c-0c0d-11e8-8442-00059a3c7b00:2-3:blue:4",
        b"24da167c-0c0d-11e8-8442-00059a3c7b00:1-9223372036854775806,\n34da167c-0c0d-11e8-8442-00059a3c7b00:1|",
        b"0-1-99,5-2-7",
        b"\x01\x02\0\0\0{}",
    ];
    fuzz("gtid_sets", &corpus("gtid_sets", &sets), targets::gtid_sets);
}

#[test]
fn spools_give_back_what_they_took() {
    let steps: Vec<u8> = (0..400u32).map(|n| (n * 7 % 251) as u8).collect();
    fuzz("spool", &[steps, vec![0; 300], vec![2, 0, 3]], targets::spool);
}
