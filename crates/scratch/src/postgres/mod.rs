//! A private PostgreSQL server.

mod programs;
mod template;

use crate::error::{Error, IoContext, Result};
use crate::guard::Guarded;
use crate::port::free_port;
use crate::server::scratch_path;
pub use programs::PostgresKind;
use programs::{Programs, as_user, installed, other_user};
use rustix::process::Signal;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// Settings of every server; those of [`PostgresOptions`] come after them and win, and what `ALTER SYSTEM` sets wins over both.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "timezone=UTC",
    "jit=off",
    "wal_level=logical",
    "max_connections=50",
    "max_prepared_transactions=10",
    "shared_buffers=32MB",
    "autovacuum=off",
];

/// The file of these settings in the server's folder.
const SCRATCH: &str = "scratch.conf";

/// How a server is started.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Which server.
    pub kind: PostgresKind,
    /// Settings, each `name=value`.
    pub settings: Vec<String>,
    /// Encoding of the databases.
    pub encoding: &'static str,
    /// Locale of the databases.
    pub locale: &'static str,
    /// Language of the messages (`LANGUAGE`), as far as the machine has it and `lc_messages` is not `C`. The log has to be English
    /// until the server is ready.
    pub language: Option<&'static str>,
}

impl Default for PostgresOptions {
    /// The machine's own server, UTF-8 text in the order of its bytes, `wal_level=logical`, the time zone UTC.
    fn default() -> Self {
        Self { kind: PostgresKind::System, settings: Vec::new(), encoding: "UTF8", locale: "C.UTF-8", language: None }
    }
}

impl PostgresOptions {
    /// A certain server.
    #[must_use]
    pub fn on(mut self, kind: PostgresKind) -> Self {
        self.kind = kind;
        self
    }

    /// One more setting, `name=value`.
    #[must_use]
    pub fn set(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }
}

/// A PostgreSQL server that listens on the loopback address and on a socket in its own folder. It never outlives the
/// process that started it. User `postgres` logs in without a password.
pub struct Postgres {
    programs: Programs,
    options: PostgresOptions,
    server: Option<Guarded>,
    dir: PathBuf,
    port: u16,
}

impl Postgres {
    /// Starts the machine's own server.
    ///
    /// # Errors
    /// [`Error::MissingProgram`] naming the program of the package `postgresql` that is missing, or how the start failed.
    pub fn start() -> Result<Self> {
        Self::start_with(&PostgresOptions::default())
    }

    /// Starts a server.
    ///
    /// # Errors
    /// As [`Postgres::start`]; [`Error::NoNewestPostgres`].
    pub fn start_with(options: &PostgresOptions) -> Result<Self> {
        let programs = Programs::of(options.kind)?;
        installed("psql")?;
        let dir = scratch_path("dujiang-pg");
        std::fs::create_dir(&dir).at("make the folder", &dir)?;
        template::hand_over(&dir, other_user()?)?;
        let mut server = Self { programs, options: options.clone(), server: None, dir, port: 0 };
        template::copy_to(&server.programs, options.encoding, options.locale, &server.data_dir())?;
        let main = server.data_dir().join("postgresql.conf");
        let mut file = std::fs::OpenOptions::new().append(true).open(&main).at("open", &main)?;
        writeln!(file, "include '{SCRATCH}'").at("write", &main)?;
        server.start_on_some_port()?;
        Ok(server)
    }

