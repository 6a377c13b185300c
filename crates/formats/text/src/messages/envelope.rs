//! What a message says beside its rows: kind, table, origin; and where its rows stand.

use super::fault::Fault;
use super::options::MessageFormat;
use super::scan::{Members, Raw, Shape, document};
use dujiang_core::Kind;
use dujiang_core::batch::TimePrecision;

/// A message that has been looked through, but not read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// An update is [`Kind::UpdateAfter`].
    pub(super) kind: Kind,
    pub(super) rows: Placed,
    pub(super) database: Option<Raw>,
    pub(super) table: Option<Raw>,
    /// Debezium's schema of the value.
    pub(super) schema: Option<Raw>,
    pub(super) time: Option<(i64, TimePrecision)>,
    pub(super) transaction: Option<Raw>,
    pub(super) position: Option<Raw>,
    pub(super) ordinal: Option<u64>,
}

/// Where the rows of a message stand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Placed {
    /// Whole images.
    Images { before: Option<Raw>, after: Option<Raw> },
    /// One row, and what of it was otherwise before.
    Row { data: Raw, old: Option<Raw> },
    /// Arrays of the same.
    Rows { data: Raw, old: Option<Raw> },
}

impl Found {
    fn new(rows: Placed) -> Self {
        Self {
            kind: Kind::Insert,
            rows,
            database: None,
            table: None,
            schema: None,
            time: None,
            transaction: None,
            position: None,
            ordinal: None,
        }
    }
}

/// Looks through the JSON of a message; `None` for one that tells of no row and changes none.
pub(super) fn find(format: MessageFormat, text: &str) -> Result<Option<Found>, Fault> {
    let whole = document(text)?;
    if whole.shape != Shape::Object {
        return Err(Fault::kind(whole.start, format!("{} where an object is expected", whole.shape.name())));
    }
    match format {
        MessageFormat::Json | MessageFormat::Csv => {
            Ok(Some(Found::new(Placed::Images { before: None, after: Some(whole) })))
        }
        MessageFormat::DebeziumJson | MessageFormat::DebeziumJsonWithSchema => debezium(text, whole).map(Some),
        MessageFormat::CanalJson => canal(text, whole).map(Some),
        MessageFormat::MaxwellJson => maxwell(text, whole),
    }
}

/// The members of an object by name; the last one of a name is an error, because it would hide the first.
fn fields<const N: usize>(text: &str, object: Raw, names: [&str; N]) -> Result<[Option<Raw>; N], Fault> {
    let mut found = [None; N];
    let mut members = Members::of(text, object);
    let mut scratch = Vec::new();
    while let Some((name, value)) = members.next()? {
        let named = name.text(text, &mut scratch)?;
        let Some(place) = names.iter().position(|wanted| *wanted == named) else { continue };
        if found[place].is_some() {
            return Err(Fault::kind(name.start, format!("`{named}` stands in it twice")));
        }
        found[place] = Some(value);
    }
    Ok(found)
}

fn object(value: Option<Raw>) -> Option<Raw> {
    value.filter(|raw| raw.shape == Shape::Object)
}

fn string(value: Option<Raw>) -> Option<Raw> {
    value.filter(|raw| raw.shape == Shape::String)
}

fn number(text: &str, value: Option<Raw>) -> Option<i64> {
    value.filter(|raw| raw.shape == Shape::Number).and_then(|raw| raw.json(text).parse().ok())
}

fn word(text: &str, value: Option<Raw>, name: &str, at: usize) -> Result<String, Fault> {
    let Some(raw) = string(value) else { return Err(Fault::kind(at, format!("it has no `{name}`"))) };
    let mut scratch = Vec::new();
    raw.text(text, &mut scratch).map(str::to_owned)
}

