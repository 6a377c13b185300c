//! Decimals from text and from the bytes of their whole number.

use arrow_buffer::i256;

/// Most digits of a decimal.
const MOST: usize = 76;

/// The whole number of a decimal text: `-1.50` with two digits after the point is -150. Exponents are followed. None if it is no
/// number, has more digits after the point than `scale`, or more digits at all than `precision`.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i256> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, exponent) = match rest.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() && fraction.is_empty() || !all.clone().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut number = [0_u8; MOST];
    let mut length = 0;
    // Digits that are kept: those before the point, shifted by the exponent and the scale.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    let mut place = 0;
    for digit in all {
        if place >= kept {
            if digit != b'0' {
                return None;
            }
        } else if length > 0 || digit != b'0' {
            *number.get_mut(length)? = digit;
            length += 1;
        }
        place += 1;
    }
    while length > 0 && place < kept {
        *number.get_mut(length)? = b'0';
        length += 1;
        place += 1;
    }
    if length > usize::from(precision) {
        return None;
    }
    let text = std::str::from_utf8(&number[..length]).ok()?;
    let value = if length == 0 { i256::ZERO } else { i256::from_string(text)? };
    Some(if negative { value.wrapping_neg() } else { value })
}

/// The whole number of big-endian bytes in two's complement. None if there are none, or too many.
pub(super) fn whole(bytes: &[u8]) -> Option<i256> {
    let first = *bytes.first()?;
    let fill = if first & 0x80 == 0 { 0x00 } else { 0xFF };
    let mut wide = [fill; 32];
    let start = 32_usize.checked_sub(bytes.len())?;
    wide[start..].copy_from_slice(bytes);
    Some(i256::from_be_bytes(wide))
}

/// Whether a whole number has at most so many digits.
pub(super) fn fits(value: i256, precision: u8) -> bool {
    let limit = i256::from_i128(10).checked_pow(u32::from(precision));
    limit.is_none_or(|limit| value < limit && value > limit.wrapping_neg())
}
