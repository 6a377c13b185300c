//! `sink.include.schema.changes` and `sink.exclude.schema.changes`: which schema changes reach the sink.

use crate::blocks::RawBlock;
use crate::finding::{Finding, Findings};
use crate::pipeline::SchemaBehavior;
use dujiang_core::Code;
use dujiang_core::evolution::{FAMILIES, TAGS, covers};
use dujiang_core::options::{RawOption, nearest};

/// The keys inside the `sink` block.
pub(crate) const INCLUDE: &str = "include.schema.changes";
pub(crate) const EXCLUDE: &str = "exclude.schema.changes";

/// Tags that `lenient` leaves out unless the file says what to leave out.
const NOT_LENIENT: &[&str] = &["drop.table", "truncate.table"];

/// Takes both options out of the `sink` block. Yields the tags of the changes that reach the sink, in the dialect's order.
pub(crate) fn take(raw: &mut RawBlock, behavior: SchemaBehavior, findings: &mut Findings) -> Vec<&'static str> {
    let (include, exclude) = (raw.take(INCLUDE), raw.take(EXCLUDE));
    let included = include.as_ref().map(|option| words(option, findings)).unwrap_or_default();
    let excluded = match &exclude {
        Some(option) => words(option, findings),
        None if behavior == SchemaBehavior::Lenient => NOT_LENIENT.iter().map(|tag| (*tag).to_owned()).collect(),
        None => Vec::new(),
    };
    let is_in = |words: &[String], tag: &str| words.iter().any(|word| covers(word, tag));
    // A table that is never created could take no rows: the dialect adds the tag to every list.
    let wanted = |tag: &str| included.is_empty() || tag == "create.table" || is_in(&included, tag);
    TAGS.iter().copied().filter(|tag| wanted(tag) && !is_in(&excluded, tag)).collect()
}

/// The words of a list; those that are neither tag nor family are reported.
fn words(option: &RawOption, findings: &mut Findings) -> Vec<String> {
    let mut words = Vec::new();
    for word in option.value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let known = || TAGS.iter().chain(FAMILIES).copied();
        if known().any(|tag| tag == word) {
            words.push(word.to_owned());
            continue;
        }
        let message = format!("`{}` has `{word}`, which is no schema change", option.key);
        let finding = Finding::error(Code::BadValue, message, option.value_place.clone());
        findings.push(match nearest(word, known()) {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding.help(format!("tags are {}; families are {}", TAGS.join(", "), FAMILIES.join(", "))),
        });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_core::options::Place;

    fn tags(include: Option<&str>, exclude: Option<&str>, behavior: SchemaBehavior) -> String {
        let mut raw = RawBlock::default();
        include.into_iter().for_each(|text| raw.set(INCLUDE, text, &Place::CommandLine));
        exclude.into_iter().for_each(|text| raw.set(EXCLUDE, text, &Place::CommandLine));
        let mut findings = Findings::default();
        let tags = take(&mut raw, behavior, &mut findings).join(" ");
        if findings.has_errors() { "refused".into() } else { tags }
    }

    #[test]
    fn lists_mean_what_they_mean_in_the_dialect() {
        use SchemaBehavior::{Evolve, Lenient};
        assert_eq!(tags(None, None, Evolve), TAGS.join(" "));
        assert_eq!(tags(Some("add"), None, Evolve), "add.column create.table");
        assert_eq!(
            tags(Some("column"), None, Evolve),
            "add.column alter.column.type create.table drop.column rename.column"
        );
        assert_eq!(tags(Some("add.column"), Some("create"), Evolve), "add.column");
        assert_eq!(tags(Some("all"), Some("table, column"), Evolve), "");
        assert!(!tags(None, None, Lenient).contains("truncate.table"));
        assert_eq!(tags(None, Some("add"), Lenient), TAGS.join(" ").replace("add.column ", ""));
        assert_eq!(tags(Some("add.colum"), None, Evolve), "refused");
    }
}
