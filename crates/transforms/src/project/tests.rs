use super::*;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use dujiang_core::batch::TimePrecision;
use dujiang_core::clock::Standing;
use dujiang_core::transform::Transform;
use dujiang_core::{ChangeBatch, Kind, Origin, Origins, TableId, TableSchema};

fn context() -> Context {
    Context {
        time_zone: chrono_tz::Tz::UTC,
        clock: Arc::new(Standing(1_700_000_000_123_456)),
        metadata: vec!["op_ts".to_owned()],
    }
}

fn schema() -> Arc<TableSchema> {
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("n", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
    ];
    TableSchema::by_value(TableId::new("shop", "orders"), fields, vec![0])
}

fn batch(rows: &[(Kind, i64, Option<i32>, &str)]) -> ChangeBatch {
    let schema = schema();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
        Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.2))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.3))),
    ];
    let data = RecordBatch::try_new(schema.arrow.clone(), columns).unwrap();
    let mut origins = Origins::default();
    let origin = Origin {
        transaction: "t",
        position: "p",
        commit_micros: 5_000_000,
        precision: TimePrecision::Micros,
        first_ordinal: 0,
    };
    origins.push(rows.len(), origin);
    ChangeBatch::new(schema, data, rows.iter().map(|r| r.0).collect(), origins).unwrap()
}

fn rule(projection: &str, filter: Option<&str>) -> Rule {
    Rule { projection: Some(projection.to_owned()), filter: filter.map(str::to_owned), ..Rule::default() }
}

fn compiled(rule: &Rule) -> Compiled {
    Compiled::new(rule, &schema(), &context()).unwrap()
}

fn texts(batch: &ChangeBatch, column: &str) -> Vec<String> {
    let column = batch.rows.column_by_name(column).unwrap().as_string::<i32>();
    column.iter().map(|v| v.unwrap_or("NULL").to_owned()).collect()
}

use Kind::{Delete, Insert, Read, UpdateAfter, UpdateBefore};

#[test]
fn an_update_through_a_filter_is_what_it_looks_like_from_behind() {
    let rows = [
        (UpdateBefore, 1, Some(10), "yy"),
        (UpdateAfter, 1, Some(11), "yy"),
        (UpdateBefore, 2, Some(10), "yn"),
        (UpdateAfter, 2, Some(1), "yn"),
        (UpdateBefore, 3, Some(1), "ny"),
        (UpdateAfter, 3, Some(10), "ny"),
        (UpdateBefore, 4, Some(1), "nn"),
        (UpdateAfter, 4, None, "nn"),
        (Insert, 5, None, "null is not true"),
        (Delete, 6, Some(10), "delete"),
    ];
    let done = compiled(&rule("*", Some("n >= 10"))).apply(&batch(&rows)).unwrap();
    let out = &done.batches[0];
    assert_eq!(&*out.kinds, [UpdateBefore, UpdateAfter, Delete, Insert, Delete]);
    assert_eq!(texts(out, "name"), ["yy", "yy", "yn", "ny", "delete"]);
    assert_eq!(done.filtered, 5);
    let ordinals: Vec<u64> = out.ordinals().map(|(n, _)| n).collect();
    assert_eq!(ordinals, [0, 0, 1, 2, 5]);
}

#[test]
fn soft_deletes_are_inserts_of_the_row_that_was_deleted() {
    let rule = Rule { soft_delete: true, ..rule("*, __data_event_type__ AS op", None) };
    let done = compiled(&rule).apply(&batch(&[(Insert, 1, None, "a"), (Delete, 1, None, "a")])).unwrap();
    assert_eq!(&*done.batches[0].kinds, [Insert, Insert]);
    assert_eq!(texts(&done.batches[0], "op"), ["+I", "-D"]);
}

