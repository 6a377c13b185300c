//! Text nobody means well with: a clear error in bounded time and memory, never a panic.

use crate::support;
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::{Code, TableSchema};
use dujiang_transforms::{Compiled, Rule};
use proptest::prelude::*;
use std::sync::Arc;

fn table() -> Arc<TableSchema> {
    let fields = vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)];
    support::table(Arc::new(Schema::new(fields)))
}

/// Compiles and, if that works, evaluates; returns the first code.
fn outcome(text: &str) -> Option<Code> {
    let schema = table();
    let rule = Rule { projection: Some(text.to_owned()), filter: Some(text.to_owned()), ..Rule::default() };
    let _ = rule.check();
    match support::projection(text, &schema) {
        Err(mistakes) => {
            for mistake in &mistakes {
                let _ = mistake.error.line_column(text);
                assert!(mistake.error.span.start <= text.len());
            }
            Some(mistakes[0].error.code)
        }
        Ok(compiled) => {
            let a: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(0), Some(i32::MIN)]));
            let b: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some("日本"), None, Some("")]));
            let rows = RecordBatch::try_new(schema.arrow.clone(), vec![a, b]).unwrap();
            compiled.apply(&support::batch(&schema, rows)).unwrap();
            let _ = Compiled::new(&rule, &schema, &support::context());
            None
        }
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let deep = [
        format!("{}1{} AS x", "(".repeat(10_000), ")".repeat(10_000)),
        format!("{}1 AS x", "- ".repeat(10_000)),
        format!("{}TRUE AS x", "NOT ".repeat(10_000)),
        format!("1{} AS x", " + 1".repeat(10_000)),
        format!("a{} AS x", "[1]".repeat(10_000)),
        format!("{}b{} AS x", "UPPER(".repeat(10_000), ")".repeat(10_000)),
        format!("{}1{} AS x", "CASE WHEN TRUE THEN ".repeat(10_000), " END".repeat(10_000)),
        format!("{}1{} AS x", "CAST(".repeat(10_000), " AS INT)".repeat(10_000)),
        format!("{}1{} AS x", "ARRAY[".repeat(10_000), "]".repeat(10_000)),
        "x".repeat(10 << 20),
        format!("'{}' AS x", "y".repeat(10 << 20)),
        format!("a{} AS x", " IS NULL".repeat(10_000)),
    ];
    for text in &deep {
        assert_eq!(outcome(text), Some(Code::SqlTooLarge), "{}", &text[..40]);
    }
}

#[test]
fn what_is_within_the_bounds_is_computed() {
    let deep = [
        format!("{}b{} AS x", "UPPER(".repeat(99), ")".repeat(99)),
        format!("{}1{} AS x", "CASE WHEN a > 0 THEN ".repeat(99), " END".repeat(99)),
        format!("{}TRUE AS x", "NOT ".repeat(98)),
        format!("{}a{} AS x", "(".repeat(98), ")".repeat(98)),
        format!("1{} AS x", " + 0".repeat(298)),
        format!("{}1{} AS x", "COALESCE(a, ".repeat(99), ")".repeat(99)),
        format!("{}a{} AS x", "CAST(".repeat(99), " AS BIGINT)".repeat(99)),
    ];
    for text in &deep {
        assert_eq!(outcome(text), None, "{}", &text[..40]);
    }
}

#[test]
fn names_that_stand_for_names_are_not_followed_for_ever() {
    let columns: Vec<String> = (1..60).map(|i| format!("a + a AS x{i}, x{} + x{} AS y{i}", i - 1, i - 1)).collect();
    let rule = Rule {
        projection: Some(format!("a AS x0, {}", columns.join(", "))),
        filter: Some("y59 + x59 + a > 0".to_owned()),
        ..Rule::default()
    };
    let mistakes = Compiled::new(&rule, &table(), &support::context()).unwrap_err();
    assert!(mistakes.iter().all(|m| m.error.code == Code::SqlUnknownColumn), "{mistakes:?}");
}

#[test]
fn long_chains_that_stay_flat_are_fine() {
    let terms: Vec<String> = (0..5_000).map(|i| format!("a = {i}")).collect();
    assert_eq!(outcome(&format!("{} AS x", terms.join(" OR "))), None);
    let parts = vec!["b"; 5_000];
    assert_eq!(outcome(&format!("{} AS x", parts.join(" || "))), None);
    let list: Vec<String> = (0..20_000).map(|i| i.to_string()).collect();
    assert_eq!(outcome(&format!("a IN ({}) AS x", list.join(", "))), None);
}

const WORDS: &[&str] = &[
    "a",
    "b",
    "1",
    "0",
    "-1",
    "2.5",
    "1e400",
    "9223372036854775808",
    "'x'",
    "''",
    "NULL",
    "TRUE",
    "(",
    ")",
    "[",
    "]",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "=",
    "<>",
    "<",
    "AND",
    "OR",
    "NOT",
    "IS",
    "IN",
    "LIKE",
    "SIMILAR",
    "TO",
    "ESCAPE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "TRY_CAST",
    "AS",
    "x",
    "INT",
    "DECIMAL(38, 38)",
    "STRING",
    "DATE",
    "TIMESTAMP",
    "INTERVAL",
    "DAY",
    "MONTH",
    "FROM",
    "FOR",
    "DISTINCT",
    "UPPER",
    "REPEAT",
    "LPAD",
    "SUBSTRING",
    "OVERLAY",
    "PLACING",
    "ROUND",
    "ABS",
    "DATE_FORMAT",
    "TO_DATE",
    "REGEXP_REPLACE",
    "ARRAY",
    "MAP",
    "ROW",
    "ELEMENT",
    "CARDINALITY",
    "COALESCE",
    "NULLIF",
    "IF",
    "EXTRACT",
    "YEAR",
    "TIMESTAMPADD",
    "NOW",
    "UUID",
    "PARSE_JSON",
    "'[1]'",
    "'2024-02-29'",
    "`a`",
    "\"b\"",
    ".",
    "__table_name__",
    "SELECT",
    "COUNT",
    "OVER",
    "\\*",
    "--",
    "/*",
    "日",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p40_any_text_is_compiled_or_refused(text in "\\PC{0,60}") {
        let _ = outcome(&text);
    }

    #[test]
    fn p40_any_words_are_compiled_or_refused(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..14)) {
        let _ = outcome(&words.join(" "));
        let _ = outcome(&format!("{} AS x", words.join(" ")));
    }
}
