//! The order of values here is the server's, type by type: it decides which chunk of a snapshot has a row.

use super::every_type::{ALL, SETUP, TypeCase};
use crate::support::{Db, on_every_server};
use dujiang_postgres::discovery;
use dujiang_postgres::snapshot::KeyOrder;
use dujiang_scratch::Random;

const ROWS: usize = 60;

/// Values that no file carries, but that a server orders.
fn odd(declared: &str) -> &'static [&'static str] {
    match declared {
        "date" => &["infinity", "-infinity", "5874897-12-31", "4714-11-24 BC"],
        "timestamp" | "timestamptz" => &["infinity", "-infinity", "294276-12-31 23:59:59.999999"],
        "time" => &["24:00:00"],
        "float8" => &["1e-320", "-1e308", "0.30000000000000004"],
        "numeric" => &["9999", "10000", "-9999.9999", "-10000", "0.0001", "0.00001", "NaN", "Infinity", "-Infinity"],
        _ => &[],
    }
}

#[test]
fn p58_the_order_of_values_here_is_the_servers() {
    on_every_server(async |db: &mut Db| {
        db.run(SETUP).await;
        db.run("CREATE DOMAIN public.code AS char(5); CREATE DOMAIN public.mail AS text").await;
        let padded = TypeCase { declared: "code", values: |r| r.pick(&["a", "a\t", "", "ab"]).to_owned(), since: 0 };
        let mail =
            TypeCase { declared: "mail", values: |r| r.pick(&["A", "a", "é", "", "a@b", "B"]).to_owned(), since: 0 };
        let (mut of_key, mut of_content) = (Vec::new(), Vec::new());
        let version = db.version;
        for case in ALL.iter().chain([&padded, &mail]).filter(|case| case.since <= version) {
            fill(db, case).await;
            let mut known = db.know("public.k").await;
            let collations = discovery::collations(&mut db.connection, &known.shape).await.unwrap();
            known.shape.key = vec![1];
            if let Some(order) = KeyOrder::new(&known.shape, &collations, None) {
                compare(db, case.declared, &order).await;
                of_key.push(case.declared);
            }
            if let Some(order) = KeyOrder::of_columns(&known.shape, &collations, &[2]) {
                compare(db, case.declared, &order).await;
                of_content.push(case.declared);
            }
            db.run("DROP TABLE public.k").await;
        }
        println!("keys: {of_key:?}\ncontent: {of_content:?}");
        for declared in [
            "numeric",
            "numeric(77,5)",
            "float4",
            "float8",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "money",
            "bytea",
            "code",
        ] {
            assert!(of_key.contains(&declared), "{declared}");
        }
        assert!(!of_key.contains(&"citext") && !of_content.contains(&"citext"), "whose order is its own");
        assert!(!of_content.contains(&"xid"), "which has none");
    });
}

async fn fill(db: &mut Db, case: &TypeCase) {
    let mut random = Random::new(58);
    db.run("SET search_path = public, pg_catalog").await;
    db.run(&format!("CREATE TABLE public.k (id int, c {}); ALTER TABLE public.k REPLICA IDENTITY FULL", case.declared))
        .await;
    let values: Vec<String> = (0..ROWS).map(|_| (case.values)(&mut random)).collect();
    let values = values.iter().map(String::as_str).chain(odd(case.declared).iter().copied());
    for (id, value) in values.enumerate() {
        db.run(&format!("INSERT INTO public.k VALUES ({id}, '{}')", value.replace('\'', "''"))).await;
    }
    db.run("SET search_path = ''").await;
}

/// Both forms of every value, and the texts that stand for them in statements.
async fn compare(db: &mut Db, declared: &str, order: &KeyOrder) {
    let by = order.ordered_by().next().unwrap();
    let value = by.head.map_or("c".to_owned(), |n| format!("pg_catalog.left(c::text, {n})"));
    let value = if by.by_bytes { format!("{value} COLLATE pg_catalog.\"C\"") } else { value };
    let sql = format!("SELECT dense_rank() OVER (ORDER BY {value}), c FROM public.k ORDER BY id");
    let rows = db.rows(&sql).await;
    let theirs: Vec<usize> = rows.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    let told: Vec<Vec<u8>> = rows.iter().map(|row| key_of_text(order, row[1].clone())).collect();
    let copied = copied(db, order).await;
    for (at, ((of_row, text), of_text)) in copied.iter().zip(&told).enumerate() {
        assert_eq!(of_row, of_text, "{declared}: {:?}", rows[at]);
        assert_eq!(of_text, &key_of_text(order, text.clone()), "{declared}: {:?}", rows[at]);
    }
    let mut sorted: Vec<&Vec<u8>> = told.iter().collect();
    sorted.sort();
    sorted.dedup();
    let ours: Vec<usize> = told.iter().map(|key| sorted.binary_search(&key).unwrap() + 1).collect();
    let shown: Vec<_> =
        rows.iter().zip(&ours).filter(|(row, our)| row[0].as_deref() != Some(our.to_string().as_str())).collect();
    assert_eq!(ours, theirs, "{declared}: {shown:?}");
    if by.head.is_some() {
        return;
    }
    let equal: Vec<String> = copied
        .iter()
        .enumerate()
        .map(|(id, (_, text))| {
            let literal = text.as_ref().unwrap().replace('\'', "''");
            let of = if declared == "code" { "pg_catalog.bpchar" } else { "" };
            let cast = if of.is_empty() { String::new() } else { format!("::{of}") };
            format!("SELECT {id} WHERE EXISTS (SELECT FROM public.k WHERE id = {id} AND c = '{literal}'{cast})")
        })
        .collect();
    let found = db.rows(&equal.join(" UNION ALL ")).await;
    assert_eq!(found.len(), copied.len(), "{declared}: a literal is not its value");
}

fn key_of_text(order: &KeyOrder, text: Option<String>) -> Vec<u8> {
    let mut key = Vec::new();
    order.write_texts(&[text], &mut key).unwrap();
    key
}

/// Every row's key and the text of it, in order of the ids.
async fn copied(db: &mut Db, order: &KeyOrder) -> Vec<(Vec<u8>, Option<String>)> {
    let sql = "COPY (SELECT id, c FROM public.k ORDER BY id) TO STDOUT (FORMAT binary)";
    let mut copy = db.connection.copy_out(sql).await.unwrap();
    let mut found = Vec::new();
    while let Some(row) = copy.next().await.unwrap() {
        let mut key = Vec::new();
        order.write_row(row, &mut key).unwrap();
        found.push((key, order.texts(row).unwrap().remove(0)));
    }
    found
}
