//! Transforms, routes and schema changes, through the real binary.

use crate::support::{Place, root};
use dujiang_scratch::{Options, Server};
use dujiang_testkit::workload::{Moves, SHAPE};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SHOP: &str = "source:\n  type: generator\n  rate: 0\n  initial-rows: 20\n  alter-after: 10\n";

/// Rows of every JSON file below a folder, by the table's folder.
fn rows(folder: &Path) -> BTreeMap<String, Vec<serde_json::Value>> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder of the sink");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let mut tables: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for table in list(folder) {
        let name = table.file_name().expect("a name").to_string_lossy().into_owned();
        if name == ".dujiang" {
            continue;
        }
        for file in list(&table) {
            let text = std::fs::read_to_string(file).expect("a data file");
            let rows = text.lines().map(|line| serde_json::from_str(line).expect("a row"));
            tables.entry(name.clone()).or_default().extend(rows);
        }
    }
    tables
}

#[test]
fn rules_are_carried_out_and_printed() {
    let place = Place::new();
    let rules = "  rows: 200\n  tables: customers,orders\ntransform:\n  - source-table: shop.customers\n    projection: id, \
                 UPPER(name) AS loud\n    filter: id > 5\nroute:\n  - source-table: shop.\\.*\n    sink-table: ods.<>\n    \
                 replace-symbol: <>\nsink:\n  type: values\n";
    place.file("p.yaml", &format!("{SHOP}{rules}"));
    let out = place.run(["run", "p.yaml"]).code(0).out;
    let customers = "CreateTableEvent{tableId=ods.customers, schema=columns={`id` DECIMAL(20, 0) NOT NULL,`loud` STRING NOT \
                     NULL}, primaryKeys=id, options=()}";
    assert!(out.lines().any(|line| line == customers), "{out}");
    assert!(!out.contains("shop.") && !out.contains("loyalty"), "{out}");
    let ids =
        out.lines().filter_map(|line| line.strip_prefix("DataChangeEvent{tableId=ods.customers, before=[], after=["));
    let ids: Vec<u64> = ids.map(|rest| rest.split(',').next().unwrap().parse().unwrap()).collect();
    assert!(ids.len() > 10 && ids.iter().all(|id| *id > 5), "{ids:?}");
    assert!(
        out.lines().any(|line| line.contains("tableId=ods.orders, before=[") && line.ends_with("op=UPDATE, meta=()}"))
    );
}

#[test]
fn a_table_is_copied_and_bad_rows_become_dead_letters_of_the_transform() {
    let place = Place::new();
    let rules = "  rows: 2000\ntransform:\n  - source-table: shop.orders\n    projection: id, 100 / (id % 10) AS share\nroute:\n  \
                 - source-table: shop.customers\n    sink-table: ods.people\n  - source-table: shop.\\.*\n    sink-table: \
                 copy.<>\n    replace-symbol: <>\nsink:\n  type: file\n  path: out\n  format: json\npipeline:\n  name: copies\n  \
                 parallelism: 2\n  error.policy: dead-letter\n";
    place.file("p.yaml", &format!("{SHOP}{rules}"));
    place.run(["run", "p.yaml"]).code(0);
    let tables = rows(&place.path("out"));
    assert_eq!(tables.keys().map(String::as_str).collect::<Vec<_>>().len(), 6, "{:?}", tables.keys());
    let events = |table: &str| {
        let mut ids: Vec<String> =
            tables[table].iter().map(|row| format!("{} {}", row["__event_id"], row["__op"])).collect();
        ids.sort();
        ids
    };
    assert_eq!(events("ods.people"), events("copy.customers"), "copies keep their event ids");
    assert!(events("ods.people")[0].contains("shop.customers"), "the id names the source");
    assert!(tables["copy.orders"].iter().all(|row| row["id"].as_u64().unwrap() % 10 != 0));
    let letters = place.run(["dlq", "list", "p.yaml", "-o", "json"]).code(0).out;
    let letters: serde_json::Value = serde_json::from_str(&letters).unwrap();
    let letters = letters.as_array().unwrap();
    assert!(!letters.is_empty());
    for letter in letters {
        assert_eq!(
            (letter["stage"].as_str(), letter["table"].as_str()),
            (Some("transform"), Some("shop.orders")),
            "{letter}"
        );
    }
}

