//! What is shown bytes that nobody vouches for. Nothing here may panic, loop or take memory that the bytes do not justify.

#[path = "../../../fuzz/table.rs"]
pub mod table;

use dujiang_core::Origin;
use dujiang_core::batch::TimePrecision;
use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_entries::{Head, Rows, Shapes, write_shape};
use dujiang_format_text::messages::{Decoder, MessageFormat, MessageOptions, table_of};

/// A change of a shape, a header, and a message: each ends at a line's end. Why it cannot be read to its end.
pub fn log_entries(data: &[u8]) -> Option<String> {
    let mut parts = data.splitn(3, |&byte| byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (shape, head, message) = (part(), part(), part());
    let after = table::table();
    let told = SchemaChange { before: None, after, statement: String::new(), ddl: Ddl::default() };
    let mut shapes = Shapes::default();
    assert_eq!(shapes.read(&write_shape(0, &told).expect("a shape")), Some(0));
    if let Some(number) = shapes.read(shape) {
        let change = shapes.get(number).expect("it has been read").clone();
        let again = write_shape(number, &change).expect("what is read can be written");
        assert_eq!(shapes.read(&again), Some(number));
        assert_eq!(shapes.get(number), Some(&change));
    }
    let Some(head) = Head::read(head) else { return Some("the header".to_owned()) };
    let mut rows = Rows::new(dujiang_entries::messages("fuzz"));
    for _ in 0..2 {
        if let Err(error) = rows.append(&shapes, &head, message) {
            return Some(format!("{error:?}"));
        }
    }
    let batch = rows.end().expect("a batch").expect("two rows").batch;
    assert_eq!(batch.changes(), 2);
    None
}

/// The first byte chooses the format. A message is read or refused as a whole, and the next one is read as if it were not there.
/// Why it cannot be read.
pub fn messages(data: &[u8]) -> Option<String> {
    let [format, message @ ..] = data else { return Some("no bytes".to_owned()) };
    let format = MessageFormat::ALL[usize::from(*format) % MessageFormat::ALL.len()];
    let table = table::table();
    let mut decoder = Decoder::new(&table, &MessageOptions::new(format, "fuzz")).expect("a decoder");
    let mut rows = decoder.rows();
    let (precision, commit_micros) = (TimePrecision::Micros, 0);
    let nowhere = Origin { transaction: "", position: "", commit_micros, precision, first_ordinal: 0 };
    let (mut images, mut failed) = (0, None);
    for turn in 1..=2 {
        match decoder.decode(Some(message), &nowhere, &mut rows) {
            Ok(_) if turn == 1 => images = rows.len(),
            Ok(_) => {}
            Err(error) => failed = Some(format!("{format:?}: {error:?}")),
        }
        assert_eq!(rows.len(), turn * images);
    }
    assert_eq!(rows.take().expect("a batch").images(), 2 * images);
    let _ = table_of(format, message);
    failed
}
