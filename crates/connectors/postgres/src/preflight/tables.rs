//! What tables have to be like.

use crate::catalog::{TableDetail, TableEntry, key_of};
use crate::client::{Connection, quote};
use crate::config::Config;
use crate::discovery::Found;
use dujiang_core::{Code, Error, Result, TableId};

/// Tables named in a message.
const NAMED: usize = 20;

pub(super) fn check_found(config: &Config, found: &Found) -> Result<()> {
    if !found.captured.is_empty() {
        return Ok(());
    }
    let mut error = Error::new(Code::NoTable, format!("no table matches `{}`", config.options.tables))
        .help("check `tables`: each pattern is `database.schema.table`");
    let near: Vec<String> =
        found.others.iter().take(10).map(|id| format!("{}.{id}", config.endpoint.database)).collect();
    if !near.is_empty() {
        error = error.fact("there are", near.join(", "));
    }
    let unfit = found.unfit.iter().map(|(id, why)| format!("{id}: {why}"));
    Err(unfit.fold(error, |error, text| error.fact("matches", text)))
}

/// # Errors
/// `MissingPrivilege`.
pub(super) fn check_privileges(config: &Config, found: &Found) -> Result<()> {
    let closed: Vec<TableId> = found.captured.iter().filter(|t| !t.readable).map(TableEntry::id).collect();
    let user = quote::identifier(&config.endpoint.user);
    let mut statements = Vec::new();
    for id in &closed {
        let usage = format!("GRANT USAGE ON SCHEMA {} TO {user}", quote::identifier(&id.database));
        if !statements.contains(&usage) {
            statements.push(usage);
        }
        statements.push(format!("GRANT SELECT ON {} TO {user}", quote::table(id)));
    }
    refused(Code::MissingPrivilege, "the role may not read", &closed, statements, None)
}

/// Rows that policies hide would be missing without a word; the server refuses to read such a table whole.
///
/// # Errors
/// `MissingPrivilege`; what keeps from looking.
pub(super) async fn check_policies(connection: &mut Connection, tables: &[TableDetail]) -> Result<Result<()>> {
    let mut hidden = Vec::new();
    for table in tables.iter().filter(|table| table.row_security) {
        let sql = format!("SELECT pg_catalog.row_security_active({}::pg_catalog.oid), current_user", table.oid);
        let rows = connection.simple(&sql).await?;
        if let Some(row) = rows.first()
            && row.opt(0)? == Some("t")
        {
            hidden.push((table.id(), row.text(1)?.to_owned()));
        }
    }
    let user = hidden.first().map(|(_, user)| quote::identifier(user)).unwrap_or_default();
    let ids: Vec<TableId> = hidden.into_iter().map(|(id, _)| id).collect();
    let statement = vec![format!("ALTER ROLE {user} BYPASSRLS")];
    let what = "policies of row security hide rows of";
    Ok(refused(Code::MissingPrivilege, what, &ids, statement, Some("the role then sees all rows of all tables")))
}

/// Tables without a key work, but one lane carries them.
///
/// # Errors
/// `NoKey`.
pub fn check_keys(tables: &[TableDetail]) -> Result<()> {
    let without: Vec<&TableDetail> = tables.iter().filter(|table| key_of(table).is_none()).collect();
    let ids: Vec<TableId> = without.iter().map(|table| table.id()).collect();
    let add = |table: &&TableDetail| {
        let taken = |name: &str| table.columns.iter().any(|column| column.name == name);
        let mut names = std::iter::once("row_id".to_owned()).chain((2..).map(|n| format!("row_id_{n}")));
        let name = quote::identifier(&names.find(|name| !taken(name)).unwrap_or_default());
        format!(
            "ALTER TABLE {} ADD COLUMN {name} bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            quote::table(&table.id())
        )
    };
    let statements = without.iter().map(add).collect();
    refused(
        Code::NoKey,
        "there is no key in",
        &ids,
        statements,
        Some("it adds a column and writes the whole table anew"),
    )
}

/// One error for all tables, with the statements that mend it.
fn refused(
    code: Code,
    what: &str,
    ids: &[TableId],
    statements: Vec<String>,
    caution: Option<&'static str>,
) -> Result<()> {
    let Some(first) = ids.first() else { return Ok(()) };
    let message = match ids.len() {
        1 => format!("{what} {first}"),
        n => format!("{what} {n} captured tables"),
    };
    let error = Error::new(code, message).help(format!("run {}", statements.join("; ")));
    let error = ids.iter().take(NAMED).fold(error, |error, id| error.fact("table", id.to_string()));
    let remedy = |error: Error, statement: String| match caution {
        Some(caution) => error.remedy_with_care(statement, caution),
        None => error.remedy(statement),
    };
    Err(statements.into_iter().fold(error, remedy))
}
