//! The captured tables.

use super::listed;
use super::privileges::{account, grant_select, selects_everywhere};
use crate::catalog::selector::is_system;
use crate::catalog::{Cascade, Found, ServerProfile, TableFilter, Version, cascades, databases, generated_columns};
use crate::client::{Connection, quote};
use crate::decode::ZeroDates;
use crate::shape::Shape;
use dujiang_core::{Code, Error, Result, TableId};

/// Names offered when nothing matches.
const OFFERED: usize = 5;

/// # Errors
/// `UnknownDatabase`, `NoTable`, `NotSupported`.
pub(super) async fn check_found(connection: &mut Connection, filter: &TableFilter, found: &Found) -> Result<()> {
    let mut plain: Vec<&str> = filter.include.plain_databases().filter(|d| !is_system(d)).collect();
    plain.sort_unstable();
    plain.dedup();
    check_databases(connection, filter, &plain).await?;
    if !found.unfit.is_empty() {
        let message = format!("{} captured tables are of a kind that cannot be captured", found.unfit.len());
        let error = Error::new(Code::NotSupported, message).help("leave them out with `tables.exclude`");
        return Err(listed(error, "table", found.unfit.iter().map(|(id, kind)| format!("{id} ({kind})"))));
    }
    if !found.captured.is_empty() {
        return Ok(());
    }
    let patterns = filter.include.without_match(&[])?;
    let mut error = Error::new(Code::NoTable, format!("no table matches {}", quoted_list(&patterns)));
    let mut excluded = false;
    for table in &found.visible {
        excluded = excluded || filter.include.matches(table)?;
    }
    if excluded {
        error = error.fact("found", "tables, all of which `tables.exclude` leaves out");
    } else if found.visible.is_empty() {
        error = error.fact("found", "no table at all that this user can see");
    } else {
        error = error.fact("nearest", nearest(&patterns, &found.visible).join(", "));
    }
    let unseen = |d: &&&str| !found.visible.iter().any(|t| t.database.eq_ignore_ascii_case(d));
    let unseen: Vec<&str> = plain.iter().filter(unseen).copied().collect();
    error = let_see(connection, error, &unseen).await?;
    Err(error.help(
        "write `database.table`, each part a regular expression; tables without a SELECT privilege cannot be seen",
    ))
}

/// What is not granted cannot be seen: a user who may not read everything may just lack the privilege.
async fn let_see(connection: &mut Connection, mut error: Error, databases: &[&str]) -> Result<Error> {
    if databases.is_empty() || selects_everywhere(connection).await? {
        return Ok(error);
    }
    let user = account(connection).await?;
    for database in databases {
        error = error.remedy(grant_select(database, &user)?);
    }
    Ok(error)
}

