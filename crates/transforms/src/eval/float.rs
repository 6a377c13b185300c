//! Binary floating point as PostgreSQL computes, compares and prints it.

use super::{Args, Evaluated, Kernel, division_by_zero, out_of_range, primitive_rows, some};
use crate::operator::Binary;
use arrow_array::ArrowPrimitiveType;
use arrow_array::types::{Float32Type, Float64Type};
use dujiang_core::Error;
use std::fmt::Write;
use std::sync::Arc;

/// What both widths have.
pub(crate) trait Real: Copy + PartialOrd + PartialEq + std::fmt::LowerExp + 'static {
    const ZERO: Self;
    fn compute(op: Binary, a: Self, b: Self) -> Self;
    fn nan(self) -> bool;
    fn infinite(self) -> bool;
    fn canonical(self) -> Self;
}

macro_rules! real {
    ($type:ty) => {
        impl Real for $type {
            const ZERO: Self = 0.0;
            fn compute(op: Binary, a: Self, b: Self) -> Self {
                match op {
                    Binary::Add => a + b,
                    Binary::Subtract => a - b,
                    Binary::Multiply => a * b,
                    Binary::Divide => a / b,
                    _ => a % b,
                }
            }
            fn nan(self) -> bool {
                self.is_nan()
            }
            fn infinite(self) -> bool {
                self.is_infinite()
            }
            fn canonical(self) -> Self {
                if self.is_nan() { Self::NAN } else { self + 0.0 }
            }
        }
    };
}
real!(f32);
real!(f64);

/// `+ - * / %`: what cannot be represented is an error, not an infinity or a zero.
pub(crate) fn arithmetic(op: Binary, wide: bool) -> Kernel {
    Arc::new(move |args: &Args| if wide { rows::<Float64Type>(args, op) } else { rows::<Float32Type>(args, op) })
}

fn rows<T: ArrowPrimitiveType>(args: &Args, op: Binary) -> Evaluated
where
    T::Native: Real,
{
    let (left, right) = (args.numbers::<T>(0), args.numbers::<T>(1));
    primitive_rows::<T>(args.rows, T::DATA_TYPE, |row| {
        let (a, b) = (some!(left.get(row)), some!(right.get(row)));
        checked(op, a, b).map(Some)
    })
}

#[inline]
fn checked<R: Real>(op: Binary, a: R, b: R) -> Result<R, Error> {
    if matches!(op, Binary::Divide | Binary::Modulo) && b == R::ZERO && !a.nan() {
        return Err(division_by_zero());
    }
    let result = R::compute(op, a, b);
    let overflow = result.infinite() && !a.infinite() && !b.infinite();
    let underflow = result == R::ZERO
        && match op {
            Binary::Multiply => a != R::ZERO && b != R::ZERO,
            Binary::Divide => a != R::ZERO && !b.infinite(),
            _ => false,
        };
    if overflow || underflow {
        return Err(out_of_range("the result of a floating-point operation"));
    }
    Ok(result)
}

/// One NaN and one zero, so that values can be compared by their bits: NaN equals NaN and is greater than all else, -0
/// equals 0.
pub(crate) fn canonical(wide: bool) -> Kernel {
    fn rows<T: ArrowPrimitiveType>(args: &Args) -> Evaluated
    where
        T::Native: Real,
    {
        let (array, _) = args.raw(0);
        let array: &arrow_array::PrimitiveArray<T> = arrow_array::cast::AsArray::as_primitive(array.as_ref());
        if array.len() == args.rows {
            return Ok(Arc::new(array.unary::<_, T>(Real::canonical)));
        }
        let values = args.numbers::<T>(0);
        primitive_rows::<T>(args.rows, T::DATA_TYPE, |row| Ok(values.get(row).map(Real::canonical)))
    }
    Arc::new(move |args: &Args| if wide { rows::<Float64Type>(args) } else { rows::<Float32Type>(args) })
}

/// The shortest digits that read back as the same value, laid out as PostgreSQL does: an exponent below 1e-4 and from
/// 1e15 (`FLOAT`: 1e6) on.
pub(crate) fn print<R: Real>(value: R, most_digits: i32, out: &mut String) {
    if value.nan() {
        out.push_str("NaN");
        return;
    }
    if value.infinite() {
        out.push_str(if value > R::ZERO { "Infinity" } else { "-Infinity" });
        return;
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("invariant: this is how exponents are printed");
    let exponent: i32 = exponent.parse().expect("invariant: an exponent is a number");
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    out.push_str(sign);
    if exponent < -4 || exponent >= most_digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.abs()).expect("invariant: a string takes any text");
        return;
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(&digits);
    } else if digits.len() <= exponent as usize + 1 {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', exponent as usize + 1 - digits.len()));
    } else {
        out.push_str(&digits[..exponent as usize + 1]);
        out.push('.');
        out.push_str(&digits[exponent as usize + 1..]);
    }
}
