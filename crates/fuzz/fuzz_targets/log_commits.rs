#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    dujiang_log::walk::walk_commits(data);
});
