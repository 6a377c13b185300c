//! Looks at all that the service's answers say, however they are damaged: for fuzzing.
//!
//! Checksums, lengths and compression keep nearly every damage from being looked at. Here they are made to match first, as if the
//! bytes had been written so.

use super::batch::{Batch, Form, HEAD, MAGIC, ROW_HEAD, fixed, write_batch};
use super::cursors::json_answer;
use super::packing::Compression;
use super::rows::{Pulled, Row};
use super::wire::write_bytes;

const FORMS: [Form; 5] = [Form::Whole, Form::Single, Form::Double, Form::Flag, Form::Text];
/// No batch claims to have more bytes of rows, so that a decompressor may believe it.
const MOST: u32 = 1 << 20;

/// A batch. Its first byte says what the rest is: rows, which are packed here, or what stands in a batch behind the magic. How many
/// values could be read.
pub fn walk_batch(bytes: &[u8]) -> usize {
    let [how, rest @ ..] = bytes else { return 0 };
    let Some(bytes) = whole(*how, rest) else { return 0 };
    let Ok(batch) = Batch::read(&bytes) else { return 0 };
    let mut seen = 0;
    for row in batch.rows() {
        for column in 0..row.columns {
            seen += FORMS.iter().filter(|form| row.cell(column, **form).is_some()).count();
        }
        let _damaged = row.attributes(|name, value| seen += name.len() + value.len());
    }
    let (mut entry, mut answer) = (Vec::new(), Vec::new());
    write_bytes(6, &bytes, &mut entry);
    write_bytes(4, &entry, &mut answer);
    show(Pulled::batches(&answer).ok(), how >> 2);
    seen
}

/// An answer with records: the first byte says in which protocol. How many records could be read.
pub fn walk_answer(bytes: &[u8]) -> usize {
    let [how, message @ ..] = bytes else { return 0 };
    let pulled = match how % 3 {
        0 => Pulled::protobuf(message.to_vec().into()),
        1 => Pulled::batches(message).ok(),
        _ => json_answer(message).ok(),
    };
    show(pulled, how / 3)
}

/// Shows all records; no more and no fewer than were counted, unless one of them is damaged.
fn show(pulled: Option<Pulled>, form: u8) -> usize {
    let Some(mut pulled) = pulled else { return 0 };
    pulled.forms = (0..pulled.width).map(|column| FORMS[(usize::from(form) + column) % 5]).collect();
    let (mut shown, mut last, mut width, mut row) = (0, -1, 0, Row::default());
    let whole = pulled.each(&mut row, |row| {
        (shown, last, width) = (shown + 1, row.sequence, width.max(row.values().len()));
        let _ = row.attribute("k");
        true
    });
    if whole.is_some() {
        assert_eq!((shown, width), (pulled.records, pulled.width));
        assert!(shown == 0 || last == pulled.last);
    }
    assert!(pulled.memory() >= shown);
    shown
}

/// A batch with lengths and checksums that match.
fn whole(how: u8, rest: &[u8]) -> Option<Vec<u8>> {
    let compression = match how & 3 {
        0 => Compression::None,
        1 => Compression::Deflate,
        2 => Compression::Lz4,
        _ => {
            let mut bytes = [&MAGIC[..], rest].concat();
            mend(&mut bytes);
            return Some(bytes);
        }
    };
    let mut rows = rest.to_vec();
    let count = mend_rows(&mut rows);
    write_batch(&rows, count, compression).ok()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// The head of a batch: its version, a size that may be believed, its length and checksum.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < HEAD {
        return;
    }
    let length = bytes.len() as u32;
    let size = word(bytes, 12).min(MOST);
    let checksum = crc32c::crc32c(&bytes[HEAD..]);
    for (at, value) in [(4, 0), (8, length), (12, size), (16, checksum)] {
        put(bytes, at, value);
    }
}

/// Row by row: lengths that fit, and columns and attributes that lie in it. How many there are; bytes that are none are cut off.
fn mend_rows(bytes: &mut Vec<u8>) -> usize {
    let (mut at, mut count) = (0, 0);
    while bytes.len() >= at + ROW_HEAD + 4 {
        let row = &mut bytes[at..];
        let left = row.len() as u32;
        let length = word(row, 8).clamp((ROW_HEAD + 4) as u32, left);
        let columns = word(row, ROW_HEAD).min((length - 20) / 9);
        let columns = (0..=columns).rev().find(|columns| ROW_HEAD + fixed(*columns as usize) <= length as usize);
        let least = ROW_HEAD + fixed(columns.unwrap_or(0) as usize);
        let attributes = word(row, 12).clamp(least as u32, length);
        for (at, value) in [(0, 0), (8, length), (12, attributes), (ROW_HEAD, columns.unwrap_or(0))] {
            put(row, at, value);
        }
        (at, count) = (at + length as usize, count + 1);
    }
    bytes.truncate(at);
    count
}

#[cfg(test)]
mod tests {
    use super::super::batch::RowWriter;
    use super::super::wire::write_attributes;
    use super::*;
    use dujiang_testkit::fuzz;

