//! Bounded fuzzing: mutations of streams that real servers sent (`record.rs`), the same ones for the same seed.

use dujiang_testkit::fuzz;

mod record;
mod targets;

#[test]
fn damaged_streams_end_in_errors() {
    for stream in fuzz::seeds("pgoutput") {
        let outcome = targets::pgoutput(&stream);
        assert!(outcome.images >= 10 && outcome.failed.is_none(), "{} images, {:?}", outcome.images, outcome.failed);
    }
    let (mut messages, mut images) = (0, 0);
    fuzz::run("pgoutput", |data| {
        let outcome = targets::pgoutput(data);
        (messages, images) = (messages + outcome.messages, images + outcome.images);
    });
    println!("{messages} messages were understood, {images} images");
    assert!(messages > 10_000 && images > 1_000, "{messages} messages were understood, {images} images");
}
