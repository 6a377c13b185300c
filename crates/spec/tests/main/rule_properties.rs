//! P34, P40, P42, P43 for the rules of `transform` and `route`.

use crate::sample::load_with;
use dujiang_core::options::{OptionDef, OptionType, Place, Presence};
use dujiang_spec::{Effective, Loaded, RouteOptions, TransformOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One rule: its list, and the options it gives.
#[derive(Debug, Clone)]
struct Rule {
    list: &'static str,
    options: BTreeMap<&'static str, String>,
}

fn defs(list: &str) -> &'static [OptionDef] {
    if list == "route" { RouteOptions::DEFS } else { TransformOptions::DEFS }
}

/// A value that the option takes, and that its rule takes with any others.
fn valid(list: &'static str, def: &OptionDef) -> BoxedStrategy<String> {
    let words =
        |words: &[&str]| prop::sample::select(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).boxed();
    match (list, def.name) {
        ("route", "source-table") => words(&[r"a.b", r"a.\.*", r"(\w+).t_(\d+)", r"(?!tmp)\.*", "a.b, c.d"]),
        ("route", "sink-table") => words(&["ods.x", "ods.<>", "x", "a.b.c"]),
        (_, "source-table") => words(&[r"a.b", r"a.\.*", r"a.t\.{1\,3}", "a.b, c.d", "A.[x-z]+"]),
        (_, "projection") => words(&["*", r"\*, a + 1 AS b", "id", "'it''s' AS x, \"q\" AS y"]),
        (_, "filter") => words(&["a = 1", "a IS NULL OR b <> 'x: y # z'", "x LIKE '都%'"]),
        (_, "primary-keys" | "partition-keys") => words(&["id", "id, name", " a ,b"]),
        (_, "table-options") => words(&["a=1", "a=b=c"]),
        (_, "table-options.delimiter") => words(&[";", "||", "#"]),
        (_, "replace-symbol") => words(&["<>", "%%"]),
        (_, _) if matches!(def.kind, OptionType::Choice(_)) => words(&["soft_delete", "SOFT_DELETE"]),
        _ => words(&["any text", "0123", "yes", "都江"]),
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    prop::sample::select(vec!["transform", "route"]).prop_flat_map(|list| {
        let options: Vec<_> = defs(list)
            .iter()
            .map(|def| {
                let value = valid(list, def);
                let required = def.presence == Presence::Required;
                (Just(def.name), value, any::<bool>().prop_map(move |given| given || required))
            })
            .collect();
        options.prop_map(move |options| {
            let given = options.into_iter().filter(|(_, _, given)| *given).map(|(name, value, _)| (name, value));
            Rule { list, options: given.collect() }
        })
    })
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn text(rules: &[Rule]) -> String {
    let mut text = "source: {type: generator}\nsink: {type: queue}\n".to_owned();
    for list in ["transform", "route"] {
        let mut of_list = rules.iter().filter(|rule| rule.list == list).peekable();
        if of_list.peek().is_some() {
            text.push_str(&format!("{list}:\n"));
        }
        for rule in of_list {
            let options = rule.options.iter().map(|(key, value)| format!("{key}: {}", quoted(value)));
            text.push_str(&format!("  - {}\n", options.collect::<Vec<_>>().join("\n    ")));
        }
    }
    text
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Loaded, TestCaseError> {
    load_with(text, env, &[]).map_err(|all| TestCaseError::fail(format!("{text}\n{all:?}")))
}

fn option(loaded: &Loaded, path: &str) -> Option<Effective> {
    loaded.pipeline.effective(&crate::sample::Samples).into_iter().find(|option| option.path == path)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn p40_every_option_of_every_rule_reaches_the_program(rules in prop::collection::vec(rule(), 1..6)) {
        let loaded = load(&text(&rules), &[])?;
        for list in ["transform", "route"] {
            for (index, rule) in rules.iter().filter(|rule| rule.list == list).enumerate() {
                for (key, value) in &rule.options {
                    let found = option(&loaded, &format!("{list}.{index}.{key}"));
                    prop_assert_eq!(found.and_then(|o| o.value), Some(value.clone()));
                }
            }
        }
        let transforms: Vec<_> = rules.iter().filter(|rule| rule.list == "transform").collect();
        prop_assert_eq!(loaded.pipeline.transforms.len(), transforms.len());
        prop_assert_eq!(loaded.pipeline.routes.len(), rules.len() - transforms.len());
        for (rule, given) in loaded.pipeline.transforms.iter().zip(transforms) {
            prop_assert_eq!(rule.filter.as_ref().map(|sql| sql.text()), given.options.get("filter").map(String::as_str));
            prop_assert_eq!(rule.description.as_deref(), given.options.get("description").map(String::as_str));
            prop_assert_eq!(rule.converter.is_some(), given.options.contains_key("converter-after-transform"));
            prop_assert_eq!(rule.table_options.is_empty(), !given.options.contains_key("table-options"));
        }
    }

    #[test]
    fn p34_every_option_of_a_rule_can_be_set_by_environment(
        mut rule in rule(),
        at in any::<prop::sample::Index>(),
        remove in any::<bool>(),
    ) {
        let keys: Vec<_> = rule.options.keys().copied().collect();
        let key = *at.get(&keys);
        let value = rule.options[key].clone();
        if remove && rule.options.len() > 1 {
            rule.options.remove(key);
        } else {
            rule.options.insert(key, "x".into());
        }
        let name = key.replace(['-', '.'], "_").to_uppercase();
        let variable = format!("DUJIANG__{}__0__{name}", rule.list.to_uppercase());
        let loaded = load(&text(&[rule.clone()]), &[(variable.as_str(), value.as_str())])?;
        let found = option(&loaded, &format!("{}.0.{key}", rule.list)).expect("the option is in force");
        prop_assert_eq!(found.value, Some(value));
        prop_assert_eq!(found.origin, format!("environment variable {variable}"));
    }

    #[test]
    fn p43_every_invalid_rule_is_refused_with_place_and_reason(mut rule in rule(), mistake in 0u8..6) {
        let list = rule.list;
        let code = match mistake {
            0 => { rule.options.insert("zzzzzzzz", "1".into()); "E0103" }
            1 => { rule.options.remove("source-table"); "E0102" }
            2 => { rule.options.insert("source-table", "a.(b".into()); "E0105" }
            3 if list == "transform" => { rule.options.insert("converter-after-transform", "hard".into()); "E0105" }
            3 => { rule.options.insert("sink-table", "a..b".into()); "E0105" }
            4 if list == "transform" => { rule.options.insert("primary-keys", "a,,b".into()); "E0105" }
            4 => { rule.options.insert("replace-symbol", String::new()); "E0105" }
            _ if list == "transform" => { rule.options.insert("filter", "nme = 1".into()); "E0121" }
            _ => { rule.options.remove("replace-symbol"); rule.options.insert("sink-table", "a.$9".into()); "E0105" }
        };
        let text = text(&[rule]);
        let Err(all) = load_with(&text, &[], &[]) else { return Err(TestCaseError::fail(text)) };
        let found = all.iter().find(|d| d.code.number() == code);
        let found = found.ok_or_else(|| TestCaseError::fail(format!("{text}\n{all:?}")))?;
        let line = match &found.place {
            Place::File(span) | Place::Block(Some(span)) => found.file.line_column(span.start).0,
            other => return Err(TestCaseError::fail(format!("no place: {other:?}"))),
        };
        prop_assert!(line > 3, "the place is inside the rule");
        prop_assert!(!found.message.is_empty());
    }
}
