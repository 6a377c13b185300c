//! Options that were written for other tools: those of the dialect that change nothing here, and properties of JDBC drivers and of
//! Debezium. What means something here is mapped; what decides which data come through is never passed over.

use dujiang_core::Code;
use dujiang_core::options::{Place, Problem, RawOption};

/// Properties of Debezium that decide which data come through: passing them over could reveal or lose some.
const DECIDES_DATA: &[&str] = &[
    "column.include.list",
    "column.exclude.list",
    "column.mask",
    "column.truncate",
    "skipped.operations",
    "snapshot.select.statement.overrides",
    "transforms",
];

/// Properties of Debezium in whose place something else is to be written.
const INSTEAD: &[(&str, &str)] = &[
    ("snapshot.mode", "where a new pipeline begins is said by `scan.startup.mode`"),
    ("event.deserialization.failure.handling.mode", "what becomes of such records is said by `pipeline.error.policy`"),
    ("event.processing.failure.handling.mode", "what becomes of such records is said by `pipeline.error.policy`"),
    ("publication.name", "name the publication with `publication.name`"),
    ("slot.name", "name the slot with `slot.name`"),
    ("slot.drop.on.stop", "the slot stays when the pipeline ends; drop it when you no longer need the pipeline"),
];

/// Properties by name, without their prefix.
#[derive(Debug, Clone, Copy)]
pub struct Properties<'o> {
    /// Of `jdbc.properties.*`.
    pub jdbc: &'o [(String, String)],
    /// Of `debezium.*`.
    pub debezium: &'o [(String, String)],
}

/// Whether a property of a source has been mapped, or says what holds anyway.
pub type Mapping<E> = fn(&str, &str, &mut E) -> bool;

/// A warning for each option that is `known` to change nothing here.
pub fn without_effect(raw: &[RawOption], known: &[&str]) -> Vec<Problem> {
    let set = raw.iter().filter(|option| known.contains(&option.key.as_str()));
    let warning = |option: &RawOption| {
        let message = format!("option `{}` is accepted and has no effect", option.key);
        Problem::new(Code::NotSupported, message, option.key_place.clone())
    };
    set.map(warning).collect()
}

/// Maps the properties that mean something for `endpoint`. The others are warned about, or refused if they decide which data come
/// through: (warnings, refusals).
pub fn map<E>(
    raw: &[RawOption],
    properties: Properties<'_>,
    endpoint: &mut E,
    (jdbc, debezium): (Mapping<E>, Mapping<E>),
) -> (Vec<Problem>, Vec<Problem>) {
    let place =
        |key: &str| raw.iter().find(|option| option.key == key).map_or(Place::Block(None), |o| o.key_place.clone());
    let without_meaning = |key: &str| {
        let message = format!("option `{key}` has no meaning here and is ignored");
        Problem::new(Code::NotSupported, message, place(key))
    };
    let (mut warnings, mut refusals) = (Vec::new(), Vec::new());
    for (key, value) in properties.jdbc {
        if !jdbc(key, value, endpoint) {
            warnings.push(without_meaning(&format!("jdbc.properties.{key}")));
        }
    }
    for (key, value) in properties.debezium {
        let full = format!("debezium.{key}");
        let neutral = key == "skipped.operations" && value == "none";
        if !neutral && DECIDES_DATA.iter().any(|known| key == known || key.starts_with(&format!("{known}."))) {
            let message = format!("`{full}` decides which data come through, and is not supported");
            let help = "remove it; choose columns and rows with `transform` (`projection`, `filter`)";
            refusals.push(Problem::new(Code::NotSupported, message, place(&full)).help(help));
        } else if !debezium(key, value, endpoint) {
            let mut warning = without_meaning(&full);
            warning.help = INSTEAD.iter().find(|(known, _)| key == known).map(|(_, help)| (*help).to_owned());
            warnings.push(warning);
        }
    }
    (warnings, refusals)
}
