//! Text and binary rows.

use crate::support::{connect, reads_as_written, root, shared};
use dujiang_core::Code;
use dujiang_mysql::client::{Connection, Param, column_flags, quote};
use std::time::Duration;

#[tokio::test]
async fn text_rows_keep_null_apart_from_empty() {
    let mut c = connect(shared()).await;
    let rows = c.query("SELECT 1 AS a, NULL AS b, '' AS c UNION ALL SELECT 22, 'x', 'é'").await.unwrap();
    assert_eq!(rows.columns(), ["a", "b", "c"]);
    let cells: Vec<_> =
        rows.iter().map(|r| (r.parse::<u64>(0).unwrap(), r.text(1).unwrap(), r.text(2).unwrap())).collect();
    assert_eq!(cells, [(Some(1), None, Some("")), (Some(22), Some("x"), Some("é"))]);
    assert_eq!(c.query_value("SELECT 'one'").await.unwrap().as_deref(), Some("one"));
    assert_eq!(c.query_value("SELECT 1 FROM DUAL WHERE 0").await.unwrap(), None);
    assert!(c.server().version.contains("MariaDB"), "{:?}", c.server());
    c.ping().await.unwrap();
    c.close().await;
}

#[tokio::test]
async fn ten_thousand_columns_of_text() {
    let mut c = connect(shared()).await;
    let list: Vec<_> = (0..10_000).map(|n| format!("{n} AS c{n}")).collect();
    let rows = c.query(&format!("SELECT {}", list.join(","))).await.unwrap();
    assert_eq!((rows.columns().len(), rows.len()), (10_000, 1));
    assert_eq!(rows.get(0).unwrap().parse::<u32>(9_999).unwrap(), Some(9_999));
}

#[tokio::test]
async fn literals_and_identifiers_mean_the_same_under_every_sql_mode() {
    let mut c = connect(shared()).await;
    for mode in ["", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", "ORACLE"] {
        c.execute(&format!("SET SESSION sql_mode='{mode}'")).await.unwrap();
        for value in ["it's", "a\\'b", "\\", "nul\0", "line\nend", "漢'é\\", "\"`"] {
            let sql = format!("SELECT {} AS x, HEX({})", quote::text(value), quote::bytes(value.as_bytes()));
            let rows = c.query(&sql).await.unwrap();
            assert_eq!(rows.get(0).unwrap().text(0).unwrap(), Some(value), "{mode}");
            let name = value.replace('\0', "");
            let sql = format!("SELECT 1 AS {}", quote::identifier(&name).unwrap());
            assert_eq!(c.query(&sql).await.unwrap().columns(), [name], "{mode}");
        }
    }
}

