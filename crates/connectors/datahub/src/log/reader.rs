//! The reading end: what the task has put into order.

use super::follow::Follow;
use super::place::{FromSegment, Piece};
use super::tail::Trouble;
use async_trait::async_trait;
use dujiang_core::source::Acker;
use dujiang_core::{Code, Error, Position, Result};
use dujiang_entries::Pieces;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces that may wait.
const PIECES: usize = 2;
/// Longest wait before the reader says that nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

/// The task that follows the log; ends with this.
pub(crate) struct Task {
    pieces: mpsc::Receiver<Result<Piece>>,
    task: JoinHandle<()>,
    trouble: Trouble,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Task {
    pub(crate) fn start(follow: Follow, trouble: Trouble) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES);
        Self { pieces, task: tokio::spawn(follow.run(sender)), trouble }
    }
}

#[async_trait]
impl Pieces for Task {
    type Place = FromSegment;

    async fn next(&mut self) -> Result<Option<Piece>> {
        match tokio::time::timeout(PATIENCE, self.pieces.recv()).await {
            Err(_) => Ok(None),
            Ok(Some(piece)) => piece.map(Some),
            Ok(None) => Err(Error::new(Code::Bug, "the task that follows the log has ended")),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.told()
    }
}

/// Nothing in DataHub waits for a delivery.
pub(crate) struct LogAcker;

#[async_trait]
impl Acker for LogAcker {
    async fn ack(&mut self, _position: &Position) -> Result<()> {
        Ok(())
    }
}
