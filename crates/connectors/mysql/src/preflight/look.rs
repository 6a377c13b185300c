//! One look at everything, for whoever starts, plans or examines.

use super::{Demands, logged, privileges, settings, tables};
use crate::catalog::{self, Found, ServerFlavor, ServerProfile};
use crate::client::Connection;
use crate::oceanbase;
use crate::shape::Shape;
use dujiang_core::{Error, Result};

/// What was found.
pub(crate) struct Looked {
    /// The server.
    pub server: ServerProfile,
    /// Its tables.
    pub found: Found,
    /// The captured ones.
    pub shapes: Vec<Shape>,
    /// Columns at which the pipeline may halt later.
    pub generated: Option<Error>,
    /// What was checked, by names that never change, in an order in which the first obstacle is the one to mend first.
    pub checks: Vec<(&'static str, Result<()>)>,
}

impl Looked {
    /// What is no obstacle and should be known.
    ///
    /// # Errors
    /// `PatternTooCostly`.
    pub fn warnings(&self, demands: Demands<'_>) -> Result<Vec<String>> {
        let said = |error: &Error| error.message().to_owned();
        let mut warnings = tables::warnings(demands.filter, &self.found)?;
        warnings.extend(settings::warnings(&self.server).iter().map(said));
        warnings.extend(self.generated.as_ref().map(said));
        warnings.extend(tables::zero_dates(&self.server, &self.shapes, demands.zero_dates));
        Ok(warnings)
    }
}

/// Looks at everything and goes on after an obstacle.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`: what keeps it from looking.
pub(crate) async fn look(connection: &mut Connection, demands: Demands<'_>) -> Result<Looked> {
    let server = ServerProfile::read(connection).await?;
    let (mut checks, mut log_status) = (Vec::new(), None);
    let oceanbase = server.flavor == ServerFlavor::OceanBase;
    if oceanbase {
        let service = oceanbase::check(connection).await;
        note("binlog", service, &mut checks)?;
        if let Some(table) = demands.marker_table {
            let user = privileges::account(connection).await?;
            let writable = oceanbase::check_marker_table(connection, table, &user).await;
            note("marker table", writable, &mut checks)?;
        }
    } else {
        checks.extend(settings::checks(&server, connection.address()));
        let status = privileges::check_replication(connection, &server, demands.server_id).await;
        log_status = note("binlog privileges", status, &mut checks)?;
        let replica = logged::check_replica(connection, &server).await;
        note("replicated changes", replica, &mut checks)?;
    }
    let found = catalog::find_tables(connection, demands.filter).await?;
    let fit = tables::check_found(connection, demands.filter, &found).await;
    note("tables", fit, &mut checks)?;
    if let Some(log_status) = &log_status {
        checks.push(("binlog filters", logged::check_filters(&server, log_status, &found.captured)));
    }
    let readable = privileges::check_select(connection, &found.captured).await;
    note("table privileges", readable, &mut checks)?;
    let shapes = catalog::shapes(connection, &found.captured, demands.zero_dates).await?;
    checks.push(("keys", tables::check_keys(&server, &shapes)));
    let cascades = match demands.accept_cascades || server.logs_cascades() {
        true => Ok(()),
        false => tables::check_cascades(connection, &server, &found.captured).await,
    };
    note("foreign keys", cascades, &mut checks)?;
    let generated = tables::generated(connection, &server, &found.captured).await?;
    checks.push(("column types", tables::check_types(&shapes)));
    Ok(Looked { server, found, shapes, generated, checks })
}

/// Keeps the outcome of a check.
///
/// # Errors
/// The error itself when it is not about the check: the connection is gone.
fn note<T>(name: &'static str, result: Result<T>, checks: &mut Vec<(&'static str, Result<()>)>) -> Result<Option<T>> {
    let (value, outcome) = match result {
        Ok(value) => (Some(value), Ok(())),
        Err(error) if error.code() == dujiang_core::Code::ConnectionLost => return Err(error),
        Err(error) => (None, Err(error)),
    };
    checks.push((name, outcome));
    Ok(value)
}
