//! ENUM and SET: from index and bits to labels.

use super::value::BadValue;

fn uint(cell: &[u8]) -> Result<u64, BadValue> {
    if cell.len() > 8 {
        return Err(BadValue::corrupt("an ENUM or SET"));
    }
    Ok(cell.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

/// Appends the label of an index; 0 is the empty string that stands for an invalid value.
pub(super) fn append_enum(cell: &[u8], labels: &[Box<str>], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let index = uint(cell)?;
    if index == 0 {
        return Ok(());
    }
    let label = usize::try_from(index - 1).ok().and_then(|i| labels.get(i));
    let label =
        label.ok_or_else(|| BadValue::unrepresentable(format!("index {index}"), "the ENUM has no such label"))?;
    out.extend_from_slice(label.as_bytes());
    Ok(())
}

/// Appends the labels of all set bits, separated by commas, in the order of their declaration.
pub(super) fn append_set(cell: &[u8], labels: &[Box<str>], out: &mut Vec<u8>) -> Result<(), BadValue> {
    let bits = uint(cell)?;
    if labels.len() < 64 && bits >> labels.len() != 0 {
        return Err(BadValue::unrepresentable(format!("bits {bits:#b}"), "the SET has no such labels"));
    }
    let mut first = true;
    for (bit, label) in labels.iter().enumerate() {
        if bits >> bit & 1 != 0 {
            if !first {
                out.push(b',');
            }
            out.extend_from_slice(label.as_bytes());
            first = false;
        }
    }
    Ok(())
}

/// The index of a label; the empty text is index 0.
pub(super) fn enum_index(text: &str, labels: &[Box<str>]) -> Option<u64> {
    if text.is_empty() {
        return Some(0);
    }
    labels.iter().position(|label| **label == *text).map(|at| at as u64 + 1)
}

/// The bits of a comma-separated list of labels.
pub(super) fn set_bits(text: &str, labels: &[Box<str>]) -> Option<u64> {
    let wanted = text.split(',').filter(|label| !label.is_empty());
    wanted.map(|wanted| labels.iter().position(|label| **label == *wanted).map(|bit| 1 << bit)).sum()
}
