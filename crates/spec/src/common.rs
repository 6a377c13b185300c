//! What every block of a kind can be given, whatever its connector.

use crate::guarantee;
use crate::schema_changes;
use dujiang_core::options::{OptionDef, OptionType, Presence};

/// Options that every block of a kind has, beside its connector's own.
pub(crate) fn common_options(block: &str) -> &'static [OptionDef] {
    const fn def(name: &'static str, doc: &'static str, presence: Presence, kind: OptionType) -> OptionDef {
        OptionDef { name, doc, presence, kind }
    }
    const TYPE: OptionDef = def("type", "The connector.", Presence::Required, OptionType::Text);
    const NAME: OptionDef = def("name", "A label; it has no effect.", Presence::Optional, OptionType::Text);
    const SINK_NAME: OptionDef = def(
        "name",
        "The sink's name: that of its consumer group in the log and of its part of the state folder.",
        Presence::Required,
        OptionType::Text,
    );
    const GUARANTEE: OptionDef = def(
        guarantee::DIALECT_KEY,
        "The dialect's spelling of `pipeline.guarantee`.",
        Presence::Optional,
        OptionType::Choice(&["exactly-once", "at-least-once"]),
    );
    const INCLUDE: OptionDef = def(
        schema_changes::INCLUDE,
        "Schema changes that reach the sink: a list of tags (`add.column`) and families (`column`); default: all.",
        Presence::Optional,
        OptionType::List,
    );
    const EXCLUDE: OptionDef = def(
        schema_changes::EXCLUDE,
        "Schema changes that do not reach the sink; wins over `include.schema.changes`.",
        Presence::Optional,
        OptionType::List,
    );
    // A list's blocks have numbers: `sinks.0`.
    match block.split('.').next().unwrap_or_default() {
        "source" => &[TYPE, NAME],
        "log" => &[TYPE],
        "sinks" => &[TYPE, SINK_NAME, GUARANTEE, INCLUDE, EXCLUDE],
        "sink" => &[TYPE, NAME, GUARANTEE, INCLUDE, EXCLUDE],
        _ => &[],
    }
}
