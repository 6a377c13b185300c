//! What is shown bytes that nobody vouches for. Nothing here may panic, loop or take memory that the bytes do not justify.
//!
//! The tests run these over mutations of the seeds (`tests/fuzz/mod.rs`), `cargo fuzz` for as long as one likes (`crates/fuzz`).

use dujiang_core::{Error, Position};
use dujiang_mysql::decode::event::{Event, EventData, EventFormat};
use dujiang_mysql::decode::file::FileEvents;
use dujiang_mysql::decode::header::{HEADER_LENGTH, event_type};
use dujiang_mysql::decode::{RowsEvent, RowsKind, TableBuilder, TableMap, ZeroDates};
use dujiang_mysql::gtid::{Executed, GtidSet, MariaPosition};
use dujiang_mysql::place::Place;
use dujiang_mysql::shape::{Shape, ShapeColumn};
use dujiang_mysql::stream::{Machine, Step, Tables, Undecided, Unfit};
use dujiang_mysql::{ddl, position};
use dujiang_spool::{Limits, Spool};

/// Shown again at most so often; more is a loop.
const MOST_STEPS: usize = 100_000;

/// A column: name, type, and the character set of a text.
pub type Declared = (&'static str, &'static str, Option<&'static str>);

const fn text(name: &'static str, column_type: &'static str) -> Declared {
    (name, column_type, Some("utf8mb4"))
}

const fn plain(name: &'static str, column_type: &'static str) -> Declared {
    (name, column_type, None)
}

/// `d.t` and `m.t`.
const FEW: [Declared; 7] = [
    plain("id", "int"),
    plain("v", "int"),
    text("s", "varchar(40)"),
    plain("n", "decimal(20,4)"),
    plain("ts", "timestamp(3)"),
    plain("b", "blob"),
    text("e", "enum('a','b')"),
];

/// `every` in both databases: types that both families have.
pub const EVERY: [Declared; 24] = [
    plain("id", "int"),
    plain("i1", "tinyint"),
    plain("i2", "smallint unsigned"),
    plain("i3", "mediumint"),
    plain("i8", "bigint unsigned"),
    plain("f4", "float"),
    plain("f8", "double"),
    plain("n", "decimal(65,30)"),
    plain("bits", "bit(33)"),
    plain("year", "year"),
    plain("day", "date"),
    plain("time", "time(6)"),
    plain("at", "datetime(6)"),
    plain("ts", "timestamp(2)"),
    text("c", "char(5)"),
    ("latin", "varchar(300)", Some("latin1")),
    text("long", "longtext"),
    plain("bin", "binary(4)"),
    plain("vbin", "varbinary(300)"),
    plain("blob4", "longblob"),
    text("label", "enum('a','b','c')"),
    text("labels", "set('x','y','z')"),
    plain("shape", "point"),
    plain("small", "decimal(5,5)"),
];
pub const MYSQL_TOO: [Declared; 2] = [plain("doc", "json"), plain("vec", "vector(3)")];
pub const MARIADB_TOO: [Declared; 4] = [
    text("packed", "varchar(100) /*M!100301 COMPRESSED*/"),
    plain("uuid", "uuid"),
    plain("ip4", "inet4"),
    plain("ip6", "inet6"),
];

fn shape(database: &str, table: &str, columns: &[&[Declared]]) -> Shape {
    let column = |(name, column_type, charset): &Declared| ShapeColumn {
        name: (*name).into(),
        column_type: (*column_type).into(),
        charset: charset.map(Into::into),
        collation: charset.map(|charset| format!("{charset}_bin")),
        nullable: *name != "id",
    };
    Shape {
        database: database.into(),
        table: table.into(),
        version: 1,
        columns: columns.concat().iter().map(column).collect(),
        key: vec![0],
        key_name: None,
        zero_dates: ZeroDates::Error,
        collation: None,
    }
}

fn shapes() -> Vec<Shape> {
    vec![
        shape("d", "t", &[&FEW, &[plain("j", "json")]]),
        shape("d", "every", &[&EVERY, &MYSQL_TOO]),
        shape("m", "t", &[&FEW, &[text("j", "longtext")]]),
        shape("m", "every", &[&EVERY, &MARIADB_TOO]),
    ]
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn put(bytes: &mut [u8], at: usize, number: usize) {
    bytes[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
}

/// The events of a binlog file, each with the length that it has, and without checksums: as if the bytes had been written so.
fn mended(data: &[u8]) -> Vec<Vec<u8>> {
    let (mut events, mut rest) = (Vec::new(), data.get(4..).unwrap_or_default());
    let mut checksums = false;
    while rest.len() >= HEADER_LENGTH {
        let (event, behind) = rest.split_at(word(rest, 9).clamp(HEADER_LENGTH, rest.len()));
        rest = behind;
        let mut event = event.to_vec();
        if event[4] == event_type::FORMAT_DESCRIPTION && event.len() > HEADER_LENGTH + 5 {
            let at = event.len() - 5;
            checksums = event[at] == 1;
            event[at] = 0;
        } else if checksums {
            event.truncate((event.len() - 4).max(HEADER_LENGTH));
        }
        let length = event.len();
        put(&mut event, 9, length);
        events.push(event);
    }
    events
}

fn file(events: &[Vec<u8>]) -> Vec<u8> {
    [b"\xfebin".to_vec(), events.concat()].concat()
}

/// The same file with mended events.
pub fn mended_file(data: &[u8]) -> Vec<u8> {
    file(&mended(data))
}

/// The same file as servers write it that compress: MySQL transactions, MariaDB rows and statements.
pub fn packed_file(data: &[u8]) -> Vec<u8> {
    let (mut format, mut out) = (EventFormat::unknown().without_checksum(), Vec::new());
    // A transaction of MySQL, from behind its GTID.
    let mut open: Option<Vec<Vec<u8>>> = None;
    for event in mended(data) {
        let kind = event[4];
        if let Ok(EventData::FormatDescription(found)) =
            Event::parse(&event, &format).and_then(|event| event.data(&format))
        {
            format = found;
        }
        match &mut open {
            _ if format.is_mariadb() => out.push(packed_event(&event, &format).unwrap_or(event)),
            Some(inner) if kind == event_type::XID => {
                inner.push(event);
                out.push(payload(inner));
                open = None;
            }
            Some(inner) if ![event_type::GTID, event_type::GTID_TAGGED].contains(&kind) => inner.push(event),
            _ => {
                out.extend(open.take().into_iter().flatten());
                if [event_type::GTID, event_type::GTID_TAGGED].contains(&kind) {
                    open = Some(Vec::new());
                }
                out.push(event);
            }
        }
    }
    out.extend(open.into_iter().flatten());
    file(&out)
}

fn event_of(kind: u8, header_of: &[u8], body: &[u8]) -> Vec<u8> {
    let mut event = [&header_of[..HEADER_LENGTH], body].concat();
    event[4] = kind;
    let length = event.len();
    put(&mut event, 9, length);
    event
}

fn payload(events: &[Vec<u8>]) -> Vec<u8> {
    let packed = zstd::encode_all(&events.concat()[..], 1).unwrap();
    let size = (packed.len() as u32).to_le_bytes();
    // Fields: size of the payload, compression; the size as a number of three bytes.
    let body = [&[1, 4, 0xfd][..], &size[..3], &[2, 1, 0, 0], &packed].concat();
    event_of(event_type::TRANSACTION_PAYLOAD, events.last().unwrap(), &body)
}

/// A statement or rows of MariaDB, compressed.
fn packed_event(event: &[u8], format: &EventFormat) -> Option<Vec<u8>> {
    use event_type as t;
    let kind = match event[4] {
        t::QUERY => t::MARIADB_QUERY_COMPRESSED,
        old @ t::WRITE_ROWS_V1..=t::DELETE_ROWS_V1 => old - t::WRITE_ROWS_V1 + t::MARIADB_WRITE_ROWS_COMPRESSED_V1,
        new @ t::WRITE_ROWS..=t::DELETE_ROWS => new - t::WRITE_ROWS + t::MARIADB_WRITE_ROWS_COMPRESSED,
        _ => return None,
    };
    let parsed = Event::parse(event, format).ok()?;
    let end = match parsed.data(format).ok()? {
        EventData::Query(query) => query.statement,
        EventData::Rows(rows) => rows.images,
        _ => return None,
    };
    let mut zlib = flate2::read::ZlibEncoder::new(end, flate2::Compression::fast());
    let mut packed = Vec::new();
    std::io::Read::read_to_end(&mut zlib, &mut packed).unwrap();
    let size = (end.len() as u32).to_be_bytes();
    let body = [&event[HEADER_LENGTH..event.len() - end.len()], &[0x84], &size, &packed].concat();
    Some(event_of(kind, event, &body))
}

/// A binlog file, through the whole stream: `d` as of MySQL, `m` as of MariaDB. Returns the rows and the first error.
pub fn event_stream(data: &[u8]) -> (usize, Option<Error>) {
    let spool = Spool::open("no-such-folder".as_ref(), Limits { bytes: 1 << 20, ..Limits::default() }).unwrap();
    let undecided = Undecided::new(spool, Vec::new(), Vec::new()).unwrap();
    let mut tables = Tables::new(shapes()).unwrap();
    let mut machine = Machine::new(Place::new("bin.1", 4).unwrap(), Executed::None, Vec::new(), undecided);
    let (mut rows, mut failed) = (Vec::new(), None);
    let Ok(mut events) = FileEvents::new(data) else { return (0, None) };
    while let Ok(Some(event)) = events.next_event() {
        for step in 0.. {
            assert!(step < MOST_STEPS, "an event that has no end");
            match machine.event(event, &mut tables, None) {
                Ok(Step::Part(_)) => continue,
                Ok(Step::Ddl(ddl)) => machine.finish_statement(ddl.next.as_ref()),
                Ok(Step::Done | Step::Rows(_) | Step::Wait | Step::Keys(_)) => {}
                // The reader would ask the server.
                Ok(Step::Unfit(unfit)) => {
                    machine.disconnected(&tables);
                    if let Unfit::Mismatch { error, .. } = *unfit {
                        failed = failed.or(Some(error));
                    }
                }
                // The reader would begin anew at the boundary.
                Err(error) => {
                    machine.disconnected(&tables);
                    failed = failed.or(Some(error));
                }
            }
            if !machine.is_inside_event() {
                break;
            }
        }
    }
    failed = tables.flush_all(&mut rows).err().or(failed);
    (rows.iter().map(dujiang_core::ChangeBatch::images).sum(), failed)
}

/// Bytes of the table map of `every` as both families write it, without its header.
const MAPS: [&[u8]; 2] = [include_bytes!("every-mysql.map"), include_bytes!("every-mariadb.map")];

/// Row images of `d.t`, or of `d.every` or `m.every`: the first byte says of which and what kind, the second which columns are
/// present after, the rest are images.
pub fn row_image(data: &[u8]) {
    let [how, present, images @ ..] = data else { return };
    let few = TableMap {
        table_id: 1,
        flags: 0,
        database: "d",
        table: "t",
        types: &[3, 3, 15, 246, 17, 252, 254, 245],
        metadata: &[160, 0, 20, 4, 3, 2, 247, 1, 4],
        nullable: &[0xfe],
        optional: &[],
        old_json: false,
    };
    let (shape, map) = match how >> 2 & 3 {
        1 => (1, TableMap::parse(MAPS[0], 6).unwrap()),
        2 => (3, TableMap::parse(MAPS[1], 6).unwrap()),
        _ => (0, few),
    };
    let decodable = shapes()[shape].decodable().unwrap();
    let mut builder = TableBuilder::new(decodable.schema, decodable.columns).unwrap();
    builder.use_table_map(&map).unwrap();
    let kind = [RowsKind::Insert, RowsKind::Update, RowsKind::Delete][usize::from(how & 3) % 3];
    let columns = map.types.len();
    let (all, mut after) = (vec![0xff; columns.div_ceil(8)], vec![0xff; columns.div_ceil(8)]);
    if how & 0x40 != 0 && kind == RowsKind::Update {
        after[0] = *present;
    }
    let rows = RowsEvent {
        table_id: map.table_id,
        flags: 0,
        kind,
        columns,
        present: &all,
        present_after: &after,
        images,
        partial: how & 0x80 != 0,
    };
    let mut buffer = Vec::new();
    if let Ok(rows) = builder.complete(&rows, &mut buffer)
        && builder.append_rows(&rows).is_ok()
    {
        let _ = builder.finish();
    }
}

/// A JSON document, and, behind its length, differences to it.
pub fn jsonb(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length));
    let (document, differences) = rest.split_at(length.min(rest.len()));
    let counted = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    // All other columns are NULL.
    let before = [&[0x7e, 0, 0, 0, 0][..], &counted(document)].concat();
    row_image(&[&[0, 0xff][..], &before].concat());
    let after = [&[1, 1, 0x7e, 0, 0, 0, 0][..], &counted(differences)].concat();
    row_image(&[&[0x81, 0xff][..], &before, &after].concat());
}

/// A statement of the log.
pub fn ddl_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for mariadb in [false, true] {
        let reading = ddl::Reading { mariadb, version: 101_106, sql_mode: data.len() as u64 % 8 };
        let _ = ddl::effect(&text, "d", &reading);
    }
}

