//! One sink, or the list of a log's sinks.

use crate::blocks::RawBlock;
use crate::finding::{Finding, Findings};
use crate::overrides::{self, Setting, Target, Variable};
use dujiang_core::Code;
use dujiang_core::options::Place;
use std::collections::BTreeSet;

const LIST: &str = "sinks";

/// The one sink, or those of the list, with what is meant for them from outside.
pub(crate) fn all(
    sink: RawBlock,
    mut sinks: Vec<RawBlock>,
    log: &RawBlock,
    variables: &[Variable<'_>],
    set: &[Setting<'_>],
    findings: &mut Findings,
) -> Vec<(Target, RawBlock)> {
    let count = overrides::rules(LIST, sinks.len(), variables, set, findings);
    if count == 0 {
        return vec![(Target::block("sink"), sink)];
    }
    let first = sinks.first().and_then(|first| first.place.clone());
    if sink.place.is_some() {
        let message = "`sink` and `sinks` cannot both be given";
        let finding = Finding::error(Code::Conflict, message, Place::Block(sink.place));
        findings.push(finding.help("move the sink into the list, with a `name`"));
    }
    if log.place.is_none() && !overrides::is_named(Target::block("log"), variables, set) {
        let message = "`sinks` needs a log, from which each sink reads at its own pace";
        let finding = Finding::error(Code::Conflict, message, Place::Block(first));
        findings.push(finding.help("add a `log:` block, for example with `type: embedded` and a `path`"));
    }
    sinks.resize_with(count, RawBlock::default);
    let numbered = sinks.into_iter().enumerate();
    let all: Vec<_> = numbered.map(|(index, raw)| (Target::rule(LIST, index), raw)).collect();
    check_names(&all, findings);
    all
}

fn check_names(sinks: &[(Target, RawBlock)], findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (target, raw) in sinks {
        match raw.get("name") {
            Some(name) if seen.insert(&name.value) => {}
            Some(name) => {
                let message = format!("two sinks are called `{}`", name.value);
                let finding = Finding::error(Code::Conflict, message, name.value_place.clone());
                findings.push(finding.help("give each a `name` of its own"));
            }
            None => {
                let message = format!("`{}` has no `name`", target.path());
                let finding = Finding::error(Code::MissingKey, message, Place::Block(raw.place.clone()));
                findings.push(finding.help("each sink of a log reads under a name of its own"));
            }
        }
    }
}
