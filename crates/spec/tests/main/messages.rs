//! What users read.
use crate::sample::*;
#[test]
fn print_some() {
    for (t, e, s) in [
        (GOOD.replace("hostname", "hostnme"), vec![], vec![]),
        (GOOD.replace("tables: ", "port: 99999\n  tables: ").replace("path:", "pathh:"), vec![], vec![]),
        ("".into(), vec![], vec![]),
        ("source:\n  type: databse\nsnk:\n  type: file\n".into(), vec![], vec![]),
        (GOOD.replace("password: 012345", "password: ${env:DB_PASSWORD}"), vec![], vec![]),
        (GOOD.replace("password: 012345", "password: ${env:DB_PASSWORD}"), vec![("DB_PASSWORD", "")], vec![]),
        (
            GOOD.replace("password: 012345", "passwrd: 012345\n  port: x"),
            vec![("DUJIANG__SOURCE__PROT", "1"), ("DUJIANG__SOURCE__PORT", "y")],
            vec![("source.heartbeat.interval", "7 parsecs")],
        ),
        (GOOD.replace("  username: capture\n", "  username: capture\n  hostname: db2\n\tx: y\n"), vec![], vec![]),
        (
            GOOD.replace("  username: capture\n", "  username: capture\n\n\n\n\n\n\n\n\n\n\n\n  hostname: db2\n"),
            vec![],
            vec![],
        ),
        (format!("{GOOD}transform:\n  - source-table: a\n"), vec![], vec![]),
        (
            GOOD.replace(
                "type: file\n  path: /data/ods\n  format: parquet",
                "type: queue\n  sink.delivery-guarantee: exactly-once",
            ),
            vec![],
            vec![],
        ),
        (format!("{GOOD}  route-mode: FIRST_MATCH\n"), vec![], vec![]),
        (GOOD.replace("  tables", "tables"), vec![], vec![]),
        (GOOD.replace("db1", "\"都江 \\\"堰\" # c").replace("type: database", "type: databaze"), vec![], vec![]),
    ] {
        let e: Vec<(&str, &str)> = e;
        let s: Vec<(&str, &str)> = s;
        println!("-----------\n{}", rendered(&t, &e, &s));
    }
}
