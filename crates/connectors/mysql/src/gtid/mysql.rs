//! MySQL: sets of `uuid[:tag]:intervals`.
//!
//! Sets stay sets: `1-7:9-10` is not `1-10` (R6).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Who wrote a transaction first: the server's uuid and, from MySQL 8.3 on, an optional tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    /// `server_uuid`.
    pub uuid: [u8; 16],
    /// Lower-case tag; empty for none.
    pub tag: String,
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.uuid.iter().enumerate() {
            let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        if !self.tag.is_empty() {
            write!(f, ":{}", self.tag)?;
        }
        Ok(())
    }
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    if digits.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut uuid = [0; 16];
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(uuid)
}

/// A run of transaction numbers, both ends included.
type Interval = (u64, u64);

/// A set of transactions: per source ascending, disjoint, not touching intervals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet(BTreeMap<Sid, Vec<Interval>>);

impl GtidSet {
    /// Whether there is no transaction.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one transaction.
    pub fn add(&mut self, sid: Sid, number: u64) {
        self.add_interval(sid, (number, number));
    }

    fn add_interval(&mut self, sid: Sid, (first, last): Interval) {
        let intervals = self.0.entry(sid).or_default();
        // The common case: the next transaction of the same source.
        if let Some(tail) = intervals.last_mut()
            && first == tail.1.saturating_add(1)
        {
            tail.1 = last;
            return;
        }
        let from = intervals.partition_point(|i| i.1.saturating_add(1) < first);
        let to = intervals.partition_point(|i| i.0 <= last.saturating_add(1));
        let merged = intervals[from..to].iter().fold((first, last), |m, i| (m.0.min(i.0), m.1.max(i.1)));
        intervals.splice(from..to, [merged]);
    }

    /// Adds every transaction of `other`.
    pub fn union(&mut self, other: &GtidSet) {
        for (sid, intervals) in &other.0 {
            for interval in intervals {
                self.add_interval(sid.clone(), *interval);
            }
        }
    }

    /// The number of the first transaction that is not in the set, if there is one source at most.
    pub fn first_missing(&self) -> Option<u64> {
        let mut sources = self.0.values();
        let first = sources.next().map_or(1, |intervals| intervals.first().map_or(1, |(_, last)| last + 1));
        sources.next().is_none().then_some(first)
    }

    /// Whether one transaction is in the set.
    pub fn contains(&self, sid: &Sid, number: u64) -> bool {
        self.0.get(sid).is_some_and(|intervals| {
            let at = intervals.partition_point(|i| i.1 < number);
            intervals.get(at).is_some_and(|i| i.0 <= number)
        })
    }

    /// Whether every transaction of `other` is in this set.
    pub fn covers(&self, other: &GtidSet) -> bool {
        other.subtract(self).is_empty()
    }

    /// The transactions of this set that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &GtidSet) -> GtidSet {
        let mut rest = BTreeMap::new();
        for (sid, intervals) in &self.0 {
            let without = other.0.get(sid).map_or(&[][..], Vec::as_slice);
            let left = subtract_intervals(intervals, without);
            if !left.is_empty() {
                rest.insert(sid.clone(), left);
            }
        }
        GtidSet(rest)
    }

    /// Whether any source of the set has a tag (MySQL 8.3 and later).
    pub fn has_tags(&self) -> bool {
        self.0.keys().any(|sid| !sid.tag.is_empty())
    }

    /// The bytes of the set in `COM_BINLOG_DUMP_GTID`, all integers little-endian: number of sources, then per source
    /// uuid, number of intervals, and each as (first, one after last).
    ///
    /// With tags the header and every source carry a format byte and the tag (`Gtid_set::encode` of MySQL 8.3).
    pub fn encode(&self) -> Vec<u8> {
        let tagged = self.has_tags();
        let sources = self.0.len() as u64;
        let mut out = Vec::with_capacity(8 + self.0.len() * 40);
        let header = if tagged { (1 << 56) | (sources << 8) | 1 } else { sources };
        out.extend_from_slice(&u64::to_le_bytes(header));
        for (sid, intervals) in &self.0 {
            out.extend_from_slice(&sid.uuid);
            if tagged {
                out.push((sid.tag.len() as u8) << 1);
                out.extend_from_slice(sid.tag.as_bytes());
            }
            out.extend_from_slice(&(intervals.len() as u64).to_le_bytes());
            for (first, last) in intervals {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&(last + 1).to_le_bytes());
            }
        }
        out
    }
}

