//! The JSON Schema of a pipeline file, for editors.

use crate::common::common_options;
use crate::pipeline::PipelineSettings;
use crate::registry::Registry;
use crate::rules::{RouteOptions, TransformOptions};
use dujiang_core::options::{OptionDef, OptionType, Presence};
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 7) of a pipeline file, for the connectors of a build.
pub fn json_schema(registry: &dyn Registry) -> Value {
    let sources: Vec<_> = registry.sources().iter().map(|s| (s.kind, s.summary, s.options)).collect();
    let sinks: Vec<_> = registry.sinks().iter().map(|s| (s.kind, s.summary, s.options)).collect();
    let logs: Vec<_> = registry.logs().iter().map(|s| (s.kind, s.summary, s.options)).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Dujiang pipeline",
        "type": "object",
        "required": ["source"],
        "oneOf": [{ "required": ["sink"] }, { "required": ["log", "sinks"] }],
        "additionalProperties": false,
        "properties": {
            "source": connector_block("source", &sources),
            "log": connector_block("log", &logs),
            "sink": connector_block("sink", &sinks),
            "sinks": { "type": "array", "items": connector_block("sinks", &sinks), "description": "Several sinks of one log, each with its own name and pace." },
            "transform": rules("Projections and filters; for a table the first rule that matches applies.", TransformOptions::DEFS),
            "route": rules("Other names for tables in the sink.", RouteOptions::DEFS),
            "pipeline": options_object(PipelineSettings::DEFS.iter()),
        },
    })
}

/// A list of rules; nothing but what its options are may stand in one.
fn rules(description: &str, options: &[OptionDef]) -> Value {
    let mut item = options_object(options.iter());
    item["additionalProperties"] = json!(false);
    json!({ "type": ["array", "null"], "items": item, "description": description })
}

/// A block whose `type` decides its other options.
fn connector_block(block: &str, connectors: &[(&str, &str, &[OptionDef])]) -> Value {
    let kinds: Vec<_> = connectors.iter().map(|(kind, ..)| *kind).collect();
    let branches: Vec<_> = connectors
        .iter()
        .map(|(kind, summary, options)| {
            let mut object = options_object(common_options(block).iter().chain(*options));
            object["properties"]["type"] = json!({ "const": kind, "description": summary });
            json!({ "if": { "properties": { "type": { "const": kind } }, "required": ["type"] }, "then": object })
        })
        .collect();
    json!({
        "type": "object",
        "required": ["type"],
        "properties": { "type": { "enum": kinds, "description": "The connector." } },
        "allOf": branches,
    })
}

fn options_object<'a>(options: impl Iterator<Item = &'a OptionDef>) -> Value {
    let (mut properties, mut patterns, mut required) = (Map::new(), Map::new(), Vec::new());
    for def in options {
        let schema = option_schema(def);
        if def.presence == Presence::Prefix {
            patterns.insert(format!("^{}.+", def.name.replace('.', "\\.")), schema);
            continue;
        }
        if def.presence == Presence::Required {
            required.push(def.name);
        }
        properties.insert(def.name.to_owned(), schema);
    }
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": patterns,
        "required": required,
    })
}

/// Every value may also be a reference, so typed options accept text too.
fn option_schema(def: &OptionDef) -> Value {
    let reference = json!({ "type": "string", "pattern": "\\$\\{" });
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let mut schema = match def.kind {
        OptionType::Text | OptionType::Secret | OptionType::Duration | OptionType::Bytes => scalar,
        OptionType::List => {
            json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
        }
        OptionType::Integer { min, max } => {
            let digits = json!({ "type": "string", "pattern": "^-?[0-9]+$" });
            json!({ "anyOf": [integer(min, max), digits, reference] })
        }
        OptionType::Number => json!({ "anyOf": [{ "type": "number" }, { "type": "string" }] }),
        OptionType::Boolean => json!({ "anyOf": [{ "type": "boolean" }, { "enum": ["true", "false"] }, reference] }),
        OptionType::Choice(words) => {
            let upper: Vec<_> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
            json!({ "anyOf": [{ "enum": words }, { "enum": upper }, reference] })
        }
    };
    schema["description"] = json!(def.doc.split_whitespace().collect::<Vec<_>>().join(" "));
    if let Presence::Default(text) = def.presence {
        schema["default"] = json!(text);
    }
    schema
}

/// Bounds that a JSON number can hold exactly.
fn integer(min: i128, max: i128) -> Value {
    let mut schema = json!({ "type": "integer" });
    if let Ok(min) = i64::try_from(min) {
        schema["minimum"] = json!(min);
    }
    if let Ok(max) = u64::try_from(max) {
        schema["maximum"] = json!(max);
    }
    schema
}
