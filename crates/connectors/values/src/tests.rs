use super::*;
use arrow_array::{
    ArrayRef, BinaryArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use dujiang_core::batch::TimePrecision;
use dujiang_core::dialect::parse_field;
use dujiang_core::evolution::{AddedColumn, AlteredColumn, ColumnPlace};
use dujiang_core::options::{Place, RawOption};
use dujiang_core::{Kind, Origin, Origins, TableId};

fn table(columns: &[(&str, &str)], key: Vec<usize>) -> Arc<TableSchema> {
    let fields = columns.iter().map(|(name, declared)| parse_field(name, declared).unwrap()).collect();
    TableSchema::by_value(TableId::new("db", "t"), fields, key)
}

fn batch(schema: &Arc<TableSchema>, columns: Vec<ArrayRef>, kinds: Vec<Kind>) -> ChangeBatch {
    let rows = RecordBatch::try_new(schema.arrow.clone(), columns).unwrap();
    let mut origins = Origins::default();
    let precision = TimePrecision::Micros;
    let origin = Origin { transaction: "t", position: "p", commit_micros: 0, precision, first_ordinal: 0 };
    origins.push(kinds.len(), origin);
    ChangeBatch::new(schema.clone(), rows, kinds, origins).unwrap()
}

fn printed(batch: &ChangeBatch, prefix: &str) -> Vec<String> {
    let mut out = Vec::new();
    print::data_events(batch, prefix, &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn data_is_printed_as_in_the_dialect() {
    let shape = table(
        &[
            ("id", "INT NOT NULL"),
            ("name", "STRING"),
            ("price", "DECIMAL(10, 2)"),
            ("raw", "BYTES"),
            ("at", "TIMESTAMP_LTZ(3)"),
        ],
        vec![0],
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 1, 1, 2])),
        Arc::new(StringArray::from(vec![Some("Alice"), Some("Alice"), None, Some("Bob, jr")])),
        Arc::new(
            Decimal128Array::from(vec![Some(1250), Some(1250), Some(-5), None])
                .with_precision_and_scale(10, 2)
                .unwrap(),
        ),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x01\x02"), None, None, Some(b"")])),
        Arc::new(TimestampMicrosecondArray::from(vec![0, 0, 1_500_000, 1_000_000]).with_timezone("UTC")),
    ];
    let kinds = vec![Kind::Read, Kind::UpdateBefore, Kind::UpdateAfter, Kind::Delete];
    let expected = [
        "DataChangeEvent{tableId=db.t, before=[], after=[1, Alice, 12.50, AQI=, 1970-01-01T00:00], op=INSERT, meta=()}",
        "DataChangeEvent{tableId=db.t, before=[1, Alice, 12.50, null, 1970-01-01T00:00], \
         after=[1, null, -0.05, null, 1970-01-01T00:00:01.500], op=UPDATE, meta=()}",
        "DataChangeEvent{tableId=db.t, before=[2, Bob, jr, null, , 1970-01-01T00:00:01], after=[], op=DELETE, meta=()}",
    ];
    let batch = batch(&shape, columns, kinds);
    assert_eq!(printed(&batch, ""), expected);
    assert_eq!(printed(&batch, "1> ")[0], format!("1> {}", expected[0]));
}

#[test]
fn arrays_maps_and_rows_are_printed() {
    use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
    let mut list = ListBuilder::new(Int64Builder::new());
    list.append_value([Some(1), None]);
    list.append_null();
    let list = list.finish();
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(7);
    map.append(true).unwrap();
    map.append(true).unwrap();
    let map = map.finish();
    let part = parse_field("a", "INT").unwrap();
    let part: ArrayRef = Arc::new(arrow_array::StructArray::from(vec![(
        Arc::new(part),
        Arc::new(Int32Array::from(vec![5, 6])) as ArrayRef,
    )]));
    let columns: Vec<ArrayRef> = vec![Arc::new(list), Arc::new(map), part];
    let fields: Vec<Field> = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true)).collect();
    let shape = TableSchema::by_value(TableId::new("db", "t"), fields, Vec::new());
    let lines = printed(&batch(&shape, columns, vec![Kind::Insert; 2]), "");
    assert!(lines[0].contains("after=[[1, null], {k=7}, {a=5}]"), "{}", lines[0]);
    assert!(lines[1].contains("after=[null, {}, {a=6}]"), "{}", lines[1]);
}

#[test]
fn bits_are_what_they_are_in_the_dialect() {
    use dujiang_core::schema::{LOGICAL_BIT, field};
    let bit = |name: &str, source: &str| field(name, arrow_schema::DataType::UInt64, true, source, Some(LOGICAL_BIT));
    let shape = TableSchema::by_value(TableId::new("db", "t"), vec![bit("a", "bit(1)"), bit("b", "bit(12)")], vec![]);
    let column = |value| Arc::new(arrow_array::UInt64Array::from(vec![value])) as ArrayRef;
    let lines = printed(&batch(&shape, vec![column(1), column(0x0102)], vec![Kind::Insert]), "");
    assert!(lines[0].contains("after=[true, AgE=]"), "{}", lines[0]);
}

