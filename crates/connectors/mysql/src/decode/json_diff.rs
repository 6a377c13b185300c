//! Partial updates of MySQL's binary JSON (`binlog_row_value_options=PARTIAL_JSON`): differences applied to a document.
//!
//! A difference is an operation (0 replace, 1 insert, 2 remove), the path as length-encoded text, and, unless it removes, the
//! value as a length-encoded binary document (`json_diff.h` and `Json_diff_vector::read_binary` of the server).

use super::cursor::Cursor;
use super::jsonb::{Container, INT16, INT32, INT64, LITERAL, MAX_DEPTH, OPAQUE, STRING, UINT16, UINT32, UINT64};
use super::jsonb::{DOUBLE, LARGE_ARRAY, LARGE_OBJECT, SMALL_OBJECT, counted_length};
use std::borrow::Cow;

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

/// The literal `null`, which an empty document stands for.
const NULL_LITERAL: &[u8] = &[0];

/// A document taken apart as far as differences go into it.
enum Node<'a> {
    /// Keys in the server's order: by length, then by bytes.
    Object(Vec<(Cow<'a, [u8]>, Node<'a>)>),
    Array(Vec<Node<'a>>),
    /// Type and bytes of anything else.
    Scalar(u8, &'a [u8]),
}

enum Leg {
    Member(Vec<u8>),
    Cell(usize),
    /// Counted from the last cell, which is 0.
    CellFromEnd(usize),
}

impl Leg {
    /// The cell in an array of so many; behind the last one for an index beyond the end, the first for one before the begin.
    fn cell(&self, cells: usize) -> Option<usize> {
        match self {
            Leg::Member(_) => None,
            Leg::Cell(index) => Some(*index),
            Leg::CellFromEnd(index) => Some(cells.saturating_sub(index + 1)),
        }
    }
}

/// Appends the document that `differences` make of `document`; `None` when they do not fit it.
pub(super) fn apply(document: &[u8], differences: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut root = parse(document)?;
    let mut c = Cursor::new(differences, "");
    while !c.is_empty() {
        let operation = c.u8().ok()?;
        let path = legs(std::str::from_utf8(c.lenenc_bytes().ok()?).ok()?)?;
        let value = match operation {
            REMOVE => None,
            REPLACE | INSERT => Some(parse(c.lenenc_bytes().ok()?)?),
            _ => return None,
        };
        change(&mut root, operation, &path, value)?;
    }
    let (kind, bytes) = encode(&root, 0)?;
    out.push(kind);
    out.extend_from_slice(&bytes);
    Some(())
}

fn parse(document: &[u8]) -> Option<Node<'_>> {
    match document.split_first() {
        None => Some(Node::Scalar(LITERAL, NULL_LITERAL)),
        Some((kind, value)) => node(*kind, value, 0),
    }
}

fn node(kind: u8, bytes: &[u8], depth: usize) -> Option<Node<'_>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let length = match kind {
        SMALL_OBJECT..=LARGE_ARRAY => {
            let container = Container::parse(kind, bytes)?;
            let value = |index| {
                let (kind, bytes) = container.value(index)?;
                node(kind, bytes, depth + 1)
            };
            if container.is_object {
                let member = |index| Some((Cow::Borrowed(container.key(index)?), value(index)?));
                return Some(Node::Object((0..container.count).map(member).collect::<Option<_>>()?));
            }
            return Some(Node::Array((0..container.count).map(value).collect::<Option<_>>()?));
        }
        LITERAL => 1,
        INT16 | UINT16 => 2,
        INT32 | UINT32 => 4,
        INT64 | UINT64 | DOUBLE => 8,
        STRING => counted_length(bytes)?,
        OPAQUE => 1 + counted_length(bytes.get(1..)?)?,
        _ => return None,
    };
    Some(Node::Scalar(kind, bytes.get(..length)?))
}

