//! Reads a pipeline's state without running it: for `dujiang dlq` and for listings.

use super::{disk, letters, store};
use dujiang_core::dead_letter::Stage;
use dujiang_core::{Checkpoint, Code, Epoch, Error, Generation, Lineage, Result};
use std::fs;
use std::path::Path;

/// A dead letter as it lies in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLetter {
    /// `<epoch>-<number within the epoch>`, for `dlq show`.
    pub id: String,
    /// The epoch it committed with.
    pub epoch: Epoch,
    /// The record's event id.
    pub event_id: String,
    /// `database.table` at the source.
    pub table: String,
    /// `c`, `u`, `d` or `r`.
    pub op: String,
    /// The row before the change, as JSON text.
    pub before: Option<String>,
    /// The row after the change, as JSON text.
    pub after: Option<String>,
    /// The transaction's place in the source's log.
    pub position: String,
    /// The transaction's id.
    pub transaction: String,
    /// Commit time at the source, microseconds since 1970-01-01 UTC.
    pub commit_micros: i64,
    /// Where it failed.
    pub stage: Stage,
    /// The number of the error's code, e.g. `E0700`.
    pub code: String,
    /// Why, in words.
    pub message: String,
}

/// A checkpoint as it lies in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCheckpoint {
    /// The epoch it ends.
    pub epoch: Epoch,
    /// The instance that wrote it.
    pub generation: Generation,
    /// The source position, for people.
    pub position: String,
    /// When it was written, microseconds since 1970-01-01 UTC.
    pub written_micros: i64,
    /// Size of its file in bytes.
    pub bytes: u64,
    /// Whether it is kept on request.
    pub savepoint: bool,
}

/// How far a pipeline has come.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Its lineage, if it has ever been started.
    pub lineage: Option<Lineage>,
    /// Its newest published checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Whether a process runs it now.
    pub running: bool,
}

/// How far the pipeline of a state folder has come; the folder need not be there.
///
/// # Errors
/// `StateUnusable`, `StateVersion`, `CheckpointDamaged`.
pub fn progress(state_dir: &Path) -> Result<Progress> {
    let newest = store::checkpoint_files(state_dir)?.into_iter().next();
    let checkpoint = newest.map(|(epoch, name)| store::read_checkpoint(state_dir, epoch, &name)).transpose()?;
    let (lineage, running) = (store::read_lineage(state_dir)?, store::is_locked(state_dir));
    Ok(Progress { lineage, checkpoint, running })
}

/// All committed dead letters of a pipeline, oldest first.
///
/// # Errors
/// `StateUnusable` when the folder cannot be read, `StateVersion` when a letter is not of this version,
/// `CheckpointDamaged` when a line cannot be read.
pub fn list_dead_letters(state_dir: &Path) -> Result<Vec<StoredLetter>> {
    let dir = state_dir.join(letters::FOLDER);
    let mut all = Vec::new();
    for (epoch, name) in letters::committed_files(&dir)? {
        let path = dir.join(&name);
        let text = fs::read_to_string(&path).map_err(|e| disk::unusable(&path, e))?;
        for (number, line) in text.lines().enumerate() {
            all.push(read_line(line, epoch, number + 1, &path)?);
        }
    }
    Ok(all)
}

/// One dead letter by its id.
///
/// # Errors
/// As [`list_dead_letters`]; `Usage` when there is no such letter.
pub fn show_dead_letter(state_dir: &Path, id: &str) -> Result<StoredLetter> {
    let all = list_dead_letters(state_dir)?;
    all.into_iter().find(|letter| letter.id == id).ok_or_else(|| {
        Error::new(Code::Usage, format!("there is no dead letter {id}"))
            .help("list the letters to see their ids; an id is <epoch>-<number>")
    })
}

/// All kept checkpoints of a pipeline, newest first.
///
/// # Errors
/// As [`list_dead_letters`]; `CheckpointDamaged` for one that cannot be read.
pub fn list_checkpoints(state_dir: &Path) -> Result<Vec<StoredCheckpoint>> {
    let mut all = Vec::new();
    for (epoch, name) in store::checkpoint_files(state_dir)? {
        let checkpoint = store::read_checkpoint(state_dir, epoch, &name)?;
        let path = state_dir.join(&name);
        let bytes = fs::metadata(&path).map_err(|e| disk::unusable(&path, e))?.len();
        all.push(StoredCheckpoint {
            epoch,
            generation: checkpoint.generation,
            position: checkpoint.position_text,
            written_micros: checkpoint.written_micros,
            bytes,
            savepoint: false,
        });
    }
    Ok(all)
}

fn read_line(line: &str, epoch: Epoch, number: usize, path: &Path) -> Result<StoredLetter> {
    let place = || format!("{}:{number}", path.display());
    let line: letters::Line = serde_json::from_str(line).map_err(|e| {
        Error::new(Code::CheckpointDamaged, format!("a dead letter cannot be read: {}", place())).with_source(e)
    })?;
    if line.version != 1 {
        return Err(Error::new(Code::StateVersion, format!("a dead letter is of another version: {}", place())));
    }
    let stage = match line.stage.as_str() {
        "source" => Stage::Source,
        "transform" => Stage::Transform,
        "sink" => Stage::Sink,
        other => {
            return Err(Error::new(Code::CheckpointDamaged, format!("a dead letter names no stage: {}", place()))
                .fact("found", other));
        }
    };
    Ok(StoredLetter {
        id: format!("{epoch}-{number}"),
        epoch,
        event_id: line.event_id,
        table: line.table,
        op: line.op,
        before: line.before.map(|json| json.get().to_owned()),
        after: line.after.map(|json| json.get().to_owned()),
        position: line.position,
        transaction: line.transaction,
        commit_micros: line.commit_micros,
        stage,
        code: line.code,
        message: line.message,
    })
}
