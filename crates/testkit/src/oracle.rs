//! Whether the files of a pipeline are the source's history: nothing lost, nothing twice, nothing invented, in order.
//!
//! The files are read by `python/read_changes.py` (DuckDB), which shares no code with the writer. It checks, per table:
//!
//! 1. the log of changes, folded by key, equals the source's rows, value by value;
//! 2. no event stands there twice;
//! 3. along the files, the changes of one key follow each other in source order;
//! 4. the versions of each row rise by one from image to image, without gap, repetition or step back;
//! 5. every data file is named by a manifest and has the rows that the manifest says.

use dujiang_scratch::{Server, Session};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the oracle has to know of a table.
#[derive(Debug, Clone)]
pub struct TableSpec {
    database: String,
    table: String,
    key: Vec<String>,
    chain: Option<(String, String)>,
    sum: Option<String>,
    folding_key: Option<String>,
    instants: Vec<String>,
    binary: Vec<String>,
}

impl TableSpec {
    /// A table with its key columns.
    pub fn new(database: &str, table: &str, key: &[&str]) -> Self {
        let key = key.iter().map(|&c| c.to_owned()).collect();
        let (database, table) = (database.to_owned(), table.to_owned());
        Self { database, table, key, chain: None, sum: None, folding_key: None, instants: vec![], binary: vec![] }
    }

    /// The column that names a row through all changes of its key, and the one that counts its changes from 1.
    #[must_use]
    pub fn chain(mut self, chain: &str, version: &str) -> Self {
        self.chain = Some((chain.to_owned(), version.to_owned()));
        self
    }

    /// A column whose sum never changes at rest.
    #[must_use]
    pub fn sum(mut self, column: &str) -> Self {
        self.sum = Some(column.to_owned());
        self
    }

    /// Rows are the same iff this column is equal: for keys that only the server can compare.
    #[must_use]
    pub fn folding_key(mut self, column: &str) -> Self {
        self.folding_key = Some(column.to_owned());
        self
    }

    /// Columns that are instants, compared in UTC.
    #[must_use]
    pub fn instants(mut self, columns: &[&str]) -> Self {
        self.instants = columns.iter().map(|&c| c.to_owned()).collect();
        self
    }

    /// Columns whose bytes are no text.
    #[must_use]
    pub fn binary(mut self, columns: &[&str]) -> Self {
        self.binary = columns.iter().map(|&c| c.to_owned()).collect();
        self
    }

    /// `database.table`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

/// What the reader found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Images in all files.
    pub images: u64,
    /// Those that a snapshot read.
    pub reads: u64,
    /// Data files.
    pub files: u64,
    /// Cells that were compared one by one.
    pub cells: u64,
    /// Everything that is wrong; empty when all is well.
    pub problems: Vec<String>,
}

impl Report {
    /// Fails with everything that is wrong.
    ///
    /// # Panics
    /// When something is wrong.
    pub fn must_be_clean(&self) {
        assert!(self.problems.is_empty(), "the files are not the source's history:\n{}", self.problems.join("\n"));
    }
}

/// Compares the Parquet files under `output` with the tables of a source at rest.
///
/// # Errors
/// When the source cannot be read, or Python with DuckDB is not there (`DUJIANG_PYTHON` names the interpreter).
pub fn check(source: &Server, tables: &[TableSpec], output: &Path) -> Result<Report, String> {
    let dumps = Dumps::write(source, tables)?;
    let request = request(tables, output, &dumps.folder);
    parse(&ask_reader("read_changes.py", &request)?)
}

/// Reads the files of one table in several formats with pyarrow and with DuckDB, compares every cell with the source's,
/// and returns what is wrong. Every row of the source must stand in the files once under each of `operations`.
///
/// `kinds` says of every column how its values are compared, `outputs` where the files of each format are.
///
/// # Errors
/// As [`check`].
pub fn read_with_others(
    source: &Server,
    table: &TableSpec,
    kinds: &[(&str, &str)],
    outputs: &[(&str, PathBuf)],
    operations: &[&str],
) -> Result<Vec<String>, String> {
    let dumps = Dumps::write(source, std::slice::from_ref(table))?;
    let pairs = |items: Vec<(&str, String)>| {
        items.iter().map(|(k, v)| format!("{}:{}", json(k), json(v))).collect::<Vec<_>>().join(",")
    };
    let operations: Vec<String> = operations.iter().map(|op| json(op)).collect();
    let request = format!(
        r#"{{"table":{},"dump":{},"kinds":{{{}}},"outputs":{{{}}},"operations":[{}]}}"#,
        json(&table.name()),
        json(&dumps.folder.join(table.name()).display().to_string()),
        pairs(kinds.iter().map(|(k, v)| (*k, (*v).to_owned())).collect()),
        pairs(outputs.iter().map(|(k, v)| (*k, v.display().to_string())).collect()),
        operations.join(",")
    );
    let report = parse(&ask_reader("read_formats.py", &request)?)?;
    if report.cells == 0 {
        return Err("the readers found no cell".to_owned());
    }
    Ok(report.problems)
}

/// The rows of the source as text files; removed when dropped.
struct Dumps {
    folder: PathBuf,
}

