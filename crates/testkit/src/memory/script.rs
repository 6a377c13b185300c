//! What a source has to tell: changes made so that loss, repetition and reordering show.

use super::chaos::Rng;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::schema::KeyEquality;
use dujiang_core::{ChangeBatch, Kind, Origin, Origins, TableId, TableSchema};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Per table, the images of a log or of a script in order: (transaction, ordinal, kind).
pub type Images = BTreeMap<TableId, Vec<(String, u64, Kind)>>;

/// Tables of a script. The last one has text keys that only the "server" can compare: upper and lower case are equal.
pub const TABLES: usize = 3;

/// What is to become of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// It arrives.
    Good = 0,
    /// The sink cannot carry it.
    BadAtSink = 1,
    /// A transform drops it on purpose.
    Filtered = 2,
    /// A transform fails on it.
    BadInTransform = 3,
}

/// One change. Every key has a version that rises by one with each change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Index of the table.
    pub table: usize,
    /// Insert, update-after (standing for both images), delete or read.
    pub kind: Kind,
    /// The key before; for inserts and reads, the key.
    pub key: String,
    /// The key after an update, when it differs.
    pub new_key: Option<String>,
    /// The version after the change; for deletes, before it.
    pub version: i64,
    /// What is to become of it.
    pub flag: Flag,
    /// Its transaction.
    pub transaction: u64,
    /// Its number within (transaction, table).
    pub ordinal: u64,
}

/// One step of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A change.
    Change(Change),
    /// The table of this index gets a column.
    Alter(usize),
    /// The snapshot is over.
    SnapshotDone,
}

/// What a sink shows of a change of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    /// `c`, `u`, `d` or `r`.
    pub op: &'static str,
    /// The key's version after it; before it for `d`.
    pub version: i64,
}

/// How a script is made.
#[derive(Debug, Clone)]
pub struct ScriptOptions {
    /// Number of steps.
    pub steps: usize,
    /// Keys per table.
    pub keys: u64,
    /// Changes that are not good, per mille.
    pub odd: u64,
    /// Changes of shape, per mille.
    pub alters: u64,
    /// Whether it begins with a snapshot.
    pub snapshot: bool,
    /// Whether all tables but the last have their keys in common, and become the first at the sink.
    pub merged: bool,
}

impl ScriptOptions {
    /// Tables become one at the sink; their shapes stay as they are.
    pub fn merge(&mut self) {
        (self.merged, self.alters) = (true, 0);
    }
}

/// The steps of a source.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// In order.
    pub steps: Vec<Step>,
    /// As in [`ScriptOptions`].
    pub merged: bool,
}

/// The table at the sink.
fn at_sink(table: usize, merged: bool) -> usize {
    if merged && table != TABLES - 1 { 0 } else { table }
}

impl Script {
    /// Draws a script.
    pub fn generate(rng: &mut Rng, options: &ScriptOptions) -> Self {
        let (rows, ordinals) = (BTreeMap::new(), BTreeMap::new());
        let mut maker = Maker { rows, ordinals, transaction: 0, merged: options.merged };
        let mut steps = Vec::with_capacity(options.steps + 1);
        if options.snapshot {
            steps.extend((0..options.keys).flat_map(|key| (0..TABLES).map(move |table| (table, key))).map(
                |(table, key)| Step::Change(maker.change(table, Kind::Read, name(table, key, rng), None, Flag::Good)),
            ));
            steps.push(Step::SnapshotDone);
        }
        while steps.len() < options.steps {
            let table = rng.below(TABLES as u64) as usize;
            if rng.chance(options.alters) {
                steps.push(Step::Alter(table));
                continue;
            }
            if rng.chance(250) {
                maker.transaction += 1;
                maker.ordinals.clear();
            }
            let key = name(table, rng.below(options.keys), rng);
            let flag = if rng.chance(options.odd) {
                [Flag::BadAtSink, Flag::Filtered, Flag::BadInTransform][rng.below(3) as usize]
            } else {
                Flag::Good
            };
            steps.push(Step::Change(maker.draw(rng, table, key, options.keys, flag)));
        }
        Self { steps, merged: options.merged }
    }

