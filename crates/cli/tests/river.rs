//! A server under load, a pipeline that follows it, and ways to kill the pipeline.

use crate::support::Place;
use dujiang_scratch::{Family, Options, Server};
use dujiang_testkit::datahub::{ACCESS_ID, ACCESS_KEY, PROJECT};
use dujiang_testkit::oracle::{self, Report};
use dujiang_testkit::proxy::Proxy;
use dujiang_testkit::workload::{Plan, Workload, specs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a run may take until it is given up: far beyond what any of them needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// One server with its load, and one pipeline at a time.
pub struct River {
    pub place: Place,
    pub server: Server,
    pub load: Workload,
    /// Between pipeline and server, if there is one.
    pub proxy: Option<Proxy>,
    /// Every life is a new pipeline: state, output and name.
    life: usize,
    settings: Settings,
}

/// A log between source and files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Log {
    None,
    Embedded,
    /// In Kafka at this address; a pipeline of its own delivers from it.
    Kafka(String),
    /// In DataHub at this address; likewise.
    Datahub(String),
}

impl Log {
    /// The block, and the source of the pipeline that delivers from it, if that is one of its own.
    fn blocks(&self, folder: &Path) -> (String, Option<String>) {
        match self {
            Log::None => (String::new(), None),
            Log::Embedded => {
                let folder = folder.display();
                let log = format!(
                    "log:\n  type: embedded\n  path: {folder}\n  commit.interval: 50ms\n  segment.size: 256kb\n  \
                     max-bytes: 64mb\n  retention.age: 0s\n"
                );
                (log, None)
            }
            Log::Kafka(brokers) => {
                let place = format!("  properties.bootstrap.servers: {brokers}\n  topic.prefix: river\n");
                let log = format!("log:\n  type: kafka\n{place}  topic.partitions: 3\n  commit.interval: 50ms\n");
                (log, Some(format!("source:\n  type: kafka-log\n{place}")))
            }
            Log::Datahub(endpoint) => {
                let place = format!(
                    "  endpoint: {endpoint}\n  project: {PROJECT}\n  topic: river\n  access-id: {ACCESS_ID}\n  \
                     access-key: {ACCESS_KEY}\n  request.max-records: 200\n  poll.interval: 20ms\n"
                );
                let log = format!("log:\n  type: datahub\n{place}  commit.interval: 50ms\n");
                (log, Some(format!("source:\n  type: datahub-log\n{place}")))
            }
        }
    }
}

/// What the tests vary in the pipeline file.
#[derive(Debug, Clone)]
pub struct Settings {
    pub chunk: u64,
    pub interval: &'static str,
    pub lanes: usize,
    /// What stands between source and files.
    pub log: Log,
    /// With a proxy between pipeline and server.
    pub proxied: bool,
}

impl River {
    pub fn new(options: &Options, plan: Plan, settings: Settings) -> Self {
        let place = Place::new();
        let server = Server::start(options).expect("a server");
        let load = Workload::create(&server, plan).expect("the tables of the load");
        let proxy = settings.proxied.then(|| Proxy::to_port(server.port()).expect("a proxy"));
        let river = Self { place, server, load, proxy, life: 0, settings };
        river.write_pipeline();
        river
    }

    /// Leaves the pipeline behind and begins another one, from the snapshot.
    pub fn next_life(&mut self) {
        self.life += 1;
        self.write_pipeline();
    }

    fn write_pipeline(&self) {
        let Settings { chunk, interval, lanes, log, proxied } = &self.settings;
        let folder = self.place.path(&format!("out-{}", self.life)).join("log");
        let (log, delivery) = log.blocks(&folder);
        let files = format!("type: file\n  path: {}\n  format: parquet\n", self.out().display());
        let sink = match delivery {
            Some(source) => {
                let text = format!(
                    "{source}sink:\n  {files}pipeline:\n  name: delivery\n  parallelism: {lanes}\n  \
                     checkpoint.interval: {interval}\n",
                );
                self.place.file("delivery.yaml", &text);
                "type: blackhole\n".to_owned()
            }
            None => files,
        };
        // A server that says nothing any more is to be noticed within a test's patience.
        let heartbeat = if *proxied { "  heartbeat.interval: 300ms\n" } else { "" };
        let text = format!(
            "source:\n  type: {}\n  hostname: 127.0.0.1\n  port: {}\n  username: root\n  password: ''\n  tables: {}\n  \
             scan.incremental.snapshot.chunk.size: {chunk}\n{heartbeat}sink:\n  {sink}pipeline:\n  \
             name: river-{}\n  parallelism: {lanes}\n  checkpoint.interval: {interval}\n{log}",
            if self.server.family() == Family::MariaDb { "mariadb" } else { "mysql" },
            self.proxy.as_ref().map_or(self.server.port(), Proxy::port),
            specs().iter().map(|table| table.name()).collect::<Vec<_>>().join(", "),
            self.life,
        );
        self.place.file("river.yaml", &text);
    }

