//! Dead letters on the local disk: one file of JSON lines per epoch, visible once the epoch commits.

use super::disk;
use async_trait::async_trait;
use dujiang_core::checkpoint::Token;
use dujiang_core::dead_letter::{DeadLetter, DeadLetterStore};
use dujiang_core::sink::CommitRequest;
use dujiang_core::{Code, Epoch, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) const FOLDER: &str = "dlq";
const STAGED: &str = "staged-";
const COMMITTED: &str = "letters-";
const SUFFIX: &str = ".jsonl";

/// One line of a letters file.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) version: u32,
    pub(super) event_id: String,
    pub(super) table: String,
    pub(super) op: String,
    pub(super) before: Option<Box<RawValue>>,
    pub(super) after: Option<Box<RawValue>>,
    pub(super) position: String,
    pub(super) transaction: String,
    pub(super) commit_micros: i64,
    pub(super) stage: String,
    pub(super) code: String,
    pub(super) title: String,
    pub(super) message: String,
}

/// The dead-letter store in a pipeline's state folder, under `dlq/`.
pub struct FileLetters {
    dir: PathBuf,
    open: Vec<DeadLetter>,
    /// Held while something works on the folder.
    folder: Arc<Mutex<()>>,
}

impl FileLetters {
    /// The store in this state folder. Touches nothing yet.
    pub fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.join(FOLDER), open: Vec::new(), folder: Arc::default() }
    }

    /// Runs a blocking piece of work on a thread for it; if the caller goes away meanwhile, the work still ends before
    /// anything else begins.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Path) -> Result<T> + Send + 'static) -> Result<T> {
        let (dir, folder) = (self.dir.clone(), self.folder.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _alone = folder.lock().unwrap_or_else(PoisonError::into_inner);
            work(&dir)
        });
        done.await.map_err(|e| Error::new(Code::Bug, "the dead-letter store broke").with_source(e))?
    }
}

fn stage(dir: &Path, epoch: Epoch, letters: &[DeadLetter]) -> Result<Token> {
    let mut lines = Vec::new();
    for letter in letters {
        serde_json::to_writer(&mut lines, &line(letter)?)
            .map_err(|e| Error::new(Code::Bug, "write a dead letter").with_source(e))?;
        lines.push(b'\n');
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random)
        .map_err(|e| Error::new(Code::DeadLetterWrite, "get random bytes for a name").with_source(e.to_string()))?;
    let name = format!("{STAGED}{:020}-{:08x}{SUFFIX}", epoch.0, u32::from_be_bytes(random));
    disk::create_folder(dir)?;
    disk::replace(dir, &name, &lines, Code::DeadLetterWrite)?;
    Ok(Token(name.into_bytes().into()))
}

fn make_visible(dir: &Path, token: &Token) -> Result<()> {
    let (staged, epoch) = parse_token(token)?;
    let (from, to) = (dir.join(&staged), dir.join(committed_name(epoch)));
    match fs::rename(&from, &to) {
        Ok(()) => Ok(()),
        // The staged file gone means committed: the call is idempotent.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && to.exists() => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(Code::SinkMismatch, "dead letters named by a checkpoint are gone")
                .fact("file", from.display().to_string())
                .help("bring the folder dlq back from a backup, or go back with --restore-from"))
        }
        Err(e) => Err(disk::write_error(&to, e, Code::DeadLetterWrite)),
    }
}

#[async_trait]
impl DeadLetterStore for FileLetters {
    fn add(&mut self, letter: DeadLetter) {
        self.open.push(letter);
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Vec<Token>> {
        if self.open.is_empty() {
            return Ok(Vec::new());
        }
        // An error ends the run, and what is not durable is read again by the next one.
        let letters = std::mem::take(&mut self.open);
        self.blocking(move |dir| stage(dir, epoch, &letters).map(|token| vec![token])).await
    }

    async fn commit(&mut self, request: &CommitRequest) -> Result<()> {
        let tokens = request.tokens.clone();
        self.blocking(move |dir| {
            tokens.iter().try_for_each(|token| make_visible(dir, token))?;
            if tokens.is_empty() { Ok(()) } else { disk::sync_dir(dir) }
        })
        .await
    }

    async fn abort_except(&mut self, keep: &[Token]) -> Result<()> {
        let keep = keep.to_vec();
        self.blocking(move |dir| {
            for name in disk::file_names(dir)? {
                let kept = keep.iter().any(|token| token.0 == name.as_bytes());
                if !kept && (name.starts_with(STAGED) || name.ends_with(disk::TEMPORARY)) {
                    disk::remove(&dir.join(&name), Code::DeadLetterWrite)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn withdraw_after(&mut self, epoch: Epoch) -> Result<()> {
        self.blocking(move |dir| {
            for (_, name) in committed_files(dir)?.iter().filter(|(of, _)| *of > epoch) {
                disk::remove(&dir.join(name), Code::DeadLetterWrite)?;
            }
            if dir.exists() { disk::sync_dir(dir) } else { Ok(()) }
        })
        .await
    }
}

/// Committed files of letters in a folder, oldest first.
pub(super) fn committed_files(dir: &Path) -> Result<Vec<(Epoch, String)>> {
    let number = |name: &str| name.strip_prefix(COMMITTED)?.strip_suffix(SUFFIX)?.parse().ok();
    let names = disk::file_names(dir)?;
    Ok(names.into_iter().filter_map(|name| Some((Epoch(number(&name)?), name))).collect())
}

fn committed_name(epoch: Epoch) -> String {
    format!("{COMMITTED}{:020}{SUFFIX}", epoch.0)
}

fn parse_token(token: &Token) -> Result<(String, Epoch)> {
    let parse = || {
        let name = std::str::from_utf8(&token.0).ok()?;
        let epoch = name.strip_prefix(STAGED)?.strip_suffix(SUFFIX)?.split('-').next()?;
        // A token is read back from disk: it must not lead out of the folder.
        if name.contains(['/', '\\']) {
            return None;
        }
        Some((name.to_owned(), Epoch(epoch.parse().ok()?)))
    };
    parse().ok_or_else(|| Error::new(Code::CheckpointDamaged, "a checkpoint names dead letters that cannot be"))
}

fn line(letter: &DeadLetter) -> Result<Line> {
    let raw = |json: &Option<String>| {
        let parsed = json.clone().map(RawValue::from_string).transpose();
        parsed.map_err(|e| Error::new(Code::Bug, "a dead letter's row is not JSON").with_source(e))
    };
    Ok(Line {
        version: 1,
        event_id: letter.event_id.clone(),
        table: letter.table.clone(),
        op: letter.op.to_owned(),
        before: raw(&letter.before)?,
        after: raw(&letter.after)?,
        position: letter.position.clone(),
        transaction: letter.transaction.clone(),
        commit_micros: letter.commit_micros,
        stage: letter.stage.name().to_owned(),
        code: letter.code.number().to_owned(),
        title: letter.code.title().to_owned(),
        message: letter.message.clone(),
    })
}