    /// What the sink has to show in the end; a change of a key is a delete and an insert.
    pub fn expected(&self) -> super::Effects {
        let mut effects = super::Effects::new();
        for change in self.changes().filter(|c| c.flag == Flag::Good) {
            for (key, effect) in effects_of(change) {
                effects.entry((table_id(at_sink(change.table, self.merged)), key)).or_default().push(effect);
            }
        }
        effects
    }

    /// What the dead letters have to show in the end, sorted: (table, transaction, ordinal).
    pub fn expected_letters(&self) -> Vec<(String, String, u64)> {
        let bad = |c: &&Change| matches!(c.flag, Flag::BadAtSink | Flag::BadInTransform);
        let mut letters: Vec<_> = self
            .changes()
            .filter(bad)
            .flat_map(|c| {
                // A bad change of key has become two changes by the time it reaches the sink.
                let times = if c.new_key.is_some() && c.flag == Flag::BadAtSink { 2 } else { 1 };
                let table = table_id(c.table).to_string();
                std::iter::repeat_n((table, transaction_name(c), c.ordinal), times)
            })
            .collect();
        letters.sort();
        letters
    }

    /// The images of all changes as a log has to hold them.
    pub fn images(&self) -> Images {
        let mut images = Images::new();
        for change in self.changes() {
            let rows = images.entry(table_id(change.table)).or_default();
            if change.kind == Kind::UpdateAfter {
                rows.push((transaction_name(change), change.ordinal, Kind::UpdateBefore));
            }
            rows.push((transaction_name(change), change.ordinal, change.kind));
        }
        images
    }

    /// All changes in order.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps.iter().filter_map(|step| match step {
            Step::Change(change) => Some(change),
            _ => None,
        })
    }

    /// Changes of shape of a table among the first `upto` steps.
    pub(crate) fn alters_before(&self, table: usize, upto: usize) -> u32 {
        self.steps[..upto].iter().filter(|step| **step == Step::Alter(table)).count() as u32
    }
}

/// The shape of a table after `alters` changes of it.
pub fn schema_at(table: usize, alters: u32) -> Arc<TableSchema> {
    let text = table == TABLES - 1;
    let key = if text { DataType::Utf8 } else { DataType::Int64 };
    let mut fields = vec![
        Field::new("key", key, false),
        Field::new("version", DataType::Int64, false),
        Field::new("flag", DataType::Int64, false),
    ];
    fields.extend((1..=alters).map(|n| Field::new(format!("c{n}"), DataType::Int64, true)));
    Arc::new(TableSchema {
        id: table_id(table),
        version: alters + 1,
        arrow: Arc::new(Schema::new(fields)),
        key: vec![0],
        key_equality: if text { KeyEquality::ServerOnly } else { KeyEquality::ByValue },
    })
}

pub(crate) fn table_id(table: usize) -> TableId {
    TableId::new("sim", format!("t{table}"))
}

