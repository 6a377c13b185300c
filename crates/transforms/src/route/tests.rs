use super::*;
use crate::evolve::Behavior;
use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type};
use dujiang_core::batch::TimePrecision;
use dujiang_core::dialect::{parse_field, type_name};
use dujiang_core::{Kind, Origin, Origins};
use std::collections::HashMap;

type Columns<'a> = &'a [(&'a str, &'a str)];

fn table(name: &str, columns: Columns<'_>) -> Arc<TableSchema> {
    let fields = columns.iter().map(|(name, declared)| parse_field(name, declared).unwrap()).collect();
    let (database, name) = name.split_once('.').unwrap();
    TableSchema::by_value(TableId::new(database, name), fields, vec![0])
}

fn version(table: &Arc<TableSchema>, version: u32) -> Arc<TableSchema> {
    Arc::new(TableSchema { version, ..(**table).clone() })
}

fn router(rules: &[(&str, &str)], behavior: Behavior) -> Router {
    let rules = rules.iter().map(|(from, to)| Route::parse(from, to, None).unwrap()).collect();
    Router::new(rules, Mode::AllMatch, Policy::all(behavior), Tz::UTC)
}

fn batch(shape: &Arc<TableSchema>, columns: Vec<ArrayRef>, kinds: Vec<Kind>) -> ChangeBatch {
    let rows = RecordBatch::try_new(shape.arrow.clone(), columns).unwrap();
    let mut origins = Origins::default();
    let precision = TimePrecision::Micros;
    let origin = Origin { transaction: "t", position: "p", commit_micros: 0, precision, first_ordinal: 0 };
    origins.push(kinds.len(), origin);
    ChangeBatch::new(shape.clone(), rows, kinds, origins).unwrap()
}

fn shape(table: &TableSchema) -> String {
    let columns: Vec<_> = table.arrow.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f))).collect();
    format!("{} v{}: {}", table.id, table.version, columns.join(", "))
}

/// Carries a change through, as the engine does; the sink refuses events with the tag `refused`.
fn carry(router: &Router, change: &SchemaChange, refused: &str) -> Result<Vec<&'static str>> {
    let mut told = Vec::new();
    for planned in router.plan(change)? {
        let Some(change) = router.prepare(&planned) else { continue };
        if change.event.tag() == refused {
            let refusal = Error::new(Code::SchemaChange, "the sink cannot");
            if router.tolerates(&refusal) {
                continue;
            }
            return Err(refusal);
        }
        told.push(change.event.tag());
        router.accept(&change);
    }
    router.settle(change)?;
    Ok(told)
}

fn alter(before: &Arc<TableSchema>, after: &Arc<TableSchema>) -> SchemaChange {
    SchemaChange { before: Some(before.clone()), after: after.clone(), statement: "ALTER".into(), ddl: Ddl::default() }
}

fn sink_shape(router: &Router, table: &str) -> String {
    let (database, table) = table.split_once('.').unwrap();
    router.state().sinks.get(&TableId::new(database, table)).map_or_else(|| "none".into(), |t| shape(t))
}

#[test]
fn names_follow_the_rules() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[], "a.t", &["a.t"]),
        (&[("a.t", "b.u")], "a.t", &["b.u"]),
        (&[("a.t", "b.u")], "a.other", &["a.other"]),
        (&[(r"a.orders_(\.*)", "ods.$1")], "a.orders_eu", &["ods.eu"]),
        (&[(r"a.\.*", "all.rows"), ("a.t", "only.t")], "a.t", &["all.rows", "only.t"]),
        (&[(r"a.\.*", "all.rows"), ("a.t", "all.rows")], "a.t", &["all.rows"]),
    ];
    for (rules, from, expected) in cases {
        let (database, name) = from.split_once('.').unwrap();
        let names = router(rules, Behavior::Evolve).targets(&TableId::new(database, name)).unwrap();
        assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), *expected, "{rules:?}");
    }
    let rules = vec![Route::parse(r"a.\.*", "x.<>", Some("<>")).unwrap(), Route::parse("a.t", "y.u", None).unwrap()];
    let first = Router::new(rules, Mode::FirstMatch, Policy::all(Behavior::Evolve), Tz::UTC);
    assert_eq!(first.targets(&TableId::new("a", "t")).unwrap(), [TableId::new("x", "t")]);
}

