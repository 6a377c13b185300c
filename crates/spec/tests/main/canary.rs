//! A secret never appears in any rendering, whatever is wrong with the file and wherever the secret stands.

use crate::sample::{GOOD, load_with};
use dujiang_core::{Code, Error};
use dujiang_spec::Diagnostic;
use proptest::prelude::*;

const CANARY: &str = "Canary7Bird";

fn shown(diagnostics: &[Diagnostic]) -> String {
    let all = diagnostics
        .iter()
        .flat_map(|d| [d.render(false), d.render(true), d.render_line(), d.to_json().to_string(), format!("{d:?}")]);
    all.collect::<Vec<_>>().join("\n")
}

fn everything_said(text: &str, env: &[(&str, &str)], set: &[(&str, &str)]) -> String {
    match load_with(text, env, set) {
        Ok(loaded) => {
            let mut diagnostics = loaded.warnings;
            let password = loaded.pipeline.source.option("password");
            let secret = password.map_or("nothing", |option| option.value.as_str());
            let driver = std::io::Error::other(format!("login with {secret} refused"));
            for code in Code::ALL {
                let error = Error::new(*code, format!("bad {secret}")).fact("sent", secret).help(secret);
                diagnostics.push(Diagnostic::from_error(&error, &loaded.pipeline));
            }
            let error = Error::new(Code::LoginRefused, "refused").with_source(driver);
            diagnostics.push(Diagnostic::from_error(&error, &loaded.pipeline));
            shown(&diagnostics) + &format!("{:?}", loaded.pipeline)
        }
        Err(diagnostics) => shown(&diagnostics),
    }
}

#[track_caller]
fn check(text: &str) {
    let said = everything_said(text, &[], &[]);
    assert!(!said.contains(CANARY), "{text}\n----\n{:?}", said.lines().find(|l| l.contains(CANARY)));
}

/// Ways to write a secret, of which the test knows that no more than the secret itself is secret.
fn spellings() -> Vec<String> {
    vec![
        format!("password: {CANARY}"),
        format!("password: \"{CANARY}\""),
        format!("\"password\": '{CANARY}' # and a comment"),
        format!("password: |\n    {CANARY}"),
        format!("password: >-\n    first\n    {CANARY}\n    {CANARY}"),
        format!("password:   first\n    {CANARY}"),
        format!("password: ${{env:NONE:-{CANARY}}}"),
        format!("password: ${{env:NONE:-{CANARY}"),
        format!("password: {CANARY}${{env:NONE}}"),
        format!("passwrd: {CANARY}"),
        format!("PASSWORD: {CANARY}"),
        format!("password:{CANARY}"),
        format!("password: {{nested: {CANARY}}}"),
        format!("password:\n    nested: {CANARY}\n    nested: {CANARY}"),
        format!("password: [a, {CANARY}]"),
        format!("password:\n    - {CANARY}\n    - b"),
        format!("password: {CANARY}\n  password: {CANARY}"),
        format!("password: !!str {CANARY}"),
        format!("password: &p {CANARY}\n  x: *p"),
        format!("x: &p {CANARY}\n  password: *p"),
        format!("password: \"{CANARY}"),
        format!("password: '{CANARY}\n  x: y"),
        format!("password: {CANARY}: x"),
        format!("password: [{CANARY}"),
        format!("password: {{{CANARY}"),
        format!("password: @{CANARY}"),
        format!("password: \"\\q{CANARY}\""),
        format!("\tpassword: {CANARY}"),
        format!("s3:\n    secret-access-key: {CANARY}"),
        format!("s3.secret-access-key: {CANARY}"),
        format!("url: mysql://root:{CANARY}@db1/shop"),
        format!("url: mysql://root:{CANARY}@db1/shop?password={CANARY}&x=y"),
        format!("url: mysql://root:a/b{CANARY}/@db1/shop"),
        format!("jdbc: a;password={CANARY};b"),
        format!("x: y # password: {CANARY}"),
        format!("# password: {CANARY}\n  x: y"),
        format!("auth-token: {CANARY}"),
        format!("? password\n  : {CANARY}"),
    ]
}

