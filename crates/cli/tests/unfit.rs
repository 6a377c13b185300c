//! Values that cannot be carried, through the real binary: their own records are dead letters, the others go on.

use crate::support::{Place, reads_as_written};
use dujiang_scratch::{Kind, Options, Server};

fn pipeline(server: &Server, name: &str, more: &str) -> String {
    format!(
        "source:\n  type: mysql\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: \
         shop.visits\n{more}sink:\n  type: values\npipeline:\n  name: {name}\n",
        server.port()
    )
}

#[test]
fn f47_a_zero_date_costs_its_own_record_only() {
    let (place, server) = (Place::new(), Server::start(&Options::default().on(Kind::Mysql57)).expect("a server"));
    let visits = "SET sql_mode = ''; CREATE DATABASE shop; CREATE TABLE shop.visits (id INT PRIMARY KEY, day DATE NOT NULL); \
                  INSERT INTO shop.visits VALUES (1, '2026-11-20'), (2, '0000-00-00'), (3, '2026-11-22')";
    server.sql(visits).unwrap();
    place.file("p.yaml", &(pipeline(&server, "visits", "") + "  error.policy: dead-letter\n"));
    let rows = |out: &str| -> Vec<String> {
        let all = out.lines().filter(|line| line.starts_with("DataChangeEvent"));
        all.map(|line| line.split_once("before=").unwrap().1.replace(", meta=()}", "")).collect()
    };
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    assert_eq!(rows(&out), ["[], after=[1, 2026-11-20], op=INSERT", "[], after=[3, 2026-11-22], op=INSERT"]);
    let changes = "SET sql_mode = ''; UPDATE shop.visits SET day = '2026-00-15' WHERE id = 1; UPDATE shop.visits SET day = \
                   '2026-11-25' WHERE id = 3; DELETE FROM shop.visits WHERE id = 2";
    server.sql(changes).unwrap();
    let out = place.run(["run", "p.yaml", "--until", "caught-up"]).code(0).out;
    assert_eq!(rows(&out), ["[3, 2026-11-22], after=[3, 2026-11-25], op=UPDATE"]);
    let letters = place.run(["dlq", "list", "p.yaml", "-o", "json"]).code(0).out;
    for part in ["0000-00-00", "2026-00-15", "E0700", "\"source\"", "there is no such day"] {
        assert!(letters.contains(part), "{part}: {letters}");
    }
}

#[test]
fn f47_a_zero_date_halts_by_name_or_is_carried_as_asked() {
    let (place, server) = (Place::new(), Server::start(&Options::default().on(Kind::MariaDb)).expect("a server"));
    let visits = "CREATE DATABASE shop; CREATE TABLE shop.visits (id INT PRIMARY KEY, day DATETIME(2) NOT NULL); \
                  INSERT INTO shop.visits VALUES (1, '2026-11-20'), (2, '0000-00-00')";
    server.sql(visits).unwrap();
    place.file("p.yaml", &pipeline(&server, "halting", ""));
    let planned = place.run(["plan", "p.yaml"]).code(0);
    let told = format!("{}{}", planned.out, planned.err);
    assert!(told.contains("accepts dates such as 0000-00-00") && told.contains("zero-dates"), "{told}");
    let ended = place.run(["run", "p.yaml", "--until", "caught-up"]).code(65);
    assert!(
        ended.err.contains("E0700") && ended.err.contains("shop.visits, column day: 0000-00-00 00:00:00"),
        "{ended:?}"
    );
    // A key is told as the source holds it.
    server.sql("CREATE TABLE shop.days (id INT, day DATE, PRIMARY KEY (id, day))").unwrap();
    place.file("k.yaml", &pipeline(&server, "keys", "").replace("shop.visits", "shop.days"));
    place.run(["run", "k.yaml", "--until", "caught-up"]).code(0);
    server.sql("INSERT INTO shop.days VALUES (7, '0000-00-00')").unwrap();
    let said = place.run(["run", "k.yaml", "--until", "caught-up"]).code(65).rendered();
    assert!(said.contains("record: id=7, day=0000-00-00") && !said.contains("1970"), "{said}");
    for (policy, shown) in [("null", "null"), ("text", "0000-00-00 00:00:00.00")] {
        place.file("q.yaml", &pipeline(&server, &format!("as-{policy}"), &format!("  zero-dates: {policy}\n")));
        let out = place.run(["run", "q.yaml", "--until", "caught-up"]).code(0).out;
        assert!(out.contains(&format!("after=[2, {shown}]")), "{policy}: {out}");
    }
    // In the middle of a pipeline the type of a column stays.
    place.file("q.yaml", &pipeline(&server, "as-text", "  zero-dates: 'null'\n"));
    let refused = place.run(["run", "q.yaml", "--until", "caught-up"]).code(78);
    reads_as_written("E0320", &refused.rendered(), &place);
}
