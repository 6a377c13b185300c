//! Names of folders and files.
//!
//! A table's folder is `<database>.<table>`, each part percent-encoded byte by byte except for `a-z 0-9 _ -`. Capital
//! letters are encoded as well, in lower-case hexadecimal (`Orders` is `%4frders`), so that no two tables share a folder
//! even where the file system does not tell capitals from small letters. `_` and `-` are encoded at the beginning of a
//! name, where tools take them for hidden files and options, and so is the first letter of a name that Windows reserves
//! (`con`). What would be longer than 200 bytes is cut and ends in `%x` and a hash, which no encoding produces; the
//! manifests name the table in full.

use crate::config::PartitionBy;
use dujiang_core::Epoch;
use dujiang_core::schema::TableId;
use dujiang_core::text;
use xxhash_rust::xxh3::xxh3_128;

/// Longest folder name. File systems allow 255 bytes.
const MAX_FOLDER: usize = 200;
/// What of a longer name is kept before `%x` and the hash.
const CUT_FOLDER: usize = 160;

/// The folder of a table, safe on every file system and object store, different for different tables.
pub(crate) fn table_folder(table: &TableId) -> String {
    let mut name = String::new();
    if !table.database.is_empty() {
        encode(&table.database, &mut name);
        name.push('.');
    }
    encode(&table.table, &mut name);
    if name.len() <= MAX_FOLDER {
        return name;
    }
    let mut whole = Vec::new();
    whole.extend_from_slice(table.database.as_bytes());
    whole.push(0);
    whole.extend_from_slice(table.table.as_bytes());
    let mut cut = CUT_FOLDER;
    while name.as_bytes()[cut - 2..cut].contains(&b'%') {
        cut -= 1;
    }
    format!("{}%x{:032x}", &name[..cut], xxh3_128(&whole))
}

/// The table of a folder, unless its name was cut or is none of ours.
#[cfg(test)]
fn table_of(folder: &str) -> Option<TableId> {
    match folder.split_once('.') {
        Some((database, table)) => Some(TableId::new(decode(database)?, decode(table)?)),
        None => Some(TableId::new("", decode(folder)?)),
    }
}

