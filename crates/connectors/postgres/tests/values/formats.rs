//! A sample through the formats: what files hold is what the server holds.

use super::every_type::{ALL, SETUP};
use crate::support::{Db, images, literals, on_every_server};
use arrow_array::RecordBatch;
use dujiang_core::{Kind, dialect};
use dujiang_format_parquet::{ParquetEncoder, ParquetOptions};
use dujiang_format_text::csv;
use dujiang_scratch::Random;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;

#[test]
fn p02_parquet_gives_back_every_value_of_every_type() {
    on_every_server(async |db: &mut Db| {
        db.run(SETUP).await;
        let version = db.version;
        let cases: Vec<_> = ALL.iter().filter(|case| case.since <= version).collect();
        let mut random = Random::new(11);
        for few in cases.chunks(12) {
            let columns: Vec<String> = few.iter().enumerate().map(|(n, c)| format!("c{n} {}", c.declared)).collect();
            db.run("SET search_path = public, pg_catalog").await;
            db.run(&format!("CREATE TABLE public.t (id int PRIMARY KEY, {})", columns.join(", "))).await;
            for id in 0..8 {
                let value = |case: &&super::every_type::TypeCase, random: &mut Random| {
                    if random.chance(10) {
                        "NULL".into()
                    } else {
                        format!("'{}'", (case.values)(random).replace('\'', "''"))
                    }
                };
                let values: Vec<String> = few.iter().map(|case| value(case, &mut random)).collect();
                db.run(&format!("INSERT INTO public.t VALUES ({id}, {})", values.join(", "))).await;
            }
            db.run("SET search_path = ''").await;
            let known = db.know("public.t").await;
            let (batch, refused) = db.copied("public.t", &known.decodable).await;
            assert!(refused.is_empty(), "{refused:?}");
            let batch = batch.unwrap();
            let back = through_parquet(&batch.rows);
            let read: Vec<_> =
                back.iter().flat_map(|rows| (0..rows.num_rows()).map(move |row| literals(rows, row))).collect();
            assert_eq!(read, images(&batch, &[Kind::Read]));
            db.run("DROP TABLE public.t").await;
        }
    });
}

