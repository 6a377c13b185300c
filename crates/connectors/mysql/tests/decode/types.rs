//! Every type at its limits.

use super::capture::{Table, is_mariadb};
use super::show;
use dujiang_core::Code;

/// Inserts one row per literal and compares the three ways to read them.
fn round_trip(column: &str, literals: &[&str]) {
    let mut table = Table::create(&format!("v {column}"));
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
    let printed = table.printed();
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

fn show_as_float(column_type: &dujiang_mysql::decode::ColumnType) -> bool {
    use dujiang_mysql::decode::ColumnType;
    matches!(column_type, ColumnType::Float | ColumnType::Double)
}

fn same_float(a: &str, b: &str) -> bool {
    a.parse::<f64>().unwrap() == b.parse::<f64>().unwrap()
}

#[test]
fn integers() {
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
fn decimals() {
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
    let scale = if is_mariadb() { 38 } else { 30 };
    let largest = format!("{}.{}", "9".repeat(65 - scale), "9".repeat(scale));
    round_trip(&format!("DECIMAL(65,{scale})"), &[&largest, &format!("-{largest}"), "0", "-1e-30"]);
    round_trip("DECIMAL(5,5) UNSIGNED", &["0.99999", "0.00001"]);
    round_trip("DECIMAL", &["1234567890"]);
}

#[test]
fn floats() {
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
fn bits_enums_sets() {
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
fn texts() {
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
fn bytes() {
    for kind in ["BINARY(5)", "VARBINARY(5)", "VARBINARY(400)", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"] {
        round_trip(kind, &["''", "x'0102030405'", "x'0100000000'", "x'01000000'", "x'FF20'", "x'0000000000'", "NULL"]);
    }
    round_trip("BINARY(255)", &["x'00FF'", "''"]);
    round_trip("GEOMETRY", &["ST_GeomFromText('POINT(1 2)', 4326)", "ST_GeomFromText('LINESTRING(0 0,1 1)')", "NULL"]);
    round_trip("POINT", &["POINT(1.5, -2.5)"]);
}

#[test]
fn mariadb_types() {
    if !is_mariadb() {
        return;
    }
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
    round_trip("VARCHAR(1000) CHARACTER SET latin1 COMPRESSED", &["REPEAT('é', 900)", "'é'"]);
    round_trip("TEXT COMPRESSED", &[&long, "''"]);
    round_trip("BLOB COMPRESSED", &["REPEAT(x'00FF', 1000)", "''", "x'00'"]);
}

/// MySQL's binary JSON, as the server itself prints it. On MariaDB these are plain texts.
#[test]
fn json_documents() {
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
    if !is_mariadb() {
        literals.extend([
            "JSON_OBJECT('d', CAST('2015-01-15 23:24:25.12' AS DATETIME(2)), 't', CAST('-10:11:12.000013' AS TIME(6)), 'c', CURDATE())",
            "JSON_ARRAY(TIMESTAMP'2015-01-15 23:24:25', TIME'838:59:59', CAST(12.50 AS DECIMAL(10,3)), CAST(-0.07 AS DECIMAL(65,30)), 1e0)",
            "JSON_ARRAY(x'00ff', REPEAT(x'41', 100), CAST('b' AS BINARY), POINT(1,2), b'101')",
        ]);
    }
    round_trip("JSON", &literals);
}

#[test]
fn generated_and_invisible_columns_are_in_the_log() {
    let mut table = Table::create("a INT, v INT AS (a * 2) VIRTUAL, s INT AS (a * 3) STORED, z INT");
    table.run("INSERT INTO $t (a) VALUES (1), (NULL), (3)");
    assert_all_equal(&mut table, "generated columns");
    table.run(if is_mariadb() { "ALTER TABLE $t MODIFY z INT INVISIBLE" } else { "ALTER TABLE $t DROP z" });
    let mut later = Table::create("a INT, v INT AS (a * 2) VIRTUAL");
    later.run("INSERT INTO $t (a) VALUES (1), (NULL)");
    later.run("UPDATE $t SET a = 5");
    assert_eq!(later.logged().unwrap().images(), 6);
}

#[test]
fn dates_that_are_none_are_refused_by_name() {
    for (column, literal, shown) in [
        ("DATE", "'0000-00-00'", "0000-00-00"),
        ("DATE", "'2020-00-15'", "2020-00-15"),
        ("DATE", "'2020-05-00'", "2020-05-00"),
        ("DATETIME", "'0000-00-00'", "0000-00-00 00:00:00"),
        ("DATETIME(3)", "'2020-00-15 10:00:00'", "2020-00-15 10:00:00"),
        ("TIMESTAMP NULL", "'0000-00-00'", "0000-00-00 00:00:00"),
    ] {
        let mut table = Table::create(&format!("v {column}"));
        table.run(&format!("INSERT INTO $t (v) VALUES (NULL), ({literal})"));
        for error in [table.logged().unwrap_err(), table.selected().unwrap_err()] {
            assert_eq!(error.code(), Code::BadRecord, "{error:?}");
            assert!(error.message().contains(&format!("column v: {shown} cannot be carried")), "{error:?}");
            assert!(error.message().contains("dec_db.t"), "{error:?}");
        }
    }
}

#[test]
fn a_row_that_fails_leaves_the_builder_as_it_was() {
    let mut table = Table::create("v DATE, w VARCHAR(10)");
    table.run("INSERT INTO $t (v, w) VALUES ('2020-01-01', 'one')");
    table.run("INSERT INTO $t (v, w) VALUES ('2020-01-02', 'x'), ('0000-00-00', 'y')");
    table.run("INSERT INTO $t (v, w) VALUES (NULL, 'two')");
    let mut builder = table.builder();
    builder.begin_span(super::capture::origin("tx"));
    let mut codes = Vec::new();
    table.each_rows_event(|map, rows| {
        builder.use_table_map(map).unwrap();
        codes.push(builder.append_rows(rows).map_err(|e| e.code()).map(|a| a.kept));
    });
    assert_eq!(codes, [Ok(1), Err(Code::BadRecord), Ok(1)]);
    let batch = builder.finish().unwrap().unwrap();
    assert_eq!(batch.images(), 2);
    assert_eq!(batch.ordinals().map(|(n, _)| n).collect::<Vec<_>>(), [0, 1]);
}

/// Every code of every character set that is converted here, as the server converts it.
#[test]
fn converted_character_sets() {
    if !is_mariadb() {
        return;
    }
    for charset in ["latin1", "gbk", "cp932", "euckr", "cp1250", "cp1251", "koi8r", "latin2", "latin7", "macroman"] {
        let mut table = Table::create(&format!("v VARCHAR(4) CHARACTER SET {charset}"));
        let code = |width: usize| format!("CONVERT(UNHEX(LPAD(HEX(seq), {width}, '0')) USING {charset})");
        let (one, two) = (code(2), code(4));
        // Two bytes that are one character, and that the server can convert.
        table.run(&format!(
            "INSERT INTO $t (v) SELECT {one} FROM seq_0_to_255 WHERE HEX({one}) = LPAD(HEX(seq), 2, '0')
               AND (seq = 63 OR CONVERT({one} USING utf8mb4) <> '?') AND ORD({one}) = seq
             UNION ALL SELECT {two} FROM seq_32768_to_65535 WHERE '{charset}' IN ('gbk', 'cp932', 'euckr')
               AND CHAR_LENGTH({two}) = 1 AND CONVERT({two} USING utf8mb4) <> '?' AND ORD({two}) = seq"
        ));
        assert_all_equal(&mut table, charset);
        let rows = table.run("SELECT COUNT(*) FROM $t")[0][0].as_deref().unwrap().parse::<u32>().unwrap();
        assert!(rows > 220, "{charset}: {rows} characters");
    }
}
