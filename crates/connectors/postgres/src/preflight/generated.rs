//! Generated columns that a publication leaves out although they are part of the old rows that are logged: the server then refuses every
//! UPDATE and DELETE of the table. From 18 on.

use crate::catalog::{Published, TableDetail};
use crate::client::{Connection, quote};
use crate::config::Config;
use crate::discovery::Facts;
use dujiang_core::{Code, Error, Result, TableId};

/// From this version on publications say whether they publish generated columns.
const SINCE: i32 = 180_000;
const STORED: &str = "publish_generated_columns = stored";

/// What a publication of ours says of generated columns.
pub(super) fn how(facts: &Facts) -> String {
    if facts.database.version < SINCE { String::new() } else { format!(", {STORED}") }
}

/// What a publication of ours publishes of these tables once it is made.
pub fn once_made(facts: &Facts, tables: &[TableDetail]) -> Vec<Published> {
    let stored = facts.database.version >= SINCE;
    let publishes = |table: &TableDetail| {
        let columns = table.columns.iter().filter(|column| !column.generated || stored && !column.is_virtual);
        let columns = Some(columns.map(|column| column.name.clone()).collect());
        Published { schema: table.schema.clone(), table: table.table.clone(), columns, filter: None }
    };
    tables.iter().map(publishes).collect()
}

/// The statement that makes the publication publish them.
pub(super) fn statement(config: &Config) -> String {
    format!("ALTER PUBLICATION {} SET ({STORED})", quote::identifier(&config.publication))
}

/// What has to be run before the publication names this table, if anything has to.
///
/// # Errors
/// What ends the session.
pub async fn add_generated(
    connection: &mut Connection,
    config: &Config,
    facts: &Facts,
    table: &TableId,
) -> Result<Option<String>> {
    let hidden = unpublished(connection, config, facts, std::slice::from_ref(table)).await?;
    Ok((!hidden.is_empty()).then(|| statement(config)))
}

/// Those that the publication leaves out, or would leave out once it names the table; none if it is yet to be made.
pub(super) async fn unpublished(
    connection: &mut Connection,
    config: &Config,
    facts: &Facts,
    tables: &[TableId],
) -> Result<Vec<String>> {
    if facts.database.version < SINCE || tables.is_empty() {
        return Ok(Vec::new());
    }
    let names = tables.iter().map(|id| format!("({}, {})", quote::literal(&id.database), quote::literal(&id.table)));
    let sql = format!(
        "SELECT pg_catalog.format('%I.%I.%I', n.nspname, c.relname, a.attname)
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attgenerated = 's' AND NOT a.attisdropped
           JOIN pg_catalog.pg_publication b ON b.pubname = {} AND b.pubgencols <> 's'
           LEFT JOIN pg_catalog.pg_publication_tables p
             ON p.pubname = b.pubname AND p.schemaname = n.nspname AND p.tablename = c.relname
         WHERE (n.nspname, c.relname) IN ({}) AND (a.attname = ANY (p.attnames)) IS NOT TRUE
           AND (EXISTS (SELECT FROM pg_catalog.pg_class l
                  WHERE (l.oid = c.oid OR l.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t)) AND l.relreplident = 'f')
             OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey::pg_catalog.int2[])
                  AND (i.indisreplident OR i.indisprimary AND c.relreplident = 'd')))
         ORDER BY 1",
        quote::literal(&config.publication),
        names.collect::<Vec<_>>().join(", ")
    );
    connection.simple(&sql).await?.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

/// Nothing else is wrong with the publication.
#[cold]
pub(super) fn lacking(publication: &str) -> Error {
    let message = format!(
        "the publication `{publication}` leaves out generated columns of whole old rows: the server refuses to update and delete them"
    );
    Error::new(Code::Publication, message).fact("publication", publication.to_owned())
}
