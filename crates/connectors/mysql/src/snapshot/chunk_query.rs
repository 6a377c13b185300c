//! The SELECT of one chunk.

use crate::client::{AS_OF, quote};
use crate::shape::Shape;
use dujiang_core::Result;

/// The query for the rows after a key (or from the table's begin), in key order. Parameters: the key's values as often as
/// [`parameters`] says, then the limit. With a number, the rows are those of that snapshot (OceanBase).
///
/// A composite key is compared in the expanded form, with its first column in front, so that the index is used:
/// `k1 >= ? AND (k1 > ? OR (k1 = ? AND k2 > ?))`.
///
/// # Errors
/// `BadValue` for a name that cannot be quoted.
pub fn chunk_query(shape: &Shape, from_begin: bool, as_of: Option<u64>) -> Result<String> {
    let columns: Vec<String> = shape.columns.iter().map(|c| quote::identifier(&c.name)).collect::<Result<_>>()?;
    let keys: Vec<&str> = shape.key.iter().map(|&at| columns[at].as_str()).collect();
    let filter = if from_begin { String::new() } else { format!(" WHERE {}", after(&keys)) };
    let as_of = as_of.map(|number| format!("{AS_OF}{number}")).unwrap_or_default();
    let table = quote::table(&shape.id())? + &as_of;
    let read: Vec<String> =
        shape.columns.iter().zip(&columns).map(|(c, quoted)| read_expression(quoted, &c.column_type)).collect();
    Ok(format!("SELECT {} FROM {table}{filter} ORDER BY {} LIMIT ?", read.join(", "), keys.join(", ")))
}

/// How a column is asked for: as it is, and labels as UTF-8, since the catalog has them so. It has no name of its own: ORDER BY
/// must mean the column.
pub fn read_expression(quoted: &str, column_type: &str) -> String {
    let is = |name: &str| column_type.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    if is("enum(") || is("set(") { format!("CONVERT({quoted} USING utf8mb4)") } else { quoted.to_owned() }
}

fn after(keys: &[&str]) -> String {
    if let [key] = keys {
        return format!("{key} > ?");
    }
    let alternatives = (0..keys.len()).map(|n| {
        let equal = keys[..n].iter().map(|k| format!("{k} = ? AND "));
        format!("({}{} > ?)", equal.collect::<String>(), keys[n])
    });
    format!("{} >= ? AND ({})", keys[0], alternatives.collect::<Vec<_>>().join(" OR "))
}

/// Which of the key's values each parameter of the filter is.
pub fn parameters(key_columns: usize) -> Vec<usize> {
    match key_columns {
        1 => vec![0],
        n => std::iter::once(0).chain((0..n).flat_map(|last| 0..=last)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composite_keys_are_compared_column_by_column() {
        assert_eq!(after(&["a"]), "a > ?");
        assert_eq!(after(&["a", "b", "c"]), "a >= ? AND ((a > ?) OR (a = ? AND b > ?) OR (a = ? AND b = ? AND c > ?))");
        assert_eq!(parameters(1), [0]);
        assert_eq!(parameters(3), [0, 0, 0, 1, 0, 1, 2]);
    }
}
