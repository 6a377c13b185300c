//! The shape of a captured table as it is kept in positions, so that every row is decoded with the columns in force at its
//! place (INV-10): types are resolved once, when the shape is met, and not again from a catalog that may have moved on.

use crate::catalog::{CatalogColumn, TableDetail, key_among};
use crate::pgoutput::{Relation, RelationColumn};
use crate::values::{Column, Declared, PgKind, Types, ValueSettings};
use dujiang_core::schema::KeyEquality;
use dujiang_core::{Error, Result, TableId, TableSchema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeColumn {
    /// Name.
    #[serde(rename = "n")]
    pub name: String,
    /// `attnum`, 0 when it is not known: the column was gone before the catalog could be asked.
    #[serde(rename = "a")]
    pub number: i16,
    /// `pg_type.oid`.
    #[serde(rename = "t")]
    pub type_oid: u32,
    /// `atttypmod`.
    #[serde(rename = "m")]
    pub modifier: i32,
    /// How its values are carried.
    #[serde(rename = "k")]
    pub kind: PgKind,
    /// The type, for people.
    #[serde(rename = "s")]
    pub source_type: String,
    /// The output function to ask for in a snapshot.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Whether it may be NULL.
    #[serde(rename = "z")]
    pub nullable: bool,
    /// Whether values are equal to the server iff they are equal here.
    #[serde(rename = "v")]
    pub by_value: bool,
    /// Whether it is part of the key that old images hold.
    #[serde(rename = "i")]
    pub in_identity: bool,
}

/// A table at one schema version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// `pg_class.oid`.
    #[serde(rename = "r")]
    pub relation: u32,
    /// Schema.
    #[serde(rename = "d")]
    pub schema: String,
    /// Table.
    #[serde(rename = "t")]
    pub table: String,
    /// Version of the shape, from 1.
    #[serde(rename = "v")]
    pub version: u32,
    /// The published columns, in the table's order.
    #[serde(rename = "c")]
    pub columns: Vec<ShapeColumn>,
    /// Key columns, as indices in key order.
    #[serde(rename = "k")]
    pub key: Vec<usize>,
    /// Whether old images may hold the key alone, which makes all other columns nullable.
    #[serde(rename = "o")]
    pub key_images: bool,
}

/// A table ready for decoding.
#[derive(Debug, Clone)]
pub struct Decodable {
    /// For batches.
    pub schema: Arc<TableSchema>,
    /// For the decoder.
    pub columns: Arc<[Column]>,
    /// Whether old images may hold the key alone.
    pub key_images: bool,
}

impl Decodable {
    /// Whether every column's binary form is read here, so that a stream of it may be binary.
    pub fn reads_binary(&self) -> bool {
        self.columns.iter().all(|column| column.kind.reads_binary())
    }
}

/// A column as a relation message tells it, with what the catalog adds.
pub(crate) struct Told<'a> {
    pub column: &'a RelationColumn,
    /// The catalog's column of the same `attnum`, if it still has it.
    pub catalog: Option<&'a CatalogColumn>,
    pub number: i16,
    pub nullable: bool,
    pub in_key: bool,
}

impl ShapeColumn {
    /// # Errors
    /// `TypeGone`.
    pub(crate) fn told(told: &Told<'_>, types: &Types, settings: &ValueSettings) -> Result<Self> {
        let declared = Declared {
            oid: told.column.type_oid,
            modifier: told.column.type_modifier,
            dimensions: told.catalog.map_or(0, |c| c.dimensions),
            deterministic: told.catalog.is_none_or(|c| c.deterministic),
            in_key: told.in_key,
        };
        let in_column = |error: Error| error.fact("column", told.column.name.clone());
        let resolved = types.resolve(declared, settings).map_err(in_column)?;
        Ok(Self {
            name: told.column.name.clone(),
            number: told.number,
            type_oid: declared.oid,
            modifier: declared.modifier,
            kind: resolved.kind,
            source_type: resolved.source_type,
            output: resolved.output,
            nullable: told.nullable,
            by_value: resolved.by_value,
            in_identity: told.column.in_identity,
        })
    }

    fn decoded(&self, key_images: bool) -> Column {
        let nullable = self.nullable || (key_images && !self.in_identity);
        Column {
            name: self.name.as_str().into(),
            kind: self.kind.clone(),
            field: self.kind.field(&self.name, nullable, &self.source_type),
            output: self.output.as_deref().map(Into::into),
            in_identity: self.in_identity,
        }
    }
}

