//! Exact numbers: integers and decimals of up to 38 digits. Every result is exact, or rounded half away from zero where
//! its scale is fixed, or an error.

use super::{Args, Kernel, division_by_zero, out_of_range, primitive_rows, some};
use crate::operator::Binary;
use arrow_array::ArrowPrimitiveType;
use arrow_array::types::{Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use arrow_buffer::{ArrowNativeType, i256};
use arrow_schema::DataType;
use dujiang_core::Error;
use std::sync::Arc;

/// 10 to the power of `exponent`, up to 76.
pub(crate) fn power(exponent: u32) -> i256 {
    i256::from_i128(10).wrapping_pow(exponent)
}

/// 10 to the power of `exponent`, up to 38.
pub(crate) fn power128(exponent: u32) -> i128 {
    10_i128.pow(exponent)
}

/// Moves a number to another scale, half away from zero.
pub(crate) fn rescale(value: i256, from: i8, to: i8) -> Option<i256> {
    if to >= from {
        return value.checked_mul(power((to - from) as u32));
    }
    let digits = (from - to) as u32;
    if digits > 76 {
        return Some(i256::ZERO);
    }
    Some(divide_rounded(value, power(digits)))
}

fn divide_rounded(value: i256, divisor: i256) -> i256 {
    let quotient = value.wrapping_div(divisor);
    let rest = value.wrapping_rem(divisor);
    // rest * 2 cannot overflow: |rest| < |divisor| <= 10^76 < 2^253.
    let twice = rest.wrapping_abs().wrapping_mul(i256::from_i128(2));
    if twice < divisor.wrapping_abs() {
        return quotient;
    }
    let up = (value < i256::ZERO) == (divisor < i256::ZERO);
    if up { quotient.wrapping_add(i256::ONE) } else { quotient.wrapping_sub(i256::ONE) }
}

/// Whether a number has no more than `precision` digits (at most 38).
pub(crate) fn fits(value: i256, precision: u8) -> Option<i128> {
    let value = value.to_i128()?;
    (value.unsigned_abs() < power128(u32::from(precision)).unsigned_abs()).then_some(value)
}

pub(crate) fn too_wide(precision: u8, scale: i8) -> Error {
    out_of_range(&format!("a value for DECIMAL({precision}, {scale})"))
}

/// `+ - * / %` on decimals; `out` is the type of the result.
pub(crate) fn decimal_arithmetic(op: Binary, scales: (i8, i8), out: (u8, i8)) -> Kernel {
    Arc::new(move |args: &Args| {
        let (left, right) = (args.numbers::<Decimal128Type>(0), args.numbers::<Decimal128Type>(1));
        primitive_rows::<Decimal128Type>(args.rows, DataType::Decimal128(out.0, out.1), |row| {
            let (a, b) = (some!(left.get(row)), some!(right.get(row)));
            if let Some(quick) = small(op, a, b, scales, out) {
                return Ok(Some(quick));
            }
            let result = exact(op, a, b, scales, out.1)?;
            fits(result, out.0).map(Some).ok_or_else(|| too_wide(out.0, out.1))
        })
    })
}

/// The cases that need no more than 128 bits.
#[inline]
fn small(op: Binary, a: i128, b: i128, (sa, sb): (i8, i8), (precision, scale): (u8, i8)) -> Option<i128> {
    let result = match op {
        Binary::Add | Binary::Subtract => {
            let a = a.checked_mul(power128((scale - sa) as u32))?;
            let b = b.checked_mul(power128((scale - sb) as u32))?;
            if op == Binary::Add { a.checked_add(b)? } else { a.checked_sub(b)? }
        }
        Binary::Multiply => a.checked_mul(b)?,
        _ => return None,
    };
    (result.unsigned_abs() < power128(u32::from(precision)).unsigned_abs()).then_some(result)
}

fn exact(op: Binary, a: i128, b: i128, (sa, sb): (i8, i8), scale: i8) -> Result<i256, Error> {
    let (wide_a, wide_b) = (i256::from_i128(a), i256::from_i128(b));
    if matches!(op, Binary::Divide | Binary::Modulo) && b == 0 {
        return Err(division_by_zero());
    }
    let aligned = |value: i256, from: i8, to: i8| value.wrapping_mul(power((to - from) as u32));
    let most = sa.max(sb);
    // Operands have 38 digits and scales up to 38: nothing below needs more than 76 digits.
    Ok(match op {
        Binary::Add => aligned(wide_a, sa, scale).wrapping_add(aligned(wide_b, sb, scale)),
        Binary::Subtract => aligned(wide_a, sa, scale).wrapping_sub(aligned(wide_b, sb, scale)),
        Binary::Multiply => wide_a.wrapping_mul(wide_b),
        Binary::Divide => {
            let shift = i32::from(scale) + i32::from(sb) - i32::from(sa);
            if shift >= 0 {
                let shifted = wide_a.checked_mul(power(shift as u32)).ok_or_else(|| too_wide(38, scale))?;
                divide_rounded(shifted, wide_b)
            } else {
                divide_rounded(wide_a, wide_b.wrapping_mul(power(-shift as u32)))
            }
        }
        _ => {
            let rest = aligned(wide_a, sa, most).wrapping_rem(aligned(wide_b, sb, most));
            rescale(rest, most, scale).expect("invariant: a rest has the larger scale")
        }
    })
}

/// `%` on integers of 2, 4 or 8 bytes. The smallest integer modulo -1 is 0.
pub(crate) fn integer_rest(width: u8) -> Kernel {
    macro_rules! rest {
        ($type:ty) => {
            Arc::new(|args: &Args| {
                let (left, right) = (args.numbers::<$type>(0), args.numbers::<$type>(1));
                primitive_rows::<$type>(args.rows, <$type>::DATA_TYPE, |row| {
                    let (a, b) = (some!(left.get(row)), some!(right.get(row)));
                    if b == 0 { Err(division_by_zero()) } else { Ok(Some(a.wrapping_rem(b))) }
                })
            })
        };
    }
    match width {
        2 => rest!(Int16Type),
        4 => rest!(Int32Type),
        _ => rest!(Int64Type),
    }
}

/// What a function of one number does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unary {
    Negate,
    Abs,
    Ceil,
    Floor,
}

