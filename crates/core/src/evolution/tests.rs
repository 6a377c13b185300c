use super::*;
use arrow_schema::DataType;

fn table(columns: &[(&str, DataType)], key: &[usize]) -> TableSchema {
    let fields = columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect();
    TableSchema::clone(&TableSchema::by_value(TableId::new("d", "t"), fields, key.to_vec()))
}

const INT: DataType = DataType::Int32;
const BIG: DataType = DataType::Int64;

fn columns(renamed: &[(&str, &str)]) -> Ddl {
    Ddl::Columns { renamed: renamed.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect() }
}

fn names(table: &TableSchema) -> Vec<&str> {
    table.arrow.fields().iter().map(|f| f.name().as_str()).collect()
}

/// The events of a change, applied one after the other, lead to the new shape.
fn check(before: &TableSchema, after: &TableSchema, ddl: &Ddl) -> Vec<&'static str> {
    let events = SchemaEvent::of_change(Some(before), after, ddl);
    let end = events.iter().fold(before.clone(), |table, event| event.apply_to(&table));
    assert_eq!(end, *after, "{events:?}");
    let twice = events.iter().fold(before.clone(), |table, event| event.apply_to(&event.apply_to(&table)));
    assert_eq!(twice, *after, "twice: {events:?}");
    events.iter().map(SchemaEvent::tag).collect()
}

#[test]
fn shapes_and_events_agree() {
    let before = table(&[("id", INT), ("a", INT), ("b", INT)], &[0]);
    let cases = [
        (table(&[("id", INT), ("a", INT), ("b", INT), ("c", INT)], &[0]), columns(&[]), vec!["add.column"]),
        (table(&[("z", INT), ("id", INT), ("a", INT), ("b", INT)], &[1]), columns(&[]), vec!["add.column"]),
        (table(&[("id", INT), ("x", INT), ("y", INT), ("a", INT), ("b", INT)], &[0]), columns(&[]), vec!["add.column"]),
        (table(&[("id", INT), ("b", INT)], &[0]), columns(&[]), vec!["drop.column"]),
        (table(&[("id", INT), ("a", BIG), ("b", INT)], &[0]), columns(&[]), vec!["alter.column.type"]),
        (table(&[("id", INT), ("c", INT), ("b", INT)], &[0]), columns(&[("a", "c")]), vec!["rename.column"]),
        (table(&[("key", INT), ("a", INT), ("b", INT)], &[0]), columns(&[("id", "key")]), vec!["rename.column"]),
        (
            table(&[("id", INT), ("c", BIG), ("d", INT)], &[0]),
            columns(&[("a", "c")]),
            vec!["rename.column", "add.column", "alter.column.type", "drop.column"],
        ),
        (before.clone(), Ddl::Truncate, vec!["truncate.table"]),
        (before.clone(), Ddl::Drop, vec!["drop.table"]),
        (before.clone(), columns(&[]), vec![]),
    ];
    for (after, ddl, tags) in cases {
        assert_eq!(check(&before, &after, &ddl), tags, "{:?}", names(&after));
    }
    assert_eq!(SchemaEvent::of_change(None, &before, &columns(&[])), [SchemaEvent::CreateTable]);
}

#[test]
fn two_columns_that_swap_names_are_renamed() {
    let before = table(&[("a", INT), ("b", BIG)], &[]);
    let after = table(&[("b", INT), ("a", BIG)], &[]);
    let events = SchemaEvent::of_change(Some(&before), &after, &columns(&[("a", "b"), ("b", "a")]));
    assert_eq!(events.iter().map(SchemaEvent::tag).collect::<Vec<_>>(), ["rename.column"]);
    assert_eq!(events[0].apply_to(&before), after);
}

#[test]
fn a_rename_that_a_transform_hides_is_none() {
    let shape = table(&[("id", INT)], &[0]);
    assert!(SchemaEvent::of_change(Some(&shape), &shape, &columns(&[("a", "b")])).is_empty());
}

#[test]
fn families_cover_their_tags() {
    for tag in TAGS {
        assert!(covers("all", tag) && covers(tag, tag));
    }
    assert!(covers("column", "add.column") && covers("add", "add.column") && covers("table", "drop.table"));
    assert!(covers("alter", "alter.column.type") && covers("table", "alter.table.comment"));
    assert!(!covers("add", "drop.column") && !covers("type", "alter.column.type") && !covers("drop", "truncate.table"));
}
