//! Bounded fuzzing: mutations of logs and values that real servers wrote (`record.rs`), the same ones for the same seed.

use dujiang_testkit::fuzz;

mod record;
mod targets;

/// Events are mended one by one, so that what is behind a broken one is still read.
#[test]
fn damaged_logs_end_in_errors() {
    for file in fuzz::seeds("event_stream") {
        let (images, failed) = targets::event_stream(&file);
        assert!(images > 8 && failed.is_none(), "the seed is read: {images} images, {failed:?}");
        let (mended, failed) = targets::event_stream(&targets::mended_file(&file));
        assert!(mended == images && failed.is_none(), "{mended} images of {images}, {failed:?}");
    }
    fuzz::run("event_stream", |data| {
        targets::event_stream(&targets::mended_file(data));
    });
}

/// The same where servers compress: what is damaged lies inside, where no checksum of a compressor covers it.
#[test]
fn damaged_logs_end_in_errors_where_they_are_compressed() {
    for file in fuzz::seeds("event_stream") {
        let (images, _) = targets::event_stream(&file);
        let packed = targets::packed_file(&file);
        let (unpacked, failed) = targets::event_stream(&packed);
        assert!(unpacked == images && failed.is_none(), "{unpacked} images of {images}, {failed:?}");
        assert_ne!(packed, targets::mended_file(&file));
    }
    fuzz::run("packed_stream", |data| {
        targets::event_stream(&targets::packed_file(data));
    });
}

#[test]
fn damaged_row_images_end_in_errors() {
    fuzz::run("row_image", targets::row_image);
}

#[test]
fn damaged_documents_end_in_errors() {
    fuzz::run("jsonb", targets::jsonb);
}

#[test]
fn damaged_statements_end_in_answers() {
    fuzz::run("ddl_text", targets::ddl_text);
}

#[test]
fn damaged_sets_end_in_errors() {
    fuzz::run("gtid_sets", targets::gtid_sets);
}

#[test]
fn spools_give_back_what_they_took() {
    fuzz::run("spool", targets::spool);
}