fn subtract_intervals(from: &[Interval], without: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut holes = without.iter().peekable();
    for &(mut first, last) in from {
        while holes.next_if(|h| h.1 < first).is_some() {}
        let mut ahead = holes.clone();
        while let Some(hole) = ahead.next_if(|h| h.0 <= last) {
            if hole.0 > first {
                left.push((first, hole.0 - 1));
            }
            first = hole.1.saturating_add(1);
        }
        if first <= last {
            left.push((first, last));
        }
    }
    left
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (sid, intervals)) in self.0.iter().enumerate() {
            write!(f, "{}{sid}", if i > 0 { "," } else { "" })?;
            for (first, last) in intervals {
                if first == last {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut set = GtidSet::default();
        for source in text.split(',').map(str::trim).filter(|s| !s.is_empty()) {
            parse_source(source, &mut set).ok_or_else(|| format!("`{source}` is not part of a MySQL GTID set"))?;
        }
        Ok(set)
    }
}

/// `uuid:1-5:8:tag:3-4`: a part that does not begin with a digit is a tag for the intervals after it.
fn parse_source(text: &str, set: &mut GtidSet) -> Option<()> {
    let mut parts = text.split(':').map(str::trim);
    let mut sid = Sid { uuid: parse_uuid(parts.next()?)?, tag: String::new() };
    let mut intervals = 0;
    for part in parts {
        if !part.starts_with(|c: char| c.is_ascii_digit()) {
            let ok =
                !part.is_empty() && part.len() <= 32 && part.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
            sid.tag = ok.then(|| part.to_ascii_lowercase())?;
            continue;
        }
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): Interval = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first == 0 || last < first || last == u64::MAX {
            return None;
        }
        set.add_interval(sid.clone(), (first, last));
        intervals += 1;
    }
    (intervals > 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: &str = "24da167c-0c0d-11e8-8442-00059a3c7b00";

    fn sid(n: u8) -> Sid {
        Sid { uuid: [n; 16], tag: if n == 2 { "blue".into() } else { String::new() } }
    }

    type Model = BTreeSet<(u8, u64)>;

    fn models() -> impl Strategy<Value = Model> {
        prop::collection::btree_set((0..3u8, 1..40u64), 0..60)
    }

    fn set_of(model: &Model, order: u64) -> GtidSet {
        let mut members: Vec<_> = model.iter().collect();
        members.sort_by_key(|(s, n)| (n.wrapping_mul(order | 1) % 41, *s));
        let mut set = GtidSet::default();
        members.into_iter().for_each(|(s, n)| set.add(sid(*s), *n));
        set
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn r06_f34_sets_agree_with_plain_sets(a in models(), b in models(), order in any::<u64>()) {
            let (x, y) = (set_of(&a, order), set_of(&b, 1));
            prop_assert_eq!(&x, &set_of(&a, 1), "the order of arrival leaves no trace");
            prop_assert_eq!(&x.to_string().parse::<GtidSet>().unwrap(), &x);
            let mut union = x.clone();
            union.union(&y);
            prop_assert_eq!(union, set_of(&a.union(&b).copied().collect(), 1));
            prop_assert_eq!(x.subtract(&y), set_of(&a.difference(&b).copied().collect(), 1));
            prop_assert_eq!(x.covers(&y), a.is_superset(&b));
            for s in 0..3 {
                for n in 0..41 {
                    prop_assert_eq!(x.contains(&sid(s), n), a.contains(&(s, n)));
                }
            }
        }
    }

    #[test]
    fn gaps_are_kept() {
        let mut set: GtidSet = format!("{A}:1-7:9-10").parse().unwrap();
        assert!(!set.contains(&Sid { uuid: parse_uuid(A).unwrap(), tag: String::new() }, 8));
        set.union(&format!("{}:8", A.to_uppercase()).parse().unwrap());
        assert_eq!(set.to_string(), format!("{A}:1-10"));
    }

    #[test]
    fn the_dump_command_gets_half_open_intervals() {
        let set: GtidSet = format!("{A}:1-5:9").parse().unwrap();
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0];
        expected.extend(parse_uuid(A).unwrap());
        for n in [2u64, 1, 6, 9, 10] {
            expected.extend(n.to_le_bytes());
        }
        assert_eq!(set.encode(), expected);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [A, "0-1-99", &format!("{A}:0"), &format!("{A}:5-3"), &format!("{A}:x"), "24da:1", &format!("{A}:")]
        {
            assert!(text.parse::<GtidSet>().is_err(), "{text}");
        }
        assert!("".parse::<GtidSet>().unwrap().is_empty());
    }
}
