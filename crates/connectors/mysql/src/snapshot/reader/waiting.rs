//! Waiting: for the next chunk, and before the next attempt.

use super::*;

/// One channel per connection: a chunk that cannot be handed out yet holds up no other table's.
#[derive(Default)]
pub(super) struct Chunks {
    pub(super) channels: Vec<mpsc::Receiver<Result<ChunkRead>>>,
    /// Whose turn it is.
    pub(super) turn: usize,
}

impl Chunks {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, held: &[ChunkRead]) -> Poll<Option<Result<ChunkRead>>> {
        let mut open = false;
        for step in 0..self.channels.len() {
            let worker = (self.turn + step) % self.channels.len();
            if held.iter().any(|chunk| chunk.worker == worker) {
                open = true;
                continue;
            }
            match self.channels[worker].poll_recv(cx) {
                Poll::Ready(Some(chunk)) => {
                    self.turn = worker + 1;
                    return Poll::Ready(Some(chunk));
                }
                Poll::Ready(None) => {}
                Poll::Pending => open = true,
            }
        }
        if open { Poll::Pending } else { Poll::Ready(None) }
    }
}

/// How long a connection waits before it looks for a table again that is not there.
pub(super) const MISSING_PAUSE: Duration = Duration::from_millis(50);

/// Whether an error says that the table is not the one any more that was to be read: gone (`ER_NO_SUCH_TABLE`,
/// `ER_BAD_DB_ERROR`), or without columns or a key that it had (`ER_BAD_FIELD_ERROR`).
pub(super) fn has_moved_on(error: &Error) -> bool {
    let gone = ["1146 ", "1049 ", "1054 "];
    let says = |(name, value): &(&str, String)| *name == "server says" && gone.iter().any(|n| value.starts_with(n));
    matches!(error.code(), Code::TableGone | Code::SchemaChange) || error.facts().iter().any(says)
}

/// Waits before the next attempt, or says that there is none.
pub(super) async fn retry(error: Error, failures: u32, job: &Job) -> Result<()> {
    let again = match error.retry() {
        Retry::Endless => true,
        // A connection that is closed before the greeting: something between us and the server is down.
        Retry::Never if error.code() == Code::NotADatabase => true,
        // Somebody else holds the table, for as long as they like.
        Retry::Bounded => failures <= 5 || view::is_locked(&error),
        Retry::Never => false,
    };
    if !again {
        return Err(error.fact("table", job.shape.id().to_string()));
    }
    tracing::warn!(table = %job.shape.id(), %error, "a chunk of the snapshot is read again");
    let pause = Duration::from_millis(100) * 2u32.pow(failures.min(10) - 1);
    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    Ok(())
}
