//! What the output is asked to promise, and whether the sink can.

use crate::blocks::RawBlock;
use crate::finding::{Finding, Findings};
use crate::pipeline::Guarantee;
use dujiang_core::Code;
use dujiang_core::options::{OptionDef, OptionValue, Place, RawOption};
use dujiang_core::sink::SinkClass;

/// The dialect's key inside the `sink` block.
pub(crate) const DIALECT_KEY: &str = "sink.delivery-guarantee";

/// A promise somebody asked for.
pub(crate) struct Asked {
    pub guarantee: Guarantee,
    place: Place,
    /// The path of the option, for messages.
    by: &'static str,
}

/// Reads an option; a word that is no guarantee is reported where the option is parsed.
pub(crate) fn asked_for(option: Option<&RawOption>, by: &'static str) -> Option<Asked> {
    let option = option?;
    let guarantee = Guarantee::from_text(&option.value).ok()?;
    Some(Asked { guarantee, place: option.value_place.clone(), by })
}

/// The dialect's option, taken out of the block unless the connector reads it itself.
pub(crate) fn take(raw: &mut RawBlock, defs: &[OptionDef]) -> Option<RawOption> {
    if defs.iter().any(|def| def.name == DIALECT_KEY) { raw.get(DIALECT_KEY).cloned() } else { raw.take(DIALECT_KEY) }
}

/// What both places together ask for. A word that is no guarantee is reported here, unless the connector reads it itself.
pub(crate) fn asked(
    pipeline: Option<&Asked>,
    sink: Option<&RawOption>,
    defs: &[OptionDef],
    findings: &mut Findings,
) -> Option<Asked> {
    let from_sink = asked_for(sink, "sink.sink.delivery-guarantee");
    let read_here = !defs.iter().any(|def| def.name == DIALECT_KEY);
    if let (Some(option), None, true) = (sink, &from_sink, read_here) {
        let message = format!("`{DIALECT_KEY}` must be one of `exactly-once`, `at-least-once`");
        findings.push(Finding::error(Code::BadValue, message, option.value_place.clone()));
    }
    let Some(pipeline) = pipeline else { return from_sink };
    if let Some(other) = from_sink.filter(|other| other.guarantee != pipeline.guarantee) {
        let message = format!("`{}` and `{}` ask for different guarantees", pipeline.by, other.by);
        let finding = Finding::error(Code::Conflict, message, other.place);
        findings.push(finding.help("remove one; `pipeline.guarantee` is enough"));
    }
    Some(Asked { guarantee: pipeline.guarantee, place: pipeline.place.clone(), by: pipeline.by })
}

/// Tells a connector that reads the promise itself what the pipeline asks for, unless its block says it.
pub(crate) fn tell(asked: Option<&Asked>, raw: &mut RawBlock, defs: &[OptionDef]) {
    let Some(asked) = asked.filter(|_| raw.get(DIALECT_KEY).is_none()) else { return };
    if defs.iter().any(|def| def.name == DIALECT_KEY) {
        let word = match asked.guarantee {
            Guarantee::ExactlyOnce => "exactly-once",
            Guarantee::AtLeastOnce => "at-least-once",
        };
        raw.options.push(RawOption::new(DIALECT_KEY, word, asked.place.clone()));
    }
}

/// Refuses what the sink cannot keep.
pub(crate) fn check(asked: Option<&Asked>, class: SinkClass, kind: &str, findings: &mut Findings) {
    let Some(asked) = asked else { return };
    if asked.guarantee == Guarantee::ExactlyOnce && class == SinkClass::AtLeastOnce {
        let message = format!("sink type `{kind}` cannot keep `exactly-once`");
        findings.push(
            Finding::error(Code::Conflict, message, asked.place.clone())
                .note("after a crash it may repeat changes; they carry equal event ids")
                .help("write `guarantee: at-least-once`, or leave it out"),
        );
    }
}
