//! Mutations of the seeds of `crates/fuzz`, the same ones each time.

mod targets;

use dujiang_core::schema::{Ddl, SchemaChange};
use dujiang_entries::write_shape;
use dujiang_testkit::fuzz;

#[test]
fn damaged_entries_end_in_errors() {
    let after = targets::table::table();
    let told = SchemaChange { before: Some(after.clone()), after, statement: "ALTER".to_owned(), ddl: Ddl::default() };
    let message = fuzz::seeds("messages").into_iter().find(|seed| seed.starts_with(b"2{")).unwrap();
    let shape = write_shape(1, &told).unwrap();
    let seed = [&shape, &b"\n{\"n\":1,\"first\":1,\"shape\":1}\n"[..], &message[1..]].concat();
    if fuzz::updates_seeds() {
        fuzz::write_seed("log_entries", "shape", &seed);
    }
    assert_eq!(targets::log_entries(&seed), None);
    for seed in fuzz::seeds("log_entries") {
        assert_eq!(targets::log_entries(&seed), None, "{}", String::from_utf8_lossy(&seed));
    }
    let mut read = 0;
    fuzz::run("log_entries", |data| read += usize::from(targets::log_entries(data).is_none()));
    assert!(read > 50, "{read} were read to their end");
}

#[test]
fn damaged_messages_end_in_errors() {
    let refused: Vec<_> = fuzz::seeds("messages").iter().filter_map(|seed| targets::messages(seed)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let mut read = 0;
    fuzz::run("messages", |data| read += usize::from(targets::messages(data).is_none()));
    assert!(read > 50, "{read} could be read");
}