async fn check_databases(connection: &mut Connection, filter: &TableFilter, plain: &[&str]) -> Result<()> {
    let existing = databases(connection).await?;
    let known = |name: &str| existing.iter().any(|d| d.eq_ignore_ascii_case(name));
    let mut unknown: Vec<&str> = filter.include.plain_databases().filter(|d| !known(d)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    let Some(first) = unknown.first() else { return Ok(()) };
    let address = connection.address();
    let message = if is_system(first) {
        format!("database {first} belongs to the server itself and is not captured")
    } else {
        format!("there is no database {} on {address}, or the user cannot see it", quoted_list(&unknown))
    };
    let mut error = Error::new(Code::UnknownDatabase, message);
    let near = ranked(&[first], existing.iter().map(String::as_str));
    if !near.is_empty() {
        error = error.fact("nearest", near.join(", "));
    }
    let unseen: Vec<&str> = plain.iter().filter(|d| !known(d)).copied().collect();
    error = let_see(connection, error, &unseen).await?;
    Err(error.help("check the name, and that the user has SELECT on its tables"))
}

fn quoted_list(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

/// The tables whose names are most like the patterns.
fn nearest(patterns: &[&str], tables: &[TableId]) -> Vec<String> {
    let plain: Vec<String> = patterns.iter().map(|p| p.replace("\\.", "").to_lowercase()).collect();
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    let names: Vec<String> = tables.iter().map(TableId::to_string).collect();
    ranked(&plain, names.iter().map(String::as_str))
}

fn ranked<'a>(wanted: &[&str], names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        wanted.iter().map(|w| strsim::jaro_winkler(&w.to_lowercase(), &name)).fold(0.0, f64::max)
    };
    let mut all: Vec<(f64, &str)> = names.map(|n| (likeness(n), n)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    all.truncate(OFFERED);
    all.into_iter().map(|(_, n)| n.to_owned()).collect()
}

/// # Errors
/// `NoKey`.
pub(super) fn check_keys(server: &ServerProfile, shapes: &[Shape]) -> Result<()> {
    let without: Vec<_> = shapes.iter().filter(|s| s.key.is_empty()).collect();
    let Some(first) = without.first() else { return Ok(()) };
    let message = match without.len() {
        1 => format!("table {} has no key", first.id()),
        n => format!("{n} captured tables have no key"),
    };
    let mut error = Error::new(Code::NoKey, message).fact("expected", "a primary key, or a unique key over columns that are NOT NULL").help(
        "add one, e.g. ALTER TABLE ... ADD COLUMN id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, or leave the \
         tables out with `tables.exclude`",
    );
    for shape in &without {
        error = error.remedy_with_care(add_key(server, shape)?, "it adds a column and may copy the whole table");
    }
    Err(listed(error, "table", without.iter().map(|s| s.id().to_string())))
}

/// A key over a column of its own, which statements that name no columns do not see where the server can hide it.
fn add_key(server: &ServerProfile, shape: &Shape) -> Result<String> {
    let taken = |name: &str| shape.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
    let numbered = (2..).map(|n| format!("row_id_{n}"));
    let mut names = std::iter::once("row_id".to_owned()).chain(numbered);
    let name = names.find(|name| !taken(name)).unwrap_or_default();
    let hides = server.mariadb_since(Version(10, 3, 0)) || server.mysql_since(Version(8, 0, 23));
    let invisible = if hides { " INVISIBLE" } else { "" };
    let (table, name) = (quote::table(&shape.id())?, quote::identifier(&name)?);
    Ok(format!(
        "ALTER TABLE {table} ADD COLUMN {name} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT{invisible}, ADD PRIMARY KEY ({name})"
    ))
}

/// # Errors
/// `CascadingKey`.
pub(super) async fn check_cascades(
    connection: &mut Connection,
    server: &ServerProfile,
    tables: &[TableId],
) -> Result<()> {
    let found = cascades(connection, tables).await?;
    let Some(first) = found.first() else { return Ok(()) };
    let message = format!("foreign keys change rows of {} without a trace in the binlog", first.child);
    let mut error = Error::new(Code::CascadingKey, message).fact("server", server.name()).help(
        "make the keys RESTRICT and let the application change the rows, or accept that such changes are missed with \
         `foreign-keys.cascade.accept: true`",
    );
    for cascade in &found {
        for statement in restrict(cascade)? {
            error = error.remedy_with_care(statement, "the application then has to change those rows itself");
        }
    }
    Err(listed(
        error,
        "foreign key",
        found.iter().map(|c| {
            format!("{} {} to {}: ON DELETE {} ON UPDATE {}", c.child, c.constraint, c.parent, c.on_delete, c.on_update)
        }),
    ))
}

/// The same key without the cascade. (MySQL 5.7 cannot drop and add a key of one name in one statement.)
fn restrict(cascade: &Cascade) -> Result<[String; 2]> {
    let list = |names: &mut dyn Iterator<Item = &String>| -> Result<String> {
        Ok(names.map(|name| quote::identifier(name)).collect::<Result<Vec<_>>>()?.join(", "))
    };
    let (child, constraint) = (quote::table(&cascade.child)?, quote::identifier(&cascade.constraint)?);
    let columns = list(&mut cascade.columns.iter().map(|(own, _)| own))?;
    let referenced = list(&mut cascade.columns.iter().map(|(_, theirs)| theirs))?;
    let parent = quote::table(&cascade.parent)?;
    Ok([
        format!("ALTER TABLE {child} DROP FOREIGN KEY {constraint}"),
        format!(
            "ALTER TABLE {child} ADD CONSTRAINT {constraint} FOREIGN KEY ({columns}) REFERENCES {parent} ({referenced})"
        ),
    ])
}

/// Generated columns, on a server that leaves them out of what a row was before an update or a delete: the pipeline then halts
/// with the first of those.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`.
pub(super) async fn generated(
    connection: &mut Connection,
    server: &ServerProfile,
    captured: &[TableId],
) -> Result<Option<Error>> {
    if !server.mariadb_since(Version(11, 8, 0)) {
        return Ok(None);
    }
    let found = generated_columns(connection, captured).await?;
    let found: Vec<String> = found.into_iter().map(|(table, column)| format!("{table}.{column}")).collect();
    let Some(first) = found.first() else { return Ok(None) };
    let message = format!("{} does not log generated columns of old rows, and {first} is one", server.name());
    let error = Error::new(Code::BinlogRowImage, message).help(
        "make them ordinary columns, or leave the tables out of `tables`: the first update or delete there halts the pipeline",
    );
    Ok(Some(listed(error, "column", found.into_iter())))
}

/// # Errors
/// `UnknownType`.
pub(super) fn check_types(shapes: &[Shape]) -> Result<()> {
    let mut bad = Vec::new();
    for shape in shapes {
        for column in &shape.columns {
            if let Err(e) = column.decoded() {
                bad.push(format!("{}.{}", shape.id(), e.message().trim_start_matches("column ")));
            }
        }
    }
    let Some(first) = bad.first() else { return Ok(()) };
    let message = match bad.len() {
        1 => format!("column {first}"),
        n => format!("{n} columns have types that are not supported"),
    };
    let error = Error::new(Code::UnknownType, message)
        .help("leave the tables out with `tables.exclude`, or change the columns' types at the source");
    Err(listed(error, "column", bad.into_iter()))
}

/// Patterns that find nothing beside others that do.
///
/// # Errors
/// `PatternTooCostly`.
pub(super) fn warnings(filter: &TableFilter, found: &Found) -> Result<Vec<String>> {
    let idle = filter.include.without_match(&found.visible)?;
    Ok(idle.into_iter().map(|p| format!("no table matches `{p}` of `tables`")).collect())
}

/// Tables that may hold dates that are none, on a server that lets them in, while such records become dead letters.
pub(super) fn zero_dates(server: &ServerProfile, shapes: &[Shape], policy: ZeroDates) -> Option<String> {
    let mode = server.variable("sql_mode");
    let kept_out = ["NO_ZERO_DATE", "NO_ZERO_IN_DATE"].iter().all(|part| mode.split(',').any(|m| m == *part));
    let has_dates = |shape: &&Shape| {
        let is_date = |t: &str| t.starts_with("date") || t.starts_with("timestamp");
        shape.columns.iter().any(|column| is_date(&column.column_type))
    };
    let tables: Vec<String> = shapes.iter().filter(has_dates).map(|shape| shape.id().to_string()).collect();
    if policy != ZeroDates::Error || kept_out || tables.is_empty() {
        return None;
    }
    let shown = match tables.as_slice() {
        [first] => first.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => String::new(),
    };
    Some(format!(
        "the server accepts dates such as 0000-00-00 (sql_mode); a record with one halts the pipeline or becomes a dead \
         letter, as `error.policy` says ({shown}); `zero-dates: null` or `zero-dates: text` carries them"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_like_the_pattern_are_offered() {
        let tables = ["shop.orders", "shop.order_items", "crm.users", "shop.customers", "x.y", "shop.ordres"];
        let tables: Vec<_> =
            tables.iter().map(|t| t.split_once('.').unwrap()).map(|(d, t)| TableId::new(d, t)).collect();
        let near = nearest(&["shop.ordrs"], &tables);
        assert_eq!(near.len(), 5);
        assert_eq!(near[0], "shop.orders");
        assert_eq!(near[1], "shop.ordres");
    }

    #[test]
    fn columns_that_cannot_be_carried_are_named_all_at_once() {
        let column = |name: &str, column_type: &str| crate::shape::ShapeColumn {
            name: name.into(),
            column_type: column_type.into(),
            charset: Some("klingon".into()),
            collation: None,
            nullable: true,
        };
        let shape = Shape {
            database: "shop".into(),
            table: "bad".into(),
            version: 1,
            columns: vec![column("id", "int"), column("one", "xmltype"), column("two", "text")],
            key: vec![0],
            zero_dates: ZeroDates::Error,
            collation: None,
            key_name: None,
        };
        let error = check_types(&[shape]).unwrap_err();
        let columns: Vec<_> = error.facts().iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(error.code(), Code::UnknownType);
        assert!(columns[0].starts_with("shop.bad.one has type xmltype"), "{columns:?}");
        assert!(columns[1].contains("character set klingon cannot be converted exactly"), "{columns:?}");
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
    }
}
