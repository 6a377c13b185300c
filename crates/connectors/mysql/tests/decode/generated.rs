//! Generated tables: any columns, any values, any NULLs.

use super::capture::{Table, origin};
use super::types::assert_all_equal;
use dujiang_mysql::decode::{KeyPlan, Verdict};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Union};

/// A column's declaration, and SQL literals of its values.
type Kind = (String, BoxedStrategy<String>);

fn int(name: &str, bits: u32) -> Vec<Kind> {
    let (low, high) = (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1);
    let signed = Union::new([(low..=high).boxed(), select(vec![low, -1, 0, 1, high]).boxed()]);
    let high = (1i128 << bits) - 1;
    let unsigned = Union::new([(0..=high).boxed(), select(vec![0, 1, high / 2, high / 2 + 1, high]).boxed()]);
    vec![
        (name.to_owned(), signed.prop_map(|n| n.to_string()).boxed()),
        (format!("{name} UNSIGNED"), unsigned.prop_map(|n| n.to_string()).boxed()),
    ]
}

fn decimal() -> impl Strategy<Value = Kind> {
    (1usize..=65).prop_flat_map(|precision| (Just(precision), 0..=precision.min(30))).prop_map(|(precision, scale)| {
        let digits = proptest::collection::vec(select(b"00123456789999".to_vec()), 1..=precision);
        let literal = (any::<bool>(), digits).prop_map(move |(negative, digits)| {
            let digits = format!("{:0>width$}", String::from_utf8(digits).unwrap(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!("{}{whole}.{fraction}0", if negative { "-" } else { "" })
        });
        (format!("DECIMAL({precision},{scale})"), literal.boxed())
    })
}

fn clock() -> impl Strategy<Value = String> {
    (0..24u8, 0..60u8, 0..60u8, 0..1_000_000u32).prop_map(|(h, m, s, f)| format!("{h:02}:{m:02}:{s:02}.{f:06}"))
}

fn date() -> impl Strategy<Value = String> {
    (1..=9998u16, 1..=12u8, 1..=28u8).prop_map(|(y, m, d)| format!("{y:04}-{m:02}-{d:02}"))
}

fn temporal() -> impl Strategy<Value = Kind> {
    let time = (any::<bool>(), 0..=838u16, 0..60u8, 0..60u8, 0..1_000_000u32).prop_map(|(negative, h, m, s, f)| {
        let f = if h == 838 { 0 } else { f };
        format!("'{}{h}:{m:02}:{s:02}.{f:06}'", if negative { "-" } else { "" })
    });
    let datetime = (date(), clock()).prop_map(|(date, clock)| format!("'{date} {clock}'"));
    let timestamp =
        (1971..=2037u16, 1..=12u8, 1..=28u8, clock()).prop_map(|(y, m, d, c)| format!("'{y}-{m:02}-{d:02} {c}'"));
    let (time, datetime, timestamp) = (time.boxed(), datetime.boxed(), timestamp.boxed());
    (0..=6, 0..5).prop_map(move |(fsp, kind)| match kind {
        0 => (format!("TIME({fsp})"), time.clone()),
        1 => (format!("DATETIME({fsp})"), datetime.clone()),
        2 => (format!("TIMESTAMP({fsp}) NULL DEFAULT NULL"), timestamp.clone()),
        3 => ("DATE".to_owned(), date().prop_map(|date| format!("'{date}'")).boxed()),
        _ => ("YEAR".to_owned(), (1901..=2155u16).prop_map(|y| y.to_string()).boxed()),
    })
}

fn hex_literal(max: usize) -> BoxedStrategy<String> {
    let byte = Union::new([any::<u8>().boxed(), select(vec![0u8, 0, 32, 255]).boxed()]);
    proptest::collection::vec(byte, 0..=max)
        .prop_map(|bytes| format!("x'{}'", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()))
        .boxed()
}

fn bytes() -> impl Strategy<Value = Kind> {
    (1usize..=255, 0..4).prop_map(|(n, kind)| match kind {
        0 => (format!("BINARY({n})"), hex_literal(n)),
        1 => (format!("VARBINARY({n})"), hex_literal(n)),
        2 => (format!("VARBINARY({})", n + 255), hex_literal(n + 255)),
        _ => ("BLOB".to_owned(), hex_literal(300)),
    })
}

fn text() -> impl Strategy<Value = Kind> {
    let kinds = select(vec!["CHAR(20)", "VARCHAR(40)", "VARCHAR(200)", "TINYTEXT", "TEXT", "LONGTEXT"]);
    (kinds, select(vec!["utf8mb4", "utf8mb3", "latin1", "ascii"])).prop_map(|(kind, charset)| {
        let pattern = match charset {
            "utf8mb4" => "[a-zA-Z0-9 é€日😀]{0,20}",
            "utf8mb3" => "[a-zA-Z0-9 é€日]{0,20}",
            "latin1" => "[a-z éÿ€ŠŸ\u{81}]{0,20}",
            _ => "[ -&(-\\[\\]-~]{0,20}",
        };
        let literal = pattern.prop_map(|text| format!("'{text}'"));
        (format!("{kind} CHARACTER SET {charset}"), literal.boxed())
    })
}

fn labels() -> impl Strategy<Value = Kind> {
    (1usize..=64, any::<bool>()).prop_map(|(n, is_set)| {
        let labels: Vec<String> = (0..n).map(|i| format!("l{i}")).collect();
        let declared = labels.iter().map(|l| format!("'{l}'")).collect::<Vec<_>>().join(",");
        if is_set {
            let chosen = proptest::sample::subsequence(labels, 0..=n);
            (format!("SET({declared})"), chosen.prop_map(|l| format!("'{}'", l.join(","))).boxed())
        } else {
            (format!("ENUM({declared})"), select(labels).prop_map(|l| format!("'{l}'")).boxed())
        }
    })
}

fn number() -> impl Strategy<Value = Kind> {
    let mut kinds = [("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)]
        .iter()
        .flat_map(|(name, bits)| int(name, *bits))
        .collect::<Vec<_>>();
    kinds.push(("FLOAT".into(), proptest::num::f32::NORMAL.prop_map(|n| format!("{n:e}")).boxed()));
    kinds.push(("DOUBLE".into(), proptest::num::f64::NORMAL.prop_map(|n| format!("{n:e}")).boxed()));
    for width in [1u32, 7, 8, 33, 64] {
        let literal = (0..=(u64::MAX >> (64 - width))).prop_map(|n| n.to_string());
        kinds.push((format!("BIT({width})"), literal.boxed()));
    }
    let count = kinds.len();
    (0..count).prop_map(move |index| kinds[index].clone())
}

fn any_kind() -> BoxedStrategy<Kind> {
    Union::new([
        number().boxed(),
        decimal().boxed(),
        temporal().boxed(),
        bytes().boxed(),
        text().boxed(),
        labels().boxed(),
    ])
    .boxed()
}

/// Kinds whose values are ordered here.
fn key_kind() -> BoxedStrategy<Kind> {
    Union::new([number().boxed(), decimal().boxed(), temporal().boxed(), bytes().boxed(), labels().boxed()])
        .prop_filter("no prefix keys", |(declared, _)| declared != "BLOB")
        .boxed()
}

/// Columns and rows of literals; how many of a hundred values are NULL changes from table to table.
fn table(max_columns: usize, max_rows: usize) -> impl Strategy<Value = (Vec<String>, Vec<Vec<String>>)> {
    let columns = proptest::collection::vec(any_kind(), 1..=max_columns);
    (columns, select(vec![0u32, 0, 5, 50, 100])).prop_flat_map(move |(columns, nulls)| {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, literal)| {
                let null = (0u32..100).prop_map(move |n| n < nulls);
                (null, literal.clone()).prop_map(|(null, literal)| if null { "NULL".to_owned() } else { literal })
            })
            .collect();
        let declared = columns.into_iter().map(|(declared, _)| declared).collect::<Vec<_>>();
        (Just(declared), proptest::collection::vec(cells, 1..=max_rows))
    })
}

fn declare(columns: &[String]) -> String {
    columns.iter().enumerate().map(|(i, c)| format!("c{i} {c}")).collect::<Vec<_>>().join(", ")
}

fn insert(table: &mut Table, rows: &[Vec<String>], width: usize) {
    let names = (0..width).map(|i| format!("c{i}")).collect::<Vec<_>>().join(", ");
    let values = rows.iter().map(|row| format!("({})", row.join(", "))).collect::<Vec<_>>().join(", ");
    table.run(&format!("INSERT INTO $t ({names}) VALUES {values}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn p02_log_and_select_and_print_give_one_value((columns, rows) in table(20, 30)) {
        let mut table = Table::create(&declare(&columns));
        insert(&mut table, &rows, columns.len());
        assert_all_equal(&mut table, &columns.join(", "));
    }

    #[test]
    fn p02_updates_and_deletes_carry_the_row_before_and_after((columns, rows) in table(12, 12)) {
        let mut table = Table::create(&declare(&columns));
        insert(&mut table, &rows, columns.len());
        let inserted = table.selected().unwrap().rows;
        let (first, last) = (&rows[0], rows.len());
        let set = first.iter().enumerate().map(|(i, v)| format!("c{i} = {v}")).collect::<Vec<_>>().join(", ");
        table.run(&format!("UPDATE $t SET {set}, id = id + 1000 WHERE id = {last}"));
        let updated = table.selected().unwrap().rows;
        table.run("DELETE FROM $t");
        let log = table.logged().unwrap();
        let n = rows.len();
        prop_assert_eq!(log.images(), n + 2 + n);
        prop_assert_eq!(log.rows.slice(0, n), inserted.clone());
        prop_assert_eq!(log.rows.slice(n, 1), inserted.slice(n - 1, 1));
        prop_assert_eq!(log.rows.slice(n + 1, 1), updated.slice(n - 1, 1));
        prop_assert_eq!(log.rows.slice(n + 2, n), updated);
    }

    #[test]
    fn p07_sort_keys_have_the_servers_order((a, b, rows) in (key_kind(), key_kind()).prop_flat_map(|((a, la), (b, lb))| {
        // Few different first values, so that the second one decides.
        let firsts = proptest::collection::vec(la, 1..4);
        let rows = firsts.prop_flat_map(move |firsts| proptest::collection::vec((select(firsts), lb.clone()), 2..40));
        (Just(a), Just(b), rows)
    })) {
        let mut table = Table::create(&declare(&[a.clone(), b.clone()]));
        let rows: Vec<Vec<String>> = rows.into_iter().map(|(a, b)| vec![a, b]).collect();
        insert(&mut table, &rows, 2);
        let columns = table.columns().unwrap();
        let plan = KeyPlan::new(columns, &[1, 2]).expect("these types are ordered here");
        let select = table.selected().unwrap();
        let mut keys: Vec<(Vec<u8>, usize)> = (0..rows.len())
            .map(|row| {
                let mut key = Vec::new();
                plan.write_row(&select.rows, row, &mut key).unwrap();
                (key, row + 1)
            })
            .collect();
        prop_assert_eq!(&image_keys(&mut table, &plan), &keys.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>());
        keys.sort();
        let ours: Vec<String> = keys.iter().map(|(_, id)| id.to_string()).collect();
        let theirs = table.run("SELECT id FROM $t ORDER BY c0, c1, id");
        let theirs: Vec<String> = theirs.into_iter().map(|row| row[0].clone().unwrap()).collect();
        prop_assert_eq!(ours, theirs, "{} | {}", a, b);
        let distinct = table.run("SELECT COUNT(*) FROM (SELECT DISTINCT c0, c1 FROM $t) d")[0][0].clone().unwrap();
        keys.dedup_by(|x, y| x.0 == y.0);
        prop_assert_eq!(keys.len().to_string(), distinct);
    }

    #[test]
    fn p07_a_filter_sees_every_change_and_keeps_the_ordinals((columns, rows) in table(6, 30), drop in 0i32..5) {
        let mut table = Table::create(&declare(&columns));
        insert(&mut table, &rows, columns.len());
        table.run("UPDATE $t SET id = id + 1000 WHERE id % 2 = 0");
        let whole = table.logged().unwrap();
        let plan = KeyPlan::new(table.columns().unwrap(), &[0]).unwrap();
        let mut builder = table.builder();
        builder.begin_span(origin("tx"));
        let mut seen = 0;
        table.each_rows_event(|map, rows| {
            builder.use_table_map(map).unwrap();
            builder
                .append_rows_if(rows, &mut |change| {
                    seen += 1;
                    let mut key = Vec::new();
                    plan.write_image(change.before.as_ref().or(change.after.as_ref()).unwrap(), &mut key)?;
                    let id = (u64::from_be_bytes(key[..8].try_into().unwrap()) ^ 1 << 63) as i32;
                    Ok(match id % 5 {
                        n if n == drop => Verdict::Drop,
                        n if n == (drop + 1) % 5 && change.before.is_some() => Verdict::OnlyBefore,
                        n if n == (drop + 2) % 5 && change.before.is_some() => Verdict::OnlyAfter,
                        _ => Verdict::Keep,
                    })
                })
                .unwrap();
        });
        prop_assert_eq!(seen, whole.changes());
        let Some(kept) = builder.finish().unwrap() else { return Ok(()) };
        let ids = |batch: &dujiang_core::ChangeBatch| {
            let ids = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int32Type>(batch.rows.column(0).as_ref()).clone();
            batch.ordinals().zip(ids.values().to_vec()).map(|((n, _), id)| (n, id)).collect::<Vec<_>>()
        };
        let all = ids(&whole);
        let expected: Vec<_> = all
            .iter()
            .zip(whole.kinds.iter())
            .filter(|((_, id), kind)| {
                use dujiang_core::Kind;
                let key = if **kind == Kind::UpdateAfter { id - 1000 } else { *id };
                let rest = key % 5;
                let update = matches!(kind, Kind::UpdateBefore | Kind::UpdateAfter);
                rest != drop
                    && !(update && rest == (drop + 1) % 5 && **kind == Kind::UpdateAfter)
                    && !(update && rest == (drop + 2) % 5 && **kind == Kind::UpdateBefore)
            })
            .map(|(row, _)| *row)
            .collect();
        prop_assert_eq!(ids(&kept), expected);
    }
}

/// The sort keys of the inserted rows, from their images in the log.
fn image_keys(table: &mut Table, plan: &KeyPlan) -> Vec<Vec<u8>> {
    let mut builder = table.builder();
    builder.begin_span(origin("tx"));
    let mut keys = Vec::new();
    table.each_rows_event(|map, rows| {
        builder.use_table_map(map).unwrap();
        builder
            .append_rows_if(rows, &mut |change| {
                let mut key = Vec::new();
                plan.write_image(change.after.as_ref().unwrap(), &mut key)?;
                keys.push(key);
                Ok(Verdict::Drop)
            })
            .unwrap();
    });
    keys
}
