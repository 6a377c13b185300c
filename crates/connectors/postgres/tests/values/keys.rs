//! Keys are told apart here only for types whose equality is the server's.

use super::every_type::{ALL, SETUP};
use crate::support::{Db, on_every_server};
use dujiang_core::key::same_key;
use dujiang_core::schema::KeyEquality;
use dujiang_core::{ChangeBatch, TableSchema};
use dujiang_scratch::Random;
use std::sync::Arc;

const ROWS: usize = 14;

#[test]
fn equality_of_values_here_is_equality_at_the_server() {
    on_every_server(async |db: &mut Db| {
        db.run(SETUP).await;
        let mut random = Random::new(7);
        let mut proven = 0;
        let version = db.version;
        for case in ALL.iter().filter(|case| case.since <= version) {
            db.run("SET search_path = public, pg_catalog").await;
            db.run(&format!("CREATE TABLE public.k (id int PRIMARY KEY, c {})", case.declared)).await;
            db.run("SET search_path = ''").await;
            let known = db.know("public.k").await;
            // What counts by value must; what does not may.
            if known.shape.columns[1].by_value {
                db.run("SET search_path = public, pg_catalog").await;
                for id in 0..ROWS {
                    let value = (case.values)(&mut random).replace('\'', "''");
                    db.run(&format!("INSERT INTO public.k VALUES ({id}, '{value}')")).await;
                }
                db.run("SET search_path = ''").await;
                let (batch, refused) = db.copied("public.k", &known.decodable).await;
                assert!(refused.is_empty(), "{}: {refused:?}", case.declared);
                compare(db, case.declared, &batch.unwrap()).await;
                proven += 1;
            }
            db.run("DROP TABLE public.k").await;
        }
        println!("{proven} types proven");
        assert!(proven > 30);
    });
}

async fn compare(db: &mut Db, declared: &str, batch: &ChangeBatch) {
    let schema = TableSchema { key: vec![1], key_equality: KeyEquality::ByValue, ..(*batch.schema).clone() };
    let keyed = ChangeBatch { schema: Arc::new(schema), ..batch.clone() };
    let sql = "SELECT a.id, b.id FROM public.k a, public.k b WHERE a.c = b.c AND a.id < b.id ORDER BY 1, 2";
    let equal = db.connection.simple(&sql.replace(" = ", " OPERATOR(pg_catalog.=) ")).await;
    let equal = equal.unwrap_or_else(|e| panic!("{declared}: {e:?}"));
    let theirs: Vec<(usize, usize)> = equal.iter().map(|r| (r.parse(0).unwrap(), r.parse(1).unwrap())).collect();
    let pairs = (0..ROWS).flat_map(|a| (a + 1..ROWS).map(move |b| (a, b)));
    let ours: Vec<(usize, usize)> = pairs.filter(|(a, b)| same_key(&keyed, *a, *b)).collect();
    assert_eq!(ours, theirs, "{declared}");
}

#[test]
fn f58_equality_that_only_the_server_knows_is_left_to_it() {
    on_every_server(async |db: &mut Db| {
        db.run(SETUP).await;
        db.run(
            "CREATE TABLE public.a (n numeric PRIMARY KEY); CREATE TABLE public.b (c public.citext PRIMARY KEY);
             CREATE TABLE public.c (i interval PRIMARY KEY); CREATE TABLE public.d (c bpchar PRIMARY KEY);
             CREATE TABLE public.e (j jsonb PRIMARY KEY); CREATE TABLE public.f (x int, y text[], PRIMARY KEY (y, x));
             CREATE TABLE public.g (t text PRIMARY KEY); CREATE TABLE public.h (x int)",
        )
        .await;
        for table in ["a", "b", "c", "d", "e", "f"] {
            let known = db.know(&format!("public.{table}")).await;
            assert_eq!(known.decodable.schema.key_equality, KeyEquality::ServerOnly, "{table}");
            dujiang_core::cells::check_types(&known.decodable.schema).unwrap();
        }
        let known = db.know("public.f").await;
        assert_eq!(known.shape.key, [1, 0], "in the key's order");
        assert_eq!(db.know("public.g").await.decodable.schema.key_equality, KeyEquality::ByValue);
        assert_eq!(db.know("public.h").await.decodable.schema.key_equality, KeyEquality::NoKey);
    });
}