#[test]
fn one_table_flows_into_several() {
    let router = router(&[("a.t", "b.u"), ("a.t", "c.v")], Behavior::Evolve);
    let t = table("a.t", &[("id", "INT NOT NULL")]);
    let shapes = router.start(std::slice::from_ref(&t), &[]).unwrap();
    assert_eq!(shapes.iter().map(|s| s.id.to_string()).collect::<Vec<_>>(), ["b.u", "c.v"]);
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let out = router.apply(batch(&t, vec![ids], vec![Kind::Insert])).unwrap();
    assert_eq!(out.batches.len(), 2);
    for batch in &out.batches {
        assert_eq!(batch.source_table(), &t.id);
    }
    assert!(is_natural(&router));
}

/// Whether the sink's shapes are the sources'.
fn is_natural(router: &Router) -> bool {
    super::kept::read(&router.kept()).unwrap().tables.is_empty()
}

#[test]
fn several_tables_flow_into_one() {
    let a = table("a.t1", &[("id", "INT NOT NULL"), ("x", "STRING")]);
    let b = table("a.t2", &[("y", "INT NOT NULL"), ("id", "BIGINT NOT NULL")]);
    let b = Arc::new(TableSchema { key: vec![1], ..(*b).clone() });
    let router = router(&[(r"a.t\d", "ods.t")], Behavior::Evolve);
    let shapes = router.start(&[b.clone(), a.clone()], &[]).unwrap();
    assert_eq!(shape(&shapes[0]), "ods.t v1: id BIGINT NOT NULL, x STRING, y INT");
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![7])), Arc::new(StringArray::from(vec!["w"]))];
    let mut out = router.apply(batch(&a, columns, vec![Kind::Insert])).unwrap();
    let rows = out.batches.remove(0).rows;
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().value(0), 7);
    assert!(rows.column(2).is_null(0));
    // A start at this position finds the same shape, and so does one after a change.
    let again = super::tests::router(&[(r"a.t\d", "ods.t")], Behavior::Evolve);
    assert_eq!(again.start(&[a.clone(), b.clone()], &router.kept()).unwrap(), shapes);
    let wider = version(&table("a.t1", &[("id", "INT NOT NULL"), ("x", "STRING"), ("z", "DATE")]), 2);
    assert_eq!(carry(&again, &alter(&a, &wider), "").unwrap(), ["add.column"]);
    assert_eq!(sink_shape(&again, "ods.t"), "ods.t v2: id BIGINT NOT NULL, x STRING, y INT, z DATE");
    // The other table's rows take the new shape too; what only one loses stays.
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1])), Arc::new(Int64Array::from(vec![2]))];
    let out = again.apply(batch(&b, columns, vec![Kind::Insert])).unwrap();
    assert_eq!(out.batches[0].rows.num_columns(), 4);
    let narrow = version(&table("a.t1", &[("id", "INT NOT NULL")]), 3);
    assert!(carry(&again, &alter(&wider, &narrow), "").unwrap().is_empty());
    assert_eq!(sink_shape(&again, "ods.t"), "ods.t v2: id BIGINT NOT NULL, x STRING, y INT, z DATE");
    for ddl in [Ddl::Truncate, Ddl::Drop] {
        let change = SchemaChange { ddl, ..alter(&narrow, &narrow) };
        assert!(carry(&again, &change, "").unwrap().is_empty(), "rows of the other table are still there");
    }
}

#[test]
fn each_behaviour_leads_to_its_shape() {
    use Behavior::{Evolve, Ignore, Lenient};
    let before = table("a.t", &[("id", "INT NOT NULL"), ("x", "INT NOT NULL"), ("y", "STRING")]);
    let after = version(&table("a.t", &[("id", "INT NOT NULL"), ("z", "DATE"), ("y", "STRING")]), 2);
    let cases = [
        (Evolve, &["add.column", "drop.column"][..], "a.t v2: id INT NOT NULL, z DATE, y STRING", true),
        (Lenient, &["add.column", "alter.column.type"], "a.t v2: id INT NOT NULL, x INT, y STRING, z DATE", false),
        (Ignore, &[], "a.t v1: id INT NOT NULL, x INT NOT NULL, y STRING", false),
    ];
    for (behavior, tags, expected, natural) in cases {
        let router = router(&[], behavior);
        router.start(std::slice::from_ref(&before), &[]).unwrap();
        assert_eq!(carry(&router, &alter(&before, &after), "").unwrap(), tags, "{behavior:?}");
        assert_eq!(sink_shape(&router, "a.t"), expected);
        assert_eq!(is_natural(&router), natural);
        let again = super::tests::router(&[], behavior);
        again.start(std::slice::from_ref(&after), &router.kept()).unwrap();
        assert_eq!(sink_shape(&again, "a.t"), expected, "after a restart, {behavior:?}");
    }
}

