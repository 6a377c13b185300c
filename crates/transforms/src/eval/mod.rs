//! Functions of the dialect over Arrow columns, with PostgreSQL's answers.
//!
//! A [`Kernel`] sees arguments of exactly the types the binder gave it and returns one value per row. A row it cannot
//! compute makes the whole call fail with one of the record codes `E071x`; the caller finds the rows by bisecting.

pub(crate) mod cast;
pub(crate) mod collection;
pub(crate) mod float;
pub(crate) mod like;
pub(crate) mod logic;
pub(crate) mod number;
pub(crate) mod regex;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod variant;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{
    ArrayAccessor, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
};
use arrow_schema::{ArrowError, DataType, Field};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use dujiang_core::{Code, Error};
use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// One value per row, or the error of some row.
pub(crate) type Evaluated = Result<ArrayRef, Error>;
/// The code of one function for arguments of fixed types.
pub(crate) type Kernel = Arc<dyn Fn(&Args) -> Evaluated + Send + Sync>;

/// Longest text or byte string a function makes, in bytes; PostgreSQL's own limit is 1 GB.
pub(crate) const LONGEST_VALUE: usize = 64 << 20;

/// The arguments of a call.
pub(crate) struct Args {
    columns: Vec<(ArrayRef, bool)>,
    /// How many values are asked for.
    pub rows: usize,
}

impl Args {
    fn new(values: Vec<ColumnarValue>, rows: usize) -> Result<Self, DataFusionError> {
        let one = |value| match value {
            ColumnarValue::Array(array) => Ok((array, false)),
            ColumnarValue::Scalar(scalar) => scalar.to_array().map(|array| (array, true)),
        };
        let columns = values.into_iter().map(one).collect::<Result<_, DataFusionError>>()?;
        Ok(Self { columns, rows })
    }

    /// Number of arguments.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// An argument and whether its one value stands for every row.
    pub fn raw(&self, index: usize) -> (&ArrayRef, bool) {
        (&self.columns[index].0, self.columns[index].1)
    }

    pub fn texts(&self, index: usize) -> Values<&StringArray> {
        Values { array: self.columns[index].0.as_string(), one: self.columns[index].1 }
    }

    pub fn bytes(&self, index: usize) -> Values<&BinaryArray> {
        Values { array: self.columns[index].0.as_binary(), one: self.columns[index].1 }
    }

    pub fn numbers<T: ArrowPrimitiveType>(&self, index: usize) -> Values<&PrimitiveArray<T>> {
        Values { array: self.columns[index].0.as_primitive(), one: self.columns[index].1 }
    }

    pub fn longs(&self, index: usize) -> Values<&PrimitiveArray<Int64Type>> {
        self.numbers(index)
    }
}

/// One argument, read row by row.
#[derive(Clone, Copy)]
pub(crate) struct Values<A> {
    array: A,
    one: bool,
}

impl<A: ArrayAccessor> Values<A> {
    /// The value for a row; `None` for NULL.
    #[inline]
    pub fn get(&self, row: usize) -> Option<A::Item> {
        let row = if self.one { 0 } else { row };
        if self.array.is_null(row) { None } else { Some(self.array.value(row)) }
    }
}

/// The value, or NULL as the result of the row.
macro_rules! some {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}
pub(crate) use some;

