//! Pure: records of the shard, in their order, into what is committed.
//!
//! A fence ends what older instances have begun, and everything they write behind it is passed over. What was not marked
//! before a fence is forgotten. A record whose number was seen is a repeat. A number that is missing is told (INV-6).

use super::place::{FromSegment, Item};
use super::record::{Kind, Mark, Record, Segment, read_milestone};
use dujiang_core::{Code, Error, Result};
use dujiang_entries::{Entry, Head, Joined, Rows, Shapes, messages};
use std::collections::VecDeque;

/// What the records so far come to.
pub(crate) struct Order {
    topic: String,
    /// The first number that is handed out.
    wanted: u64,
    /// From where on the log is known; none before the first segment.
    begun: Option<Begun>,
    /// Instances, with the numbers in the shard of their fences, as the newest segment tells them.
    fences: Vec<(u64, u64)>,
    /// The newest instance.
    generation: u64,
    pub(crate) shapes: Shapes,
    rows: Rows,
    /// Entries of the open epoch.
    open: VecDeque<Item>,
    ready: VecDeque<Item>,
    bytes: usize,
}

struct Begun {
    lineage: String,
    /// The number of its first entry, and the segment that told it.
    first: (u64, u64),
    /// Number of the next entry.
    next: u64,
    /// Number behind what is committed.
    committed: u64,
    /// The last mark.
    last: Mark,
    /// The number in the shard of the last segment.
    segment: u64,
    /// Whether a mark was seen since, and how many.
    marked: bool,
    epochs: u64,
    /// A newer instance has begun, and has not told its segment.
    fresh: bool,
}

impl Order {
    /// Hands out entries from a number on; `u64::MAX`: none. What is known of fences helps where it begins behind one.
    pub(crate) fn new(topic: &str, wanted: u64, fences: Vec<(u64, u64)>) -> Self {
        let rows = Rows::new(messages(topic));
        let (begun, shapes, open, ready) = Default::default();
        let topic = topic.to_owned();
        Self { topic, wanted, begun, fences, generation: 0, shapes, rows, open, ready, bytes: 0 }
    }

    /// Whether a segment was found.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Number of the next entry, committed or not.
    pub(crate) fn next(&self) -> u64 {
        self.begun.as_ref().map_or(0, |begun| begun.next)
    }

    /// Number behind what is committed.
    pub(crate) fn committed(&self) -> u64 {
        self.begun.as_ref().map_or(0, |begun| begun.committed)
    }

    /// The first number that could be read, and the segment that told it.
    pub(crate) fn first(&self) -> (u64, u64) {
        self.begun.as_ref().map_or((0, 0), |begun| begun.first)
    }

    /// The newest instance of all whose records were seen.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The last mark, and the last segment.
    pub(crate) fn last(&self) -> Option<(&Mark, u64)> {
        self.begun.as_ref().map(|begun| (&begun.last, begun.segment))
    }

    /// Instances with the numbers of their fences.
    pub(crate) fn fences(&self) -> &[(u64, u64)] {
        &self.fences
    }

    /// Marks that were seen.
    pub(crate) fn epochs(&self) -> u64 {
        self.begun.as_ref().map_or(0, |begun| begun.epochs)
    }

    /// What is committed and was not taken yet.
    pub(crate) fn take_ready(&mut self) -> VecDeque<Item> {
        self.bytes -= self.ready.iter().map(Item::memory).sum::<usize>().min(self.bytes);
        std::mem::take(&mut self.ready)
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        self.bytes
    }

