//! MySQL's binary DECIMAL, and its text.
//!
//! Nine digits in four bytes, big-endian, beginning at the point; what is left at either end takes as few bytes as it
//! needs. The first bit is the sign, inverted; a negative value has all bits inverted (`decimal2bin`).

use arrow_buffer::i256;

const DIGITS_TO_BYTES: [u8; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const POW10: [u64; 20] = {
    let mut table = [1; 20];
    let mut i = 1;
    while i < 20 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// The digit groups of one DECIMAL type.
#[derive(Debug, Clone)]
pub(super) struct DecimalPlan {
    /// (bytes, digits) from left to right.
    groups: Vec<(u8, u8)>,
    bytes: usize,
    short: Option<Short>,
}

/// For values of up to 18 digits in up to 8 bytes: three groups cut out of one word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Short {
    bytes: u32,
    sign: u64,
    mask: u64,
    groups: [Group; 3],
    limit: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Group {
    shift: u32,
    mask: u64,
    factor: u64,
}

impl DecimalPlan {
    pub fn new(precision: u8, scale: u8) -> Self {
        let whole = precision - scale;
        let mut groups = vec![whole % 9];
        groups.extend(std::iter::repeat_n(9, usize::from(whole / 9 + scale / 9)));
        groups.push(scale % 9);
        let groups: Vec<_> =
            groups.iter().filter(|d| **d > 0).map(|d| (DIGITS_TO_BYTES[usize::from(*d)], *d)).collect();
        let bytes = groups.iter().map(|(b, _)| usize::from(*b)).sum();
        let short = (bytes <= 8 && precision <= 18 && groups.len() <= 3).then(|| Short::new(&groups, bytes, precision));
        Self { groups, bytes, short }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn short(&self) -> Option<Short> {
        self.short
    }

    /// Absolute value in (up to 38 digits) and sign of the cell at the front of `cell`; `None` when it is no decimal.
    pub fn decode128(&self, cell: &[u8]) -> Option<i128> {
        let mut sum = 0u128;
        let negative = self.each_group(cell, |digits, group| {
            sum = sum.wrapping_mul(POW10[usize::from(digits)].into()).wrapping_add(group.into());
        })?;
        let value = i128::try_from(sum).ok()?;
        Some(if negative { -value } else { value })
    }

    /// As [`DecimalPlan::decode128`] for up to 76 digits.
    pub fn decode256(&self, cell: &[u8]) -> Option<i256> {
        let mut sum = i256::ZERO;
        let negative = self.each_group(cell, |digits, group| {
            let factor = i256::from_i128(POW10[usize::from(digits)].into());
            sum = sum.wrapping_mul(factor).wrapping_add(i256::from_i128(group.into()));
        })?;
        Some(if negative { sum.wrapping_neg() } else { sum })
    }

    /// Calls `take` with (digits, value) of every group; returns whether the value is negative.
    fn each_group(&self, cell: &[u8], mut take: impl FnMut(u8, u32)) -> Option<bool> {
        let mut rest = cell.get(..self.bytes)?;
        let negative = *rest.first()? & 0x80 == 0;
        let invert = if negative { 0xff } else { 0 };
        let mut first = 0x80;
        for (bytes, digits) in &self.groups {
            let (group, tail) = rest.split_at_checked((*bytes).into())?;
            rest = tail;
            let mut value = 0u32;
            for byte in group {
                value = value << 8 | u32::from(*byte ^ invert ^ first);
                first = 0;
            }
            if u64::from(value) >= POW10[usize::from(*digits)] {
                return None;
            }
            take(*digits, value);
        }
        Some(negative)
    }
}

impl Short {
    fn new(groups: &[(u8, u8)], bytes: usize, precision: u8) -> Self {
        let mut out = [Group::default(); 3];
        let (mut shift, mut factor) = (0u32, 1u64);
        for (slot, (width, digits)) in out.iter_mut().zip(groups.iter().rev()) {
            *slot = Group { shift, mask: (1 << (8 * u32::from(*width))) - 1, factor };
            shift += 8 * u32::from(*width);
            factor *= POW10[usize::from(*digits)];
        }
        let mask = u64::MAX >> (64 - 8 * bytes);
        Self {
            bytes: bytes as u32,
            sign: 1 << (8 * bytes - 1),
            mask,
            groups: out,
            limit: POW10[usize::from(precision)],
        }
    }

    /// Decodes the cell at the front of `word`, 8 bytes read big-endian.
    #[inline]
    pub fn decode(&self, word: u64) -> Option<i64> {
        let raw = word >> (64 - 8 * self.bytes);
        let positive = raw & self.sign != 0;
        let bits = (raw ^ self.sign) ^ if positive { 0 } else { self.mask };
        let part = |g: &Group| ((bits >> g.shift) & g.mask).wrapping_mul(g.factor);
        let value = part(&self.groups[0]).wrapping_add(part(&self.groups[1])).wrapping_add(part(&self.groups[2]));
        if value >= self.limit {
            return None;
        }
        let value = value.cast_signed();
        Some(if positive { value } else { -value })
    }
}

/// A decimal text with exactly `scale` digits after the point, as result rows carry it, in units of its last digit.
pub(super) fn parse128(text: &[u8], scale: u8) -> Option<i128> {
    let mut sum = 0i128;
    let negative = each_digit(text, scale, |digit| {
        sum = sum.checked_mul(10)?.checked_add(digit.into())?;
        Some(())
    })?;
    Some(if negative { -sum } else { sum })
}

/// As [`parse128`], wider.
pub(super) fn parse256(text: &[u8], scale: u8) -> Option<i256> {
    let (ten, mut sum) = (i256::from_i128(10), i256::ZERO);
    let negative = each_digit(text, scale, |digit| {
        sum = sum.checked_mul(ten)?.checked_add(i256::from_i128(digit.into()))?;
        Some(())
    })?;
    Some(if negative { sum.wrapping_neg() } else { sum })
}

fn each_digit(text: &[u8], scale: u8, mut take: impl FnMut(u8) -> Option<()>) -> Option<bool> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let scale = usize::from(scale);
    let (whole, fraction) = if scale == 0 {
        (digits, &[][..])
    } else {
        let point = digits.len().checked_sub(scale + 1).filter(|p| digits[*p] == b'.')?;
        (&digits[..point], &digits[point + 1..])
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    for byte in whole.iter().chain(fraction) {
        if !byte.is_ascii_digit() {
            return None;
        }
        take(byte - b'0')?;
    }
    Some(negative)
}
