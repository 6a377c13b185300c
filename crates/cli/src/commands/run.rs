//! `dujiang run FILE`.

use super::{fail, refuse};
use crate::console::Console;
use crate::pipeline_file::{self, Setting};
use crate::session::{Plan, Session};
use crate::state_dir;
use clap::{Args, ValueEnum};
use dujiang_core::{Code, Epoch, Error};
use dujiang_spec::{Diagnostic, Pipeline};
use std::path::PathBuf;

/// Flags of `run`.
#[derive(Args)]
pub struct Arguments {
    /// The pipeline file
    file: PathBuf,
    /// End by itself at this point, for scripts
    #[arg(long, value_enum, value_name = "POINT")]
    until: Option<Until>,
    /// This pipeline's own folder for checkpoints and dead letters
    /// [default: $XDG_STATE_HOME/dujiang/<pipeline>, else ~/.local/state/dujiang/<pipeline>]
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

/// Runs the pipeline to its end.
pub fn run(arguments: Arguments, console: &Console) -> u8 {
    let loaded = match pipeline_file::open(&arguments.file, &arguments.settings) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes, console),
    };
    if let Some(mistake) = not_wired(&loaded.pipeline) {
        return refuse(&[mistake], console);
    }
    loaded.warnings.iter().for_each(|warning| console.report(warning));
    let state_dir = match state_dir::of(&loaded.pipeline.name, arguments.state_dir) {
        Ok(folder) => folder,
        Err(why) => {
            let error = Error::new(Code::StateUnusable, why).help("name a folder with --state-dir");
            return fail(&error, console);
        }
    };
    let session = match Session::start(console, &loaded.pipeline.name) {
        Ok(session) => session,
        Err(error) => return fail(&error, console),
    };
    let until = arguments.until.map(|until| match until {
        Until::Snapshot => dujiang_engine::Until::Snapshot,
        Until::CaughtUp => dujiang_engine::Until::CaughtUp,
    });
    session.run(loaded, Plan { state_dir, until, restore_from: arguments.restore_from.map(Epoch) })
}

/// Rules must never be passed over: until the engine applies them, a file that has some is refused.
fn not_wired(pipeline: &Pipeline) -> Option<Diagnostic> {
    let place = match (pipeline.transforms.first(), pipeline.routes.first()) {
        (Some(rule), _) => rule.place.clone(),
        (None, Some(rule)) => rule.place.clone(),
        (None, None) => return None,
    };
    let message = "`run` does not carry out `transform` and `route` yet";
    let mut mistake = Diagnostic::about_file(Code::NotSupported, message, pipeline.file.name());
    mistake.place = place;
    mistake.file = pipeline.file.clone();
    mistake.help = Some("`dujiang check` reads them; remove them to run the pipeline without".into());
    Some(mistake)
}
