//! `dujiang demo`.

use super::{fail, refuse};
use crate::console::Console;
use crate::demo::{self, DemoError};
use clap::Args;
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Flags of `demo`.
#[derive(Args)]
pub struct Arguments {
    /// End by itself after this many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<NonZeroU64>,
    /// Keep everything in this folder instead of a scratch folder that is removed at the end
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Runs the demo to its end.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    match demo::run(arguments.seconds.map(NonZeroU64::get), arguments.keep.clone(), console) {
        Ok(code) => code,
        Err(DemoError::Refused(mistakes)) => refuse(&mistakes, console),
        Err(DemoError::Failed(error)) => fail(&error, console),
    }
}