fn through_parquet(rows: &RecordBatch) -> Vec<RecordBatch> {
    let mut encoder = ParquetEncoder::new(rows.schema(), Arc::new(ParquetOptions::default())).unwrap();
    encoder.write(rows.clone()).unwrap();
    let mut file = encoder.take_output().concat();
    file.extend(encoder.finish().unwrap().concat());
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// Types whose JSON form the server has in common with us.
const COMMON: &str = "id int PRIMARY KEY, b bool, i2 int2, i8 int8, n numeric, d numeric(10,2), w numeric(60,30), t text, v varchar(90), \
    u uuid, j json, jb jsonb, m public.mood, dt date, ip inet, r int4range, ia int[], ta text[], na numeric[], ja jsonb[], ba bool[]";
const ROWS: &str = "(1, true, -32768, 9223372036854775807, 123456789012345678901234567890.123456789, -0.01, 1e29, \
      'ü \"quoted\" \\ \n\t\u{1}', '', '0fa7cba9-7175-8eda-97eb-d0567bb2823b', '{\"a\" : [1.0, null]}', '{\"b\": 1e2, \"a\": \"x\"}', \
      'it''s', '2026-11-27', '10.0.0.1/8', '[1,5)', '{1,NULL,-3}', '{a,\"b,c\",NULL,\"\"}', '{1.50,NaN}', '{\"{\\\"k\\\": [1]}\",null}', \
      '{t,f,NULL}'), \
    (2, NULL, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, 'null', '[]', NULL, NULL, NULL, NULL, '{}', '{}', NULL, NULL, NULL)";

#[test]
fn p02_json_of_a_row_is_what_the_server_makes_of_it() {
    on_every_server(async |db: &mut Db| {
        db.run("CREATE TYPE public.mood AS ENUM ('it''s')").await;
        db.run(&format!("CREATE TABLE public.t ({COMMON}); INSERT INTO public.t VALUES {ROWS}")).await;
        let known = db.know("public.t").await;
        let (batch, refused) = db.copied("public.t", &known.decodable).await;
        assert!(refused.is_empty(), "{refused:?}");
        let batch = batch.unwrap();
        let theirs = db.rows("SELECT pg_catalog.row_to_json(whole) FROM public.t whole ORDER BY id").await;
        for (row, theirs) in theirs.iter().enumerate() {
            let mut ours = Vec::new();
            dujiang_core::text::write_json_row(&batch, row, &mut ours);
            let ours: serde_json::Value = serde_json::from_slice(&ours).unwrap();
            let theirs: serde_json::Value = serde_json::from_str(theirs[0].as_ref().unwrap()).unwrap();
            assert_eq!(ours, theirs);
        }
    });
}

#[test]
fn p02_csv_of_a_row_is_what_the_server_makes_of_it() {
    on_every_server(async |db: &mut Db| {
        db.run(
            "CREATE TABLE public.t (id int PRIMARY KEY, n numeric, d numeric(10,2), t text, u uuid, dt date, i interval, ip inet, bits varbit);
             INSERT INTO public.t VALUES
               (1, 123456789012345678901234567890.5, -0.01, 'a \"b\", c', '0fa7cba9-7175-8eda-97eb-d0567bb2823b', '2026-11-27',
                '1 day -2 hours', '::1/64', B'0101'),
               (2, NULL, NULL, 'x', NULL, NULL, NULL, NULL, NULL)",
        )
        .await;
        let known = db.know("public.t").await;
        let (batch, _) = db.copied("public.t", &known.decodable).await;
        let mut ours = Vec::new();
        csv::encode(&batch.unwrap().rows, &csv::CsvOptions::default(), &mut ours).unwrap();
        let sql = "COPY (SELECT * FROM public.t ORDER BY id) TO STDOUT (FORMAT csv, NULL '\\N')";
        let mut theirs = Vec::new();
        let mut copy = db.connection.copy_out(sql).await.unwrap();
        while let Some(data) = copy.next().await.unwrap() {
            theirs.extend_from_slice(data);
        }
        assert_eq!(String::from_utf8(ours).unwrap().replace("\r\n", "\n"), String::from_utf8(theirs).unwrap());
    });
}

#[test]
fn columns_have_the_dialects_names() {
    on_every_server(async |db: &mut Db| {
        db.run(SETUP).await;
        let expected = [
            ("bool", "BOOLEAN"),
            ("int2", "SMALLINT"),
            ("int8", "BIGINT"),
            ("oid", "BIGINT"),
            ("float4", "FLOAT"),
            ("float8", "DOUBLE"),
            ("numeric", "STRING"),
            ("numeric(10,2)", "DECIMAL(10, 2)"),
            ("money", "DECIMAL(19, 2)"),
            ("varchar(20)", "VARCHAR(20)"),
            ("char(3)", "CHAR(3)"),
            ("text", "STRING"),
            ("bytea", "BYTES"),
            ("date", "DATE"),
            ("time", "TIME(6)"),
            ("timestamp", "TIMESTAMP(6)"),
            ("timestamp(3)", "TIMESTAMP(3)"),
            ("timestamptz(0)", "TIMESTAMP_LTZ(0)"),
            ("uuid", "STRING"),
            ("jsonb", "STRING"),
            ("bit(13)", "STRING"),
            ("public.price", "DECIMAL(10, 2)"),
            ("int4[]", "ARRAY<INT>"),
            ("varchar(7)[]", "ARRAY<VARCHAR(7)>"),
            ("int4[][]", "STRING"),
        ];
        let columns: Vec<String> = expected.iter().enumerate().map(|(n, (t, _))| format!("c{n} {t}")).collect();
        db.run(&format!("CREATE TABLE public.t ({})", columns.join(", "))).await;
        let known = db.know("public.t").await;
        let names: Vec<String> = known.decodable.schema.arrow.fields().iter().map(|f| dialect::type_name(f)).collect();
        assert_eq!(names, expected.map(|(_, name)| name.to_owned()));
        let kept = serde_json::to_string(&known.shape).unwrap();
        assert_eq!(serde_json::from_str::<dujiang_postgres::shape::Shape>(&kept).unwrap(), known.shape);
    });
}
