//! Generated columns that are computed when they are read (from 18 on): the log never holds them, and the server refuses updates and
//! deletes of a published table that has one and whose old rows are to be logged whole.

use super::identity::{IdentityDemand, OldRows, old_rows};
use super::tables::{IdentityKind, TableDetail};
use dujiang_core::{Code, Error, Result, TableId};

/// Tables named in a message.
const NAMED: usize = 20;

/// Whether the log can hold what is demanded of tables with such columns.
///
/// # Errors
/// `ReplicaIdentity`, with the statements to run.
pub fn check_virtual(tables: &[TableDetail], demand: IdentityDemand) -> Result<()> {
    let refused = |table: &&TableDetail| {
        let demanded = demand == IdentityDemand::Full;
        table.has_virtual() && (demanded || is_whole(table) || old_rows(table) == OldRows::None)
    };
    let refused: Vec<&TableDetail> = tables.iter().filter(refused).collect();
    let Some(first) = refused.first() else { return Ok(()) };
    let message = match refused.len() {
        1 => format!(
            "whole old rows of {} cannot be logged: it has a column that is computed when it is read",
            first.id()
        ),
        n => format!(
            "whole old rows of {n} captured tables cannot be logged: they have columns that are computed when they are read"
        ),
    };
    let mut error = Error::new(Code::ReplicaIdentity, message);
    for table in refused.iter().take(NAMED) {
        let names = table.columns.iter().filter(|column| column.is_virtual).map(|column| column.name.as_str());
        error = error.fact("computed", format!("{}: {}", table.id(), names.collect::<Vec<_>>().join(", ")));
    }
    let mut todo = Vec::new();
    if demand == IdentityDemand::Full {
        todo.push("set `replica-identity: key`".to_owned());
    }
    let statements: Vec<String> = refused.iter().take(NAMED).flat_map(|table| statements(table)).collect();
    if !statements.is_empty() {
        todo.push(format!("run {}", statements.join("; ")));
    }
    let keyless = refused.iter().filter(|table| !has_primary(table)).take(NAMED);
    todo.extend(keyless.map(|table| format!("give {} a primary key", table.id())));
    let error = statements.into_iter().fold(error, Error::remedy);
    Err(error.help(format!(
        "{}; or make the columns STORED, or leave the tables out with `tables.exclude`",
        todo.join(", ")
    )))
}

fn has_primary(table: &TableDetail) -> bool {
    table.indexes.iter().any(|index| index.primary && index.fit)
}

/// Whether old rows of it, or of one of its partitions, are to be logged whole.
fn is_whole(table: &TableDetail) -> bool {
    let leaf = table.leaves.iter().any(|leaf| leaf.identity == IdentityKind::Full);
    leaf || table.identity == IdentityKind::Full
}

/// What makes the log hold the primary key of old rows.
fn statements(table: &TableDetail) -> Vec<String> {
    if !has_primary(table) {
        return Vec::new();
    }
    let statement = |id: TableId| {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        format!("ALTER TABLE {}.{} REPLICA IDENTITY DEFAULT", quoted(&id.database), quoted(&id.table))
    };
    let unfit = |identity: IdentityKind| matches!(identity, IdentityKind::Full | IdentityKind::Nothing);
    let leaves = table.leaves.iter().filter(|leaf| unfit(leaf.identity));
    let leaves = leaves.map(|leaf| TableId::new(leaf.schema.as_str(), leaf.table.as_str()));
    unfit(table.identity).then(|| table.id()).into_iter().chain(leaves).map(statement).collect()
}
