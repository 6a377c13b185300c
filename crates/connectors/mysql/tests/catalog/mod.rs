//! The catalog, and every reason for which a server or a table is refused.

use crate::support::{connect, own, shared, user};
use dujiang_core::{Code, Error, TableId};
use dujiang_mysql::catalog::{
    Cascade, ServerFlavor, ServerProfile, TableFilter, cascades, estimated_rows, find_tables, shapes,
};
use dujiang_mysql::client::Connection;
use dujiang_mysql::decode::ZeroDates;
use dujiang_mysql::preflight::{Checked, Demands, check};
use dujiang_scratch::{Kind, Options, Server};

async fn check_as(connection: &mut Connection, tables: &str, accept_cascades: bool) -> Result<Checked, Error> {
    let filter = TableFilter::parse(tables, None).unwrap();
    check(
        connection,
        Demands { filter: &filter, accept_cascades, server_id: 4711, zero_dates: ZeroDates::Error, marker_table: None },
    )
    .await
}

async fn error_of(connection: &mut Connection, tables: &str, code: Code) -> Error {
    let error = check_as(connection, tables, false).await.expect_err("the check should refuse");
    assert_eq!(error.code(), code, "{error:?}");
    assert!(error.help_text().is_some(), "{error:?}");
    error
}

fn facts<'a>(error: &'a Error, name: &str) -> Vec<&'a str> {
    error.facts().iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect()
}

/// A database of the test's own, with tables.
async fn database(server: &Server, name: &str, tables: &str) -> Connection {
    server.sql(&format!("CREATE DATABASE `{name}`; USE `{name}`; {tables}")).unwrap();
    connect(server).await
}

#[tokio::test]
async fn the_server_is_known_by_what_it_knows() {
    let mut c = connect(shared()).await;
    let profile = ServerProfile::read(&mut c).await.unwrap();
    assert_eq!(profile.flavor, ServerFlavor::MariaDb);
    assert!(profile.name().starts_with("MariaDB 1"), "{}", profile.name());
    assert!(profile.is_on("log_bin"));
    assert_eq!((profile.variable("binlog_format"), profile.variable("gtid_mode")), ("ROW", ""));
}

#[tokio::test]
async fn f28_tables_columns_and_keys_are_read_in_order() {
    let mut c = database(
        shared(),
        "cat_shapes",
        "CREATE TABLE b (y INT, x VARCHAR(10) CHARACTER SET latin1 NOT NULL, PRIMARY KEY (x, y));
         CREATE TABLE `A.a` (id INT UNSIGNED NOT NULL, u INT NOT NULL, n INT NULL, UNIQUE z (n), UNIQUE y (u, id));
         CREATE TABLE only_null (id INT NULL UNIQUE);
         CREATE TABLE prefix (t VARCHAR(200) NOT NULL, UNIQUE (t(10)));
         CREATE TABLE hashed (t LONGTEXT NOT NULL, UNIQUE (t));
         CREATE TABLE empty_too (id INT PRIMARY KEY, v INT AS (id + 1) VIRTUAL, h INT INVISIBLE);
         CREATE VIEW v AS SELECT * FROM b; CREATE SEQUENCE s;
         INSERT INTO b VALUES (1, 'a'), (2, 'b');",
    )
    .await;
    let filter = TableFilter::parse(r"cat_shapes.\.*", None).unwrap();
    let found = find_tables(&mut c, &filter).await.unwrap();
    assert_eq!(found.captured.len(), 6, "views and sequences are no tables: {found:?}");
    let all = shapes(&mut c, &found.captured, ZeroDates::Error).await.unwrap();
    let keys: Vec<_> = all.iter().map(|s| (s.table.as_str(), s.key.clone())).collect();
    let expected: [(&str, Vec<usize>); 6] = [
        ("A.a", vec![1, 0]),
        ("b", vec![1, 0]),
        ("empty_too", vec![0]),
        ("hashed", vec![]),
        ("only_null", vec![]),
        ("prefix", vec![]),
    ];
    assert_eq!(keys, expected);
    let b = &all[1];
    assert_eq!(b.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["y", "x"]);
    assert_eq!(b.columns[1].charset.as_deref(), Some("latin1"));
    assert!(!b.columns[1].nullable);
    assert_eq!(all[0].columns[0].column_type, "int(10) unsigned");
    assert_eq!(all[2].columns.len(), 3, "generated and invisible columns are columns");
    let rows = estimated_rows(&mut c, &found.captured).await.unwrap();
    assert_eq!(rows[&TableId::new("cat_shapes", "b")], 2);
}

