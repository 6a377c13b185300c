//! Files of all three formats, read by pyarrow and DuckDB, give the values that the database gives.

use crate::support::Place;
use dujiang_scratch::{Family, Kind, Options, Server};
use dujiang_testkit::oracle::{TableSpec, read_with_others};
use std::process::{Command, Stdio};

const FORMATS: [&str; 3] = ["json", "csv", "parquet"];

/// Every column type, with how its values are compared.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("id", "INT PRIMARY KEY", "int"),
    ("tiny", "TINYINT", "int"),
    ("utiny", "TINYINT UNSIGNED", "int"),
    ("yes", "BOOL", "int"),
    ("small", "SMALLINT UNSIGNED", "int"),
    ("medium", "MEDIUMINT", "int"),
    ("umedium", "MEDIUMINT UNSIGNED", "int"),
    ("uint", "INT UNSIGNED", "int"),
    ("big", "BIGINT", "int"),
    ("ubig", "BIGINT UNSIGNED", "int"),
    ("money", "DECIMAL(20,4)", "decimal"),
    ("wide", "DECIMAL(38,10)", "decimal"),
    ("widest", "DECIMAL(65,30)", "huge"),
    ("f", "FLOAT", "float"),
    ("d", "DOUBLE", "float"),
    ("c", "CHAR(10)", "text"),
    ("v", "VARCHAR(200)", "text"),
    ("latin", "VARCHAR(50) CHARACTER SET latin1", "text"),
    ("t", "TEXT", "text"),
    ("fixed", "BINARY(4)", "bytes"),
    ("raw", "VARBINARY(50)", "bytes"),
    ("blobs", "BLOB", "bytes"),
    ("day", "DATE", "date"),
    ("span", "TIME(6)", "time"),
    ("short", "TIME", "time"),
    ("wall", "DATETIME(6)", "datetime"),
    ("second", "DATETIME", "datetime"),
    ("at", "TIMESTAMP(3) NULL", "instant"),
    ("y", "YEAR", "int"),
    ("choice", "ENUM('one','two, \"three\"','näive')", "text"),
    ("several", "SET('a','b','c d')", "text"),
    ("wide_text", "VARCHAR(20) CHARACTER SET utf16", "text"),
    ("chinese", "VARCHAR(20) CHARACTER SET gbk", "text"),
    ("doc", "JSON", "json"),
];

/// Limits, emptiness, NULL, and whatever a text format has to escape.
const ROWS: [&str; 4] = [
    "(1, -128, 255, 1, 65535, -8388608, 16777215, 4294967295, -9223372036854775808, 18446744073709551615,
      -9999999999999999.9999, -9999999999999999999999999999.9999999999, 99999999999999999999999999999999999.123456789012345678901234567891,
      1.5, 1.7976931348623157e308, 'padded', 'a,b\"c\\'d\\\\e\\nf\\rg\\th', 'Zürich ÿ', '绳 🌊', 'a', UNHEX('00FF0A0D2C22'), '',
      '1000-01-01', '-838:59:59.000000', '838:59:59', '1000-01-01 00:00:00.000001', '9999-12-31 23:59:59',
      '2038-01-19 03:14:07.999', 2155, 'two, \"three\"', 'a,c d', '🌊 ÿ', '中文', '{\"a\": [1, 2.50, null], \"b\": \"x\\\\ny\"}')",
    "(2, 127, 0, 0, 0, 8388607, 0, 0, 9223372036854775807, 0, 0.0001, 0.0000000001, -0.000000000000000000000000000001,
      -0.25, 5e-324, '', '', '', '', '', '', UNHEX('00'), '9999-12-31', '00:00:00.000001', '-00:00:01', '9999-12-31 23:59:59.999999',
      '1970-01-01 00:00:00', '1970-01-01 00:00:01', 1901, 'one', '', '', '', '{}')",
    "(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
      NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    "(4, 0, 1, 1, 1, -1, 1, 1, -1, 9223372036854775808, 12.3400, 1.0000000000, 1, 65536, 0.1, '\\\\N', '\\\\N', '=1+1', 'NULL',
      'abcd', 'x', UNHEX('C328'), '2024-02-29', '12:34:56.789', '12:34:56', '2026-11-20 17:38:25.120000', '2026-11-20 17:38:25',
      '2026-11-20 17:38:25.5', 0, 'näive', 'a,b,c d', ' ', '，', '{\"b\": \"text\"}')",
];

#[test]
fn pyarrow_and_duckdb_read_what_the_database_gives() {
    for kind in [Kind::MariaDb, Kind::Mysql57, Kind::MysqlNewest] {
        read_what_the_database_gives(kind);
    }
}

fn read_what_the_database_gives(kind: Kind) {
    let server = Server::start(&Options::default().on(kind)).expect("a server");
    let columns: Vec<String> = COLUMNS.iter().map(|(name, kind, _)| format!("`{name}` {kind}")).collect();
    let create = format!("CREATE DATABASE kinds; CREATE TABLE kinds.all_of_them ({})", columns.join(", "));
    server.sql(&create).expect("a table of every type");
    let insert =
        format!("SET time_zone = '+00:00', sql_mode = ''; INSERT INTO kinds.all_of_them VALUES {}", ROWS.join(","));
    server.sql(&insert).expect("its rows");
    let place = Place::new();
    for format in FORMATS {
        let text = format!(
            "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: \
             kinds.all_of_them\nsink:\n  type: file\n  path: {}\n  format: {format}\npipeline:\n  name: kinds-{format}\n",
            server.port(),
            place.path(format).display()
        );
        place.file(&format!("{format}.yaml"), &text);
        run(&place, format);
    }
    // Every row once from the snapshot; now once more from the log, gone and back.
    let again = format!("DELETE FROM kinds.all_of_them; {insert}");
    server.sql(&again).expect("the rows again");
    FORMATS.iter().for_each(|format| run(&place, format));
    // MariaDB's JSON is text to its catalog and in its log.
    let json = if kind.family() == Family::MariaDb { "text" } else { "json" };
    let compared = |kind: &'static str| if kind == "json" { json } else { kind };
    let kinds: Vec<(&str, &str)> = COLUMNS.iter().map(|(name, _, kind)| (*name, compared(kind))).collect();
    let outputs: Vec<_> = FORMATS.iter().map(|format| (*format, place.path(format))).collect();
    let table = TableSpec::new("kinds", "all_of_them", &["id"]);
    let problems = read_with_others(&server, &table, &kinds, &outputs, &["r", "d", "c"]).expect("the readers");
    assert!(problems.is_empty(), "{kind:?}: {}", problems.join("\n"));
}

fn run(place: &Place, format: &str) {
    let mut command: Command = place.dujiang();
    let output = command.args(["run", &format!("{format}.yaml"), "--until", "caught-up"]).stderr(Stdio::piped());
    let ended = output.output().expect("run dujiang");
    assert!(ended.status.success(), "{format}: {}", String::from_utf8_lossy(&ended.stderr));
}
