//! What is shown bytes that nobody vouches for. Nothing here may panic, loop or take memory that the bytes do not justify.
//!
//! The tests run these over mutations of the corpora (`tests/fuzz/mod.rs`), `cargo fuzz` for as long as one likes (`fuzz/`).

use dujiang_core::{Error, Position};
use dujiang_mysql::decode::file::FileEvents;
use dujiang_mysql::decode::header::HEADER_LENGTH;
use dujiang_mysql::decode::{RowsEvent, RowsKind, TableBuilder, TableMap, ZeroDates};
use dujiang_mysql::gtid::{Executed, GtidSet, MariaPosition};
use dujiang_mysql::place::Place;
use dujiang_mysql::shape::{Shape, ShapeColumn};
use dujiang_mysql::stream::{Machine, Step, Tables, Undecided, Unfit};
use dujiang_mysql::{ddl, position};
use dujiang_spool::{Limits, Spool};

/// Shown again at most so often; more is a loop.
const MOST_STEPS: usize = 100_000;

fn shape(database: &str, json: &str) -> Shape {
    let column = |name: &str, column_type: &str, text: bool| ShapeColumn {
        name: name.into(),
        column_type: column_type.into(),
        charset: text.then(|| "utf8mb4".into()),
        collation: text.then(|| "utf8mb4_bin".into()),
        nullable: name != "id",
    };
    Shape {
        database: database.into(),
        table: "t".into(),
        version: 1,
        columns: vec![
            column("id", "int", false),
            column("v", "int", false),
            column("s", "varchar(40)", true),
            column("n", "decimal(20,4)", false),
            column("ts", "timestamp(3)", false),
            column("b", "blob", false),
            column("e", "enum('a','b')", true),
            column("j", json, json != "json"),
        ],
        key: vec![0],
        key_name: None,
        zero_dates: ZeroDates::Error,
        collation: None,
    }
}

/// A binlog file, through the whole stream: `d.t` as of MySQL, `m.t` as of MariaDB. Returns the rows
/// and the first error.
pub fn event_stream(data: &[u8]) -> (usize, Option<Error>) {
    let spool = Spool::open("no-such-folder".as_ref(), Limits { bytes: 1 << 20, ..Limits::default() }).unwrap();
    let undecided = Undecided::new(spool, Vec::new(), Vec::new()).unwrap();
    let mut tables = Tables::new(vec![shape("d", "json"), shape("m", "longtext")]).unwrap();
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

/// Row images of `d.t`: the first byte says what kind, the second which columns are present after, the rest are images.
pub fn row_image(data: &[u8]) {
    let [how, present, images @ ..] = data else { return };
    let shape = shape("d", "json");
    let decodable = shape.decodable().unwrap();
    let mut builder = TableBuilder::new(decodable.schema, decodable.columns).unwrap();
    let map = TableMap {
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
    builder.use_table_map(&map).unwrap();
    let kind = [RowsKind::Insert, RowsKind::Update, RowsKind::Delete][usize::from(how % 3)];
    let present = if how & 0x40 != 0 { *present } else { 0xff };
    let rows = RowsEvent {
        table_id: 1,
        flags: 0,
        kind,
        columns: 8,
        present: &[0xff],
        present_after: if kind == RowsKind::Update { std::slice::from_ref(&present) } else { &[0xff] },
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
