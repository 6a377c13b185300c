//! The same for a log in Kafka.

use super::{Arguments, CatArguments, Output, entry_lines, micros};
use crate::commands::fail;
use crate::console::{Console, print};
use dujiang_core::Result;
use dujiang_kafka::log::inspect::{Place, Summary, View, of_log, of_source};
use dujiang_spec::Pipeline;
use serde_json::{Value, json};

/// The log in Kafka that a pipeline writes or reads, if it has one.
pub fn place(pipeline: &Pipeline) -> Option<Place> {
    let found = match &pipeline.log {
        Some(log) if log.kind == dujiang_kafka::LOG.kind => of_log(&log.options, &pipeline.name),
        None if pipeline.source.kind == dujiang_kafka::LOG_SOURCE.kind => {
            of_source(&pipeline.source.options, &pipeline.name)
        }
        _ => return None,
    };
    // The file has been checked: its options are good.
    found.ok()
}

/// Runs one of the subcommands.
pub fn run(arguments: &Arguments, place: Place, console: &Console) -> u8 {
    let view = match View::open(place) {
        Ok(view) => view,
        Err(error) => return fail(&error, console),
    };
    let done = match arguments {
        Arguments::Ls(arguments) => ls(&view, arguments.output),
        Arguments::Cat(arguments) => cat(&view, arguments),
        Arguments::Seek(arguments) => seek(&view, &arguments.time),
        Arguments::Verify(_) => return verify(&view, console),
        Arguments::Forget(arguments) => view.forget(&arguments.consumer),
    };
    done.map_or_else(|error| fail(&error, console), |()| 0)
}

fn ls(view: &View, output: Output) -> Result<()> {
    let summary = view.summary()?;
    match output {
        Output::Json => print(&format!("{}\n", summary_json(&summary))),
        Output::Table => print(&summary_text(&summary)),
    }
    Ok(())
}

fn summary_json(summary: &Summary) -> Value {
    json!({
        "pipeline": summary.pipeline,
        "lineage": summary.lineage,
        "first": summary.first,
        "end": summary.end,
        "epoch": summary.epoch,
        "generation": summary.generation,
        "position": summary.position,
        "partitions": summary.partitions.iter().map(|(topic, partition, low, high)| json!({
            "topic": topic, "partition": partition, "first": low, "end": high,
        })).collect::<Vec<_>>(),
        "consumers": summary.consumers.iter().map(|(name, offset)| json!({
            "name": name, "offset": offset, "behind": summary.end.saturating_sub(*offset),
        })).collect::<Vec<_>>(),
    })
}

fn summary_text(summary: &Summary) -> String {
    let mut text = format!(
        "pipeline     {} (lineage {})\nentries      {} to {}\nlast commit  epoch {}, source at {}\n",
        summary.pipeline, summary.lineage, summary.first, summary.end, summary.epoch, summary.position
    );
    text.push_str("\nPARTITION                                 FIRST         END\n");
    for (topic, partition, low, high) in &summary.partitions {
        text.push_str(&format!("{:<40}  {low:<12}  {high}\n", format!("{topic} {partition}")));
    }
    text.push_str("\nCONSUMER              OFFSET        BEHIND\n");
    for (name, offset) in &summary.consumers {
        text.push_str(&format!("{name:<20}  {offset:<12}  {}\n", summary.end.saturating_sub(*offset)));
    }
    text
}

fn cat(view: &View, arguments: &CatArguments) -> Result<()> {
    let mut left = arguments.count.unwrap_or(u64::MAX);
    view.each(arguments.from, |offset, event| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        let mut lines = String::new();
        entry_lines(offset, &event, arguments.table.as_deref(), &mut lines);
        print(&lines);
        Ok(left > 0)
    })
}

fn seek(view: &View, time: &str) -> Result<()> {
    print(&format!("{}\n", view.offset_at(micros(time)?)?));
    Ok(())
}

fn verify(view: &View, console: &Console) -> u8 {
    let verified = view.verify();
    if let Some(problem) = &verified.problem {
        fail(problem, console);
    }
    console.tell(&format!(
        "read {} entries with {} images and {} epochs: {}",
        verified.entries,
        verified.images,
        verified.epochs,
        if verified.problem.is_none() { "all is well" } else { "something is missing or damaged" },
    ));
    u8::from(verified.problem.is_some())
}
