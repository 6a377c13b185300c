//! What is removed: segments that everybody has read, and epochs that are taken back.

use super::Store;
use crate::consumers;
use crate::errors::{io_error, sync_error};
use crate::files::{bases, commits_name, segment_name};
use crate::found::read_commits;
use dujiang_core::{Code, Error, Result, fault};

impl Store {
    /// Removes segments that every consumer has passed, oldest first: those that are older than the retention, and as many
    /// as are needed for `wanted` more bytes. A consumer's progress is durable before anything is removed for it (R13).
    ///
    /// # Errors
    /// `LogRangeDamaged` when a consumer's record cannot be read; `SyncFailed`.
    pub fn trim(&mut self, now_micros: i64, wanted: u64) -> Result<()> {
        let Some(passed) = consumers::read_all(&*self.disk)?.iter().map(|consumer| consumer.offset).min() else {
            return Ok(());
        };
        let passed = passed.min(self.committed.epoch_end);
        let retention = i64::try_from(self.limits.retention.as_micros()).unwrap_or(i64::MAX);
        while let [oldest, next, ..] = self.segments[..] {
            // The last commit needs its segment: shapes are read from it.
            let delivered = next.base <= passed && oldest.base < self.committed_in;
            let old = now_micros.saturating_sub(next.created_micros) >= retention;
            let full = self.bytes().saturating_add(wanted) > self.limits.max_bytes;
            if !delivered || !(old || full) {
                break;
            }
            self.remove(&commits_name(oldest.base))?;
            fault::point("log.trimmed");
            self.remove(&segment_name(oldest.base))?;
            // One after the other: after a crash nothing is missing in the middle.
            self.sync_folder()?;
            self.segments.remove(0);
        }
        Ok(())
    }

    /// Takes back every epoch after `epoch`.
    ///
    /// # Errors
    /// `NotSupported` when the log no longer reaches so far back, or a consumer has read further; nothing has changed.
    pub fn withdraw_after(&mut self, generation: u64, epoch: u64) -> Result<()> {
        self.check(generation)?;
        if self.committed.epoch <= epoch {
            return Ok(());
        }
        let names = self.names()?;
        let mut target = None;
        for base in bases(&names, ".commits") {
            let commits = read_commits(&*self.disk, self.log, base)?;
            let mut records = commits.into_iter().flat_map(|commits| commits.records);
            target = records.rfind(|(_, record)| record.epoch <= epoch).map(|(at, r)| (base, at, r)).or(target);
        }
        let target = target.ok_or_else(|| {
            cannot_withdraw("the log no longer reaches back to that checkpoint").fact("epoch", epoch.to_string())
        })?;
        let (base, at, record) = target;
        if let Some(ahead) = consumers::read_all(&*self.disk)?.into_iter().find(|consumer| consumer.offset > record.end)
        {
            return Err(cannot_withdraw("a delivery has read further than that checkpoint")
                .fact("delivery", ahead.name)
                .fact("it has read up to", ahead.offset.to_string())
                .fact("the checkpoint ends at", record.end.to_string()));
        }
        for later in bases(&names, ".commits").into_iter().rev().filter(|later| *later > base) {
            self.remove(&commits_name(later))?;
            self.sync_folder()?;
        }
        self.cut_commits_after(base, at)?;
        self.recover()?;
        self.cut_tail(generation)
    }

    fn cut_commits_after(&mut self, base: u64, at: u64) -> Result<()> {
        let name = commits_name(base);
        let described = self.disk.describe(&name);
        let failed = |e| io_error("take back commits", &described, e);
        let commits = read_commits(&*self.disk, self.log, base)?;
        let next = commits.and_then(|c| c.records.iter().map(|(start, _)| *start).find(|start| *start > at));
        let Some(next) = next else { return Ok(()) };
        let file = self.disk.open(&name, false).map_err(failed)?;
        file.set_length(next).map_err(failed)?;
        file.sync().map_err(|e| self.broke(sync_error(&described, e)))
    }
}

fn cannot_withdraw(why: &str) -> Error {
    Error::new(Code::NotSupported, format!("capture cannot go back: {why}"))
        .help("go back with the delivery first, or begin anew with an empty log and an empty state directory")
}
