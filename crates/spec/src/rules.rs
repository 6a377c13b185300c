//! The rules of `transform` and `route`.

use crate::blocks::RawBlock;
use crate::finding::{Finding, Findings};
use crate::source_text::SourceText;
use crate::spanned::SpannedText;
use crate::sql::{self, Clause, SqlChecker, SqlMistake, SqlRule};
use dujiang_core::Code;
use dujiang_core::options::{Place, Problem};
use dujiang_core::pattern::{Route, RoutePart, Selectors};
use std::ops::Range;

dujiang_core::choice! {
    /// What happens to the rows of a table after projection and filter.
    pub enum Converter {
        /// A DELETE becomes an INSERT of the row before it; `__data_event_type__` still says `-D`.
        SoftDelete = "soft_delete",
    }
}

dujiang_core::options! {
    /// Options of a rule of `transform`.
    pub struct TransformOptions {
        /// Tables the rule is about: patterns `database.table`, separated by commas; each part is a regular expression,
        /// case is ignored, a dot of the expression is written `\.`. Of several rules the first that matches applies.
        "source-table" => source_table: String, required;
        /// Columns of the output: a SQL select list. `*` stands for all columns; expressions need `AS name`.
        "projection" => projection: String, optional;
        /// Rows of the output: a SQL condition over the columns of the table and of the projection.
        "filter" => filter: String, optional;
        /// Columns of the output that become its key, separated by commas. Default: the key of the source.
        "primary-keys" => primary_keys: String, optional;
        /// Columns of the output by which the sink partitions, separated by commas.
        "partition-keys" => partition_keys: String, optional;
        /// Options for creating the table in the sink: `key=value`, separated by commas.
        "table-options" => table_options: String, optional;
        /// What separates the options of `table-options`.
        "table-options.delimiter" => table_options_delimiter: String, default ",";
        /// What happens to rows after projection and filter.
        "converter-after-transform" => converter: Converter, optional;
        /// For people.
        "description" => description: String, optional;
    }
}

dujiang_core::options! {
    /// Options of a rule of `route`.
    pub struct RouteOptions {
        /// Tables the rule is about: one regular expression for the whole name `database.table`, in which case counts;
        /// a bare dot is a dot, `\.` any character, a comma separates alternatives.
        "source-table" => source_table: String, required;
        /// Name of the table in the sink; `$1` stands for the first group of `source-table`.
        "sink-table" => sink_table: String, required;
        /// A text; wherever it stands in `sink-table`, the source's table name takes its place.
        "replace-symbol" => replace_symbol: String, optional;
        /// For people.
        "description" => description: String, optional;
    }
}

/// A column named as part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// The column of the output.
    pub name: String,
    /// Where it is written.
    pub place: Place,
}

/// A rule of `transform`, checked as far as that is possible without the tables.
#[derive(Debug, Clone)]
pub struct TransformRule {
    /// Tables the rule is about; of several rules the first that matches a table applies.
    pub source_table: Selectors,
    /// `source-table` as written.
    pub source_table_text: SpannedText,
    /// The select list; `None`: all columns.
    pub projection: Option<SpannedText>,
    /// The condition; `None`: all rows.
    pub filter: Option<SpannedText>,
    /// Columns that become the key; empty: the key of the source.
    pub primary_keys: Vec<KeyColumn>,
    /// Columns by which the sink partitions.
    pub partition_keys: Vec<KeyColumn>,
    /// Options for creating the table in the sink, in order.
    pub table_options: Vec<(String, String)>,
    /// What happens to rows after projection and filter.
    pub converter: Option<Converter>,
    /// For people.
    pub description: Option<String>,
    /// Where the rule stands.
    pub place: Place,
}

/// A rule of `route`.
#[derive(Debug, Clone)]
pub struct RouteRule {
    /// The rule, ready to be applied: `source-table`, `sink-table` and `replace-symbol` together.
    pub route: Route,
    /// `source-table` as written.
    pub source_table: SpannedText,
    /// `sink-table` as written.
    pub sink_table: SpannedText,
    /// `replace-symbol`.
    pub replace_symbol: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Where the rule stands.
    pub place: Place,
}

