//! Events that stop the stream, and those that must not; from bytes, behind a real server's format description.

use crate::support::reads_as_written;
use dujiang_core::{Code, Error, Result};
use dujiang_mysql::decode::ZeroDates;
use dujiang_mysql::decode::file::FileEvents;
use dujiang_mysql::gtid::Executed;
use dujiang_mysql::place::Place;
use dujiang_mysql::shape::{Shape, ShapeColumn};
use dujiang_mysql::stream::{Machine, Step, Tables, Undecided};
use dujiang_spool::{Limits, Spool};

const LOG: &[u8] = include_bytes!("../../../../fuzz/seeds/event_stream/mysql-9");

struct Stream {
    machine: Machine,
    tables: Tables,
    at: u32,
}

impl Stream {
    fn new() -> Self {
        let column = |name: &str| ShapeColumn {
            name: name.into(),
            column_type: "int".into(),
            charset: None,
            collation: None,
            nullable: false,
        };
        let shape = Shape {
            database: "d".into(),
            table: "t".into(),
            version: 1,
            columns: vec![column("id")],
            key: vec![0],
            key_name: None,
            zero_dates: ZeroDates::Error,
            collation: None,
        };
        let spool = Spool::open("no-such-folder".as_ref(), Limits::default()).unwrap();
        let undecided = Undecided::new(spool, Vec::new(), Vec::new()).unwrap();
        let mut stream = Self {
            machine: Machine::new(Place::new("bin.000007", 4).unwrap(), Executed::None, Vec::new(), undecided),
            tables: Tables::new(vec![shape]).unwrap(),
            at: 4,
        };
        let description = FileEvents::new(LOG).unwrap().next_event().unwrap().unwrap();
        stream.machine.event(description, &mut stream.tables, None).unwrap();
        stream.at += description.len() as u32;
        stream
    }

    fn event(&mut self, kind: u8, flags: u16, body: &[u8]) -> Result<Step> {
        let size = 19 + body.len() as u32;
        self.at = self.at.wrapping_add(size);
        let mut bytes = vec![0, 0, 0, 0, kind, 1, 0, 0, 0];
        bytes.extend(size.to_le_bytes());
        bytes.extend(self.at.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(body);
        self.machine.event(&bytes, &mut self.tables, None)
    }
}

fn position(error: &Error) -> &str {
    &error.facts().iter().find(|(name, _)| *name == "position").unwrap().1
}

/// F33: the server says that its log has a hole.
#[test]
fn f33_an_incident_halts() {
    let mut stream = Stream::new();
    let error = stream.event(26, 0, b"\x01\0\x05holes").unwrap_err();
    assert_eq!(error.code(), Code::SourceIncident);
    assert!(error.message().contains("holes") && position(&error).starts_with("bin.000007:"), "{error:?}");
    reads_as_written(&error, &[]);
}

/// F16: an event of a kind that a later server writes is never passed over, unless the server says that it may be.
#[test]
fn f16_unknown_events_halt_with_their_place_unless_they_may_be_passed_over() {
    let mut stream = Stream::new();
    assert!(matches!(stream.event(200, 0x80, b"anything").unwrap(), Step::Done));
    let before = stream.at;
    let error = stream.event(200, 0, b"anything").unwrap_err();
    assert_eq!(error.code(), Code::UnknownEvent);
    assert_eq!(position(&error), format!("bin.000007:{before}"));
    assert!(error.message().contains("200"), "{error:?}");
    reads_as_written(&error, &[]);
}

/// A table map without rows, as a cascade leaves it on some servers, changes nothing; rows without a table map are damage.
#[test]
fn table_maps_without_rows_are_nothing() {
    let mut stream = Stream::new();
    let query = |text: &str| [&[0; 8][..], &[1, 0, 0, 0, 0], b"d\0", text.as_bytes()].concat();
    stream.event(2, 0, &query("BEGIN")).unwrap();
    let map = [7, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 1, 3, 0, 0];
    stream.event(19, 0, &map).unwrap();
    // Ends a statement without rows (DUMMY_TABLE_ID).
    stream.event(30, 0, &[0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 2, 0, 1, 0xff]).unwrap();
    stream.event(16, 0, &[1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert!(!stream.tables.is_dirty());
    assert_eq!(stream.machine.boundary().offset, u64::from(stream.at));
    stream.event(2, 0, &query("BEGIN")).unwrap();
    stream.event(19, 0, &map).unwrap();
    let rows = [7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 0xff, 0, 5, 0, 0, 0];
    assert!(matches!(stream.event(30, 0, &rows).unwrap(), Step::Rows(0)));
    let unknown = [&[8][..], &rows[1..]].concat();
    assert_eq!(stream.event(30, 0, &unknown).unwrap_err().code(), Code::UnknownEvent);
}

/// F37: offsets past 4 GB, of which an event carries the low 32 bits only.
#[test]
fn f37_places_go_past_four_gigabytes() {
    let mut stream = Stream::new();
    stream.at = u32::MAX - 30;
    let heartbeat = |offset: u64| {
        let mut body = vec![1, 10];
        body.extend_from_slice(b"bin.000007");
        body.extend([2, 9, 0xfe]);
        body.extend(offset.to_le_bytes());
        body.push(0);
        body
    };
    // A sign of life (version 2) has 64 bits.
    stream.event(41, 0, &heartbeat(u64::from(u32::MAX - 30))).unwrap();
    stream.at = u32::MAX - 30;
    let size = 19 + 8;
    stream.event(16, 0, &[0; 8]).unwrap();
    assert_eq!(stream.machine.boundary().offset, u64::from(u32::MAX - 30) + size);
    stream.at = stream.machine.boundary().offset as u32;
    let low = (stream.machine.boundary().offset + size) as u32;
    let mut bytes = vec![0, 0, 0, 0, 16, 1, 0, 0, 0];
    bytes.extend((size as u32).to_le_bytes());
    bytes.extend(low.to_le_bytes());
    bytes.extend([0; 10]);
    stream.machine.event(&bytes, &mut stream.tables, None).unwrap();
    assert_eq!(stream.machine.boundary().offset, u64::from(u32::MAX - 30) + 2 * size);
    assert!(stream.machine.boundary().offset > u64::from(u32::MAX));
}
