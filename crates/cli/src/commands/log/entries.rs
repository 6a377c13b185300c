//! Entries of a log as lines of JSON.

use dujiang_core::source::SourceEvent;
use dujiang_core::text::{write_instant, write_json_row};
use dujiang_core::{ChangeBatch, Kind};
use serde_json::{Map, Value, json};

/// A time for people.
pub fn instant(micros: i64) -> String {
    let mut text = Vec::new();
    write_instant(micros, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// An entry as lines; `offset` is its own, or that of its first change.
pub fn entry_lines(offset: u64, event: &SourceEvent, only: Option<&str>, out: &mut String) {
    let milestone = match event {
        SourceEvent::Batch(batch) => {
            if only.is_none_or(|only| batch.source_table().to_string() == only) {
                batch_lines(offset, batch, out);
            }
            return;
        }
        SourceEvent::SchemaChange(change) => {
            if only.is_none_or(|only| change.after.id.to_string() == only) {
                let columns: Vec<&str> =
                    change.after.arrow.fields().iter().map(|field| field.name().as_str()).collect();
                let line = json!({
                    "offset": offset, "schema": change.after.id.to_string(), "version": change.after.version,
                    "columns": columns, "statement": change.statement,
                });
                out.push_str(&format!("{line}\n"));
            }
            return;
        }
        other => other.milestone(),
    };
    if let Some(milestone) = milestone.filter(|_| only.is_none()) {
        out.push_str(&format!("{}\n", json!({ "offset": offset, "milestone": milestone.name() })));
    }
}

fn batch_lines(offset: u64, batch: &ChangeBatch, out: &mut String) {
    let table = batch.source_table().to_string();
    let mut row_text = Vec::new();
    for (row, (ordinal, origin)) in batch.ordinals().enumerate() {
        row_text.clear();
        write_json_row(batch, row, &mut row_text);
        let mut line = Map::new();
        line.insert("offset".into(), offset.into());
        line.insert("table".into(), table.as_str().into());
        line.insert("op".into(), batch.kinds[row].letter().into());
        if batch.kinds[row] == Kind::UpdateBefore {
            line.insert("image".into(), "before".into());
        }
        line.insert("transaction".into(), origin.transaction.into());
        line.insert("ordinal".into(), ordinal.into());
        line.insert("position".into(), origin.position.into());
        line.insert("commit_time".into(), instant(origin.commit_micros).into());
        // The row's own text: numbers keep all their digits.
        let head = Value::Object(line).to_string();
        out.push_str(head.trim_end_matches('}'));
        out.push_str(",\"row\":");
        out.push_str(&String::from_utf8_lossy(&row_text));
        out.push_str("}\n");
    }
}
