#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    dujiang_datahub::walk::walk_batch(data);
});
