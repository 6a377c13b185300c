use super::*;
use crate::batch::{Kind, Origins, TimePrecision, UnfitCell};
use crate::schema::{LOGICAL_JSON, LOGICAL_NUMBER, TableId, TableSchema, field};
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, TimeUnit};
use proptest::prelude::*;
use std::sync::Arc;

fn json(field: &Field, column: &dyn Array) -> Vec<String> {
    texts(column.len(), |row, out| write_json_value(field, column, row, out))
}

fn plain(column: &dyn Array) -> Vec<String> {
    let field = Field::new("c", column.data_type().clone(), true);
    texts(column.len(), |row, out| write_plain_value(&field, column, row, out))
}

fn texts(rows: usize, write: impl Fn(usize, &mut Vec<u8>)) -> Vec<String> {
    (0..rows)
        .map(|row| {
            let mut out = Vec::new();
            write(row, &mut out);
            String::from_utf8(out).unwrap()
        })
        .collect()
}

fn json_of(column: impl Array + 'static) -> Vec<String> {
    json(&Field::new("c", column.data_type().clone(), true), &column)
}

#[test]
fn numbers_keep_every_digit() {
    assert_eq!(json_of(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
    assert_eq!(json_of(Int64Array::from(vec![Some(i64::MIN), None])), ["-9223372036854775808", "null"]);
    let narrow = Decimal128Array::from(vec![i128::MAX, -5, 0, 100]).with_precision_and_scale(38, 3);
    assert!(narrow.is_err() || json_of(narrow.unwrap()).len() == 4);
    let d = Decimal128Array::from(vec![-5, 0, 100, 123_456]).with_precision_and_scale(38, 3).unwrap();
    assert_eq!(json_of(d), ["-0.005", "0.000", "0.100", "123.456"]);
    let d = Decimal128Array::from(vec![-5, 0]).with_precision_and_scale(5, -2).unwrap();
    assert_eq!(json_of(d), ["-500", "0"]);
    let nines = i256::from_string(&"9".repeat(65)).unwrap();
    let d = Decimal256Array::from(vec![nines]).with_precision_and_scale(65, 30).unwrap();
    assert_eq!(json_of(d), [format!("{}.{}", "9".repeat(35), "9".repeat(30))]);
    assert_eq!(json_of(Float32Array::from(vec![0.1, f32::NAN])), ["0.1", "\"NaN\""]);
    assert_eq!(json_of(Float64Array::from(vec![f64::INFINITY, f64::NEG_INFINITY])), ["\"Infinity\"", "\"-Infinity\""]);
}

#[test]
fn times_are_iso_8601() {
    let micros = vec![0, -1, 1_795_196_305_123_456];
    assert_eq!(
        plain(&TimestampMicrosecondArray::from(micros.clone())),
        ["1970-01-01T00:00:00", "1969-12-31T23:59:59.999999", "2026-11-20T17:38:25.123456"]
    );
    assert!(plain(&TimestampMicrosecondArray::from(micros).with_timezone("UTC"))[2].ends_with("25.123456Z"));
    assert_eq!(
        plain(&Date32Array::from(vec![-719_528, 2_932_896, 2_932_897, -719_529])),
        ["0000-01-01", "9999-12-31", "+10000-01-01", "-0001-12-31"]
    );
    assert_eq!(
        json_of(Time64MicrosecondArray::from(vec![86_399_999_999, 1])),
        ["\"23:59:59.999999\"", "\"00:00:00.000001\""]
    );
    let longest = 838 * 3600 + 59 * 60 + 59;
    assert_eq!(
        plain(&DurationMicrosecondArray::from(vec![-longest * 1_000_000, longest * 1_000_000 + 1])),
        ["-838:59:59", "838:59:59.000001"]
    );
    assert_eq!(plain(&DurationSecondArray::from(vec![i64::MIN]))[0], "-2562047788015215:30:08");
    assert_eq!(plain(&Time32MillisecondArray::from(vec![1])), ["00:00:00.001"]);
}

#[test]
fn text_is_escaped_and_documents_are_not() {
    assert_eq!(json_of(StringArray::from(vec!["a\"\\\n\u{1}é😀"])), ["\"a\\\"\\\\\\n\\u0001é😀\""]);
    let documents = StringArray::from(vec!["{\"a\":\r\n [1]}", "not json"]);
    assert_eq!(
        json(&field("d", DataType::Utf8, true, "json", Some(LOGICAL_JSON)), &documents),
        ["{\"a\":   [1]}", "\"not json\""]
    );
    let wide = StringArray::from(vec!["-123456789.5", "0x10"]);
    assert_eq!(
        json(&field("n", DataType::Utf8, true, "numeric", Some(LOGICAL_NUMBER)), &wide),
        ["-123456789.5", "\"0x10\""]
    );
    assert_eq!(json_of(BinaryArray::from(vec![&b"\x00\xff"[..], b"abc", b""])), ["\"AP8=\"", "\"YWJj\"", "\"\""]);
    let dictionary: DictionaryArray<types::Int32Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
    assert_eq!(json_of(dictionary), ["\"x\"", "null", "\"x\""]);
}

#[test]
fn nested_cells_are_json_values() {
    use arrow_array::builder::{Int32Builder, MapBuilder, StringBuilder};
    use arrow_array::types::Int32Type;
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    assert_eq!(json_of(lists.clone()), ["[1,null]", "null", "[]"]);
    assert_eq!(json_of(lists.slice(2, 1)), ["[]"]);
    let mut maps = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    maps.keys().append_slice(&[7, 8]);
    maps.values().append_value("a\"b");
    maps.values().append_null();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    maps.append(true).unwrap();
    let maps = maps.finish();
    assert_eq!(json_of(maps.clone()), [r#"{"7":"a\"b","8":null}"#, "null", "{}"]);
    let row = StructArray::from(vec![
        (Arc::new(Field::new("l", lists.data_type().clone(), true)), Arc::new(lists) as ArrayRef),
        (Arc::new(Field::new("m", maps.data_type().clone(), true)), Arc::new(maps) as ArrayRef),
    ]);
    let written = json_of(row);
    assert_eq!(written[0], r#"{"l":[1,null],"m":{"7":"a\"b","8":null}}"#);
    assert!(written.iter().all(|document| is_json_document(document.as_bytes())));
}

#[test]
fn json_documents_are_told_from_other_text() {
    for good in ["1", " [ ] ", "{\"a\":{\"b\":[1,2,{}]},\"c\":null}", "\"\\u00e9\"", "-0.5e-7", "[[[]],[]]"] {
        assert!(is_json_document(good.as_bytes()), "{good}");
    }
    for bad in ["", "01", "[1,]", "{\"a\"}", "{,}", "[", "]", "1 2", "\"\n\"", "{\"a\":1,}", "nul", "+1", "1.", "--1"] {
        assert!(!is_json_document(bad.as_bytes()), "{bad}");
    }
    assert!(is_json_document(&[vec![b'['; 512], vec![b']'; 512]].concat()));
    assert!(!is_json_document(&[vec![b'['; 514], vec![b']'; 514]].concat()));
}

fn one_row(table: TableId, kind: Kind, key: Vec<usize>) -> ChangeBatch {
    let schema = TableSchema::by_value(table, vec![Field::new("id", DataType::Int64, false)], key);
    let rows = RecordBatch::try_new(schema.arrow.clone(), vec![Arc::new(Int64Array::from(vec![7]))]).unwrap();
    let mut origins = Origins::default();
    let precision = TimePrecision::Micros;
    origins.push(1, Origin { transaction: "0-1-99", position: "p", commit_micros: 0, precision, first_ordinal: 3 });
    ChangeBatch::new(schema, rows, vec![kind], origins).unwrap()
}

fn event_id(batch: &ChangeBatch) -> String {
    let mut out = Vec::new();
    let (ordinal, origin) = batch.ordinals().next().unwrap();
    write_event_id(&Lineage("00ff".into()), batch, 0, ordinal, &origin, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn p39_event_ids_name_transaction_table_and_ordinal() {
    assert_eq!(event_id(&one_row(TableId::new("shop", "t"), Kind::Insert, vec![0])), "00ff/0-1-99/shop.t/3");
    assert_eq!(event_id(&one_row(TableId::new("a.b", "c/d%"), Kind::Insert, vec![0])), "00ff/0-1-99/a%2Eb.c%2Fd%25/3");
    let read = event_id(&one_row(TableId::new("shop", "t"), Kind::Read, vec![0]));
    let digest = read.strip_prefix("00ff/0-1-99/shop.t/").unwrap();
    assert!(digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{read}");
    assert_eq!(event_id(&one_row(TableId::new("shop", "t"), Kind::Read, vec![])), "00ff/0-1-99/shop.t/3");
}

/// The column of the key holds a placeholder then, the same for all of them.
#[test]
fn p39_snapshot_rows_whose_keys_cannot_be_carried_have_ids_of_their_own() {
    let row = || one_row(TableId::new("shop", "t"), Kind::Read, vec![0]);
    let unfit = |text: &str| UnfitCell { row: 0, column: 0, text: text.into(), why: "why".into() };
    let id = |text: &str| event_id(&row().with_unfit(vec![unfit(text)]));
    assert_eq!(id("0000-00-00"), id("0000-00-00"));
    assert_ne!(id("0000-00-00"), id("2026-00-15"));
    assert_ne!(id("7"), event_id(&row()));
}

/// An independent calendar: counts days year by year and month by month.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let years: i64 = if year >= 1970 {
        (1970..year).map(|y| 365 + i64::from(leap(y))).sum()
    } else {
        -(year..1970).map(|y| 365 + i64::from(leap(y))).sum::<i64>()
    };
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    years + lengths[..month as usize - 1].iter().sum::<i64>() + day - 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn p11_dates_agree_with_a_calendar(year in 0i64..=9999, month in 1i64..=12, day in 1i64..=28) {
        let days = days_since_epoch(year, month, day);
        prop_assert_eq!(&plain(&Date32Array::from(vec![days as i32]))[0], &format!("{year:04}-{month:02}-{day:02}"));
    }

    #[test]
    fn p11_decimals_read_back(value in any::<i128>(), scale in -20i8..=38) {
        let value = value % 10i128.pow(38);
        let text = &plain(&Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap())[0];
        let digits = text.replace('.', "");
        prop_assert_eq!(text.split_once('.').map_or(0, |(_, f)| f.len()), usize::try_from(scale).unwrap_or(0));
        let read: i256 = i256::from_string(&digits).unwrap();
        let factor = i256::from_i128(10).checked_pow(u32::from((-scale).max(0) as u8)).unwrap();
        prop_assert_eq!(read, i256::from_i128(value).checked_mul(factor).unwrap());
    }

    #[test]
    fn p11_floats_read_back(double in any::<f64>(), single in any::<f32>()) {
        let text = &plain(&Float64Array::from(vec![double]))[0];
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), double.to_bits());
        let text = &plain(&Float32Array::from(vec![single]))[0];
        prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), single.to_bits());
    }

    #[test]
    fn p11_instants_read_back(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000) {
        let mut out = Vec::new();
        write_instant(micros, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (y, m, d) = (&text[..4], &text[5..7], &text[8..10]);
        let days = days_since_epoch(y.parse().unwrap(), m.parse().unwrap(), d.parse().unwrap());
        let seconds = |t: &str| t.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
        let fraction: i64 = text[19..].trim_matches(['.', 'Z']).parse().unwrap_or(0);
        prop_assert_eq!((days * 86_400 + seconds(&text[11..19])) * 1_000_000 + fraction, micros);
    }

    #[test]
    fn p11_any_text_survives_json(text in any::<String>()) {
        let written = &json_of(StringArray::from(vec![text.as_str()]))[0];
        prop_assert!(is_json_document(written.as_bytes()));
        prop_assert!(!written.contains('\n'));
        prop_assert_eq!(unescape(written), text);
    }
}

fn unescape(quoted: &str) -> String {
    let mut out = String::new();
    let mut rest = quoted[1..quoted.len() - 1].chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '\\' => match rest.next().unwrap() {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => char::from_u32(u32::from_str_radix(&rest.by_ref().take(4).collect::<String>(), 16).unwrap())
                    .unwrap(),
                other => other,
            },
            other => other,
        });
    }
    out
}

#[test]
fn units_have_their_digits() {
    for (unit, text) in [(TimeUnit::Millisecond, "00:00:01.500"), (TimeUnit::Nanosecond, "00:00:00.000001500")] {
        let mut out = Vec::new();
        time::write_duration(1500, unit, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
