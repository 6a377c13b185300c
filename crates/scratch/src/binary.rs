//! Finding an installed server.

use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of the two families a server belongs to; they are prepared and configured differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// MariaDB.
    MariaDb,
    /// MySQL and Percona Server.
    MySql,
}

/// An installed database server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerBinary {
    /// The program.
    pub path: PathBuf,
    /// Its family.
    pub family: Family,
    /// Its version as it prints it, e.g. `10.11.6-MariaDB-0+deb12u1`.
    pub version: String,
}

impl ServerBinary {
    /// The first of `mariadbd` and `mysqld` on the PATH, then in the folders where distributions hide servers from the
    /// PATH of ordinary users.
    pub fn find() -> Option<Self> {
        ["mariadbd", "mysqld"].into_iter().filter_map(find_program).find_map(|path| Self::at(&path))
    }

    /// As [`ServerBinary::find`], with an error that says what was looked for.
    ///
    /// # Errors
    /// [`Error::NoServer`].
    pub fn required() -> Result<Self> {
        Self::find().ok_or(Error::NoServer)
    }

    /// The server at `path`, if it is one and runs.
    pub fn at(path: &Path) -> Option<Self> {
        let output = Command::new(path).args(["--no-defaults", "--version"]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = version_in(&text)?.to_owned();
        let family = if text.contains("MariaDB") { Family::MariaDb } else { Family::MySql };
        Some(Self { path: path.to_owned(), family, version })
    }
}

/// The word after `Ver` in what `--version` prints.
fn version_in(text: &str) -> Option<&str> {
    text.split_whitespace().skip_while(|word| *word != "Ver").nth(1)
}

/// A program on the PATH or in one of the folders for servers.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let hidden = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/mysql/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(hidden).map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_families_are_read() {
        let maria = "mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)";
        let mysql = "/usr/sbin/mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)";
        assert_eq!(version_in(maria), Some("10.11.6-MariaDB-0+deb12u1"));
        assert_eq!(version_in(mysql), Some("8.4.3"));
        assert_eq!(version_in("sh: not found"), None);
    }
}
