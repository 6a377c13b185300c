//! Columns added and dropped while the pipeline runs.

use super::*;
use crate::ddl::{Alteration, ColumnPlace, NewColumn};
use crate::shape::{Shape, ShapeColumn, read_columns};
use crate::stream::Table;
use dujiang_core::TableSchema;

/// A change of columns that has been met.
pub struct Announced {
    /// For the engine.
    pub change: SchemaChange,
    /// Whether the engine has been told.
    pub told: bool,
    shape: Shape,
    ddl: Ddl,
}

impl MysqlReader {
    /// Works out the shape after a DDL and has it told, before anything behind it is read.
    pub(super) async fn announce(&mut self, ddl: Ddl) -> Result<()> {
        let table = self.start.tables.get(ddl.table);
        if !self.start.config.options.schema_change {
            return Err(refused(table, &ddl, "`schema-change.enabled` is false"));
        }
        let catalog = if needs_catalog(&ddl) {
            let mut connection = Connection::connect(&self.start.config.endpoint).await?;
            read_columns(&mut connection, &table.id).await.unwrap_or_default()
        } else {
            Vec::new()
        };
        let shape = altered(table, &ddl, &catalog)?;
        if shape.columns == table.shape.columns {
            self.finish(ddl);
            return Ok(());
        }
        let after: Arc<TableSchema> = shape.decodable()?.schema;
        let before = Some(table.decodable.schema.clone());
        let change = SchemaChange { before, after, statement: ddl.statement.clone(), ddl: Default::default() };
        let announced = Announced { change, told: false, shape, ddl };
        if fault::removed("ddl-barrier") {
            return self.apply(announced);
        }
        self.announced = Some(announced);
        Ok(())
    }

    /// The engine has ended its epoch: the rows behind the DDL may come.
    pub(super) fn apply(&mut self, announced: Announced) -> Result<()> {
        self.start.tables.reshape(announced.ddl.table, announced.shape)?;
        self.finish(announced.ddl);
        Ok(())
    }

    fn finish(&mut self, ddl: Ddl) {
        self.start.machine.finish_statement(ddl.next.as_ref());
        if !self.start.machine.is_inside_event() {
            self.advance();
        }
    }
}

/// Whether the statement alone does not say how a column is encoded.
fn needs_catalog(ddl: &Ddl) -> bool {
    ddl.alterations.iter().any(|a| matches!(a, Alteration::Add { .. }))
}

/// The shape after the DDL.
fn altered(table: &Table, ddl: &Ddl, catalog: &[ShapeColumn]) -> Result<Shape> {
    let mut columns = table.shape.columns.clone();
    for alteration in &ddl.alterations {
        alter(&mut columns, alteration, catalog).map_err(|why| refused(table, ddl, &why))?;
    }
    let mut shape = table.shape.with_columns(columns)?;
    shape.version += 1;
    Ok(shape)
}

fn alter(columns: &mut Vec<ShapeColumn>, alteration: &Alteration, catalog: &[ShapeColumn]) -> Result<(), String> {
    let find = |columns: &[ShapeColumn], name: &str| columns.iter().position(|c| same_name(&c.name, name));
    match alteration {
        Alteration::Drop { name, if_exists } => match find(columns, name) {
            Some(at) => drop(columns.remove(at)),
            None if *if_exists => {}
            None => return Err(format!("there is no column {name}")),
        },
        // The key's own has been refused before.
        Alteration::DropIndex { .. } => {}
        Alteration::Add { column, place, if_not_exists } => {
            if find(columns, &column.name).is_some() {
                return if *if_not_exists { Ok(()) } else { Err(format!("there is a column {} already", column.name)) };
            }
            let at = match place {
                ColumnPlace::First => 0,
                ColumnPlace::Last => columns.len(),
                ColumnPlace::After(name) => {
                    find(columns, name).ok_or_else(|| format!("there is no column {name} to add it after"))? + 1
                }
            };
            columns.insert(at, added(column, catalog)?);
        }
    }
    Ok(())
}

/// Names of columns are the same whatever their case.
fn same_name(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// The new column: as the catalog has it, if it is still what the statement says; otherwise from the statement alone, if
/// that says everything.
fn added(new: &NewColumn, catalog: &[ShapeColumn]) -> Result<ShapeColumn, String> {
    let stated = ShapeColumn {
        name: new.name.clone(),
        column_type: new.column_type.clone(),
        charset: new.charset.clone(),
        collation: new.collation.clone(),
        nullable: new.nullable,
    };
    let known = catalog.iter().find(|c| same_name(&c.name, &new.name));
    if let Some(known) = known {
        let charset = stated.charset.clone().or_else(|| known.charset.clone());
        let filled = ShapeColumn { charset, collation: known.collation.clone(), ..stated.clone() };
        let agree = match (filled.decoded(), known.decoded()) {
            (Ok(stated), Ok(known)) => stated.column_type == known.column_type && stated.nullable == known.nullable,
            _ => false,
        };
        if agree {
            return Ok(known.clone());
        }
    }
    let charset_from_collation = stated.collation.as_deref().and_then(|c| c.split('_').next()).map(str::to_owned);
    let stated = ShapeColumn { charset: stated.charset.clone().or(charset_from_collation), ..stated };
    match stated.decoded() {
        Ok(_) => Ok(stated),
        Err(error) => Err(format!("the type of the new column {} cannot be told: {}", new.name, error.message())),
    }
}

#[cold]
fn refused(table: &Table, ddl: &Ddl, why: &str) -> Error {
    Error::new(Code::SchemaChange, format!("captured table {} was changed and cannot be followed: {why}", table.id))
        .fact("statement", ddl.statement.chars().take(200).collect::<String>())
        .help("start a new pipeline with a new snapshot of the table, or leave it out of `tables`")
}
