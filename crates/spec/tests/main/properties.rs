//! P34, P40, P41, P42, P43 over the sample registry.

use crate::sample::{BUILT, FileOptions, SINKS, SOURCES, load_with};
use dujiang_core::options::{OptionDef, OptionType, Place, Presence, RawOption};
use dujiang_spec::{Loaded, PipelineSettings, variable_name};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A block under test: its name, its connector if it has one, its options.
#[derive(Debug, Clone, Copy)]
struct Target {
    block: &'static str,
    kind: &'static str,
    defs: &'static [OptionDef],
}

fn places() -> Vec<Target> {
    let sources = SOURCES.iter().map(|s| Target { block: "source", kind: s.kind, defs: s.options });
    let sinks = SINKS.iter().map(|s| Target { block: "sink", kind: s.kind, defs: s.options });
    sources.chain(sinks).chain([Target { block: "pipeline", kind: "", defs: PipelineSettings::DEFS }]).collect()
}

/// Any text that a value may be, references and YAML's own characters included.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_./-]{1,20}",
        "[ -~]{1,20}",
        "\\PC{1,12}",
        prop::sample::select(vec![
            "0123", "1e5", "yes", "null", "~", "a: b", "# x", "- a", "{}", "[a", "'", "\"", "&a", "*b", "$x"
        ])
        .prop_map(str::to_owned),
    ]
}

/// A value its option takes.
fn valid(def: &OptionDef) -> BoxedStrategy<String> {
    let words = |words: &'static [&'static str]| prop::sample::select(words.to_vec()).prop_map(str::to_owned);
    match (def.name, def.kind) {
        ("name", _) => "[a-zA-Z0-9 _-]{0,20}[a-z]".boxed(),
        ("guarantee", _) => words(&["at-least-once"]).boxed(),
        ("checkpoint.interval", _) => (1u32..100_000).prop_map(|n| format!("{n}ms")).boxed(),
        ("execution.runtime-mode", _) => words(&["streaming", "STREAMING"]).boxed(),
        ("parallelism", _) => (1u32..=256).prop_map(|n| n.to_string()).boxed(),
        ("memory.limit", _) => (1u32..4096).prop_map(|n| format!("{n} MB")).boxed(),
        (_, OptionType::Text | OptionType::Secret) => any_text().boxed(),
        (_, OptionType::Integer { min, max }) => {
            (min.max(0)..=max.min(i128::from(u32::MAX))).prop_map(|n| n.to_string()).boxed()
        }
        (_, OptionType::Number) => (-1000.0f64..1000.0).prop_map(|n| n.to_string()).boxed(),
        (_, OptionType::Boolean) => words(&["true", "false", "TRUE", "False"]).boxed(),
        (_, OptionType::Duration) => (0u32..10_000, words(&["ms", "s", " sec", " min", "h", " days"]))
            .prop_map(|(n, u)| format!("{n}{u}"))
            .boxed(),
        (_, OptionType::Bytes) => {
            (0u32..10_000, words(&["", "b", "kb", " MB", "gib"])).prop_map(|(n, u)| format!("{n}{u}")).boxed()
        }
        (_, OptionType::List) => prop::collection::vec(words(&["add", "drop.column", "all"]), 1..3)
            .prop_map(|words| words.join(", "))
            .boxed(),
        (_, OptionType::Choice(all)) => words(all).boxed(),
    }
}

/// A value its option does not take, if there is one.
fn invalid(def: &OptionDef) -> Option<&'static str> {
    match def.kind {
        OptionType::Text | OptionType::Secret => None,
        OptionType::Integer { min: 0, .. } => Some("-1"),
        OptionType::Integer { .. } => Some("99999999999999999999999"),
        OptionType::Number => Some("many"),
        OptionType::Boolean => Some("yes"),
        OptionType::Duration => Some("7 parsecs"),
        OptionType::Bytes => Some("7 acres"),
        OptionType::Choice(_) | OptionType::List => Some("none-of-these"),
    }
}

/// Two settings that the dialect forbids to combine.
fn combinable(def: &OptionDef) -> bool {
    def.name != "schema.operator.uid"
}

/// A key of a definition; under a prefix one of many.
fn key(def: &OptionDef) -> String {
    if def.presence == Presence::Prefix { format!("{}a.b", def.name) } else { def.name.to_owned() }
}

