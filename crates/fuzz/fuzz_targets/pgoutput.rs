#![no_main]

#[path = "../../connectors/postgres/tests/fuzz/targets.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::pgoutput(data);
});