/// Negation and absolute value of an integer.
pub(crate) fn integer_unary<T: ArrowPrimitiveType>(op: Unary) -> Kernel
where
    T::Native: ArrowNativeType + num_like::Checked,
{
    use num_like::Checked;
    Arc::new(move |args: &Args| {
        let values = args.numbers::<T>(0);
        primitive_rows::<T>(args.rows, T::DATA_TYPE, |row| {
            let value = some!(values.get(row));
            let result = match op {
                Unary::Negate => value.negated(),
                Unary::Abs => value.absolute(),
                Unary::Ceil | Unary::Floor => Some(value),
            };
            result.map(Some).ok_or_else(|| out_of_range("the result of an integer operation"))
        })
    })
}

/// Checked operations of the integer types.
pub(crate) mod num_like {
    /// `None` for an overflow.
    pub(crate) trait Checked: Sized {
        fn negated(self) -> Option<Self>;
        fn absolute(self) -> Option<Self>;
    }
    macro_rules! checked {
        ($($type:ty)+) => { $(impl Checked for $type {
            fn negated(self) -> Option<Self> { self.checked_neg() }
            fn absolute(self) -> Option<Self> { self.checked_abs() }
        })+ };
    }
    checked!(i8 i16 i32 i64);
}

/// Negation, absolute value, ceiling and floor of a decimal; the last two give a whole number.
pub(crate) fn decimal_unary(op: Unary, scale: i8, out: (u8, i8)) -> Kernel {
    let unit = power128(scale as u32);
    Arc::new(move |args: &Args| {
        let values = args.numbers::<Decimal128Type>(0);
        primitive_rows::<Decimal128Type>(args.rows, DataType::Decimal128(out.0, out.1), |row| {
            let value = some!(values.get(row));
            Ok(Some(match op {
                Unary::Negate => -value,
                Unary::Abs => value.abs(),
                Unary::Floor => value.div_euclid(unit),
                Unary::Ceil => -(-value).div_euclid(unit),
            }))
        })
    })
}

/// Negation, absolute value, ceiling and floor of a float.
pub(crate) fn float_unary(op: Unary, wide: bool) -> Kernel {
    macro_rules! apply {
        ($type:ty, $args:expr) => {{
            let values = $args.numbers::<$type>(0);
            primitive_rows::<$type>($args.rows, <$type>::DATA_TYPE, |row| {
                let value = some!(values.get(row));
                Ok(Some(match op {
                    Unary::Negate => -value,
                    Unary::Abs => value.abs(),
                    Unary::Ceil => value.ceil(),
                    Unary::Floor => value.floor(),
                }))
            })
        }};
    }
    Arc::new(move |args: &Args| if wide { apply!(Float64Type, args) } else { apply!(Float32Type, args) })
}

/// ROUND(decimal, digits): `digits` is argument 1; the result's scale is fixed.
pub(crate) fn decimal_round(scale: i8, out: (u8, i8)) -> Kernel {
    Arc::new(move |args: &Args| {
        let (values, digits) = (args.numbers::<Decimal128Type>(0), args.longs(1));
        primitive_rows::<Decimal128Type>(args.rows, DataType::Decimal128(out.0, out.1), |row| {
            let (value, digits) = (some!(values.get(row)), some!(digits.get(row)));
            let digits = digits.clamp(-76, i64::from(scale)) as i8;
            let rounded = rescale(i256::from_i128(value), scale, digits)
                .and_then(|v| rescale(v, digits, out.1))
                .ok_or_else(|| too_wide(out.0, out.1))?;
            fits(rounded, out.0).map(Some).ok_or_else(|| too_wide(out.0, out.1))
        })
    })
}

/// ROUND(double) to the nearest even, as PostgreSQL; ROUND(double, digits) on the digits that are printed, half away
/// from zero.
pub(crate) fn double_round() -> Kernel {
    Arc::new(|args: &Args| {
        let values = args.numbers::<Float64Type>(0);
        let digits = (args.len() > 1).then(|| args.longs(1));
        primitive_rows::<Float64Type>(args.rows, DataType::Float64, |row| {
            let value = some!(values.get(row));
            let Some(digits) = &digits else { return Ok(Some(value.round_ties_even())) };
            Ok(Some(round_printed(value, some!(digits.get(row)))))
        })
    })
}

fn round_printed(value: f64, digits: i64) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("invariant: this is how exponents are printed");
    let exponent: i64 = exponent.parse().expect("invariant: an exponent is a number");
    let mut number: i128 = mantissa.replace('.', "").parse().expect("invariant: at most 17 digits");
    let printed = mantissa.trim_start_matches('-').replace('.', "").len() as i64;
    // value = number * 10^scale
    let scale = exponent - (printed - 1);
    let drop = -digits.clamp(-400, 400) - scale;
    if drop <= 0 {
        return value;
    }
    if drop > 30 {
        return 0.0_f64.copysign(value);
    }
    let unit = power128(drop as u32);
    let half = unit / 2;
    number = (number + if number < 0 { -half } else { half }) / unit;
    format!("{number}e{}", scale + drop).parse().unwrap_or(value)
}
