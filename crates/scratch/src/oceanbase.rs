//! A real OceanBase kernel for one tenant (SeekDB), without Binlog Service and proxy.
//!
//! It listens on every address of the machine and can be told no other, so it gets a network of its own, without a way out;
//! its unix socket is the door, and a thread here leads to it from a port on 127.0.0.1. It takes some 300 MB of memory,
//! 1.2 GB of disk and a few seconds to start: one for all tests that need it.

use crate::binary::servers_folder;
use crate::error::{Error, IoContext, Result};
use crate::guard::Guarded;
use crate::server::{end_of_file, scratch_path};
use crate::session::Session;
use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const START_PATIENCE: Duration = Duration::from_secs(180);
/// The port that it insists on, in its own network.
const ARGUMENTS: [&str; 9] = [
    "--nodaemon",
    "--port",
    "2881",
    "--parameter",
    "datafile_size=1G",
    "--parameter",
    "log_disk_size=2G",
    "--parameter",
    "memory_limit=1G",
];

/// A private OceanBase; killed, and its folder removed, when dropped. User `root` logs in without a password.
pub struct OceanBase {
    dir: PathBuf,
    port: u16,
    ends: Arc<AtomicBool>,
    running: Option<Guarded>,
}

impl OceanBase {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// [`Error::NoSuchServer`]; [`Error::DidNotStart`], also where no network of its own can be made (that takes root, or
    /// user namespaces); I/O errors.
    pub fn start() -> Result<Self> {
        let program = servers_folder().join("oceanbase/bin/seekdb");
        if !program.is_file() {
            return Err(Error::NoSuchServer { kind: "OceanBase".into(), path: program });
        }
        let dir = scratch_path("dujiang-oceanbase");
        fs::create_dir_all(&dir).at("create", &dir)?;
        let log = dir.join("output.log");
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.extend(["--base-dir".to_owned(), dir.display().to_string()]);
        let socket = dir.join("run/sql.sock");
        let ends = Arc::new(AtomicBool::new(false));
        let port = forward(socket.clone(), ends.clone())?;
        // Whole before it is waited for: a start that fails leaves nothing behind.
        let mut server = Self { dir, port, ends, running: None };
        let child = server.running.insert(Guarded::spawn(&program, &arguments, &log, Some(&server.dir))?);
        let answers = || Session::connect(&socket).is_ok_and(|mut session| session.run("SELECT current_scn()").is_ok());
        child.wait(START_PATIENCE, Duration::from_millis(50), answers, || end_of_file(&log))?;
        Ok(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A session as root.
    ///
    /// # Errors
    /// I/O errors when the server does not run.
    pub fn session(&self) -> Result<Session> {
        Session::connect(&self.dir.join("run/sql.sock"))
    }
}

impl Drop for OceanBase {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.running = None;
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Leads from a port to the socket.
fn forward(socket: PathBuf, ends: Arc<AtomicBool>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").at("listen on", Path::new("127.0.0.1"))?;
    let port = listener.local_addr().at("listen on", Path::new("127.0.0.1"))?.port();
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            if ends.load(Ordering::SeqCst) {
                return;
            }
            let socket = socket.clone();
            std::thread::spawn(move || drop(join(&client, &socket)));
        }
    });
    Ok(port)
}

fn join(client: &TcpStream, socket: &Path) -> io::Result<()> {
    let server = UnixStream::connect(socket)?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let up = std::thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client.try_clone()?);
    let _ = io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
    let _ = up.join();
    Ok(())
}