#[test]
fn a_row_that_fails_does_not_stop_the_others() {
    let rows = [
        (Insert, 1, Some(2), "a"),
        (Insert, 2, Some(0), "b"),
        (UpdateBefore, 3, Some(5), "c"),
        (UpdateAfter, 3, Some(0), "c"),
        (Read, 4, None, "d"),
    ];
    let done = compiled(&rule("id, 10 / n AS q", None)).apply(&batch(&rows)).unwrap();
    let failed: Vec<_> = done.failed.iter().map(|f| (f.row, f.error.code())).collect();
    assert_eq!(failed, [(1, Code::DivisionByZero), (2, Code::DivisionByZero)]);
    assert_eq!(done.batches[0].images(), 2);
    let guarded = compiled(&rule("id", Some("n <> 0 AND 10 / n > 1"))).apply(&batch(&rows)).unwrap();
    assert!(guarded.failed.is_empty());
}

/// Whoever reads of a row that fails sees which expression of which rule it was.
#[test]
fn a_row_that_fails_names_its_expression() {
    let failing = |rule: Rule| {
        let rules = vec![TableRule { selects: Box::new(|_| Ok(true)), rule }];
        let done = Transformer::new(rules, context()).apply(batch(&[(Insert, 2, Some(0), "b")])).unwrap();
        format!("{:?}", done.failed[0].error)
    };
    assert_eq!(
        failing(rule("id,\n 10 / n AS q", None)),
        "E0710: division by zero; sql: id,\n 10 / n AS q; at: line 2, column 2; in: projection; output column: q; rule: 1"
    );
    let filter = failing(rule("id", Some("10 / n > 1")));
    assert!(filter.ends_with("at: line 1, column 1; in: filter; rule: 1"), "{filter}");
}

#[test]
fn a_text_in_double_quotes_is_told_of() {
    let mistakes = Compiled::new(&rule("id", Some("name = \"new\"")), &schema(), &context()).unwrap_err();
    let help = mistakes[0].error.help.as_deref();
    assert_eq!(help, Some("a name stands in double quotes, a text in single ones: 'new'"));
    let mistakes = Compiled::new(&rule("id, op_tz", Some("row_kind = '+I'")), &schema(), &context()).unwrap_err();
    let help = mistakes[1].error.help.as_deref();
    assert_eq!(help, Some("to read this fact about a change, set `metadata.list: row_kind` in the source"));
}

/// Stands for an expression whose values of more than `most` rows are too large for one batch.
#[derive(Debug, Eq)]
struct Crowded {
    value: Arc<dyn PhysicalExpr>,
    most: usize,
}

impl PartialEq for Crowded {
    fn eq(&self, other: &Self) -> bool {
        self.value.eq(&other.value) && self.most == other.most
    }
}

impl std::hash::Hash for Crowded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.value.hash(state);
        self.most.hash(state);
    }
}

impl std::fmt::Display for Crowded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.value)
    }
}