#[test]
fn a_secret_is_hidden_in_every_spelling_block_and_neighbourhood() {
    for spelling in spellings() {
        for (before, after) in
            [("  hostname: db1\n", "x: y\n"), ("  path: /data/ods\n", ""), ("  name: orders-lake\n", "")]
        {
            let line = format!("{before}  {spelling}\n");
            check(&GOOD.replace("  password: 012345\n", "").replace(before, &line));
            check(
                &GOOD.replace("  password: 012345\n", "").replace(before, &format!("{line}{after}  hostname: again\n")),
            );
            check(&GOOD.replace("type: ", "tpe: ").replace(before, &line));
        }
        check(&format!("{}\n{GOOD}", spelling.replace("\n  ", "\n")));
        check(&format!("{GOOD}{}\n", spelling.replace("\n  ", "\n")));
        check(&spelling);
    }
}

/// The name of a secret is a line's last word, behind what is no YAML.
#[test]
fn a_secret_under_a_name_at_the_end_of_a_broken_line_is_hidden() {
    check(&GOOD.replace("  password: 012345\n", &format!(":*a   ? password\n  : {CANARY}\n")));
}

#[test]
fn a_secret_from_outside_is_hidden() {
    let without = GOOD.replace("  password: 012345\n", "");
    for set in ["source.password", "source.passwrd", "sink.password", "password", "sorce.password", "pipeline.name"] {
        let said = everything_said(&without, &[], &[(set, CANARY)]);
        assert_eq!(said.contains(CANARY), set == "pipeline.name" && said.contains("Pipeline {"), "{set}: {said}");
    }
    for name in ["SOURCE__PASSWORD", "SOURCE__PASSWRD", "SINK__PASSWORD", "PASSWORD", "SORCE__PASSWORD", "SOURCE__PORT"]
    {
        let name = format!("DUJIANG__{name}");
        let said = everything_said(&without, &[(name.as_str(), CANARY)], &[]);
        assert!(!said.contains(CANARY), "{name}: {said}");
    }
    let reference = GOOD.replace("012345", "${env:SECRET}").replace("db1", "a\n  port: x");
    assert!(!everything_said(&reference, &[("SECRET", CANARY)], &[]).contains(CANARY));
}

#[test]
fn what_is_no_secret_is_shown() {
    let text = GOOD.replace("password: 012345", "password: ${env:DB_PASSWORD}");
    assert!(everything_said(&text, &[], &[]).contains("password: ${env:DB_PASSWORD}"));
    let text = GOOD.replace("db1", "db1\n  prt: 1");
    assert!(everything_said(&text, &[], &[]).contains("prt: 1"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// Any damage to a file with a secret in it: the secret's own line may be cut, doubled, moved or run into others.
    #[test]
    fn a_secret_is_hidden_whatever_happens_to_the_file(
        spelling in prop::sample::select(spellings()),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(
            vec!["", "\n", "  ", ":", "\"", "'", "{", "[", "}", "- ", "\t", "#", "&a ", "*a ", "!t ", "| ", "%", "${", "---\n"],
        )), 1..4),
    ) {
        let mut text = GOOD.replace("password: 012345", &spelling);
        for (index, inserted) in cuts {
            let ends = text.match_indices('\n').map(|(i, _)| i + 1);
            let starts: Vec<usize> = std::iter::once(0).chain(ends).filter(|i| !text[*i..].trim_start().starts_with(CANARY)).collect();
            let at = *index.get(&starts);
            text.insert_str(at, inserted);
        }
        let said = everything_said(&text, &[], &[]);
        prop_assert!(!said.contains(CANARY), "{}\n----\n{:?}", text, said.lines().find(|l| l.contains(CANARY)));
    }
}
