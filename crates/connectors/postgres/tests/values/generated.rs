//! P02: what a snapshot copies, what the stream tells as text and in binary, before and after images, and what the server
//! itself holds, are one and the same, for generated tables of every type.

use super::every_type::{ALL, SETUP, TypeCase};
use crate::support::{Db, Known, decoded, images, on_every_server};
use dujiang_core::Kind;
use dujiang_scratch::Random;
use std::collections::HashMap;

const CASES: u64 = 110;
const SEED: u64 = 20_261_127;

#[test]
fn p02_snapshot_stream_and_server_agree_on_every_type() {
    on_every_server(async |db: &mut Db| {
        println!("seed {SEED}");
        db.run(SETUP).await;
        db.publish().await;
        let types: Vec<&TypeCase> = ALL.iter().filter(|case| case.since <= db.version).collect();
        let mut random = Random::new(SEED);
        let mut next = 0;
        for case in 0..CASES {
            // Every type in turn, so that none is left to chance.
            let count = random.below(6) as usize + 2;
            let columns: Vec<&TypeCase> = (0..count).map(|n| types[(next + n) % types.len()]).collect();
            next += count;
            one_table(db, &mut random, &columns, case).await;
        }
        assert!(next > 2 * types.len(), "every type had its turn, twice");
    });
}

async fn one_table(db: &mut Db, random: &mut Random, columns: &[&TypeCase], case: u64) {
    let declared: Vec<String> = columns.iter().enumerate().map(|(n, c)| format!("c{n} {}", c.declared)).collect();
    println!("case {case}: {}", declared.join(", "));
    db.run("SET search_path = public, pg_catalog").await;
    let ddl = format!("CREATE TABLE public.t (id int, {}, PRIMARY KEY (id))", declared.join(", "));
    db.run(&format!("{ddl}; ALTER TABLE public.t REPLICA IDENTITY FULL")).await;
    let rows = random.below(6) + 1;
    for id in 0..rows {
        let values: Vec<String> = columns.iter().map(|column| literal(random, column)).collect();
        db.run(&format!("INSERT INTO public.t VALUES ({id}, {})", values.join(", "))).await;
    }
    db.run("SET search_path = ''").await;
    let known = db.know("public.t").await;
    let (copied, refused) = db.copied("public.t", &known.decodable).await;
    assert!(refused.is_empty(), "{refused:?}");
    let copied = images(&copied.unwrap(), &[Kind::Read]);
    server_agrees(db, &known, &copied).await;
    // The update touches no large value, and the log still has them all.
    db.run("UPDATE public.t SET id = id + 100; DELETE FROM public.t").await;
    stream_agrees(db, &known, &copied).await;
    db.run("DROP TABLE public.t").await;
}

fn literal(random: &mut Random, column: &TypeCase) -> String {
    if random.chance(15) { "NULL".into() } else { format!("'{}'", (column.values)(random).replace('\'', "''")) }
}

/// The server, told our values, holds what it held.
async fn server_agrees(db: &mut Db, known: &Known, copied: &[Vec<Option<String>>]) {
    db.run("CREATE TEMPORARY TABLE ours (LIKE public.t)").await;
    for row in copied {
        let quoted = |cell: &Option<String>| match cell {
            Some(text) => format!("'{}'", text.replace('\'', "''")),
            None => "NULL".into(),
        };
        let values: Vec<String> = row.iter().map(quoted).collect();
        db.run(&format!("INSERT INTO pg_temp.ours VALUES ({})", values.join(", "))).await;
    }
    let text = |column: &dujiang_postgres::catalog::CatalogColumn| format!("pg_catalog.format('%L', {})", column.name);
    let list: Vec<String> = known.detail.columns.iter().map(text).collect();
    let list = list.join(", ");
    let theirs = db.rows(&format!("SELECT {list} FROM public.t ORDER BY id")).await;
    let ours = db.rows(&format!("SELECT {list} FROM pg_temp.ours ORDER BY id")).await;
    assert_eq!(ours, theirs);
    db.run("DROP TABLE pg_temp.ours").await;
}

async fn stream_agrees(db: &mut Db, known: &Known, copied: &[Vec<Option<String>>]) {
    let tables = HashMap::from([("t".to_owned(), known.decodable.clone())]);
    let mut forms = vec![false];
    forms.extend(known.decodable.reads_binary().then_some(true));
    for binary in forms {
        let messages = db.messages(true, binary).await;
        let told = decoded(db, &messages, &tables);
        assert!(told.refused.is_empty(), "binary {binary}: {:?}", told.refused);
        let relation = told.relations.iter().find(|r| r.table == "t").unwrap();
        assert!(known.shape.fits(relation), "{:?} {relation:?}", known.shape);
        let batch = &told.batches["t"];
        assert_eq!(images(batch, &[Kind::Insert]), copied, "binary {binary}");
        assert_eq!(images(batch, &[Kind::UpdateBefore]), copied, "binary {binary}");
        let mut moved = copied.to_vec();
        for row in &mut moved {
            row[0] = Some((row[0].as_ref().unwrap().parse::<i64>().unwrap() + 100).to_string());
        }
        assert_eq!(images(batch, &[Kind::UpdateAfter]), moved, "binary {binary}");
        assert_eq!(images(batch, &[Kind::Delete]), moved, "binary {binary}");
    }
    db.messages(false, false).await;
}
