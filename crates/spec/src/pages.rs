//! Reference pages and the JSON Schema, made from the definitions that also parse the options.

use crate::blocks::LISTS;
use crate::overrides::{PREFIX, Target};
use dujiang_core::Code;
use dujiang_core::codes::{Fault, Retry};
use dujiang_core::options::{OptionDef, OptionType, Presence};
use std::fmt::Write;

/// The options of one block as a Markdown section with a table.
pub fn reference_page(kind: &str, options: &[OptionDef]) -> String {
    let mut page = format!("## `{kind}`\n\n| option | type | default | meaning |\n|---|---|---|---|\n");
    for def in options {
        let (default, name) = (default_text(def), shown(def));
        let _ = writeln!(page, "| `{name}` | {} | {default} | {} |", type_text(def.kind), cell(def.doc));
    }
    page
}

/// One option in Markdown: what it means, what it may be, and how it is set. `of` names the blocks that have it, `block` is
/// the key of the first.
pub fn option_page(def: &OptionDef, block: &'static str, of: &[String]) -> String {
    let mut page = format!("# {}\n\nOption of {}.\n\n{}\n\n", shown(def), of.join(", "), cell(def.doc));
    let _ = writeln!(page, "| | |\n|---|---|\n| type | {} |\n| default | {} |", type_text(def.kind), default_text(def));
    if def.presence != Presence::Prefix {
        let target = if LISTS.contains(&block) { Target::rule(block, 0) } else { Target::block(block) };
        let _ = writeln!(page, "| on the command line | `--set {}.{}=...` |", target.path(), def.name);
        let _ = writeln!(page, "| in the environment | `{}` |", target.variable(PREFIX, def.name));
    }
    page
}

fn shown(def: &OptionDef) -> String {
    if def.presence == Presence::Prefix { format!("{}*", def.name) } else { def.name.to_owned() }
}

fn default_text(def: &OptionDef) -> String {
    match def.presence {
        Presence::Required => "**required**".to_owned(),
        Presence::Default(text) => format!("`{text}`"),
        Presence::Optional | Presence::Prefix => "–".to_owned(),
    }
}

/// The page of an error code in Markdown: title, meaning, and what the program does about it.
pub fn error_page(code: Code) -> String {
    let who = match code.fault() {
        Fault::User => "you",
        Fault::External => "nobody, or whoever runs what is outside: network, server, disk",
        Fault::Bug => "us: please report it",
    };
    let again = match code.retry() {
        Retry::Never => "no",
        Retry::Bounded => "`pipeline.retry.attempts` times, `pipeline.retry.pause` apart",
        Retry::Endless => "for ever, with growing pauses",
    };
    format!(
        "# {}: {}\n\n{}\n\n| | |\n|---|---|\n| who can mend it | {who} |\n| tried again | {again} |\n| exit code | {} |\n",
        code.number(),
        code.title(),
        code.page().lines().map(str::trim).collect::<Vec<_>>().join("\n").trim(),
        code.exit_code(),
    )
}

/// What an option's text may be, in words.
fn type_text(kind: OptionType) -> String {
    match kind {
        OptionType::Text => "text".into(),
        OptionType::Secret => "secret".into(),
        OptionType::Integer { min, max } => format!("integer, {min} to {max}"),
        OptionType::Number => "number".into(),
        OptionType::Boolean => "`true` or `false`".into(),
        OptionType::Duration => "time span".into(),
        OptionType::Bytes => "bytes".into(),
        OptionType::List => "list, or words separated by commas".into(),
        OptionType::Choice(words) => words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", "),
    }
}

fn cell(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
