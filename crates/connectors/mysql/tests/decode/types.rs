//! Every type at its limits.

use super::capture::{Table, on_each, on_some};
use super::show;
use dujiang_core::Code;
use dujiang_mysql::decode::{ColumnType, ZeroDates};
use dujiang_scratch::{Family, Kind};

/// Inserts one row per literal and compares the three ways to read them, on a server of each kind.
fn round_trip(column: &str, literals: &[&str]) {
    on_each(|kind| round_trip_on(kind, column, literals));
}

fn round_trip_on(kind: Kind, column: &str, literals: &[&str]) {
    let mut table = Table::on(kind, &format!("v {column}"));
    for literal in literals {
        table.run(&format!("INSERT INTO $t (v) VALUES ({literal})"));
    }
    assert_all_equal(&mut table, column);
}

pub fn assert_all_equal(table: &mut Table, context: &str) {
    let columns = table.columns().unwrap();
    let log = table.logged().unwrap();
    let select = table.selected().unwrap();
    assert_eq!(log.rows, select.rows, "log and SELECT of {context}");
    assert_eq!((log.unfit.len(), select.unfit.len()), (0, 0), "{context}: {:?}", log.unfit);
    let mut printed = table.printed();
    // MySQL 5.7 breaks long base64 inside a string into lines, which is no JSON.
    let is_json = |at: usize| columns[at].column_type == ColumnType::Json;
    for row in &mut printed {
        for (_, cell) in row.iter_mut().enumerate().filter(|(at, _)| is_json(*at)) {
            *cell =
                cell.take().map(|hex| in_pairs(&hex).map(|pair| if pair == "0A" { "5C6E" } else { pair }).collect());
        }
    }
    for (row, printed) in printed.iter().enumerate() {
        let ours = show::row(&select.rows, &columns, row);
        for ((ours, theirs), column) in ours.iter().zip(printed).zip(columns.iter()) {
            let same = match (ours, theirs) {
                (Some(a), Some(b)) if show_as_float(&column.column_type) => same_float(a, b),
                (a, b) => a == b,
            };
            assert!(same, "{context}, column {}, row {row}: decoded {ours:?}, printed {theirs:?}", column.name);
        }
    }
}

fn in_pairs(hex: &str) -> impl Iterator<Item = &str> {
    (0..hex.len() / 2).map(|at| &hex[2 * at..2 * at + 2])
}

fn show_as_float(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Float | ColumnType::Double)
}

fn same_float(a: &str, b: &str) -> bool {
    a.parse::<f64>().unwrap() == b.parse::<f64>().unwrap()
}

#[test]
fn f48_integers() {
    round_trip("TINYINT", &["-128", "127", "0", "NULL", "-1"]);
    round_trip("TINYINT UNSIGNED", &["0", "255", "NULL", "128"]);
    round_trip("BOOL", &["TRUE", "FALSE", "2", "NULL"]);
    round_trip("SMALLINT", &["-32768", "32767", "NULL"]);
    round_trip("SMALLINT UNSIGNED", &["65535", "0"]);
    round_trip("MEDIUMINT", &["-8388608", "8388607", "-1", "NULL"]);
    round_trip("MEDIUMINT UNSIGNED", &["16777215", "8388608", "0"]);
    round_trip("INT", &["-2147483648", "2147483647", "NULL"]);
    round_trip("INT(10) UNSIGNED ZEROFILL", &["4294967295", "0"]);
    round_trip("INT ZEROFILL", &["4294967295", "7"]);
    round_trip("BIGINT", &["-9223372036854775808", "9223372036854775807", "NULL"]);
    round_trip("BIGINT UNSIGNED NOT NULL", &["18446744073709551615", "9223372036854775808", "0"]);
}

#[test]
fn f52_decimals() {
    round_trip("DECIMAL(10,2)", &["-99999999.99", "99999999.99", "0", "-0.01", "NULL"]);
    round_trip("DECIMAL(18,0)", &["999999999999999999", "-999999999999999999", "1"]);
    round_trip("DECIMAL(18,9)", &["999999999.999999999", "-0.000000001"]);
    round_trip(
        "DECIMAL(38,10)",
        &["9999999999999999999999999999.9999999999", "-1.5", "-9999999999999999999999999999.9999999999"],
    );
    round_trip(
        "DECIMAL(39,0)",
        &["999999999999999999999999999999999999999", "-999999999999999999999999999999999999999"],
    );
    on_each(|kind| {
        let scale = if kind.family() == Family::MariaDb { 38 } else { 30 };
        let largest = format!("{}.{}", "9".repeat(65 - scale), "9".repeat(scale));
        let literals = [&largest, &*format!("-{largest}"), "0", "-1e-30"];
        round_trip_on(kind, &format!("DECIMAL(65,{scale})"), &literals);
    });
    round_trip("DECIMAL(5,5) UNSIGNED", &["0.99999", "0.00001"]);
    round_trip("DECIMAL", &["1234567890"]);
}