impl PhysicalExpr for Crowded {
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn evaluate(&self, batch: &RecordBatch) -> datafusion_common::Result<ColumnarValue> {
        if batch.num_rows() <= self.most {
            return self.value.evaluate(batch);
        }
        let error = dujiang_core::Error::new(Code::ValueOutOfRange, "too much for one batch");
        Err(datafusion_common::DataFusionError::External(Box::new(error)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.value]
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn PhysicalExpr>>,
    ) -> datafusion_common::Result<Arc<dyn PhysicalExpr>> {
        Ok(self)
    }

    fn fmt_sql(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[test]
fn a_batch_too_large_as_a_whole_is_halved_until_it_fits() {
    let mut rows: Vec<_> = (0..9).map(|id| (Insert, id, Some(1), "a")).collect();
    rows.extend([(UpdateBefore, 9, Some(1), "b"), (UpdateAfter, 9, Some(1), "c")]);
    let crowded = |most| {
        let mut compiled = compiled(&rule("id, n + 1 AS m", None));
        let value = compiled.computed.exprs[0].clone();
        compiled.computed.exprs[0] = Arc::new(Crowded { value, most });
        compiled
    };
    let done = crowded(2).apply(&batch(&rows)).unwrap();
    assert!(done.failed.is_empty());
    let kinds: Vec<Kind> = done.batches.iter().flat_map(|b| b.kinds.to_vec()).collect();
    assert_eq!(kinds, rows.iter().map(|r| r.0).collect::<Vec<_>>());
    // Nothing to split in an update alone.
    let done = crowded(1).apply(&batch(&rows)).unwrap();
    assert_eq!(done.failed.iter().map(|f| f.row).collect::<Vec<_>>(), [9]);
    assert_eq!(done.batches.iter().map(ChangeBatch::images).sum::<usize>(), 9);
}

#[test]
fn names_win_in_the_order_of_the_dialect() {
    let done = compiled(&rule("*, id + 1 AS id, upper(name) AS big", Some("id > 1 AND big = 'A'"))).apply(&batch(&[
        (Insert, 0, None, "a"),
        (Insert, 1, None, "a"),
        (Insert, 2, None, "b"),
    ]));
    let done = done.unwrap();
    let out = &done.batches[0];
    assert_eq!(
        out.schema.arrow.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(),
        ["id", "n", "name", "big"]
    );
    assert_eq!(out.rows.column(0).as_primitive::<arrow_array::types::Int64Type>().values(), &[2]);
    assert_eq!(out.schema.key, [0]);
}

#[test]
fn keys_can_be_named() {
    let rule = Rule { primary_keys: vec!["name".to_owned(), "n".to_owned()], ..rule("n, name", None) };
    let compiled = compiled(&rule);
    assert_eq!(compiled.output().key, [1, 0]);
    assert!(!compiled.output().arrow.field(0).is_nullable());
    let done = compiled.apply(&batch(&[(Insert, 1, None, "a"), (Insert, 2, Some(1), "b")])).unwrap();
    assert_eq!(done.failed[0].error.code(), Code::BadRecord);
    assert_eq!(done.batches[0].images(), 1);
    let wrong = Rule { primary_keys: vec!["nam".to_owned()], ..rule.clone() };
    let mistakes = Compiled::new(&wrong, &schema(), &context()).unwrap_err();
    assert_eq!(mistakes[0].clause, Clause::PrimaryKey(0));
    assert_eq!(mistakes[0].error.help.as_deref(), Some("did you mean `name`?"));
}

#[test]
fn nested_columns_are_no_keys() {
    for nested in ["ARRAY[id]", "MAP[name, id]", "ROW(id, n)"] {
        let named = Rule { primary_keys: vec!["k".to_owned()], ..rule(&format!("*, {nested} AS k"), None) };
        let mistakes = Compiled::new(&named, &schema(), &context()).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].clause), (1, Clause::PrimaryKey(0)), "{nested}");
        assert_eq!(mistakes[0].error.message, "`k` is an ARRAY, MAP or ROW, which cannot be in a key");
        assert!(mistakes[0].error.help.is_some());
        let in_place = rule(&format!("*, {nested} AS id"), None);
        let mistakes = Compiled::new(&in_place, &schema(), &context()).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].clause), (1, Clause::Projection), "{nested}");
    }
}

