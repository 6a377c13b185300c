#![no_main]

#[path = "../table.rs"]
mod table;

use dujiang_core::Origin;
use dujiang_core::batch::TimePrecision;
use dujiang_format_text::messages::{Decoder, MessageFormat, MessageOptions, table_of};

// The first byte chooses the format. A message is read or refused as a whole, and the next one is read as if it were not there.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [format, message @ ..] = data else { return };
    let format = MessageFormat::ALL[usize::from(*format) % MessageFormat::ALL.len()];
    let table = table::table();
    let mut decoder = Decoder::new(&table, &MessageOptions::new(format, "fuzz")).expect("a decoder");
    let mut rows = decoder.rows();
    let (precision, commit_micros) = (TimePrecision::Micros, 0);
    let nowhere = Origin { transaction: "", position: "", commit_micros, precision, first_ordinal: 0 };
    let mut images = 0;
    for turn in 1..=2 {
        if decoder.decode(Some(message), &nowhere, &mut rows).is_ok() && turn == 1 {
            images = rows.len();
        }
        assert_eq!(rows.len(), turn * images);
    }
    assert_eq!(rows.take().expect("a batch").images(), 2 * images);
    let _ = table_of(format, message);
});