#[test]
fn a_refused_change_stops_the_pipeline_or_is_passed_over() {
    let before = table("a.t", &[("id", "INT NOT NULL"), ("x", "INT")]);
    let after = version(&table("a.t", &[("id", "INT NOT NULL"), ("z", "DATE")]), 2);
    let evolve = router(&[], Behavior::Evolve);
    evolve.start(std::slice::from_ref(&before), &[]).unwrap();
    assert_eq!(carry(&evolve, &alter(&before, &after), "drop.column").unwrap_err().code(), Code::SchemaChange);
    let tolerant = router(&[], Behavior::TryEvolve);
    tolerant.start(std::slice::from_ref(&before), &[]).unwrap();
    assert_eq!(carry(&tolerant, &alter(&before, &after), "drop.column").unwrap(), ["add.column"]);
    assert_eq!(sink_shape(&tolerant, "a.t"), "a.t v2: id INT NOT NULL, x INT, z DATE");
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1])), arrow_array::new_null_array(&arrow_schema::DataType::Date32, 1)];
    let out = tolerant.apply(batch(&after, columns, vec![Kind::Insert])).unwrap();
    assert_eq!((out.batches[0].rows.num_columns(), out.batches[0].schema.version), (3, 2));
}

#[test]
fn tables_come_and_go() {
    let router = router(&[], Behavior::Evolve);
    router.start(&[], &[]).unwrap();
    let t = table("a.t", &[("id", "INT NOT NULL")]);
    let new = SchemaChange { before: None, after: t.clone(), statement: "CREATE".into(), ddl: Ddl::default() };
    assert_eq!(carry(&router, &new, "").unwrap(), ["create.table"]);
    let emptied = SchemaChange { ddl: Ddl::Truncate, ..alter(&t, &t) };
    assert_eq!(carry(&router, &emptied, "").unwrap(), ["truncate.table"]);
    let dropped = SchemaChange { ddl: Ddl::Drop, ..alter(&t, &t) };
    assert_eq!(carry(&router, &dropped, "").unwrap(), ["drop.table"]);
    assert_eq!(sink_shape(&router, "a.t"), "none");
    assert_eq!(carry(&router, &new, "").unwrap(), ["create.table"]);
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    assert_eq!(router.apply(batch(&t, vec![ids], vec![Kind::Insert])).unwrap().batches.len(), 1);
}

#[test]
fn rows_that_do_not_fit_come_back_whole() {
    let a = table("a.t1", &[("id", "INT NOT NULL"), ("n", "BIGINT")]);
    let b = table("a.t2", &[("id", "INT NOT NULL"), ("n", "DOUBLE")]);
    let router = router(&[(r"a.t\d", "ods.t"), ("a.t1", "copy.t")], Behavior::Evolve);
    router.start(&[a.clone(), b], &[]).unwrap();
    let wide = (1 << 53) + 1;
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1, 2, 2, 3])), Arc::new(Int64Array::from(vec![5, 6, wide, 7]))];
    let kinds = vec![Kind::Insert, Kind::UpdateBefore, Kind::UpdateAfter, Kind::Delete];
    let out = router.apply(batch(&a, columns, kinds)).unwrap();
    assert_eq!(out.failed.iter().map(|e| (e.row, e.error.code())).collect::<Vec<_>>(), [(1, Code::BadRecord)]);
    let images: Vec<(String, usize)> = out.batches.iter().map(|b| (b.schema.id.to_string(), b.images())).collect();
    assert_eq!(images, [("ods.t".to_owned(), 2), ("copy.t".to_owned(), 2)], "a record goes everywhere or nowhere");
}

