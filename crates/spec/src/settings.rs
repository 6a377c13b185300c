//! The `pipeline` block: checks beyond single values, and warnings about what has no effect.

use crate::blocks::RawBlock;
use crate::finding::{Finding, Findings};
use crate::pipeline::{Block, PipelineSettings, RuntimeMode};
use crate::source_text::SourceText;
use crate::sql::SqlChecker;
use dujiang_core::Code;
use std::time::Duration;

const MIN_MEMORY: u64 = 1 << 20;
/// Lanes have threads, queues and open files of their own; more than this many never help on one machine.
const MAX_LANES: u16 = 256;
const MAX_NAME_BYTES: usize = 100;

/// Keys of the dialect that change nothing here, and why.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "transform.decimal.precision.mode",
        "decimals always keep up to 38 digits, and what is wider is an error, never NULL",
    ),
    ("operator.uid.prefix", "it names operators of Flink, and there are none"),
    ("schema.operator.uid", "it names an operator of Flink, and there is none"),
    ("schema-operator.rpc-timeout", "it limits calls between Flink's operators, and there are none"),
    ("sink.partitioning.strategy", "rows are always distributed by the sink's key"),
];

/// Checks values that are more than their type, whatever is wrong with others.
pub(crate) fn check_values(raw: &RawBlock, checker: Option<&dyn SqlChecker>, findings: &mut Findings) {
    if let (Some(zone), Some(checker)) = (raw.get("local-time-zone"), checker)
        && let Err(why) = checker.check_time_zone(&zone.value)
    {
        let message = format!("`local-time-zone` {why}");
        findings.push(Finding::error(Code::BadValue, message, zone.value_place.clone()));
    }
    if let Some(name) = raw.get("name")
        && let Err(why) = check_name(&name.value)
    {
        let message = format!("`name` {why}");
        findings.push(Finding::error(Code::BadValue, message, name.value_place.clone()));
    }
}

/// Checks what single values cannot show.
pub(crate) fn check(settings: &PipelineSettings, raw: &RawBlock, findings: &mut Findings) {
    if settings.checkpoint_interval < Duration::from_millis(1) {
        let message = "`checkpoint.interval` must be at least `1ms`";
        findings.push(Finding::error(Code::BadValue, message, settings.place("checkpoint.interval")));
    }
    if settings.parallelism.get() > MAX_LANES {
        let message = format!("`parallelism` must be at most {MAX_LANES}");
        let finding = Finding::error(Code::BadValue, message, settings.place("parallelism"));
        findings.push(
            finding.help("each lane is a thread of this process: as many as there are processor cores is plenty"),
        );
    }
    if settings.memory_limit.0 < MIN_MEMORY {
        let message = "`memory.limit` must be at least `1mb`";
        findings.push(Finding::error(Code::BadValue, message, settings.place("memory.limit")));
    }
    if settings.schema_operator_uid.is_some() && settings.operator_uid_prefix.is_some() {
        let message = "`schema.operator.uid` and `operator.uid.prefix` cannot both be set";
        let finding = Finding::error(Code::Conflict, message, settings.place("schema.operator.uid"));
        findings.push(finding.help("remove `schema.operator.uid`, the deprecated one"));
    }
    warn(raw, findings);
}

fn warn(raw: &RawBlock, findings: &mut Findings) {
    for (key, why) in WITHOUT_EFFECT {
        if let Some(option) = raw.get(key) {
            let message = format!("`{key}` has no effect: {why}");
            findings.push(Finding::warning(Code::NotSupported, message, option.key_place.clone()));
        }
    }
    for option in raw.options.iter().filter(|option| option.key.starts_with("flink-conf.")) {
        let message = format!("`{}` has no effect: it is a setting of Flink, and there is none", option.key);
        let finding = Finding::warning(Code::NotSupported, message, option.key_place.clone());
        findings.push(match option.key.ends_with("checkpointing.interval") {
            true => finding.help("write `checkpoint.interval` instead"),
            false => finding,
        });
    }
}

/// `execution.runtime-mode: batch` promises an end, which only a bounded source has.
pub(crate) fn check_batch(settings: &PipelineSettings, source: &Block, findings: &mut Findings) {
    if settings.execution_runtime_mode != RuntimeMode::Batch {
        return;
    }
    let mode = source.option("scan.startup.mode");
    if mode.is_none_or(|option| !option.value.eq_ignore_ascii_case("snapshot")) {
        let message = "`execution.runtime-mode: batch` needs `scan.startup.mode: snapshot` in the `source` block";
        let finding = Finding::error(Code::Conflict, message, settings.place("execution.runtime-mode"));
        findings.push(finding.help("a pipeline that follows changes never ends by itself"));
    }
}

/// A name becomes part of paths, metrics and records of the sink.
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        Err("must not be empty")
    } else if name.len() > MAX_NAME_BYTES {
        Err("must be at most 100 bytes long")
    } else if name.starts_with('.') || name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) {
        Err("must not begin with a dot or contain a slash or a control character")
    } else {
        Ok(())
    }
}

/// The name of a pipeline that gives none: its file's, with anything unusual replaced by `-`.
pub(crate) fn default_name(file: &SourceText) -> String {
    let usual = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = file.stem().chars().map(usual).take(32).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "pipeline".to_owned() } else { name.to_owned() }
}
