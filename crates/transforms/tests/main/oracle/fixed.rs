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
    pairs
}