/// What `ignore` has ignored stays ignored after a restart: the sink's shape stands in the checkpoint.
#[test]
fn the_sinks_shape_survives_a_restart() {
    for (behavior, expected) in [("ignore", false), ("evolve", true), ("lenient", true)] {
        let place = Place::new();
        let text = |rows: u32| {
            format!(
                "{SHOP}  rows: {rows}\n  tables: customers\nsink:\n  type: file\n  path: out\n  format: json\npipeline:\n  name: \
                 shape\n  schema.change.behavior: {behavior}\n"
            )
        };
        for total in [100, 300] {
            place.file("p.yaml", &text(total));
            place.run(["run", "p.yaml"]).code(0);
        }
        let tables = rows(&place.path("out"));
        let customers = &tables["shop.customers"];
        assert!(customers.len() >= 300, "{}", customers.len());
        assert_eq!(customers.iter().any(|row| row.get("loyalty_points").is_some()), expected, "{behavior}");
    }
    let place = Place::new();
    let exception =
        "  rows: 300\n  tables: customers\nsink:\n  type: values\npipeline:\n  schema.change.behavior: exception\n";
    place.file("p.yaml", &format!("{SHOP}{exception}"));
    let ended = place.run(["run", "p.yaml"]).code(65);
    assert!(ended.err.contains("E0304") && ended.err.contains("add.column"), "{}", ended.err);
}

#[test]
fn tables_of_a_server_flow_into_one() {
    let (place, server) = (Place::new(), Server::start(&Options::default()).expect("a server"));
    let shards = "CREATE DATABASE app; CREATE TABLE app.orders_1 (id INT PRIMARY KEY, amount INT NOT NULL); CREATE TABLE \
                  app.orders_2 (id BIGINT PRIMARY KEY, amount DECIMAL(8,2), city VARCHAR(20)); INSERT INTO app.orders_1 VALUES \
                  (1, 5), (2, 6); INSERT INTO app.orders_2 VALUES (10, 7.25, 'Chengdu')";
    server.sql(shards).unwrap();
    let text = format!(
        "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: \
         app.orders_\\d\nroute:\n  - source-table: app.orders_\\d\n    sink-table: ods.orders\nsink:\n  type: values\n",
        server.port()
    );
    place.file("p.yaml", &text);
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    let mut lines: Vec<&str> = out.lines().collect();
    lines[1..].sort_unstable();
    let insert =
        |row: &str| format!("DataChangeEvent{{tableId=ods.orders, before=[], after=[{row}], op=INSERT, meta=()}}");
    let table = |columns: &str| {
        format!("CreateTableEvent{{tableId=ods.orders, schema=columns={{{columns}}}, primaryKeys=id, options=()}}")
    };
    let first = table("`id` BIGINT NOT NULL,`amount` DECIMAL(12, 2),`city` VARCHAR(20)");
    assert_eq!(lines, [first.clone(), insert("1, 5.00, null"), insert("10, 7.25, Chengdu"), insert("2, 6.00, null")]);
    let changes = "UPDATE app.orders_1 SET amount = 50 WHERE id = 1; ALTER TABLE app.orders_1 ADD COLUMN paid DATE; INSERT INTO \
                   app.orders_1 VALUES (3, 1, '2026-11-20'); DELETE FROM app.orders_2 WHERE id = 10";
    server.sql(changes).unwrap();
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    let data: Vec<&str> = out.lines().filter(|line| !line.starts_with("CreateTableEvent")).collect();
    let mut expected = vec![
        "DataChangeEvent{tableId=ods.orders, before=[1, 5.00, null], after=[1, 50.00, null], op=UPDATE, meta=()}"
            .to_owned(),
        "AddColumnEvent{tableId=ods.orders, addedColumns=[ColumnWithPosition{column=`paid` DATE, position=LAST, \
         existedColumnName=null}]}"
            .to_owned(),
        insert("3, 1.00, null, 2026-11-20"),
        "DataChangeEvent{tableId=ods.orders, before=[10, 7.25, Chengdu, null], after=[], op=DELETE, meta=()}"
            .to_owned(),
    ];
    // Tables that share no key are in no order.
    let mut data: Vec<String> = data.into_iter().map(str::to_owned).collect();
    data[2..].sort();
    expected[2..].sort();
    assert_eq!(data, expected);
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    let evolved = table("`id` BIGINT NOT NULL,`amount` DECIMAL(12, 2),`city` VARCHAR(20),`paid` DATE");
    assert_eq!(out.lines().collect::<Vec<_>>(), [evolved], "the merged shape is in the checkpoint");
}