/// Reads a rule of `transform`; mistakes go to `findings`.
pub(crate) fn transform(
    raw: &RawBlock,
    checker: Option<&dyn SqlChecker>,
    file: &SourceText,
    findings: &mut Findings,
) -> Option<TransformRule> {
    let options = match TransformOptions::parse(&raw.options) {
        Ok(options) => options,
        Err(problems) => {
            in_dialects_words("transform", raw, problems, findings);
            return None;
        }
    };
    let source_table_text = raw.spanned("source-table")?;
    let source_table = match Selectors::parse(&options.source_table) {
        Ok(selectors) => Some(selectors),
        Err(why) => {
            let message = format!("`source-table` {why}");
            findings.push(Finding::error(Code::BadValue, message, source_table_text.place().clone()));
            None
        }
    };
    let table_options = table_options(&options, raw, file, findings);
    let rule = TransformRule {
        projection: raw.spanned("projection").map(SpannedText::without_escaped_stars),
        filter: raw.spanned("filter"),
        primary_keys: key_columns(raw, "primary-keys", file, findings),
        partition_keys: key_columns(raw, "partition-keys", file, findings),
        table_options: table_options.unwrap_or_default(),
        converter: options.converter,
        description: options.description,
        place: Place::Block(raw.place.clone()),
        source_table: source_table?,
        source_table_text,
    };
    check_sql(&rule, checker, file, findings);
    Some(rule)
}

fn check_sql(rule: &TransformRule, checker: Option<&dyn SqlChecker>, file: &SourceText, findings: &mut Findings) {
    let mut fits = true;
    for (key, text) in [("projection", &rule.projection), ("filter", &rule.filter)] {
        let Some(sql) = text else { continue };
        fits &= sql::check_size(key, sql, findings);
        if sql.text().trim().is_empty() {
            let message = format!("`{key}` is empty");
            let finding = Finding::error(Code::BadValue, message, sql.place().clone());
            findings.push(finding.help(format!("write SQL, or leave `{key}` out")));
            fits = false;
        }
    }
    let Some(checker) = checker.filter(|_| fits) else { return };
    let names = |keys: &[KeyColumn]| keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>();
    let sql = SqlRule {
        projection: rule.projection.as_ref().map(SpannedText::text),
        filter: rule.filter.as_ref().map(SpannedText::text),
        primary_keys: &names(&rule.primary_keys),
        partition_keys: &names(&rule.partition_keys),
    };
    checker.check(&sql).into_iter().for_each(|mistake| findings.push(finding(mistake, rule, file)));
}

/// Turns what the checker found into findings with their place in the file.
pub(crate) fn finding(mistake: SqlMistake, rule: &TransformRule, file: &SourceText) -> Finding {
    let mut finding =
        Finding::error(mistake.code, mistake.message, clause_place(mistake.clause, &mistake.span, rule, file));
    finding.label = mistake.label;
    finding.notes = mistake.notes;
    finding.help = mistake.help;
    if !matches!(finding.place, Place::File(_))
        && let Some(part) = clause_text(mistake.clause, rule).and_then(|text| text.get(mistake.span.clone()))
        && !part.is_empty()
    {
        finding.notes.push(format!("at `{}`", part.chars().take(60).collect::<String>()));
    }
    finding
}

/// The text of a clause that mistakes count in.
fn clause_text(clause: Clause, rule: &TransformRule) -> Option<&str> {
    match clause {
        Clause::Projection => rule.projection.as_ref().map(SpannedText::text),
        Clause::Filter => rule.filter.as_ref().map(SpannedText::text),
        Clause::PrimaryKey(index) => rule.primary_keys.get(index).map(|key| key.name.as_str()),
        Clause::PartitionKey(index) => rule.partition_keys.get(index).map(|key| key.name.as_str()),
    }
}

/// Where a part of a clause was written.
fn clause_place(clause: Clause, span: &Range<usize>, rule: &TransformRule, file: &SourceText) -> Place {
    let found = match clause {
        Clause::Projection => rule.projection.as_ref().map(|text| text.place_of(file, span.clone())),
        Clause::Filter => rule.filter.as_ref().map(|text| text.place_of(file, span.clone())),
        Clause::PrimaryKey(index) => rule.primary_keys.get(index).map(|key| key.place.clone()),
        Clause::PartitionKey(index) => rule.partition_keys.get(index).map(|key| key.place.clone()),
    };
    found.unwrap_or_else(|| rule.place.clone())
}

