//! The statements that mend what was found, as a script for an administrator.
//!
//! Statements that change more than the pipeline needs stand in it as comments: whoever wants them takes the dashes away.

use super::{Doctored, Mark, Part, Told};

/// One section per system; empty when nothing is to be mended.
pub fn render(doctored: &Doctored) -> String {
    let mut out = String::new();
    for part in &doctored.parts {
        let checks: Vec<&Told> = part.checks.iter().filter(|check| check.finding.is_some()).collect();
        // What concerns files and this machine is no matter of statements.
        if part.role != "machine" && checks.iter().any(|check| part.role == "source" || !check.remedies.is_empty()) {
            push_part(&mut out, doctored, part, &checks);
        }
    }
    out
}

fn push_part(out: &mut String, doctored: &Doctored, part: &Part, checks: &[&Told]) {
    comment(
        out,
        &format!("dujiang doctor, pipeline {}: to be run by an administrator of {}", doctored.pipeline, part.of),
    );
    for check in checks {
        out.push('\n');
        let kind = if check.mark == Mark::Advice { "advice" } else { "finding" };
        let code = check.finding.as_ref().map_or("", |finding| finding.code.number());
        comment(out, &format!("{kind} {code}: {}", check.text));
        let mut warned = None;
        for remedy in &check.remedies {
            match remedy.caution {
                None => out.push_str(&format!("{};\n", remedy.statement)),
                Some(caution) => {
                    if warned != Some(caution) {
                        comment(out, &format!("think first: {caution}"));
                        warned = Some(caution);
                    }
                    comment(out, &format!("{};", remedy.statement));
                }
            }
        }
        match check.besides() {
            Some((_, rest)) if check.remedies.is_empty() => comment(out, &format!("no statement mends it: {rest}")),
            Some((word, rest)) => comment(out, &format!("{word}: {rest}")),
            None => {}
        }
    }
    out.push('\n');
}

/// A comment stays one, whatever line ends the text has.
fn comment(out: &mut String, text: &str) {
    for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        out.push_str(&format!("-- {line}\n"));
    }
}
