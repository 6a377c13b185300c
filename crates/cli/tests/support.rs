//! Running the binary.

use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A folder with pipeline files, output and state; removed at the end.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let mut folder = tempfile::tempdir().expect("a scratch folder");
        // For whoever wants to look at what a failed test left behind.
        if std::env::var_os("DUJIANG_KEEP").is_some() {
            folder.disable_cleanup(true);
            println!("kept: {}", folder.path().display());
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("write a file");
        path
    }

    /// The command, away from the environment of whoever runs the tests.
    pub fn dujiang(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dujiang"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DUJIANG") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.folder.path()).env("XDG_STATE_HOME", self.path("state")).stdin(Stdio::null());
        command
    }

    /// Runs to the end.
    pub fn run<const N: usize>(&self, arguments: [&str; N]) -> Ended {
        Ended::of(self.dujiang().args(arguments).output().expect("run dujiang"))
    }
}

/// What a run left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Fails unless the exit code is this one.
    #[track_caller]
    pub fn code(self, wanted: i32) -> Self {
        assert_eq!(self.code, Some(wanted), "{}\n{}", self.out, self.err);
        self
    }

    /// The one error of the log as people read it.
    #[track_caller]
    pub fn rendered(&self) -> String {
        let log = self.log();
        let errors: Vec<_> = log.iter().filter(|line| line["level"] == "error").collect();
        assert_eq!(errors.len(), 1, "{}", self.err);
        errors[0]["rendered"].as_str().unwrap_or_else(|| panic!("not rendered: {}", errors[0])).to_owned()
    }

    /// The log, which is JSON because nobody watches.
    pub fn log(&self) -> Vec<serde_json::Value> {
        self.err.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

/// Demands that an error reads as it is written down.
#[track_caller]
pub fn reads_as_written(code: &str, said: &str, place: &Place) {
    let folder = place.path("");
    let folder = folder.display().to_string();
    let hide = [(folder.trim_end_matches('/'), "<folder>")];
    dujiang_testkit::messages::check_text(env!("CARGO_MANIFEST_DIR"), code, said, &hide);
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Asks a process to end: SIGTERM.
pub fn terminate(child: &std::process::Child) {
    kill_process(Pid::from_child(child), Signal::TERM).expect("SIGTERM");
}

/// The number that an environment variable gives a loop, if it does.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// What a loop makes its choices from: the clock, or `DUJIANG_SEED`. It is told, so that a run can be repeated.
pub fn seed() -> u64 {
    let seed = number("DUJIANG_SEED", std::time::UNIX_EPOCH.elapsed().expect("a clock").as_micros() as u64);
    eprintln!("DUJIANG_SEED={seed}");
    seed
}