/// A comma-separated list of columns.
fn key_columns(raw: &RawBlock, key: &str, file: &SourceText, findings: &mut Findings) -> Vec<KeyColumn> {
    let Some(text) = raw.spanned(key) else { return Vec::new() };
    let mut columns: Vec<KeyColumn> = Vec::new();
    for (name, span) in text.entries() {
        let place = text.place_of(file, span);
        if name.is_empty() {
            let message = format!("`{key}` has an empty entry");
            findings.push(Finding::error(Code::BadValue, message, text.place().clone()).help("remove the comma"));
        } else if columns.iter().any(|column| column.name == name) {
            let message = format!("`{key}` names the column `{name}` twice");
            findings.push(Finding::error(Code::BadValue, message, place));
        } else {
            columns.push(KeyColumn { name, place });
        }
    }
    columns
}

/// `k=v,k=v`.
fn table_options(
    options: &TransformOptions,
    raw: &RawBlock,
    file: &SourceText,
    findings: &mut Findings,
) -> Option<Vec<(String, String)>> {
    let delimiter = options.table_options_delimiter.as_str();
    if delimiter.is_empty() {
        let message = "`table-options.delimiter` must not be empty";
        findings.push(Finding::error(Code::BadValue, message, options.place("table-options.delimiter")));
        return None;
    }
    let text = raw.spanned("table-options")?;
    let mut start = 0;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for entry in text.text().split(delimiter) {
        let span = start..start + entry.len();
        start = span.end + delimiter.len();
        match entry.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                pairs.push((key.trim().to_owned(), value.trim().to_owned()));
            }
            _ => {
                let message = "an entry of `table-options` must be `key=value`";
                let finding = Finding::error(Code::BadValue, message, text.place_of(file, trimmed(entry, &span)));
                findings.push(finding.help("entries are separated by `table-options.delimiter`, a comma by default"));
            }
        }
    }
    Some(pairs)
}

fn trimmed(entry: &str, span: &Range<usize>) -> Range<usize> {
    let start = span.start + (entry.len() - entry.trim_start().len());
    start..(start + entry.trim().len())
}

/// Reads a rule of `route`; mistakes go to `findings`.
pub(crate) fn route(raw: &RawBlock, findings: &mut Findings) -> Option<RouteRule> {
    let options = match RouteOptions::parse(&raw.options) {
        Ok(options) => options,
        Err(problems) => {
            in_dialects_words("route", raw, problems, findings);
            return None;
        }
    };
    match Route::parse(&options.source_table, &options.sink_table, options.replace_symbol.as_deref()) {
        Ok(route) => Some(RouteRule {
            route,
            source_table: raw.spanned("source-table")?,
            sink_table: raw.spanned("sink-table")?,
            replace_symbol: options.replace_symbol,
            description: options.description,
            place: Place::Block(raw.place.clone()),
        }),
        Err(mistake) => {
            let key = match mistake.part {
                RoutePart::SourceTable => "source-table",
                RoutePart::SinkTable => "sink-table",
                RoutePart::ReplaceSymbol => "replace-symbol",
            };
            let message = format!("`{key}` {}", mistake.message);
            findings.push(Finding::error(Code::BadValue, message, options.place(key)));
            None
        }
    }
}

/// Reports what the parser of a rule found in the wording of the dialect: scripts look for it.
fn in_dialects_words(list: &str, raw: &RawBlock, problems: Vec<Problem>, findings: &mut Findings) {
    let defs = if list == "route" { RouteOptions::DEFS } else { TransformOptions::DEFS };
    let known = defs.iter().map(|def| def.name).collect::<Vec<_>>().join(", ");
    let misspelt = |key: &str| problems.iter().any(|p| p.help.as_deref() == Some(&format!("did you mean `{key}`?")));
    let missing_but_misspelt: Vec<bool> =
        problems.iter().map(|problem| problem.code == Code::MissingKey && misspelt(quoted(&problem.message))).collect();
    for (problem, skip) in problems.into_iter().zip(missing_but_misspelt) {
        let key = quoted(&problem.message).to_owned();
        let mut finding = Finding::from(problem);
        match finding.code {
            Code::UnknownKey => {
                finding.message = format!("Unexpected key `{key}` in YAML {list} block.");
                finding = finding.note(format!("allowed keys in this context are: [{known}]"));
            }
            Code::MissingKey => {
                let unreadable = raw.unreadable.iter().any(|(of, _)| *of == key);
                if skip || unreadable {
                    continue;
                }
                finding.message = format!("Missing required field \"{key}\" in {list} configuration");
            }
            _ => {}
        }
        if finding.place == Place::Block(None) {
            finding.place = Place::Block(raw.place.clone());
        }
        findings.push(finding);
    }
}

/// The first word between backquotes.
fn quoted(message: &str) -> &str {
    message.split('`').nth(1).unwrap_or_default()
}