#[test]
fn a_record_goes_to_every_table_of_the_sink_or_to_none() {
    let t = table("a.t", &[("id", "INT NOT NULL"), ("n", "BIGINT"), ("m", "BIGINT")]);
    let wide_n = table("a.n", &[("id", "INT NOT NULL"), ("n", "DOUBLE"), ("m", "BIGINT")]);
    let wide_m = table("a.m", &[("id", "INT NOT NULL"), ("n", "BIGINT"), ("m", "DOUBLE")]);
    let rules = [("a.t", "s.all"), ("a.t", "s.n"), ("a.n", "s.n"), ("a.t", "s.m"), ("a.m", "s.m")];
    let router = router(&rules, Behavior::Evolve);
    router.start(&[t.clone(), wide_n, wide_m], &[]).unwrap();
    let big = (1 << 53) + 1;
    // Row 0 fits everywhere, 1 not `s.n`, 2 not `s.m`, 3 neither.
    let rows = [(5, 5), (big, 5), (5, big), (big, big)];
    let apply = |picked: &[usize]| {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(picked.iter().map(|&row| row as i32)));
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(picked.iter().map(|&row| rows[row].0)));
        let m: ArrayRef = Arc::new(Int64Array::from_iter_values(picked.iter().map(|&row| rows[row].1)));
        router.apply(batch(&t, vec![ids, n, m], vec![Kind::Insert; picked.len()])).unwrap()
    };
    let told = |failed: &RowError| format!("{:?}", failed.error);
    for picked in [&[0, 1, 2, 3][..], &[3, 2, 1, 0], &[1, 2], &[2, 0], &[0], &[1], &[2], &[3]] {
        let out = apply(picked);
        let failed: Vec<usize> = out.failed.iter().map(|failed| picked[failed.row]).collect();
        assert_eq!(failed, picked.iter().copied().filter(|&row| row != 0).collect::<Vec<_>>(), "{picked:?}");
        assert_eq!(out.batches.len(), if picked.contains(&0) { 3 } else { 0 }, "{picked:?}");
        for batch in &out.batches {
            assert_eq!(batch.rows.column(0).as_ref(), &Int32Array::from(vec![0]), "{}", batch.schema.id);
        }
        for (row, error) in failed.into_iter().zip(&out.failed) {
            assert_eq!(told(error), told(&apply(&[row]).failed[0]), "the same error as alone");
        }
    }
}

#[test]
fn rows_in_an_untold_shape_stop_the_pipeline() {
    let router = router(&[], Behavior::Evolve);
    let t = table("a.t", &[("id", "INT NOT NULL")]);
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let rows = batch(&t, vec![ids], vec![Kind::Insert]);
    assert_eq!(router.apply(rows.clone()).unwrap_err().code(), Code::SchemaMismatch);
    router.start(std::slice::from_ref(&t), &[]).unwrap();
    assert_eq!(router.apply(rows.clone()).unwrap().batches, [rows]);
}

/// A start with edited rules, after a run in which `behavior` kept a shape of its own: what the rules newly bring is the
/// user's own wish, and reaches the sink; what the behaviour has left out stays out.
#[test]
fn edited_rules_reach_the_sink_after_a_restart_whatever_the_behaviour() {
    let first = table("a.t", &[("id", "INT NOT NULL"), ("x", "INT NOT NULL")]);
    let second = version(&table("a.t", &[("id", "INT NOT NULL"), ("x", "INT NOT NULL"), ("y", "DATE")]), 2);
    let edited = version(&table("a.t", &[("id", "INT NOT NULL"), ("y", "DATE"), ("big", "STRING NOT NULL")]), 2);
    let wider = version(&table("a.t", &[("id", "INT NOT NULL"), ("x", "STRING"), ("y", "DATE")]), 2);
    let cases = [
        (Behavior::Ignore, "", &edited, "a.t v2: id INT NOT NULL, x INT, big STRING"),
        (Behavior::Ignore, "", &wider, "a.t v2: id INT NOT NULL, x STRING"),
        (Behavior::Ignore, "", &second, "a.t v1: id INT NOT NULL, x INT NOT NULL"),
        (Behavior::TryEvolve, "add.column", &edited, "a.t v2: id INT NOT NULL, x INT, big STRING"),
        (Behavior::Lenient, "", &edited, "a.t v3: id INT NOT NULL, x INT, y DATE, big STRING"),
    ];
    for (behavior, refused, now, expected) in cases {
        let router = router(&[], behavior);
        router.start(std::slice::from_ref(&first), &[]).unwrap();
        if behavior == Behavior::Lenient {
            let narrow = version(&table("a.t", &[("id", "INT NOT NULL"), ("y", "DATE")]), 2);
            carry(&router, &alter(&first, &narrow), "").unwrap();
        } else {
            carry(&router, &alter(&first, &second), refused).unwrap();
        }
        let again = super::tests::router(&[], behavior);
        let shapes = again.start(std::slice::from_ref(now), &router.kept()).unwrap();
        assert_eq!(shape(&shapes[0]), expected, "{behavior:?}");
        // The next start finds nothing new.
        let third = super::tests::router(&[], behavior);
        third.start(std::slice::from_ref(now), &again.kept()).unwrap();
        assert_eq!(sink_shape(&third, "a.t"), expected, "{behavior:?}");
    }
    // Under exception only merged tables have shapes of their own.
    let rules = [(r"a.t\d", "ods.t")];
    let (one, two) = (table("a.t1", &[("id", "INT NOT NULL")]), table("a.t2", &[("id", "INT NOT NULL")]));
    let router = router(&rules, Behavior::Exception);
    router.start(&[one.clone(), two.clone()], &[]).unwrap();
    let more = table("a.t1", &[("id", "INT NOT NULL"), ("big", "STRING NOT NULL")]);
    let again = super::tests::router(&rules, Behavior::Exception);
    again.start(&[more, two], &router.kept()).unwrap();
    assert_eq!(sink_shape(&again, "ods.t"), "ods.t v2: id INT NOT NULL, big STRING");
}

