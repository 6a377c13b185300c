//! A spool against lists in memory.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Move {
    Append(u8, u16),
    Mark(u8),
    RollBack(u8, usize),
    Read(u8),
    Discard(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0..3u8, 0..400u16).prop_map(|(key, length)| Move::Append(key, length)),
        2 => (0..3u8).prop_map(Move::Mark),
        1 => (0..3u8, 0..4usize).prop_map(|(key, back)| Move::RollBack(key, back)),
        1 => (0..3u8).prop_map(Move::Read),
        1 => (0..3u8).prop_map(Move::Discard),
    ];
    prop::collection::vec(one, 0..80)
}

fn contents(spool: &Spool, key: u8) -> Vec<Vec<u8>> {
    let mut records = spool.read(&[key]).unwrap();
    let mut all = Vec::new();
    while let Some(record) = records.peek().unwrap() {
        all.push(record.to_vec());
        records.advance();
    }
    all
}

#[track_caller]
fn reads_as_written(error: &Error, folder: &Path) {
    let hide = folder.display().to_string();
    dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), error, &[(&hide, "<folder>")]);
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

const SMALL: Limits = Limits { bytes: 1 << 40, list_memory: 600, memory: 1000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_spool_is_a_map_of_lists(moves in moves()) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), SMALL).unwrap();
        let mut model: HashMap<u8, Vec<Vec<u8>>> = HashMap::new();
        let mut marks: HashMap<u8, Vec<(Mark, usize)>> = HashMap::new();
        for (number, step) in moves.into_iter().enumerate() {
            match step {
                Move::Append(key, length) => {
                    let record = vec![number as u8; length.into()];
                    spool.append(&[key], &record).unwrap();
                    model.entry(key).or_default().push(record);
                }
                Move::Mark(key) => {
                    let length = model.get(&key).map_or(0, Vec::len);
                    marks.entry(key).or_default().push((spool.mark(&[key]), length));
                }
                Move::RollBack(key, back) => {
                    let marks = marks.entry(key).or_default();
                    let Some(at) = marks.len().checked_sub(back + 1) else { continue };
                    let (mark, length) = marks[at];
                    marks.truncate(at + 1);
                    spool.roll_back_to(&[key], mark).unwrap();
                    if let Some(list) = model.get_mut(&key) {
                        list.truncate(length);
                    }
                }
                Move::Read(key) => prop_assert_eq!(contents(&spool, key), model.get(&key).cloned().unwrap_or_default()),
                Move::Discard(key) => {
                    spool.discard(&[key]);
                    model.remove(&key);
                    marks.remove(&key);
                }
            }
            let bytes: usize = model.values().flatten().map(|record| record.len() + HEAD).sum();
            prop_assert_eq!(spool.bytes(), bytes as u64);
            prop_assert!(spool.memory_bytes() <= SMALL.memory + 3 * SMALL.list_memory);
        }
        for key in 0..3 {
            prop_assert_eq!(contents(&spool, key), model.get(&key).cloned().unwrap_or_default());
            spool.discard(&[key]);
        }
        prop_assert_eq!((spool.bytes(), spool.memory_bytes(), files(folder.path())), (0, 0, 0));
    }
}

#[test]
fn the_limit_is_named_and_the_list_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), Limits { bytes: 1000, ..Limits::default() }).unwrap();
    for _ in 0..10 {
        spool.append(b"t", &[1; 92]).unwrap();
    }
    let error = spool.append(b"u", b"").unwrap_err();
    assert_eq!(error.code(), Code::SpoolFull);
    assert!(error.message().contains("spool.max-bytes"), "{error}");
    reads_as_written(&error, folder.path());
    assert_eq!((spool.len(), spool.bytes()), (1, 1000));
    spool.discard(b"t");
    spool.append(b"u", b"").unwrap();
}

#[test]
fn a_list_is_read_in_pieces_and_outlives_its_discarding() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), Limits::default()).unwrap();
    let record = |n: u32| n.to_le_bytes().repeat(if n == 500 { 200_000 } else { 1_000 });
    for n in 0..1_000 {
        spool.append(b"t", &record(n)).unwrap();
    }
    assert!(spool.memory_bytes() <= 256 << 10);
    let mut records = spool.read(b"t").unwrap();
    spool.discard(b"t");
    for n in 0..1_000 {
        assert_eq!(records.peek().unwrap(), Some(&record(n)[..]), "{n}");
        records.advance();
    }
    assert_eq!(records.peek().unwrap(), None);
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn what_a_crash_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("00000007.spool"), "x").unwrap();
    std::fs::write(folder.path().join("notes"), "x").unwrap();
    let mut spool = Spool::open(folder.path(), SMALL).unwrap();
    spool.append(b"t", &[0; 500]).unwrap();
    spool.append(b"t", &[0; 500]).unwrap();
    assert_eq!(files(folder.path()), 2);
    drop(spool);
    assert_eq!(files(folder.path()), 1);
}

#[test]
fn bytes_that_changed_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), SMALL).unwrap();
    for _ in 0..3 {
        spool.append(b"t", &[7; 500]).unwrap();
    }
    let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut records = spool.read(b"t").unwrap();
    let error = records.peek().unwrap_err();
    assert_eq!(error.code(), Code::SpoolUnusable);
    reads_as_written(&error, folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_works_on_every_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(folder.path(), SMALL).unwrap();
    for n in 0..9 {
        spool.append(b"t", &[n; 500]).unwrap();
    }
    assert_eq!(contents(&spool, b't').len(), 9);
}
