//! `dujiang explain CODE|OPTION|CONNECTOR`.

use super::fail;
use crate::console::{Console, print};
use crate::registry::Connectors;
use clap::Args;
use dujiang_core::options::{OptionDef, Presence, nearest};
use dujiang_core::{Code, Error};
use dujiang_spec::{PipelineSettings, Registry, RouteOptions, TransformOptions, option_page, reference_page};

/// Flags of `explain`.
#[derive(Args)]
pub struct Arguments {
    /// An error code such as E0211, an option such as `source.tables`, or a connector such as `mysql`; without it, all
    /// codes are listed
    #[arg(value_name = "CODE|OPTION|CONNECTOR")]
    about: Option<String>,
}

/// Prints the page of a code, an option or a connector, or the list of all codes.
pub fn run(arguments: &Arguments, console: &Console) -> u8 {
    let Some(wanted) = &arguments.about else {
        Code::ALL.iter().for_each(|code| print(&format!("{}\t{}\n", code.number(), code.title())));
        return 0;
    };
    let page = if is_code(wanted) { code(wanted) } else { named(wanted) };
    match page {
        Ok(page) => {
            print(&page);
            0
        }
        Err(error) => fail(&error, console),
    }
}

/// Whether it is meant as a code: `e211`, `E0211`.
fn is_code(wanted: &str) -> bool {
    let digits = wanted.strip_prefix(['e', 'E']);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn code(wanted: &str) -> Result<String, Error> {
    let wanted = wanted.to_ascii_uppercase();
    if let Some(code) = Code::ALL.iter().find(|code| code.number() == wanted) {
        return Ok(dujiang_spec::error_page(*code));
    }
    let near = nearest(&wanted, Code::ALL.iter().map(|code| code.number()));
    let help = near.map_or("`dujiang explain` lists all codes".into(), |near| format!("did you mean `{near}`?"));
    Err(Error::new(Code::Usage, format!("there is no error code `{wanted}`")).help(help))
}

/// A block of a pipeline file, or one kind of it.
struct Block {
    /// `source`, `pipeline`, ...
    block: &'static str,
    /// The connector.
    kind: Option<&'static str>,
    summary: &'static str,
    options: &'static [OptionDef],
}

impl Block {
    /// For people: `the mysql source`, `pipeline`.
    fn title(&self) -> String {
        self.kind.map_or_else(|| format!("`{}`", self.block), |kind| format!("the `{kind}` {}", self.block))
    }
}

fn blocks() -> Vec<Block> {
    let connector = |block, kind, summary, options| Block { block, kind: Some(kind), summary, options };
    let own = |block, options| Block { block, kind: None, summary: "", options };
    let sources = Connectors.sources().iter().map(|spec| connector("source", spec.kind, spec.summary, spec.options));
    let sinks = Connectors.sinks().iter().map(|spec| connector("sink", spec.kind, spec.summary, spec.options));
    let logs = Connectors.logs().iter().map(|spec| connector("log", spec.kind, spec.summary, spec.options));
    let rest = [
        own("pipeline", PipelineSettings::DEFS),
        own("transform", TransformOptions::DEFS),
        own("route", RouteOptions::DEFS),
    ];
    sources.chain(sinks).chain(logs).chain(rest).collect()
}

/// The pages of what has this name: a connector, a block, or options.
fn named(wanted: &str) -> Result<String, Error> {
    let blocks = blocks();
    let whole = blocks.iter().filter(|block| block.kind.map_or(block.block == wanted, |kind| kind == wanted));
    let whole: Vec<String> = whole
        .map(|block| format!("# {}\n\n{}\n\n{}", block.title(), block.summary, reference_page(wanted, block.options)))
        .collect();
    if !whole.is_empty() {
        return Ok(whole.join("\n"));
    }
    let pages = options(wanted, &blocks);
    if !pages.is_empty() {
        return Ok(pages.join("\n"));
    }
    let names = blocks.iter().flat_map(|block| block.options.iter().map(|def| def.name).chain(block.kind));
    let option = match wanted.split_once('.') {
        Some((first, option)) if blocks.iter().any(|block| block.block == first || block.kind == Some(first)) => option,
        _ => wanted,
    };
    let help = match nearest(option, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "name an error code, an option as the pipeline file has it, or a connector".into(),
    };
    Err(Error::new(Code::Usage, format!("there is no option and no connector `{wanted}`")).help(help))
}

/// One page for every option of this name; blocks that define it alike share one. The name of the block or of the connector
/// may stand before it.
fn options(wanted: &str, blocks: &[Block]) -> Vec<String> {
    let mut found: Vec<(&OptionDef, &str, Vec<String>)> = Vec::new();
    for block in blocks {
        let inside = [Some(block.block), block.kind].into_iter().flatten();
        let below = inside.filter_map(|name| wanted.strip_prefix(name)?.strip_prefix('.'));
        let names: Vec<&str> = below.chain([wanted]).collect();
        let is_meant = |def: &&OptionDef| match def.presence {
            Presence::Prefix => names.iter().any(|name| name.starts_with(def.name.trim_end_matches('.'))),
            _ => names.contains(&def.name),
        };
        for def in block.options.iter().filter(is_meant) {
            match found.iter_mut().find(|(known, ..)| *known == def) {
                Some((.., titles)) => titles.push(block.title()),
                None => found.push((def, block.block, vec![block.title()])),
            }
        }
    }
    found.into_iter().map(|(def, block, titles)| option_page(def, block, &titles)).collect()
}