fn encode(name: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let reserved = is_reserved(name);
    for (index, byte) in name.bytes().enumerate() {
        let plain = match byte {
            b'a'..=b'z' | b'0'..=b'9' => index > 0 || !reserved,
            b'_' | b'-' => index > 0,
            _ => false,
        };
        if plain {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Names that Windows gives to devices, with or without anything after a point.
fn is_reserved(name: &str) -> bool {
    match name.as_bytes() {
        b"con" | b"prn" | b"aux" | b"nul" => true,
        [port @ .., b'0'..=b'9'] => port == b"com" || port == b"lpt",
        _ => false,
    }
}

#[cfg(test)]
fn decode(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Part of a table, by commit time; `None` when the table is not partitioned.
pub(crate) type Partition = Option<i64>;

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// The partition of a commit time: its day or hour since 1970.
pub(crate) fn partition(by: PartitionBy, commit_micros: i64) -> Partition {
    match by {
        PartitionBy::None => None,
        PartitionBy::CommitDate => Some(commit_micros.div_euclid(24 * MICROS_PER_HOUR)),
        PartitionBy::CommitHour => Some(commit_micros.div_euclid(MICROS_PER_HOUR)),
    }
}

/// The folder of a partition inside the table's, with a closing `/`; empty when there is none. Hive style: readers turn
/// it into columns.
pub(crate) fn partition_folder(by: PartitionBy, partition: Partition) -> String {
    let Some(number) = partition else { return String::new() };
    let hour = if by == PartitionBy::CommitHour { number } else { number * 24 };
    let start = instant(hour * MICROS_PER_HOUR);
    let date = start.split('T').next().unwrap_or_default();
    match by {
        PartitionBy::CommitHour => format!("commit_date={date}/commit_hour={:02}/", number.rem_euclid(24)),
        _ => format!("commit_date={date}/"),
    }
}

fn instant(micros: i64) -> String {
    let mut out = Vec::new();
    text::write_instant(micros, &mut out);
    String::from_utf8(out).expect("invariant: times are ASCII")
}

/// What a file's name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileName {
    /// When its first row was written, microseconds since 1970 UTC; rises from file to file.
    pub(crate) micros: i64,
    pub(crate) epoch: Epoch,
    pub(crate) lane: usize,
    /// Number within epoch and lane, from 1.
    pub(crate) sequence: usize,
    /// Version of the table's schema.
    pub(crate) version: u32,
}

impl FileName {
    /// `20261120T173825.123456Z-e0000000042-l00-0001-v1.parquet`: names of one lane sort in the order they were written.
    pub(crate) fn render(&self, extension: &str) -> String {
        let time = instant(self.micros);
        let (seconds, fraction) = (time[..19].replace(['-', ':'], ""), self.micros.rem_euclid(1_000_000));
        let Self { epoch, lane, sequence, version, .. } = self;
        format!("{seconds}.{fraction:06}Z-e{:010}-l{lane:02}-{sequence:04}-v{version}.{extension}", epoch.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn names_are_readable_where_they_can_be() {
        let folder = |database, table| table_folder(&TableId::new(database, table));
        assert_eq!(folder("shop", "order_items"), "shop.order_items");
        assert_eq!(folder("Shop", "a/b"), "%53hop.a%2fb");
        assert_eq!(folder("", ".."), "%2e%2e");
        assert_eq!(folder("con", "_x"), "%63on.%5fx");
        assert_eq!(folder("d", "订"), "d.%e8%ae%a2");
        let name = FileName { micros: 1_795_196_305_123_456, epoch: Epoch(42), lane: 0, sequence: 1, version: 1 };
        assert_eq!(name.render("parquet"), "20261120T173825.123456Z-e0000000042-l00-0001-v1.parquet");
        let whole = FileName { micros: 1_795_196_305_000_000, ..name };
        assert_eq!(whole.render("csv"), "20261120T173825.000000Z-e0000000042-l00-0001-v1.csv");
        assert_eq!(partition_folder(PartitionBy::CommitDate, Some(0)), "commit_date=1970-01-01/");
        let hour = partition(PartitionBy::CommitHour, 1_795_196_305_123_456);
        assert_eq!(partition_folder(PartitionBy::CommitHour, hour), "commit_date=2026-11-20/commit_hour=17/");
        assert_eq!(partition_folder(PartitionBy::CommitHour, Some(-1)), "commit_date=1969-12-31/commit_hour=23/");
    }

    fn names() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-zA-Z0-9_.%/-]{1,6}",
            ".{1,8}",
            "\\PC{60,85}",
            prop::sample::select(vec!["..", ".", "a/b", "T", "t", "CON", "con", "nul.", "../../etc/x", "a\0b", "a\nb"])
                .prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn p13_folders_are_safe_and_injective(tables in prop::collection::vec((names(), names()), 1..30)) {
            let mut seen: HashMap<String, TableId> = HashMap::new();
            for (database, table) in tables {
                let table = TableId::new(database, table);
                let folder = table_folder(&table);
                prop_assert!(folder.len() <= MAX_FOLDER && !folder.is_empty());
                let safe = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'%' | b'.');
                prop_assert!(folder.bytes().all(safe), "{folder}");
                prop_assert!(!folder.starts_with(['.', '_', '-']) && !folder.ends_with('.'));
                if !folder.contains("%x") {
                    prop_assert_eq!(table_of(&folder), Some(table.clone()));
                }
                let other = seen.insert(folder.to_lowercase(), table.clone());
                prop_assert!(other.is_none_or(|other| other == table));
            }
        }

        #[test]
        fn p13_file_names_are_unique_and_sort_in_time_order(
            mut files in prop::collection::vec((0i64..253_402_300_800_000_000, 1u64..100_000, 0usize..20, 1usize..9999), 2..40)
        ) {
            files.sort_unstable();
            files.dedup();
            let names: Vec<_> = files
                .iter()
                .map(|&(micros, epoch, lane, sequence)| {
                    FileName { micros, epoch: Epoch(epoch), lane, sequence, version: 3 }.render("parquet")
                })
                .collect();
            let mut sorted = names.clone();
            sorted.sort();
            sorted.dedup();
            prop_assert_eq!(&names, &sorted);
            prop_assert!(names.iter().all(|n| n.len() < 80 && n.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))));
        }
    }
}
