//! Rows into Arrow columns.

use crate::shop::{Cell, Row};
use arrow_array::builder::*;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use dujiang_core::{ChangeBatch, Code, Kind, Origin, Origins, Result, ResultExt, TableSchema};
use std::sync::Arc;

/// The open batch of one table.
pub(crate) struct Open {
    schema: Arc<TableSchema>,
    columns: Vec<Column>,
    kinds: Vec<Kind>,
    origins: Origins,
}

enum Column {
    U16(UInt16Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    I32(Int32Builder),
    F64(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    Day(Date32Builder),
}

macro_rules! each_builder {
    ($column:expr, $builder:ident => $action:expr) => {
        match $column {
            Column::U16($builder) => $action,
            Column::U32($builder) => $action,
            Column::U64($builder) => $action,
            Column::I32($builder) => $action,
            Column::F64($builder) => $action,
            Column::Decimal($builder) => $action,
            Column::Text($builder) => $action,
            Column::Time($builder) => $action,
            Column::Day($builder) => $action,
        }
    };
}

impl Open {
    pub(crate) fn new(schema: Arc<TableSchema>) -> Self {
        let columns = schema.arrow.fields().iter().map(|field| Column::new(field.data_type())).collect();
        Self { schema, columns, kinds: Vec::new(), origins: Origins::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    pub(crate) fn images(&self) -> usize {
        self.kinds.len()
    }

    /// Adds the image or images of one change.
    pub(crate) fn push(&mut self, images: &[(Kind, &Row)], origin: Origin<'_>) {
        for (kind, row) in images {
            self.kinds.push(*kind);
            for (column, cell) in self.columns.iter_mut().zip(row.iter()) {
                column.push(cell);
            }
        }
        self.origins.push(self.kinds.len(), origin);
    }

    /// What has been added so far; the table stays open.
    pub(crate) fn finish(&mut self) -> Result<ChangeBatch> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        let rows = RecordBatch::try_new(self.schema.arrow.clone(), arrays)
            .or_code(Code::Bug, || format!("the generator's rows of {} do not fit", self.schema.id))?;
        let (kinds, origins) = (std::mem::take(&mut self.kinds), std::mem::take(&mut self.origins));
        ChangeBatch::new(self.schema.clone(), rows, kinds, origins)
    }
}

impl Column {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::UInt16 => Column::U16(UInt16Builder::new()),
            DataType::UInt32 => Column::U32(UInt32Builder::new()),
            DataType::UInt64 => Column::U64(UInt64Builder::new()),
            DataType::Int32 => Column::I32(Int32Builder::new()),
            DataType::Float64 => Column::F64(Float64Builder::new()),
            DataType::Decimal128(..) => Column::Decimal(Decimal128Builder::new().with_data_type(data_type.clone())),
            DataType::Timestamp(..) => {
                Column::Time(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            DataType::Date32 => Column::Day(Date32Builder::new()),
            _ => Column::Text(StringBuilder::new()),
        }
    }

    fn push(&mut self, cell: &Cell) {
        match (self, cell) {
            (column, Cell::Null) => each_builder!(column, builder => builder.append_null()),
            (Column::U16(builder), Cell::Whole(number)) => builder.append_value(fit(*number)),
            (Column::U32(builder), Cell::Whole(number)) => builder.append_value(fit(*number)),
            (Column::U64(builder), Cell::Whole(number)) => builder.append_value(fit(*number)),
            (Column::I32(builder), Cell::Whole(number)) => builder.append_value(fit(*number)),
            (Column::Decimal(builder), Cell::Whole(number)) => builder.append_value(*number),
            (Column::Time(builder), Cell::Whole(number)) => builder.append_value(fit(*number)),
            (Column::Day(builder), Cell::Whole(number)) => builder.append_value(fit(*number)),
            (Column::F64(builder), Cell::Float(number)) => builder.append_value(*number),
            (Column::Text(builder), Cell::Text(text)) => builder.append_value(text),
            _ => unreachable!("invariant: the shop's rows fit its tables"),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        each_builder!(self, builder => Arc::new(builder.finish()))
    }
}

fn fit<T: TryFrom<i128>>(number: i128) -> T {
    T::try_from(number).unwrap_or_else(|_| unreachable!("invariant: the shop's numbers fit their columns"))
}
