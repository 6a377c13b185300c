//! How long functions and files are.

use super::files::{File, Tree};
use super::ratchet::Measured;
use crate::lexer::{Source, after_matching, is_word};

/// Lines a function may have, its signature and closing brace included.
const FUNCTION: usize = 70;
/// Lines a file may have without its tests.
const FILE: usize = 600;

/// Every function and file over its limit.
pub fn measure(tree: &Tree) -> Vec<Measured> {
    let code = tree.rust().filter(|(file, _)| !file.is_test());
    code.flat_map(|(file, source)| [functions(file, source), whole(file, source)].concat()).collect()
}

fn whole(file: &File, source: &Source) -> Vec<Measured> {
    let in_tests: usize = source.tests.iter().map(|r| source.code[r.clone()].matches('\n').count() + 1).sum();
    let lines = file.text.lines().count().saturating_sub(in_tests);
    if lines <= FILE {
        return Vec::new();
    }
    let advice = format!("{lines} lines without tests (at most {FILE}); split it by subject");
    vec![Measured { rule: "file", name: file.path.clone(), size: lines, place: file.path.clone(), advice }]
}

fn functions(file: &File, source: &Source) -> Vec<Measured> {
    let mut long = Vec::new();
    for at in source.find("fn").filter(|at| !source.in_tests(*at)) {
        let Some((name, end)) = function(source.code.as_bytes(), at) else { continue };
        let lines = source.code[at..end].matches('\n').count() + 1;
        if lines > FUNCTION {
            long.push(Measured {
                rule: "fn",
                name: format!("{}::{name}", file.path),
                size: lines,
                place: format!("{}:{}", file.path, source.line(at)),
                advice: format!("`{name}` has {lines} lines (at most {FUNCTION}); split it into named steps"),
            });
        }
    }
    long
}

/// Name and end of the function whose `fn` is at `at`; nothing for a function type or one without a body.
fn function(code: &[u8], at: usize) -> Option<(String, usize)> {
    let name_at = at + 2 + code[at + 2..].iter().position(|b| !b.is_ascii_whitespace())?;
    let length = code[name_at..].iter().take_while(|b| is_word(**b)).count();
    if length == 0 {
        return None;
    }
    let name = String::from_utf8_lossy(&code[name_at..name_at + length]).into_owned();
    let mut i = name_at + length;
    while i < code.len() {
        match code[i] {
            b';' => return None,
            b'{' => return Some((name, after_matching(code, i))),
            b'(' | b'[' => i = after_matching(code, i),
            _ => i += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_found() {
        let code = b"fn a<T>(x: [u8; 3]) -> Vec<T> where T: Fn(u8) -> u8 { b({ 1 }) } fn c();";
        assert_eq!(function(code, 0), Some(("a".into(), 64)));
        assert_eq!(function(code, 65), None);
        assert_eq!(function(b"fn(u8) -> u8", 0), None);
    }
}