/// One line per kind of event; the texts are those of the dialect's own tests.
#[test]
fn schema_changes_are_printed_as_in_the_dialect() {
    let before = table(&[("id", "INT NOT NULL"), ("age", "INT")], vec![0]);
    let field = |name: &str, declared: &str| Arc::new(parse_field(name, declared).unwrap());
    let add = |name: &str, place| AddedColumn { field: field(name, "TINYINT"), place };
    let cases = [
        (
            SchemaEvent::CreateTable,
            "CreateTableEvent{tableId=db.t, schema=columns={`id` INT NOT NULL,`age` INT}, primaryKeys=id, options=()}",
        ),
        (
            SchemaEvent::AddColumns(vec![add("gender", ColumnPlace::After("age".into()))]),
            "AddColumnEvent{tableId=db.t, addedColumns=[ColumnWithPosition{column=`gender` TINYINT, position=AFTER, \
             existedColumnName=age}]}",
        ),
        (
            SchemaEvent::AddColumns(vec![add("rank", ColumnPlace::First), add("foo", ColumnPlace::Last)]),
            "AddColumnEvent{tableId=db.t, addedColumns=[ColumnWithPosition{column=`rank` TINYINT, position=FIRST, \
             existedColumnName=null}, ColumnWithPosition{column=`foo` TINYINT, position=LAST, existedColumnName=null}]}",
        ),
        (
            SchemaEvent::AlterTypes(vec![AlteredColumn { from: field("age", "INT"), to: field("age", "DOUBLE") }]),
            "AlterColumnTypeEvent{tableId=db.t, typeMapping={age=DOUBLE}, oldTypeMapping={age=INT}}",
        ),
        (
            SchemaEvent::RenameColumns(vec![("age".into(), "precise_age".into())]),
            "RenameColumnEvent{tableId=db.t, nameMapping={age=precise_age}}",
        ),
        (
            SchemaEvent::DropColumns(vec!["biological_sex".into()]),
            "DropColumnEvent{tableId=db.t, droppedColumnNames=[biological_sex]}",
        ),
        (SchemaEvent::TruncateTable, "TruncateTableEvent{tableId=db.t}"),
        (SchemaEvent::DropTable, "DropTableEvent{tableId=db.t}"),
    ];
    for (event, expected) in cases {
        let change = SinkChange { before: Some(before.clone()), after: before.clone(), event };
        assert_eq!(print::schema_event(&change), expected);
    }
    let odd = Schema::new(vec![parse_field("a`b", "STRING").unwrap()]);
    let odd = TableSchema { arrow: Arc::new(odd), key: Vec::new(), ..(*before).clone() };
    assert_eq!(print::schema(&odd), "columns={`a``b` STRING}, primaryKeys=, options=()");
}

fn options(raw: &[(&str, &str)]) -> ValuesOptions {
    let raw: Vec<RawOption> = raw.iter().map(|(key, value)| RawOption::new(*key, *value, Place::CommandLine)).collect();
    ValuesOptions::parse(&raw).unwrap()
}

async fn run(raw: &[(&str, &str)], lanes: usize) -> (String, Result<()>) {
    let output = Arc::new(Mutex::new(Vec::new()));
    let sink = Values::new(&options(raw), lanes, output.clone());
    let shape = table(&[("id", "BIGINT NOT NULL")], vec![0]);
    let next = table(&[("id", "BIGINT NOT NULL"), ("x", "INT")], vec![0]);
    let mut committer = Announcer { output: sink.output.clone(), refuses_changes: sink.refuses_changes };
    committer.apply_schema(None, &shape).await.unwrap();
    let prefix = if lanes > 1 { "3> ".into() } else { String::new() };
    let mut writer =
        Printer { output: sink.output.clone(), prefix, lines: Vec::new(), figures: SinkFigures::default() };
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    writer.write(&batch(&shape, vec![ids], vec![Kind::Insert; 2])).await.unwrap();
    assert_eq!(writer.figures().units, 2);
    let changed = committer.apply_schema(Some(&shape), &next).await;
    (String::from_utf8(output.lock().unwrap().clone()).unwrap(), changed)
}

#[tokio::test]
async fn the_sink_prints_what_it_is_given() {
    let (text, changed) = run(&[], 1).await;
    changed.unwrap();
    let starts: Vec<&str> = text.lines().map(|line| line.split('{').next().unwrap()).collect();
    assert_eq!(starts, ["CreateTableEvent", "DataChangeEvent", "DataChangeEvent", "AddColumnEvent"]);
    let (text, _) = run(&[], 4).await;
    assert!(text.contains("\n3> DataChangeEvent{"), "{text}");
    assert_eq!(run(&[("print.enabled", "false")], 1).await.0, "");
    let (_, changed) = run(&[("error.on.schema.change", "true"), ("sink.api", "SINK_FUNCTION")], 1).await;
    assert_eq!(changed.unwrap_err().code(), Code::SchemaChange);
}
