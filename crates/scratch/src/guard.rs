//! A child process that never outlives its parent, however the parent ends.
//!
//! `PR_SET_PDEATHSIG` would need `unsafe` code between fork and exec, and dies with the *thread* that forked. Two small
//! shell processes do without: a launcher that waits for a go-ahead before it becomes the program, and a watchdog that
//! reads from a pipe whose other end only this process holds. When this process ends, the pipe closes, and the watchdog
//! kills the program. The go-ahead comes after the watchdog runs, so there is no moment without one.

use crate::error::{Error, IoContext, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const LAUNCHER: &str = r#"read -r go && exec "$@" </dev/null"#;
/// Waits for the end of the pipe, then kills `$1` and, if it is named, removes the folder `$2`.
const WATCHDOG: &str = r#"read -r never; kill -9 "$1" 2>/dev/null; if [ -n "$2" ]; then rm -rf -- "$2"; fi"#;

/// A running program and its watchdog.
pub(crate) struct Guarded {
    program: Child,
    watchdog: Child,
}

impl Guarded {
    /// Starts `program` with `args`; both outputs go to `log`. `scratch` is removed if this process dies.
    pub(crate) fn spawn(program: &Path, args: &[String], log: &Path, scratch: Option<&Path>) -> Result<Self> {
        let out = std::fs::File::options().create(true).append(true).open(log).at("open the log", log)?;
        let err = out.try_clone().at("open the log", log)?;
        let mut launcher = shell(LAUNCHER)
            .arg(program)
            .args(args)
            .stdout(out)
            .stderr(err)
            .spawn()
            .at("start", Path::new("/bin/sh"))?;
        let watchdog = shell(WATCHDOG)
            .arg(launcher.id().to_string())
            .arg(scratch.unwrap_or(Path::new("")))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .at("start", Path::new("/bin/sh"))?;
        let mut go = launcher.stdin.take().expect("invariant: stdin is piped");
        go.write_all(b"go\n").at("start", program)?;
        Ok(Self { program: launcher, watchdog })
    }

    /// The program's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.program.id()
    }

    /// Waits until it is `ready`, and looks again after every `pause`; `log` tells why it is not.
    pub(crate) fn wait(
        &mut self,
        patience: Duration,
        pause: Duration,
        mut ready: impl FnMut() -> bool,
        log: impl Fn() -> String,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !ready() {
            if self.ended().is_some() {
                return Err(Error::DidNotStart { log: log() });
            }
            if Instant::now() > deadline {
                return Err(Error::TimedOut { seconds: patience.as_secs(), log: log() });
            }
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// How the program ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.program.try_wait().ok().flatten()
    }

    /// Asks the program to end, and kills it when it has not done so within `patience`.
    pub(crate) fn stop(mut self, patience: Duration) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + patience;
        while self.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        // Dropping kills what is left.
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Guarded {
    /// Kills at once. The watchdog goes first: the program's process id is not free before it is waited for, so the
    /// watchdog can never kill a stranger.
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.program.wait();
    }
}

/// A shell in a process group of its own, so that Ctrl-C on a terminal reaches only the process that owns it.
fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).stdin(Stdio::piped()).process_group(0);
    command
}
