//! A session that stays open.

use dujiang_scratch::Postgres;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// One psql that runs what it is given.
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    pub fn new(server: &Postgres) -> Self {
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-U", "postgres", "-d", "postgres", "-h"])
            .arg(server.socket_dir())
            .args(["-p", &server.port().to_string(), "-f", "-"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Runs it to its end; statements that fail are passed over.
    pub fn run(&mut self, script: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{script};\n\\echo done").unwrap();
        let mut line = String::new();
        while line != "done\n" {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the session has ended");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.input = None;
        self.child.wait().unwrap();
    }
}
