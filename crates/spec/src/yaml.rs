//! YAML files of the project that are no pipeline files (fixtures of `dujiang test`), read with the same limits and
//! messages.

use crate::diagnostic::Diagnostic;
use crate::document::{self, Node, Value};
use crate::finding::{Finding, Findings};
use crate::scalar::Style;
use crate::source_text::SourceText;
use dujiang_core::Code;
use std::ops::Range;

/// A value and the bytes of the file it was written in.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// What was written.
    pub value: TreeValue,
    /// Where.
    pub span: Range<usize>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub enum TreeValue {
    /// Text as written, and whether it stood without quotes.
    Scalar(String, bool),
    /// Keys in the order of the file, each with its place.
    Map(Vec<(String, Range<usize>, Tree)>),
    /// Items.
    List(Vec<Tree>),
}

impl Tree {
    /// Whether it is nothing, `null` or `~` without quotes.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, TreeValue::Scalar(text, true) if matches!(text.as_str(), "" | "~" | "null"))
    }
}

/// Reads the one document of a file.
///
/// # Errors
/// Every mistake of the text.
pub fn read_tree(file: &SourceText) -> Result<Tree, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let mut roots = document::parse(file.text(), &mut findings).roots;
    if roots.len() > 1 && !findings.has_errors() {
        let message = "the file holds several documents where one is needed";
        findings.push(Finding::at(Code::WrongShape, message, &roots[1].span).help("write one file for each"));
    }
    match roots.pop() {
        Some(root) if !findings.has_errors() => Ok(tree(root)),
        _ => Err(findings.into_diagnostics(file)),
    }
}

/// A mistake at a place of such a file.
pub fn mistake_at(file: &SourceText, code: Code, message: String, span: &Range<usize>, help: &str) -> Diagnostic {
    let mut findings = Findings::default();
    findings.push(Finding::at(code, message, span).help(help));
    findings.into_diagnostics(file).pop().expect("invariant: a finding makes a diagnostic")
}

/// The depth is that of the document, hence bounded. What was refused has been reported.
fn tree(node: Node) -> Tree {
    let value = match node.value {
        Value::Scalar { text, style } => TreeValue::Scalar(text, style == Style::Plain),
        Value::Map(entries) => {
            TreeValue::Map(entries.into_iter().map(|e| (e.key, e.key_span, tree(e.value))).collect())
        }
        Value::List(items) => TreeValue::List(items.into_iter().map(tree).collect()),
        Value::Refused => TreeValue::Scalar(String::new(), true),
    };
    Tree { value, span: node.span }
}
