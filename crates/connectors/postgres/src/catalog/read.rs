//! The queries, asked.

use super::publication::Publishing;
use super::sql;
use super::tables::{Database, Published, TableDetail, TableEntry, read_all};
use crate::client::Connection;
use crate::values::{PgType, Types};
use dujiang_core::{Code, Error, Result, TableId};
use serde::de::DeserializeOwned;

async fn documents<T: DeserializeOwned>(connection: &mut Connection, sql: &str) -> Result<Vec<T>> {
    let rows = connection.simple(sql).await?;
    let texts = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<&str>>>()?;
    read_all(texts)
}

/// All tables that are not the server's own, by schema and name.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn tables(connection: &mut Connection) -> Result<Vec<TableEntry>> {
    documents(connection, sql::TABLES).await
}

/// Facts about the database. Not to be asked inside of a transaction.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn database(connection: &mut Connection) -> Result<Database> {
    let found = documents(connection, sql::DATABASE).await?;
    found.into_iter().next().ok_or_else(|| Error::new(Code::Protocol, "the server does not know its own database"))
}

/// Tables with all that decides how they are read; one that is gone is left out.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn details(connection: &mut Connection, oids: &[u32]) -> Result<Vec<TableDetail>> {
    documents(connection, &sql::details(oids)).await
}

/// Types and all below them; one that is gone is left out.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn types(connection: &mut Connection, oids: impl IntoIterator<Item = u32>) -> Result<Types> {
    let mut oids: Vec<u32> = oids.into_iter().collect();
    oids.sort_unstable();
    oids.dedup();
    let found: Vec<PgType> = documents(connection, &sql::types(&oids)).await?;
    Ok(found.into_iter().collect())
}

/// What a publication publishes. `version` is `server_version_num`.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn published(connection: &mut Connection, publication: &str, version: i32) -> Result<Vec<Published>> {
    documents(connection, &sql::published(publication, version)).await
}

/// How a publication publishes these tables; none if it is not there. `version` is `server_version_num`.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn publishing(
    connection: &mut Connection,
    publication: &str,
    version: i32,
    tables: &[TableId],
) -> Result<Vec<Publishing>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    documents(connection, &sql::publishing(publication, version, tables)).await
}