/// `$.name`, `$."quoted name"`, `$[3]`, and what follows them.
fn legs(path: &str) -> Option<Vec<Leg>> {
    let mut rest = path.trim().strip_prefix('$')?;
    let mut legs = Vec::new();
    while !rest.is_empty() {
        if let Some(cell) = rest.strip_prefix('[') {
            let (index, after) = cell.split_once(']')?;
            legs.push(cell_leg(index.trim())?);
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('.')?;
        let end = match name.strip_prefix('"') {
            Some(quoted) => quoted_end(quoted)? + 2,
            None => name.find(['.', '[']).unwrap_or(name.len()),
        };
        let (name, after) = name.split_at_checked(end)?;
        let name = if name.starts_with('"') { serde_json::from_str(name).ok()? } else { name.to_owned() };
        legs.push(Leg::Member(name.into_bytes()));
        rest = after;
    }
    Some(legs)
}

/// `3`, `last`, `last-3`.
fn cell_leg(text: &str) -> Option<Leg> {
    let Some(from_end) = text.strip_prefix("last") else { return text.parse().ok().map(Leg::Cell) };
    match from_end.trim_start().strip_prefix('-') {
        Some(index) => index.trim().parse().ok().map(Leg::CellFromEnd),
        None => from_end.is_empty().then_some(Leg::CellFromEnd(0)),
    }
}

/// Where the closing quote is.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn change<'a>(root: &mut Node<'a>, operation: u8, path: &[Leg], value: Option<Node<'a>>) -> Option<()> {
    let Some((last, way)) = path.split_last() else {
        *root = value.filter(|_| operation == REPLACE)?;
        return Some(());
    };
    let mut at = root;
    for leg in way {
        at = child(at, leg)?;
    }
    if operation == REPLACE {
        *child(at, last)? = value?;
        return Some(());
    }
    match (at, last) {
        (Node::Object(members), Leg::Member(name)) => {
            let order = |key: &[u8]| (key.len(), key.to_vec());
            let found = members.binary_search_by(|(key, _)| order(key).cmp(&order(name)));
            match (operation, found) {
                (INSERT, Err(place)) => members.insert(place, (Cow::Owned(name.clone()), value?)),
                (REMOVE, Ok(place)) => drop(members.remove(place)),
                _ => return None,
            }
        }
        (Node::Array(cells), leg) => {
            let index = leg.cell(cells.len())?;
            match operation {
                INSERT => cells.insert(index.min(cells.len()), value?),
                _ if index < cells.len() => drop(cells.remove(index)),
                _ => return None,
            }
        }
        _ => return None,
    }
    Some(())
}

fn child<'n, 'a>(node: &'n mut Node<'a>, leg: &Leg) -> Option<&'n mut Node<'a>> {
    match (node, leg) {
        (Node::Object(members), Leg::Member(name)) => {
            members.iter_mut().find(|(key, _)| **key == **name).map(|(_, node)| node)
        }
        (Node::Array(cells), leg) => {
            let index = leg.cell(cells.len())?;
            cells.get_mut(index)
        }
        // A path sees anything else as an array of one.
        (node, Leg::Cell(0) | Leg::CellFromEnd(0)) => Some(node),
        _ => None,
    }
}

/// Type and bytes; containers in their large layout, whose offsets and inlined values have four bytes.
fn encode(node: &Node<'_>, depth: usize) -> Option<(u8, Vec<u8>)> {
    if depth > MAX_DEPTH {
        return None;
    }
    let values: Vec<&Node<'_>> = match node {
        Node::Scalar(kind, bytes) => return Some((*kind, bytes.to_vec())),
        Node::Object(members) => members.iter().map(|(_, node)| node).collect(),
        Node::Array(cells) => cells.iter().collect(),
    };
    let keys: Vec<&[u8]> = match node {
        Node::Object(members) => members.iter().map(|(key, _)| &**key).collect(),
        _ => Vec::new(),
    };
    let head = 8 + keys.len() * 6 + values.len() * 5;
    let mut out = vec![0; head];
    let word = |n: usize| u32::try_from(n).ok().map(u32::to_le_bytes);
    out[..4].copy_from_slice(&word(values.len())?);
    for (index, key) in keys.iter().enumerate() {
        let entry = 8 + index * 6;
        let begin = word(out.len())?;
        out[entry..entry + 4].copy_from_slice(&begin);
        out[entry + 4..entry + 6].copy_from_slice(&u16::try_from(key.len()).ok()?.to_le_bytes());
        out.extend_from_slice(key);
    }
    for (index, value) in values.into_iter().enumerate() {
        let entry = 8 + keys.len() * 6 + index * 5;
        let (kind, bytes) = encode(value, depth + 1)?;
        out[entry] = kind;
        if matches!(kind, LITERAL | INT16 | UINT16 | INT32 | UINT32) {
            out[entry + 1..entry + 1 + bytes.len()].copy_from_slice(&bytes);
        } else {
            let begin = word(out.len())?;
            out[entry + 1..entry + 5].copy_from_slice(&begin);
            out.extend_from_slice(&bytes);
        }
    }
    let size = word(out.len())?;
    out[4..8].copy_from_slice(&size);
    Some((if matches!(node, Node::Object(_)) { LARGE_OBJECT } else { LARGE_ARRAY }, out))
}

