//! The shape of a table whose messages do not tell it: `id BIGINT NOT NULL, name STRING, PRIMARY KEY (id)`.

use arrow_schema::Field;
use dujiang_core::dialect::parse_field;

/// Columns and the places of the key's, which cannot be NULL.
///
/// # Errors
/// What is wrong with it.
pub fn read_shape(text: &str) -> Result<(Vec<Field>, Vec<usize>), String> {
    let (mut fields, mut key): (Vec<Field>, Option<Vec<&str>>) = (Vec::new(), None);
    for part in parts(text) {
        let part = part.trim();
        if part.to_ascii_uppercase().starts_with("PRIMARY KEY") {
            let columns = part.split_once('(').and_then(|(_, rest)| rest.trim_end().strip_suffix(')'));
            let columns = columns.ok_or("PRIMARY KEY names no columns in parentheses")?;
            key = Some(columns.split(',').map(str::trim).collect());
            continue;
        }
        let (name, declared) = part.split_once(char::is_whitespace).ok_or(format!("`{part}` has no type"))?;
        let name = name.trim_matches('`');
        if fields.iter().any(|field| field.name() == name) {
            return Err(format!("the column `{name}` stands in it twice"));
        }
        fields.push(parse_field(name, declared)?);
    }
    if fields.is_empty() {
        return Err("it names no columns".into());
    }
    let place = |name: &&str| {
        let wanted = name.trim_matches('`');
        let found = fields.iter().position(|field| field.name() == wanted);
        found.ok_or_else(|| format!("the key's column `{wanted}` is none of the columns"))
    };
    let key: Vec<usize> = key.unwrap_or_default().iter().map(place).collect::<Result<_, _>>()?;
    for &index in &key {
        fields[index] = fields[index].clone().with_nullable(false);
    }
    Ok((fields, key))
}

/// Split at the commas that stand in no parentheses or angle brackets.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read() {
        let (fields, key) = read_shape("id BIGINT, price DECIMAL(10, 2), `odd` ARRAY<INT>, PRIMARY KEY (id)").unwrap();
        assert_eq!((fields.len(), key), (3, vec![0]));
        assert!(!fields[0].is_nullable() && fields[1].is_nullable());
        for wrong in ["", "id", "id BIGINT, id INT", "id NOSUCH", "id BIGINT, PRIMARY KEY (x)", "PRIMARY KEY id"] {
            assert!(read_shape(wrong).is_err(), "{wrong}");
        }
    }
}
