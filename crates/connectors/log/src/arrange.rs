//! The numbers of a payload on their way to and from the compressor: all first bytes side by side, then all second ones, and
//! differences where those are shorter. Of a column of counters nothing is left but their low bytes. Pure. Layout:
//! `docs/reference/log-segment.md`.

/// Numbers that lie one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) at: usize,
    pub(crate) count: usize,
    /// Bytes of each.
    pub(crate) width: usize,
}

/// Fewer are left as they are: the compressor gains less than it costs to tell where they are.
const FEWEST: usize = 32;
/// How many are looked at to see whether differences are shorter.
const SAMPLE: usize = 256;
/// In the byte that tells the width.
const DIFFERENCES: u8 = 0x80;
/// Bytes that tell of one run of numbers.
const ENTRY: usize = 9;

/// Arranges the payload and appends what was done; `false` when there is nothing to arrange.
pub(crate) fn arrange(payload: &mut Vec<u8>, numbers: &[Numbers], scratch: &mut Vec<u8>) -> bool {
    let known = |n: &&Numbers| n.count >= FEWEST && matches!(n.width, 2 | 4 | 8 | 16);
    let done: Vec<(&Numbers, u8)> = numbers
        .iter()
        .filter(known)
        .map(|n| {
            let bytes = &mut payload[n.at..n.at + n.count * n.width];
            let differences = match n.width {
                2 => spread_numbers::<2>(bytes, scratch),
                4 => spread_numbers::<4>(bytes, scratch),
                8 => spread_numbers::<8>(bytes, scratch),
                _ => {
                    spread::<16>(bytes, scratch);
                    false
                }
            };
            (n, n.width as u8 | if differences { DIFFERENCES } else { 0 })
        })
        .collect();
    if done.is_empty() {
        return false;
    }
    done.iter().for_each(|(n, _)| payload.extend_from_slice(&(n.at as u32).to_le_bytes()));
    done.iter().for_each(|(n, _)| payload.extend_from_slice(&(n.count as u32).to_le_bytes()));
    payload.extend(done.iter().map(|(_, how)| how));
    payload.extend_from_slice(&(done.len() as u32).to_le_bytes());
    true
}

/// Undoes [`arrange`]; `None` when nothing like it was done.
pub(crate) fn restore(payload: &mut Vec<u8>, scratch: &mut Vec<u8>) -> Option<()> {
    let told = payload.len().checked_sub(4)?;
    let word = |payload: &[u8], at: usize| u32::from_le_bytes(payload[at..at + 4].try_into().expect("four bytes"));
    let runs = word(payload, told) as usize;
    let length = told.checked_sub(runs.checked_mul(ENTRY)?)?;
    for run in 0..runs {
        let at = word(payload, length + 4 * run) as usize;
        let count = word(payload, length + 4 * (runs + run)) as usize;
        let how = payload[length + 8 * runs + run];
        let width = usize::from(how & !DIFFERENCES);
        let end = at.checked_add(count.checked_mul(width)?)?;
        let bytes = payload[..length].get_mut(at..end)?;
        match (width, how & DIFFERENCES != 0) {
            (2, false) => gather::<2>(bytes, scratch),
            (4, false) => gather::<4>(bytes, scratch),
            (8, false) => gather::<8>(bytes, scratch),
            (16, false) => gather::<16>(bytes, scratch),
            (2, true) => gather_numbers::<2>(bytes, scratch),
            (4, true) => gather_numbers::<4>(bytes, scratch),
            (8, true) => gather_numbers::<8>(bytes, scratch),
            _ => return None,
        }
    }
    payload.truncate(length);
    Some(())
}

/// All first bytes, then all second ones, ...
fn spread<const W: usize>(bytes: &mut [u8], scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.extend_from_slice(bytes);
    let values = scratch.as_chunks::<W>().0;
    for (plane, to) in bytes.chunks_exact_mut(values.len()).enumerate() {
        for (to, value) in to.iter_mut().zip(values) {
            *to = value[plane];
        }
    }
}

fn gather<const W: usize>(bytes: &mut [u8], scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.extend_from_slice(bytes);
    let count = bytes.len() / W;
    let values = bytes.as_chunks_mut::<W>().0;
    for (plane, from) in scratch.chunks_exact(count.max(1)).enumerate() {
        for (value, from) in values.iter_mut().zip(from) {
            value[plane] = *from;
        }
    }
}

