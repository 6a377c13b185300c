//! What the server says of tables while the stream is under way, and whether that is of the stream's place.

use crate::catalog::{self, ServerProfile, cascades, estimated_rows};
use crate::client::{Connection, ServerFamily, quote};
use crate::config::Config;
use crate::ddl::model::Habits;
use crate::ddl::{Action, Effect, Reading, effect};
use crate::decode::{EventData, ZeroDates};
use crate::marked::MarkedLog;
use crate::oceanbase;
use crate::place::Place;
use crate::server::{Instance, Resume, end_of_log, told_prepared};
use crate::shape::Shape;
use crate::startup::Log;
use crate::stream::{Control, Names, Statement};
use dujiang_core::{Code, Error, Result, TableId};
use std::collections::HashMap;

/// A table as it is at a place.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its shape.
    pub shape: Shape,
    /// Every change of it that is logged before the place is in the shape, and none after it.
    pub place: Place,
}

/// The table as it is now; none when it does not exist.
///
/// A statement that changes a table is logged before it lets go of the table. So while the table is held here, all that
/// are logged have been carried out, and no other can be.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`, `MissingPrivilege`.
pub async fn standing(
    connection: &mut Connection,
    id: &TableId,
    zero_dates: ZeroDates,
    marked: Option<&MarkedLog>,
) -> Result<Option<Standing>> {
    if connection.server().family == ServerFamily::OceanBase {
        return between_statements(connection, id, zero_dates, marked).await;
    }
    connection.execute("SET SESSION lock_wait_timeout=5").await?;
    connection.execute("START TRANSACTION READ ONLY").await?;
    let found = held(connection, id, zero_dates).await;
    connection.execute("COMMIT").await?;
    match found {
        Err(error) if is_missing(&error) => Ok(None),
        found => found,
    }
}

/// Nothing holds a table of OceanBase, and its log lags: the shape is that of a marker's place when it is the same before the
/// marker is written and after it has come through the log.
async fn between_statements(
    connection: &mut Connection,
    id: &TableId,
    zero_dates: ZeroDates,
    marked: Option<&MarkedLog>,
) -> Result<Option<Standing>> {
    loop {
        let before = glance(connection, id, zero_dates).await?;
        let place = match marked {
            Some(log) => log.marked_end(connection).await?.0,
            None => oceanbase::status(connection).await?.0,
        };
        let shape = glance(connection, id, zero_dates).await?;
        if shape == before {
            return Ok(shape.map(|shape| Standing { shape, place }));
        }
    }
}

async fn held(connection: &mut Connection, id: &TableId, zero_dates: ZeroDates) -> Result<Option<Standing>> {
    connection.query(&format!("SELECT 1 FROM {} LIMIT 0", quote::table(id)?)).await?;
    let shape = catalog::shapes(connection, std::slice::from_ref(id), zero_dates).await?.pop();
    let place = end_of_log(connection).await?;
    Ok(shape.map(|shape| Standing { shape, place }))
}

/// Whether an error says that there is no such table or database (`ER_NO_SUCH_TABLE`, `ER_BAD_DB_ERROR`).
pub fn is_missing(error: &Error) -> bool {
    let says = |number: &str| error.facts().iter().any(|(name, v)| *name == "server says" && v.starts_with(number));
    error.code() == Code::TableGone || says("1146 ") || says("1049 ")
}

/// The shapes of tables as the catalog has them now, whatever the place.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn glance(connection: &mut Connection, id: &TableId, zero_dates: ZeroDates) -> Result<Option<Shape>> {
    Ok(catalog::shapes(connection, std::slice::from_ref(id), zero_dates).await?.pop())
}

/// What the server adds to statements by itself.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn habits(connection: &mut Connection, reading: Reading, zero_dates: ZeroDates) -> Result<Habits> {
    let mut collations = HashMap::new();
    for row in connection.query("SHOW CHARACTER SET").await?.iter() {
        collations.insert(row.required(0)?.to_owned(), row.required(2)?.to_owned());
    }
    let explicit = connection.query_value("SELECT @@GLOBAL.explicit_defaults_for_timestamp").await?;
    let explicit_timestamps = explicit.is_some_and(|on| on == "1");
    Ok(Habits { reading, collations, explicit_timestamps, database: None, zero_dates })
}

/// Names of collations by their numbers.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
async fn collation_names(connection: &mut Connection) -> Result<HashMap<u16, String>> {
    let mut names = HashMap::new();
    for row in connection.query("SHOW COLLATION").await?.iter() {
        let number = row.column("Id").map(|at| row.parse::<u16>(at)).transpose()?.flatten();
        names.extend(number.map(|number| Ok::<_, Error>((number, row.required(0)?.to_owned()))).transpose()?);
    }
    Ok(names)
}

/// The default collation of a database.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn database_collation(connection: &mut Connection, database: &str) -> Result<Option<String>> {
    let sql = format!(
        "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}",
        quote::text(database)
    );
    connection.query_value(&sql).await
}

/// How descriptions of columns in the log are to be read.
#[derive(Debug)]
pub struct Describing {
    /// Whether YEAR counts among the columns of which table maps tell the sign.
    pub counts_years: bool,
    /// Names of collations by their numbers.
    pub collations: HashMap<u16, String>,
}

