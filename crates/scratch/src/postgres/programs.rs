//! Where a PostgreSQL server's programs are, and as whom they run.

use crate::binary::{find_program, servers_folder};
use crate::error::{Error, IoContext, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian keeps the servers, newest last; they are not on the PATH.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that runs the server when this process is root, which PostgreSQL refuses to be.
const USER: &str = "postgres";

/// Which PostgreSQL server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostgresKind {
    /// The machine's own, as its distribution packages it.
    #[default]
    System,
    /// The newest that `cargo xtask test` found.
    Newest,
}

impl PostgresKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::System, Self::Newest];
}

/// A server's programs.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub initdb: PathBuf,
    pub postgres: PathBuf,
    /// As the server prints it, e.g. `15.18`.
    pub version: String,
}

impl Programs {
    pub fn of(kind: PostgresKind) -> Result<Self> {
        let (initdb, postgres) = match kind {
            PostgresKind::System => (installed("initdb")?, installed("postgres")?),
            PostgresKind::Newest => {
                let folder = readable(&servers_folder().join("postgres"))?;
                (folder.join("bin/initdb"), folder.join("bin/postgres"))
            }
        };
        let output = Command::new(&postgres).arg("--version").output().at("start", &postgres)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().nth(2).unwrap_or("?").to_owned();
        Ok(Self { initdb, postgres, version })
    }
}

/// A program of the machine's own server, or its client.
pub(super) fn installed(name: &'static str) -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin").join(name))
        .collect();
    versions.sort();
    let newest = versions.into_iter().rev().find(|path| path.is_file());
    newest.or_else(|| find_program(name)).ok_or(Error::MissingProgram(name))
}

/// The folder, or a copy of it that the server's user can read: root's own folders are closed to others.
fn readable(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("bin/postgres");
    let metadata = fs::metadata(&program).map_err(|_| Error::NoNewestPostgres(program.clone()))?;
    if other_user()?.is_none() {
        return Ok(folder.to_owned());
    }
    let mut hasher = DefaultHasher::new();
    (&program, metadata.len(), metadata.modified().ok()).hash(&mut hasher);
    let copy = std::env::temp_dir().join(format!("dujiang-postgres-{:016x}", hasher.finish()));
    let lock = copy.with_extension("lock");
    let file = File::create(&lock).at("create", &lock)?;
    flock(&file, FlockOperation::LockExclusive).at("lock", &lock)?;
    if !copy.join("complete").is_file() {
        let _ = fs::remove_dir_all(&copy);
        copy_folder(folder, &copy)?;
        fs::write(copy.join("complete"), "").at("write", &copy)?;
    }
    Ok(copy)
}

/// Copies a folder for everybody to read; links stay links.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).at("create", to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).at("open", to)?;
    for entry in fs::read_dir(from).at("list", from)? {
        let source = entry.at("list", from)?.path();
        let target = to.join(source.file_name().expect("invariant: a listed file has a name"));
        if let Ok(link) = fs::read_link(&source) {
            std::os::unix::fs::symlink(&link, &target).at("link", &target)?;
        } else if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).at("copy", &source)?;
        }
    }
    Ok(())
}

/// User and group of the server, when they are not this process's own.
pub(super) fn other_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let path = Path::new("/etc/passwd");
    let users = fs::read_to_string(path).at("read", path)?;
    let line = users.lines().find_map(|line| line.strip_prefix(USER)?.strip_prefix(':'));
    let mut fields = line.into_iter().flat_map(|line| line.split(':').skip(1)).map(str::parse);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok(Some((user, group))),
        _ => Err(Error::MissingProgram("postgres")),
    }
}

/// A command line that runs a program as the server's user.
pub(super) fn as_user(program: &Path) -> Result<(PathBuf, Vec<String>)> {
    let Some((user, group)) = other_user()? else { return Ok((program.to_owned(), Vec::new())) };
    let setpriv = find_program("setpriv").ok_or(Error::MissingProgram("setpriv"))?;
    let arguments =
        [format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned(), "--".to_owned()];
    let mut arguments = Vec::from(arguments);
    arguments.push(program.display().to_string());
    Ok((setpriv, arguments))
}