/// Some options of a place with values, the required ones always.
fn block_of(place: Target) -> BoxedStrategy<BTreeMap<String, String>> {
    let each: Vec<_> = place
        .defs
        .iter()
        .filter(|def| combinable(def))
        .map(|def| {
            let required = def.presence == Presence::Required;
            (Just(key(def)), valid(def), any::<bool>().prop_map(move |given| given || required))
        })
        .collect();
    each.prop_map(|all| all.into_iter().filter(|(_, _, given)| *given).map(|(k, v, _)| (k, v)).collect()).boxed()
}

/// Ways to write a value so that it is read back as it is.
fn written(value: &str, style: u8) -> String {
    let value = value.replace('$', "$$");
    let safe = value.chars().all(|c| c.is_ascii_alphanumeric() || "./_".contains(c)) && !value.is_empty();
    match style % 3 {
        0 if safe => value,
        1 if !value.chars().any(char::is_control) => format!("'{}'", value.replace('\'', "''")),
        _ => {
            let escape = |c: char| match c {
                '"' | '\\' => format!("\\{c}"),
                c if (' '..='~').contains(&c) => c.to_string(),
                c => format!("\\U{:08x}", u32::from(c)),
            };
            format!("\"{}\"", value.chars().map(escape).collect::<String>())
        }
    }
}

/// A whole file.
#[derive(Debug, Clone)]
struct File {
    source: (Target, BTreeMap<String, String>),
    sink: (Target, BTreeMap<String, String>),
    pipeline: (Target, BTreeMap<String, String>),
    styles: Vec<u8>,
}

impl File {
    fn blocks(&self) -> [&(Target, BTreeMap<String, String>); 3] {
        [&self.source, &self.sink, &self.pipeline]
    }

    fn block_mut(&mut self, block: &str) -> &mut (Target, BTreeMap<String, String>) {
        match block {
            "source" => &mut self.source,
            "sink" => &mut self.sink,
            _ => &mut self.pipeline,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut style = self.styles.iter().cycle();
        let mut next = || *style.next().expect("invariant: there is a style");
        let flip = next() % 2 == 0;
        let blocks = self.blocks();
        for index in if flip { [0, 1, 2] } else { [2, 1, 0] } {
            let (place, options) = blocks[index];
            text.push_str(&format!("{}:", place.block));
            if place.kind.is_empty() && options.is_empty() {
                text.push('\n');
                continue;
            }
            text.push_str(" # 都江\n");
            if !place.kind.is_empty() {
                text.push_str(&format!("  type: {}\n", place.kind));
            }
            for (key, value) in options {
                match (key.split_once('.'), next() % 4) {
                    // `a.b: x` and `a:` over `b: x` are the same, unless another key begins with `a.` too.
                    (Some((head, tail)), 3) if options.keys().filter(|k| k.starts_with(head)).count() == 1 => {
                        text.push_str(&format!("  {head}:\n    {tail}: {}\n", written(value, next())));
                    }
                    _ => text.push_str(&format!("  {key}: {}\n", written(value, next()))),
                }
            }
        }
        text
    }
}

fn file() -> impl Strategy<Value = File> {
    let of = |block: &'static str| {
        let all: Vec<_> = places().into_iter().filter(|p| p.block == block).collect();
        prop::sample::select(all).prop_flat_map(|place| (Just(place), block_of(place)))
    };
    (of("source"), of("sink"), of("pipeline"), prop::collection::vec(any::<u8>(), 40))
        .prop_map(|(source, sink, pipeline, styles)| File { source, sink, pipeline, styles })
}

/// An option of a file's connectors, with two different values for it.
fn file_with_option() -> impl Strategy<Value = (File, &'static str, String, [String; 3])> {
    (file(), any::<prop::sample::Index>()).prop_flat_map(|(file, index)| {
        let all: Vec<_> = file
            .blocks()
            .into_iter()
            .flat_map(|(place, _)| place.defs.iter().filter(|def| combinable(def)).map(|def| (place.block, def)))
            .collect();
        let (block, def) = *index.get(&all);
        let values = [valid(def), valid(def), valid(def)];
        (Just(file), Just(block), Just(key(def)), values)
    })
}

fn given(options: &[RawOption]) -> BTreeMap<String, String> {
    options.iter().map(|option| (option.key.clone(), option.value.clone())).collect()
}