#[tokio::test]
async fn many_tables_are_read_as_few_are() {
    let tables: String = (0..120).map(|n| format!("CREATE TABLE t{n} (id INT PRIMARY KEY, v{n} INT);")).collect();
    let mut c = database(shared(), "cat_many", &tables).await;
    let find = |list: &str| TableFilter::parse(list, None).unwrap();
    let all = find_tables(&mut c, &find(r"cat_many.\.*")).await.unwrap().captured;
    assert_eq!(all.len(), 120);
    let at_once = shapes(&mut c, &all, ZeroDates::Error).await.unwrap();
    let mut one_by_one = Vec::new();
    for part in all.chunks(7) {
        one_by_one.extend(shapes(&mut c, part, ZeroDates::Error).await.unwrap());
    }
    assert_eq!(at_once, one_by_one);
    assert!(check_as(&mut c, r"cat_many.\.*", false).await.is_ok());
}

#[tokio::test]
async fn a_good_server_passes_and_idle_patterns_are_mentioned() {
    let mut c = database(shared(), "pre_good", "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE u LIKE t;").await;
    let checked = check_as(&mut c, r"pre_good.t, pre_good.nothing", false).await.unwrap();
    assert_eq!(checked.tables.len(), 1);
    assert_eq!(checked.warnings, ["no table matches `pre_good.nothing` of `tables`"]);
}

#[tokio::test]
async fn settings_of_the_binlog() {
    let server = own(&Options { binlog: false, ..Options::default() });
    let mut c = connect(&server).await;
    let error = error_of(&mut c, "a.b", Code::BinlogOff).await;
    assert!(error.help_text().unwrap().contains("log_bin"));
    let server = own(&Options::default());
    let mut c = database(&server, "a", "CREATE TABLE b (id INT PRIMARY KEY)").await;
    for (setting, code) in [
        ("binlog_format='STATEMENT'", Code::BinlogFormat),
        ("binlog_format='MIXED'", Code::BinlogFormat),
        ("binlog_row_image='MINIMAL'", Code::BinlogRowImage),
        ("binlog_row_image='NOBLOB'", Code::BinlogRowImage),
    ] {
        server.sql(&format!("SET GLOBAL {setting}")).unwrap();
        let error = error_of(&mut c, "a.b", code).await;
        assert_eq!(facts(&error, "found")[0], setting.replace('\'', ""));
        // What the help says to run mends it.
        let help = error.help_text().unwrap();
        let remedy = help.split_once("SET GLOBAL ").unwrap().1.split_once(';').unwrap().0;
        server.sql(&format!("SET GLOBAL {remedy}")).unwrap();
        assert!(check_as(&mut c, "a.b", false).await.is_ok());
    }
    server.sql("SET GLOBAL binlog_checksum='NONE'").unwrap();
    assert!(check_as(&mut c, "a.b", false).await.unwrap().warnings[0].contains("binlog_checksum"));
}

#[tokio::test]
async fn databases_that_the_binlog_leaves_out_are_refused() {
    for (filter, other) in [("--binlog-do-db=a", "c"), ("--binlog-ignore-db=c", "c")] {
        let server = own(&Options::default().arg(filter));
        database(&server, "c", "CREATE TABLE d (id INT PRIMARY KEY)").await;
        let mut c = database(&server, "a", "CREATE TABLE b (id INT PRIMARY KEY)").await;
        assert!(check_as(&mut c, "a.b", false).await.is_ok());
        let error = error_of(&mut c, r"a.\.*, c.\.*", Code::BinlogOff).await;
        assert_eq!(facts(&error, "table"), [format!("{other}.d")]);
    }
}

