//! `${env:X}`, `${env:X:-default}`, `${env:X:?message}`, `${file:path}` and `$$`, resolved inside single values.
//!
//! Because this happens after parsing, a resolved value can contain anything and still is one value.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

/// Largest file that `${file:path}` may name, in bytes.
pub const MAX_REFERENCED_BYTES: usize = 1 << 20;

/// Where references look.
pub(crate) struct Resolver<'a> {
    pub env: BTreeMap<&'a str, &'a str>,
    pub read_file: &'a dyn Fn(&str) -> io::Result<String>,
}

/// What a value was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An environment variable.
    Variable(String),
    /// A file.
    File(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Variable(name) => write!(f, "the environment variable `{name}`"),
            Origin::File(path) => write!(f, "the file `{path}`"),
        }
    }
}

/// Which bytes of a value some bytes of the resolved text were made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Bytes of the resolved text.
    pub text: Range<usize>,
    /// Bytes of the value as written.
    pub value: Range<usize>,
    /// Whether they are the same bytes; otherwise a reference stands there.
    pub exact: bool,
}

/// A value without references.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub text: String,
    pub origins: Vec<Origin>,
    pub pieces: Vec<Piece>,
}

/// One reference that cannot be resolved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadReference {
    /// Bytes within the value.
    pub span: Range<usize>,
    pub message: String,
    pub help: String,
}

impl Resolver<'_> {
    /// Replaces every reference of a value.
    pub fn resolve(&self, value: &str) -> Result<Resolved, Vec<BadReference>> {
        let mut text = String::with_capacity(value.len());
        let (mut origins, mut bad, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |text: &mut String, part: &str, value: Range<usize>, exact: bool| {
            if !part.is_empty() {
                pieces.push(Piece { text: text.len()..text.len() + part.len(), value, exact });
                text.push_str(part);
            }
        };
        let mut at = 0;
        while let Some(dollar) = value[at..].find('$').map(|i| at + i) {
            add(&mut text, &value[at..dollar], at..dollar, true);
            let rest = &value[dollar..];
            if rest.starts_with("$$") {
                add(&mut text, "$", dollar..dollar + 2, false);
                at = dollar + 2;
            } else if let Some(body) = rest.strip_prefix("${") {
                let length = body.find('}').map_or(rest.len(), |end| end + 3);
                match body.find('}').ok_or_else(not_closed).and_then(|end| self.reference(&body[..end])) {
                    Ok((part, origin)) => {
                        add(&mut text, &part, dollar..dollar + length, false);
                        origins.push(origin);
                    }
                    Err((message, help)) => bad.push(BadReference { span: dollar..dollar + length, message, help }),
                }
                at = dollar + length;
            } else {
                add(&mut text, "$", dollar..dollar + 1, true);
                at = dollar + 1;
            }
        }
        add(&mut text, &value[at..], at..value.len(), true);
        if bad.is_empty() { Ok(Resolved { text, origins, pieces }) } else { Err(bad) }
    }

    fn reference(&self, body: &str) -> Result<(String, Origin), (String, String)> {
        if body.contains("${") {
            let help = "give the inner value a variable of its own";
            return Err(("references cannot stand inside each other".into(), help.into()));
        }
        if let Some(path) = body.strip_prefix("file:") {
            return self.file(path).map(|text| (text, Origin::File(path.to_owned())));
        }
        let Some(rest) = body.strip_prefix("env:") else {
            let help = "write `${env:NAME}` or `${file:path}`; for a plain `${` write `$${`";
            return Err(("a reference of unknown kind".into(), help.into()));
        };
        let name_end = rest.find(':').unwrap_or(rest.len());
        let (name, modifier) = rest.split_at(name_end);
        if !is_variable_name(name) {
            let help = "a name has letters, digits and `_`; a default is written `${env:NAME:-default}`";
            return Err(("a reference without a proper variable name".into(), help.into()));
        }
        self.variable(name, modifier).map(|text| (text, Origin::Variable(name.to_owned())))
    }

    fn variable(&self, name: &str, modifier: &str) -> Result<String, (String, String)> {
        let value = self.env.get(name).copied();
        let present = value.filter(|v| !v.is_empty());
        if modifier.is_empty() {
            let help = format!("set `{name}`, or give a default: `${{env:{name}:-default}}`");
            return value.map(str::to_owned).ok_or((format!("the environment variable `{name}` is not set"), help));
        }
        if let Some(default) = modifier.strip_prefix(":-") {
            return Ok(present.unwrap_or(default).to_owned());
        }
        if let Some(message) = modifier.strip_prefix(":?") {
            let state = if value.is_some() { "empty" } else { "not set" };
            let message = if message.is_empty() { format!("set `{name}`") } else { message.to_owned() };
            return present
                .map(str::to_owned)
                .ok_or((format!("the environment variable `{name}` is {state}"), message));
        }
        let help = "after the name only `:-default` or `:?message` may follow";
        Err((format!("the reference to `{name}` cannot be read"), help.into()))
    }

    fn file(&self, path: &str) -> Result<String, (String, String)> {
        if path.is_empty() {
            return Err(("a file reference without a path".into(), "write `${file:/path/to/file}`".into()));
        }
        let mut text = (self.read_file)(path).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "does not exist".to_owned(),
                io::ErrorKind::PermissionDenied => "may not be read by this user".to_owned(),
                io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
                other => format!("cannot be read: {other}"),
            };
            (format!("the file `{path}` {reason}"), "check the path and the file's permissions".to_owned())
        })?;
        if text.len() > MAX_REFERENCED_BYTES {
            let help = format!("a referenced file holds one value of at most {MAX_REFERENCED_BYTES} bytes");
            return Err((format!("the file `{path}` is too large"), help));
        }
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

