//! A log that is looked at, of whatever kind: what each kind has to tell.

use super::entries::instant;
use dujiang_core::source::SourceEvent;
use dujiang_core::{Error, Result, Start};
use serde_json::{Value, json};

/// Takes an entry, with the number of its first change; false when it wants no more.
pub type Take<'a> = dyn FnMut(u64, SourceEvent) -> Result<bool> + 'a;

/// A log. What is committed later is not seen. Errors are those of its kind.
pub trait LogView {
    /// Figures.
    fn summary(&self) -> Result<Summary>;
    /// Entries from a place on, in order.
    fn each(&self, from: Start, take: &mut Take<'_>) -> Result<()>;
    /// The first entry at a time, microseconds since 1970; the end when there is none.
    fn offset_at(&self, micros: i64) -> Result<u64>;
    /// Reads everything.
    fn verify(&self) -> Verified;
    /// Forgets a consumer.
    fn forget(&self, consumer: &str) -> Result<()>;
}

/// What a log holds.
pub struct Summary {
    pub pipeline: String,
    pub lineage: String,
    /// Number of the oldest entry that is still there, and the one behind the last.
    pub first: u64,
    pub end: u64,
    /// Bytes of all of it, where the log counts them.
    pub bytes: Option<u64>,
    pub commit: Commit,
    pub parts: Parts,
    /// Each with the first entry that it has not confirmed.
    pub consumers: Vec<(String, u64)>,
}

/// The last commit.
pub struct Commit {
    pub epoch: u64,
    /// 0 when nothing is committed yet.
    pub generation: u64,
    /// The source's position, for people.
    pub position: String,
    /// Microseconds since 1970, where the log keeps it.
    pub written_micros: Option<i64>,
}

/// What a log consists of.
pub struct Parts {
    pub name: &'static str,
    pub json: Vec<Value>,
    /// As a table: its head and a line for each.
    pub head: String,
    pub lines: Vec<String>,
}

/// What a whole reading found.
pub struct Verified {
    pub entries: u64,
    pub images: u64,
    /// How many commits there are, and what this kind calls them.
    pub commits: (u64, &'static str),
    /// What stands in the way of reading all of it.
    pub problems: Vec<Error>,
}

impl From<dujiang_entries::Verified> for Verified {
    fn from(of: dujiang_entries::Verified) -> Self {
        let (commits, problems) = ((of.epochs, "epochs"), of.problem.into_iter().collect());
        Self { entries: of.entries, images: of.images, commits, problems }
    }
}

impl Summary {
    /// Of a log in a queue.
    pub fn of<P>(of: dujiang_entries::Summary<P>, parts: impl FnOnce(&P) -> Parts) -> Self {
        let commit = Commit { epoch: of.epoch, generation: of.generation, position: of.position, written_micros: None };
        Self {
            parts: parts(&of.parts),
            pipeline: of.pipeline,
            lineage: of.lineage,
            first: of.first,
            end: of.end,
            bytes: None,
            commit,
            consumers: of.consumers,
        }
    }

    fn behind(&self, offset: u64) -> u64 {
        self.end.saturating_sub(offset)
    }

    pub fn json(&self) -> Value {
        let Commit { epoch, generation, position, written_micros } = &self.commit;
        let mut all = json!({
            "pipeline": self.pipeline,
            "lineage": self.lineage,
            "first": self.first,
            "end": self.end,
            "epoch": epoch,
            "generation": generation,
            "position": position,
            "consumers": self.consumers.iter().map(|(name, offset)| json!({
                "name": name, "offset": offset, "behind": self.behind(*offset),
            })).collect::<Vec<_>>(),
        });
        all[self.parts.name] = self.parts.json.clone().into();
        if let Some(bytes) = self.bytes {
            all["bytes"] = bytes.into();
        }
        if let Some(micros) = written_micros {
            all["committed_micros"] = (*micros).into();
        }
        all
    }

    pub fn text(&self) -> String {
        let (first, end) = (self.first, self.end);
        let mut text =
            format!("pipeline     {} (lineage {})\nentries      {first} to {end}\n", self.pipeline, self.lineage);
        if let Some(bytes) = self.bytes {
            text.push_str(&format!("bytes        {bytes}\n"));
        }
        let Commit { epoch, generation, position, written_micros } = &self.commit;
        if *generation > 0 {
            let at = written_micros.map_or_else(String::new, |micros| format!(" at {}", instant(micros)));
            text.push_str(&format!("last commit  epoch {epoch}{at}, source at {position}\n"));
        }
        text.push_str(&format!("\n{}\n", self.parts.head));
        self.parts.lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        text.push_str("\nCONSUMER              OFFSET        BEHIND\n");
        for (name, offset) in &self.consumers {
            text.push_str(&format!("{name:<20}  {offset:<12}  {}\n", self.behind(*offset)));
        }
        text
    }
}
