//! For people.

use super::{Doctored, Mark, Part, Told};
use dujiang_spec::Diagnostic;

/// Columns of a line; longer sentences are wrapped.
const WIDTH: usize = 110;

/// The whole examination, one line per check that is in order.
pub fn render(doctored: &Doctored, colour: bool) -> String {
    let width = doctored.parts.iter().flat_map(|part| &part.checks).map(|check| check.name.len()).max().unwrap_or(0);
    let mut out = format!("pipeline {} ({})\n", doctored.pipeline, doctored.file);
    for part in &doctored.parts {
        out.push_str(&format!("\n{}\n", heading(part)));
        part.checks.iter().for_each(|check| push_check(&mut out, check, width, colour));
    }
    out.push_str(&format!("\n{}\n", summary(doctored)));
    out
}

fn heading(part: &Part) -> String {
    match &part.name {
        _ if part.role == "machine" => part.of.clone(),
        Some(name) if name != part.role => format!("{} {name}: {}", part.role, part.of),
        _ => format!("{}: {}", part.role, part.of),
    }
}

fn push_check(out: &mut String, check: &Told, width: usize, colour: bool) {
    let (sign, on) = match check.mark {
        Mark::Ok => ("✓", "\x1b[32m"),
        Mark::Advice => ("!", "\x1b[33m"),
        Mark::Finding => ("✗", "\x1b[1;31m"),
        Mark::Unknown => ("?", "\x1b[2m"),
    };
    let (on, off) = if colour { (on, "\x1b[0m") } else { ("", "") };
    let indent = " ".repeat(width + 6);
    let padding = " ".repeat(width - check.name.len());
    let name = check.name;
    out.push_str(&format!("  {on}{sign}{off} {name}{padding}  {}\n", wrapped(&check.text, &indent)));
    let Some(finding) = &check.finding else { return };
    finding.notes.iter().for_each(|note| push_line(out, note, &indent));
    push_cure(out, check, &indent);
    line_of_code(out, finding, &indent);
}

fn push_line(out: &mut String, text: &str, indent: &str) {
    out.push_str(&format!("{indent}{}\n", wrapped(text, indent)));
}

/// Statements on lines of their own, never wrapped, since they are there to be copied; then the rest of the help.
fn push_cure(out: &mut String, check: &Told, indent: &str) {
    for (at, remedy) in check.remedies.iter().enumerate() {
        let said = at.checked_sub(1).and_then(|before| check.remedies[before].caution);
        if let Some(caution) = remedy.caution.filter(|caution| said != Some(*caution)) {
            push_line(out, &format!("think first: {caution}"), indent);
        }
        out.push_str(&format!("{indent}run: {};\n", remedy.statement));
    }
    if let Some((word, rest)) = check.besides() {
        push_line(out, &format!("{word}: {rest}"), indent);
    }
}

/// `[E0212] dujiang explain E0212; shop.yaml:6:13`
fn line_of_code(out: &mut String, finding: &Diagnostic, indent: &str) {
    let number = finding.code.number();
    let place = finding.span().map_or(String::new(), |span| {
        let (line, column) = finding.file.line_column(span.start);
        format!(", {}:{line}:{column}", finding.file.name())
    });
    out.push_str(&format!("{indent}[{number}] dujiang explain {number}{place}\n"));
}

/// Lines of at most [`WIDTH`] columns, all but the first behind the indent. Line ends and the like become spaces.
fn wrapped(text: &str, indent: &str) -> String {
    let room = WIDTH.saturating_sub(indent.len()).max(20);
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split(|c: char| c == ' ' || c.is_control()).filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > room {
            out.push('\n');
            out.push_str(indent);
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// `14 in order, 1 to mend`
fn summary(doctored: &Doctored) -> String {
    let part = |mark: Mark| match (mark, doctored.count(mark)) {
        (_, 0) => None,
        (Mark::Ok, n) => Some(format!("{n} in order")),
        (Mark::Advice, n) => Some(format!("{n} could be better")),
        (Mark::Finding, n) => Some(format!("{n} to mend")),
        (Mark::Unknown, n) => Some(format!("{n} not looked at")),
    };
    Mark::ALL.into_iter().filter_map(part).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_wrapped_behind_the_indent() {
        let indent = " ".repeat(WIDTH - 30);
        let text = wrapped("a sentence that does not fit\ninto thirty columns of a line", &indent);
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        assert_eq!(lines, ["a sentence that does not fit", "into thirty columns of a line"]);
    }
}