    /// Starts a standby that follows this server, from a copy of its data; this server is stopped for the copy and started
    /// again. `SELECT pg_promote()` makes it a primary server.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn standby(&mut self, settings: &[&str]) -> Result<Self> {
        self.stop();
        let dir = scratch_path("dujiang-pg");
        std::fs::create_dir(&dir).at("make the folder", &dir)?;
        template::hand_over(&dir, other_user()?)?;
        template::copy_folder(&self.data_dir(), &dir.join("data"), other_user()?)?;
        self.restart()?;
        let mut options = self.options.clone();
        let primary =
            format!("host=127.0.0.1 port={} user=postgres dbname=postgres application_name=standby", self.port);
        options.settings.push(format!("primary_conninfo={primary}"));
        options.settings.extend(settings.iter().map(|s| (*s).to_owned()));
        let mut standby = Self { programs: self.programs.clone(), options, server: None, dir, port: 0 };
        standby.file("standby.signal", "")?;
        standby.start_on_some_port()?;
        Ok(standby)
    }

    /// Writes a file into the server's folder, which nobody else can read; returns its path.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.data_dir().join(name);
        std::fs::write(&path, content).at("write", &path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).at("close", &path)?;
        template::hand_over(&path, other_user()?)?;
        Ok(path)
    }

    /// Lets in whom these lines of `pg_hba.conf` let in; a first line lets everybody in through the socket.
    ///
    /// # Errors
    /// As [`Postgres::sql`].
    pub fn let_in(&self, lines: &[&str]) -> Result<()> {
        self.file("pg_hba.conf", &format!("local all all trust\n{}\n", lines.join("\n")))?;
        self.reload()
    }

    /// Lets the server read its files again; returns when new sessions live by them.
    ///
    /// # Errors
    /// As [`Postgres::sql`].
    pub fn reload(&self) -> Result<()> {
        let loaded = || self.sql("SELECT pg_conf_load_time()");
        let before = loaded()?;
        self.sql("SELECT pg_reload_conf()")?;
        while loaded()? == before {}
        Ok(())
    }

    /// Between choosing a port and the server's bind another process may take it; then the next one is tried.
    fn start_on_some_port(&mut self) -> Result<()> {
        let mut attempts = 0;
        loop {
            self.port = free_port();
            attempts += 1;
            match self.launch() {
                Err(Error::DidNotStart { log }) if attempts < 20 && port_was_taken(&log) => {}
                other => return other,
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let log = self.dir.join("postgres.log");
        let _ = std::fs::remove_file(&log);
        let (mut program, mut command) = as_user(&self.programs.postgres)?;
        if let Some(language) = self.options.language {
            command.splice(0..0, [format!("LANGUAGE={language}"), program.display().to_string()]);
            program = installed("env")?;
        }
        let (data, dir) = (self.data_dir().display().to_string(), self.dir.display().to_string());
        command.extend(["-D".to_owned(), data, "-k".to_owned(), dir, "-p".to_owned(), self.port.to_string()]);
        self.file(SCRATCH, &self.settings())?;
        let guarded = Guarded::spawn(&program, &command, &log, Some(&self.dir))?;
        self.wait(guarded, &log)
    }

    /// In a file, so that `ALTER SYSTEM` can change them.
    fn settings(&self) -> String {
        let given = self.options.settings.iter().map(String::as_str);
        let line = |setting: &str| {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            format!("{name} = '{}'\n", value.replace('\'', "''"))
        };
        SETTINGS.iter().copied().chain(given).map(line).collect()
    }

    fn wait(&mut self, mut guarded: Guarded, log: &Path) -> Result<()> {
        let told = || std::fs::read_to_string(log).unwrap_or_default();
        // The server says so in its log; asking it by a client costs a process each time.
        let ready = || told().contains("database system is ready to accept");
        guarded.wait(PATIENCE, Duration::from_millis(5), ready, told)?;
        self.server = Some(guarded);
        Ok(())
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The port on 127.0.0.1; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the socket; its name there is `.s.PGSQL.<port>`.
    pub fn socket_dir(&self) -> &Path {
        &self.dir
    }

    /// The server's version as it prints it, e.g. `15.18`.
    pub fn version(&self) -> &str {
        &self.programs.version
    }

    /// What the server wrote into its log since its last start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("postgres.log")).unwrap_or_default()
    }

    /// Kills the server as a crash would. [`Postgres::restart`] brings it back.
    pub fn kill9(&mut self) {
        self.server = None;
    }

    /// Stops the server cleanly, without waiting for its clients.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.signal(Signal::INT);
            server.stop(PATIENCE);
        }
    }

    /// Starts the server again on the same port and the same data; stops it first when it runs.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.launch() {
                // Processes of a killed server hold its memory, and connections its port, for a moment.
                Err(Error::DidNotStart { log }) if was_held(&log) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }

    /// As [`Postgres::restart`], after `pg_resetwal` with these arguments: of the log, nothing is left.
    ///
    /// # Errors
    /// As [`Postgres::start`]; the newest server comes without the program.
    pub fn restart_reset(&mut self, arguments: &[&str]) -> Result<()> {
        self.stop();
        let (program, mut command) = as_user(&self.programs.postgres.with_file_name("pg_resetwal"))?;
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let data = self.data_dir();
        let output = Command::new(&program).args(&command).arg(&data).output().at("start", &program)?;
        if !output.status.success() {
            return Err(Error::DidNotStart { log: String::from_utf8_lossy(&output.stderr).into_owned() });
        }
        self.restart()
    }

    /// As [`Postgres::restart`], with other settings; server, folder and port stay.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn restart_with(&mut self, settings: &[&str]) -> Result<()> {
        self.options.settings = settings.iter().map(|s| (*s).to_owned()).collect();
        self.restart()
    }

    /// Runs a script on one connection and returns what it prints: rows as lines, columns separated by tabs, no headings.
    ///
    /// # Errors
    /// [`Error::Sql`] with the server's words for the first statement that fails; later ones do not run.
    pub fn sql(&self, script: &str) -> Result<String> {
        self.sql_in("postgres", script)
    }

    /// As [`Postgres::sql`], in a certain database.
    ///
    /// # Errors
    /// As [`Postgres::sql`].
    pub fn sql_in(&self, database: &str, script: &str) -> Result<String> {
        let psql = installed("psql")?;
        let mut client = Command::new(&psql)
            .args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database])
            .arg("-h")
            .arg(&self.dir)
            .args(["-p", &self.port.to_string(), "-f", "-"])
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
            // Immediate shutdown: nothing has to be saved, and shared memory is given back.
            server.signal(Signal::QUIT);
            server.stop(Duration::from_secs(5));
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn port_was_taken(log: &str) -> bool {
    log.contains("Address already in use") || log.contains("could not create any TCP/IP sockets")
}

fn was_held(log: &str) -> bool {
    port_was_taken(log) || log.contains("shared memory block") || log.contains("lock file")
}