#[test]
fn every_mistake_is_reported_at_its_place() {
    let text = "id, nmae AS a,\n uper(name) AS b, n + name AS c, count(*) AS d, (select 1) AS e, id +";
    let rule = rule(text, Some("n = 'x' AND sum(n) > 1"));
    let mut found = Vec::new();
    for mistake in Compiled::new(&rule, &schema(), &context()).unwrap_err().into_iter().chain(rule.check()) {
        let text = if mistake.clause == Clause::Filter { rule.filter.as_deref().unwrap() } else { text };
        let (line, column) = mistake.error.line_column(text);
        found.push(format!("{} {line}:{column} {}", mistake.error.code.number(), mistake.error.message));
    }
    // A text that cannot be read is reported before its names are looked up.
    let expected = [
        "E0122 2:2 there is no function UPER",
        "E0124 2:34 the aggregate COUNT is not possible in a transform",
        "E0124 2:50 a subquery is not possible in a transform",
        "E0120 2:70 expected an expression, found the end",
        "E0123 1:5 'x' is no INT",
        "E0124 1:13 the aggregate SUM is not possible in a transform",
        "E0122 2:2 there is no function UPER",
        "E0124 2:34 the aggregate COUNT is not possible in a transform",
        "E0124 2:50 a subquery is not possible in a transform",
        "E0120 2:70 expected an expression, found the end",
        "E0124 1:13 the aggregate SUM is not possible in a transform",
    ];
    assert_eq!(found, expected);
    let readable =
        Rule { projection: Some("nmae AS a, uper(name) AS b, n + name AS c, n + 1".to_owned()), ..Rule::default() };
    let found: Vec<_> = Compiled::new(&readable, &schema(), &context())
        .unwrap_err()
        .into_iter()
        .map(|m| {
            format!(
                "{} {:?} {} ({})",
                m.error.code.number(),
                m.error.span,
                m.error.message,
                m.error.help.unwrap_or_default()
            )
        })
        .collect();
    let expected = [
        "E0126 43..48 an expression needs a name (write `AS name` behind it)",
        "E0121 0..4 table shop.orders has no column `nmae` (did you mean `name`?)",
        "E0122 11..15 there is no function UPER (did you mean UPPER?)",
        "E0123 28..36 INT + STRING is not possible (CAST converts a value to a number)",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_change_of_a_hidden_column_leaves_the_output_as_it_is() {
    let rules = vec![TableRule { selects: Box::new(|_| Ok(true)), rule: rule("id, upper(name) AS name", None) }];
    let transformer = Transformer::new(rules, context());
    let before = transformer.output_schema(&schema()).unwrap().unwrap();
    let mut wider = (*schema()).clone();
    let mut fields: Vec<_> = wider.arrow.fields().iter().cloned().collect();
    fields.insert(0, Arc::new(Field::new("new", DataType::Utf8, true)));
    wider.arrow = Arc::new(arrow_schema::Schema::new(fields));
    wider.key = vec![1];
    wider.version = 2;
    let after = transformer.output_schema(&Arc::new(wider.clone())).unwrap().unwrap();
    assert_eq!((&before.arrow, &before.key), (&after.arrow, &after.key));
    let mut narrower = wider;
    narrower.arrow = Arc::new(arrow_schema::Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    narrower.key = vec![0];
    narrower.version = 3;
    let error = transformer.output_schema(&Arc::new(narrower)).unwrap_err();
    assert_eq!(error.code(), Code::SqlUnknownColumn);
}

#[test]
fn ids_are_the_same_when_a_change_is_read_again() {
    let compiled = compiled(&rule("UUID() AS a, UUID() AS b", None));
    let rows = [(Insert, 1, None, "a"), (Insert, 2, None, "b")];
    let out = |batch: &ChangeBatch| compiled.apply(batch).unwrap().batches.remove(0);
    let (first, second) = (out(&batch(&rows)), out(&batch(&rows)));
    assert_eq!(texts(&first, "a"), texts(&second, "a"));
    assert_ne!(texts(&first, "a"), texts(&first, "b"));
    assert_ne!(texts(&first, "a")[0], texts(&first, "a")[1]);
}

#[test]
fn only_rules_that_name_keys_change_them() {
    let transformer = |primary_keys: Vec<String>| {
        let rule = Rule { primary_keys, ..rule("*", None) };
        Transformer::new(vec![TableRule { selects: Box::new(|_| Ok(true)), rule }], context())
    };
    assert!(transformer(vec!["name".to_owned()]).changes_keys());
    assert!(!transformer(Vec::new()).changes_keys());
}