impl Shape {
    /// The shape of a table read from the catalog, version 1. `published` are the columns that its publication names; `None`
    /// is all that are not generated. `key_images`: whether old images may hold the key alone.
    ///
    /// # Errors
    /// `TypeGone`.
    pub fn of_catalog(
        table: &TableDetail,
        published: Option<&[String]>,
        types: &Types,
        settings: &ValueSettings,
        key_images: bool,
    ) -> Result<Self> {
        let wanted = |column: &&CatalogColumn| match published {
            Some(names) => names.contains(&column.name),
            None => !column.generated,
        };
        let columns: Vec<&CatalogColumn> = table.columns.iter().filter(wanted).collect();
        let identity = match crate::catalog::old_rows(table) {
            crate::catalog::OldRows::Key(numbers) => numbers,
            _ => Vec::new(),
        };
        let whole = table.identity == crate::catalog::IdentityKind::Full;
        let relation = Relation {
            oid: table.oid,
            schema: table.schema.clone(),
            table: table.table.clone(),
            identity: crate::pgoutput::Identity::Full,
            columns: columns
                .iter()
                .map(|column| RelationColumn {
                    in_identity: whole || identity.contains(&column.number),
                    name: column.name.clone(),
                    type_oid: column.type_oid,
                    type_modifier: column.modifier,
                })
                .collect(),
        };
        Self::told(&relation, Some(table), types, settings, key_images)
    }

    /// The shape of a table that is first met in the stream, version 1.
    ///
    /// # Errors
    /// `TypeGone`.
    pub fn told(
        relation: &Relation,
        catalog: Option<&TableDetail>,
        types: &Types,
        settings: &ValueSettings,
        key_images: bool,
    ) -> Result<Self> {
        // Rows that the log tells of by their old key alone are told apart by it.
        let in_identity = |name: &str| relation.columns.iter().any(|c| c.in_identity && c.name == name);
        let key_names = key_names(catalog, |name| !key_images || in_identity(name));
        let columns = relation.columns.iter().map(|column| {
            let known = catalog.and_then(|table| table.columns.iter().find(|c| c.name == column.name));
            let told = Told {
                column,
                catalog: known,
                number: known.map_or(0, |c| c.number),
                nullable: known.is_none_or(|c| !c.not_null),
                in_key: key_names.contains(&column.name.as_str()),
            };
            ShapeColumn::told(&told, types, settings)
        });
        let columns = columns.collect::<Result<Vec<_>>>().map_err(|e| {
            e.fact("table", TableId::new(relation.schema.as_str(), relation.table.as_str()).to_string())
        })?;
        let at = |name: &&str| columns.iter().position(|column| column.name == *name);
        // A key of which a column is not published is none.
        let key = key_names.iter().map(at).collect::<Option<Vec<_>>>().unwrap_or_default();
        Ok(Self {
            relation: relation.oid,
            schema: relation.schema.clone(),
            table: relation.table.clone(),
            version: 1,
            columns,
            key,
            key_images,
        })
    }

    /// The table.
    pub fn id(&self) -> TableId {
        TableId::new(self.schema.as_str(), self.table.as_str())
    }

    /// The table, ready for decoding.
    pub fn decodable(&self) -> Decodable {
        let columns: Vec<Column> = self.columns.iter().map(|column| column.decoded(self.key_images)).collect();
        let key_equality = match self.key.as_slice() {
            [] => KeyEquality::NoKey,
            key if key.iter().all(|&at| self.columns[at].by_value) => KeyEquality::ByValue,
            _ => KeyEquality::ServerOnly,
        };
        let fields: Vec<_> = columns.iter().map(|c| c.field.clone()).collect();
        let schema = TableSchema {
            id: self.id(),
            version: self.version,
            arrow: Arc::new(arrow_schema::Schema::new(fields)),
            key: self.key.clone(),
            key_equality,
        };
        Decodable { schema: Arc::new(schema), columns: columns.into(), key_images: self.key_images }
    }

    /// The columns as a relation message would tell them.
    pub fn as_relation(&self) -> Relation {
        let column = |column: &ShapeColumn| RelationColumn {
            in_identity: column.in_identity,
            name: column.name.clone(),
            type_oid: column.type_oid,
            type_modifier: column.modifier,
        };
        Relation {
            oid: self.relation,
            schema: self.schema.clone(),
            table: self.table.clone(),
            identity: crate::pgoutput::Identity::Full,
            columns: self.columns.iter().map(column).collect(),
        }
    }

    /// The same with a column that may be NULL, as the next version: a row holds one although the catalog, read at another
    /// time, says NOT NULL.
    #[must_use]
    pub fn relaxed(&self, column: usize) -> Self {
        let mut next = self.clone();
        next.version += 1;
        if let Some(column) = next.columns.get_mut(column) {
            column.nullable = true;
        }
        next
    }
}

fn key_names(catalog: Option<&TableDetail>, may: impl Fn(&str) -> bool) -> Vec<&str> {
    let Some(table) = catalog else { return Vec::new() };
    let index = key_among(table, |column| may(&column.name)).map_or(&[][..], |index| &index.columns);
    index.iter().filter_map(|number| table.column(*number)).map(|column| column.name.as_str()).collect()
}
