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

/// A server that the tests know by name; `cargo xtask test` sees to it that all of them are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The machine's own MariaDB, as its distribution packages it.
    MariaDb,
    /// The newest MariaDB that `cargo xtask servers` found.
    MariaDbNewest,
    /// MySQL 5.7: no metadata in table maps, SHA-1 passwords, the binlog that OceanBase's Binlog Service imitates.
    Mysql57,
    /// The newest MySQL that `cargo xtask servers` found.
    MysqlNewest,
}

impl Kind {
    /// All of them, oldest first within each family.
    pub const ALL: [Self; 4] = [Self::MariaDb, Self::MariaDbNewest, Self::Mysql57, Self::MysqlNewest];
    /// Those of MySQL's family.
    pub const MYSQL: [Self; 2] = [Self::Mysql57, Self::MysqlNewest];
    /// Those of MariaDB's family.
    pub const MARIADB: [Self; 2] = [Self::MariaDb, Self::MariaDbNewest];

    /// Which family it belongs to.
    pub fn family(self) -> Family {
        match self {
            Self::MariaDb | Self::MariaDbNewest => Family::MariaDb,
            Self::Mysql57 | Self::MysqlNewest => Family::MySql,
        }
    }

    /// The program, seen from the folder of unpacked servers; `None` is the machine's own.
    fn unpacked(self) -> Option<&'static str> {
        match self {
            Self::MariaDb => None,
            Self::MariaDbNewest => Some("mariadb/bin/mariadbd"),
            Self::Mysql57 => Some("mysql-5.7/bin/mysqld"),
            Self::MysqlNewest => Some("mysql/bin/mysqld"),
        }
    }
}

/// Where `cargo xtask servers` unpacks servers: `DUJIANG_SERVERS`, else `dujiang/servers` in the user's cache folder.
pub(crate) fn servers_folder() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    let default = || cache().unwrap_or_else(std::env::temp_dir).join("dujiang/servers");
    named("DUJIANG_SERVERS").unwrap_or_else(default)
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

    /// The server of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchServer`] with what to do about it.
    pub fn of(kind: Kind) -> Result<Self> {
        let path = match kind.unpacked() {
            Some(program) => servers_folder().join(program),
            None => find_program("mariadbd").unwrap_or_else(|| "/usr/sbin/mariadbd".into()),
        };
        let found = Self::at(&path).filter(|found| found.family == kind.family());
        found.ok_or(Error::NoSuchServer { kind: format!("{kind:?}"), path })
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
