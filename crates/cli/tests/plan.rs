//! `dujiang plan` on a real server: what it tells, and that it only looks.

use crate::support::Place;
use dujiang_scratch::{Options, Server};
use serde_json::Value;
use std::collections::BTreeMap;

const TABLES: &str = "CREATE DATABASE shop; USE shop;
CREATE TABLE shop.orders (id BIGINT UNSIGNED PRIMARY KEY, customer INT NOT NULL, total DECIMAL(60,2), state ENUM('new','paid'),
  tags SET('a','b'), placed DATETIME(3), note TEXT);
CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(40));
CREATE TABLE shop.customers_old (id INT PRIMARY KEY);
INSERT INTO shop.orders (id, customer) SELECT seq, seq FROM seq_1_to_1000;
ANALYZE TABLE shop.orders";

/// Every counter of the server that a write would move.
fn writes(server: &Server) -> BTreeMap<String, String> {
    let status = server.sql("SHOW GLOBAL STATUS").expect("the status");
    let counts = |name: &str| {
        let words =
            ["insert", "update", "delete", "replace", "create", "alter", "drop", "truncate", "grant", "lock", "flush"];
        let statement = name.strip_prefix("Com_").is_some_and(|rest| words.iter().any(|word| rest.starts_with(word)));
        statement
            || [
                "Binlog_commits",
                "Binlog_bytes_written",
                "Innodb_rows_inserted",
                "Innodb_rows_updated",
                "Innodb_rows_deleted",
            ]
            .contains(&name)
    };
    let lines = status.lines().filter_map(|line| line.split_once('\t'));
    let mut all: BTreeMap<String, String> =
        lines.filter(|(name, _)| counts(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert!(all.len() > 30, "the counters are there: {all:?}");
    all.insert("log".to_owned(), server.sql("SELECT @@gtid_binlog_pos").expect("the end of the log"));
    all
}

fn pipeline(server: &Server, tables: &str) -> String {
    format!(
        "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: {tables}\n\
         transform:\n  - source-table: shop.orders\n    projection: '*, customer * 2 AS twice'\n    filter: total > 0\n\
         route:\n  - source-table: shop.orders\n    sink-table: ods.orders\n\
         sink:\n  type: file\n  path: out\npipeline:\n  name: looked-up\n",
        server.port()
    )
}

#[test]
fn plan_looks_at_a_server_and_changes_nothing() {
    let (place, server) = (Place::new(), Server::start(&Options::default()).expect("a server"));
    server.sql(TABLES).expect("tables");
    place.file("p.yaml", &pipeline(&server, "shop.orders,shop.customers"));
    let before = writes(&server);
    let text = place.run(["plan", "p.yaml"]).code(0);
    let json = place.run(["plan", "p.yaml", "-o", "json"]).code(0).out;
    assert_eq!(writes(&server), before, "plan has written something");
    let only = ["p.yaml".to_owned()];
    let left: Vec<String> =
        std::fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, only, "plan leaves nothing behind");

    let plan: Value = serde_json::from_str(&json).expect("JSON");
    let plan = &plan[0];
    assert_eq!(plan["pipeline"], "looked-up");
    assert_eq!(plan["not_matched"], serde_json::json!(["shop.customers_old"]));
    assert_eq!(plan["refused"], serde_json::json!([]));
    let orders = plan["tables"].as_array().unwrap().iter().find(|t| t["table"] == "shop.orders").expect("the table");
    assert_eq!(orders["key"], serde_json::json!(["id"]));
    let rows = orders["estimated_rows"].as_u64().expect("an estimate");
    assert!((500..2_000).contains(&rows) && orders["estimated_bytes"].as_u64().unwrap() > 0, "{orders}");
    let target = &orders["targets"][0];
    assert_eq!(target["table"], "ods.orders");
    assert!(target["place"].as_str().unwrap().ends_with("out/ods.orders"), "{target}");
    let columns: Vec<[String; 4]> = orders["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| ["name", "source_type", "output_type", "loss"].map(|key| c[key].as_str().unwrap_or("-").to_owned()))
        .collect();
    let expected = [
        ["id", "bigint(20) unsigned", "DECIMAL(20, 0) NOT NULL", "-"],
        ["customer", "int(11)", "INT NOT NULL", "-"],
        ["total", "decimal(60,2)", "STRING", "-"],
        ["state", "enum('new','paid')", "STRING", "labels are text, without their list"],
        ["tags", "set('a','b')", "STRING", "labels are text, without their list"],
        ["placed", "datetime(3)", "TIMESTAMP(3)", "-"],
        ["note", "text", "STRING", "-"],
        ["twice", "INT", "INT NOT NULL", "-"],
    ];
    assert_eq!(columns, expected);
    for part in [
        "shop.orders",
        "key: id",
        "to ods.orders in ",
        "not matched: shop.customers_old",
        "labels are text",
        "2 tables, about ",
    ] {
        assert!(text.out.contains(part), "`{part}` is missing:\n{}", text.out);
    }
    assert!(text.err.contains("next: dujiang run p.yaml"), "{}", text.err);
}

#[test]
fn plan_tells_every_obstacle_at_once() {
    let (place, server) =
        (Place::new(), Server::start(&Options { binlog: false, ..Options::default() }).expect("a server"));
    server.sql(TABLES).expect("tables");
    server.sql("CREATE TABLE shop.heap (a INT); ALTER TABLE shop.orders DROP COLUMN customer").expect("more tables");
    place.file("p.yaml", &pipeline(&server, "shop.orders,shop.heap"));
    let ended = place.run(["plan", "p.yaml", "-o", "json"]).code(1);
    let plan: Value = serde_json::from_str(&ended.out).expect("JSON");
    let refused = plan[0]["refused"].as_array().unwrap();
    let codes: Vec<&str> = refused.iter().map(|d| d["code"].as_str().unwrap()).collect();
    for code in ["E0211", "E0301", "E0121"] {
        assert!(codes.contains(&code), "{code} is missing: {codes:?}\n{}", ended.err);
    }
    let column = refused.iter().find(|d| d["code"] == "E0121").unwrap();
    assert_eq!(column["span"]["start"]["line"], 10, "the caret is inside the SQL: {column}");
}
