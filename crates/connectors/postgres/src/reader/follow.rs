//! What the stream tells of a table's columns is carried through.

use super::{Announced, LINGER, PostgresReader, Then, changed};
use crate::catalog::read;
use crate::client::worth_another_try;
use crate::discovery;
use crate::evolve::Evolution;
use crate::pgoutput::Relation;
use crate::preflight::READ_ANEW;
use crate::snapshot::KeyOrder;
use dujiang_core::Result;
use dujiang_core::schema::{Ddl, SchemaChange};

impl PostgresReader {
    /// Asks the catalog what the message does not tell. Cancelled in its midst, it begins anew.
    pub(super) async fn follow(&mut self, at: usize, relation: &Relation) -> Result<()> {
        let looked = match self.look_up(at, relation).await {
            Ok(looked) => looked,
            Err(error) if worth_another_try(&error, 0) => {
                tracing::warn!(%error, "the catalog cannot be asked yet");
                tokio::time::sleep(LINGER * 100).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.relation = None;
        let (evolution, order) = looked;
        let table = self.start.tables.get(at);
        match evolution {
            Evolution::Same => {
                self.start.machine.related(relation.clone(), at);
                Ok(())
            }
            Evolution::Columns { shape, renamed } => {
                if !self.start.config.options.schema_change {
                    return Err(changed(&table.id.to_string(), "got other columns")
                        .help("set `schema-change.enabled: true`, or start a new pipeline"));
                }
                if table.handoff.is_some() && order.is_none() && table.order.is_some() {
                    return Err(changed(
                        &table.id.to_string(),
                        "lost what its rows are ordered by while its snapshot is read",
                    )
                    .help("start a new pipeline with a new snapshot"));
                }
                let before = table.decodable.schema.clone();
                let after = shape.decodable().schema;
                let statement = format!("ALTER TABLE {}", table.id);
                let change = SchemaChange { before: Some(before), after, statement, ddl: Ddl::Columns { renamed } };
                self.flush_all()?;
                let then = Then::Reshape(shape, order, relation.clone());
                self.announced = Some(Announced { at, change, then, told: false });
                Ok(())
            }
            Evolution::Moved(shape) => Err(changed(&table.id.to_string(), &format!("was renamed to {}", shape.id()))
                .help(format!("rename it back, or {READ_ANEW}"))),
            Evolution::Recreated => Err(changed(&table.id.to_string(), "was dropped and made anew").help(READ_ANEW)),
        }
    }

    async fn look_up(&mut self, at: usize, relation: &Relation) -> Result<(Evolution, Option<KeyOrder>)> {
        let mut connection = self.start.followed.connect().await?;
        let mut details = discovery::details(&mut connection, &[relation.oid]).await?;
        let told: Vec<u32> = relation.columns.iter().map(|column| column.type_oid).collect();
        details.types.extend(read::types(&mut connection, told).await?);
        let table = self.start.tables.get(at);
        let catalog = details.tables.first();
        let mut relation = relation.clone();
        if catalog.is_some_and(|now| now.oid == table.shape.relation && now.id() == table.id) {
            // It had another name in between, and is the same table: what was written meanwhile is this table's.
            (relation.schema, relation.table) = (table.shape.schema.clone(), table.shape.table.clone());
        }
        let evolution = table.shape.follow(&relation, catalog, &details.types, self.start.tables.settings())?;
        let order = match (&evolution, &table.order) {
            (Evolution::Columns { shape, .. }, Some(order)) => {
                order.followed(&table.shape, shape, &discovery::collations(&mut connection, shape).await?)
            }
            _ => None,
        };
        connection.close().await;
        Ok((evolution, order))
    }
}
