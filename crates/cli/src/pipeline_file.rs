//! Reading a pipeline file from disk, with environment and flags laid over it.

use crate::registry::Connectors;
use dujiang_core::Code;
use dujiang_spec::{
    AllInputs, Diagnostic, Inputs, Loaded, MAX_FILE_BYTES, MAX_REFERENCED_BYTES, SourceText, load, load_all,
};
use std::io::{self, Read};
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

/// Reads and checks a pipeline file that holds one pipeline.
///
/// # Errors
/// Every mistake at once.
pub fn open(path: &Path, settings: &[Setting]) -> Result<Loaded, Vec<Diagnostic>> {
    let text = read(path).map_err(|mistake| vec![*mistake])?;
    from_text(text, path.parent().unwrap_or(Path::new("")), settings)
}

/// Reads and checks pipelines that run in one process.
///
/// # Errors
/// Every mistake of every file at once.
pub fn open_all(paths: &[PathBuf], settings: &[Setting]) -> Result<Vec<Loaded>, Vec<Diagnostic>> {
    let (mut texts, mut mistakes) = (Vec::new(), Vec::new());
    for path in paths {
        match read(path) {
            Ok(text) => texts.push(text),
            Err(mistake) => mistakes.push(*mistake),
        }
    }
    // Files that a pipeline names are looked for beside the file that names them.
    let read_file = |file: &str, path: &str| referenced(Path::new(file).parent().unwrap_or(Path::new("")), path);
    let first = texts.first().map_or("environment", SourceText::name).to_owned();
    let env = dujiang_spec::environment(std::env::vars_os(), &first)?;
    let inputs = AllInputs { texts, env, set: pairs(settings), read_file: &read_file };
    match load_all(inputs, &Connectors) {
        Ok(loaded) if mistakes.is_empty() => Ok(loaded),
        Ok(loaded) => {
            mistakes.extend(loaded.into_iter().flat_map(|pipeline| pipeline.warnings));
            Err(mistakes)
        }
        Err(found) => {
            mistakes.extend(found);
            Err(mistakes)
        }
    }
}

/// Checks a pipeline whose text is at hand; files it names are looked for in `folder`.
///
/// # Errors
/// Every mistake at once.
pub fn from_text(text: SourceText, folder: &Path, settings: &[Setting]) -> Result<Loaded, Vec<Diagnostic>> {
    let read_file = |path: &str| referenced(folder, path);
    let env = dujiang_spec::environment(std::env::vars_os(), text.name())?;
    load(Inputs { text, env, set: pairs(settings), read_file: &read_file }, &Connectors)
}

fn pairs(settings: &[Setting]) -> Vec<(String, String)> {
    settings.iter().map(|setting| (setting.0.clone(), setting.1.clone())).collect()
}

/// A file's text. No more of it is read than a pipeline file may hold: it could be a device without an end.
pub fn read(path: &Path) -> Result<SourceText, Box<Diagnostic>> {
    let name = path.display().to_string();
    let bytes = read_at_most(path, MAX_FILE_BYTES).map_err(|error| Box::new(unreadable(&name, &error)))?;
    SourceText::from_bytes(name, bytes).map_err(Box::new)
}

/// The file of a `${file:path}`.
fn referenced(folder: &Path, path: &str) -> io::Result<String> {
    let bytes = read_at_most(&folder.join(path), MAX_REFERENCED_BYTES)?;
    String::from_utf8(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Reads one byte more than allowed, so that too large a file is known as such.
fn read_at_most(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
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
