use crate::csv::{self, CsvOptions};
use crate::json;
use arrow_array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use dujiang_core::Code;
use dujiang_core::schema::{LOGICAL_JSON, field};
use proptest::prelude::*;
use std::sync::Arc;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect()).unwrap()
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn csv_of(batch: &RecordBatch, options: &CsvOptions) -> String {
    let mut out = Vec::new();
    csv::write_header(batch.schema_ref(), &mut out);
    csv::encode(batch, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn json_is_one_object_a_line() {
    let batch = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), None]))),
        ("na\"me", texts(&[Some("a\nb"), Some("")])),
    ]);
    let mut out = Vec::new();
    json::encode(&batch, &mut out).unwrap();
    let expected = "{\"id\":1,\"na\\\"me\":\"a\\nb\"}\n{\"id\":null,\"na\\\"me\":\"\"}\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn text_that_is_no_json_is_reported_by_row() {
    let schema = Schema::new(vec![field("doc", DataType::Utf8, true, "json", Some(LOGICAL_JSON))]);
    let column = texts(&[Some("{}"), Some("{"), None, Some("nope")]);
    let bad = json::bad_rows(&RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()).unwrap();
    let found: Vec<_> = bad.iter().map(|(row, error)| (*row, error.code())).collect();
    assert_eq!(found, [(1, Code::BadRecord), (3, Code::BadRecord)]);
}

#[test]
fn csv_tells_null_from_empty_and_from_its_look_alike() {
    let batch = batch(vec![
        ("a", texts(&[None, Some(""), Some("\\N"), Some("x,\"y\"\r\n"), Some(" pad")])),
        ("b", Arc::new(BinaryArray::from(vec![Some(&b""[..]), None, Some(b"abc"), Some(b"\0"), None]))),
    ]);
    let expected = "a,b\r\n\\N,\"\"\r\n\"\",\\N\r\n\"\\N\",YWJj\r\n\"x,\"\"y\"\"\r\n\",AA==\r\n\" pad\",\\N\r\n";
    assert_eq!(csv_of(&batch, &CsvOptions::default()), expected);
}

#[test]
fn a_null_text_that_looks_like_a_number_is_not_mistaken() {
    let batch = batch(vec![("n", Arc::new(Int64Array::from(vec![Some(0), None, Some(10)])))]);
    let options = CsvOptions { null: "0".into(), safe: false };
    assert_eq!(csv_of(&batch, &options), "n\r\n\"0\"\r\n0\r\n10\r\n");
}

#[test]
fn safe_csv_disarms_formulas_but_not_numbers() {
    let batch = batch(vec![
        ("t", texts(&[Some("=1+1"), Some("-x"), Some("a=b"), Some("\n@")])),
        ("n", Arc::new(Int64Array::from(vec![-1, -2, -3, -4]))),
    ]);
    let options = CsvOptions { safe: true, ..Default::default() };
    assert_eq!(csv_of(&batch, &options), "t,n\r\n\"'=1+1\",-1\r\n\"'-x\",-2\r\na=b,-3\r\n\"'\n@\",-4\r\n");
}

/// A strict RFC 4180 reader; `None` is an unquoted null text.
fn read_csv(text: &str, null: &str) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut row = Vec::new();
        loop {
            let (value, after) = match rest.strip_prefix('"') {
                Some(quoted) => read_quoted(quoted),
                None => {
                    let end = rest.find([',', '\r']).unwrap();
                    let raw = &rest[..end];
                    assert!(!raw.contains('"'), "a quote in an unquoted field");
                    ((raw != null).then(|| raw.to_owned()), &rest[end..])
                }
            };
            row.push(value);
            if let Some(next) = after.strip_prefix(',') {
                rest = next;
            } else {
                rest = after.strip_prefix("\r\n").unwrap();
                break;
            }
        }
        rows.push(row);
    }
    rows
}

fn read_quoted(text: &str) -> (Option<String>, &str) {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').unwrap();
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(after) = rest.strip_prefix('"') else { return (Some(value), rest) };
        value.push('"');
        rest = after;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn p11_csv_reads_back(rows in prop::collection::vec((prop::option::of(".{0,6}|[,\"\r\n\\\\N ]{0,4}"), any::<i64>()), 1..20)) {
        let batch = batch(vec![
            ("t", Arc::new(StringArray::from_iter(rows.iter().map(|r| r.0.clone())))),
            ("n", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1)))),
        ]);
        let read = read_csv(&csv_of(&batch, &CsvOptions::default()), "\\N");
        let expected: Vec<_> = rows.iter().map(|(t, n)| vec![t.clone(), Some(n.to_string())]).collect();
        prop_assert_eq!(&read[0], &vec![Some("t".to_owned()), Some("n".to_owned())]);
        prop_assert_eq!(&read[1..], &expected[..]);
    }
}