#[test]
fn what_rules_say_of_a_table_survives_a_restart() {
    let with_options = |name: &str, keys: &str| {
        let t = table(name, &[("id", "INT NOT NULL")]);
        let metadata = HashMap::from([("dujiang.partition_keys".to_owned(), keys.to_owned())]);
        Arc::new(TableSchema { arrow: Arc::new((*t.arrow).clone().with_metadata(metadata)), ..(*t).clone() })
    };
    let rules = [(r"a.t\d", "ods.t")];
    let router = router(&rules, Behavior::Evolve);
    let tables = [with_options("a.t1", "id"), with_options("a.t2", "id")];
    let shapes = router.start(&tables, &[]).unwrap();
    assert_eq!(shapes[0].arrow.metadata()["dujiang.partition_keys"], "id");
    let again = super::tests::router(&rules, Behavior::Evolve);
    assert_eq!(again.start(&tables, &router.kept()).unwrap(), shapes);
}

/// Files tell shapes apart by their version: a table that only now becomes a merged one must not begin again at 1.
#[test]
fn versions_of_a_table_that_becomes_a_merged_one_go_on() {
    let (one, two) = (table("a.t1", &[("id", "INT NOT NULL")]), table("a.t2", &[("id", "INT NOT NULL"), ("x", "INT")]));
    let (one, two) = (version(&one, 4), version(&two, 2));
    let alone = router(&[("a.t1", "ods.t")], Behavior::Evolve);
    let shapes = alone.start(&[one.clone(), two.clone()], &[]).unwrap();
    assert_eq!(shape(&shapes[1]), "ods.t v4: id INT NOT NULL");
    let rules = [(r"a.t\d", "ods.t")];
    let merged = router(&rules, Behavior::Evolve);
    let shapes = merged.start(&[one.clone(), two.clone()], &alone.kept()).unwrap();
    assert_eq!(shape(&shapes[0]), "ods.t v5: id INT NOT NULL, x INT");
    let again = router(&rules, Behavior::Evolve);
    assert_eq!(again.start(&[one, two], &merged.kept()).unwrap(), shapes);
}

/// Files of one version have one shape: a rule that is edited between two runs makes a new one, also where one table alone
/// flows into another, and each start with the same rules finds it again.
#[test]
fn edited_rules_make_a_new_version_of_a_table_with_one_source() {
    let columns = |more: &[(&'static str, &'static str)]| {
        let all: Vec<(&str, &str)> = [("id", "INT NOT NULL")].iter().chain(more).copied().collect();
        version(&table("a.t", &all), 3)
    };
    let start = |shape: &Arc<TableSchema>, rules: &[(&str, &str)], kept: &[u8]| {
        let router = router(rules, Behavior::Evolve);
        router.start(std::slice::from_ref(shape), kept).unwrap();
        router
    };
    let (plain, gross, net) = (columns(&[]), columns(&[("gross", "DOUBLE")]), columns(&[("net", "DOUBLE")]));
    let first = start(&plain, &[], &[]);
    assert_eq!(sink_shape(&first, "a.t"), "a.t v3: id INT NOT NULL");
    let mut kept = start(&plain, &[], &first.kept()).kept();
    for (edited, expected) in [(&gross, "v4: id INT NOT NULL, gross DOUBLE"), (&net, "v5: id INT NOT NULL, net DOUBLE")]
    {
        for _ in 0..2 {
            let router = start(edited, &[], &kept);
            assert_eq!(sink_shape(&router, "a.t"), format!("a.t {expected}"));
            kept = router.kept();
        }
    }
    // A change of the table goes on from there.
    let router = start(&net, &[], &kept);
    let wider = version(&columns(&[("net", "DOUBLE"), ("x", "INT")]), 4);
    assert_eq!(carry(&router, &alter(&net, &wider), "").unwrap(), ["add.column"]);
    assert_eq!(sink_shape(&router, "a.t"), "a.t v6: id INT NOT NULL, net DOUBLE, x INT");
    // A table that is routed elsewhere for a while comes back with the version after its last one.
    let away = start(&plain, &[("a.t", "b.t")], &kept);
    assert_eq!(sink_shape(&away, "b.t"), "b.t v3: id INT NOT NULL");
    let back = start(&plain, &[], &away.kept());
    assert_eq!(sink_shape(&back, "a.t"), "a.t v6: id INT NOT NULL");
}

