//! Everything a run would meet, all obstacles at once.

use super::{Demands, look};
use crate::catalog::{self, Found};
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
    let looked = look(connection, demands).await?;
    let tables = with_sizes(connection, &looked.shapes).await?;
    let (near_misses, warnings) = (near_misses(&looked.found), looked.warnings(demands)?);
    let refusals = looked.checks.into_iter().filter_map(|(_, outcome)| outcome.err()).collect();
    Ok(Survey { tables, near_misses, warnings, refusals })
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
