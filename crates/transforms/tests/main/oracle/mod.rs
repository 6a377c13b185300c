//! Every operator and function over every type on generated values, compared with what PostgreSQL answers.
//!
//! Where this program means to answer otherwise, [`exceptions`] says so and why; the guide has the same list.

mod exceptions;
mod fixed;
mod generate;
mod values;

use crate::support;
use arrow_array::cast::AsArray;
use dujiang_core::{ChangeBatch, Code, TableSchema};
use dujiang_scratch::Postgres;
use dujiang_transforms::Tz;
use generate::Pair;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

const ROWS_EACH: usize = 2;

/// What an expression gives in one row.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Null,
    Text(String),
    /// Division by zero, or another reason.
    Error {
        by_zero: bool,
        words: String,
    },
}

#[test]
fn expressions_give_what_postgresql_gives() {
    compare(12_000, Tz::UTC);
}

#[test]
fn expressions_give_what_postgresql_gives_where_clocks_are_changed() {
    compare(3_000, Tz::America__New_York);
}

fn compare(expressions: usize, zone: Tz) {
    let seed = std::env::var("DUJIANG_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_120);
    eprintln!("seed {seed} (DUJIANG_SEED)");
    let (batch, table) = values::table(seed);
    let mut generator = generate::Generator::new(seed);
    let mut pairs: Vec<Pair> = fixed::pairs();
    while pairs.len() < expressions {
        pairs.push(generator.pair());
    }
    for name in dujiang_transforms::functions() {
        assert!(pairs.iter().any(|pair| pair.ours.contains(name)), "{name} is compared with nothing");
    }
    let mut random = dujiang_scratch::Random::new(seed ^ 1);
    let mut rows = || random.below(batch.images() as u64) as u32;
    let cases: Vec<(Pair, Vec<u32>)> = pairs
        .into_iter()
        .map(|pair| {
            let mut picked: Vec<u32> = (0..ROWS_EACH).map(|_| rows()).collect();
            picked.sort_unstable();
            picked.dedup();
            (pair, picked)
        })
        .collect();
    let theirs = ask(&table, &cases, zone);
    let mut compared = 0;
    let mut excused: BTreeMap<&str, usize> = BTreeMap::new();
    let mut errors = 0;
    let mut wrong = Vec::new();
    for ((pair, rows), theirs) in cases.iter().zip(&theirs) {
        let ours = ours(pair, &batch, rows, zone);
        let before = wrong.len();
        for ((row, ours), theirs) in rows.iter().zip(&ours).zip(theirs) {
            compared += 1;
            errors += usize::from(matches!(theirs, Answer::Error { .. }));
            // A refusal before the first row is no answer, unless it is of a string as written; nor is a wrong question.
            let asked_wrongly = matches!(theirs, Answer::Error { words, .. } if words.starts_with("42"));
            if !asked_wrongly && same(pair, ours, theirs) {
                continue;
            }
            match exceptions::reason(pair, ours, theirs) {
                Some(reason) => *excused.entry(reason).or_default() += 1,
                None if wrong.len() > before => {}
                None => wrong.push(format!(
                    "{}\n   postgres: {}\n   row {row}: ours {ours:?}, theirs {theirs:?}",
                    pair.ours, pair.theirs
                )),
            }
        }
    }
    eprintln!(
        "{} expressions, {compared} answers compared, {errors} of them errors; excused: {excused:?}",
        cases.len()
    );
    let shown: Vec<_> = wrong.iter().take(40).cloned().collect();
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), shown.join("\n"));
}

fn same(pair: &Pair, ours: &Answer, theirs: &Answer) -> bool {
    match (ours, theirs) {
        (Answer::Null, Answer::Null) => true,
        (Answer::Text(a), Answer::Text(b)) => a == b || pair.ty.is_decimal() && plain(a) == plain(b),
        (Answer::Error { by_zero: a, .. }, Answer::Error { by_zero: b, .. }) => a == b || !b,
        _ => false,
    }
}

/// A number without zeros that say nothing: the scale of a result is fixed here and follows the value there.
fn plain(number: &str) -> &str {
    let cut = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    if cut == "-0" { "0" } else { cut }
}

fn ours(pair: &Pair, batch: &ChangeBatch, rows: &[u32], zone: Tz) -> Vec<Answer> {
    let text = format!("CAST(({}) AS STRING) AS x", pair.ours);
    let schema: &Arc<TableSchema> = &batch.schema;
    let compiled = match support::projection_in(zone, &text, schema) {
        Ok(compiled) => compiled,
        Err(mistakes) => {
            let error = &mistakes[0].error;
            let by_zero = error.code == Code::DivisionByZero;
            return vec![
                Answer::Error { by_zero, words: format!("refused: {} {:?}", error.message, error.help) };
                rows.len()
            ];
        }
    };
    let done = compiled.apply(&batch.take(rows).unwrap()).unwrap();
    let mut answers = vec![None; rows.len()];
    for failed in &done.failed {
        let words = format!("{:?}", failed.error);
        answers[failed.row] = Some(Answer::Error { by_zero: failed.error.code() == Code::DivisionByZero, words });
    }
    let column = done.batches.first().map(|b| b.rows.column(0).clone());
    let mut values = column.iter().flat_map(|c| c.as_string::<i32>().iter());
    let answer = |known: Option<Answer>| {
        known.unwrap_or_else(|| match values.next().expect("a value for each good row") {
            Some(text) => Answer::Text(text.to_owned()),
            None => Answer::Null,
        })
    };
    answers.into_iter().map(answer).collect()
}

/// Answers of the server, one list per case.
fn ask(table: &str, cases: &[(Pair, Vec<u32>)], zone: Tz) -> Vec<Vec<Answer>> {
    let server = Postgres::start().expect("a PostgreSQL server; `cargo xtask test` installs one");
    let mut script = String::from(FUNCTIONS);
    script.push_str(table);
    writeln!(script, "SET timezone = '{}';", zone.name()).unwrap();
    script.push_str("CREATE TABLE cases (id int, r int, e text);\nCOPY cases FROM STDIN;\n");
    for (id, (pair, rows)) in cases.iter().enumerate() {
        let escaped = pair.theirs.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
        for row in rows {
            writeln!(script, "{id}\t{row}\t{escaped}").unwrap();
        }
    }
    script.push_str("\\.\nSELECT id, encode(convert_to(answer(e, r), 'UTF8'), 'hex') FROM cases ORDER BY id, r;\n");
    let told = server.sql(&script).unwrap();
    let mut answers = vec![Vec::new(); cases.len()];
    for line in told.lines() {
        let (id, hex) = line.split_once('\t').unwrap();
        answers[id.parse::<usize>().unwrap()].push(answer(hex));
    }
    answers
}

fn answer(hex: &str) -> Answer {
    let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    let text = String::from_utf8(bytes).unwrap();
    match text.split_at(1) {
        ("N", _) => Answer::Null,
        ("V", value) => Answer::Text(value.to_owned()),
        (_, error) => Answer::Error { by_zero: error.starts_with("22012"), words: error.to_owned() },
    }
}

/// `answer` evaluates an expression in one row of `t`: N, V and a value, or E and an error.
const FUNCTIONS: &str = r"
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE FUNCTION answer(e text, r int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE v text;
BEGIN
  EXECUTE 'SELECT (' || e || ')::text FROM t WHERE id = ' || r INTO v;
  RETURN CASE WHEN v IS NULL THEN 'N' ELSE 'V' || v END;
EXCEPTION WHEN OTHERS THEN
  RETURN 'E' || SQLSTATE || ' ' || SQLERRM;
END $$;
";