fn number<const W: usize>(bytes: &[u8; W]) -> u64 {
    let mut all = [0; 8];
    all[..W].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

fn bytes_of<const W: usize>(number: u64) -> [u8; W] {
    number.to_le_bytes()[..W].try_into().expect("invariant: no number is longer")
}

/// From the number before to this one, the sign in the lowest bit, so that small steps down are small numbers too.
fn difference<const W: usize>(before: u64, this: u64) -> u64 {
    let unused = 64 - 8 * W as u32;
    let step = (this.wrapping_sub(before) << unused) as i64 >> unused;
    ((step << 1) ^ (step >> 63)) as u64
}

/// Whether the differences of these numbers take fewer bits than the numbers, by the looks of the first ones.
fn differences_are_shorter<const W: usize>(values: &[[u8; W]]) -> bool {
    let sample = &values[..values.len().min(SAMPLE)];
    let numbers = sample.iter().map(number);
    let (least, most) = numbers.fold((u64::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
    let bits = |n: u64| u64::from(64 - n.leading_zeros());
    let steps = sample.windows(2).map(|two| bits(difference::<W>(number(&two[0]), number(&two[1])))).sum::<u64>();
    steps < (bits(most - least).saturating_sub(1)) * (sample.len() as u64 - 1)
}

/// As [`spread`], of differences if those are shorter; says which.
fn spread_numbers<const W: usize>(bytes: &mut [u8], scratch: &mut Vec<u8>) -> bool {
    let values = bytes.as_chunks_mut::<W>().0;
    let differences = differences_are_shorter(values);
    if differences {
        let mut before = 0;
        for value in values {
            let this = number(value);
            *value = bytes_of(difference::<W>(before, this));
            before = this;
        }
    }
    spread::<W>(bytes, scratch);
    differences
}

fn gather_numbers<const W: usize>(bytes: &mut [u8], scratch: &mut Vec<u8>) {
    gather::<W>(bytes, scratch);
    let mut this = 0u64;
    for value in bytes.as_chunks_mut::<W>().0 {
        let told = number(value);
        this = this.wrapping_add((told >> 1) ^ (told & 1).wrapping_neg());
        *value = bytes_of(this);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers of many kinds: counters, times, few values, noise, and where they begin.
    fn runs() -> impl Strategy<Value = Vec<(usize, Vec<u64>, usize)>> {
        let width = prop_oneof![Just(1usize), Just(2), Just(4), Just(8), Just(16)];
        let values = prop_oneof![
            (any::<u64>(), 0u64..300, 0usize..400).prop_map(|(first, step, count)| {
                (0..count as u64).map(|n| first.wrapping_add(n * step)).collect::<Vec<_>>()
            }),
            proptest::collection::vec(any::<u64>(), 0..400),
            proptest::collection::vec(0u64..5, 0..400),
            proptest::collection::vec(any::<i8>().prop_map(|n| n as u64), 0..400),
        ];
        proptest::collection::vec((0usize..40, values, width), 0..6)
    }

    fn payload(runs: &[(usize, Vec<u64>, usize)]) -> (Vec<u8>, Vec<Numbers>) {
        let (mut payload, mut numbers) = (Vec::new(), Vec::new());
        for (gap, values, width) in runs {
            payload.resize(payload.len() + gap, 0xa5);
            numbers.push(Numbers { at: payload.len(), count: values.len(), width: *width });
            for value in values {
                payload.extend_from_slice(&u128::from(*value).to_le_bytes()[..*width]);
            }
        }
        (payload, numbers)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_arranged_is_restored(runs in runs()) {
            let (before, numbers) = payload(&runs);
            let (mut bytes, mut scratch) = (before.clone(), Vec::new());
            if arrange(&mut bytes, &numbers, &mut scratch) {
                restore(&mut bytes, &mut scratch).unwrap();
            }
            prop_assert_eq!(bytes, before);
        }

        /// Whatever stands there, it ends in an answer.
        #[test]
        fn nothing_is_restored_out_of_bounds(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), runs in 0u32..12) {
            bytes.extend_from_slice(&runs.to_le_bytes());
            let _ = restore(&mut bytes, &mut Vec::new());
        }
    }

    #[test]
    fn counters_become_one_number_again_and_again() {
        let counters: Vec<u64> = (7_000_000_000..7_000_000_100).collect();
        let (mut bytes, numbers) = payload(&[(0, counters, 8)]);
        assert!(arrange(&mut bytes, &numbers, &mut Vec::new()));
        assert!(bytes[1..100].iter().all(|&low| low == 2) && bytes[500..800].iter().all(|&high| high == 0));
        let (mut few, numbers) = payload(&[(0, (0..31).collect(), 8)]);
        assert!(!arrange(&mut few, &numbers, &mut Vec::new()));
    }
}