impl Dumps {
    fn write(source: &Server, tables: &[TableSpec]) -> Result<Self, String> {
        let folder = source.dir().join("tmp").join(format!("dumps-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|e| format!("create {}: {e}", folder.display()))?;
        let dumps = Self { folder };
        let mut session = source.session().map_err(|e| e.to_string())?;
        session.run("SET NAMES utf8mb4, time_zone = '+00:00'").map_err(|e| e.to_string())?;
        for table in tables {
            dump(&mut session, table, &dumps.folder.join(table.name()))?;
        }
        Ok(dumps)
    }
}

impl Drop for Dumps {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One line per row, first the columns' names; cells separated by tabs, `-` for NULL, else `x` and the bytes in
/// hexadecimal digits.
fn dump(session: &mut Session, table: &TableSpec, to: &Path) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("dump {}: {e}", table.name());
    let columns = session
        .run(&format!(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{}' AND TABLE_NAME = '{}' ORDER BY \
             ORDINAL_POSITION",
            table.database, table.table
        ))
        .map_err(|e| failed(&e))?;
    let columns: Vec<String> = columns.into_iter().flatten().flatten().collect();
    let mut file = BufWriter::new(File::create(to).map_err(|e| failed(&e))?);
    writeln!(file, "{}", columns.join("\t")).map_err(|e| failed(&e))?;
    let mut outcome = Ok(());
    let mut line = String::new();
    session
        .each_row(&format!("SELECT * FROM `{}`.`{}`", table.database, table.table), |row| {
            line.clear();
            for (index, cell) in row.iter().enumerate() {
                write_cell(*cell, index > 0, &mut line);
            }
            line.push('\n');
            if outcome.is_ok() {
                outcome = file.write_all(line.as_bytes());
            }
        })
        .map_err(|e| failed(&e))?;
    outcome.and_then(|()| file.flush()).map_err(|e| failed(&e))
}

fn write_cell(cell: Option<&[u8]>, separate: bool, line: &mut String) {
    if separate {
        line.push('\t');
    }
    let Some(bytes) = cell else { return line.push('-') };
    line.push('x');
    for byte in bytes {
        let _ = write!(line, "{byte:02x}");
    }
}

/// What the script reads: one JSON document.
fn request(tables: &[TableSpec], output: &Path, dumps: &Path) -> String {
    let list = |items: &[String]| format!("[{}]", items.iter().map(|i| json(i)).collect::<Vec<_>>().join(","));
    let optional = |item: Option<&String>| item.map_or("null".to_owned(), |i| json(i));
    let tables: Vec<String> = tables
        .iter()
        .map(|t| {
            format!(
                r#"{{"name":{},"key":{},"chain":{},"version":{},"sum":{},"folding_key":{},"instants":{},"binary":{}}}"#,
                json(&t.name()),
                list(&t.key),
                optional(t.chain.as_ref().map(|c| &c.0)),
                optional(t.chain.as_ref().map(|c| &c.1)),
                optional(t.sum.as_ref()),
                optional(t.folding_key.as_ref()),
                list(&t.instants),
                list(&t.binary)
            )
        })
        .collect();
    let [output, dumps] = [output, dumps].map(|p| json(&p.display().to_string()));
    format!(r#"{{"output":{output},"dumps":{dumps},"tables":[{}]}}"#, tables.join(","))
}

fn json(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn ask_reader(script: &str, request: &str) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut child = Command::new(python())
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("start Python: {e}; set DUJIANG_PYTHON to an interpreter with pyarrow and duckdb"))?;
    let mut stdin = child.stdin.take().expect("invariant: stdin is piped");
    stdin.write_all(request.as_bytes()).map_err(|e| format!("talk to the reader: {e}"))?;
    drop(stdin);
    let output = child.wait_with_output().map_err(|e| format!("wait for the reader: {e}"))?;
    if !output.status.success() {
        return Err("the reader failed; see its message above".to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The interpreter with pyarrow and duckdb: `DUJIANG_PYTHON`, which `cargo xtask test` sets, or `python3`.
pub fn python() -> std::ffi::OsString {
    std::env::var_os("DUJIANG_PYTHON").unwrap_or_else(|| "python3".into())
}

/// A script's answer: lines `images N`, `reads N`, `files N`, `cells N` and `problem TEXT`.
fn parse(answer: &str) -> Result<Report, String> {
    let mut report = Report::default();
    for line in answer.lines() {
        let (word, rest) = line.split_once(' ').ok_or_else(|| format!("the reader said `{line}`"))?;
        let number = || rest.parse().map_err(|_| format!("the reader said `{line}`"));
        match word {
            "images" => report.images = number()?,
            "reads" => report.reads = number()?,
            "files" => report.files = number()?,
            "cells" => report.cells = number()?,
            "problem" => report.problems.push(rest.to_owned()),
            _ => return Err(format!("the reader said `{line}`")),
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_notices_what_it_is_there_for() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/test_read_changes.py");
        let output = Command::new(python()).arg(&script).output().expect("Python");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn an_answer_that_is_no_answer_is_refused() {
        assert_eq!(parse("images 3\nreads 1\nfiles 2\nproblem a b\n").unwrap().problems, ["a b"]);
        assert!(parse("images many\n").is_err());
        assert!(parse("Traceback (most recent call last)\n").is_err());
    }
}