#[tokio::test]
async fn binary_rows_come_with_their_columns_and_parameters_arrive() {
    let mut c = connect(shared()).await;
    c.execute("CREATE DATABASE IF NOT EXISTS client_rows").await.unwrap();
    c.execute("CREATE TABLE client_rows.t (id BIGINT UNSIGNED PRIMARY KEY, e ENUM('a','b'), d DECIMAL(10,3))")
        .await
        .unwrap();
    let insert = c.prepare("INSERT INTO client_rows.t VALUES (?, ?, ?)").await.unwrap();
    c.execute_stmt(&insert, &[Param::UInt(u64::MAX), Param::Text("b"), Param::Text("1.5")]).await.unwrap();
    c.execute_stmt(&insert, &[Param::Int(7), Param::Null, Param::Double(2.25)]).await.unwrap();
    let select = c.prepare("SELECT * FROM client_rows.t WHERE id >= ? ORDER BY id").await.unwrap();
    let mut rows = c.execute_stmt(&select, &[Param::Bytes(b"7")]).await.unwrap();
    let id = &rows.columns()[0];
    assert_eq!((id.database.as_str(), id.org_table.as_str(), id.name.as_str()), ("client_rows", "t", "id"));
    assert!(
        id.has(column_flags::UNSIGNED)
            && id.has(column_flags::PRIMARY_KEY)
            && rows.columns()[1].has(column_flags::ENUM)
    );
    assert_eq!(rows.columns()[2].decimals, 3);
    let first = rows.next().await.unwrap().unwrap();
    // Row header, NULL bitmap with `e` (third bit on), 7, "2.250".
    assert_eq!(first, b"\x00\x08\x07\0\0\0\0\0\0\0\x052.250");
    let second = match rows.try_next_buffered().unwrap() {
        Some(row) => row.to_vec(),
        None => rows.next().await.unwrap().unwrap().to_vec(),
    };
    assert_eq!(second, b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01b\x051.500");
    assert!(rows.next().await.unwrap().is_none() && rows.next().await.unwrap().is_none());
    let wrong = c.execute_stmt(&select, &[]).await.err().unwrap();
    assert_eq!(wrong.code(), Code::Bug);
    c.close_statement(select).await.unwrap();
    assert!(c.is_idle());
}

#[tokio::test]
async fn rows_of_forty_megabytes_come_whole_in_both_protocols() {
    let mut c = connect(shared()).await;
    let size = 40 << 20;
    let rows = c.query(&format!("SELECT REPEAT('x', {size}), 7 UNION ALL SELECT 'small', 8")).await.unwrap();
    assert_eq!(rows.get(0).unwrap().bytes(0).unwrap().len(), size);
    assert_eq!(rows.get(1).unwrap().parse::<u8>(1).unwrap(), Some(8));
    let statement = c.prepare("SELECT REPEAT('x', ?), 7 UNION ALL SELECT 'small', 8").await.unwrap();
    let mut rows = c.execute_stmt(&statement, &[Param::Int(size as i64)]).await.unwrap();
    let big = rows.next().await.unwrap().unwrap();
    assert!(big.len() > size && big[11..size].iter().all(|&b| b == b'x'));
    assert!(rows.next().await.unwrap().unwrap().len() < 30);
    assert!(rows.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_parameter_of_forty_megabytes_arrives() {
    let mut c = connect(shared()).await;
    let statement = c.prepare("SELECT LENGTH(?), MD5(?)").await.unwrap();
    let text = "y".repeat(40 << 20);
    let mut rows = c.execute_stmt(&statement, &[Param::Text(&text), Param::Text("")]).await.unwrap();
    let row = rows.next().await.unwrap().unwrap();
    assert_eq!(&row[2..6], &(40u32 << 20).to_le_bytes());
}

#[tokio::test]
async fn the_servers_refusals_have_their_codes_and_leave_the_session_usable() {
    let mut c = connect(shared()).await;
    for (sql, code) in [
        ("SELECT * FROM no_such_db.t", Code::TableGone),
        ("USE no_such_db", Code::UnknownDatabase),
        ("SELEC 1", Code::SourceQuery),
        ("SELECT * FROM mysql.no_such_table", Code::TableGone),
    ] {
        let error = c.query(sql).await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(error.facts().iter().any(|(n, v)| *n == "statement" && v == sql));
        if sql == "SELEC 1" {
            reads_as_written(&error, &[]);
        }
        let error = c.prepare(sql).await.err().or(c.query(sql).await.err()).unwrap();
        assert_eq!(error.code(), code, "{error:?}");
    }
    assert!(c.is_idle());
    assert_eq!(c.query_value("SELECT 5").await.unwrap().as_deref(), Some("5"));
}

#[tokio::test]
async fn taking_rows_may_be_cancelled_at_any_time() {
    let mut c = connect(shared()).await;
    // Every row fills the server's send buffer, so that rows arrive one by one while we keep giving up on them.
    let sql = "SELECT seq, REPEAT('z', 40000), SLEEP(0.002) FROM mysql.seq_1_to_60";
    let statement = c.prepare(sql).await.unwrap();
    c.start_rows(&statement, &[]).await.unwrap();
    let (mut seen, mut cancelled) = (Vec::new(), 0);
    loop {
        match tokio::time::timeout(Duration::from_micros(100), c.next_row()).await {
            Err(_) => cancelled += 1,
            Ok(row) => match row.unwrap() {
                Some(row) => seen.push(u64::from_le_bytes(row[2..10].try_into().unwrap())),
                None => break,
            },
        }
    }
    assert_eq!(seen, (1..=60).collect::<Vec<_>>());
    assert!(cancelled > 0);
    assert!(c.is_idle());
}

#[tokio::test]
async fn a_session_left_in_the_middle_of_an_answer_refuses_commands() {
    let mut c = connect(shared()).await;
    let statement = c.prepare("SELECT seq FROM mysql.seq_1_to_100000").await.unwrap();
    c.execute_stmt(&statement, &[]).await.unwrap().next().await.unwrap();
    assert!(!c.is_idle());
    assert_eq!(c.execute("SELECT 1").await.unwrap_err().code(), Code::ConnectionLost);
}

#[tokio::test]
async fn a_killed_session_is_a_lost_connection() {
    let (mut victim, mut c) = (connect(shared()).await, connect(shared()).await);
    c.execute(&format!("KILL CONNECTION {}", victim.server().connection_id)).await.unwrap();
    let error = victim.query("SELECT 1").await.unwrap_err();
    assert_eq!(error.code(), Code::ConnectionLost, "{error:?}");
    assert_eq!(victim.query("SELECT 1").await.unwrap_err().code(), Code::ConnectionLost);
}

#[tokio::test]
async fn a_silent_server_is_a_lost_connection() {
    let mut endpoint = root(shared());
    endpoint.read_timeout = Some(Duration::from_secs(3));
    let mut c = Connection::connect(&endpoint).await.unwrap();
    let error = c.query("SELECT SLEEP(600)").await.unwrap_err();
    assert_eq!(error.code(), Code::ConnectionLost);
    reads_as_written(&error, &[]);
}