#[test]
fn f52_floats() {
    round_trip("FLOAT", &["3.4028234e38", "-3.4028234e38", "1.1754944e-38", "0.1", "16777217", "1e-45", "NULL", "0"]);
    round_trip("DOUBLE", &["1.7976931348623157e308", "-2.2250738585072014e-308", "5e-324", "0.1", "NULL"]);
    round_trip("FLOAT(7,3) UNSIGNED", &["1234.567"]);
}

#[test]
fn dates_and_times() {
    round_trip(
        "DATE",
        &["'1000-01-01'", "'9999-12-31'", "'1970-01-01'", "'1969-12-31'", "'2000-02-29'", "'0001-01-01'", "NULL"],
    );
    round_trip("DATETIME", &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'1969-12-31 23:59:59'", "NULL"]);
    for fsp in 1..=6 {
        let nines = "9".repeat(fsp);
        round_trip(
            &format!("DATETIME({fsp})"),
            &[&format!("'9999-12-31 23:59:59.{nines}'"), "'1969-12-31 23:59:59.1'", "'0001-01-01 00:00:00'", "NULL"],
        );
        round_trip(
            &format!("TIMESTAMP({fsp}) NULL"),
            &[&format!("'2038-01-19 03:14:07.{nines}'"), "'1970-01-01 00:00:01.1'", "'2024-03-31 02:30:00.2'", "NULL"],
        );
        round_trip(
            &format!("TIME({fsp})"),
            &[
                "'838:59:59'",
                "'-838:59:59'",
                "'-00:00:00.1'",
                "'00:00:00'",
                &format!("'-00:00:01.{nines}'"),
                "'-12:34:56.5'",
                "NULL",
            ],
        );
    }
    round_trip("TIMESTAMP NULL", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "NULL"]);
    round_trip("TIME", &["'838:59:59'", "'-838:59:59'", "'-00:00:01'", "'23:59:59'", "NULL"]);
    round_trip("YEAR", &["1901", "2155", "'0000'", "2000", "NULL"]);
}

#[test]
fn f49_f52_bits_enums_sets() {
    round_trip("BIT(1)", &["b'0'", "b'1'", "NULL"]);
    round_trip("BIT(9)", &["b'100000001'", "b'0'", "NULL"]);
    round_trip("BIT(64)", &["0xFFFFFFFFFFFFFFFF", "0x8000000000000001", "0"]);
    round_trip(
        "ENUM('a','it''s','','x,y','Ünï','z\\\\','\\n\\0')",
        &["'a'", "'it''s'", "''", "'x,y'", "'Ünï'", "'z\\\\'", "NULL", "'invalid'"],
    );
    round_trip("SET('a','b','c d')", &["''", "'a'", "'a,c d'", "'c d,b,a'", "NULL"]);
    let many: Vec<String> = (0..300).map(|i| format!("'label {i}'")).collect();
    round_trip(&format!("ENUM({})", many.join(",")), &["'label 0'", "'label 254'", "'label 255'", "'label 299'"]);
    for n in [8, 9, 16, 17, 24, 25, 32, 33, 64] {
        let labels: Vec<String> = (0..n).map(|i| format!("'s{i}'")).collect();
        round_trip(&format!("SET({})", labels.join(",")), &[&format!("'s0,s{}'", n - 1), "''"]);
    }
}

