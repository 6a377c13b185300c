//! A data folder prepared once per machine, server and locale, and copied for every server: `initdb` takes a second or
//! two, a copy a tenth of it.

use super::programs::{Programs, as_user, other_user};
use crate::error::{Error, IoContext, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rises when a template is prepared differently, so that an older one is not used.
const FORMAT: u32 = 1;
/// Written last.
const MARKER: &str = "complete";

/// Copies a fresh data folder to `to`, which must not exist yet.
pub(super) fn copy_to(programs: &Programs, encoding: &str, locale: &str, to: &Path) -> Result<()> {
    let template = prepared(programs, encoding, locale)?;
    copy_folder(&template.join("data"), to, other_user()?)
}

fn prepared(programs: &Programs, encoding: &str, locale: &str) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    let uid = rustix::process::getuid().as_raw();
    (FORMAT, &programs.postgres, &programs.version, encoding, locale, uid).hash(&mut hasher);
    let folder = std::env::temp_dir().join(format!("dujiang-pgdata-{uid}-{:016x}", hasher.finish()));
    let lock = folder.with_extension("lock");
    let file = File::create(&lock).at("create", &lock)?;
    flock(&file, FlockOperation::LockExclusive).at("lock", &lock)?;
    if !folder.join(MARKER).is_file() || !folder.join("data/PG_VERSION").is_file() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).at("create", &folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).at("close", &folder)?;
        if let Some((user, group)) = other_user()? {
            chown(&folder, Some(user), Some(group)).at("hand over", &folder)?;
        }
        initialize(programs, encoding, locale, &folder)?;
        fs::write(folder.join(MARKER), "").at("write", &folder)?;
    }
    Ok(folder)
}

fn initialize(programs: &Programs, encoding: &str, locale: &str, folder: &Path) -> Result<()> {
    let (program, mut arguments) = as_user(&programs.initdb)?;
    arguments.extend(["--auth=trust", "--username=postgres", "--no-sync", "-D"].map(str::to_owned));
    arguments.push(folder.join("data").display().to_string());
    arguments.extend([format!("--encoding={encoding}"), format!("--locale={locale}")]);
    let output = Command::new(&program).args(&arguments).current_dir(folder).output().at("start", &program)?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Template { program: programs.initdb.display().to_string(), output })
}

/// Copies a folder for the server's user alone.
pub(super) fn copy_folder(from: &Path, to: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    fs::create_dir(to).at("create", to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).at("close", to)?;
    for entry in fs::read_dir(from).at("list", from)? {
        let source = entry.at("list", from)?.path();
        let target = to.join(source.file_name().expect("invariant: a listed file has a name"));
        if source.is_dir() {
            copy_folder(&source, &target, owner)?;
        } else {
            fs::copy(&source, &target).at("copy", &source)?;
            hand_over(&target, owner)?;
        }
    }
    hand_over(to, owner)
}

pub(super) fn hand_over(path: &Path, owner: Option<(u32, u32)>) -> Result<()> {
    let Some((user, group)) = owner else { return Ok(()) };
    chown(path, Some(user), Some(group)).at("hand over", path)
}