    /// Takes the next record of the shard.
    ///
    /// # Errors
    /// `LogTrimmed` when entries are missing, `LogRangeDamaged` for what no log has written so.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> Result<()> {
        let Some(begun) = &self.begun else { return self.begin(record) };
        if record.by.lineage != begun.lineage {
            // Whoever has no right to this log finds out when it has read up to its own fence.
            return if record.kind == Kind::Fence { Ok(()) } else { Err(foreign(&self.topic, record.sequence)) };
        }
        if record.by.generation < self.generation {
            return Ok(());
        }
        if record.by.generation > self.generation {
            self.fence(record)?;
        }
        match record.kind {
            Kind::Fence => Ok(()),
            Kind::Segment => self.segment(record),
            Kind::Known => self.shapes.repeat(record.data).map(drop).ok_or_else(|| self.unreadable(record)),
            Kind::Mark => self.mark(record),
            Kind::Change | Kind::Shape | Kind::Milestone => self.entry(record),
        }
    }

    fn unreadable(&self, record: &Record<'_>) -> Error {
        foreign(&self.topic, record.sequence)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, record: &Record<'_>) -> Result<T> {
        serde_json::from_slice(record.data).map_err(|error| self.unreadable(record).with_source(error))
    }

    /// Before the first segment nothing can be understood.
    fn begin(&mut self, record: &Record<'_>) -> Result<()> {
        let sequence = record.sequence;
        let fenced = self.fences.iter().filter(|(_, fence)| *fence < sequence).map(|(generation, _)| *generation).max();
        self.generation = self.generation.max(fenced.unwrap_or_default());
        if record.kind != Kind::Segment || record.by.generation < self.generation {
            return Ok(());
        }
        let segment: Segment = self.read(record)?;
        let first = segment.last.log.end;
        if first > self.wanted && self.wanted != u64::MAX {
            return Err(trimmed(&self.topic, self.wanted, Some(first)));
        }
        self.generation = record.by.generation;
        self.begin_at(record, segment);
        Ok(())
    }

    fn begin_at(&mut self, record: &Record<'_>, segment: Segment) {
        let end = segment.last.log.end;
        self.hear(&segment.fences);
        self.begun = Some(Begun {
            lineage: record.by.lineage.to_owned(),
            first: (end, record.sequence),
            next: end,
            committed: end,
            last: segment.last,
            segment: record.sequence,
            marked: false,
            epochs: 0,
            fresh: false,
        });
    }

    fn hear(&mut self, fences: &[(u64, u64)]) {
        for fence in fences {
            if !self.fences.contains(fence) {
                self.fences.push(*fence);
            }
        }
        self.fences.sort_unstable();
    }

    /// A newer instance begins: what is not committed never will be.
    fn fence(&mut self, record: &Record<'_>) -> Result<()> {
        self.generation = record.by.generation;
        let Some(begun) = &mut self.begun else { return Ok(()) };
        begun.fresh = true;
        begun.next = begun.committed;
        let committed = begun.committed;
        self.rows.forget_from(committed)?;
        self.shapes.forget_from(committed);
        self.bytes -= self.open.iter().map(Item::memory).sum::<usize>().min(self.bytes);
        self.open.clear();
        self.hear(&[(record.by.generation, record.sequence)]);
        Ok(())
    }

    fn segment(&mut self, record: &Record<'_>) -> Result<()> {
        let segment: Segment = self.read(record)?;
        let end = segment.last.log.end;
        let Some(begun) = &mut self.begun else { return Ok(()) };
        let fresh = std::mem::take(&mut begun.fresh);
        if end == begun.committed && begun.next == end {
            begun.segment = record.sequence;
            begun.last = segment.last;
            self.hear(&segment.fences);
            return Ok(());
        }
        if !begun.marked && (fresh || end > begun.committed) {
            // It began with what did not count, or in the middle of an epoch.
            if end > self.wanted && self.wanted != u64::MAX {
                return Err(trimmed(&self.topic, self.wanted, Some(end)));
            }
            self.forget_all()?;
            self.begin_at(record, segment);
            return Ok(());
        }
        match end > begun.committed {
            true => Err(trimmed(&self.topic, begun.committed, Some(end))),
            // A repeat that came late.
            false if !fresh => Ok(()),
            false => Err(self.unreadable(record)),
        }
    }

    fn forget_all(&mut self) -> Result<()> {
        self.rows.forget_from(0)?;
        self.shapes.forget_from(0);
        self.open.clear();
        self.ready.clear();
        self.bytes = 0;
        Ok(())
    }

    fn mark(&mut self, record: &Record<'_>) -> Result<()> {
        let mark: Mark = self.read(record)?;
        let end = mark.log.end;
        let Some(begun) = &mut self.begun else { return Ok(()) };
        if mark.epoch <= begun.last.epoch {
            return Ok(());
        }
        if end > begun.next {
            return self.missing(end);
        }
        (begun.committed, begun.last, begun.marked) = (begun.committed.max(end), mark, true);
        begun.epochs += 1;
        let ended = self.rows.end()?;
        self.keep_rows(ended, self.next());
        while self.open.front().is_some_and(|item| item.number <= end) {
            self.ready.extend(self.open.pop_front());
        }
        Ok(())
    }

    /// Numbers are missing before this one.
    fn missing(&mut self, number: u64) -> Result<()> {
        let Some(begun) = &self.begun else { return Ok(()) };
        if !begun.marked {
            // It has begun in the middle of an epoch, with a segment that was repeated late: the next one is waited for.
            self.begun = None;
            return self.forget_all();
        }
        Err(trimmed(&self.topic, begun.next, Some(number)))
    }

    fn entry(&mut self, record: &Record<'_>) -> Result<()> {
        let (next, segment) = self.begun.as_ref().map_or((0, 0), |begun| (begun.next, begun.segment));
        let milestone = match record.kind {
            Kind::Milestone => Some(read_milestone(record.data).ok_or_else(|| self.unreadable(record))?),
            _ => None,
        };
        let number = match (record.kind, record.head, milestone) {
            (Kind::Change, Some(head), _) => head.n,
            (Kind::Milestone, _, Some((number, _))) => number,
            _ => Shapes::number(record.data).ok_or_else(|| self.unreadable(record))?,
        };
        if number < next {
            return Ok(());
        }
        if number > next {
            return self.missing(number);
        }
        let wanted = number >= self.wanted;
        match (record.head, milestone) {
            (Some(head), _) if wanted => self.append(&head, record.data)?,
            (Some(_), _) => {}
            (None, Some((_, milestone))) => {
                let entry = Entry::Milestone(milestone, record.by.generation);
                self.keep(wanted, entry, (number, segment))?;
            }
            (None, None) => {
                self.shapes.read(record.data).ok_or_else(|| self.unreadable(record))?;
                let change = self.shapes.get(number).cloned().ok_or_else(|| self.unreadable(record))?;
                self.keep(wanted, Entry::Schema(change), (number, segment))?;
            }
        }
        if let Some(begun) = &mut self.begun {
            begun.next = number + 1;
        }
        Ok(())
    }

    fn append(&mut self, head: &Head, data: &[u8]) -> Result<()> {
        let ended = self.rows.append(&self.shapes, head, data)?;
        self.keep_rows(ended, head.n);
        Ok(())
    }

    /// Keeps an entry that is no change, behind those before it.
    fn keep(&mut self, wanted: bool, entry: Entry, (number, segment): (u64, u64)) -> Result<()> {
        let ended = self.rows.end()?;
        self.keep_rows(ended, number);
        if wanted {
            let item = Item { entry, number: number + 1, at: FromSegment { segment } };
            self.bytes += item.memory();
            self.open.push_back(item);
        }
        Ok(())
    }

    /// Keeps the rows before `number`.
    fn keep_rows(&mut self, joined: Option<Joined>, number: u64) {
        let Some(Joined { batch, goes_on }) = joined else { return };
        let segment = self.begun.as_ref().map_or(0, |begun| begun.segment);
        let item = Item { entry: Entry::Batch { batch, goes_on }, number, at: FromSegment { segment } };
        self.bytes += item.memory();
        self.open.push_back(item);
    }
}

