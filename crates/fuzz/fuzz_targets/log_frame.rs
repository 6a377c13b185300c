#![no_main]

#[path = "../table.rs"]
mod table;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    dujiang_log::walk::walk_frame(&table::table(), data).expect("the table's shape is written");
});