/// INV-7 across tables: rows that move from shard to shard, in one transaction or in two, during the snapshot and after it,
/// reach the sink as delete and insert in the source's order.
#[test]
fn p07_rows_that_move_between_merged_tables_keep_their_order() {
    const KEYS: u64 = 40;
    let (place, server) = (Place::new(), Server::start(&Options::default()).expect("a server"));
    let shard = |n: u64| format!("CREATE TABLE app.s{n} (id INT PRIMARY KEY, version INT NOT NULL) ENGINE=InnoDB;");
    server.sql(&format!("CREATE DATABASE app; {}", (0..3).map(shard).collect::<String>())).unwrap();
    let initial: Vec<String> = (0..KEYS).map(|key| format!("({key}, 0)")).collect();
    server.sql(&format!("INSERT INTO app.s0 VALUES {}", initial.join(","))).unwrap();
    let text = format!(
        "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: app.s\\d\n  \
         scan.incremental.snapshot.chunk.size: 7\nroute:\n  - source-table: app.s\\d\n    sink-table: ods.all\nsink:\n  type: \
         file\n  path: out\n  format: json\npipeline:\n  name: shards\n  parallelism: 2\n",
        server.port()
    );
    place.file("p.yaml", &text);
    let mut random = 7u64;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut at = vec![0u64; KEYS as usize];
    let mut version = 0;
    let mut move_some = |moves: u64| {
        let mut sql = String::new();
        for _ in 0..moves {
            let (key, to) = (draw(KEYS), draw(3));
            version += 1;
            let from = std::mem::replace(&mut at[key as usize], to);
            let apart = draw(2) == 0;
            let (begin, end) = if apart { ("", "") } else { ("BEGIN;", "COMMIT;") };
            sql += &format!(
                "{begin} DELETE FROM app.s{from} WHERE id = {key}; INSERT INTO app.s{to} VALUES ({key}, {version}); {end}"
            );
        }
        server.sql(&sql).unwrap();
        at.clone()
    };
    // A snapshot while rows move, then a backlog in which every batch of a shard overlaps with those of the others.
    let mut child = place
        .dujiang()
        .args(["run", "p.yaml", "--until", "caught-up"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        move_some(20);
    }
    move_some(2_000);
    place.run(["run", "p.yaml", "--until", "caught-up"]).code(0);
    let all = rows(&place.path("out")).remove("ods.all").expect("the merged table");
    let mut lanes: BTreeMap<u64, Vec<(String, i64)>> = BTreeMap::new();
    for row in &all {
        let (key, version) = (row["id"].as_u64().unwrap(), row["version"].as_i64().unwrap());
        lanes.entry(key).or_default().push((row["__op"].as_str().unwrap().to_owned(), version));
    }
    assert_eq!(lanes.len() as u64, KEYS);
    let mut moved = 0;
    for (key, changes) in lanes {
        let mut last: Option<i64> = None;
        for (op, version) in changes {
            match op.as_str() {
                "d" => assert_eq!(last.take(), Some(version), "key {key} is deleted where it is not"),
                _ => assert_eq!(last.replace(version), None, "key {key} is inserted twice"),
            }
            moved += 1;
        }
        assert!(last.is_some(), "key {key} ends as a row");
    }
    assert!(moved > 4_000, "{moved}");
}

/// INV-7 where the sink has keys of its own: rows that move between keys of the source while its snapshot is read are there when
/// they are deleted, and not there when they come.
#[test]
fn p07_f22_rows_with_keys_of_their_own_at_the_sink_keep_their_order() {
    let (place, server) = (Place::new(), Server::start(&Options::default()).expect("a server"));
    let mut moves = Moves::new("app.m", 5, 600, 2);
    server.sql(&format!("CREATE DATABASE app; CREATE TABLE app.m {SHAPE}; {}", moves.first())).unwrap();
    let text = format!(
        "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: app.m\n  \
         scan.incremental.snapshot.chunk.size: 5\ntransform:\n  - source-table: app.m\n    projection: k, id, v\n    \
         primary-keys: k\nsink:\n  type: file\n  path: out\n  format: json\npipeline:\n  name: keys\n  parallelism: 2\n",
        server.port()
    );
    place.file("p.yaml", &text);
    moves.start(|| {
        let mut session = server.session().unwrap();
        move |sql: &str| {
            while let Err(error) = session.run(sql) {
                // Whoever loses a deadlock begins again.
                assert_eq!(error.sql_code(), Some(1213), "{error}");
                session.run("ROLLBACK").unwrap();
            }
        }
    });
    place.run(["run", "p.yaml", "--until", "caught-up"]).code(0);
    moves.stop();
    place.run(["run", "p.yaml", "--until", "caught-up"]).code(0);
    let mut found: BTreeMap<i64, [i64; 2]> = BTreeMap::new();
    for row in rows(&place.path("out")).remove("app.m").expect("the table") {
        let [k, id, v] = ["k", "id", "v"].map(|name| row[name].as_i64().expect("a number"));
        match row["__op"].as_str().expect("a kind") {
            "d" => assert_eq!(found.remove(&k), Some([id, v]), "{k} is deleted where it is not"),
            "u" => assert!(found.insert(k, [id, v]).is_some(), "{k} is changed where it is not"),
            _ => assert_eq!(found.insert(k, [id, v]), None, "{k} is there already"),
        }
    }
    let number = |cell: &Option<String>| cell.as_deref().and_then(|text| text.parse().ok()).expect("a number");
    let held = server.session().unwrap().run("SELECT k, id, v FROM app.m").unwrap();
    let held: BTreeMap<i64, [i64; 2]> =
        held.iter().map(|row| (number(&row[0]), [number(&row[1]), number(&row[2])])).collect();
    assert_eq!(found, held);
}

/// A rule whose column is gone stops the pipeline; edited for the new shape it goes on, although the position still has the
/// old one.
#[test]
fn a_rule_is_edited_for_a_shape_to_come() {
    let (place, server) = (Place::new(), Server::start(&Options::default()).expect("a server"));
    server
        .sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, old INT); INSERT INTO d.t VALUES (1, 1)")
        .unwrap();
    let text = |columns: &str| {
        format!(
            "source:\n  type: mariadb\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: d.t\n\
             transform:\n  - source-table: d.t\n    projection: {columns}\nsink:\n  type: values\npipeline:\n  name: edited\n",
            server.port()
        )
    };
    place.file("p.yaml", &text("id, old"));
    place.run(["run", "p.yaml", "--until", "caught-up"]).code(0);
    let change = "INSERT INTO d.t VALUES (2, 2); ALTER TABLE d.t ADD COLUMN new INT, DROP COLUMN old; INSERT INTO d.t VALUES (3, 3)";
    server.sql(change).unwrap();
    let ended = place.run(["run", "p.yaml", "--until", "caught-up"]).code(78);
    assert!(ended.out.contains("after=[2, 2]") && ended.err.contains("E0121"), "{ended:?}");
    place.file("p.yaml", &text("id, nwe"));
    let mistaken = place.run(["run", "p.yaml", "--until", "caught-up"]).code(78);
    assert!(mistaken.err.contains("E0121") && mistaken.err.contains("nwe"), "{}", mistaken.err);
    place.file("p.yaml", &text("id, new"));
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    assert!(out.contains("`id` INT NOT NULL,`new` INT}") && out.contains("after=[3, 3]"), "{out}");
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    assert!(!out.contains("DataChangeEvent"), "{out}");
}

