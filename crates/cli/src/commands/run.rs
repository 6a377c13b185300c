//! `dujiang run FILE...`.

use super::{fail, refuse};
use crate::console::Console;
use crate::logging;
use crate::loops::{self, Plan};
use crate::pipeline_file::{self, Setting};
use crate::session::Session;
use crate::several::{self, Run};
use crate::state_dir;
use clap::{Args, ValueEnum};
use dujiang_core::{Code, Epoch, Error, Result};
use dujiang_spec::Loaded;
use std::path::PathBuf;

/// Flags of `run`.
#[derive(Args)]
pub struct Arguments {
    /// Pipeline files; all pipelines in them run in this process, and the first that fails stops the others
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// End by itself at this point, for scripts
    #[arg(long, value_enum, value_name = "POINT")]
    until: Option<Until>,
    /// This pipeline's own folder for checkpoints and dead letters
    /// [default: $XDG_STATE_HOME/dujiang/<pipeline>, else ~/.local/state/dujiang/<pipeline>]; of several pipelines each
    /// has a folder of its name in it
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Override one value of the file, e.g. `--set source.port=3307`; wins over the environment
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<Setting>,
    /// Go back to this checkpoint first; later output is withdrawn from the sink
    #[arg(long, value_name = "CHECKPOINT")]
    restore_from: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Until {
    /// The snapshot of every table is in the sink
    Snapshot,
    /// Past the source position read when the process started
    CaughtUp,
}

/// Runs the pipelines to their end.
pub fn run(arguments: Arguments, console: &Console) -> u8 {
    let mut loaded = match pipeline_file::open_all(&arguments.files, &arguments.settings) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes, console),
    };
    loaded.iter().for_each(|loaded| logging::hide_secrets_of(&loaded.pipeline));
    loaded.iter().flat_map(|loaded| &loaded.warnings).for_each(|warning| console.report(warning));
    match loaded.pop() {
        Some(only) if loaded.is_empty() && only.log.is_none() => run_one(only, &arguments, console),
        last => run_several(loaded.into_iter().chain(last).collect(), &arguments, console),
    }
}

fn run_one(loaded: Loaded, arguments: &Arguments, console: &Console) -> u8 {
    let state_dir = state_dir::of(&loaded.pipeline.name, arguments.state_dir.clone());
    let started = state_dir
        .map_err(no_state_dir)
        .and_then(|state_dir| Ok((state_dir, Session::start(console, &loaded.pipeline.name)?)));
    match started {
        Ok((state_dir, session)) => session.run(loaded, arguments.plan(state_dir)),
        Err(error) => fail(&error, console),
    }
}

fn run_several(all: Vec<Loaded>, arguments: &Arguments, console: &Console) -> u8 {
    match several(all, arguments, console) {
        Ok(runs) => several::to_the_end(runs),
        Err(error) => fail(&error, console),
    }
}

/// What is to be run; nothing has been started but logging and threads.
fn several(all: Vec<Loaded>, arguments: &Arguments, console: &Console) -> Result<Vec<Run>> {
    if arguments.restore_from.is_some() && all.len() > 1 {
        let error = Error::new(Code::Usage, "`--restore-from` is about one pipeline, but several were named");
        return Err(error.help("go back with one pipeline at a time"));
    }
    Session::prepare_several(console)?;
    let alone = all.len() == 1;
    let mut runs = Vec::new();
    for loaded in all {
        let (name, given) = (&loaded.pipeline.name, arguments.state_dir.as_ref());
        let folder =
            if alone { state_dir::of(name, given.cloned()) } else { state_dir::of_one_of(name, given.map(|f| &**f)) };
        let loops = loops::of(loaded, arguments.plan(folder.map_err(no_state_dir)?))?;
        runs.extend(loops.into_iter().map(|of| Run { of, console: console.clone() }));
    }
    Ok(runs)
}

fn no_state_dir(why: String) -> Error {
    Error::new(Code::StateUnusable, why).help("name a folder with --state-dir")
}

impl Arguments {
    fn plan(&self, state_dir: PathBuf) -> Plan {
        let until = self.until.map(|until| match until {
            Until::Snapshot => dujiang_engine::Until::Snapshot,
            Until::CaughtUp => dujiang_engine::Until::CaughtUp,
        });
        Plan { state_dir, until, restore_from: self.restore_from.map(Epoch) }
    }
}