fn not_closed() -> (String, String) {
    ("a reference is not closed".into(), "add the missing `}`; for a plain `${` write `$${`".into())
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(value: &str) -> Result<Resolved, Vec<BadReference>> {
        let read = |path: &str| match path {
            "/secret" => Ok("s3cret\n".to_owned()),
            "/two-lines" => Ok("a\r\n\r\n".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        Resolver { env: BTreeMap::from([("X", "x"), ("EMPTY", "")]), read_file: &read }.resolve(value)
    }

    fn text(value: &str) -> String {
        resolve(value).unwrap().text
    }

    #[test]
    fn every_form_resolves() {
        assert_eq!(text("a${env:X}b${env:X}"), "axbx");
        assert_eq!(text("${env:NONE:-d:e-f}${env:EMPTY:-g}${env:X:-h}"), "d:e-fgx");
        assert_eq!(text("${env:X:?needed}${env:EMPTY}"), "x");
        assert_eq!(text("${file:/secret}|${file:/two-lines}"), "s3cret|a\r\n");
        assert_eq!(text("$${env:X} $$ $1 $"), "${env:X} $ $1 $");
    }

    #[test]
    fn what_cannot_be_resolved_is_named_with_its_place() {
        let bad = resolve("a${env:NONE}b${file:/none}${x}").unwrap_err();
        let found: Vec<_> = bad.iter().map(|b| (b.span.clone(), b.message.as_str())).collect();
        let expected = [
            (1..12, "the environment variable `NONE` is not set"),
            (13..26, "the file `/none` does not exist"),
            (26..30, "a reference of unknown kind"),
        ];
        assert_eq!(found, expected);
        assert_eq!(resolve("${env:EMPTY:?give a host}").unwrap_err()[0].help, "give a host");
        for wrong in ["${env:X", "${env:}", "${env:a-b}", "${env:X:=1}", "${env:X:-${env:Y}}", "${file:}", "${}"] {
            assert!(resolve(wrong).is_err(), "{wrong}");
        }
    }
}
