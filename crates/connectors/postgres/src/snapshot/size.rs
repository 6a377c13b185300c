//! How many rows a statement of the snapshot reads. Pure.

use super::reader::CHUNK_BYTES;
use std::time::Duration;

/// A statement is to take about so long: it costs the server's time between its end and the next one's begin, and while it runs the
/// stream may have to wait for it.
const WANTED: Duration = Duration::from_millis(50);
/// Chunks of a statement, at most.
const CHUNKS: u64 = 16;

/// The size of the next statement.
pub struct StatementSize {
    chunk_rows: u64,
    rows: u64,
}

impl StatementSize {
    /// Begins with one chunk of so many rows.
    pub fn new(chunk_rows: u32) -> Self {
        let chunk_rows = u64::from(chunk_rows.max(1));
        Self { chunk_rows, rows: chunk_rows }
    }

    /// Rows of the next statement.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// A statement has read so much, in so much time, that of whoever takes the chunks included.
    pub fn read(&mut self, rows: u64, bytes: usize, took: Duration) {
        let Some(per_row) = (bytes as u64).checked_div(rows) else { return };
        // Not less than a chunk, however long that takes.
        let chunk = (CHUNK_BYTES as u64 / per_row.max(1)).clamp(1, self.chunk_rows);
        let fitting = rows as f64 * WANTED.as_secs_f64() / took.as_secs_f64().max(1e-6);
        let rows = (fitting as u64).min(self.rows.saturating_mul(4)).clamp(chunk, CHUNKS * self.chunk_rows);
        // Whole chunks, if there is more than one.
        self.rows = if rows > self.chunk_rows { rows - rows % self.chunk_rows } else { rows };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of statements whose rows take so many bytes and microseconds each.
    fn sizes(bytes: usize, micros: u64, statements: usize) -> Vec<u64> {
        let mut size = StatementSize::new(1_000);
        let next = |_| {
            let rows = size.rows();
            size.read(rows, rows as usize * bytes, Duration::from_micros(rows * micros));
            rows
        };
        (0..statements).map(next).collect()
    }

    #[test]
    fn statements_grow_to_what_is_read_in_50_ms() {
        assert_eq!(sizes(200, 1, 4), [1_000, 4_000, 16_000, 16_000]);
        assert_eq!(sizes(200, 10, 4), [1_000, 4_000, 5_000, 5_000]);
        assert_eq!(sizes(200, 10_000, 3), [1_000, 1_000, 1_000], "one chunk at least");
        assert_eq!(sizes(1 << 20, 10_000, 3), [1_000, 8, 8], "which has fewer rows where they are large");
    }

    #[test]
    fn no_rows_say_nothing() {
        let mut size = StatementSize::new(7);
        size.read(0, 0, Duration::from_secs(1));
        assert_eq!(size.rows(), 7);
    }
}
