//! Expressions that must always be among those compared.

use super::generate::{Pair, Ty};

pub fn pairs() -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut add =
        |ty, ours: &str, theirs: &str| pairs.push(Pair::new(ty, ours, if theirs.is_empty() { ours } else { theirs }));
    add(Ty::Bool, "l1 = 5", "");
    add(Ty::Bool, "i1 = 1.0", "");
    add(Ty::Bool, "NULL = NULL", "");
    add(Ty::Bool, "NULL OR TRUE", "");
    add(Ty::Bool, "NULL AND FALSE", "");
    add(Ty::Bool, "1 NOT IN (2, NULL)", "");
    add(Ty::Text, "'<<' || NULL || '>>'", "");
    add(Ty::Bool, "t1 LIKE 'A%'", "");
    add(Ty::Bool, "ts1 > '2020-01-01'", "");
    add(Ty::Bool, "d1 = '1.5'", "");
    add(Ty::Int, "CAST('333' AS TINYINT)", "CAST('1e' AS int4)");
    add(Ty::Int, "TRY_CAST('x' AS INT)", "NULL");
    add(Ty::Wide, "123456789012345678901234567890.12345678 * 1.5", "");
    add(Ty::Int, "7 % -3", "");
    add(Ty::Int, "-7 / 2", "");
    add(Ty::Text, "PARSE_JSON('{\"a\": [1, \"x\"]}')['a'][2]", "('{\"a\": [1, \"x\"]}'::jsonb) -> 'a' ->> 1");
    add(Ty::Text, "CAST(PARSE_JSON('{\"a\": 12}')['a'] AS STRING)", "('{\"a\": 12}'::jsonb) ->> 'a'");
    add(Ty::Big, "TIMESTAMPDIFF(DAY, TIMESTAMP '2024-01-01 12:00:00', TIMESTAMP '2024-03-01 11:00:00')", "59");
    add(Ty::Big, "TIMESTAMPDIFF(MONTH, DATE '2024-01-31', DATE '2024-02-29')", "0");
    add(
        Ty::Stamp,
        "TO_TIMESTAMP('29.02.2024 07:08:09', 'dd.MM.yyyy HH:mm:ss')",
        "to_timestamp('29.02.2024 07:08:09', 'DD.MM.YYYY HH24:MI:SS')::timestamp",
    );
    add(
        Ty::Big,
        "UNIX_TIMESTAMP('2024-02-29 12:00:00')",
        "EXTRACT(EPOCH FROM timestamptz '2024-02-29 12:00:00')::int8",
    );
    add(Ty::Text, "FROM_UNIXTIME(0)", "to_char(to_timestamp(0), 'YYYY-MM-DD HH24:MI:SS')");
    add(Ty::Instant, "TO_TIMESTAMP_LTZ(1500, 3)", "to_timestamp(1.5)");
    add(Ty::Int, "ELEMENT(ARRAY[7])", "7");
    add(Ty::Int, "ROW(1, 'a')[1]", "1");
    add(Ty::Text, "REGEXP_EXTRACT_ALL('a1b2', '[a-z]([0-9])')[2]", "'2'::text");
    for (name, part) in [
        ("YEAR", "YEAR"),
        ("QUARTER", "QUARTER"),
        ("MONTH", "MONTH"),
        ("WEEK", "WEEK"),
        ("DAYOFYEAR", "DOY"),
        ("DAYOFMONTH", "DAY"),
        ("HOUR", "HOUR"),
        ("MINUTE", "MINUTE"),
    ] {
        for column in ["ts1", "ts2", "tz1", "tz2"] {
            add(Ty::Big, &format!("{name}({column})"), &format!("EXTRACT({part} FROM {column})::int8"));
        }
    }
    for (ours, theirs) in [
        ("NOW()", "timestamptz '2023-11-14 22:13:20.123456+00'"),
        ("CURRENT_TIMESTAMP", "timestamptz '2023-11-14 22:13:20.123456+00'"),
        ("CURRENT_DATE", "(timestamptz '2023-11-14 22:13:20.123456+00')::date"),
        ("CURRENT_TIME", "(timestamptz '2023-11-14 22:13:20.123456+00')::time"),
        ("LOCALTIME", "(timestamptz '2023-11-14 22:13:20.123456+00')::time"),
        ("LOCALTIMESTAMP", "(timestamptz '2023-11-14 22:13:20.123456+00')::timestamp"),
        ("UNIX_TIMESTAMP()", "1700000000"),
    ] {
        add(Ty::Stamp, ours, theirs);
    }
    add(Ty::Int, "CHAR_LENGTH(UUID())", "36");
    add(Ty::Int, "CHARACTER_LENGTH(t1)", "length(t1)");
    add(Ty::Double, "CEILING(g1)", "");
    add(Ty::Text, "TRY_PARSE_JSON('{')", "NULL::text");
    add(Ty::Text, "TRY_PARSE_JSON('[1]')", "'[1]'");
    add(Ty::Text, "CAST(FROM_BASE64_BINARY('YWJj') AS STRING)", "convert_from(decode('YWJj', 'base64'), 'UTF8')");
    add(Ty::Text, "FROM_BASE64('?')", "convert_from(decode('?', 'base64'), 'UTF8')");
    add(
        Ty::Text,
        "DATE_FORMAT_TZ(tz1, 'yyyy-MM-dd HH:mm', 'UTC')",
        "to_char(tz1 AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')",
    );
    add(Ty::Big, "TIMESTAMP_DIFF(SECOND, ts1, ts2)", "trunc(EXTRACT(EPOCH FROM ts2) - EXTRACT(EPOCH FROM ts1))::int8");
    add(
        Ty::Big,
        "TIMESTAMPDIFF(HOUR, ts1, ts2)",
        "trunc((EXTRACT(EPOCH FROM ts2) - EXTRACT(EPOCH FROM ts1)) / 3600)::int8",
    );
    add(Ty::Instant, "TO_TIMESTAMP_LTZ('2024-07-01 12:00:00')", "timestamptz '2024-07-01 12:00:00'");
    add(Ty::Date, "TO_DATE('01/02/2024', 'dd/MM/yyyy')", "to_date('01/02/2024', 'DD/MM/YYYY')");
    add(Ty::Text, "CAST(t1 AS BYTES) || CAST(t2 AS BYTES)", "t1 || t2");
    add(Ty::Bool, "CAST(t1 AS BYTES) = CAST(t2 AS BYTES)", "t1 = t2");
    add(
        Ty::Int,
        "CAST(CAST(s1 AS TINYINT) + 1 AS INT)",
        "CASE WHEN s1 BETWEEN -128 AND 127 OR s1 IS NULL THEN s1 + 1 ELSE (SELECT 10 ^ 20)::int END",
    );
    add(Ty::Text, "CAST(t1 AS CHAR(4))", "CAST(CAST(t1 AS char(4)) AS text)");
    add(Ty::Text, "ROW(i1, t1)[2]", "t1");
    add(Ty::Int, "MAP[t1, i1, 'k', 2]['k']", "CASE WHEN t1 IS NULL THEN (SELECT 10 ^ 20)::int ELSE 2 END");
    pairs
}