#[tokio::test]
async fn a_replica_that_does_not_log_what_it_replicates_is_refused() {
    let source = own(&Options::default());
    let replica = own(&Options { server_id: 2, ..Options::default() });
    let mut c = database(&replica, "a", "CREATE TABLE b (id INT PRIMARY KEY)").await;
    assert!(check_as(&mut c, "a.b", false).await.is_ok());
    let port = source.port();
    replica
        .sql(&format!(
            "CHANGE MASTER TO master_host='127.0.0.1', master_port={port}, master_user='root', master_use_gtid=no; START SLAVE"
        ))
        .unwrap();
    let running = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Slaves_running'";
    let mut looks = 0;
    while c.query_value(running).await.unwrap().as_deref() != Some("1") {
        looks += 1;
        assert!(looks < 50_000, "the replica does not start");
    }
    let error = error_of(&mut c, "a.b", Code::BinlogOff).await;
    assert!(error.help_text().unwrap().contains("log_slave_updates=ON"));
    replica.sql("STOP SLAVE").unwrap();
}

#[tokio::test]
async fn missing_privileges_are_named_together_and_the_remedy_mends_them() {
    let server = shared();
    database(server, "pre_priv", "CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE TABLE u (id INT PRIMARY KEY);")
        .await;
    server.sql("CREATE USER `pre priv`@'%' IDENTIFIED BY 'p'; GRANT INSERT ON pre_priv.* TO `pre priv`@'%'").unwrap();
    let again = async || Connection::connect(&user(server, "pre priv", "p")).await.unwrap();
    let mend = |error: &Error| {
        let help = error.help_text().unwrap();
        let grant = help.split_once("run ").unwrap().1;
        server.sql(grant.split_once(", or").map_or(grant, |(g, _)| g)).unwrap();
    };
    let error = error_of(&mut again().await, r"pre_priv.\.*", Code::MissingPrivilege).await;
    assert_eq!(facts(&error, "missing"), ["REPLICATION SLAVE, BINLOG MONITOR"]);
    assert!(error.message().contains("'pre priv'@'%'"), "{error:?}");
    mend(&error);
    let error = error_of(&mut again().await, r"pre_priv.\.*", Code::MissingPrivilege).await;
    assert_eq!(facts(&error, "table"), ["pre_priv.t", "pre_priv.u"]);
    // A grant on one column shows the table with fewer columns than its log has.
    server
        .sql("GRANT SELECT ON pre_priv.u TO `pre priv`@'%'; GRANT SELECT (id) ON pre_priv.t TO `pre priv`@'%'")
        .unwrap();
    let error = error_of(&mut again().await, r"pre_priv.\.*", Code::MissingPrivilege).await;
    assert_eq!(facts(&error, "table"), ["pre_priv.t"]);
    mend(&error);
    assert_eq!(check_as(&mut again().await, r"pre_priv.\.*", false).await.unwrap().tables.len(), 2);
}

#[tokio::test]
async fn unknown_databases_and_tables_get_suggestions() {
    let mut c =
        database(shared(), "pre_names", "CREATE TABLE orders (id INT PRIMARY KEY); CREATE TABLE users LIKE orders")
            .await;
    let error = error_of(&mut c, "pre_nmes.orders", Code::UnknownDatabase).await;
    assert!(facts(&error, "nearest")[0].starts_with("pre_names"), "{error:?}");
    let error = error_of(&mut c, "mysql.user", Code::UnknownDatabase).await;
    assert!(error.message().contains("belongs to the server"), "{error:?}");
    let error = error_of(&mut c, "pre_names.ordrs", Code::NoTable).await;
    assert!(error.message().contains("`pre_names.ordrs`"));
    let near: Vec<_> = facts(&error, "nearest")[0].split(", ").collect();
    assert_eq!((near[0], near.len() <= 5), ("pre_names.orders", true), "{error:?}");
    error_of(&mut c, r"zzz\.*.\.*", Code::NoTable).await;
    let all_excluded = TableFilter::parse("pre_names.orders", Some("pre_names.o\\.*")).unwrap();
    let demands = Demands {
        filter: &all_excluded,
        accept_cascades: false,
        server_id: 4711,
        zero_dates: ZeroDates::Error,
        marker_table: None,
    };
    let error = check(&mut c, demands).await.unwrap_err();
    assert!((error.code(), facts(&error, "found")[0].contains("tables.exclude")) == (Code::NoTable, true), "{error:?}");
}

