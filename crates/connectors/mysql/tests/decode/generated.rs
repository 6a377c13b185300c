//! Generated tables: any columns, any values, any NULLs.

use super::capture::{Table, origin};
use super::types::assert_all_equal;
use dujiang_mysql::decode::{KeyPlan, Verdict};
use dujiang_scratch::{Family, Kind};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Union};
use proptest::test_runner::TestRunner;

/// A column's declaration, and SQL literals of its values.
type Declared = (String, BoxedStrategy<String>);

fn int(name: &str, bits: u32) -> Vec<Declared> {
    let (low, high) = (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1);
    let signed = Union::new([(low..=high).boxed(), select(vec![low, -1, 0, 1, high]).boxed()]);
    let high = (1i128 << bits) - 1;
    let unsigned = Union::new([(0..=high).boxed(), select(vec![0, 1, high / 2, high / 2 + 1, high]).boxed()]);
    vec![
        (name.to_owned(), signed.prop_map(|n| n.to_string()).boxed()),
        (format!("{name} UNSIGNED"), unsigned.prop_map(|n| n.to_string()).boxed()),
    ]
}

fn decimal() -> impl Strategy<Value = Declared> {
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

fn temporal() -> impl Strategy<Value = Declared> {
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

fn bytes() -> impl Strategy<Value = Declared> {
    (1usize..=255, 0..4).prop_map(|(n, kind)| match kind {
        0 => (format!("BINARY({n})"), hex_literal(n)),
        1 => (format!("VARBINARY({n})"), hex_literal(n)),
        2 => (format!("VARBINARY({})", n + 255), hex_literal(n + 255)),
        _ => ("BLOB".to_owned(), hex_literal(300)),
    })
}

/// Character sets, and characters that they have besides ASCII's letters.
const CHARSETS: [(&str, &str); 18] = [
    ("utf8mb4", "é€日😀\u{301}\u{200b}"),
    ("utf8mb3", "é€日"),
    ("latin1", "éÿ€ŠŸ\u{81}"),
    ("ascii", "&~"),
    ("utf16", "é€日😀"),
    ("utf16le", "é€日😀"),
    ("utf32", "é€日😀"),
    ("ucs2", "é€日"),
    ("gbk", "中文，。"),
    ("big5", "中文"),
    ("gb2312", "中文"),
    ("sjis", "日本ｱあ"),
    ("cp932", "日本ｱ①"),
    ("ujis", "日本ｱ"),
    ("euckr", "한국"),
    ("greek", "αβΩ"),
    ("cp1251", "Жя"),
    ("swe7", "ÄÖÅ"),
];

fn text() -> impl Strategy<Value = Declared> {
    let kinds = select(vec!["CHAR(20)", "VARCHAR(40)", "VARCHAR(200)", "TINYTEXT", "TEXT", "LONGTEXT"]);
    (kinds, select(CHARSETS.to_vec())).prop_map(|(kind, (charset, others))| {
        let characters: Vec<char> = "aZ 09_%\0\n".chars().chain(others.chars()).collect();
        let literal = proptest::collection::vec(select(characters), 0..=20)
            .prop_map(|text| format!("'{}'", text.into_iter().collect::<String>()));
        (format!("{kind} CHARACTER SET {charset}"), literal.boxed())
    })
}

/// A JSON document as a literal.
fn json() -> BoxedStrategy<String> {
    let scalar = Union::new([
        Just("null".to_owned()).boxed(),
        any::<bool>().prop_map(|b| b.to_string()).boxed(),
        any::<i64>().prop_map(|n| n.to_string()).boxed(),
        any::<u64>().prop_map(|n| n.to_string()).boxed(),
        (-1000i32..1000).prop_map(|n| format!("{n}.0")).boxed(),
        (-1_000_000i64..1_000_000).prop_map(|n| format!("{}", n as f64 / 64.0)).boxed(),
        "[a-z é日\u{1f600}]{0,12}".prop_map(|text| format!("\"{text}\"")).boxed(),
        select(vec![r#""\\"\\\\\\n\\u0001""#, r#""\\u00e9""#, r#""""#]).prop_map(str::to_owned).boxed(),
    ]);
    let document = scalar.prop_recursive(4, 24, 6, |inner| {
        let name = "[a-c]{0,2}".prop_map(|name| format!("\"{name}\""));
        let members = proptest::collection::vec((name, inner.clone()), 0..6);
        Union::new([
            proptest::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(", "))).boxed(),
            members
                .prop_map(|m| m.iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>().join(","))
                .prop_map(|members| format!("{{{members}}}"))
                .boxed(),
        ])
    });
    document.prop_map(|document| format!("'{document}'")).boxed()
}

fn geometry() -> BoxedStrategy<String> {
    let point = || (-180i32..180, -90i32..90).prop_map(|(x, y)| format!("{x}.5 {y}"));
    Union::new([
        point().prop_map(|p| format!("ST_GeomFromText('POINT({p})')")).boxed(),
        proptest::collection::vec(point(), 2..20)
            .prop_map(|points| format!("ST_GeomFromText('LINESTRING({})')", points.join(",")))
            .boxed(),
    ])
    .boxed()
}

fn vector() -> BoxedStrategy<String> {
    proptest::collection::vec(proptest::num::f32::NORMAL, 4)
        .prop_map(|numbers| {
            let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            format!("x'{}'", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
        })
        .boxed()
}

/// What only some servers have.
fn special(server: Kind) -> Vec<Declared> {
    let mut kinds = vec![("JSON".to_owned(), json()), ("GEOMETRY".to_owned(), geometry())];
    if server.family() == Family::MariaDb {
        let uuid = proptest::array::uniform16(any::<u8>()).prop_map(|bytes| {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("'{}-{}-4{}-8{}-{}'", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
        });
        let inet6 = any::<[u16; 8]>().prop_map(|parts| format!("'{}'", std::net::Ipv6Addr::from(parts)));
        let inet4 = any::<[u8; 4]>().prop_map(|parts| format!("'{}'", std::net::Ipv4Addr::from(parts)));
        let packed = "[ab]{0,300}".prop_map(|text| format!("'{text}'"));
        kinds.push(("UUID".into(), uuid.boxed()));
        kinds.push(("INET6".into(), inet6.boxed()));
        kinds.push(("INET4".into(), inet4.boxed()));
        kinds.push(("VARCHAR(1000) COMPRESSED".into(), packed.boxed()));
    } else {
        kinds.push((
            "VARCHAR(20) CHARACTER SET gb18030".into(),
            "[a中文㐀]{0,9}".prop_map(|t| format!("'{t}'")).boxed(),
        ));
    }
    if matches!(server, Kind::MariaDbNewest | Kind::MysqlNewest) {
        kinds.push(("VECTOR(4)".into(), vector()));
    }
    kinds
}

fn labels() -> impl Strategy<Value = Declared> {
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

fn number() -> impl Strategy<Value = Declared> {
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

fn any_kind(server: Kind) -> BoxedStrategy<Declared> {
    let special = special(server);
    Union::new([
        (0..special.len()).prop_map(move |index| special[index].clone()).boxed(),
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
fn key_kind() -> BoxedStrategy<Declared> {
    Union::new([number().boxed(), decimal().boxed(), temporal().boxed(), bytes().boxed(), labels().boxed()])
        .prop_filter("no prefix keys", |(declared, _)| declared != "BLOB")
        .boxed()
}

/// Columns and rows of literals; how many of a hundred values are NULL changes from table to table.
fn table(server: Kind, max_columns: usize, max_rows: usize) -> impl Strategy<Value = (Vec<String>, Vec<Vec<String>>)> {
    let columns = proptest::collection::vec(any_kind(server), 1..=max_columns);
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
    fn p02_updates_and_deletes_carry_the_row_before_and_after((columns, rows) in table(Kind::MariaDb, 12, 12)) {
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
    fn p07_a_filter_sees_every_change_and_keeps_the_ordinals((columns, rows) in table(Kind::MariaDb, 6, 30), drop in 0i32..5) {
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

/// P02: value from the snapshot = value from the stream = what the server itself holds.
fn one_value(server: Kind) {
    let config =
        ProptestConfig { cases: 100, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&table(server, 20, 20), |(columns, rows)| {
        let mut table = Table::on(server, &declare(&columns));
        insert(&mut table, &rows, columns.len());
        assert_all_equal(&mut table, &columns.join(", "));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{server:?}: {failure}"));
}

#[test]
fn p02_log_and_select_and_print_give_one_value_on_mariadb() {
    one_value(Kind::MariaDb);
}

#[test]
fn p02_log_and_select_and_print_give_one_value_on_the_newest_mariadb() {
    one_value(Kind::MariaDbNewest);
}

#[test]
fn p02_log_and_select_and_print_give_one_value_on_mysql_57() {
    one_value(Kind::Mysql57);
}

#[test]
fn p02_log_and_select_and_print_give_one_value_on_mysql() {
    one_value(Kind::MysqlNewest);
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
