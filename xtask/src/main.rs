//! Tasks of the repository: `cargo xtask test`, `cargo xtask servers`, `cargo xtask tidy`, `cargo xtask bench`,
//! `cargo xtask fuzz`.
//!
//! Standard library only, and no crate of ours: the task runner must build in seconds and never wait for the product.

#![allow(clippy::print_stdout, reason = "a task runner talks to its terminal")]

mod bench;
mod fuzz;
mod lexer;
mod servers;
mod shell;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
Tasks of the repository. Usage: cargo xtask <task>

  test    install what the tests need, then format check, tidy, clippy, build and every test
  servers unpack the database servers of several versions that the tests start (no installation)
  tidy    the rules of the house: import table, module rings, lengths, banned calls, examples, fragments, messages
          --shrink  rewrite the ratchet list with today's smaller figures
  bench   measure against the yardsticks of bench/README.md and rewrite bench/RESULTS.md
          [NAME...]  only these
  fuzz    run the fuzz targets of crates/fuzz with cargo-fuzz and a nightly toolchain, which it does not install
          [NAME...]  only these
          --seconds N  for so long each (60)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("test") => test::run(&rest),
        Some("servers") => servers::all(),
        Some("tidy") => tidy::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("fuzz") => fuzz::run(&rest),
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("unknown task `{other}`\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