/// What the program got for a setting of the `pipeline` block, as text that can be compared.
fn setting(loaded: &Loaded, key: &str) -> String {
    let Some(text) = format!("{:?}", loaded.pipeline.settings).split("places").next().map(str::to_owned) else {
        return String::new();
    };
    let many = PipelineSettings::DEFS.iter().find(|def| def.presence == Presence::Prefix && key.starts_with(def.name));
    let field = many.map_or(key, |def| def.name.trim_end_matches('.')).replace(['.', '-'], "_");
    let start = text.find(&format!("{field}: ")).map_or(0, |i| i + field.len() + 2);
    // The one with a free ending is the last.
    if many.is_some() {
        return text[start..].to_owned();
    }
    text[start..].split(", ").next().unwrap_or("").to_owned()
}

/// The same setting as if it alone stood in a file.
fn setting_of(key: &str, value: Option<&str>) -> String {
    let pipeline = value.map_or(String::new(), |value| format!("pipeline:\n  {key}: {}\n", written(value, 2)));
    let text = format!("source: {{type: generator}}\nsink: {{type: queue}}\n{pipeline}");
    setting(&load_with(&text, &[], &[]).expect("a valid setting"), key)
}

/// What reached the program for an option, and where it says it came from.
fn reached(loaded: &Loaded, block: &str, key: &str) -> (Option<String>, Option<Place>) {
    let built = BUILT.with_borrow(Clone::clone);
    let find =
        |options: &[RawOption]| options.iter().find(|o| o.key == key).map(|o| (o.value.clone(), o.value_place.clone()));
    match block {
        "source" => find(&built.0).unzip(),
        "sink" => find(&built.1).unzip(),
        _ => (None, Some(loaded.pipeline.settings.place(key))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn p34_every_setting_can_be_set_by_environment((mut file, block, key, [value, ..]) in file_with_option(), remove in any::<bool>()) {
        if remove {
            file.block_mut(block).1.remove(&key);
        }
        let variable = variable_name(block, &key);
        let loaded = load_with(&file.text(), &[(variable.as_str(), value.as_str())], &[]);
        let loaded = loaded.map_err(|all| TestCaseError::fail(format!("{all:?}")))?;
        let (got, place) = reached(&loaded, block, &key);
        prop_assert_eq!(place, Some(Place::Environment(variable)));
        match block {
            "pipeline" => prop_assert_eq!(setting(&loaded, &key), setting_of(&key, Some(&value))),
            _ => prop_assert_eq!(got, Some(value)),
        }
    }

    #[test]
    fn p40_every_parameter_of_a_file_reaches_the_program(file in file()) {
        let loaded = load_with(&file.text(), &[], &[]).map_err(|all| TestCaseError::fail(format!("{all:?}")))?;
        let built = BUILT.with_borrow(Clone::clone);
        prop_assert_eq!(&given(&built.0), &file.source.1);
        prop_assert_eq!(&given(&built.1), &file.sink.1);
        prop_assert_eq!(&given(&loaded.pipeline.source.options), &file.source.1);
        for (key, value) in &file.pipeline.1 {
            prop_assert_eq!(setting(&loaded, key), setting_of(key, Some(value)), "{}", key);
        }
        if loaded.pipeline.sink.kind == "file" {
            let options = FileOptions::parse(&loaded.pipeline.sink.options).expect("checked before");
            prop_assert_eq!(Some(&options.path), file.sink.1.get("path"));
        }
    }

    #[test]
    fn p41_command_line_beats_environment_beats_file_beats_default(
        (mut file, block, key, [in_file, in_env, in_set]) in file_with_option(),
        has in any::<[bool; 3]>(),
    ) {
        let required = file.block_mut(block).0.defs.iter().any(|d| d.name == key && d.presence == Presence::Required);
        let has_file = has[0] || (required && !has[1] && !has[2]);
        file.block_mut(block).1.remove(&key);
        if has_file {
            file.block_mut(block).1.insert(key.clone(), in_file.clone());
        }
        let (variable, path) = (variable_name(block, &key), format!("{block}.{key}"));
        let env: Vec<_> = has[1].then_some((variable.as_str(), in_env.as_str())).into_iter().collect();
        let set: Vec<_> = has[2].then_some((path.as_str(), in_set.as_str())).into_iter().collect();
        let loaded = load_with(&file.text(), &env, &set).map_err(|all| TestCaseError::fail(format!("{all:?}")))?;
        let layers = [(has[2], in_set), (has[1], in_env), (has_file, in_file)];
        let expected = layers.into_iter().find(|(has, _)| *has).map(|(_, value)| value);
        match block {
            "pipeline" => prop_assert_eq!(setting(&loaded, &key), setting_of(&key, expected.as_deref())),
            _ => prop_assert_eq!(reached(&loaded, block, &key).0, expected),
        }
    }

    #[test]
    fn p42_valid_configurations_are_accepted(file in file()) {
        let loaded = load_with(&file.text(), &[], &[]);
        let loaded = loaded.map_err(|all| TestCaseError::fail(format!("{}\n{all:?}", file.text())))?;
        prop_assert_eq!(loaded.pipeline.source.kind.as_str(), file.source.0.kind);
        prop_assert_eq!(loaded.pipeline.sink.kind.as_str(), file.sink.0.kind);
    }

    #[test]
    fn p43_every_invalid_configuration_is_refused_with_place_and_reason(
        (mut file, block, key, _) in file_with_option(),
        mistake in 0u8..9,
    ) {
        let (place, options) = file.block_mut(block).clone();
        let def = *place.defs.iter().find(|d| key.starts_with(d.name)).expect("invariant: the key has a definition");
        // (code, text at the place)
        let (text, env, code, at): (String, Vec<(&str, &str)>, &str, String) = match mistake {
            0 => {
                file.block_mut(block).1.insert("zzzzzzzz".into(), "1".into());
                (file.text(), vec![], "E0103", "zzzzzzzz".into())
            }
            1 => match invalid(&def) {
                Some(bad) => {
                    file.styles = vec![1];
                    file.block_mut(block).1.insert(key.clone(), bad.into());
                    (file.text(), vec![], "E0105", written(bad, 1))
                }
                None => return Ok(()),
            },
            2 => match place.defs.iter().find(|d| d.presence == Presence::Required) {
                Some(required) => {
                    file.block_mut(block).1.remove(required.name);
                    (file.text(), vec![], "E0102", block.to_owned())
                }
                None => return Ok(()),
            },
            3 => {
                file.styles = vec![0];
                let Some(first) = options.keys().next() else { return Ok(()) };
                let head = format!("{block}: # 都江\n");
                (file.text().replace(&head, &format!("{head}  {first}: x\n")), vec![], "E0104", first.clone())
            }
            4 => (format!("{}zzz: 1\n", file.text()), vec![], "E0103", "zzz".into()),
            5 if !place.kind.is_empty() => {
                let kind = format!("type: {}", place.kind);
                (file.text().replacen(&kind, "type: zzzzzzz", 1), vec![], "E0109", "zzzzzzz".into())
            }
            6 => {
                let head = format!("{block}: # 都江\n");
                file.block_mut(block).1.remove(&key);
                if file.block_mut(block).1.is_empty() && place.kind.is_empty() {
                    return Ok(());
                }
                file.styles = vec![0];
                let line = format!("{head}  {key}: x${{env:NONE}}y\n");
                (file.text().replace(&head, &line), vec![], "E0107", "${env:NONE}".into())
            }
            7 => (file.text(), vec![("DUJIANG__SOURCE__ZZZZZZZZ", "1")], "E0108", String::new()),
            8 => {
                file.block_mut(block).1.remove(&key);
                if file.block_mut(block).1.is_empty() && place.kind.is_empty() {
                    return Ok(());
                }
                file.styles = vec![0];
                let head = format!("{block}: # 都江\n");
                let line = format!("{head}  {key}: [1, 2]\n");
                (file.text().replace(&head, &line), vec![], "E0106", "[1, 2]".into())
            }
            _ => return Ok(()),
        };
        let Err(all) = load_with(&text, &env, &[]) else { return Err(TestCaseError::fail(text)) };
        let found = all.iter().find(|d| d.code.number() == code);
        let found = found.ok_or_else(|| TestCaseError::fail(format!("{text}\n{all:?}")))?;
        prop_assert!(!found.message.is_empty());
        match (found.span(), &found.place) {
            (Some(span), _) => prop_assert_eq!(&text[span.clone()], at.as_str()),
            (None, Place::Environment(name)) => prop_assert_eq!(name.as_str(), env[0].0),
            (None, other) => return Err(TestCaseError::fail(format!("no place: {other:?}"))),
        }
        prop_assert!(found.render(false).contains(code));
    }
}