#[test]
fn f50_texts() {
    for charset in ["utf8mb4", "utf8mb3", "latin1", "ascii"] {
        let accent = if charset == "ascii" { "e" } else { "é€ß" };
        let literals = ["''", "'plain'", &format!("'{accent}{accent}'"), "'trailing '", "NULL", "'a\\0b'"];
        for kind in
            ["CHAR(20)", "VARCHAR(20)", "VARCHAR(300)", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "CHAR(250)"]
        {
            round_trip(&format!("{kind} CHARACTER SET {charset}"), &literals);
        }
    }
    round_trip("CHAR(255) CHARACTER SET utf8mb4", &["REPEAT('😀', 255)", "'x'"]);
    round_trip("LONGTEXT CHARACTER SET utf8mb4", &["REPEAT('日本語', 100000)", "'x'"]);
}

#[test]
fn f52_bytes() {
    for kind in ["BINARY(5)", "VARBINARY(5)", "VARBINARY(400)", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"] {
        round_trip(kind, &["''", "x'0102030405'", "x'0100000000'", "x'01000000'", "x'FF20'", "x'0000000000'", "NULL"]);
    }
    round_trip("BINARY(255)", &["x'00FF'", "''"]);
    round_trip("GEOMETRY", &["ST_GeomFromText('POINT(1 2)', 4326)", "ST_GeomFromText('LINESTRING(0 0,1 1)')", "NULL"]);
    round_trip("POINT", &["POINT(1.5, -2.5)"]);
}

#[test]
fn mariadb_types() {
    on_some(&Kind::MARIADB, mariadb_types_on);
}

fn mariadb_types_on(kind: Kind) {
    let round_trip = |column: &str, literals: &[&str]| round_trip_on(kind, column, literals);
    round_trip(
        "UUID",
        &[
            "'123e4567-e89b-12d3-a456-426655440000'",
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'f47ac10b-58cc-4372-a567-0e02b2c3d479'",
            "'01902cb8-9c3e-7000-8000-000000000000'",
            "'00000000-0000-0000-8000-000000000000'",
            "NULL",
        ],
    );
    round_trip("INET4", &["'0.0.0.0'", "'255.255.255.255'", "'10.0.0.0'", "NULL"]);
    round_trip(
        "INET6",
        &[
            "'::'",
            "'::1'",
            "'::ffff:1.2.3.4'",
            "'::1.2.3.4'",
            "'2001:db8::8:800:200c:417a'",
            "'fe80::'",
            "'1:0:0:2:0:0:0:3'",
            "'::2:0'",
            "'1:2:3:4:5:6:7:0'",
            "'0:0:1::2'",
            "'1:0:0:2:3:0:0:4'",
            "'::ffff:0:0'",
            "'::fffe:1:1'",
            "NULL",
        ],
    );
    let long = format!("'{}'", "compress me ".repeat(50));
    round_trip("VARCHAR(1000) COMPRESSED", &[&long, "''", "'short'", "NULL"]);
    round_trip("VARCHAR(1000) COMPRESSED CHARACTER SET latin1", &["REPEAT('é', 900)", "'é'"]);
    round_trip("TEXT COMPRESSED", &[&long, "''"]);
    round_trip("BLOB COMPRESSED", &["REPEAT(x'00FF', 1000)", "''", "x'00'"]);
}

/// MySQL's binary JSON, as the server itself prints it. On MariaDB these are plain texts.
#[test]
fn f51_json_documents() {
    on_each(json_documents_on);
}

fn json_documents_on(kind: Kind) {
    let many = format!("'[{}]'", (0..3000).map(|i| format!("{{\"k{i}\": {i}}}")).collect::<Vec<_>>().join(","));
    let long = format!("'{{\"long\": \"{}\"}}'", "x".repeat(70_000));
    let mut literals = vec![
        r#"'{"b": 1, "a": [1.0, null, "\\u00e9", true, false], "": {}, "aa": []}'"#,
        "'1.0'",
        "'-0.0'",
        "'1e100'",
        "'1e15'",
        "'123456789012345.678'",
        "'1e-7'",
        "'18446744073709551615'",
        "'-9223372036854775808'",
        "'32767'",
        "'-32769'",
        "'65536'",
        "'4294967296'",
        "'12345678901234567890123'",
        "'0.1'",
        "'\"\"'",
        r#"'"quote\\" back\\\\ \\b\\f\\n\\r\\t\\u0001\\u001f/ \\ud83d\\ude00"'"#,
        "'null'",
        "'true'",
        "NULL",
        &many,
        &long,
    ];
    if kind.family() == Family::MySql {
        literals.extend([
            "JSON_OBJECT('d', CAST('2015-01-15 23:24:25.12' AS DATETIME(2)), 't', CAST('-10:11:12.000013' AS TIME(6)), 'c', CURDATE())",
            "JSON_ARRAY(TIMESTAMP'2015-01-15 23:24:25', TIME'838:59:59', CAST(12.50 AS DECIMAL(10,3)), CAST(-0.07 AS DECIMAL(65,30)), 1e0)",
            "JSON_ARRAY(x'00ff', REPEAT(x'41', 100), CAST('b' AS BINARY), POINT(1,2), b'101')",
        ]);
    }
    round_trip_on(kind, "JSON", &literals);
}

