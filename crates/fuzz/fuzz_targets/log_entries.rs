#![no_main]

#[path = "../table.rs"]
mod table;

use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_entries::{Head, Rows, Shapes, messages, write_shape};

// A change of a shape, a header, and a message: each ends at a line's end.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
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
    let Some(head) = Head::read(head) else { return };
    let mut rows = Rows::new(messages("fuzz"));
    for _ in 0..2 {
        if rows.append(&shapes, &head, message).is_err() {
            return;
        }
    }
    let batch = rows.end().expect("a batch").expect("two rows").batch;
    assert_eq!(batch.changes(), 2);
});