    /// Where the files of this life are.
    pub fn out(&self) -> PathBuf {
        self.place.path(&format!("out-{}", self.life)).join("files")
    }

    /// Starts the pipeline with these faults. Its log goes into a file of its own, over that of the run before.
    pub fn spawn(&self, faults: &str, arguments: &[&str]) -> Run {
        let mut command = self.place.dujiang();
        command.args(["run", "river.yaml"]).args(arguments);
        Run::start(command, self.log_file(), faults)
    }

    /// Starts the pipeline that delivers from a log elsewhere, with these faults.
    pub fn spawn_delivery(&self, faults: &str, arguments: &[&str]) -> Run {
        let mut command = self.place.dujiang();
        command.args(["run", "delivery.yaml"]).args(arguments);
        Run::start(command, self.place.path("delivery.log"), faults)
    }

    /// As [`River::spawn`], as the child of another program.
    pub fn spawn_under(&self, mut program: Command, faults: &str, arguments: &[&str]) -> Run {
        let dujiang = self.place.dujiang();
        program.arg(dujiang.get_program()).args(["run", "river.yaml"]).args(arguments);
        program.current_dir(self.place.path("")).stdin(Stdio::null());
        for (name, value) in dujiang.get_envs() {
            match value {
                Some(value) => program.env(name, value),
                None => program.env_remove(name),
            };
        }
        Run::start(program, self.log_file(), faults)
    }

    fn log_file(&self) -> PathBuf {
        self.place.path("river.log")
    }

    /// The log of the last run.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The last epoch that is visible; 0 when there is none.
    pub fn epoch(&self) -> u64 {
        let names = std::fs::read_dir(self.out().join(".dujiang/manifests")).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let complete = names.filter_map(|name| name.strip_suffix(".manifest")?.strip_prefix('e')?.parse().ok());
        complete.max().unwrap_or(0)
    }

    /// The position of the last epoch that is visible, for people.
    pub fn position(&self) -> Option<String> {
        let path = self.out().join(format!(".dujiang/manifests/e{:010}.manifest", self.epoch()));
        let record = std::fs::read(path).ok()?;
        let text = String::from_utf8_lossy(&record);
        Some(text.split_once("\"position\":\"")?.1.split_once('"')?.0.to_owned())
    }

    /// Stops the load, lets the pipeline catch up undisturbed, and asks the oracle.
    pub fn settle(&mut self) -> Report {
        self.settle_with("")
    }

    /// As [`River::settle`], with a safety step taken out of the last run too.
    pub fn settle_with(&mut self, faults: &str) -> Report {
        self.load.stop();
        let status = self.spawn(faults, &["--until", "caught-up"]).wait();
        assert!(status.success(), "the last run ended with {status}:\n{}", self.log());
        if matches!(self.settings.log, Log::Kafka(_) | Log::Datahub(_)) {
            let status = self.spawn_delivery(faults, &["--until", "caught-up"]).wait();
            let log = std::fs::read_to_string(self.place.path("delivery.log")).unwrap_or_default();
            assert!(status.success(), "the last delivery ended with {status}:\n{log}");
        }
        oracle::check(&self.server, &specs(), &self.out()).expect("the oracle")
    }
}

/// A running pipeline; killed when dropped.
pub struct Run {
    child: Child,
    began: Instant,
    /// What it logs, for the message of a failure.
    log: PathBuf,
}

impl Run {
    /// Starts a pipeline with these faults. It logs into a file, over what is there.
    pub fn start(mut command: Command, log: PathBuf, faults: &str) -> Self {
        let file = std::fs::File::create(&log).expect("a log file");
        command.stdout(Stdio::null()).stderr(file);
        if !faults.is_empty() {
            command.env("DUJIANG_FAULTS", faults);
        }
        Self { child: command.spawn().expect("run dujiang"), began: Instant::now(), log }
    }

    /// How the run ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for dujiang")
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> ExitStatus {
        self.wait_until(|| false);
        self.ended().expect("invariant: it has ended")
    }

    /// Waits until something has happened, or the run has ended; whether the run goes on.
    pub fn wait_until(&mut self, mut happened: impl FnMut() -> bool) -> bool {
        loop {
            if self.ended().is_some() {
                return false;
            }
            if happened() {
                return true;
            }
            assert!(self.began.elapsed() < PATIENCE, "the run neither ended nor got anywhere:\n{}", self.logged());
            // tidy: allow(sleep): how often a file and a process are looked at
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        crate::support::terminate(&self.child);
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
