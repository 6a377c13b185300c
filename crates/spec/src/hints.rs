//! What to do about an option with a mistake: what only the whole block can tell.

use crate::blocks::RawBlock;
use crate::finding::Finding;
use crate::pipeline::PipelineSettings;
use dujiang_core::options::{OptionDef, OptionType, nearest};

/// Unknown keys that are compared with the known ones, and known ones that are listed.
const MAX_SUGGESTIONS: usize = 1_000;
const MAX_LISTED: usize = 16;

/// Keys that somebody meant to give although the parser does not find them: the value is reported as unreadable, or the
/// key as misspelt.
pub(crate) fn given_keys<'a>(raw: &'a RawBlock, defs: &'a [OptionDef]) -> Vec<&'a str> {
    let unreadable = raw.unreadable.iter().map(|(key, _)| key.as_str());
    let unknown = raw.options.iter().filter(|option| !defs.iter().any(|def| def.name == option.key));
    let unknown = unknown.take(MAX_SUGGESTIONS);
    unreadable.chain(unknown.filter_map(|option| nearest(&option.key, defs.iter().map(|def| def.name)))).collect()
}

/// A value that cannot be read: which word was meant. The value itself is not told: it may be a secret in the wrong place.
pub(crate) fn for_value(finding: &mut Finding, raw: &RawBlock, defs: &[OptionDef]) {
    let Some(key) = finding.message.split('`').nth(1) else { return };
    let (Some(def), Some(option)) = (defs.iter().find(|def| def.name == key), raw.get(key)) else { return };
    if let (OptionType::Choice(words), None) = (def.kind, &finding.help) {
        let near = nearest(&option.value.to_ascii_lowercase(), words.iter().copied());
        finding.help = near.map(|near| format!("did you mean `{near}`?"));
    }
}

/// Help for a key that resembles none of its block's.
pub(crate) fn for_unknown(message: &str, whose: &str, defs: &[OptionDef], elsewhere: (&str, &[OptionDef])) -> String {
    let has = |defs: &[OptionDef]| defs.iter().any(|def| message.contains(&format!("`{}`", def.name)));
    if has(elsewhere.1) {
        return format!("it is an option of the `{}` block", elsewhere.0);
    }
    if has(PipelineSettings::DEFS) {
        return "it is an option of the `pipeline` block".to_owned();
    }
    let all = quoted(defs.iter().take(MAX_LISTED).map(|def| def.name));
    match defs.len().saturating_sub(MAX_LISTED) {
        0 => format!("the options are {all}"),
        more => {
            let page = whose.split('`').nth(1).unwrap_or_default();
            format!("the options are {all} and {more} more: `dujiang explain {page}`")
        }
    }
}

/// `a`, `b`, `c`.
pub(crate) fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Sources and sinks of Flink CDC that are not here, so that a name is not taken for a misspelt one.
const OF_FLINK_CDC: &[(&str, &[&str], &str)] = &[
    ("source", &["oracle", "sqlserver", "db2"], ""),
    (
        "sink",
        &[
            "paimon",
            "iceberg",
            "hudi",
            "doris",
            "starrocks",
            "elasticsearch",
            "oceanbase",
            "maxcompute",
            "fluss",
            "dws",
        ],
        "; let the other system load what one of them writes",
    ),
];

/// What to do without a connector of Flink CDC that is not here, if it is one.
pub(crate) fn of_flink_cdc(block: &str, kind: &str) -> Option<&'static str> {
    let of_block = OF_FLINK_CDC.iter().find(|(of, ..)| *of == block)?;
    of_block.1.contains(&kind).then_some(of_block.2)
}