/// `metadata.list`: facts about a change, for rows of the snapshot and of the log.
#[test]
fn transforms_read_the_metadata_that_is_listed() {
    let (place, server) = (Place::new(), Server::start(&Options::default()).expect("a server"));
    server
        .sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v INT); INSERT INTO d.t VALUES (1, 1)")
        .unwrap();
    let text = |listed: &str| {
        format!(
            "source:\n  type: mysql\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: d.t\n\
             {listed}transform:\n  - source-table: d.t\n    projection: id, op_ts / 1000000000 AS gigas, table_name, \
             database_name, row_kind\nsink:\n  type: values\npipeline:\n  name: facts\n",
            server.port()
        )
    };
    place.file("p.yaml", &text(""));
    let refused = place.run(["run", "p.yaml", "--until", "caught-up"]).code(78);
    assert!(refused.err.contains("E0121") && refused.err.contains("metadata.list: op_ts"), "{}", refused.err);
    place.file("p.yaml", &text("  metadata.list: op_ts, table_name, database_name, row_kind\n"));
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    assert!(out.contains("after=[1, 0, t, d, +I], op=INSERT"), "{out}");
    server.sql("SET timestamp = 1700000000; UPDATE d.t SET v = 2; DELETE FROM d.t").unwrap();
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    assert!(out.contains("before=[1, 1700, t, d, -U], after=[1, 1700, t, d, +U], op=UPDATE"), "{out}");
    assert!(out.contains("before=[1, 1700, t, d, -D], after=[], op=DELETE"), "{out}");
}

