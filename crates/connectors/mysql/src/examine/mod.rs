//! What `doctor` looks at: everything that a start checks, and what would go wrong only later.

mod log;
mod old_rows;
mod session;

use crate::catalog::{self, ServerFlavor};
use crate::client::{Connection, ServerFamily};
use crate::config::Config;
use crate::preflight::{self, Demands, Looked};
use crate::shape::Shape;
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::{Code, Error, Result, TableId};
use dujiang_database::estimate::snapshot_time;

/// Examines the source; connects once.
pub async fn examine(config: &Config, demands: Demands<'_>, visit: &Visit) -> Examination {
    let address = config.endpoint.address();
    let mut examination = Examination::of(address.clone());
    let mut connection = match Connection::connect(&config.endpoint).await {
        Ok(connection) => connection,
        Err(error) => {
            not_connected(&mut examination, &address, error);
            return examination;
        }
    };
    let encrypted = if connection.server().encrypted { "encrypted" } else { "not encrypted" };
    examination.ok("connection", format!("{address} answers, {encrypted}"));
    if let Err(error) = connected(&mut connection, config, demands, visit, &mut examination).await {
        examination.unknown("the rest", error.to_string());
    }
    connection.close().await;
    examination
}

fn not_connected(examination: &mut Examination, address: &str, error: Error) {
    if matches!(error.code(), Code::LoginRefused | Code::MissingPrivilege) {
        examination.ok("connection", format!("{address} answers"));
        examination.finding("login", error);
    } else {
        examination.finding("connection", error);
    }
    examination.unknown("the rest", "there is no session to ask in");
}

/// # Errors
/// What ends the session, or keeps the catalog from being read.
async fn connected(
    connection: &mut Connection,
    config: &Config,
    demands: Demands<'_>,
    visit: &Visit,
    examination: &mut Examination,
) -> Result<()> {
    examination.ok("login", format!("as {}", preflight::account(connection).await?));
    // What a tenant of OceanBase says of its binlog is not about that of the service.
    let tells = connection.server().family != ServerFamily::OceanBase;
    // Before the checks: one of them registers under this very number.
    let clash = if tells { Some(session::server_id(connection, config, visit).await) } else { None };
    let looked = preflight::look(connection, demands).await?;
    examination.of = format!("{} at {}", looked.server.name(), connection.address());
    let ids: Vec<TableId> = looked.shapes.iter().map(Shape::id).collect();
    let sizes = catalog::estimated_sizes(connection, &ids).await?;
    let (rows, bytes) = sizes
        .values()
        .fold((0, 0), |(rows, bytes), (r, b)| (rows + r.unwrap_or_default(), bytes + b.unwrap_or_default()));
    examination.expected_bytes = Some(bytes);
    let Looked { server, shapes, checks, generated, .. } = looked;
    for (name, outcome) in checks {
        examination.record(name, outcome, |()| in_order(name, &server, &shapes, demands));
    }
    if let Some(error) = generated {
        examination.advice("generated columns", error);
    }
    if tells && server.is_on("log_bin") {
        log::kept(&server, snapshot_time(rows, bytes), examination);
        log::described(&server, examination);
    }
    if !tells {
        old_rows::kept(connection, examination).await?;
    }
    if let Some(clash) = clash {
        examination.record("server id", clash, |text| text.clone());
        let locks = preflight::may_lock(connection).await;
        session::locks(locks, examination);
    }
    session::time(connection, &server, visit, examination).await?;
    session::resumes(connection, visit, examination).await
}

/// What a check in order found, in a few words.
fn in_order(name: &str, server: &catalog::ServerProfile, shapes: &[Shape], demands: Demands<'_>) -> String {
    let set = |variable: &str| format!("{variable}={}", server.variable(variable));
    match name {
        "binlog" if server.flavor == ServerFlavor::OceanBase => "Binlog Service is enabled for the tenant".into(),
        "marker table" => "markers can be written".into(),
        "binlog" => format!("{}, {}", set("log_bin"), set("server_id")),
        "binlog format" => set("binlog_format"),
        "row images" => set("binlog_row_image"),
        "binlog privileges" => "the user may read the binlog".into(),
        "replicated changes" => "none that the binlog would not show".into(),
        "tables" if shapes.len() == 1 => format!("1 captured: {}", shapes[0].id()),
        "tables" => format!("{} captured", shapes.len()),
        "binlog filters" => "no captured database is left out".into(),
        "table privileges" => "the user may read every captured table".into(),
        "keys" => "every captured table has one".into(),
        "foreign keys" if demands.accept_cascades => "cascades are accepted (`foreign-keys.cascade.accept`)".into(),
        "foreign keys" => "no change of a captured table escapes the binlog".into(),
        "column types" => "every column can be carried".into(),
        other => other.into(),
    }
}
