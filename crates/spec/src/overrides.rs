//! `DUJIANG__SOURCE__HOSTNAME` and `--set source.hostname=...`: values from outside the file; in a list
//! `DUJIANG__ROUTE__0__SINK_TABLE` and `--set route.0.sink-table=...`.
//!
//! A variable's name is `DUJIANG__`, the block, `__`, and the option with `-` and `.` written `_`. Since several options
//! could be meant, the name is looked up among the options of the chosen connector; nothing is guessed.

use crate::blocks::{BLOCKS, LATER_BLOCKS, LISTS, RawBlock, later};
use crate::finding::{Finding, Findings};
use dujiang_core::Code;
use dujiang_core::options::{OptionDef, Place, Presence, nearest};
use std::collections::BTreeMap;

/// How a variable of ours begins. A single underscore after the name (`DUJIANG_LOG`) is not a setting of a pipeline.
pub(crate) const PREFIX: &str = "DUJIANG__";

/// One variable of ours, taken apart.
#[derive(Clone)]
pub(crate) struct Variable<'a> {
    name: &'a str,
    value: &'a str,
    /// Which of the pipelines, and how names of its variables begin: `DUJIANG__`, with several pipelines followed by
    /// the pipeline's name.
    pipeline: usize,
    prefix: String,
    target: Target,
    /// The option as the name has it, `__` as `_`.
    option: String,
}

impl Variable<'_> {
    /// Whether it is meant for that pipeline.
    pub fn is_for(&self, pipeline: usize) -> bool {
        self.pipeline == pipeline
    }
}

/// The block that a value from outside is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// `source`, `log`, `sink`, `pipeline`, `transform`, `route` or `sinks`.
    pub block: &'static str,
    /// Which rule of a list.
    pub index: Option<usize>,
}

impl Target {
    /// A block that is no list.
    pub fn block(block: &'static str) -> Self {
        Self { block, index: None }
    }

    /// A rule of a list.
    pub fn rule(block: &'static str, index: usize) -> Self {
        Self { block, index: Some(index) }
    }

    /// As paths spell it: `sink`, `sinks.0`.
    pub fn path(self) -> String {
        self.index.map_or_else(|| self.block.to_owned(), |index| format!("{}.{index}", self.block))
    }

    /// As variables spell it, with the closing `__`.
    fn spelled(self, prefix: &str) -> String {
        let index = self.index.map_or(String::new(), |index| format!("{index}__"));
        format!("{prefix}{}__{index}", self.block.to_ascii_uppercase())
    }

    /// The variable that sets an option of it.
    pub fn variable(self, prefix: &str, option: &str) -> String {
        self.spelled(prefix) + &spelling(option).to_ascii_uppercase()
    }
}

/// Takes the index off the option of a list: `0` and `__` or `.`, then the option.
fn rule_index<'o>(option: &'o str, separator: &str) -> Option<(usize, &'o str)> {
    let (index, rest) = option.split_once(separator)?;
    let digits = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
    index.parse().ok().filter(|_| digits && !rest.is_empty()).map(|index| (index, rest))
}

/// How many rules a list has when the rules from outside are added; a gap is reported.
pub(crate) fn rules(
    list: &'static str,
    in_file: usize,
    variables: &[Variable<'_>],
    set: &[Setting<'_>],
    findings: &mut Findings,
) -> usize {
    let from_env = variables.iter().map(|v| (v.target, Place::Environment(v.name.to_owned()), v.name.to_owned()));
    let from_set = set.iter().map(|s| (s.target, Place::CommandLine, format!("--set {list}.{}", s.option)));
    let mut all: Vec<_> = from_env.chain(from_set).filter(|(target, ..)| target.block == list).collect();
    all.sort_by_key(|(target, ..)| target.index);
    let mut count = in_file;
    for (target, place, name) in all {
        match target.index {
            Some(index) if index < count => {}
            Some(index) if index == count => count += 1,
            _ => {
                let message = format!("`{name}` names no rule of `{list}`, which has {count}");
                let finding = Finding::error(Code::UnknownVariable, message, place);
                findings.push(finding.help("rules are counted from 0; a new one takes the next number"));
            }
        }
    }
    count
}

/// A name as variables spell it: lower case, every run of `-`, `.` and `_` one `_`.
pub(crate) fn spelling(name: &str) -> String {
    let mut spelled = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '.' | '_' if spelled.ends_with('_') => {}
            '-' | '.' | '_' => spelled.push('_'),
            other => spelled.push(other.to_ascii_lowercase()),
        }
    }
    spelled
}

