//! Everything a run would meet, all obstacles at once.

use super::{Demands, logged, privileges, settings, tables};
use crate::catalog::{self, Found, ServerProfile};
use crate::client::Connection;
use crate::shape::Shape;
use dujiang_core::source::{Survey, SurveyedTable};
use dujiang_core::{Result, TableId};
use std::collections::BTreeSet;

/// Tables shown as near misses.
const NEAR_MISSES: usize = 20;

/// Looks at everything that [`check`](super::check) looks at and goes on after an obstacle.
///
/// # Errors
/// `ConnectionLost`, `SourceQuery`: what keeps it from looking.
pub async fn survey(connection: &mut Connection, demands: Demands<'_>) -> Result<Survey> {
    let mut survey = Survey::default();
    let server = ServerProfile::read(connection).await?;
    note(settings::check(&server, connection.address()), &mut survey);
    let log_status = privileges::check_replication(connection, &server, demands.server_id).await;
    let log_status = note(log_status, &mut survey);
    note(logged::check_replica(connection, &server).await, &mut survey);
    let found = catalog::find_tables(connection, demands.filter).await?;
    note(tables::check_found(connection, demands.filter, &found).await, &mut survey);
    if let Some(log_status) = &log_status {
        note(logged::check_filters(&server, log_status, &found.captured), &mut survey);
    }
    note(privileges::check_select(connection, &found.captured).await, &mut survey);
    if !demands.accept_cascades {
        note(tables::check_cascades(connection, &server, &found.captured).await, &mut survey);
    }
    let shapes = catalog::shapes(connection, &found.captured, demands.zero_dates).await?;
    note(tables::check_keys(&shapes), &mut survey);
    note(tables::check_types(&shapes), &mut survey);
    survey.tables = with_sizes(connection, &shapes).await?;
    survey.near_misses = near_misses(&found);
    survey.warnings = tables::warnings(demands.filter, &found)?;
    survey.warnings.extend(settings::warnings(&server));
    survey.warnings.extend(tables::zero_dates(&server, &shapes, demands.zero_dates));
    Ok(survey)
}

/// Keeps an obstacle.
fn note<T>(result: Result<T>, survey: &mut Survey) -> Option<T> {
    result.map_err(|error| survey.refusals.push(error)).ok()
}

/// Tables whose types can be carried; the others are obstacles and have been noted.
async fn with_sizes(connection: &mut Connection, shapes: &[Shape]) -> Result<Vec<SurveyedTable>> {
    let ids: Vec<TableId> = shapes.iter().map(Shape::id).collect();
    let sizes = catalog::estimated_sizes(connection, &ids).await?;
    let mut surveyed = Vec::with_capacity(shapes.len());
    for (shape, id) in shapes.iter().zip(&ids) {
        if let Ok(decodable) = shape.decodable() {
            let (rows, bytes) = sizes.get(id).copied().unwrap_or_default();
            surveyed.push(SurveyedTable { schema: decodable.schema, rows, bytes });
        }
    }
    Ok(surveyed)
}

/// Tables of the captured databases that are not captured.
fn near_misses(found: &Found) -> Vec<TableId> {
    let databases: BTreeSet<&str> = found.captured.iter().map(|table| &*table.database).collect();
    let beside = |table: &&TableId| databases.contains(&*table.database) && !found.captured.contains(table);
    found.visible.iter().filter(beside).take(NEAR_MISSES).cloned().collect()
}
