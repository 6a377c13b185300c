//! `cargo xtask test`: everything a change must pass, on one build.

use crate::shell::{self, Outcome, cargo};
use crate::{servers, tidy, tools};
use std::ffi::OsStr;

/// Installs what is missing, runs every step even after one failed, and ends with `N passed, N failed`.
pub fn run(arguments: &[&str]) -> Outcome {
    tools::compilers()?;
    tools::mariadb()?;
    servers::all()?;
    tools::postgres()?;
    tools::disk_tools()?;
    let python = tools::python()?;
    let mut failed: Vec<String> = checks().into_iter().filter_map(Result::err).collect();
    let count = match build() {
        Ok(()) => tests(&python, arguments)?,
        Err(step) => {
            failed.push(step);
            Count::default()
        }
    };
    for step in &failed {
        println!("failed: {step}");
    }
    for binary in &count.failed_binaries {
        println!("failed: {binary}");
    }
    let broken = count.failed + failed.len() as u64;
    println!("{} passed, {} failed", count.passed, broken);
    if broken == 0 && count.ended_well { Ok(()) } else { Err("xtask: the tests failed".into()) }
}

fn checks() -> Vec<Outcome> {
    let format = shell::run("format", cargo().args(["fmt", "--all", "--check"]));
    eprintln!("xtask: tidy");
    let tidy = tidy::run(&[]);
    // The release profile, because it is the only one: the dependencies are checked once and for all.
    let clippy = ["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    vec![format.map_err(|e| format!("{e}; run `cargo fmt --all`")), tidy, shell::run("clippy", cargo().args(clippy))]
}

fn build() -> Outcome {
    shell::run("build", cargo().args(["build", "--release", "--workspace", "--all-targets"]))
}

#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    failed_binaries: Vec<String>,
    ended_well: bool,
}

fn tests(python: &OsStr, arguments: &[&str]) -> Outcome<Count> {
    eprintln!("xtask: tests");
    let mut count = Count::default();
    let mut current: Option<String> = None;
    let mut command = cargo();
    command.args(["test", "--release", "--workspace", "--no-fail-fast"]).args(arguments);
    command.env("DUJIANG_PYTHON", python);
    count.ended_well = shell::follow(&mut command, |line| {
        if let Some((passed, failed)) = result_line(line) {
            count.passed += passed;
            count.failed += failed;
            current = None;
        } else if let Some(tests) = line.strip_prefix("running ") {
            count.failed += u64::from(current.replace(tests.to_owned()).is_some());
        }
    })?;
    // A test binary that died printed no result; a run that failed without a failed test failed in some other way.
    count.failed += u64::from(current.is_some());
    if !count.ended_well && count.failed == 0 {
        count.failed_binaries.push("cargo test ended with an error".into());
        count.failed = 1;
    }
    Ok(count)
}

/// `test result: ok. 12 passed; 1 failed; 0 ignored; ...`
fn result_line(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        let before = rest.split(word).next()?.trim_end();
        before.rsplit([' ', '.']).next()?.parse().ok()
    };
    Some((number("passed;")?, number("failed;")?))
}

#[cfg(test)]
mod tests {
    use super::result_line;

    #[test]
    fn results_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(result_line(line), Some((12, 3)));
        assert_eq!(result_line("running 4 tests"), None);
    }
}
