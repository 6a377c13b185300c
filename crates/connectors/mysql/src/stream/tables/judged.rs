//! Rows of a table whose snapshot is under way, or of a transaction that was handed out in part.

use super::*;

impl Table {
    /// The first rows of a transaction in this table: their ordinals begin at 0.
    pub(super) fn enter(&mut self, at: usize, of: &RowsOf<'_>) -> Result<()> {
        if self.transaction == of.serial {
            return Ok(());
        }
        self.transaction = of.serial;
        self.changes = 0;
        self.skip = (of.skip)(at);
        self.builder()?.begin_span(Origin { first_ordinal: 0, ..of.origin });
        let rows = self.builder.as_ref().map_or(0, TableBuilder::rows);
        self.entered = RowMark { table: at, rows, changes: 0, finished: self.finished };
        Ok(())
    }

    /// Appends what the hand-off lets pass; `None` when it says to wait.
    pub(super) fn append_judged(
        &mut self,
        rows: &RowsEvent<'_>,
        of: &RowsOf<'_>,
        keys: Option<&ServerKeys>,
    ) -> Result<Option<crate::decode::builder::Appended>> {
        let first = self.changes;
        let skip = self.skip;
        let handoff = self.handoff.clone();
        let mut judge = handoff.as_ref().map(|h| Judge {
            handoff: lock(h),
            plan: self.keys.as_ref(),
            begin: of.begin,
            buffer: Vec::new(),
        });
        let mut number = 0usize;
        let mut wait = false;
        let mut verdict = |change: &Change<'_>| {
            let at = number;
            number += 1;
            if first + (at as u64) < skip {
                return Ok(Keep::Drop);
            }
            let Some(judge) = &mut judge else { return Ok(Keep::Keep) };
            let keep = judge.change(change, keys.map(|k| &k[at]))?;
            keep.ok_or_else(|| {
                wait = true;
                Error::new(Code::Bug, "a chunk has to be handed out first")
            })
        };
        let builder = self.builder.as_mut().expect("invariant: made when the transaction entered the table");
        let before = builder.schema().clone();
        match builder.append_rows_if(rows, &mut verdict) {
            Ok(appended) => Ok(Some(appended)),
            Err(_) if wait => Ok(None),
            Err(error) => Err(error.fact("table", before.id.to_string())),
        }
    }
}

struct Judge<'a> {
    handoff: MutexGuard<'a, Handoff>,
    plan: Option<&'a KeyPlan>,
    begin: &'a Place,
    buffer: Vec<u8>,
}

impl Judge<'_> {
    /// What to keep of a change; `None` to wait.
    fn change(&mut self, change: &Change<'_>, keys: Option<&ChangeKeys>) -> Result<Option<Keep>> {
        let before = self.image(change.before.as_ref(), keys.and_then(|k| k.0.as_deref()))?;
        let after = self.image(change.after.as_ref(), keys.and_then(|k| k.1.as_deref()))?;
        use Verdict::{Drop, Pass, Wait};
        Ok(match (before, after) {
            (Some(Wait), _) | (_, Some(Wait)) => None,
            (Some(Pass), Some(Drop)) => Some(Keep::OnlyBefore),
            (Some(Drop), Some(Pass)) => Some(Keep::OnlyAfter),
            (Some(Pass), _) | (_, Some(Pass)) => Some(Keep::Keep),
            _ => Some(Keep::Drop),
        })
    }

    fn image(&mut self, image: Option<&RowImage<'_>>, key: Option<&[u8]>) -> Result<Option<Verdict>> {
        let Some(image) = image else { return Ok(None) };
        if let Some(key) = key {
            return Ok(Some(self.handoff.judge(key, self.begin)));
        }
        let no_plan = || Error::new(Code::Bug, "a key that cannot be ordered here was not asked of the server");
        self.buffer.clear();
        self.plan.ok_or_else(no_plan)?.write_image(image, &mut self.buffer)?;
        Ok(Some(self.handoff.judge(&self.buffer, self.begin)))
    }
}
