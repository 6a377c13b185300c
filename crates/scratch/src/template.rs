//! A data folder prepared once per machine and copied for every server.

use crate::binary::{Family, ServerBinary, find_program};
use crate::error::{Error, IoContext, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Rises when a template is prepared differently, so that an older one is not used.
const FORMAT: u32 = 2;
/// Written last, with what the folder must contain; systems clean old files out of their temporary folder one by one.
const MARKER: &str = "dujiang-complete";

/// Copies a fresh data folder of this server to `to`, which must not exist yet.
pub(crate) fn copy_to(server: &ServerBinary, to: &Path) -> Result<()> {
    copy_folder(&prepared(server)?.join("data"), to)
}

/// The prepared folder; made now if it is not there or not whole.
fn prepared(server: &ServerBinary) -> Result<PathBuf> {
    let cache = cache_folder()?;
    let folder = cache.join(name_of(server));
    let lock_file = cache.join("lock");
    let lock = File::create(&lock_file).at("create", &lock_file)?;
    flock(&lock, FlockOperation::LockExclusive).at("lock", &lock_file)?;
    if !is_whole(&folder) {
        let _ = fs::remove_dir_all(&folder);
        make_folder(&folder)?;
        prepare(server, &folder.join("data"))?;
        fs::write(folder.join(MARKER), inventory(&folder)?).at("write", &folder)?;
    }
    Ok(folder)
}

/// One folder per user, so that nobody can plant a template for somebody else.
fn cache_folder() -> Result<PathBuf> {
    let uid = rustix::process::getuid();
    let folder = std::env::temp_dir().join(format!("dujiang-scratch-{}", uid.as_raw()));
    if !folder.exists() {
        // Another process may make it at the same moment; what counts is whose it is.
        let _ = make_folder(&folder);
    }
    let metadata = fs::symlink_metadata(&folder).at("look at", &folder)?;
    if !metadata.is_dir() || metadata.uid() != uid.as_raw() {
        let source = std::io::Error::other("it is not a folder of this user; remove it or set TMPDIR");
        return Err(source).at("use", &folder);
    }
    Ok(folder)
}

fn make_folder(folder: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).create(folder).at("create", folder)
}

fn name_of(server: &ServerBinary) -> String {
    let mut hasher = DefaultHasher::new();
    (FORMAT, &server.path, &server.version).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn is_whole(folder: &Path) -> bool {
    let marker = fs::read_to_string(folder.join(MARKER));
    marker.is_ok_and(|marker| inventory(folder).is_ok_and(|now| now == marker))
}

/// Number of files and of their bytes.
fn inventory(folder: &Path) -> Result<String> {
    let (files, bytes) = count(&folder.join("data"))?;
    Ok(format!("{files} files, {bytes} bytes\n"))
}

fn count(folder: &Path) -> Result<(u64, u64)> {
    let mut total = (0, 0);
    for entry in fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        let metadata = fs::symlink_metadata(&path).at("look at", &path)?;
        let (files, bytes) = if metadata.is_dir() { count(&path)? } else { (1, metadata.len()) };
        total = (total.0 + files, total.1 + bytes);
    }
    Ok(total)
}

fn prepare(server: &ServerBinary, data: &Path) -> Result<()> {
    match server.family {
        Family::MariaDb => prepare_mariadb(server, data),
        Family::MySql => prepare_mysql(server, data),
    }
}

/// The installer beside the server belongs to it; the PATH may have another version's.
fn prepare_mariadb(server: &ServerBinary, data: &Path) -> Result<()> {
    let beside = server.path.with_file_name("mariadb-install-db");
    let program = Some(beside)
        .filter(|program| program.is_file())
        .or_else(|| find_program("mariadb-install-db"))
        .or_else(|| find_program("mysql_install_db"))
        .ok_or(Error::MissingProgram("mariadb-install-db"))?;
    let mut command = Command::new(&program);
    command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    command.args(["--skip-name-resolve", "--innodb-log-file-size=4M", "--innodb-flush-method=nosync"]);
    command.args(as_root()).arg(format!("--datadir={}", data.display()));
    let output = command.output().at("run", &program)?;
    must_succeed(&program, &output)
}

/// MySQL gives a new data folder only `root@localhost`, which does not match a TCP connection while names are not
/// resolved; and `auto.cnf` would give every copy the same server UUID.
fn prepare_mysql(server: &ServerBinary, data: &Path) -> Result<()> {
    let init = data.with_file_name("init.sql");
    let sql =
        "CREATE USER root@'127.0.0.1' IDENTIFIED BY '';\nGRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n";
    fs::write(&init, sql).at("write", &init)?;
    let mut command = Command::new(&server.path);
    command.args(["--no-defaults", "--initialize-insecure", "--innodb-flush-method=nosync"]).args(as_root());
    // Whatever the data folder holds is copied for every server.
    command.args(["--loose-innodb-redo-log-capacity=8M", "--loose-innodb-log-file-size=4M"]);
    command.arg(format!("--init-file={}", init.display())).arg(format!("--datadir={}", data.display()));
    let output = command.output().at("run", &server.path)?;
    must_succeed(&server.path, &output)?;
    let uuid = data.join("auto.cnf");
    if uuid.exists() {
        fs::remove_file(&uuid).at("remove", &uuid)?;
    }
    Ok(())
}

/// Both families refuse to run as root unless told so.
pub(crate) fn as_root() -> Option<String> {
    rustix::process::geteuid().is_root().then(|| "--user=root".to_owned())
}

fn must_succeed(program: &Path, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let from = text.len().saturating_sub(2000);
    let output = text.get(from..).unwrap_or(&text).to_owned();
    Err(Error::Template { program: program.display().to_string(), output })
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    make_folder(to)?;
    for entry in fs::read_dir(from).at("list", from)? {
        let source = entry.at("list", from)?.path();
        let target = to.join(source.file_name().expect("invariant: a listed file has a name"));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).at("copy", &source)?;
        }
    }
    Ok(())
}
