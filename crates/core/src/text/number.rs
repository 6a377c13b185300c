//! Numbers and bytes as text.

use arrow_buffer::i256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn write_f32(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        write_not_finite(value.is_nan(), value > 0.0, out);
    }
}

pub(super) fn write_f64(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        write_not_finite(value.is_nan(), value > 0.0, out);
    }
}

fn write_not_finite(nan: bool, positive: bool, out: &mut Vec<u8>) {
    let text: &[u8] = match (nan, positive) {
        (true, _) => b"NaN",
        (false, true) => b"Infinity",
        (false, false) => b"-Infinity",
    };
    out.extend_from_slice(text);
}

pub(super) fn write_decimal128(value: i128, scale: i8, out: &mut Vec<u8>) {
    write_scaled(itoa::Buffer::new().format(value).as_bytes(), scale, out);
}

pub(super) fn write_decimal256(value: i256, scale: i8, out: &mut Vec<u8>) {
    match value.to_i128() {
        Some(small) => write_decimal128(small, scale, out),
        None => write_scaled(value.to_string().as_bytes(), scale, out),
    }
}

/// Sets the point into a whole number: `-5` with scale 3 is `-0.005`, with scale -2 it is `-500`.
fn write_scaled(integer: &[u8], scale: i8, out: &mut Vec<u8>) {
    let digits = match integer {
        [b'-', digits @ ..] => {
            out.push(b'-');
            digits
        }
        digits => digits,
    };
    if scale <= 0 {
        out.extend_from_slice(digits);
        let zeros = if digits == b"0" { 0 } else { usize::from(scale.unsigned_abs()) };
        out.resize(out.len() + zeros, b'0');
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    let whole = digits.len().saturating_sub(scale);
    if whole == 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + scale - digits.len(), b'0');
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
    }
    out.extend_from_slice(&digits[whole..]);
}

/// Appends bytes as base64 (RFC 4648 §4, padded).
pub fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("invariant: base64 needs four bytes for three");
}