#[test]
fn f55_generated_and_invisible_columns_are_in_the_log() {
    on_each(|kind| {
        let invisible = if kind == Kind::Mysql57 { "" } else { "INVISIBLE" };
        let columns = format!("a INT, v INT AS (a * 2) VIRTUAL, s INT AS (a * 3) STORED, z INT {invisible}");
        let mut table = Table::on(kind, &columns);
        table.run("INSERT INTO $t (a, z) VALUES (1, 7), (NULL, NULL), (3, -1)");
        assert_all_equal(&mut table, "generated columns");
        table.run("UPDATE $t SET a = 5, z = 6");
        if kind == Kind::MariaDbNewest {
            // The newest MariaDB leaves them out of updates: named, never a NULL.
            let error = table.logged().unwrap_err();
            assert_eq!((error.code(), &error.facts()[0]), (Code::BinlogRowImage, &("missing", "v, s".to_owned())));
            return;
        }
        let log = table.logged().unwrap();
        assert_eq!((log.images(), log.rows.num_columns()), (9, 5));
    });
    on_some(&[Kind::MysqlNewest], |kind| {
        let mut table = Table::on(kind, "v INT");
        table.run("DROP TABLE $t; SET sql_generate_invisible_primary_key = ON; CREATE TABLE $t (v INT)");
        table.run("INSERT INTO $t VALUES (4), (5)");
        let log = table.logged().unwrap();
        assert_eq!((log.images(), log.rows.num_columns()), (2, 2), "the key that the server made is a column");
    });
}

const NO_DATES: [(&str, &str, &str); 7] = [
    ("DATE NOT NULL", "'0000-00-00'", "0000-00-00"),
    ("DATE", "'2020-00-15'", "2020-00-15"),
    ("DATE", "'2020-05-00'", "2020-05-00"),
    ("DATETIME NOT NULL", "'0000-00-00'", "0000-00-00 00:00:00"),
    ("DATETIME(3)", "'2020-00-15 10:00:00.12'", "2020-00-15 10:00:00.120000"),
    ("TIMESTAMP NULL", "'0000-00-00'", "0000-00-00 00:00:00"),
    ("DATE", "'2020-02-31'", "2020-02-31"),
];