/// A record that no log has written so.
pub(crate) fn foreign(topic: &str, sequence: u64) -> Error {
    Error::new(Code::LogRangeDamaged, format!("a record of topic `{topic}` is none of the log"))
        .fact("its number", sequence.to_string())
        .help("let nobody else write into the log's topic; a new log needs another `topic`")
}

/// What comes next is gone (INV-6).
pub(crate) fn trimmed(topic: &str, number: u64, first: Option<u64>) -> Error {
    let error = Error::new(Code::LogTrimmed, "the log no longer holds this position")
        .fact("topic", topic)
        .fact("position", format!("offset {number}"));
    let error = match first {
        Some(first) => error.fact("the log goes on at", format!("offset {first}")),
        None => error,
    };
    error.help(
        "begin the delivery anew: empty its state directory and its sink; DataHub keeps records for the days that the topic's \
         lifecycle says (at most 7), read or not",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::record::{By, json, milestone};
    use dujiang_core::schema::SchemaChange;
    use dujiang_core::sink::Milestone;
    use dujiang_core::{TableId, TableSchema};
    use dujiang_entries::{Part, write_shape};
    use proptest::prelude::*;
    use std::sync::Arc;

    const LINEAGE: &str = "00aa";

    #[derive(Clone)]
    struct Stood {
        generation: u64,
        kind: Kind,
        data: Vec<u8>,
    }

    /// What an entry tells: its number, and who wrote it or which shape it is.
    type Told = (u64, u64);

    #[derive(Clone)]
    struct Instance {
        generation: u64,
        next: u64,
        last: Mark,
        /// Entries of the open epoch.
        open: Vec<Told>,
        /// Shapes: those that are committed, and all.
        kept: Vec<(u64, Arc<TableSchema>)>,
        shapes: Vec<(u64, Arc<TableSchema>)>,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Entries(u8),
        Shape,
        Mark,
        Segment,
        /// Another instance takes over; the one before may still write.
        Begin,
        /// An instance that was given up does one of the others.
        Old(u8, Box<Step>),
        /// A request of long ago arrives.
        Again(u16),
    }

    struct World {
        shard: Vec<Stood>,
        instances: Vec<Instance>,
        fences: Vec<(u64, u64)>,
        expected: Vec<Told>,
    }

    fn schema(version: u64) -> Arc<TableSchema> {
        let fields = vec![arrow_schema::Field::new("id", arrow_schema::DataType::Int64, false)];
        let first = TableSchema::by_value(TableId::new("shop", "orders"), fields, vec![0]);
        Arc::new(TableSchema { version: version as u32, ..(*first).clone() })
    }

    fn shape(number: u64, after: &Arc<TableSchema>) -> Vec<u8> {
        write_shape(number, &SchemaChange::of_shapes(None, after)).unwrap()
    }

    impl World {
        fn new() -> Self {
            let mut world = Self { shard: Vec::new(), instances: Vec::new(), fences: Vec::new(), expected: Vec::new() };
            world.begin();
            world
        }

        fn put(&mut self, generation: u64, kind: Kind, data: Vec<u8>) {
            self.shard.push(Stood { generation, kind, data });
        }

        fn begin(&mut self) {
            let mut instance = match self.instances.last() {
                Some(before) => before.clone(),
                None => {
                    let (pipeline, lineage, position) = ("p".into(), LINEAGE.into(), String::new());
                    let last = Mark { pipeline, lineage, generation: 0, epoch: 0, position, log: Part::default() };
                    Instance { generation: 0, next: 0, last, open: vec![], kept: vec![], shapes: vec![] }
                }
            };
            instance.generation += 1;
            instance.next = instance.last.log.end;
            instance.open.clear();
            instance.shapes = instance.kept.clone();
            let generation = instance.generation;
            self.fences.push((generation, self.shard.len() as u64));
            self.instances.push(instance);
            self.put(generation, Kind::Fence, b"{}".to_vec());
            self.step(self.instances.len() - 1, &Step::Segment);
        }

        fn step(&mut self, at: usize, step: &Step) {
            let mut instance = self.instances[at].clone();
            let (generation, newest) = (instance.generation, at == self.instances.len() - 1);
            match step {
                Step::Entries(count) => {
                    for _ in 0..*count {
                        self.put(generation, Kind::Milestone, milestone(instance.next, Milestone::CaughtUp).unwrap());
                        instance.open.push((instance.next, generation));
                        instance.next += 1;
                    }
                }
                Step::Shape => {
                    let (number, version) = (instance.next, 1000 + instance.next * 10 + generation);
                    let after = schema(version);
                    self.put(generation, Kind::Shape, shape(number, &after));
                    instance.open.push((number, version));
                    instance.shapes = vec![(number, after)];
                    instance.next += 1;
                }
                Step::Mark if !instance.open.is_empty() => {
                    let (from, end) = (instance.last.log.end, instance.next);
                    let log = Part { from, end, ..Part::default() };
                    instance.last = Mark { generation, epoch: instance.last.epoch + 1, log, ..instance.last };
                    self.put(generation, Kind::Mark, json(&instance.last).unwrap());
                    instance.kept.clone_from(&instance.shapes);
                    let told = std::mem::take(&mut instance.open);
                    if newest {
                        self.expected.extend(told);
                    }
                }
                Step::Segment if instance.open.is_empty() => {
                    let fences = self.fences.iter().copied().filter(|(g, _)| *g <= generation).collect();
                    let segment = Segment { last: instance.last.clone(), previous: None, fences };
                    self.put(generation, Kind::Segment, json(&segment).unwrap());
                    for (number, known) in &instance.shapes {
                        self.put(generation, Kind::Known, shape(*number, known));
                    }
                }
                Step::Begin => return self.begin(),
                Step::Old(which, step) if !newest || at > 0 => {
                    let old = usize::from(*which) % self.instances.len();
                    if old != at {
                        self.step(old, step);
                    }
                    return;
                }
                Step::Again(which) => {
                    let again = self.shard[usize::from(*which) % self.shard.len()].clone();
                    self.shard.push(again);
                }
                _ => {}
            }
            self.instances[at] = instance;
        }

        /// What a reader is told that begins at a record, each with the place behind it; and whether it ends in an error.
        fn read(&self, from: usize, wanted: u64) -> (Vec<(Told, u64, u64)>, Option<Error>) {
            let mut order = Order::new("river", wanted, self.fences.clone());
            let mut told = Vec::new();
            for (sequence, stood) in self.shard.iter().enumerate().skip(from) {
                let by = By { lineage: LINEAGE, generation: stood.generation, segment: None };
                let (sequence, kind, data) = (sequence as u64, stood.kind, stood.data.as_slice());
                let taken = order.take(&Record { sequence, by, kind, head: None, data });
                told.extend(order.take_ready().into_iter().map(|item| {
                    let what = match item.entry {
                        Entry::Milestone(_, generation) => generation,
                        Entry::Schema(change) => u64::from(change.after.version),
                        Entry::Batch { .. } => unreachable!("there are no rows"),
                    };
                    ((item.number - 1, what), item.number, item.at.segment)
                }));
                if let Err(error) = taken {
                    return (told, Some(error));
                }
            }
            (told, None)
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        let plain = prop_oneof![
            4 => (1u8..4).prop_map(Step::Entries),
            1 => Just(Step::Shape),
            4 => Just(Step::Mark),
            2 => Just(Step::Segment),
        ];
        prop_oneof![
            10 => plain.clone(),
            1 => Just(Step::Begin),
            4 => (any::<u8>(), plain).prop_map(|(which, step)| Step::Old(which, Box::new(step))),
            2 => any::<u16>().prop_map(Step::Again),
        ]
    }

    fn of(told: &[(Told, u64, u64)]) -> Vec<Told> {
        told.iter().map(|(told, _, _)| *told).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        /// P03, INV-11: however instances write beside each other, and whatever arrives again or late, every entry that was
        /// committed is handed out once and in order, from the beginning and from any place that a reader has come to. Where the
        /// oldest records have expired, it is a run of them without a gap, or an error.
        #[test]
        fn p03_what_counts_is_read_once_and_in_order(steps in proptest::collection::vec(step(), 1..60), cut in any::<u16>()) {
            let mut world = World::new();
            for step in &steps {
                world.step(world.instances.len() - 1, step);
            }
            let (all, error) = world.read(0, 0);
            prop_assert!(error.is_none(), "{:?}", error);
            prop_assert_eq!(of(&all), world.expected.clone());
            for (index, (_, number, segment)) in all.iter().enumerate() {
                let (rest, error) = world.read(*segment as usize, *number);
                prop_assert!(error.is_none(), "{:?}", error);
                prop_assert_eq!(of(&rest), world.expected[index + 1..].to_vec());
            }
            let (some, error) = world.read(usize::from(cut) % world.shard.len(), 0);
            prop_assert!(error.is_none_or(|error| error.code() == Code::LogTrimmed));
            prop_assert!(some.is_empty() || world.expected.windows(some.len()).any(|run| run == of(&some)));
        }
    }
}