#[cfg(test)]
mod tests {
    use super::super::jsonb::append_text;
    use super::*;

    /// `{"a": 1, "b": [1, 2]}` as a server wrote it.
    const DOCUMENT: &[u8] =
        &[0, 2, 0, 30, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 1, 0, 2, 20, 0, b'a', b'b', 2, 0, 10, 0, 5, 1, 0, 5, 2, 0];

    fn applied(differences: &[&[u8]]) -> Option<String> {
        let mut out = Vec::new();
        apply(DOCUMENT, &differences.concat(), &mut out)?;
        let mut text = Vec::new();
        append_text(&out, false, &mut text).ok()?;
        Some(String::from_utf8(text).unwrap())
    }

    fn difference(operation: u8, path: &str, value: &[u8]) -> Vec<u8> {
        let mut out = vec![operation, path.len() as u8];
        out.extend_from_slice(path.as_bytes());
        if operation != REMOVE {
            out.push(value.len() as u8);
            out.extend_from_slice(value);
        }
        out
    }

    #[test]
    fn f31_differences_go_where_they_say() {
        let seven = [INT16, 7, 0];
        let one = |operation, path: &str| applied(&[&difference(operation, path, &seven)]);
        assert_eq!(applied(&[]).as_deref(), Some(r#"{"a": 1, "b": [1, 2]}"#));
        assert_eq!(one(REPLACE, "$.b[1]").as_deref(), Some(r#"{"a": 1, "b": [1, 7]}"#));
        assert_eq!(one(REPLACE, "$").as_deref(), Some("7"));
        assert_eq!(one(INSERT, "$.b[0]").as_deref(), Some(r#"{"a": 1, "b": [7, 1, 2]}"#));
        assert_eq!(one(INSERT, "$.b[9]").as_deref(), Some(r#"{"a": 1, "b": [1, 2, 7]}"#));
        assert_eq!(one(INSERT, "$.\"a b\\n\"").as_deref(), Some(r#"{"a": 1, "b": [1, 2], "a b\n": 7}"#));
        assert_eq!(one(REPLACE, "$.b[last]").as_deref(), Some(r#"{"a": 1, "b": [1, 7]}"#));
        assert_eq!(one(INSERT, "$.b[last-1]").as_deref(), Some(r#"{"a": 1, "b": [7, 1, 2]}"#));
        assert_eq!(one(REMOVE, "$.a").as_deref(), Some(r#"{"b": [1, 2]}"#));
        assert_eq!(one(REMOVE, "$.b[0]").as_deref(), Some(r#"{"a": 1, "b": [2]}"#));
        for (operation, path) in [
            (REPLACE, "$.c"),
            (REPLACE, "$.b[2]"),
            (INSERT, "$.a"),
            (INSERT, "$.a.b"),
            (INSERT, "$"),
            (REMOVE, "$.c"),
            (REMOVE, "$"),
            (3, "$.a"),
            (REPLACE, "a"),
            (REPLACE, "$.\"a"),
            (REPLACE, "$[x]"),
        ] {
            assert_eq!(one(operation, path), None, "{operation} {path}");
        }
    }
}
