//! Rows of one shape -> rows of another, column by column and by name.
//!
//! Every value keeps its meaning or its row comes back as an error: a number with more digits than its column, a time beyond
//! the range of nanoseconds or with a fraction that is not kept, a column that is NOT NULL at the sink and that the source no longer has.

use super::exact::{self, exactly, safely, text};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType};
use arrow_array::types::{TimestampNanosecondType, TimestampSecondType, UInt64Type};
use arrow_array::{Array, ArrayRef, Int64Array, PrimitiveArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use chrono::{DateTime, Duration, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use dujiang_core::dialect::type_name;
use dujiang_core::schema::TableSchema;
use dujiang_core::{Code, Error, Result, ResultExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How rows of a source's table become rows of a sink's table.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    target: Arc<TableSchema>,
    zone: Tz,
}

#[derive(Debug)]
enum Step {
    /// The column as it is.
    Take(usize),
    /// The column's values under another type.
    Cast(usize, FieldRef),
    /// The source has no such column.
    Missing,
}

/// Why rows do not fit, by row.
pub(super) type Unfit = BTreeMap<usize, Error>;

impl Plan {
    /// The way from one shape to the other; `None` when rows can stay as they are.
    ///
    /// # Errors
    /// `SchemaChange` when the sink's key has no source.
    pub(super) fn new(source: &TableSchema, target: &Arc<TableSchema>, zone: Tz) -> Result<Option<Self>> {
        if same_columns(source, target) {
            return Ok(None);
        }
        for key in target.key_names() {
            if source.arrow.field_with_name(key).is_err() {
                return Err(Error::new(
                    Code::SchemaChange,
                    format!("rows of {} have no `{key}`, a key of {}", source.id, target.id),
                )
                .help("let the schema change reach the sink, or start anew with another sink table"));
            }
        }
        let step = |to: &FieldRef| match source.arrow.fields().find(to.name()) {
            Some((at, from)) if from.data_type() == to.data_type() => Step::Take(at),
            Some((at, from)) => Step::Cast(at, from.clone()),
            None => Step::Missing,
        };
        let steps = target.arrow.fields().iter().map(step).collect();
        Ok(Some(Self { steps, target: target.clone(), zone }))
    }

    /// The rows in the sink's shape. If any row does not fit, only those are told of and there are no rows.
    pub(super) fn apply(&self, rows: &RecordBatch) -> Result<std::result::Result<RecordBatch, Unfit>> {
        let mut unfit = Unfit::new();
        let mut columns = Vec::with_capacity(self.steps.len());
        for (step, to) in self.steps.iter().zip(self.target.arrow.fields()) {
            let column = match step {
                Step::Take(at) => rows.column(*at).clone(),
                Step::Cast(at, from) => cast(from, to, rows.column(*at), self.zone, &mut unfit)?,
                Step::Missing => new_null_array(to.data_type(), rows.num_rows()),
            };
            if !to.is_nullable() {
                refuse_nulls(to, matches!(step, Step::Missing), &column, &mut unfit);
            }
            columns.push(column);
        }
        if !unfit.is_empty() {
            return Ok(Err(unfit));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.target.arrow.clone(), columns, &options);
        batch.or_code(Code::Bug, || format!("rows for {} do not have its shape", self.target.id)).map(Ok)
    }
}

/// Whether rows fit without a touch: the same columns in the same order, none stricter than before.
fn same_columns(source: &TableSchema, target: &TableSchema) -> bool {
    let (from, to) = (source.arrow.fields(), target.arrow.fields());
    from.len() == to.len() && from.iter().zip(to.iter()).all(|(a, b)| a == b)
}

fn refuse_nulls(to: &Field, missing: bool, column: &ArrayRef, unfit: &mut Unfit) {
    let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { return };
    let why = if missing { "the source has it no longer" } else { "the value is NULL" };
    for row in (0..column.len()).filter(|&row| nulls.is_null(row)) {
        unfit.entry(row).or_insert_with(|| {
            Error::new(Code::BadRecord, format!("column `{}` is NOT NULL at the sink, and {why}", to.name()))
                .help("let the schema change reach the sink (see `schema.change.behavior`), or leave the column out")
        });
    }
}

fn misfit(to: &Field, from: &Field, column: &ArrayRef, row: usize) -> Error {
    let mut value = Vec::new();
    dujiang_core::text::write_plain_value(from, column.as_ref(), row, &mut value);
    let value: String = String::from_utf8_lossy(&value).chars().take(100).collect();
    Error::new(Code::BadRecord, format!("column `{}` of the sink cannot hold the value", to.name()))
        .fact("value", value)
        .fact("from", type_name(from))
        .fact("to", type_name(to))
}

fn cast(from: &Field, to: &Field, column: &ArrayRef, zone: Tz, unfit: &mut Unfit) -> Result<ArrayRef> {
    let out = match (from.data_type(), to.data_type()) {
        (_, DataType::Utf8) => text(from, column)?,
        (DataType::Utf8, _) => exact::read(column, to)?,
        (DataType::Date32, DataType::Timestamp(unit, zoned)) => {
            let local = midnights(column, *unit);
            if zoned.is_some() { instants(&local, *unit, to.data_type(), zone)? } else { local }
        }
        (DataType::Timestamp(_, None), DataType::Timestamp(unit, Some(_))) => {
            let local = exactly(column, &DataType::Timestamp(*unit, None))?;
            instants(&local, *unit, to.data_type(), zone)?
        }
        (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, Some(_))) => exactly(column, to.data_type())?,
        (DataType::Timestamp(unit, Some(_)), wanted) => exactly(&clocks(column, *unit, zone)?, wanted)?,
        (DataType::Int64 | DataType::UInt64, DataType::Float64) => exact_doubles(column),
        (_, wanted) => exactly(column, wanted)?,
    };
    if out.null_count() > column.null_count() {
        let lost = (0..out.len()).filter(|&row| out.is_null(row) && column.is_valid(row));
        for row in lost.collect::<Vec<_>>() {
            unfit.entry(row).or_insert_with(|| misfit(to, from, column, row));
        }
    }
    Ok(out)
}

/// The first moment of each day; days beyond the unit's range become NULL.
fn midnights(column: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    let days = column.as_primitive::<Date32Type>();
    let count = |per_day: i64| days.iter().map(move |day| day.and_then(|day| i64::from(day).checked_mul(per_day)));
    match unit {
        TimeUnit::Second => Arc::new(count(86_400).collect::<PrimitiveArray<TimestampSecondType>>()),
        TimeUnit::Millisecond => Arc::new(count(86_400_000).collect::<PrimitiveArray<TimestampMillisecondType>>()),
        TimeUnit::Microsecond => Arc::new(count(86_400_000_000).collect::<PrimitiveArray<TimestampMicrosecondType>>()),
        TimeUnit::Nanosecond => {
            Arc::new(count(86_400_000_000_000).collect::<PrimitiveArray<TimestampNanosecondType>>())
        }
    }
}

/// Whole numbers that a DOUBLE holds exactly; others become NULL.
fn exact_doubles(column: &ArrayRef) -> ArrayRef {
    let exact = |value: i128| Some(value as f64).filter(|double| *double as i128 == value);
    let doubles: arrow_array::Float64Array = match column.data_type() {
        DataType::UInt64 => {
            column.as_primitive::<UInt64Type>().iter().map(|v| v.and_then(|v| exact(v.into()))).collect()
        }
        _ => column.as_primitive::<Int64Type>().iter().map(|v| v.and_then(|v| exact(v.into()))).collect(),
    };
    Arc::new(doubles)
}

/// Wall clock times of a zone as points in time. A time that occurs twice is the first; one that is skipped is as far after
/// the skip as it lies in it. Times beyond the calendar's range become NULL.
fn instants(local: &ArrayRef, unit: TimeUnit, wanted: &DataType, zone: Tz) -> Result<ArrayRef> {
    shifted(local, unit, wanted, |clock| offset_seconds(clock, zone)?.checked_neg())
}

/// Points in time as what a clock of the zone showed then. Times beyond the calendar's range become NULL.
fn clocks(instants: &ArrayRef, unit: TimeUnit, zone: Tz) -> Result<ArrayRef> {
    let offset = |utc: NaiveDateTime| Some(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc());
    shifted(instants, unit, &DataType::Timestamp(unit, None), offset)
}

/// Times moved by so many seconds as `offset` tells of each; `wanted` is of the same unit.
fn shifted(
    times: &ArrayRef,
    unit: TimeUnit,
    wanted: &DataType,
    offset: impl Fn(NaiveDateTime) -> Option<i32>,
) -> Result<ArrayRef> {
    let per_second: i64 = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let shift = |count: i64| {
        let time = DateTime::from_timestamp(count.div_euclid(per_second), 0)?.naive_utc();
        count.checked_add(i64::from(offset(time)?).checked_mul(per_second)?)
    };
    let counts = safely(times, &DataType::Int64)?;
    let counts: Int64Array = counts.as_primitive::<Int64Type>().iter().map(|count| count.and_then(shift)).collect();
    safely(&(Arc::new(counts) as ArrayRef), wanted)
}

fn offset_seconds(clock: NaiveDateTime, zone: Tz) -> Option<i32> {
    let at = |clock: NaiveDateTime| zone.offset_from_local_datetime(&clock).earliest();
    // A skipped time counts by the offset from before the skip; no skip is longer than a day.
    let offset = at(clock).or_else(|| (1..=24).find_map(|hours| at(clock.checked_sub_signed(Duration::hours(hours))?)));
    offset.map(|offset| offset.fix().local_minus_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::{Decimal128Type, Float32Type};
    use arrow_array::{
        BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, StringArray,
    };
    use arrow_array::{TimestampMicrosecondArray, TimestampNanosecondArray};
    use dujiang_core::TableId;
    use dujiang_core::dialect::parse_field;

    fn table(columns: &[(&str, &str)]) -> Arc<TableSchema> {
        let fields = columns.iter().map(|(name, declared)| parse_field(name, declared).unwrap()).collect();
        TableSchema::by_value(TableId::new("d", "t"), fields, Vec::new())
    }

    fn run(
        from: &[(&str, &str)],
        to: &[(&str, &str)],
        columns: Vec<ArrayRef>,
    ) -> std::result::Result<RecordBatch, Unfit> {
        let (from, to) = (table(from), table(to));
        let rows = RecordBatch::try_new(from.arrow.clone(), columns).unwrap();
        Plan::new(&from, &to, Tz::Europe__Berlin).unwrap().unwrap().apply(&rows).unwrap()
    }

    #[test]
    fn columns_are_found_by_name_and_widened() {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let from = [("n", "INT"), ("w", "STRING"), ("gone", "STRING")];
        let to = [("w", "STRING"), ("new", "DATE"), ("n", "DECIMAL(12, 2)"), ("gone", "STRING")];
        let out = run(&from, &to, vec![ints.clone(), words.clone(), words.clone()]).unwrap();
        assert_eq!(out.column(0), &words);
        assert_eq!(out.column(1).null_count(), 2);
        assert_eq!(out.column(2).as_primitive::<arrow_array::types::Decimal128Type>().value(0), 100);
        let out = run(&[("n", "INT")], &[("n", "STRING")], vec![ints]).unwrap();
        assert_eq!(out.column(0).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("1"), None]);
    }

    #[test]
    fn rows_that_do_not_fit_are_named_and_none_is_null() {
        let big: ArrayRef = Arc::new(Int64Array::from(vec![Some(1 << 53), Some((1 << 53) + 1), None, Some(i64::MIN)]));
        let unfit = run(&[("n", "BIGINT")], &[("n", "DOUBLE")], vec![big]).unwrap_err();
        assert_eq!(unfit.keys().copied().collect::<Vec<_>>(), [1]);
        assert!(unfit[&1].message().contains("`n`") && format!("{:?}", unfit[&1]).contains("9007199254740993"));
        let fits: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
        let out = run(&[("n", "BIGINT")], &[("n", "DOUBLE")], vec![fits.clone()]).unwrap();
        assert_eq!(out.column(0).as_ref(), &Float64Array::from(vec![Some(7.0), None]));
        let unfit = run(&[("n", "BIGINT")], &[("n", "BIGINT NOT NULL")], vec![fits.clone()]).unwrap_err();
        assert!(unfit[&1].message().contains("NOT NULL"));
        let unfit = run(&[("n", "BIGINT")], &[("n", "BIGINT"), ("x", "INT NOT NULL")], vec![fits]).unwrap_err();
        assert!(unfit.len() == 2 && unfit[&0].message().contains("no longer"), "{unfit:?}");
    }

    #[test]
    fn wall_clocks_become_instants_of_the_zone() {
        let hour = 3_600_000_000i64;
        let at = |text: &str| NaiveDateTime::parse_from_str(text, "%F %T").unwrap().and_utc().timestamp_micros();
        let clocks =
            ["2026-01-01 00:00:00", "2026-07-01 00:00:00", "2026-03-29 02:30:00", "2026-10-25 02:30:00"].map(at);
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(clocks.to_vec()));
        let out = run(&[("t", "TIMESTAMP(6)")], &[("t", "TIMESTAMP_LTZ(6)")], vec![column]).unwrap();
        let out = out.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec();
        // Winter, summer; skipped (02:30 is 03:30 summer time); the first of two.
        assert_eq!(out, [clocks[0] - hour, clocks[1] - 2 * hour, clocks[2] - hour, clocks[3] - 2 * hour]);
        let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), Some(i32::MAX)]));
        let unfit = run(&[("t", "DATE")], &[("t", "TIMESTAMP_LTZ(6)")], vec![days]).unwrap_err();
        assert_eq!(unfit.len(), 1);
    }

    /// The rows that do not fit: all but those must come out when they come alone.
    fn unfit(from: &str, to: &str, column: ArrayRef) -> Vec<usize> {
        let run = |column| run(&[("c", from)], &[("c", to)], vec![column]);
        let unfit: Vec<usize> = run(column.clone()).err().unwrap_or_default().into_keys().collect();
        for row in 0..column.len() {
            let alone = run(column.slice(row, 1));
            assert_eq!(alone.is_err(), unfit.contains(&row), "{from} to {to}, row {row}");
            assert!(alone.is_err() || alone.unwrap().column(0).is_null(0) == column.is_null(row));
        }
        unfit
    }

    #[test]
    fn values_that_narrower_columns_would_bend_do_not_fit() {
        let decimals = |precision, scale, values: &[i128]| -> ArrayRef {
            let values = values.iter().map(|&v| Some(v)).chain([None]);
            Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(precision, scale).unwrap())
        };
        let doubles = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
        let ints = |values: &[i32]| -> ArrayRef { Arc::new(Int32Array::from(values.to_vec())) };
        let micros = |values: &[i64]| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(values.to_vec())) };
        let nanos = |values: &[i64]| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(values.to_vec())) };
        let words = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
        let day = 86_400_000_000;
        let cases = [
            ("DECIMAL(12, 4)", "DECIMAL(10, 2)", decimals(12, 4, &[12_350, 12_300]), &[0][..]),
            ("DECIMAL(12, 4)", "DECIMAL(6, 4)", decimals(12, 4, &[1_000_000, 999_999]), &[0]),
            ("DECIMAL(10, 2)", "INT", decimals(10, 2, &[150, 200, -101]), &[0, 2]),
            ("DECIMAL(20, 1)", "DOUBLE", decimals(20, 1, &[90_071_992_547_409_931, 1]), &[0]),
            ("DOUBLE", "INT", doubles(&[1.9, 2.0, f64::NAN, 3e9]), &[0, 2, 3]),
            ("DOUBLE", "FLOAT", doubles(&[0.1, 0.5, f64::NAN, f64::INFINITY, 1e300]), &[0, 4]),
            ("DOUBLE", "DECIMAL(10, 2)", doubles(&[1.235, 0.1, f64::NAN]), &[0, 2]),
            ("INT", "FLOAT", ints(&[16_777_217, 16_777_216, i32::MAX, -3]), &[0, 2]),
            ("INT", "TINYINT", ints(&[128, 127]), &[0]),
            ("INT", "BOOLEAN", ints(&[2, 1, 0]), &[0]),
            ("INT", "DATE", ints(&[2]), &[0]),
            ("INT", "BYTES", ints(&[2]), &[0]),
            ("TIMESTAMP(6)", "DATE", micros(&[1, day, -1]), &[0, 2]),
            ("TIMESTAMP(9)", "TIMESTAMP(6)", nanos(&[1, 1_000, -1]), &[0, 2]),
            ("TIMESTAMP(9)", "TIMESTAMP_LTZ(6)", nanos(&[1, 1_000]), &[0]),
            ("TIMESTAMP(6)", "TIMESTAMP(9)", micros(&[i64::MAX, 1]), &[0]),
            ("STRING", "DECIMAL(10, 2)", words(&["1.005", "1.5", "1.500", "x", "007"]), &[0, 3, 4]),
            ("STRING", "INT", words(&["1.5", "15", "007", "-3"]), &[0, 2]),
            ("STRING", "DATE", words(&["2026-01-02", "2026-01-02 10:00:00"]), &[1]),
            ("STRING", "TIMESTAMP(6)", words(&["2026-01-02 10:00:00.1234567", "2026-01-02T10:00:00"]), &[0]),
            ("STRING", "TIMESTAMP(6)", words(&["2026-01-02 10:00:00Z", "2026-01-02 10:00:00.5"]), &[0]),
            ("STRING", "TIMESTAMP_LTZ(6)", words(&["2026-01-02 10:00:00", "2026-01-02T10:00:00Z"]), &[0]),
            ("STRING", "DOUBLE", words(&["1e400", "0.1", "0.12345678901234567890"]), &[0, 2]),
            ("STRING", "BYTES", words(&["1"]), &[]),
        ];
        for (from, to, column, expected) in cases {
            assert_eq!(unfit(from, to, column), expected, "{from} to {to}");
        }
    }

    #[test]
    fn values_that_narrower_columns_hold_are_the_same() {
        let one = |from, to, column| run(&[("c", from)], &[("c", to)], vec![column]).unwrap().column(0).clone();
        let decimal: ArrayRef = Arc::new(Decimal128Array::from(vec![12_300]).with_precision_and_scale(12, 4).unwrap());
        let out = one("DECIMAL(12, 4)", "DECIMAL(10, 2)", decimal);
        assert_eq!(out.as_primitive::<Decimal128Type>().value(0), 123);
        let out = one("DOUBLE", "FLOAT", Arc::new(Float64Array::from(vec![f64::NAN, 0.5])));
        assert!(out.as_primitive::<Float32Type>().value(0).is_nan());
        assert_eq!(out.slice(1, 1).as_ref(), &Float32Array::from(vec![0.5]));
        let out = one("INT", "BOOLEAN", Arc::new(Int32Array::from(vec![Some(1), Some(0), None])));
        assert_eq!(out.as_ref(), &BooleanArray::from(vec![Some(true), Some(false), None]));
    }

    #[test]
    fn instants_become_wall_clocks_of_the_zone() {
        let at = |text: &str| NaiveDateTime::parse_from_str(text, "%F %T").unwrap().and_utc().timestamp_micros();
        // Winter and summer.
        let instants = ["2026-01-01 23:00:00", "2026-07-01 22:00:00"].map(at);
        let instants = |plus| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(instants.map(|at| at + plus).to_vec()).with_timezone("UTC"))
        };
        let out = run(&[("t", "TIMESTAMP_LTZ(6)")], &[("t", "TIMESTAMP(6)")], vec![instants(1)]).unwrap();
        let clocks = ["2026-01-02 00:00:00", "2026-07-02 00:00:00"].map(at);
        let out = out.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec();
        assert_eq!(out, clocks.map(|clock| clock + 1));
        let out = run(&[("t", "TIMESTAMP_LTZ(6)")], &[("t", "DATE")], vec![instants(0)]).unwrap();
        let days = clocks.map(|clock| (clock / 86_400_000_000) as i32);
        assert_eq!(out.column(0).as_ref(), &Date32Array::from(days.to_vec()));
        assert_eq!(unfit("TIMESTAMP_LTZ(6)", "DATE", instants(1)), [0, 1]);
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1, 1_000]).with_timezone("UTC"));
        assert_eq!(unfit("TIMESTAMP_LTZ(9)", "TIMESTAMP(6)", nanos.clone()), [0]);
        assert_eq!(unfit("TIMESTAMP_LTZ(9)", "TIMESTAMP_LTZ(6)", nanos), [0]);
    }

    #[test]
    fn a_key_must_have_its_column() {
        let from = table(&[("a", "INT")]);
        let to = TableSchema { key: vec![0], ..(*table(&[("id", "INT"), ("a", "INT")])).clone() };
        let error = Plan::new(&from, &Arc::new(to), Tz::UTC).unwrap_err();
        assert_eq!(error.code(), Code::SchemaChange);
        assert!(Plan::new(&from, &from, Tz::UTC).unwrap().is_none());
    }
}