/// Sets of transactions, and positions that hold them.
pub fn gtid_sets(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, second) = text.split_once('|').unwrap_or((&text, ""));
    if let (Ok(a), Ok(b)) = (first.parse::<GtidSet>(), second.parse::<GtidSet>()) {
        let mut union = a.clone();
        union.union(&b);
        assert!(union.covers(&a) && union.covers(&b));
        assert!(a.covers(&a.subtract(&b)));
        assert_eq!(a.to_string().parse::<GtidSet>().as_ref(), Ok(&a));
        a.encode();
    }
    if let Ok(a) = first.parse::<MariaPosition>() {
        assert_eq!(a.to_string().parse::<MariaPosition>().as_ref(), Ok(&a));
    }
    let _ = position::decode(&Position::new(data.to_vec()));
}

/// Events behind a table's rows, as a spool keeps them: what was written is read, whatever is taken back between.
pub fn spool(data: &[u8]) {
    let folder =
        std::env::temp_dir().join(format!("dujiang-fuzz-{}-{:?}", std::process::id(), std::thread::current().id()));
    let limits = Limits { bytes: 1 << 16, list_memory: 64, memory: 128 };
    let mut spool = Spool::open(&folder, limits).unwrap();
    let (mut model, mut marks) = (Vec::<Vec<u8>>::new(), Vec::new());
    for step in data.chunks(HEADER_LENGTH) {
        match step[0] % 4 {
            0 | 1 => {
                if spool.append(b"x", &step[1..]).is_ok() {
                    model.push(step[1..].to_vec());
                }
            }
            2 => marks.push((spool.mark(b"x"), model.len())),
            _ => {
                if let Some((mark, length)) = marks.pop() {
                    spool.roll_back_to(b"x", mark).unwrap();
                    model.truncate(length);
                }
            }
        }
    }
    let mut records = spool.read(b"x").unwrap();
    for expected in &model {
        assert_eq!(records.peek().unwrap(), Some(&expected[..]));
        records.advance();
    }
    assert_eq!(records.peek().unwrap(), None);
}
