//! Several loops in one process, of several pipelines or of one with a log: each has threads, log lines and state of its
//! own.

use crate::console::Console;
use crate::loops::Loop;
use crate::session::Session;
use dujiang_core::{Code, Error};
use dujiang_engine::Stopper;
use dujiang_spec::{Diagnostic, Pipeline};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// One loop to be run.
pub struct Run {
    /// The loop.
    pub of: Loop,
    /// Where it talks.
    pub console: Console,
}

/// What a loop's thread tells.
enum Event {
    /// It runs, and can be stopped.
    Started(Stopper),
    /// It has ended, with this exit code.
    Ended(u8),
}

/// Runs loops until all have ended. The first that fails stops the others, so that whoever watches the process sees
/// it; its exit code is that of the process.
pub fn to_the_end(runs: Vec<Run>) -> u8 {
    let (sender, receiver) = sync_channel(runs.len() * 2);
    let threads: Vec<_> = runs.into_iter().map(|run| start(run, sender.clone())).collect();
    drop(sender);
    let code = watch(&receiver);
    for thread in threads {
        // Whatever went wrong inside has been told and counted through the channel.
        let _ = thread.join();
    }
    code
}

fn start(run: Run, events: SyncSender<Event>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        // A thread that breaks off without a word must not look like one that ended well.
        let mut ended = Ended { code: Code::Bug.exit_code(), events };
        let Run { of: Loop { label, pipeline, job }, console } = run;
        ended.code = match Session::start_one_of(&console, &label) {
            Ok(session) => {
                let _ = ended.events.send(Event::Started(session.stopper()));
                session.run_loop(&pipeline, job)
            }
            Err(error) => report(&error, &pipeline, &console),
        };
    })
}

fn report(error: &Error, pipeline: &Pipeline, console: &Console) -> u8 {
    console.report(&Diagnostic::from_error(error, pipeline));
    error.code().exit_code()
}

/// Tells the end of a thread, however it comes.
struct Ended {
    code: u8,
    events: SyncSender<Event>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Ended(self.code));
    }
}

fn watch(events: &Receiver<Event>) -> u8 {
    let (mut stoppers, mut failed) = (Vec::new(), 0);
    for event in events {
        match event {
            Event::Started(stopper) => stoppers.push(stopper),
            Event::Ended(0) => {}
            Event::Ended(code) => {
                if failed == 0 {
                    tracing::warn!("a loop failed; the others are stopped");
                    failed = code;
                }
            }
        }
        if failed != 0 {
            stoppers.drain(..).for_each(|stopper| stopper.stop());
        }
    }
    failed
}
