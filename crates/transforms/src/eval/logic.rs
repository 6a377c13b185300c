//! AND and OR that never fail for the sake of an operand that does not matter.

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Two operands by three-valued logic. When the right one fails, it is computed again for the rows alone that the left
/// one does not decide: `d <> 0 AND n / d > 1` must not fail where `d` is 0.
#[derive(Debug, Clone)]
pub(crate) struct Logic {
    pub left: Arc<dyn PhysicalExpr>,
    pub right: Arc<dyn PhysicalExpr>,
    pub is_and: bool,
}

impl PartialEq for Logic {
    fn eq(&self, other: &Self) -> bool {
        self.is_and == other.is_and && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Eq for Logic {}

impl Hash for Logic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_and.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl fmt::Display for Logic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, if self.is_and { "AND" } else { "OR" }, self.right)
    }
}

impl Logic {
    fn right_where_it_matters(&self, batch: &RecordBatch, left: &BooleanArray) -> Result<ColumnarValue> {
        match self.right.evaluate(batch) {
            Err(_) => {
                let decided = !self.is_and;
                let open: BooleanArray = left.iter().map(|value| Some(value != Some(decided))).collect();
                if open.true_count() == batch.num_rows() {
                    return self.right.evaluate(batch);
                }
                if open.true_count() == 0 {
                    return Ok(ColumnarValue::Array(Arc::new(BooleanArray::new_null(batch.num_rows()))));
                }
                self.right.evaluate_selection(batch, &open)
            }
            value => value,
        }
    }
}

impl PhysicalExpr for Logic {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn data_type(&self, _input: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        Ok(self.left.nullable(input)? || self.right.nullable(input)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let left = self.left.evaluate(batch)?.into_array(rows)?;
        let left = left.as_boolean();
        let decided = !self.is_and;
        let all = if decided { left.true_count() } else { left.false_count() };
        if all == rows && left.null_count() == 0 {
            return Ok(ColumnarValue::Array(Arc::new(left.clone())));
        }
        let right = self.right_where_it_matters(batch, left)?.into_array(rows)?;
        let combine = if self.is_and { arrow_arith::boolean::and_kleene } else { arrow_arith::boolean::or_kleene };
        let result = combine(left, right.as_boolean()).map_err(|e| DataFusionError::ArrowError(Box::new(e), None))?;
        Ok(ColumnarValue::Array(Arc::new(result)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let [left, right]: [_; 2] =
            children.try_into().map_err(|_| DataFusionError::Internal("AND and OR have two operands".to_owned()))?;
        Ok(Arc::new(Logic { left, right, is_and: self.is_and }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
