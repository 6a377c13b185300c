//! `dujiang plan FILE...`: what a run would do, looked up read-only.

use super::{Named, Output, refuse};
use crate::console::{Console, print};
use crate::pipeline_file;
use crate::plan::{self, Planned, PlannedTable};
use clap::Args;
use dujiang_spec::Diagnostic;
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

/// Exit code when something stands in the way.
const FINDINGS: u8 = 1;

/// Flags of `plan`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    named: Named,
}

/// Plans every pipeline; nothing is written anywhere.
pub fn run(Arguments { named: arguments }: &Arguments, console: &Console) -> u8 {
    let loaded = match pipeline_file::open_all(&arguments.files, &arguments.settings) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes, console),
    };
    let planned: Vec<Planned> = match loaded.iter().map(plan::plan).collect() {
        Ok(planned) => planned,
        Err(error) => return super::fail(&error, console),
    };
    match arguments.output {
        Output::Text => planned.iter().for_each(|planned| print(&to_text(planned))),
        Output::Json => print(&format!("{}\n", Value::from_iter(planned.iter().map(to_json)))),
    }
    for warning in loaded.iter().flat_map(|loaded| &loaded.warnings) {
        console.report(warning);
    }
    let refusals: Vec<&Diagnostic> = planned.iter().flat_map(|planned| &planned.refusals).collect();
    refusals.iter().for_each(|refusal| console.report(refusal));
    match refusals.len() {
        0 => {
            let files: Vec<_> = arguments.files.iter().map(|file| file.display().to_string()).collect();
            console.tell(&format!("next: dujiang run {}", files.join(" ")));
            0
        }
        1 => {
            console.tell("1 thing stands in the way of `run`");
            FINDINGS
        }
        n => {
            console.tell(&format!("{n} things stand in the way of `run`"));
            FINDINGS
        }
    }
}

fn to_text(planned: &Planned) -> String {
    let mut text = format!("pipeline {}\n", planned.name);
    for table in &planned.tables {
        text.push_str(&table_text(table));
    }
    for table in &planned.near_misses {
        text.push_str(&format!("not matched: {table}\n"));
    }
    for warning in &planned.warnings {
        text.push_str(&format!("note: {warning}\n"));
    }
    let count = planned.tables.len();
    // Of a source that could not be asked nothing is known.
    if count == 0 && !planned.refusals.is_empty() {
        return text;
    }
    text.push_str(&if count == 1 { "1 table".to_owned() } else { format!("{count} tables") });
    // What nobody has estimated is not nothing.
    if planned.tables.iter().any(|table| table.rows.is_some()) {
        let rows: u64 = planned.tables.iter().filter_map(|table| table.rows).sum();
        let bytes: u64 = planned.tables.iter().filter_map(|table| table.bytes).sum();
        text.push_str(&format!(", about {} rows, {} at the source", HumanCount(rows), HumanBytes(bytes)));
    }
    text.push_str("\n\n");
    text
}

fn table_text(table: &PlannedTable) -> String {
    let rows = table.rows.map_or("unknown".to_owned(), |rows| format!("about {}", HumanCount(rows)));
    let key = if table.key.is_empty() { "none".to_owned() } else { table.key.join(", ") };
    let mut text = format!("\n{}\n  rows: {rows}, key: {key}\n", table.source);
    for target in &table.targets {
        let place = target.place.as_ref().map_or(String::new(), |place| format!(" in {place}"));
        text.push_str(&format!("  to {}{place}\n", target.table));
    }
    if table.targets.is_empty() {
        text.push_str("  dropped by the transform\n");
    }
    let width = table.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
    for column in &table.columns {
        let (name, padding) = (&column.name, " ".repeat(width - column.name.chars().count()));
        let source = if column.source_type.is_empty() { "computed" } else { &column.source_type };
        let loss = column.loss.map_or(String::new(), |loss| format!("   ! {loss}"));
        text.push_str(&format!("    {name}{padding}  {source} -> {}{loss}\n", column.output_type));
    }
    text
}

fn to_json(planned: &Planned) -> Value {
    let tables: Vec<Value> = planned
        .tables
        .iter()
        .map(|table| {
            json!({
                "table": table.source.to_string(),
                "key": table.key,
                "estimated_rows": table.rows,
                "estimated_bytes": table.bytes,
                "targets": table.targets.iter().map(|t| json!({ "table": t.table.to_string(), "place": t.place })).collect::<Vec<_>>(),
                "columns": table.columns.iter().map(|c| json!({
                    "name": c.name, "source_type": c.source_type, "output_type": c.output_type, "loss": c.loss,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "pipeline": planned.name,
        "tables": tables,
        "not_matched": planned.near_misses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "warnings": planned.warnings,
        "refused": planned.refusals.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
    })
}
