//! The process environment as text.

use crate::diagnostic::Diagnostic;
use crate::overrides::PREFIX;
use dujiang_core::Code;
use dujiang_core::options::Place;
use std::ffi::OsString;

/// The variables of an environment (`std::env::vars_os()`) for [`Inputs::env`](crate::Inputs::env). A foreign variable
/// that is not UTF-8 counts as not set.
///
/// # Errors
/// Every variable of ours (`DUJIANG__*`) whose value is not UTF-8.
pub fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    file: &str,
) -> Result<Vec<(String, String)>, Vec<Diagnostic>> {
    let (mut texts, mut wrong) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if name.starts_with(PREFIX) => {
                let message = format!("the environment variable `{name}` is not UTF-8");
                let mut diagnostic = Diagnostic::about_file(Code::BadValue, message, file);
                diagnostic.place = Place::Environment(name);
                wrong.push(diagnostic);
            }
            Err(_) => {}
        }
    }
    if wrong.is_empty() { Ok(texts) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn a_setting_that_is_not_utf8_is_refused_by_name() {
        let bad = || OsString::from_vec(vec![0xff]);
        let foreign = environment([("LANG".into(), bad()), ("A".into(), "b".into())].into_iter(), "f");
        assert_eq!(foreign.unwrap(), [("A".to_owned(), "b".to_owned())]);
        let ours = environment([("DUJIANG__SINK__PATH".into(), bad())].into_iter(), "f").unwrap_err();
        assert_eq!(ours[0].message, "the environment variable `DUJIANG__SINK__PATH` is not UTF-8");
    }
}
