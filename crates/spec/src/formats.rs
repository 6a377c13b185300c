//! Diagnostics for other programs: GitHub's workflow commands and SARIF.

use crate::diagnostic::{Diagnostic, Severity};
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Diagnostic {
    /// As a command of a GitHub workflow: `::error file=pipeline.yaml,line=3,col=3,title=E0103::...`.
    ///
    /// Source: GitHub's documentation, "Workflow commands for GitHub Actions".
    pub fn render_github(&self) -> String {
        let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
        let mut properties = vec![format!("file={}", property(self.file.name()))];
        if let Some(span) = self.span() {
            let (start, end) = (self.file.line_column(span.start), self.file.line_column(span.end));
            properties.push(format!("line={},col={}", start.0, start.1));
            properties.push(format!("endLine={}", end.0));
            // An end column only means something on the same line.
            if end.0 == start.0 {
                properties.push(format!("endColumn={}", end.1));
            }
        }
        properties.push(format!("title={}", property(self.code.number())));
        format!("::{} {}::{}", self.severity.word(), properties.join(","), data(&self.message_with_help()))
    }

    /// The message and what to do, on lines of their own.
    fn message_with_help(&self) -> String {
        let mut text = self.message.clone();
        if !matches!(self.place, dujiang_core::options::Place::File(_) | dujiang_core::options::Place::Block(_)) {
            text.push_str(&format!(" ({})", self.elsewhere()));
        }
        self.notes.iter().for_each(|note| text.push_str(&format!("\n{note}")));
        self.help.iter().for_each(|help| text.push_str(&format!("\nhelp: {help}")));
        text
    }

    fn to_sarif(&self) -> Value {
        let mut location = json!({ "artifactLocation": { "uri": self.file.name().replace('\\', "/") } });
        if let Some(span) = self.span() {
            let (start, end) = (self.file.line_column(span.start), self.file.line_column(span.end));
            location["region"] =
                json!({ "startLine": start.0, "startColumn": start.1, "endLine": end.0, "endColumn": end.1 });
        }
        json!({
            "ruleId": self.code.number(),
            "level": self.severity.word(),
            "message": { "text": self.message_with_help() },
            "locations": [{ "physicalLocation": location }],
        })
    }
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// All diagnostics as one SARIF 2.1.0 log; `version` is the program's.
pub fn sarif(found: &[Diagnostic], version: &str) -> Value {
    let codes: BTreeMap<&str, _> = found.iter().map(|d| (d.code.number(), d.code)).collect();
    let rules: Vec<Value> = codes
        .values()
        .map(|code| {
            json!({
                "id": code.number(),
                "shortDescription": { "text": code.title() },
                "help": { "text": code.page().lines().map(str::trim).collect::<Vec<_>>().join("\n").trim() },
            })
        })
        .collect();
    let results: Vec<Value> = found.iter().map(Diagnostic::to_sarif).collect();
    let failed = found.iter().any(|d| d.severity == Severity::Error);
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "dujiang", "version": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{ "executionSuccessful": !failed }],
            "results": results,
        }],
    })
}