/// The environment variable that sets an option of a block: `("source", "server-id")` -> `DUJIANG__SOURCE__SERVER_ID`.
pub fn variable_name(block: &'static str, option: &str) -> String {
    Target::block(block).variable(PREFIX, option)
}

/// Our variables, in order of their names. With several pipelines the name of one comes first.
pub(crate) fn variables<'a>(
    env: &BTreeMap<&'a str, &'a str>,
    pipelines: &[String],
    findings: &mut Findings,
) -> Vec<Variable<'a>> {
    let mut variables = Vec::new();
    for (&name, &value) in env {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        let found = pipeline_of(name, path, pipelines).and_then(|(pipeline, prefix, path)| {
            let (target, option) = target_of(name, path, &prefix)?;
            Ok(Variable { name, value, pipeline, prefix, target, option: collapse(option) })
        });
        match found {
            Ok(variable) => variables.push(variable),
            Err(finding) => findings.push(*finding),
        }
    }
    variables
}

/// Takes the name of the pipeline off a path, if there are several.
fn pipeline_of<'p>(name: &str, path: &'p str, pipelines: &[String]) -> Result<(usize, String, &'p str), Box<Finding>> {
    if pipelines.len() <= 1 {
        return Ok((0, PREFIX.to_owned(), path));
    }
    let (first, rest) = path.split_once("__").unwrap_or((path, ""));
    let prefix = |pipeline: &str| format!("{PREFIX}{}__", spelling(pipeline).to_ascii_uppercase());
    if let Some(index) = pipelines.iter().position(|pipeline| spelling(pipeline) == spelling(first)) {
        return Ok((index, prefix(&pipelines[index]), rest));
    }
    let message = format!("the environment variable `{name}` names no pipeline");
    let finding = Finding::error(Code::UnknownVariable, message, Place::Environment(name.to_owned()));
    Err(Box::new(finding.help(match nearest(&spelling(first), pipelines.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{}{rest}`?", prefix(near)),
        None => {
            let known: Vec<String> =
                pipelines.iter().take(5).map(|pipeline| format!("`{}...`", prefix(pipeline))).collect();
            format!("with several pipelines the name of one comes first: {}", known.join(", "))
        }
    })))
}

/// Takes a path apart: block, rule of a list, option.
fn target_of<'p>(name: &str, path: &'p str, prefix: &str) -> Result<(Target, &'p str), Box<Finding>> {
    let (written, option) = path.split_once("__").unwrap_or((path, ""));
    let place = Place::Environment(name.to_owned());
    let block = spelling(written);
    if let Some(block) = BLOCKS.iter().find(|known| **known == block).filter(|_| !option.is_empty()) {
        return Ok((Target::block(block), option));
    }
    if let Some(list) = LISTS.iter().find(|known| **known == block) {
        let message = format!("the environment variable `{name}` names no rule of `{list}`");
        let example = Target::rule(list, 0).spelled(prefix);
        let option_name = if *list == "sinks" { "TYPE" } else { "SOURCE_TABLE" };
        let help = format!("name a rule by its number and an option: `{example}{option_name}`");
        return match rule_index(option, "__") {
            Some((index, option)) => Ok((Target::rule(list, index), option)),
            None => Err(Box::new(Finding::error(Code::UnknownVariable, message, place).help(help))),
        };
    }
    if let Some((subject, what)) = LATER_BLOCKS.iter().find(|(known, _)| spelling(known) == block) {
        return Err(Box::new(later(subject, what, place)));
    }
    let message = format!("the environment variable `{name}` names no setting");
    let help = format!(
        "names are `{prefix}SOURCE__...`, `{prefix}SINK__...`, `{prefix}PIPELINE__...`, `{prefix}TRANSFORM__0__...` or \
         `{prefix}ROUTE__0__...`"
    );
    let blocks = BLOCKS.iter().chain(LISTS).map(|block| block.to_ascii_uppercase()).collect::<Vec<_>>();
    let near = nearest(&block.to_ascii_uppercase(), blocks.iter().map(String::as_str))
        .map(|near| format!("did you mean `{prefix}{near}__{option}`?"));
    Err(Box::new(Finding::error(Code::UnknownVariable, message, place).help(near.unwrap_or(help))))
}

/// As [`spelling`] and of the same length, but with letters as they are.
fn collapse(option: &str) -> String {
    let mut collapsed = String::with_capacity(option.len());
    for c in option.chars() {
        match c {
            '-' | '.' | '_' if collapsed.ends_with('_') => {}
            '-' | '.' | '_' => collapsed.push('_'),
            other => collapsed.push(other),
        }
    }
    collapsed
}

/// Whether anything from outside is meant for a block.
pub(crate) fn is_named(target: Target, variables: &[Variable<'_>], set: &[Setting<'_>]) -> bool {
    variables.iter().any(|v| v.target == target) || set.iter().any(|s| s.target == target)
}

/// Sets the `type` of a block, which decides the names that its other options can have.
pub(crate) fn apply_type(target: Target, raw: &mut RawBlock, variables: &[Variable<'_>], set: &[Setting<'_>]) {
    for variable in variables.iter().filter(|v| v.target == target && v.option.eq_ignore_ascii_case("type")) {
        raw.set("type", variable.value, &Place::Environment(variable.name.to_owned()));
    }
    for setting in set.iter().filter(|s| s.target == target && s.option == "type") {
        raw.set("type", setting.value, &Place::CommandLine);
    }
}

/// Lays environment and then command line over a block whose options are known, and reports the values of the file
/// that cannot be read and have not been replaced.
pub(crate) fn apply(
    target: Target,
    raw: &mut RawBlock,
    known: &[OptionDef],
    variables: &[Variable<'_>],
    set: &[Setting<'_>],
    findings: &mut Findings,
) {
    let mut given: BTreeMap<String, &Variable<'_>> = BTreeMap::new();
    for variable in variables.iter().filter(|v| v.target == target) {
        match option_of(variable, known, raw) {
            Ok(key) => match given.get(&key) {
                Some(other) if other.value != variable.value => findings.push(twice(&key, other, variable)),
                _ => {
                    raw.set(&key, variable.value, &Place::Environment(variable.name.to_owned()));
                    given.insert(key, variable);
                }
            },
            Err(finding) => findings.push(*finding),
        }
    }
    for setting in set.iter().filter(|s| s.target == target) {
        raw.set(setting.option, setting.value, &Place::CommandLine);
    }
    raw.report_unreadable(findings);
}

/// The option that a variable names.
fn option_of(variable: &Variable<'_>, known: &[OptionDef], raw: &RawBlock) -> Result<String, Box<Finding>> {
    let spelled = spelling(&variable.option);
    let place = || Place::Environment(variable.name.to_owned());
    let exact: Vec<&str> = known
        .iter()
        .filter(|def| def.presence != Presence::Prefix && spelling(def.name) == spelled)
        .map(|def| def.name)
        .collect();
    match exact[..] {
        [only] => return Ok(only.to_owned()),
        [one, other, ..] => {
            let message = format!("the environment variable `{}` could mean `{one}` or `{other}`", variable.name);
            let help = format!("set it in the file or with `--set {}.{one}=...`", variable.target.block);
            return Err(Box::new(Finding::error(Code::UnknownVariable, message, place()).help(help)));
        }
        [] => {}
    }
    let prefixes =
        known.iter().filter(|def| def.presence == Presence::Prefix).map(|def| (def.name, spelling(def.name)));
    let prefix = prefixes
        .filter(|(_, prefix)| spelled.len() > prefix.len() && spelled.starts_with(prefix))
        .max_by_key(|(_, prefix)| prefix.len());
    match prefix {
        Some((name, prefix)) => Ok(prefixed_key(name, &variable.option[prefix.len()..], &spelled, raw)),
        None => Err(Box::new(unknown(variable, known))),
    }
}

/// The key under a prefix: the one the file has, or dots for underscores; capitals only if there are small letters too.
fn prefixed_key(prefix: &str, rest: &str, spelled: &str, raw: &RawBlock) -> String {
    if let Some(option) = raw.options.iter().find(|o| o.key.starts_with(prefix) && spelling(&o.key) == spelled) {
        return option.key.clone();
    }
    let mixed = rest.chars().any(char::is_lowercase);
    let rest = if mixed { rest.to_owned() } else { rest.to_lowercase() };
    format!("{prefix}{}", rest.replace('_', "."))
}

fn unknown(variable: &Variable<'_>, known: &[OptionDef]) -> Finding {
    let message =
        format!("the environment variable `{}` names no option of `{}`", variable.name, variable.target.block);
    let finding = Finding::error(Code::UnknownVariable, message, Place::Environment(variable.name.to_owned()));
    let spellings: Vec<_> = known.iter().map(|def| spelling(def.name).to_ascii_uppercase()).collect();
    match nearest(&variable.option.to_ascii_uppercase(), spellings.iter().map(String::as_str)) {
        Some(near) => finding.help(format!("did you mean `{}{near}`?", variable.target.spelled(&variable.prefix))),
        None => finding.help("unset it, or correct its name; `-` and `.` of an option are written `_`"),
    }
}

fn twice(key: &str, one: &Variable<'_>, other: &Variable<'_>) -> Finding {
    let message = format!("`{}` and `{}` set `{}.{key}` to different values", one.name, other.name, one.target.block);
    Finding::error(Code::Conflict, message, Place::Environment(other.name.to_owned())).help("unset one of the two")
}

/// One `--set path=value`.
#[derive(Clone)]
pub(crate) struct Setting<'a> {
    pipeline: usize,
    target: Target,
    option: &'a str,
    value: &'a str,
}

impl Setting<'_> {
    /// Whether it is meant for that pipeline.
    pub fn is_for(&self, pipeline: usize) -> bool {
        self.pipeline == pipeline
    }
}

/// Takes the paths of `--set` apart. With several pipelines the name of one comes first.
pub(crate) fn settings<'a>(
    set: &'a [(String, String)],
    pipelines: &[String],
    findings: &mut Findings,
) -> Vec<Setting<'a>> {
    let mut settings = Vec::new();
    for (path, value) in set {
        let found = pipeline_of_path(path, pipelines).and_then(|(pipeline, rest)| {
            let (target, option) = target_of_path(path, rest)?;
            Ok(Setting { pipeline, target, option, value })
        });
        match found {
            Ok(setting) => settings.push(setting),
            Err(finding) => findings.push(*finding),
        }
    }
    settings
}

/// Takes the name of the pipeline off a path, if there are several.
fn pipeline_of_path<'p>(path: &'p str, pipelines: &[String]) -> Result<(usize, &'p str), Box<Finding>> {
    if pipelines.len() <= 1 {
        return Ok((0, path));
    }
    let rest = |pipeline: &String| path.strip_prefix(pipeline.as_str()).and_then(|rest| rest.strip_prefix('.'));
    // Names may hold dots: the longest that fits is meant.
    let fits = pipelines.iter().enumerate().filter_map(|(index, pipeline)| Some((index, rest(pipeline)?)));
    fits.min_by_key(|(_, rest)| rest.len()).ok_or_else(|| {
        let message = format!("`--set {path}=...` names no pipeline");
        let help = match path.split_once('.') {
            Some((first, rest)) if !BLOCKS.contains(&first) && !LISTS.contains(&first) => {
                match nearest(first, pipelines.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `--set {near}.{rest}=...`?"),
                    None => {
                        let known: Vec<String> = pipelines.iter().take(5).map(|name| format!("`{name}`")).collect();
                        format!("the pipelines are {}", known.join(", "))
                    }
                }
            }
            _ => {
                let first = pipelines.first().map_or("", String::as_str);
                format!("with several pipelines the name of one comes first: `--set {first}.{path}=...`")
            }
        };
        Box::new(Finding::error(Code::UnknownKey, message, Place::CommandLine).help(help))
    })
}

/// Takes a path apart: block, rule of a list, option.
fn target_of_path<'p>(path: &str, rest: &'p str) -> Result<(Target, &'p str), Box<Finding>> {
    let (block, option) = rest.split_once('.').unwrap_or((rest, ""));
    if let Some(block) = BLOCKS.iter().find(|known| **known == block).filter(|_| !option.is_empty()) {
        return Ok((Target::block(block), option));
    }
    let list = LISTS.iter().find(|known| **known == block);
    if let (Some(list), Some((index, option))) = (list, rule_index(option, ".")) {
        return Ok((Target::rule(list, index), option));
    }
    if let Some((subject, what)) = LATER_BLOCKS.iter().find(|(known, _)| *known == block) {
        return Err(Box::new(later(subject, what, Place::CommandLine)));
    }
    let message = format!("`--set {path}=...` names no option of a block");
    let finding = Finding::error(Code::UnknownKey, message, Place::CommandLine);
    Err(Box::new(match nearest(block, BLOCKS.iter().chain(LISTS).copied()) {
        Some(near) if !option.is_empty() && near != block => finding.help(format!("did you mean `{near}.{option}`?")),
        _ => finding.help(
            "paths are `source.<option>`, `sink.<option>`, `pipeline.<option>`, `transform.<number>.<option>` or \
             `route.<number>.<option>`",
        ),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dujiang_core::options::OptionType;

    const fn def(name: &'static str, presence: Presence) -> OptionDef {
        OptionDef { name, doc: "", presence, kind: OptionType::Text }
    }

    const KNOWN: &[OptionDef] = &[
        def("host-name", Presence::Required),
        def("a.b", Presence::Optional),
        def("a-b", Presence::Optional),
        def("properties.", Presence::Prefix),
        def("properties.max-age", Presence::Optional),
    ];

    fn key(variable: &str, raw: &RawBlock) -> Result<String, String> {
        let env = BTreeMap::from([(variable, "1")]);
        let mut findings = Findings::default();
        let variables = variables(&env, &[], &mut findings);
        let Some(variable) = variables.first() else { return Err("not ours".into()) };
        option_of(variable, KNOWN, raw).map_err(|f| f.message)
    }

    #[test]
    fn names_are_looked_up_not_guessed() {
        let raw = RawBlock::default();
        assert_eq!(key("DUJIANG__SOURCE__HOST_NAME", &raw).as_deref(), Ok("host-name"));
        assert_eq!(key("DUJIANG__source__host_name", &raw).as_deref(), Ok("host-name"));
        assert_eq!(key("DUJIANG__SOURCE__HOST__NAME", &raw).as_deref(), Ok("host-name"));
        assert_eq!(key("DUJIANG__SOURCE__PROPERTIES_MAX_AGE", &raw).as_deref(), Ok("properties.max-age"));
        assert!(key("DUJIANG__SOURCE__A_B", &raw).unwrap_err().contains("could mean `a.b` or `a-b`"));
        assert!(key("DUJIANG__SOURCE__HOSTNAM", &raw).is_err());
        assert!(key("DUJIANG_SOURCE__HOST_NAME", &raw).is_err());
    }

    #[test]
    fn keys_under_a_prefix_follow_the_file_or_take_dots() {
        let mut raw = RawBlock::default();
        assert_eq!(key("DUJIANG__SINK__PROPERTIES_A_B", &raw).as_deref(), Ok("properties.a.b"));
        assert_eq!(key("DUJIANG__SINK__PROPERTIES__useSSL", &raw).as_deref(), Ok("properties.useSSL"));
        raw.set("properties.a-B", "x", &Place::CommandLine);
        assert_eq!(key("DUJIANG__SINK__PROPERTIES_A_B", &raw).as_deref(), Ok("properties.a-B"));
    }
}
