//! `cargo xtask fuzz`: the targets of `crates/fuzz`, each for some time.

use crate::shell::{self, Outcome, root};
use std::fs;
use std::path::Path;
use std::process::Command;

const SECONDS: u32 = 60;

/// Runs the named targets, or all, one after the other. `--seconds N` is for how long each.
pub fn run(arguments: &[&str]) -> Outcome {
    let mut seconds = SECONDS;
    let mut targets = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--seconds" => {
                let told = rest.next().ok_or("--seconds: how many?")?;
                seconds = told.parse().map_err(|_| format!("--seconds: `{told}` is no number"))?;
            }
            name => targets.push(name.to_owned()),
        }
    }
    let folder = root().join("crates/fuzz");
    let known = names(&folder.join("fuzz_targets"))?;
    if let Some(unknown) = targets.iter().find(|name| !known.contains(name)) {
        return Err(format!("no target `{unknown}`; there are {}", known.join(", ")));
    }
    if targets.is_empty() {
        targets = known;
    }
    lock(&folder)?;
    for target in targets {
        fuzz(&target, seconds)?;
    }
    Ok(())
}

fn names(folder: &Path) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let files = entries.map(|entry| entry.map(|entry| entry.path()).map_err(|e| e.to_string()));
    let files = files.collect::<Outcome<Vec<_>>>()?;
    let mut names: Vec<String> =
        files.iter().filter_map(|file| file.file_stem()?.to_str().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

/// What is fuzzed is what is built: the same versions of everything.
fn lock(folder: &Path) -> Outcome {
    let (from, to) = (root().join("Cargo.lock"), folder.join("Cargo.lock"));
    let date = |file: &Path| fs::metadata(file).and_then(|data| data.modified()).ok();
    if date(&to) < date(&from) {
        fs::copy(&from, &to).map_err(|e| format!("{}: {e}", to.display()))?;
    }
    Ok(())
}

/// New inputs go to the target folder, seeds stay as they are.
fn fuzz(target: &str, seconds: u32) -> Outcome {
    let build = shell::target().join("fuzz");
    let corpus = build.join("corpus").join(target);
    fs::create_dir_all(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
    let seeds = root().join("crates/fuzz/seeds").join(target);
    // Not the cargo that runs us, which is not the one of nightly.
    let mut command = Command::new("cargo");
    command.current_dir(root()).args(["+nightly", "fuzz", "run", "--fuzz-dir", "crates/fuzz", "--target-dir"]);
    command.arg(&build).arg(target).args([corpus, seeds]);
    command.args(["--", "-timeout=10", "-print_final_stats=1", &format!("-max_total_time={seconds}")]);
    shell::run(&format!("fuzz {target}"), &mut command)
}
