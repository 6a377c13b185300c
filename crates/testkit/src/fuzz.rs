//! Bounded fuzzing: mutations of the seeds of a fuzz target, the same ones for the same seed of numbers.
//!
//! `DUJIANG_SEED` repeats a run, `DUJIANG_FUZZ_RUNS` sets how many inputs each target is shown. `cargo xtask fuzz` begins with the
//! same files, in `crates/fuzz/seeds`.

use dujiang_scratch::Random;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

const RUNS: u64 = 6000;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds")).join(target)
}

/// The seeds of a target, in order of their names.
///
/// # Panics
/// When there are none.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = folder(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no seeds");
    files.iter().map(|file| fs::read(file).expect("a seed")).collect()
}

/// Whether seeds are to be written anew, with `UPDATE_SEEDS=1`.
#[must_use]
pub fn updates_seeds() -> bool {
    std::env::var_os("UPDATE_SEEDS").is_some()
}

/// Writes a seed.
///
/// # Panics
/// When it cannot be written.
pub fn write_seed(target: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder(target)).expect("a folder for seeds");
    fs::write(folder(target).join(name), bytes).expect("write a seed");
}

/// Demands that a seed is what the code at hand writes; with `UPDATE_SEEDS=1` it becomes that.
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn check_seed(target: &str, name: &str, bytes: &[u8]) {
    if updates_seeds() {
        write_seed(target, name, bytes);
    }
    let found = fs::read(folder(target).join(name)).unwrap_or_default();
    assert!(found == bytes, "seed {name} of {target} is another one: UPDATE_SEEDS=1 writes it anew");
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

/// Shows a target its seeds, and mutations of them.
///
/// # Panics
/// When the target does; the input is kept.
pub fn run(name: &str, mut target: impl FnMut(&[u8])) {
    let seed = number("DUJIANG_SEED", 20_261_127);
    eprintln!("DUJIANG_SEED={seed}");
    let corpus = seeds(name);
    let mut random = Random::new(seed);
    for run in 0..number("DUJIANG_FUZZ_RUNS", RUNS).max(corpus.len() as u64) {
        let mut input = corpus[(run % corpus.len() as u64) as usize].clone();
        if run >= corpus.len() as u64 {
            mutate(&mut input, &corpus, &mut random);
        }
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let file = std::env::temp_dir().join(format!("dujiang-fuzz-{name}-{run}"));
            fs::write(&file, &input).expect("keep the input");
            panic!("{name}: input {run} of seed {seed} panics; it is kept in {}", file.display());
        }
    }
}