/// Files of one schema version have one shape, also when a rule is edited between two runs.
#[test]
fn an_edited_projection_is_a_new_schema_version() {
    let place = Place::new();
    let text = |rows: u32, projection: &str| {
        format!(
            "source:\n  type: generator\n  rate: 0\n  initial-rows: 20\n  rows: {rows}\n  tables: customers\ntransform:\n  \
             - source-table: shop.customers\n    projection: {projection}\nsink:\n  type: file\n  path: out\n  format: \
             json\npipeline:\n  name: edited\n"
        )
    };
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (rows, projection) in
        [(50, "id, name"), (100, "id, name"), (150, "id, UPPER(name) AS loud"), (200, "id, UPPER(name) AS loud")]
    {
        place.file("p.yaml", &text(rows, projection));
        place.run(["run", "p.yaml"]).code(0);
    }
    for file in std::fs::read_dir(place.path("out/shop.customers")).expect("the table's folder") {
        let path = file.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let version = name.rsplit_once("-v").expect("a version").1.to_owned();
        for line in std::fs::read_to_string(&path).expect("a data file").lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("a row");
            let columns: Vec<&str> = ["name", "loud"].into_iter().filter(|name| row.get(name).is_some()).collect();
            let known = versions.entry(version.clone()).or_default();
            known.push(columns.join(","));
            known.dedup();
        }
    }
    let expected = [("1.json", "name"), ("2.json", "loud")].map(|(v, c)| (v.to_owned(), vec![c.to_owned()]));
    assert_eq!(versions, BTreeMap::from(expected));
}

#[test]
fn fixtures_are_played() {
    let examples = root().join("examples/tests");
    let place = Place::new();
    let played = place.run(["test", examples.to_str().unwrap()]).code(0);
    assert!(played.out.contains("ok      ") && played.err.contains(" passed, 0 failed"), "{played:?}");
    let text = std::fs::read_to_string(examples.join("orders.test.yaml")).unwrap();
    let wrong =
        place.file("wrong.test.yaml", &text.replace("[1, PAID, 25.00], op=INSERT", "[1, PAID, 24.00], op=INSERT"));
    let failed = place.run(["test", "wrong.test.yaml"]).code(1);
    assert!(failed.out.contains("  - Data") && failed.out.contains("  + Data"), "{failed:?}");
    place.run(["test", "--update", "."]).code(0);
    assert_eq!(std::fs::read_to_string(wrong).unwrap(), text);
    place.file("mistake.test.yaml", "tables: {d.t: {columns: {id: UUID}}}\n");
    let mistaken = place.run(["test", "."]).code(78);
    assert!(mistaken.err.contains("mistake.test.yaml:1:"), "{mistaken:?}");
    std::fs::create_dir(place.path("empty")).unwrap();
    place.run(["test", "empty"]).code(2);
}
