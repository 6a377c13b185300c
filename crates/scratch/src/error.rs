//! What can go wrong with a scratch server.

use std::path::{Path, PathBuf};

/// The result of anything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a scratch server could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `mariadbd` nor `mysqld` is installed.
    #[error("no database server found: neither `mariadbd` nor `mysqld` is on the PATH or in /usr/sbin")]
    NoServer,
    /// A server that a test asks for by name is not there.
    #[error(
        "{kind} is not at `{}`; `cargo xtask servers` gets it (and `cargo xtask test` does so by itself), or DUJIANG_SERVERS \
         names the folder of the unpacked servers",
        path.display()
    )]
    NoSuchServer {
        /// Which one.
        kind: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A program that belongs to the server is missing.
    #[error("`{0}` is not installed, although a database server is")]
    MissingProgram(&'static str),
    /// The newest PostgreSQL is not where the tests look for it.
    #[error("there is no `{}`; `cargo xtask test` unpacks the newest PostgreSQL there, or name another folder in DUJIANG_SERVERS", .0.display())]
    NoNewestPostgres(PathBuf),
    /// A file or a process could not be handled.
    #[error("{what} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or program.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The prepared data folder could not be made.
    #[error("`{program}` could not prepare a data folder: {output}")]
    Template {
        /// The program that failed.
        program: String,
        /// The end of what it printed.
        output: String,
    },
    /// The server ended before it answered.
    #[error("the server did not start; the end of its log:\n{log}")]
    DidNotStart {
        /// The end of its error log.
        log: String,
    },
    /// The server did not answer in time.
    #[error("the server did not answer within {seconds} s; the end of its log:\n{log}")]
    TimedOut {
        /// How long was waited.
        seconds: u64,
        /// The end of its error log.
        log: String,
    },
    /// A statement failed.
    #[error("the server refused `{statement}`: {message} ({code})")]
    Sql {
        /// The beginning of the statement.
        statement: String,
        /// The server's error code, e.g. 1213 for a deadlock.
        code: u16,
        /// The server's answer.
        message: String,
    },
}

impl Error {
    /// The server's error code, if it was the server that refused.
    pub fn sql_code(&self) -> Option<u16> {
        match self {
            Error::Sql { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Names the file and the deed in an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { what, path: path.to_owned(), source })
    }
}

impl<T> IoContext<T> for Result<T, rustix::io::Errno> {
    fn at(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|errno| Error::Io { what, path: path.to_owned(), source: errno.into() })
    }
}