    /// Seeds: target, name, what our own encoder writes.
    fn written() -> Vec<(&'static str, &'static str, Vec<u8>)> {
        let mut rows = Vec::new();
        // In the order in which `show` takes forms.
        let values: [(Form, Option<&[u8]>); 10] = [
            (Form::Whole, Some(b"-77")),
            (Form::Single, Some(b"1.5")),
            (Form::Double, Some(b"-2.25")),
            (Form::Flag, Some(b"true")),
            (Form::Text, Some(b"short")),
            (Form::Whole, None),
            (Form::Single, Some(b"-0")),
            (Form::Double, Some(b"1e300")),
            (Form::Flag, Some(b"false")),
            (Form::Text, Some("a longer text, \u{e9}".as_bytes())),
        ];
        for attributes in [&[][..], &[(&b"k"[..], &b"v"[..]), (b"dujiang_id", b"1")]] {
            let mut row = RowWriter::new(values.len(), &mut rows);
            for (form, value) in values {
                row.value(form, value);
            }
            row.end(attributes.iter().copied());
        }
        // More columns than fit into one word of bits.
        let mut wide = Vec::new();
        let mut row = RowWriter::new(70, &mut wide);
        for column in 0..70 {
            row.value(Form::Text, (column % 3 > 0).then_some(b"12345678"));
        }
        row.end(std::iter::empty());
        let mut seeds = vec![
            ("datahub_batch", "rows", [&[0], &rows[..]].concat()),
            ("datahub_batch", "rows-deflate", [&[1], &rows[..]].concat()),
            ("datahub_batch", "rows-lz4", [&[2], &rows[..]].concat()),
            ("datahub_batch", "wide", [&[4], &wide[..]].concat()),
        ];
        let whole = |compression| write_batch(&rows, 2, compression).expect("it is packed in memory");
        let stored = |bytes: &[u8]| [&[3], &bytes[MAGIC.len()..]].concat();
        seeds.push(("datahub_batch", "whole", stored(&whole(Compression::None))));
        seeds.push(("datahub_batch", "whole-deflate", stored(&whole(Compression::Deflate))));
        seeds.push(("datahub_batch", "whole-lz4", stored(&whole(Compression::Lz4))));
        seeds.push(("datahub_answer", "batches", [&[1], &batches(&whole(Compression::None))[..]].concat()));
        seeds.push(("datahub_answer", "protobuf", [&[0], &protobuf()[..]].concat()));
        let json = br#"{"NextCursor":"c","StartSeq":7,"LatestSeq":9,"LatestTime":5,"Records":[{"SystemTime":5,"Sequence":7,"Cursor":"c",
    "NextCursor":"d","Data":["1",null,"x"],"Attributes":{"k":"v","n":null}},{"SystemTime":5,"Sequence":8,"Data":"AAE="}]}"#;
        seeds.push(("datahub_answer", "json", [&[2], &json[..]].concat()));
        seeds
    }

    fn batches(batch: &[u8]) -> Vec<u8> {
        let mut entry = vec![3 << 3, 7, 4 << 3, 5];
        write_bytes(6, batch, &mut entry);
        answer(&[entry.as_slice(), &entry])
    }

    fn protobuf() -> Vec<u8> {
        let mut entry = vec![6 << 3, 7, 7 << 3, 5];
        write_attributes(&[("k", b"v")], &mut entry);
        let mut data = Vec::new();
        for value in [Some(&b"7"[..]), None, Some(b"")] {
            let mut field = Vec::new();
            value.into_iter().for_each(|value| write_bytes(1, value, &mut field));
            write_bytes(1, &field, &mut data);
        }
        write_bytes(9, &data, &mut entry);
        answer(&[entry.as_slice(), &entry])
    }

    fn answer(entries: &[&[u8]]) -> Vec<u8> {
        let mut message = Vec::new();
        write_bytes(1, b"cursor", &mut message);
        entries.iter().for_each(|entry| write_bytes(4, entry, &mut message));
        message.extend_from_slice(&[5 << 3, 9, 6 << 3, 5]);
        message
    }

    #[test]
    fn seeds_are_what_our_encoder_writes_and_all_of_it_is_read() {
        for (target, name, bytes) in written() {
            fuzz::check_seed(target, name, &bytes);
            let (seen, least) = match target {
                "datahub_batch" => (walk_batch(&bytes), 70),
                _ => (walk_answer(&bytes), if name == "batches" { 4 } else { 2 }),
            };
            assert!(seen >= least, "{target}/{name}: {seen} of {least}");
        }
    }

    #[test]
    fn damaged_batches_are_borne() {
        let mut read = 0;
        fuzz::run("datahub_batch", |bytes| read += usize::from(walk_batch(bytes) > 0));
        assert!(read > 3000, "{read} were looked into");
    }

    #[test]
    fn damaged_answers_are_borne() {
        let mut read = 0;
        fuzz::run("datahub_answer", |bytes| read += usize::from(walk_answer(bytes) > 0));
        assert!(read > 200, "{read} were looked into");
    }
}
