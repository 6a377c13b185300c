//! Reading a pipeline file from disk, with environment and flags laid over it.

use crate::registry::Connectors;
use dujiang_core::Code;
use dujiang_spec::{Diagnostic, Inputs, Loaded, SourceText, load};
use std::io;
use std::path::{Path, PathBuf};

/// `--set path=value`.
#[derive(Debug, Clone)]
pub struct Setting(pub String, pub String);

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("expected PATH=VALUE, for example source.port=3307")?;
        Ok(Self(path.trim().to_owned(), value.to_owned()))
    }
}

/// Reads and checks a pipeline file.
///
/// # Errors
/// Every mistake at once.
pub fn open(path: &Path, settings: &[Setting]) -> Result<Loaded, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| vec![unreadable(&name, &error)])?;
    let text = SourceText::from_bytes(name, bytes).map_err(|mistake| vec![mistake])?;
    from_text(text, path.parent().unwrap_or(Path::new("")), settings)
}

/// Checks a pipeline whose text is at hand; files it names are looked for in `folder`.
///
/// # Errors
/// Every mistake at once.
pub fn from_text(text: SourceText, folder: &Path, settings: &[Setting]) -> Result<Loaded, Vec<Diagnostic>> {
    let folder: PathBuf = folder.to_path_buf();
    let read_file = move |path: &str| -> io::Result<String> { std::fs::read_to_string(folder.join(path)) };
    let env = dujiang_spec::environment(std::env::vars_os(), text.name())?;
    let inputs =
        Inputs { text, env, set: settings.iter().map(|s| (s.0.clone(), s.1.clone())).collect(), read_file: &read_file };
    load(inputs, &Connectors)
}

fn unreadable(name: &str, error: &io::Error) -> Diagnostic {
    let mut mistake = Diagnostic::about_file(Code::FileUnreadable, format!("cannot read `{name}`: {error}"), name);
    mistake.help = Some(match error.kind() {
        io::ErrorKind::NotFound => "check the path; `examples/` holds pipeline files to start from".into(),
        io::ErrorKind::PermissionDenied => "let this user read the file".into(),
        _ => "name a pipeline file in YAML".into(),
    });
    mistake
}