/// How descriptions of columns in this server's log are to be read.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn describing(connection: &mut Connection) -> Result<Describing> {
    let counts_years = connection.server().family == ServerFamily::MySql;
    Ok(Describing { counts_years, collations: collation_names(connection).await? })
}

/// The distributed transactions that are prepared, if the server tells, and then the end of the log: what was prepared long before
/// and is not among them is decided before that end, or lost.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn prepared(connection: &mut Connection) -> Result<(Option<Vec<String>>, Place)> {
    let prepared = told_prepared(connection).await?;
    Ok((prepared, end_of_log(connection).await?))
}

/// What has to be known of a table that begins to be captured.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The table.
    pub standing: Standing,
    /// Rows that it is believed to have.
    pub estimated: u64,
    /// The very server that was asked.
    pub instance: Instance,
}

/// What has to be known of a table that begins to be captured; none when it does not exist.
///
/// # Errors
/// As [`standing`].
pub async fn beginning(
    connection: &mut Connection,
    id: &TableId,
    zero_dates: ZeroDates,
    marked: Option<&MarkedLog>,
) -> Result<Option<Beginning>> {
    let Some(standing) = standing(connection, id, zero_dates, marked).await? else { return Ok(None) };
    let estimated = estimated_rows(connection, std::slice::from_ref(id)).await?.get(id).copied().unwrap_or(0);
    Ok(Some(Beginning { standing, estimated, instance: Instance::of(connection).await? }))
}

/// The constraint by which the server changes rows of a table without logging it, if there is one.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub async fn cascading(connection: &mut Connection, id: &TableId) -> Result<Option<String>> {
    if ServerProfile::read(connection).await?.logs_cascades() {
        return Ok(None);
    }
    let found = cascades(connection, std::slice::from_ref(id)).await?;
    Ok(found.into_iter().next().map(|cascade| cascade.constraint))
}

/// What the server says of a table, and whether that is of a place.
#[derive(Debug, Clone)]
pub struct Later {
    /// The table's shape; none when it does not exist.
    pub catalog: Option<Shape>,
    /// The statement between the place and the end of the log that changed the table again, if there is one. The log was
    /// read after the catalog, so that a change in the catalog is in the log that was read.
    pub changed_by: Option<String>,
}

/// What became of a table behind a place.
///
/// # Errors
/// As [`standing`], and what reading the log can end in.
pub async fn later(
    connection: &mut Connection,
    config: &Config,
    resume: &Resume,
    after: &Place,
    names: Names,
    id: &TableId,
    marked: Option<&MarkedLog>,
) -> Result<Later> {
    // Held, so that a statement that is being carried out is in the log or not in the catalog.
    let found = standing(connection, id, config.options.zero_dates, marked).await?;
    let until = found.as_ref().map(|found| &found.place).filter(|place| place.is_number());
    let changed_by = changed_later(config, resume, (after, until), names, id).await?;
    Ok(Later { catalog: found.map(|found| found.shape), changed_by })
}

/// The statement that changes the table again between a place and the present end of the log, or another place where that lags,
/// if there is one: then the catalog does not tell the shape at the place.
///
/// # Errors
/// What reading the log can end in.
async fn changed_later(
    config: &Config,
    resume: &Resume,
    (after, until): (&Place, Option<&Place>),
    names: Names,
    id: &TableId,
) -> Result<Option<String>> {
    let number = config.server_id | 1 << 31;
    let mut log = match until {
        Some(until) if *until <= resume.place => return Ok(None),
        until => Log::up_to(config, resume.start(), number, until).await?,
    };
    while let Some(()) = log.advance().await? {
        if log.end().is_none_or(|end| end <= *after) {
            continue;
        }
        let mut found = None;
        log.look(|_, data| {
            let statement = match data {
                EventData::Query(query) => Statement::of(query).into_owned(),
                EventData::CompressedQuery(query) => Statement::of(&query.inflate(&mut Vec::new())?).into_owned(),
                _ => return Ok(()),
            };
            if statement.control() == Control::None && may_change(&statement, names, id) {
                found = Some(statement.text.into_owned());
            }
            Ok(())
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn may_change(statement: &Statement<'_>, names: Names, id: &TableId) -> bool {
    let reading = Reading { sql_mode: statement.sql_mode, ..names.reading };
    let same = |a: &str, b: &str| names.folded(a) == names.folded(b);
    let is = |other: &TableId| same(&other.database, &id.database) && same(&other.table, &id.table);
    match effect(&statement.text, &statement.database, &reading) {
        Effect::None if statement.exact => false,
        Effect::Tables(actions) => actions.iter().any(|action| match action {
            Action::Rename { from, to } => is(from) || is(to),
            Action::DropDatabase { database } => same(&database.database, &id.database),
            Action::Truncate { .. } => false,
            action => is(action.table()),
        }),
        Effect::Statement { .. } => false,
        Effect::None | Effect::Unreadable => {
            same(&statement.database, &id.database) || statement.text.to_lowercase().contains(&id.table.to_lowercase())
        }
    }
}
