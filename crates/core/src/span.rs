//! Origins of the rows of an open batch, for decoders that fill one batch per table.

use crate::batch::{Origin, Origins, TimePrecision};

/// The origin in force, and the runs of the open batch. Many changes of many transactions cost no allocation each.
#[derive(Debug)]
pub struct OpenSpan {
    transaction: String,
    position: String,
    commit_micros: i64,
    precision: TimePrecision,
    /// Orders rows of different tables.
    turn: u64,
    /// Ordinal of the next change.
    next: u64,
    /// Runs of rows under the origin in force that are not in `origins` yet: (end row, ordinal of the first change).
    pending: Vec<(usize, u64)>,
    /// Rows of the open batch, pending ones included.
    rows: usize,
    /// Ordinal that would continue the last pending run.
    continues: u64,
    origins: Origins,
}

impl Default for OpenSpan {
    fn default() -> Self {
        Self {
            transaction: String::new(),
            position: String::new(),
            commit_micros: 0,
            precision: TimePrecision::Seconds,
            turn: 0,
            next: 0,
            pending: Vec::new(),
            rows: 0,
            continues: 0,
            origins: Origins::default(),
        }
    }
}

impl OpenSpan {
    /// Says where the rows come from that are appended next.
    pub fn begin(&mut self, origin: Origin<'_>) {
        self.flush();
        self.transaction.clear();
        self.transaction.push_str(origin.transaction);
        self.position.clear();
        self.position.push_str(origin.position);
        self.commit_micros = origin.commit_micros;
        self.precision = origin.precision;
        self.next = origin.first_ordinal;
    }

    /// Rows of another table stand between those before and those to come.
    pub fn turn(&mut self, turn: u64) {
        if turn != self.turn {
            self.flush();
            self.turn = turn;
        }
    }

    /// One change was seen; the batch then has `rows` rows (as many as before when it was dropped).
    #[inline]
    pub fn change(&mut self, rows: usize) {
        let ordinal = self.next;
        self.next += 1;
        if rows == self.rows {
            return;
        }
        self.rows = rows;
        match self.pending.last_mut() {
            Some(run) if self.continues == ordinal => run.0 = rows,
            _ => self.pending.push((rows, ordinal)),
        }
        self.continues = ordinal + 1;
    }

    /// Runs `append`; if it fails, everything is as it was before.
    pub fn transact<T, E>(&mut self, append: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let (next, rows, continues) = (self.next, self.rows, self.continues);
        let (runs, last) = (self.pending.len(), self.pending.last().copied());
        let done = append(self);
        if done.is_err() {
            (self.next, self.rows, self.continues) = (next, rows, continues);
            self.pending.truncate(runs);
            if let (Some(run), Some(last)) = (self.pending.last_mut(), last) {
                *run = last;
            }
        }
        done
    }

    /// Takes back the rows behind the first `rows`, which are all under the origin in force; `next` is the ordinal of the next
    /// change.
    pub fn take_back_to(&mut self, rows: usize, next: u64) {
        let kept = self.pending.partition_point(|run| run.0 < rows);
        self.pending.truncate(kept + 1);
        let begin = kept.checked_sub(1).map_or(self.origins.end(), |before| self.pending[before].0);
        match self.pending.get_mut(kept) {
            Some(run) if begin < rows => run.0 = rows,
            _ => self.pending.truncate(kept),
        }
        self.origins.truncate(rows);
        (self.rows, self.next) = (rows, next);
        // Whatever comes begins a run of its own.
        self.continues = u64::MAX;
    }

    fn flush(&mut self) {
        for (end_row, first_ordinal) in self.pending.drain(..) {
            let origin = Origin {
                transaction: &self.transaction,
                position: &self.position,
                commit_micros: self.commit_micros,
                precision: self.precision,
                first_ordinal,
            };
            self.origins.push_in_turn(end_row, origin, self.turn);
        }
    }

    /// Takes out the runs and begins a new batch.
    pub fn take(&mut self) -> Origins {
        self.flush();
        self.rows = 0;
        std::mem::take(&mut self.origins)
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.origins.memory() + self.pending.capacity() * size_of::<(usize, u64)>()
    }
}
