//! `dujiang test FIXTURE...`.

use super::refuse;
use crate::console::{Console, print};
use crate::fixture::{self, Verdict};
use crate::pipeline_file;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

/// Exit code when an expectation is not met.
const FAILED: u8 = 1;
/// Exit code when there is nothing to test.
const NOTHING: u8 = 2;
/// Folders within folders go no deeper.
const MAX_DEPTH: usize = 16;

/// Flags of `test`.
#[derive(Args)]
pub struct Arguments {
    /// Fixtures; of a folder every `*.test.yaml` in it and below
    #[arg(required = true, value_name = "FIXTURE|DIR")]
    fixtures: Vec<PathBuf>,
    /// Rewrite the expectations to what comes out
    #[arg(long)]
    update: bool,
}

/// Plays every fixture; nothing outside the process is touched but, with `--update`, the fixtures.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    let mut files = Vec::new();
    for path in &arguments.fixtures {
        if path.is_dir() { collect(path, 0, &mut files) } else { files.push(path.clone()) }
    }
    if files.is_empty() {
        console.tell("no fixtures: they are files named `*.test.yaml`");
        return NOTHING;
    }
    let (mut worst, mut failed) = (0, 0);
    for file in &files {
        let code = one(file, arguments.update, console);
        failed += usize::from(code != 0);
        // A fixture that cannot be read says more than one that fails.
        worst = worst.max(code);
    }
    console.tell(&format!("{} passed, {failed} failed", files.len() - failed));
    worst
}

fn one(file: &Path, update: bool, console: &Console) -> u8 {
    let name = file.display();
    let folder = file.parent().unwrap_or(Path::new(""));
    let verdict = pipeline_file::read(file).map_err(|mistake| vec![*mistake]);
    match verdict.and_then(|text| fixture::run(text, folder, update)) {
        Ok(Verdict::Passed) => {
            print(&format!("ok      {name}\n"));
            0
        }
        Ok(Verdict::Failed(difference)) => {
            print(&format!("FAILED  {name}\n{difference}"));
            FAILED
        }
        Ok(Verdict::Updated(text)) => match fs::write(file, text) {
            Ok(()) => {
                print(&format!("updated {name}\n"));
                0
            }
            Err(error) => {
                print(&format!("FAILED  {name}\n  cannot be written: {error}\n"));
                FAILED
            }
        },
        Err(mistakes) => {
            print(&format!("FAILED  {name}\n"));
            refuse(&mistakes, console)
        }
    }
}

/// Every fixture below a folder, by name. What cannot be listed has none.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && depth < MAX_DEPTH {
            collect(&path, depth + 1, files);
        } else if name.ends_with(".test.yaml") || name.ends_with(".test.yml") {
            files.push(path);
        }
    }
}
