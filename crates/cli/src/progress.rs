//! How a run is shown: bars and a live line on a terminal, log lines otherwise.

use dujiang_core::TableId;
use dujiang_core::source::NotUnderstood;
use dujiang_core::text::write_instant;
use dujiang_engine::{PipelineState, PipelineStatus, StatusBoard, StopSignal};
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a terminal is redrawn.
const REDRAW: Duration = Duration::from_millis(120);
/// How often a log tells how it goes while nothing changes.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A source that keeps so much of its log for the pipeline is told on the line.
const MUCH_LOG: u64 = 1 << 30;
/// Bars shown at a time; the others wait their turn.
const MOST_BARS: usize = 10;

/// Watches a run.
pub struct Progress {
    board: Arc<StatusBoard>,
    live: Option<Live>,
    stop: StopSignal,
    rate: Rate,
    last_told: Instant,
    snapshot_told: bool,
    caught_up_told: bool,
}

impl Progress {
    /// With `bars` on a terminal, without them through the log.
    pub fn new(board: Arc<StatusBoard>, bars: Option<MultiProgress>, stop: StopSignal) -> Self {
        Self {
            board,
            live: bars.map(Live::new),
            stop,
            rate: Rate::new(),
            last_told: Instant::now(),
            snapshot_told: false,
            caught_up_told: false,
        }
    }

    /// Shows the run until it is aborted.
    pub async fn watch(mut self) {
        let mut tick = tokio::time::interval(REDRAW);
        loop {
            tick.tick().await;
            let status = self.board.status();
            let rate = self.rate.measure(status.rows_in.total());
            self.tell(&status, rate);
            if let Some(live) = &mut self.live {
                live.draw(&status, rate, self.stop.is_stopped());
            }
        }
    }

    /// Milestones go through the log on a terminal too; there they stand above the bars. (The engine itself logs every
    /// change of state.)
    fn tell(&mut self, status: &PipelineStatus, rate: f64) {
        if status.snapshot_done && !std::mem::replace(&mut self.snapshot_told, true) && status.rows_in.reads > 0 {
            let tables = status.source.snapshot.len();
            let rows = status.rows_in.reads;
            // A delivery from a log knows no tables of a snapshot.
            let of_tables = match tables {
                0 => String::new(),
                n => format!("{}, ", counted(n as u64, "table", "tables")),
            };
            tracing::info!(tables, rows, "snapshot read: {of_tables}{}", counted(rows, "row", "rows"));
        }
        if status.caught_up && !std::mem::replace(&mut self.caught_up_told, true) {
            tracing::info!(position = status.source.position, "caught up with the source");
        }
        if self.live.is_none() && self.last_told.elapsed() >= HEARTBEAT {
            tell_figures(status, rate);
            self.last_told = Instant::now();
        }
    }
}

fn tell_figures(status: &PipelineStatus, rate: f64) {
    let kept = status.source.kept.as_ref();
    tracing::info!(
        state = status.state.name(),
        lag_seconds = status.lag_micros.map(seconds),
        rows_per_second = rate.round(),
        rows_out = status.rows_out.total(),
        files = status.files,
        bytes = status.bytes,
        checkpoint = status.last_epoch.0,
        position = status.source.position,
        not_understood = status.source.not_understood.as_ref().map(|met| met.count),
        not_understood_last = status.source.not_understood.as_ref().map(last_not_understood),
        source_log_kept_bytes = kept.map(|kept| kept.bytes),
        source_log_unread_bytes = kept.map(|kept| kept.unread),
        source_log_left_bytes = kept.and_then(|kept| kept.left),
        source_log_age_seconds = kept.and_then(|kept| kept.age_micros).map(seconds),
        memory_bytes = status.budget_used,
        "{}: {}",
        status.state.name(),
        summary(status)
    );
}

/// `30,000 rows of the snapshot and 1,234 changes in 31 files (4.2 MiB)`.
pub fn summary(status: &PipelineStatus) -> String {
    let out = &status.rows_out;
    let changes = out.total() - out.reads;
    let mut parts = Vec::new();
    if out.reads > 0 {
        parts.push(counted(out.reads, "row of the snapshot", "rows of the snapshot"));
    }
    parts.push(counted(changes, "change", "changes"));
    let mut text = format!("{} in {}", parts.join(" and "), written(status));
    if status.dead_letters > 0 {
        text.push_str(&format!(", {}", counted(status.dead_letters, "dead letter", "dead letters")));
    }
    if let Some(told) = not_understood(status) {
        text.push_str(&format!(", {told}"));
    }
    text
}

/// `2 statements not understood (last: ALTER of shop.orders at 2026-11-28T08:30:00Z)`.
fn not_understood(status: &PipelineStatus) -> Option<String> {
    let met = status.source.not_understood.as_ref()?;
    let statements = counted(met.count, "statement", "statements");
    Some(format!("{statements} not understood (last: {})", last_not_understood(met)))
}

fn last_not_understood(met: &NotUnderstood) -> String {
    let mut at = Vec::new();
    write_instant(met.met_micros.div_euclid(1_000_000) * 1_000_000, &mut at);
    format!("{} of {} at {}", met.kind, met.table, String::from_utf8_lossy(&at))
}

/// `31 files (4.2 MiB)`.
fn written(status: &PipelineStatus) -> String {
    let (one, several) = status.unit;
    format!("{} ({})", counted(status.files, one, several), HumanBytes(status.bytes))
}

fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", HumanCount(count), if count == 1 { one } else { several })
}

fn seconds(micros: i64) -> f64 {
    (micros.max(0) / 1000) as f64 / 1000.0
}

/// Rows per second over the last seconds.
struct Rate {
    since: Instant,
    total: u64,
    smooth: f64,
}

impl Rate {
    fn new() -> Self {
        Self { since: Instant::now(), total: 0, smooth: 0.0 }
    }

    fn measure(&mut self, total: u64) -> f64 {
        let span = self.since.elapsed().as_secs_f64();
        if span >= 0.5 {
            let now = total.saturating_sub(self.total) as f64 / span;
            self.smooth = if self.smooth == 0.0 { now } else { 0.6 * self.smooth + 0.4 * now };
            self.since = Instant::now();
            self.total = total;
        }
        self.smooth
    }
}

/// One bar per table of the snapshot that is being read, and one line about the whole.
struct Live {
    bars: MultiProgress,
    tables: HashMap<TableId, ProgressBar>,
    done: HashMap<TableId, bool>,
    line: ProgressBar,
}

impl Live {
    fn new(bars: MultiProgress) -> Self {
        let line = bars.add(ProgressBar::new_spinner());
        line.set_style(style("{spinner:.cyan} {msg}"));
        Self { bars, tables: HashMap::new(), done: HashMap::new(), line }
    }

    fn draw(&mut self, status: &PipelineStatus, rate: f64, stopping: bool) {
        for table in &status.source.snapshot {
            if self.done.contains_key(&table.table) {
                continue;
            }
            if table.done {
                self.finish(&table.table, table.rows);
            } else if table.rows > 0 && (self.tables.len() < MOST_BARS || self.tables.contains_key(&table.table)) {
                let bar = self.bar(&table.table);
                bar.set_length(table.estimated.max(table.rows));
                bar.set_position(table.rows);
            }
        }
        self.line.set_message(live_line(status, rate, stopping));
        self.line.tick();
    }

    fn bar(&mut self, table: &TableId) -> &ProgressBar {
        self.tables.entry(table.clone()).or_insert_with(|| {
            let bar = self.bars.insert_before(&self.line, ProgressBar::new(0));
            bar.set_style(style("  {prefix:28!} {bar:30.cyan/dim} {human_pos:>11} rows  {per_sec:>14}  ETA {eta}"));
            bar.set_prefix(table.to_string());
            bar
        })
    }

    fn finish(&mut self, table: &TableId, rows: u64) {
        self.done.insert(table.clone(), true);
        if let Some(bar) = self.tables.remove(table) {
            let took = bar.elapsed().as_secs_f64();
            bar.finish_and_clear();
            self.bars.suspend(|| eprintln!("  ✓ {table}: {} rows in {took:.1} s", HumanCount(rows)));
        }
    }
}

/// `streaming  lag 0.2 s  1,234 rows/s  31 files (4.2 MiB)  checkpoint 12`.
fn live_line(status: &PipelineStatus, rate: f64, stopping: bool) -> String {
    let mut parts = vec![status.state.name().to_owned()];
    if let Some(lag) = status.lag_micros {
        parts.push(format!("lag {:.1} s", seconds(lag)));
    }
    parts.push(format!("{} rows/s", HumanCount(rate as u64)));
    parts.push(written(status));
    parts.push(format!("checkpoint {}", status.last_epoch));
    parts.extend(kept_log(status));
    if status.dead_letters > 0 {
        parts.push(counted(status.dead_letters, "dead letter", "dead letters"));
    }
    parts.extend(not_understood(status));
    if stopping {
        let waits_for =
            if status.state == PipelineState::Degraded { status.why.as_str() } else { "the end of the epoch" };
        parts.push(format!("stopping, waits for: {waits_for}; Ctrl-C again quits at once and loses nothing"));
    }
    parts.join("   ")
}

/// `the source keeps 2.0 GiB of log, 30 MiB left`, when that is much or runs out.
fn kept_log(status: &PipelineStatus) -> Option<String> {
    let kept = status.source.kept.as_ref()?;
    let short = kept.left.is_some_and(|left| left < kept.bytes);
    let much = kept.bytes >= MUCH_LOG || short || kept.danger.is_some();
    let left = kept.left.map_or(String::new(), |left| format!(", {} left", HumanBytes(left)));
    much.then(|| format!("the source keeps {} of log{left}", HumanBytes(kept.bytes)))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("invariant: the template is well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_was_written_and_what_was_not_understood() {
        let mut status = PipelineStatus { unit: ("file", "files"), files: 1, bytes: 2048, ..PipelineStatus::default() };
        status.rows_out.reads = 1200;
        status.rows_out.inserts = 1;
        assert_eq!(summary(&status), "1,200 rows of the snapshot and 1 change in 1 file (2.00 KiB)");
        status.dead_letters = 2;
        let table = TableId::new("shop", "orders");
        let met = NotUnderstood { count: 3, table, kind: "ALTER", met_micros: 1_795_768_200_123_456 };
        status.source.not_understood = Some(met);
        let said = summary(&status);
        let rest = ", 2 dead letters, 3 statements not understood (last: ALTER of shop.orders at 2026-11-27T08:30:00Z)";
        assert!(said.ends_with(rest), "{said}");
    }
}
