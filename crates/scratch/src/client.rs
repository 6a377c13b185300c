//! SQL for set-up and checks, through the server's own command-line client.

use crate::binary::find_program;
use crate::error::{Error, IoContext, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The command-line client, `mariadb` or `mysql`.
///
/// # Errors
/// [`Error::MissingProgram`].
pub fn client_program() -> Result<PathBuf> {
    find_program("mariadb").or_else(|| find_program("mysql")).ok_or(Error::MissingProgram("mariadb"))
}

/// Runs statements as root over the socket and returns what they print: one line per row, columns separated by tabs.
pub(crate) fn run(socket: &Path, sql: &str) -> Result<String> {
    let program = client_program()?;
    let mut child = Command::new(&program)
        .args(["--no-defaults", "--user=root", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"])
        .arg(format!("--socket={}", socket.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .at("start", &program)?;
    let mut stdin = child.stdin.take().expect("invariant: stdin is piped");
    let text = sql.to_owned();
    // In a thread of its own: the client may fill its output before it has read everything.
    let feeder = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().at("run", &program)?;
    let _ = feeder.join();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Sql { statement: sql.chars().take(200).collect(), message })
}