#[test]
fn another_key_than_the_one_rows_were_written_under_is_refused_by_name() {
    for behavior in [Behavior::Evolve, Behavior::Ignore] {
        let t = table("a.t", &[("id", "INT NOT NULL"), ("x", "INT NOT NULL")]);
        let more = version(&table("a.t", &[("id", "INT NOT NULL"), ("x", "INT NOT NULL"), ("y", "INT")]), 2);
        let before = router(&[], behavior);
        before.start(std::slice::from_ref(&t), &[]).unwrap();
        let narrow = version(&table("a.t", &[("id", "INT NOT NULL")]), 3);
        let lenient = router(&[], Behavior::Lenient);
        lenient.start(std::slice::from_ref(&t), &[]).unwrap();
        carry(&lenient, &alter(&t, &narrow), "").unwrap();
        let edited = Arc::new(TableSchema { key: vec![1], ..(*more).clone() });
        let error = router(&[], behavior).start(&[edited], &lenient.kept()).unwrap_err();
        assert_eq!(error.code(), Code::SchemaChange);
        let told = format!("{error:?} {}", error.help_text().unwrap());
        assert!(told.contains("its key now: (x)") && told.contains("key so far: (id)"), "{told}");
        assert!(told.contains("primary-keys") && !told.contains("flow into"), "{told}");
    }
}

/// A column that `lenient` kept comes back with another type: the sink takes both, before a restart as after it.
#[test]
fn lenient_is_as_lenient_before_a_restart_as_after_it() {
    let with_x = |declared: &str, v: u32| version(&table("a.t", &[("id", "INT NOT NULL"), ("x", declared)]), v);
    let without = version(&table("a.t", &[("id", "INT NOT NULL")]), 2);
    let router = router(&[], Behavior::Lenient);
    router.start(&[with_x("INT NOT NULL", 1)], &[]).unwrap();
    carry(&router, &alter(&with_x("INT NOT NULL", 1), &without), "").unwrap();
    let kept = router.kept();
    assert_eq!(carry(&router, &alter(&without, &with_x("BIGINT", 3)), "").unwrap(), ["alter.column.type"]);
    let expected = "a.t v3: id INT NOT NULL, x BIGINT";
    assert_eq!(sink_shape(&router, "a.t"), expected);
    let again = super::tests::router(&[], Behavior::Lenient);
    again.start(&[with_x("BIGINT", 3)], &kept).unwrap();
    assert_eq!(sink_shape(&again, "a.t"), expected);
    let list = with_x("ARRAY<INT>", 4);
    let error = carry(&router, &alter(&without, &list), "").unwrap_err();
    assert!(format!("{error:?}").contains("would have two types"), "{error:?}");
}

#[test]
fn a_router_knows_whether_tables_merge() {
    let (one, two) = (table("a.t1", &[("id", "INT NOT NULL")]), table("a.t2", &[("id", "INT NOT NULL")]));
    let router = router(&[(r"a.t\d", "ods.t")], Behavior::Evolve);
    router.start(std::slice::from_ref(&one), &[]).unwrap();
    assert!(!router.merges());
    let new = SchemaChange { before: None, after: two.clone(), statement: "CREATE".into(), ddl: Ddl::default() };
    carry(&router, &new, "").unwrap();
    assert!(router.merges());
    carry(&router, &SchemaChange { ddl: Ddl::Drop, ..alter(&two, &two) }, "").unwrap();
    assert!(!router.merges());
}
