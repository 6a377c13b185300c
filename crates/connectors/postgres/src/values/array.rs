//! Arrays: text and binary. A list holds those of one dimension that begins at 1, and the empty one.

use super::bad::BadValue;

const SHAPE: &str = "a list has one dimension and begins at 1; `values.arrays: text` carries arrays as text";

fn corrupt() -> BadValue {
    BadValue::corrupt("an array")
}

/// Calls `item` with the text of each element of an array as `array_out` prints it; `None` is NULL.
///
/// Grammar: src/backend/utils/adt/arrayfuncs.c, `array_out`: `{1,NULL,"a \"b\""}`, bounds before it (`[0:1]=`) unless all
/// begin at 1, braces inside braces for more dimensions.
///
/// # Errors
/// Of another shape, of damaged text, and those of `item`.
pub(super) fn each_text(
    text: &[u8],
    delimiter: u8,
    scratch: &mut Vec<u8>,
    mut item: impl FnMut(Option<&[u8]>) -> Result<(), BadValue>,
) -> Result<(), BadValue> {
    let inner = match text {
        [b'[', ..] => return Err(BadValue::unrepresentable(text, SHAPE)),
        [b'{', inner @ .., b'}'] => inner,
        _ => return Err(corrupt()),
    };
    let mut at = 0;
    while at < inner.len() {
        match inner[at] {
            b'{' => return Err(BadValue::unrepresentable(text, SHAPE)),
            b'"' => {
                at = quoted(inner, at + 1, scratch)?;
                item(Some(scratch))?;
            }
            _ => {
                let end = inner[at..].iter().position(|b| *b == delimiter).map_or(inner.len(), |n| at + n);
                let plain = &inner[at..end];
                item(if plain == b"NULL" { None } else { Some(plain) })?;
                at = end;
            }
        }
        match inner.get(at) {
            None => return Ok(()),
            Some(byte) if *byte == delimiter && at + 1 < inner.len() => at += 1,
            Some(_) => return Err(corrupt()),
        }
    }
    Ok(())
}

/// Reads a string after its opening quote into `scratch`; the place after its closing one.
fn quoted(text: &[u8], from: usize, scratch: &mut Vec<u8>) -> Result<usize, BadValue> {
    scratch.clear();
    let mut at = from;
    loop {
        match text.get(at).ok_or_else(corrupt)? {
            b'"' => return Ok(at + 1),
            b'\\' => {
                scratch.push(*text.get(at + 1).ok_or_else(corrupt)?);
                at += 2;
            }
            byte => {
                scratch.push(*byte);
                at += 1;
            }
        }
    }
}

/// Calls `item` with the binary form of each element; `None` is NULL.
///
/// Layout: `array_send` of arrayfuncs.c: dimensions, whether there are NULLs, the elements' type, then for each dimension its
/// length and lower bound, then for each element its length (-1 is NULL) and bytes; integers of 32 bits.
///
/// # Errors
/// Of another shape, of damaged bytes, and those of `item`.
pub(super) fn each_binary(
    bytes: &[u8],
    mut item: impl FnMut(Option<&[u8]>) -> Result<(), BadValue>,
) -> Result<(), BadValue> {
    let mut rest = bytes;
    let word = |rest: &mut &[u8]| {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
        *rest = tail;
        Ok::<i32, BadValue>(i32::from_be_bytes(*head))
    };
    let dimensions = word(&mut rest)?;
    let (_nulls, _element) = (word(&mut rest)?, word(&mut rest)?);
    match dimensions {
        0 if rest.is_empty() => return Ok(()),
        1 => {}
        2..=6 => return Err(BadValue::unrepresentable(b"(an array of several dimensions)", SHAPE)),
        _ => return Err(corrupt()),
    }
    let (length, lower) = (word(&mut rest)?, word(&mut rest)?);
    if lower != 1 {
        let text = format!("(an array that begins at {lower})");
        return Err(BadValue::unrepresentable(text.as_bytes(), SHAPE));
    }
    for _ in 0..length {
        let size = word(&mut rest)?;
        if size == -1 {
            item(None)?;
            continue;
        }
        let size = usize::try_from(size).map_err(|_| corrupt())?;
        let (element, tail) = rest.split_at_checked(size).ok_or_else(corrupt)?;
        item(Some(element))?;
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { Err(corrupt()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Option<String>>, BadValue> {
        let mut out = vec![];
        each_text(text.as_bytes(), b',', &mut vec![], |item| {
            out.push(item.map(|i| String::from_utf8(i.to_vec()).unwrap()));
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn f56_elements_are_read_with_quotes_escapes_and_nulls() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(read("{}").unwrap(), []);
        assert_eq!(read("{1,NULL,3}").unwrap(), [some("1"), None, some("3")]);
        assert_eq!(
            read(r#"{"a,b","NULL","\"x\\","","{}"}"#).unwrap(),
            [some("a,b"), some("NULL"), some("\"x\\"), some(""), some("{}")]
        );
    }

    #[test]
    fn f56_other_shapes_are_refused_by_name() {
        for text in ["{{1,2},{3,4}}", "[0:1]={1,2}", "[2:3][1:1]={{1},{2}}"] {
            assert!(read(text).unwrap_err().is_of_the_record(), "{text}");
        }
        for text in ["", "{", "{1,}", "{\"a}", "{\"a\"b}", "1,2", "{\"a\\"] {
            assert!(!read(text).unwrap_err().is_of_the_record(), "{text}");
        }
    }
}