#[tokio::test]
async fn tables_without_a_key_are_listed() {
    let mut c = database(
        shared(),
        "pre_nokey",
        "CREATE TABLE a (id INT); CREATE TABLE b (id INT NULL UNIQUE); CREATE TABLE c (id INT PRIMARY KEY);",
    )
    .await;
    let error = error_of(&mut c, r"pre_nokey.\.*", Code::NoKey).await;
    assert_eq!(facts(&error, "table"), ["pre_nokey.a", "pre_nokey.b"]);
}

#[tokio::test]
async fn cascading_foreign_keys_of_captured_children_are_refused_unless_accepted() {
    let mut c = database(
        shared(),
        "pre_fk",
        "CREATE TABLE p (id INT PRIMARY KEY);
         CREATE TABLE c1 (id INT PRIMARY KEY, p INT, CONSTRAINT f1 FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE);
         CREATE TABLE c2 (id INT PRIMARY KEY, p INT, CONSTRAINT f2 FOREIGN KEY (p) REFERENCES p (id) ON UPDATE SET NULL);
         CREATE TABLE c3 (id INT PRIMARY KEY, p INT, CONSTRAINT f3 FOREIGN KEY (p) REFERENCES p (id) ON DELETE RESTRICT);",
    )
    .await;
    let error = error_of(&mut c, r"pre_fk.\.*", Code::CascadingKey).await;
    let keys = facts(&error, "foreign key");
    assert_eq!(keys.len(), 2, "{error:?}");
    assert!(keys[0].starts_with("pre_fk.c1 f1 to pre_fk.p: ON DELETE CASCADE"), "{keys:?}");
    assert!(error.help_text().unwrap().contains("foreign-keys.cascade.accept"));
    assert!(check_as(&mut c, r"pre_fk.p, pre_fk.c3", false).await.is_ok());
    assert_eq!(check_as(&mut c, r"pre_fk.\.*", true).await.unwrap().tables.len(), 4);
}

/// MariaDB and MySQL 5.7 hide `REFERENTIAL_CONSTRAINTS` from whoever may only read a table.
#[tokio::test]
async fn cascading_foreign_keys_are_seen_by_a_user_who_may_only_read() {
    for kind in Kind::ALL {
        let server = own(&Options::default().on(kind));
        server
            .sql(
                "CREATE DATABASE fk; USE fk; CREATE TABLE p (id INT, n INT, PRIMARY KEY (id, n));
                 CREATE TABLE c (id INT PRIMARY KEY COMMENT 'ON DELETE', `o``p` INT, n INT, CONSTRAINT `f``1`
                 FOREIGN KEY (`o``p`, n) REFERENCES p (id, n) ON DELETE CASCADE ON UPDATE SET NULL);
                 CREATE USER reader IDENTIFIED BY 'a password'; GRANT SELECT ON fk.c TO reader",
            )
            .unwrap();
        let mut c = Connection::connect(&user(&server, "reader", "a password")).await.unwrap();
        let found = cascades(&mut c, &[TableId::new("fk", "c")]).await.unwrap();
        let expected = Cascade {
            child: TableId::new("fk", "c"),
            constraint: "f`1".into(),
            parent: TableId::new("fk", "p"),
            columns: vec![("o`p".into(), "id".into()), ("n".into(), "n".into())],
            on_delete: "CASCADE".into(),
            on_update: "SET NULL".into(),
        };
        assert_eq!(found, [expected], "{kind:?}");
    }
}

#[tokio::test]
async fn tables_of_a_strange_kind() {
    let mut c = database(shared(), "pre_types", "CREATE TABLE good (id INT PRIMARY KEY);").await;
    c.execute("CREATE TABLE pre_types.versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING").await.unwrap();
    let error = error_of(&mut c, r"pre_types.\.*", Code::NotSupported).await;
    assert_eq!(facts(&error, "table"), ["pre_types.versioned (SYSTEM VERSIONED)"]);
}