/// A text per row; `write` appends it and says whether there is one.
pub(crate) fn text_rows(
    rows: usize,
    mut write: impl FnMut(usize, &mut String) -> Result<Option<()>, Error>,
) -> Evaluated {
    let mut builder = arrow_array::builder::StringBuilder::with_capacity(rows, rows * 16);
    let mut scratch = String::new();
    let mut total = 0_usize;
    for row in 0..rows {
        scratch.clear();
        match write(row, &mut scratch)? {
            Some(()) => {
                total += scratch.len();
                check_column(total)?;
                builder.append_value(&scratch);
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// Text columns have 32-bit offsets; more is refused, and found to be fine when rows are tried one by one.
pub(crate) fn check_column(bytes: usize) -> Result<(), Error> {
    if bytes <= i32::MAX as usize {
        return Ok(());
    }
    Err(Error::new(Code::ValueOutOfRange, "the values of a column take more than 2 GB in one batch"))
}

/// A number, date or time per row.
pub(crate) fn primitive_rows<T: ArrowPrimitiveType>(
    rows: usize,
    ty: DataType,
    mut value: impl FnMut(usize) -> Result<Option<T::Native>, Error>,
) -> Evaluated {
    let array = (0..rows).map(&mut value).collect::<Result<PrimitiveArray<T>, Error>>()?;
    Ok(Arc::new(array.with_data_type(ty)))
}

/// A truth value per row.
pub(crate) fn boolean_rows(rows: usize, mut value: impl FnMut(usize) -> Result<Option<bool>, Error>) -> Evaluated {
    Ok(Arc::new((0..rows).map(&mut value).collect::<Result<BooleanArray, Error>>()?))
}

/// A kernel as one of DataFusion's functions.
struct Builtin {
    name: &'static str,
    signature: Signature,
    out: DataType,
    kernel: Kernel,
}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Builtin {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.kernel, &other.kernel)
    }
}

impl Eq for Builtin {}

impl Hash for Builtin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Builtin {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.out.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let args = Args::new(args.args, args.number_rows)?;
        let array = (self.kernel)(&args).map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(ColumnarValue::Array(array))
    }
}

static CONFIG: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| Arc::new(ConfigOptions::default()));

/// A call of a kernel.
pub(crate) fn call(
    name: &'static str,
    kernel: Kernel,
    args: Vec<Arc<dyn PhysicalExpr>>,
    out: DataType,
    nullable: bool,
) -> Arc<dyn PhysicalExpr> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    let function = ScalarUDF::new_from_impl(Builtin { name, signature, out: out.clone(), kernel });
    library_call(Arc::new(function), args, out, nullable)
}

/// A call of one of DataFusion's own functions.
pub(crate) fn library_call(
    function: Arc<ScalarUDF>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    out: DataType,
    nullable: bool,
) -> Arc<dyn PhysicalExpr> {
    let name = function.name().to_owned();
    let field = Arc::new(Field::new(&name, out, nullable));
    Arc::new(ScalarFunctionExpr::new(&name, function, args, field, CONFIG.clone()))
}

/// The error of a row, whatever layer it comes from.
pub(crate) fn row_error(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::new(Code::Bug, "an expression failed").with_source(other),
        },
        DataFusionError::ArrowError(inner, _) => arrow_error(*inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => row_error(*inner),
        other => Error::new(Code::Bug, "an expression failed").with_source(other),
    }
}

/// What Arrow's own arithmetic reports.
pub(crate) fn arrow_error(error: ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(_) => out_of_range("the result of an integer operation"),
        ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::new(Code::Bug, "an expression failed").with_source(other),
        },
        other => Error::new(Code::Bug, "an expression failed").with_source(other),
    }
}

pub(crate) fn division_by_zero() -> Error {
    Error::new(Code::DivisionByZero, "division by zero").help("guard it: x / NULLIF(y, 0) gives NULL instead")
}

pub(crate) fn out_of_range(what: &str) -> Error {
    Error::new(Code::ValueOutOfRange, format!("{what} is out of range"))
        .help("compute in a wider type: CAST(... AS BIGINT), CAST(... AS DECIMAL(38, s)) or CAST(... AS DOUBLE)")
}

pub(crate) fn bad_argument(message: impl Into<String>) -> Error {
    Error::new(Code::BadArgument, message)
}

/// The value of an expression that needs no row, if it can be computed.
pub(crate) fn constant(expr: &dyn PhysicalExpr) -> Option<ScalarValue> {
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(1));
    let none =
        arrow_array::RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::empty()), vec![], &options);
    match expr.evaluate(&none.ok()?).ok()? {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).ok(),
    }
}
