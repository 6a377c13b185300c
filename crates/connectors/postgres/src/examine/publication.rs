//! Whether the publication fits, or can be made.

use crate::client::Connection;
use crate::config::Config;
use crate::position;
use crate::preflight::{self, Agreement, Asked, Checked, Fit};
use dujiang_core::examine::{Examination, Visit};
use dujiang_core::{Result, TableId};

/// # Errors
/// What ends the session.
pub(super) async fn examine(
    connection: &mut Connection,
    config: &Config,
    checked: &Checked,
    visit: &Visit,
    examination: &mut Examination,
) -> Result<()> {
    const NAME: &str = "publication";
    let name = &config.publication;
    let mut ids: Vec<TableId> = checked.details.tables.iter().map(|table| table.id()).collect();
    let mut agreement = None;
    if let Some(position) = &visit.position
        && let Ok((head, shapes)) = position::decode(position)
    {
        agreement = Some(Agreement::new(head.published, config));
        // Those that the pipeline goes on with: tables that came since are taken in by it, and those that went halt it.
        ids = shapes.iter().map(|shape| shape.id()).collect();
        let captured = ids.iter().map(|id| config.filter.captures(id)).collect::<Result<Vec<bool>>>()?;
        let mut captured = captured.into_iter();
        ids.retain(|_| captured.next().unwrap_or_default());
    }
    if ids.is_empty() {
        return Ok(());
    }
    let asked = if visit.position.is_some() { Asked::Later } else { Asked::Before };
    let mut outcome = preflight::fits(connection, config, checked, &ids, asked).await;
    if let (Ok(_), Some(agreement)) = (&outcome, agreement)
        && let Err(error) = agreement.look(connection, config, &checked.facts, &ids).await
    {
        outcome = Err(error);
    }
    examination.record(NAME, outcome, |fit| match fit {
        Fit::IsMade => format!("`{name}` is made when the pipeline starts"),
        Fit::Publishes(published) => {
            let less = preflight::left_out(config, published, &checked.details.tables);
            let all = format!("`{name}` publishes every captured table");
            if less.is_empty() { all } else { format!("{all}; {}", less.join("; ")) }
        }
    });
    Ok(())
}