#[test]
fn f47_dates_that_are_none_are_refused_by_name_and_alone() {
    on_each(|kind| {
        for (column, literal, shown) in NO_DATES {
            let mut table = Table::on(kind, &format!("v {column}, w INT"));
            table.run("SET sql_mode = 'ALLOW_INVALID_DATES'");
            table.run(&format!("INSERT INTO $t (v, w) VALUES ('2021-01-01', 1), ({literal}, 2), ('2021-01-03', 3)"));
            for batch in [table.logged().unwrap(), table.selected().unwrap()] {
                assert_eq!(batch.images(), 3);
                let [(1, error)] = &batch.unfit_records()[..] else { panic!("{:?}", batch.unfit) };
                assert_eq!(error.code(), Code::BadRecord);
                let sentence = format!(
                    "column v: {shown} cannot be carried: there is no such day; `zero-dates: null` and `zero-dates: text` carry it"
                );
                assert!(error.message().ends_with(&sentence) && error.message().starts_with("dec_db.t"), "{error:?}");
                let mut row = Vec::new();
                dujiang_core::text::write_json_row(&batch, 1, &mut row);
                assert_eq!(String::from_utf8(row).unwrap(), format!(r#"{{"id":2,"v":"{shown}","w":2}}"#));
            }
        }
    });
}

#[test]
fn f47_dates_that_are_none_become_null_or_text_as_asked() {
    on_each(|kind| {
        for (column, literal, _) in NO_DATES {
            let declared = format!("v {column}, w INT");
            let mut table = Table::on(kind, &declared).zero_dates(ZeroDates::Null);
            let insert = format!("INSERT INTO $t (v, w) VALUES ('2021-01-01', 1), ({literal}, 2), ('2021-01-03', 3)");
            table.run("SET sql_mode = 'ALLOW_INVALID_DATES'");
            table.run(&insert);
            let (log, select) = (table.logged().unwrap(), table.selected().unwrap());
            assert_eq!(log.rows, select.rows);
            let nulls: Vec<bool> = (0..3).map(|row| arrow_array::Array::is_null(log.rows.column(1), row)).collect();
            assert_eq!((nulls, log.unfit.len()), (vec![false, true, false], 0), "{column}");
            let mut table = Table::on(kind, &declared).zero_dates(ZeroDates::Text);
            table.run("SET sql_mode = 'ALLOW_INVALID_DATES'");
            table.run(&insert);
            assert_all_equal(&mut table, &format!("{column} as text"));
        }
    });
}

#[test]
fn f50_bytes_that_are_no_text_are_refused_by_name_and_alone() {
    on_each(|kind| {
        let mut table = Table::on(kind, "v VARCHAR(10) CHARACTER SET greek, w INT");
        table.run("INSERT INTO $t (v, w) VALUES ('good', 1), (_greek x'41ae', 2), (_greek x'e1', 3)");
        for batch in [table.logged().unwrap(), table.selected().unwrap()] {
            let [(1, error)] = &batch.unfit_records()[..] else { panic!("{:?}", batch.unfit) };
            let sentence =
                "column v: \\x41\\xae cannot be carried: the bytes are not valid in the column's character set";
            assert!(error.message().ends_with(sentence), "{error:?}");
        }
    });
}

const CHARSETS: [&str; 40] = [
    "armscii8", "ascii", "big5", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932", "dec8",
    "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u",
    "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16",
    "utf16le", "utf32", "utf8mb3", "utf8mb4",
];

/// Every code of every character set, as the server converts it.
#[test]
fn f50_every_character_of_every_character_set() {
    on_each(|kind| {
        let mut numbers = Table::on(kind, "n INT");
        numbers.run("INSERT INTO $t (n) VALUES (0)");
        for step in 0..16 {
            numbers.run(&format!("INSERT INTO $t (n) SELECT n + {} FROM $t", 1 << step));
        }
        let from = numbers.name.clone();
        let known = numbers.run("SHOW CHARACTER SET");
        let known: Vec<&str> = known.iter().map(|row| row[0].as_deref().unwrap()).collect();
        for charset in CHARSETS.iter().filter(|name| known.contains(name)) {
            every_character(kind, charset, &from);
        }
        let others: Vec<_> = known.iter().filter(|name| !CHARSETS.contains(name)).collect();
        assert!(others.iter().all(|name| ["binary", "utf8"].contains(name)), "{others:?}");
    });
}

fn every_character(kind: Kind, charset: &str, numbers: &str) {
    let mut table = Table::on(kind, &format!("v MEDIUMTEXT CHARACTER SET {charset}"));
    let bytes = match charset {
        "utf32" => "LPAD(HEX(n), 8, '0')",
        "utf16" | "utf16le" | "ucs2" => "LPAD(HEX(n), 4, '0')",
        _ => "LPAD(HEX(n), IF(n < 256, 2, 4), '0')",
    };
    let mut codes = vec![format!("CONVERT(UNHEX({bytes}) USING {charset})")];
    match charset {
        "ujis" | "eucjpms" => codes.push(format!("CONVERT(UNHEX(CONCAT('8F', LPAD(HEX(n), 4, '0'))) USING {charset})")),
        // Codes of four bytes are for what has none of two.
        "gb18030" => codes.push(format!("CONVERT(CONVERT(UNHEX(LPAD(HEX(n), 4, '0')) USING ucs2) USING {charset})")),
        "utf8mb3" | "utf8mb4" => {
            codes = vec![format!("CONVERT(CONVERT(UNHEX(LPAD(HEX(n), 4, '0')) USING ucs2) USING {charset})")];
        }
        _ => {}
    }
    let is_unicode = charset.starts_with("utf") || charset == "ucs2";
    let no_surrogates = if is_unicode { "AND n NOT BETWEEN 55296 AND 57343" } else { "" };
    table.run("SET group_concat_max_len = 1000000");
    for code in codes {
        table.run(&format!(
            "INSERT INTO $t (v) SELECT GROUP_CONCAT(c ORDER BY n SEPARATOR '') FROM (SELECT n, {code} AS c FROM {numbers}) d
             WHERE CHAR_LENGTH(c) = 1 {no_surrogates} AND (n = 63 OR HEX(CONVERT(c USING utf8mb4)) NOT IN ('3F', 'EFBFBD')) GROUP BY n DIV 256"
        ));
    }
    if charset.starts_with("utf") && charset != "utf8mb3" {
        table.run("INSERT INTO $t (v) VALUES ('\u{1f600}\u{10ffff}\u{10000}')");
    }
    assert_all_equal(&mut table, charset);
    let characters = table.run("SELECT SUM(CHAR_LENGTH(v)) FROM $t")[0][0].as_deref().unwrap().parse::<u32>().unwrap();
    assert!(characters >= 100, "{charset}: {characters} characters");
}

#[test]
fn f49_labels_in_every_width_of_characters() {
    on_each(|kind| {
        for charset in ["latin1", "utf16", "ucs2", "utf32", "gbk", "sjis", "utf8mb4"] {
            let accent = if ["gbk", "sjis"].contains(&charset) { "日本" } else { "ÜÄ" };
            let labels = format!("'a','{accent}','','c d'");
            let mut table = Table::on(
                kind,
                &format!("e ENUM({labels}) CHARACTER SET {charset}, s SET('a','{accent}') CHARACTER SET {charset}"),
            );
            table.run(&format!(
                "INSERT INTO $t (e, s) VALUES ('a', 'a'), ('{accent}', 'a,{accent}'), ('', ''), ('none', NULL)"
            ));
            assert_all_equal(&mut table, charset);
        }
    });
}

#[test]
fn f54_geometries_of_every_kind() {
    let literals = [
        "ST_GeomFromText('POINT(1 2)', 4326)",
        "ST_GeomFromText('LINESTRING(0 0, 1 1)')",
        "ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0))')",
        "ST_GeomFromText('MULTIPOINT(0 0, 1 1)')",
        "ST_GeomFromText('MULTILINESTRING((0 0, 1 1), (2 2, 3 3))')",
        "ST_GeomFromText('MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)))')",
        "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(0 0, 1 1))')",
        "NULL",
    ];
    round_trip("GEOMETRY", &literals);
    round_trip("GEOMETRYCOLLECTION", &literals[6..]);
    round_trip("MULTIPOLYGON", &literals[5..6]);
}

#[test]
fn vectors() {
    on_some(&[Kind::MysqlNewest], |kind| {
        round_trip_on(kind, "VECTOR(3)", &["TO_VECTOR('[1,-2.5,3e30]')", "TO_VECTOR('[0.1]')", "NULL"]);
        let long = format!("TO_VECTOR('[{}]')", vec!["0.25"; 2000].join(","));
        round_trip_on(kind, "VECTOR", &["TO_VECTOR('[1,2]')"]);
        round_trip_on(kind, "VECTOR(2000)", &[&long]);
    });
    on_some(&[Kind::MariaDbNewest], |kind| {
        round_trip_on(kind, "VECTOR(3)", &["VEC_FromText('[1,-2.5,3e30]')", "NULL"]);
        let long = format!("VEC_FromText('[{}]')", vec!["0.25"; 2000].join(","));
        round_trip_on(kind, "VECTOR(2000)", &[&long]);
    });
}

/// The server computes with its time zone, and carries instants.
#[test]
fn f53_timestamps_do_not_depend_on_time_zones() {
    on_each(|kind| {
        let mut table = Table::on(kind, "v TIMESTAMP(6) NULL, w DATETIME(6)");
        for zone in ["+00:00", "+13:00", "-12:59", "+05:45", "SYSTEM"] {
            table.run(&format!("SET time_zone = '{zone}'"));
            table.run("INSERT INTO $t (v, w) VALUES ('1970-01-02 00:00:00.000001', '1970-01-02 00:00:00.000001')");
            table.run("INSERT INTO $t (v, w) VALUES ('2024-03-31 02:30:00.5', '2024-03-31 02:30:00.5')");
            table.run("INSERT INTO $t (v, w) VALUES ('2038-01-17 23:59:59', '0001-01-01 00:00:00')");
        }
        table.run("SET time_zone = '+00:00'");
        assert_all_equal(&mut table, "time zones");
    });
}