/// A batch of these changes of one table, each with the step it stands at.
pub(crate) fn batch(schema: &Arc<TableSchema>, changes: &[(usize, &Change)]) -> ChangeBatch {
    let (mut keys, mut versions, mut flags, mut kinds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut origins = Origins::default();
    for &(step, change) in changes {
        if change.kind == Kind::UpdateAfter {
            keys.push(change.key.clone());
            versions.push(change.version - 1);
            flags.push(change.flag as i64);
            kinds.push(Kind::UpdateBefore);
        }
        keys.push(change.new_key.as_ref().unwrap_or(&change.key).clone());
        versions.push(change.version);
        flags.push(change.flag as i64);
        kinds.push(change.kind);
        let (transaction, position) = (transaction_name(change), step.to_string());
        origins.push_in_turn(
            kinds.len(),
            Origin {
                transaction: &transaction,
                position: &position,
                commit_micros: 1_000_000 * change.transaction as i64,
                precision: dujiang_core::batch::TimePrecision::Seconds,
                first_ordinal: change.ordinal,
            },
            step as u64,
        );
    }
    let keys: ArrayRef = match schema.arrow.field(0).data_type() {
        DataType::Utf8 => Arc::new(StringArray::from(keys)),
        _ => {
            Arc::new(Int64Array::from_iter_values(keys.iter().map(|k| k.parse::<i64>().expect("invariant: a number"))))
        }
    };
    let mut columns: Vec<ArrayRef> =
        vec![keys, Arc::new(Int64Array::from(versions.clone())), Arc::new(Int64Array::from(flags))];
    while columns.len() < schema.arrow.fields().len() {
        columns.push(Arc::new(Int64Array::from(versions.clone())));
    }
    let rows = RecordBatch::try_new(schema.arrow.clone(), columns).expect("invariant: columns fit the schema");
    ChangeBatch::new(schema.clone(), rows, kinds, origins).expect("invariant: the batch is consistent")
}

pub(crate) fn transaction_name(change: &Change) -> String {
    format!("tx{}", change.transaction)
}

/// What a sink shows of one good change, by key as the server compares it.
fn effects_of(change: &Change) -> Vec<(String, Effect)> {
    let key = change.key.to_lowercase();
    let Some(new_key) = &change.new_key else {
        return vec![(key, Effect { op: change.kind.letter(), version: change.version })];
    };
    vec![
        (key, Effect { op: "d", version: change.version - 1 }),
        (new_key.to_lowercase(), Effect { op: "c", version: change.version }),
    ]
}

/// A key's name; in the table of text keys its case is drawn.
fn name(table: usize, key: u64, rng: &mut Rng) -> String {
    if table != TABLES - 1 {
        return key.to_string();
    }
    let name = format!("k{key}");
    if rng.chance(500) { name.to_uppercase() } else { name }
}

/// Remembers which rows exist, so that changes make sense.
struct Maker {
    /// (table at the sink, key as the server compares it) -> version, and whether the row exists.
    rows: BTreeMap<(usize, String), (i64, bool)>,
    ordinals: BTreeMap<usize, u64>,
    transaction: u64,
    merged: bool,
}

impl Maker {
    fn draw(&mut self, rng: &mut Rng, table: usize, key: String, keys: u64, flag: Flag) -> Change {
        let exists = self.rows.get(&self.row(table, &key)).is_some_and(|row| row.1);
        if !exists {
            return self.change(table, Kind::Insert, key, None, flag);
        }
        if rng.chance(150) {
            return self.change(table, Kind::Delete, key, None, flag);
        }
        let new_key = rng.chance(150).then(|| name(table, rng.below(keys), rng));
        let taken = |k: &String| self.rows.get(&self.row(table, k)).is_some_and(|row| row.1);
        let new_key = new_key.filter(|k| !taken(k));
        self.change(table, Kind::UpdateAfter, key, new_key, flag)
    }

    /// What a row goes by.
    fn row(&self, table: usize, key: &str) -> (usize, String) {
        (at_sink(table, self.merged), key.to_lowercase())
    }

    fn change(&mut self, table: usize, kind: Kind, key: String, new_key: Option<String>, flag: Flag) -> Change {
        let ordinal = self.ordinals.entry(table).or_default();
        let this = *ordinal;
        *ordinal += 1;
        let place = self.row(table, &key);
        let row = self.rows.entry(place).or_default();
        let version = if kind == Kind::Delete { row.0 } else { row.0 + 1 };
        *row = (version, kind != Kind::Delete);
        if let Some(new_key) = &new_key {
            row.1 = false;
            self.rows.insert(self.row(table, new_key), (version, true));
        }
        Change { table, kind, key, new_key, version, flag, transaction: self.transaction, ordinal: this }
    }
}
