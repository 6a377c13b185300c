use super::*;
use dujiang_core::TableId;
use dujiang_core::dialect::{parse_field, type_name};
use dujiang_core::schema::Ddl;

fn table(columns: &[(&str, &str)]) -> TableSchema {
    let fields = columns.iter().map(|(name, declared)| parse_field(name, declared).unwrap()).collect();
    TableSchema::clone(&TableSchema::by_value(TableId::new("d", "t"), fields, vec![0]))
}

const BEFORE: &[(&str, &str)] = &[("id", "INT NOT NULL"), ("a", "INT NOT NULL"), ("b", "STRING")];

fn shape(table: &TableSchema) -> Vec<String> {
    table.arrow.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f))).collect()
}

/// The sink's shape after a change, or the error.
fn evolved(policy: &Policy, after: &[(&str, &str)], ddl: &Ddl) -> Result<(Vec<&'static str>, Vec<String>)> {
    let (before, after) = (table(BEFORE), table(after));
    let events = SchemaEvent::of_change(Some(&before), &after, ddl);
    let events = policy.decide(&before, &after, events)?;
    let end = events.iter().fold(before, |sink, event| event.apply_to(&sink));
    Ok((events.iter().map(SchemaEvent::tag).collect(), shape(&end)))
}

type Row = (&'static [(&'static str, &'static str)], Ddl, Behavior, &'static [&'static str], &'static [&'static str]);

#[test]
fn behaviours_do_what_the_dialect_says() {
    use Behavior::{Evolve, Exception, Ignore, Lenient, TryEvolve};
    let columns = Ddl::default;
    let renamed = || Ddl::Columns { renamed: vec![("a".into(), "c".into())] };
    const ADDED: &[(&str, &str)] =
        &[("n", "INT NOT NULL"), ("id", "INT NOT NULL"), ("a", "INT NOT NULL"), ("b", "STRING")];
    const DROPPED: &[(&str, &str)] = &[("id", "INT NOT NULL"), ("b", "STRING")];
    const RENAMED: &[(&str, &str)] = &[("id", "INT NOT NULL"), ("c", "INT NOT NULL"), ("b", "STRING")];
    const ALTERED: &[(&str, &str)] = &[("id", "INT NOT NULL"), ("a", "BIGINT NOT NULL"), ("b", "STRING")];
    let same: &[&str] = &["id INT NOT NULL", "a INT NOT NULL", "b STRING"];
    let rows: Vec<Row> = vec![
        (
            ADDED,
            columns(),
            Evolve,
            &["add.column"],
            &["n INT NOT NULL", "id INT NOT NULL", "a INT NOT NULL", "b STRING"],
        ),
        (ADDED, columns(), Lenient, &["add.column"], &["id INT NOT NULL", "a INT NOT NULL", "b STRING", "n INT"]),
        (ADDED, columns(), Ignore, &[], same),
        (DROPPED, columns(), Evolve, &["drop.column"], &["id INT NOT NULL", "b STRING"]),
        (DROPPED, columns(), TryEvolve, &["drop.column"], &["id INT NOT NULL", "b STRING"]),
        (DROPPED, columns(), Lenient, &["alter.column.type"], &["id INT NOT NULL", "a INT", "b STRING"]),
        (DROPPED, columns(), Ignore, &[], same),
        (RENAMED, renamed(), Evolve, &["rename.column"], &["id INT NOT NULL", "c INT NOT NULL", "b STRING"]),
        (
            RENAMED,
            renamed(),
            Lenient,
            &["add.column", "alter.column.type"],
            &["id INT NOT NULL", "a INT", "b STRING", "c INT"],
        ),
        (RENAMED, renamed(), Ignore, &[], same),
        (ALTERED, columns(), Evolve, &["alter.column.type"], &["id INT NOT NULL", "a BIGINT NOT NULL", "b STRING"]),
        (ALTERED, columns(), Lenient, &["alter.column.type"], &["id INT NOT NULL", "a BIGINT NOT NULL", "b STRING"]),
        (ALTERED, columns(), Ignore, &[], same),
        (BEFORE, Ddl::Truncate, Evolve, &["truncate.table"], same),
        (BEFORE, Ddl::Truncate, Ignore, &[], same),
        (BEFORE, Ddl::Drop, Evolve, &["drop.table"], same),
    ];
    for (after, ddl, behavior, tags, end) in rows {
        let (events, shape) = evolved(&Policy::all(behavior), after, &ddl).unwrap();
        assert_eq!(
            (events.as_slice(), shape.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
            (tags, end),
            "{behavior:?} {after:?}"
        );
        if behavior == Evolve {
            let error = evolved(&Policy::all(Exception), after, &ddl).unwrap_err();
            assert_eq!(error.code(), Code::SchemaChange);
            assert!(error.message().contains(tags[0]), "{error}");
        }
    }
}

#[test]
fn a_new_table_always_passes() {
    let sink = table(BEFORE);
    for behavior in [Behavior::Ignore, Behavior::Exception, Behavior::Lenient] {
        let events = Policy::all(behavior).decide(&sink, &sink, vec![SchemaEvent::CreateTable]).unwrap();
        assert_eq!(events, [SchemaEvent::CreateTable]);
    }
}

#[test]
fn events_are_held_back_by_their_tags() {
    let policy = Policy::new(Behavior::Evolve, ["create.table", "add.column"]);
    let after: &[(&str, &str)] = &[("id", "INT NOT NULL"), ("b", "STRING"), ("n", "INT")];
    let (tags, end) = evolved(&policy, after, &Ddl::default()).unwrap();
    assert_eq!(tags, ["add.column"]);
    assert_eq!(end, ["id INT NOT NULL", "a INT NOT NULL", "b STRING", "n INT"]);
    // What is held back cannot be forbidden.
    let policy = Policy::new(Behavior::Exception, ["create.table"]);
    assert!(evolved(&policy, after, &Ddl::default()).unwrap().0.is_empty());
}

#[test]
fn lenient_does_not_take_the_key_away() {
    let renamed = Ddl::Columns { renamed: vec![("id".into(), "key".into())] };
    let after: &[(&str, &str)] = &[("key", "INT NOT NULL"), ("a", "INT NOT NULL"), ("b", "STRING")];
    let error = evolved(&Policy::all(Behavior::Lenient), after, &renamed).unwrap_err();
    assert!(error.message().contains("`id`"), "{error}");
    assert!(evolved(&Policy::all(Behavior::Evolve), after, &renamed).is_ok());
}