fn debezium(text: &str, whole: Raw) -> Result<Found, Fault> {
    let [schema, payload] = fields(text, whole, ["schema", "payload"])?;
    let wrapped = object(payload).filter(|_| schema.is_some());
    let body = wrapped.unwrap_or(whole);
    let [before, after, source, op] = fields(text, body, ["before", "after", "source", "op"])?;
    let kind = match word(text, op, "op", body.start)?.as_str() {
        "c" => Kind::Insert,
        "r" => Kind::Read,
        "u" => Kind::UpdateAfter,
        "d" => Kind::Delete,
        other => return Err(Fault::kind(op.map_or(0, |raw| raw.start), format!("its `op` is `{other}`"))),
    };
    let mut found = Found::new(Placed::Images { before: object(before), after: object(after) });
    found.kind = kind;
    found.schema = if wrapped.is_some() { object(schema) } else { None };
    if let Some(source) = object(source) {
        let names = ["db", "schema", "table", "ts_ms", "ts_us", "txId", "position", "ordinal"];
        let [db, schema, table, millis, micros, transaction, position, ordinal] = fields(text, source, names)?;
        // PostgreSQL's tables lie in schemas.
        found.database = string(schema).or(string(db));
        found.table = string(table);
        let micros = number(text, micros).map(|micros| (micros, TimePrecision::Micros));
        let millis = number(text, millis).and_then(|millis| millis.checked_mul(1_000));
        found.time = micros.or(millis.map(|micros| (micros, TimePrecision::Seconds)));
        found.transaction = string(transaction);
        found.position = string(position);
        found.ordinal = number(text, ordinal).and_then(|ordinal| ordinal.try_into().ok());
    }
    Ok(found)
}

fn canal(text: &str, whole: Raw) -> Result<Found, Fault> {
    let names = ["data", "old", "type", "database", "table", "es", "isDdl"];
    let [data, old, kind, database, table, millis, ddl] = fields(text, whole, names)?;
    let kind_of = word(text, kind, "type", whole.start)?;
    let kind = match kind_of.as_str() {
        _ if ddl.is_some_and(|raw| raw.shape == Shape::True) => None,
        "INSERT" => Some(Kind::Insert),
        "UPDATE" => Some(Kind::UpdateAfter),
        "DELETE" => Some(Kind::Delete),
        _ => None,
    };
    let Some(kind) = kind else { return Err(Fault::kind(whole.start, format!("its `type` is `{kind_of}`"))) };
    let array = |value: Option<Raw>| value.filter(|raw| raw.shape == Shape::Array);
    let Some(data) = array(data) else { return Err(Fault::kind(whole.start, "it has no `data`")) };
    let mut found = Found::new(Placed::Rows { data, old: array(old) });
    found.kind = kind;
    found.database = string(database);
    found.table = string(table);
    let micros = number(text, millis).and_then(|millis| millis.checked_mul(1_000));
    found.time = micros.map(|micros| (micros, TimePrecision::Seconds));
    Ok(found)
}

fn maxwell(text: &str, whole: Raw) -> Result<Option<Found>, Fault> {
    let names = ["data", "old", "type", "database", "table", "ts", "gtid", "position", "xoffset"];
    let [data, old, kind, database, table, seconds, transaction, position, ordinal] = fields(text, whole, names)?;
    let kind_of = word(text, kind, "type", whole.start)?;
    let kind = match kind_of.as_str() {
        "insert" => Kind::Insert,
        "bootstrap-insert" => Kind::Read,
        "update" => Kind::UpdateAfter,
        "delete" => Kind::Delete,
        // The marks around a snapshot tell of no row.
        "bootstrap-start" | "bootstrap-complete" => return Ok(None),
        _ => return Err(Fault::kind(whole.start, format!("its `type` is `{kind_of}`"))),
    };
    let Some(data) = object(data) else { return Err(Fault::kind(whole.start, "it has no `data`")) };
    let mut found = Found::new(Placed::Row { data, old: object(old) });
    found.kind = kind;
    found.database = string(database);
    found.table = string(table);
    let micros = number(text, seconds).and_then(|seconds| seconds.checked_mul(1_000_000));
    found.time = micros.map(|micros| (micros, TimePrecision::Seconds));
    found.transaction = string(transaction);
    found.position = string(position);
    found.ordinal = number(text, ordinal).and_then(|ordinal| ordinal.try_into().ok());
    Ok(Some(found))
}
