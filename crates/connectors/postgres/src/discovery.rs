//! Reading the catalog: which tables are captured, and what they look like.

use crate::catalog::{Collates, Collation, Database, Published, TableDetail, TableEntry, read};
use crate::client::{Connection, quote};
use crate::config::Config;
use crate::shape::Shape;
use crate::values::{Types, ValueSettings};
use dujiang_core::{Result, TableId};
use std::collections::HashMap;

/// The database as far as its values depend on it.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What the catalog says.
    pub database: Database,
    /// What options and database say of values.
    pub settings: ValueSettings,
    /// Bytes of a page of the log.
    pub wal_page: u64,
}

/// What the patterns mean.
#[derive(Debug, Default)]
pub struct Found {
    /// Tables to capture.
    pub captured: Vec<TableEntry>,
    /// Tables that a pattern means and that cannot be captured, with the reason.
    pub unfit: Vec<(TableId, &'static str)>,
    /// All other tables.
    pub others: Vec<TableId>,
}

/// Tables with everything that decides how they are read.
#[derive(Debug, Default)]
pub struct Details {
    /// The tables.
    pub tables: Vec<TableDetail>,
    /// The types they use.
    pub types: Types,
}

/// Facts about the database.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn facts(connection: &mut Connection, config: &Config) -> Result<Facts> {
    let database = read::database(connection).await?;
    let rows = connection.simple("SHOW wal_block_size").await?;
    let wal_page = rows.first().map_or(Ok(8192), |row| row.parse(0))?;
    let settings = config.value_settings(&database);
    Ok(Facts { database, settings, wal_page })
}

/// What the patterns mean. A partition is captured with the table it is a partition of.
///
/// # Errors
/// `PatternTooCostly`, and those of [`Connection::execute`].
pub async fn find_tables(connection: &mut Connection, config: &Config) -> Result<Found> {
    let mut found = Found::default();
    for entry in read::tables(connection).await? {
        let id = entry.id();
        match (config.filter.captures(&id)?, entry.unfit()) {
            (true, None) if entry.root.is_none() => found.captured.push(entry),
            (true, None) => {}
            (true, Some(why)) => found.unfit.push((id, why)),
            (false, _) => found.others.push(id),
        }
    }
    Ok(found)
}

/// Tables by their object ids; one that is gone is missing.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn details(connection: &mut Connection, oids: &[u32]) -> Result<Details> {
    let tables = read::details(connection, oids).await?;
    let used: Vec<u32> = tables.iter().flat_map(|t| t.columns.iter().map(|c| c.type_oid)).collect();
    let types = read::types(connection, used).await?;
    Ok(Details { tables, types })
}

/// What the publication publishes, `None` when it is not there.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn published(connection: &mut Connection, config: &Config, version: i32) -> Result<Option<Vec<Published>>> {
    let name = quote::literal(&config.publication);
    let there = connection.simple(&format!("SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = {name}")).await?;
    if there.is_empty() {
        return Ok(None);
    }
    read::published(connection, &config.publication, version).await.map(Some)
}

/// The shapes of tables as the catalog has them now, in the order of `details`.
///
/// # Errors
/// `TypeGone`.
pub fn shapes(details: &Details, published: &[Published], facts: &Facts, key_images: bool) -> Result<Vec<Shape>> {
    let columns: HashMap<TableId, Option<&[String]>> =
        published.iter().map(|p| (p.id(), p.columns.as_deref())).collect();
    let shape = |table: &TableDetail| {
        let of_table = columns.get(&table.id()).copied().flatten();
        Shape::of_catalog(table, of_table, &details.types, &facts.settings, key_images)
    };
    details.tables.iter().map(shape).collect()
}

/// For every column of a table, how its texts compare.
///
/// # Errors
/// As [`Connection::execute`].
pub async fn collations(connection: &mut Connection, shape: &Shape) -> Result<Vec<Collation>> {
    // What a version's catalog does not have is NULL in the document of the row. Bytes are compared as the database has them: they
    // are in the order of UTF-8 only where its encoding is ordered as Unicode is.
    let sql = format!(
        "SELECT a.attnum, CASE WHEN c.oid IS NULL THEN false
           WHEN c.collprovider = 'd' THEN d.provider IN ('c', 'b') AND d.locale IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8', 'C.UTF8')
           ELSE c.collprovider IN ('c', 'b') AND coalesce(c.collcollate, pg_catalog.to_json(c) ->> 'colllocale')
             IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8', 'C.UTF8') END,
           coalesce(c.collisdeterministic, false), d.encoding, b.oid::bigint
         FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation,
           LATERAL (WITH RECURSIVE below (oid, base) AS (
               SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid
               UNION ALL SELECT t.oid, t.typbasetype FROM below JOIN pg_catalog.pg_type t ON t.oid = below.base)
             SELECT below.oid FROM below WHERE below.base = 0) b,
           (SELECT coalesce(pg_catalog.to_json(b) ->> 'datlocprovider', 'c') AS provider,
              CASE WHEN pg_catalog.to_json(b) ->> 'datlocprovider' = 'b' THEN pg_catalog.to_json(b) ->> 'datlocale'
                ELSE b.datcollate END AS locale, pg_catalog.pg_encoding_to_char(b.encoding) AS encoding
            FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()) d
         WHERE a.attrelid = {} AND a.attnum > 0 AND NOT a.attisdropped",
        shape.relation
    );
    let rows = connection.simple(&sql).await?;
    let mut by_number = HashMap::new();
    for row in rows.iter() {
        by_number.insert(row.parse::<i16>(0)?, collation(row.flag(1)?, row.flag(2)?, row.text(3)?, row.parse(4)?));
    }
    Ok(shape.columns.iter().map(|column| by_number.get(&column.number).copied().unwrap_or_default()).collect())
}

/// `text`, `varchar`, `name`, `char(n)`: those whose order is that of their texts. That of others, such as `citext`, is their own.
const TEXTS: [u32; 4] = [25, 1043, 19, BPCHAR];
const BPCHAR: u32 = 1042;

fn collation(by_bytes: bool, deterministic: bool, encoding: &str, base: u32) -> Collation {
    let ordered = matches!(encoding, "UTF8" | "LATIN1" | "SQL_ASCII") && TEXTS.contains(&base);
    let collates = match (ordered, by_bytes, deterministic) {
        (true, true, _) => Collates::Bytes,
        (true, false, true) => Collates::Language,
        _ => Collates::Unknown,
    };
    Collation { collates, padded: base == BPCHAR, in_characters: matches!(encoding, "UTF8" | "LATIN1") }
}
