#![no_main]

#[path = "../../connectors/mysql/tests/fuzz/targets.rs"]
#[allow(dead_code, reason = "each target uses one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::event_stream(data);
    targets::event_stream(&targets::mended_file(data));
});
