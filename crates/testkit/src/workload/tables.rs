//! The tables of the load: their shapes, their first rows, and what the oracle has to know of them.

use super::Plan;
use crate::oracle::TableSpec;
use dujiang_scratch::{Result, Session};

/// The database of the load.
pub const DATABASE: &str = "river";
/// What every account has at first.
pub const OPENING_BALANCE: i64 = 1_000;
/// `facts.a` of writer `n` lies from `n * FACTS_SHARE`.
pub const FACTS_SHARE: u64 = 100_000_000;
/// Ids of writer `n` in the other tables lie from `n * ID_SHARE`.
pub const ID_SHARE: u64 = 10_000_000_000;
/// Key of a row that is never touched and lies behind all others, so that the last chunk of a snapshot is never empty.
const LAST_NAME: &str = "龥";
const LAST_FACT: u64 = 2_000_000_000;

const SCHEMA: &str = "
CREATE DATABASE river CHARACTER SET utf8mb4;
USE river;
CREATE TABLE accounts (
  id INT UNSIGNED NOT NULL PRIMARY KEY,
  balance BIGINT NOT NULL,
  version BIGINT UNSIGNED NOT NULL);
CREATE TABLE journal (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  source INT UNSIGNED NOT NULL,
  target INT UNSIGNED NOT NULL,
  amount BIGINT NOT NULL,
  noted DATETIME(6) NOT NULL);
CREATE TABLE chains (
  name VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY,
  chain BIGINT UNSIGNED NOT NULL,
  version BIGINT UNSIGNED NOT NULL,
  payload VARCHAR(255) NULL);
CREATE TABLE facts (
  a INT UNSIGNED NOT NULL,
  b VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  version BIGINT UNSIGNED NOT NULL,
  price DECIMAL(20,4) NULL,
  ratio DOUBLE NULL,
  kind ENUM('plain','näive','x,y') NOT NULL,
  raw VARBINARY(16) NULL,
  seen TIMESTAMP(3) NULL,
  place VARCHAR(40) CHARACTER SET latin1 NULL,
  PRIMARY KEY (a, b));
CREATE TABLE children (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  account INT UNSIGNED NOT NULL,
  version BIGINT UNSIGNED NOT NULL,
  note VARCHAR(80) NOT NULL,
  FOREIGN KEY (account) REFERENCES accounts (id));
CREATE TABLE not_captured (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, text VARCHAR(80) NOT NULL);";

/// What the oracle has to know: all tables but the one that is not captured.
pub fn specs() -> Vec<TableSpec> {
    vec![
        TableSpec::new(DATABASE, "accounts", &["id"]).chain("id", "version").sum("balance"),
        TableSpec::new(DATABASE, "journal", &["id"]),
        TableSpec::new(DATABASE, "chains", &["name"]).chain("chain", "version").folding_key("chain"),
        TableSpec::new(DATABASE, "facts", &["a", "b"]).chain("a", "version").binary(&["raw"]).instants(&["seen"]),
        TableSpec::new(DATABASE, "children", &["id"]).chain("id", "version"),
    ]
}

/// Creates everything and fills it.
pub(super) fn create(session: &mut Session, plan: &Plan) -> Result<()> {
    session.run(SCHEMA)?;
    let accounts = (1..=plan.accounts).map(|id| format!("({id},{OPENING_BALANCE},1)"));
    insert(session, "accounts", accounts)?;
    insert(session, "chains", owned(plan.chains, plan).map(|(writer, n)| first_chain(writer * ID_SHARE + n)))?;
    insert(session, "facts", owned(plan.facts, plan).map(|(writer, n)| first_fact(writer * FACTS_SHARE + n)))?;
    session.run(&format!("INSERT INTO chains VALUES ('{LAST_NAME}', 1, 1, NULL)"))?;
    let last = format!("({LAST_FACT},'last',1,NULL,NULL,'plain',NULL,NULL,NULL)");
    session.run(&format!("INSERT INTO facts VALUES {last}"))?;
    Ok(())
}

/// Who owns each of the first rows: (writer, number within its share), numbers from 0.
fn owned(rows: u64, plan: &Plan) -> impl Iterator<Item = (u64, u64)> + use<> {
    let writers = plan.writers;
    (0..rows).map(move |row| (row % writers, row / writers))
}

/// How many of `rows` first rows a writer owns.
pub(super) fn share(rows: u64, plan: &Plan, writer: u64) -> u64 {
    (rows + plan.writers - 1 - writer) / plan.writers
}

/// The name that a chain has at first.
pub(super) fn first_name(chain: u64) -> String {
    format!("chain-{chain}")
}

fn first_chain(chain: u64) -> String {
    let chain = chain + 10;
    format!("('{}',{chain},1,'first')", first_name(chain))
}

fn first_fact(a: u64) -> String {
    format!("({a},'b',1,{}.5,{}e-3,'plain',UNHEX('00FF'),'2026-01-02 03:04:05.678','Genève')", a % 10_000, a % 977)
}

fn insert(session: &mut Session, table: &str, rows: impl Iterator<Item = String>) -> Result<()> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let piece: Vec<String> = rows.by_ref().take(1_000).collect();
        session.run(&format!("INSERT INTO {table} VALUES {}", piece.join(",")))?;
    }
    Ok(())
}
