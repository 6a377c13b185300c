//! A running server.

use crate::binary::{Family, ServerBinary};
use crate::error::{Error, IoContext, Result};
use crate::guard::Guarded;
use crate::options::Options;
use crate::port::free_port;
use crate::session::{Row, Session};
use crate::{ready, template};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a start may take; only a very busy machine or a long recovery needs more than a second.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// How long a clean stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// A unix socket's path must fit into `sockaddr_un` (108 bytes on Linux).
const LONGEST_SOCKET_PATH: usize = 100;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A private database server; killed, and its scratch folder removed, when dropped. It does not survive the death of
/// this process either, whatever the cause.
///
/// User `root` logs in without a password, from this machine only.
pub struct Server {
    binary: ServerBinary,
    options: Options,
    dir: PathBuf,
    socket: PathBuf,
    /// Whether the folder goes with the server.
    temporary: bool,
    port: u16,
    running: Option<Guarded>,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// [`Error::NoServer`], [`Error::NoSuchServer`]; [`Error::DidNotStart`] with the end of the server's log, e.g. for a wrong argument; I/O errors.
    pub fn start(options: &Options) -> Result<Self> {
        let binary = options.kind.map_or_else(ServerBinary::required, ServerBinary::of)?;
        Self::start_with(&binary, options)
    }

    /// As [`Server::start`], with a certain server.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(binary: &ServerBinary, options: &Options) -> Result<Self> {
        let dir = options.dir.clone().unwrap_or_else(|| scratch_path("dujiang-server"));
        fs::create_dir_all(&dir).at("create", &dir)?;
        let dir = fs::canonicalize(&dir).at("open", &dir)?;
        let mut server = Self {
            binary: binary.clone(),
            options: options.clone(),
            socket: socket_path(&dir),
            temporary: options.dir.is_none(),
            port: 0,
            running: None,
            dir,
        };
        server.prepare_folder()?;
        server.start_on_some_port()?;
        Ok(server)
    }

    fn prepare_folder(&self) -> Result<()> {
        let tmp = self.dir.join("tmp");
        fs::create_dir_all(&tmp).at("create", &tmp)?;
        if !self.data_dir().exists() {
            template::copy_to(&self.binary, &self.data_dir())?;
        }
        Ok(())
    }

    /// Between choosing a port and the server's bind another process may take it; then the next one is tried.
    fn start_on_some_port(&mut self) -> Result<()> {
        let mut attempts = 0;
        loop {
            self.port = self.options.port.unwrap_or_else(free_port);
            attempts += 1;
            match self.launch() {
                Err(Error::DidNotStart { log }) if attempts < 20 && port_was_taken(&log) => {}
                other => return other,
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let _ = fs::remove_file(self.error_log());
        let _ = fs::remove_file(&self.socket);
        let scratch = self.temporary.then_some(self.dir.as_path());
        let mut child = Guarded::spawn(&self.binary.path, &self.arguments(), &self.error_log(), scratch)?;
        let ready = || ready::greets(&self.socket, Duration::from_secs(1));
        child.wait(START_PATIENCE, Duration::from_millis(2), ready, || self.end_of_log())?;
        self.running = Some(child);
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let mut args = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", self.data_dir().display()),
            format!("--tmpdir={}", self.dir.join("tmp").display()),
            format!("--socket={}", self.socket.display()),
            format!("--pid-file={}", self.dir.join("server.pid").display()),
            format!("--port={}", self.port),
        ];
        args.extend(template::as_root());
        args.extend(self.options.arguments(self.binary.family));
        args
    }

    /// Kills the server as a crash would, with SIGKILL. [`Server::restart`] brings it back.
    ///
    /// # Errors
    /// None today.
    pub fn kill9(&mut self) -> Result<()> {
        self.running = None;
        Ok(())
    }

    /// Stops the server cleanly.
    ///
    /// # Errors
    /// None today.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            running.stop(STOP_PATIENCE);
        }
        Ok(())
    }

    /// Starts the server again on the same port and the same data; stops it first when it runs.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.launch() {
                // Connections of the old server may hold the port for a moment.
                Err(Error::DidNotStart { log }) if attempts < 50 && port_was_taken(&log) => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }

    /// As [`Server::restart`], with other settings; folder and port stay.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn restart_with(&mut self, options: &Options) -> Result<()> {
        self.stop()?;
        self.options = Options { dir: self.options.dir.clone(), port: Some(self.port), ..options.clone() };
        self.restart()
    }

    /// Runs statements as root and returns what they print: one line per row, columns separated by tabs, NULL as
    /// `NULL`. Opens a session for each call; see [`Server::session`].
    ///
    /// # Errors
    /// [`Error::Sql`] with the server's answer.
    pub fn sql(&self, statements: &str) -> Result<String> {
        let rows = self.session()?.run(statements)?;
        Ok(rows.iter().map(line).collect())
    }

    /// A session of its own as root, for many statements.
    ///
    /// # Errors
    /// I/O errors when the server does not run.
    pub fn session(&self) -> Result<Session> {
        Session::connect(&self.socket)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Guarded::pid)
    }

    /// Whether the server runs (it has been started, and has neither been stopped nor ended by itself).
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|child| child.ended().is_none())
    }

    /// The unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The folder with everything the server writes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data folder, with the binlog files in it.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The server's error log.
    pub fn error_log(&self) -> PathBuf {
        self.dir.join("error.log")
    }

    /// The family of the server.
    pub fn family(&self) -> Family {
        self.binary.family
    }

    /// The version as the server prints it.
    pub fn version(&self) -> &str {
        &self.binary.version
    }

    fn end_of_log(&self) -> String {
        end_of_file(&self.error_log())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running = None;
        let _ = fs::remove_file(&self.socket);
        if self.temporary {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({} on 127.0.0.1:{} in {})", self.binary.version, self.port, self.dir.display())
    }
}

pub(crate) fn end_of_file(file: &Path) -> String {
    let text = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(3000)..]).into_owned()
}

/// Both families say so when the port is taken: "Can't start server: Bind on TCP/IP port" and "Address already in use".
fn port_was_taken(log: &str) -> bool {
    log.contains("Bind on TCP/IP port") || log.contains("Address already in use") || log.contains("Do you already have")
}

fn socket_path(dir: &Path) -> PathBuf {
    let inside = dir.join("server.sock");
    if inside.as_os_str().len() <= LONGEST_SOCKET_PATH {
        return inside;
    }
    scratch_path("dujiang-socket")
}

fn line(row: &Row) -> String {
    let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect();
    cells.join("\t") + "\n"
}

/// A path under the system's temporary folder that nobody else uses.
pub(crate) fn scratch_path(prefix: &str) -> PathBuf {
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.subsec_nanos());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("{prefix}-{}-{number}-{nanos:08x}", std::process::id()))
}
