//! Rows in a shape that nothing known explains: the log's own description, or the catalog, may.

use super::catalog::Later;
use super::*;
use crate::decode::{ColumnType, Described, TableMap, described, fits};
use crate::shape::{Shape, ShapeColumn};
use std::collections::HashMap;

impl MysqlReader {
    /// The shape of rows that this table map announces; none when nothing tells it with certainty.
    pub(super) async fn explained(&mut self, at: usize, map: &TableMap<'_>) -> Result<Option<Shape>> {
        let table = self.start.tables.get(at);
        let (id, before) = (table.id.clone(), table.shape.clone());
        let fitting = |shape: &Shape| shape.decodable().is_ok_and(|d| fits(&id, &d.columns, map).is_ok());
        let describing = self.describing().await?;
        if let Some(columns) = described(map, describing.counts_years)? {
            let catalog = self.standing(&id).await?.map(|standing| standing.shape);
            let key = map.primary_key()?;
            let names = &describing.collations;
            let shape = of_description(&columns, key, &before, catalog.as_ref(), names).filter(fitting);
            return Ok(shape);
        }
        let after = self.start.machine.boundary().clone();
        let Later { catalog, changed_by } = self.look_up(&id, &after).await?;
        Ok(catalog.filter(fitting).filter(|_| changed_by.is_none()))
    }
}

/// Columns as described, in the words of the catalog or of the shape before where those are the same.
fn of_description(
    columns: &[Described],
    key: Option<Vec<usize>>,
    before: &Shape,
    catalog: Option<&Shape>,
    names: &HashMap<u16, String>,
) -> Option<Shape> {
    let column = |described: &Described| {
        let collation = match described.collation {
            Some(number) => Some(names.get(&number)?.clone()),
            None => None,
        };
        let told = ShapeColumn {
            name: described.name.clone(),
            column_type: described.column_type.clone().unwrap_or_default(),
            charset: collation.as_deref().and_then(|c| c.split('_').next()).map(str::to_owned),
            collation,
            nullable: described.nullable,
        };
        let known = [catalog, Some(before)].into_iter().flatten().flat_map(|shape| &shape.columns);
        let known = known.into_iter().find(|known| is_described(known, described, &told)).cloned();
        known.or_else(|| told.decoded().is_ok().then_some(told))
    };
    let columns: Vec<ShapeColumn> = columns.iter().map(column).collect::<Option<_>>()?;
    let key_of = |shape: &Shape| -> Option<Vec<usize>> {
        let place = |&at: &usize| columns.iter().position(|c| c.name == shape.columns[at].name);
        shape.key.iter().map(place).collect()
    };
    let (key, key_name) = match key {
        Some(key) => (key, Some("PRIMARY".to_owned())),
        None => (key_of(before).unwrap_or_default(), before.key_name.clone()),
    };
    Some(Shape { columns, key, key_name, collation: catalog.and_then(|c| c.collation.clone()), ..before.clone() })
}

/// Whether a column known from elsewhere is the one described: a description has lengths in bytes, and types of the server's
/// own as the bytes that they are.
fn is_described(known: &ShapeColumn, described: &Described, told: &ShapeColumn) -> bool {
    let Ok(column) = known.decoded() else { return false };
    let same = known.name == told.name && known.nullable == told.nullable && known.charset == told.charset;
    let same_kind = match told.decoded() {
        Ok(told) => match (&column.column_type, &told.column_type) {
            (known @ (ColumnType::Enum { .. } | ColumnType::Set { .. }), told) => known == told,
            (known, told) => known.is_unsigned() == told.is_unsigned(),
        },
        Err(_) => true,
    };
    same && same_kind && described.can_be(&column)
}
