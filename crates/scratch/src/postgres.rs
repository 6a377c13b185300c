//! A private PostgreSQL server, for tests that need its answer as an independent one.

use crate::binary::find_program;
use crate::error::{Error, IoContext, Result};
use crate::guard::Guarded;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian keeps the servers, newest last; they are not on the PATH.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that runs the server when this process is root, which PostgreSQL refuses to be.
const USER: &str = "postgres";
const PATIENCE: Duration = Duration::from_secs(60);

/// A PostgreSQL server that listens on a socket in its own folder, and on nothing else. It never outlives the process
/// that started it.
pub struct Postgres {
    server: Option<Guarded>,
    dir: PathBuf,
}

impl Postgres {
    /// Starts a server with UTF-8 text in the order of its bytes and the time zone UTC.
    ///
    /// # Errors
    /// [`Error::MissingProgram`] naming the program of the package `postgresql` that is missing, or how the start failed.
    pub fn start() -> Result<Self> {
        let (initdb, server) = (program("initdb")?, program("postgres")?);
        program("psql")?;
        let dir = std::env::temp_dir().join(format!("dujiang-pg-{}-{:08x}", std::process::id(), unique()));
        std::fs::create_dir(&dir).at("make the folder", &dir)?;
        let made = Self::prepared(&initdb, &server, &dir);
        if made.is_err() {
            let _ = std::fs::remove_dir_all(&dir);
        }
        made
    }

    fn prepared(initdb: &Path, server: &Path, dir: &Path) -> Result<Self> {
        if let Some((user, group)) = other_user()? {
            std::os::unix::fs::chown(dir, Some(user), Some(group)).at("hand over the folder", dir)?;
        }
        let data = dir.join("data");
        let arguments =
            ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust", "--username=postgres", "--no-sync", "-D"];
        let (program, mut command) = as_user(initdb)?;
        command.extend(arguments.map(str::to_owned));
        command.push(data.display().to_string());
        let output = Command::new(&program).args(&command).current_dir(dir).output().at("start", &program)?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Template { program: initdb.display().to_string(), output });
        }
        let log = dir.join("postgres.log");
        let (program, mut command) = as_user(server)?;
        command.extend(["-D".to_owned(), data.display().to_string(), "-k".to_owned(), dir.display().to_string()]);
        for setting in ["listen_addresses=", "fsync=off", "timezone=UTC", "max_connections=10", "jit=off"] {
            command.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let guarded = Guarded::spawn(&program, &command, &log, Some(dir))?;
        let mut server = Self { server: Some(guarded), dir: dir.to_owned() };
        server.wait(&log)?;
        Ok(server)
    }

    fn wait(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.sql("SELECT 1").is_ok() {
                return Ok(());
            }
            let told = || std::fs::read_to_string(log).unwrap_or_default();
            if self.server.as_mut().is_none_or(|server| server.ended().is_some()) {
                return Err(Error::DidNotStart { log: told() });
            }
            if Instant::now() > deadline {
                return Err(Error::TimedOut { seconds: PATIENCE.as_secs(), log: told() });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a script on one connection and returns what it prints: rows as lines, columns separated by tabs, no headings.
    ///
    /// # Errors
    /// [`Error::Sql`] with the server's words for the first statement that fails; later ones do not run.
    pub fn sql(&self, script: &str) -> Result<String> {
        let psql = program("psql")?;
        let mut client = Command::new(&psql)
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-F",
                "\t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                "postgres",
                "-h",
            ])
            .arg(&self.dir)
            .args(["-f", "-"])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .at("start", &psql)?;
        let mut input = client.stdin.take().expect("invariant: stdin is piped");
        let script_bytes = script.as_bytes().to_vec();
        // psql answers while it still reads: whoever only writes would wait for ever.
        let writer = std::thread::spawn(move || input.write_all(&script_bytes));
        let output = client.wait_with_output().at("wait for", &psql)?;
        let _ = writer.join();
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::Sql { statement: script.chars().take(200).collect(), code: 0, message })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(Duration::from_secs(5));
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn program(name: &'static str) -> Result<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin").join(name))
        .collect();
    versions.sort();
    let newest = versions.into_iter().rev().find(|path| path.is_file());
    newest.or_else(|| find_program(name)).ok_or(Error::MissingProgram(name))
}

/// User and group of the server, when they are not this process's own.
fn other_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let path = Path::new("/etc/passwd");
    let users = std::fs::read_to_string(path).at("read", path)?;
    let line = users.lines().find_map(|line| line.strip_prefix(USER)?.strip_prefix(':'));
    let mut fields = line.into_iter().flat_map(|line| line.split(':').skip(1)).map(str::parse);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok(Some((user, group))),
        _ => Err(Error::MissingProgram("postgres")),
    }
}

/// A command line that runs a program as the server's user.
fn as_user(program: &Path) -> Result<(PathBuf, Vec<String>)> {
    let Some((user, group)) = other_user()? else { return Ok((program.to_owned(), Vec::new())) };
    let setpriv = find_program("setpriv").ok_or(Error::MissingProgram("setpriv"))?;
    let arguments =
        [format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned(), "--".to_owned()];
    let mut arguments = Vec::from(arguments);
    arguments.push(program.display().to_string());
    Ok((setpriv, arguments))
}

fn unique() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    nanos.wrapping_add(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
