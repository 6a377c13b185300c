//! `cargo xtask bench`: measure against the yardsticks of `bench/README.md`.

use crate::servers;
use crate::shell::{self, Outcome, cargo, root};
use crate::tools;
use std::process::Command;

/// Builds the command, then lets `bench/run.py` measure and rewrite `bench/RESULTS.md`.
pub fn run(arguments: &[&str]) -> Outcome {
    let python = tools::python()?;
    tools::compilers()?;
    tools::mariadb()?;
    tools::postgres()?;
    servers::all()?;
    build()?;
    let built = shell::target().join("release");
    let mut measure = Command::new(python);
    measure
        .current_dir(root())
        .arg("bench/run.py")
        .arg(built.join("dujiang"))
        .arg(built.join("examples"))
        .args(arguments);
    shell::run("measure", &mut measure)
}

fn build() -> Outcome {
    shell::run("build", cargo().args(["build", "--release", "--workspace", "--bins", "--examples"]))
}
