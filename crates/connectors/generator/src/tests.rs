//! The same rows on every read, from any position.

use super::*;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Lineage, PipelineIdentity};
use dujiang_core::clock::Standing;
use dujiang_core::options::Place as Where;
use dujiang_core::source::SourceEvent;
use dujiang_core::{ChangeBatch, Kind, text};
use std::collections::HashMap;

fn context() -> SourceContext {
    let identity = PipelineIdentity { name: "p".into(), lineage: Lineage("0123456789abcdef".into()) };
    SourceContext {
        identity,
        clock: Arc::new(Standing(1_800_000_000_000_000)),
        budget: Budget::new(1 << 30),
        work_dir: "unused".into(),
    }
}

fn generator(options: &[(&str, &str)]) -> Generator {
    let raw: Vec<RawOption> = options.iter().map(|(k, v)| RawOption::new(*k, *v, Where::CommandLine)).collect();
    Generator::new(&GeneratorOptions::parse(&raw).unwrap()).unwrap()
}

const SMALL: &[(&str, &str)] =
    &[("rate", "0"), ("rows", "3000"), ("initial-rows", "50"), ("alter-after", "300"), ("seed", "9")];

/// One line per image: table, kind, event id, row.
fn lines(batch: &ChangeBatch) -> Vec<String> {
    let lineage = context().identity.lineage;
    let ordinals: Vec<_> = batch.ordinals().collect();
    (0..batch.images())
        .map(|row| {
            let (ordinal, origin) = &ordinals[row];
            let mut line = format!("{:?} {} ", batch.kinds[row], batch.schema.version).into_bytes();
            text::write_event_id(&lineage, batch, row, *ordinal, origin, &mut line);
            line.push(b' ');
            text::write_json_row(batch, row, &mut line);
            String::from_utf8(line).unwrap()
        })
        .collect()
}

/// Reads to the end with a barrier, and a new reader, after every `every` events.
async fn read(source: &Generator, every: usize) -> (Vec<String>, Vec<String>) {
    let (mut rows, mut events, mut position) = (Vec::new(), Vec::new(), None);
    loop {
        let (mut reader, _acker) = source.open(position.take(), context()).await.unwrap();
        for _ in 0..every {
            match reader.next().await.unwrap() {
                SourceEvent::Batch(batch) => rows.extend(lines(&batch)),
                SourceEvent::End => return (rows, events),
                other => events.push(format!("{other:?}").split(['(', ' ']).next().unwrap().to_owned()),
            }
        }
        let mut rest = Vec::new();
        position = Some(reader.barrier(&mut rest).unwrap());
        rows.extend(rest.iter().flat_map(lines));
    }
}

#[tokio::test]
async fn every_position_goes_on_exactly() {
    let source = generator(SMALL);
    let (whole, events) = read(&source, usize::MAX).await;
    assert_eq!(events, ["SnapshotDone", "CaughtUp", "SchemaChange"]);
    // A new reader says first that it has caught up, then that the table changes, and only then passes the change.
    for every in [3, 4, 7] {
        let (mut pieces, _) = read(&source, every).await;
        let mut expected = whole.clone();
        // Tables are interleaved freely.
        expected.sort();
        pieces.sort();
        assert!(expected == pieces, "a new reader every {every} events");
    }
}

#[tokio::test]
async fn an_alter_met_at_a_barrier_comes_again() {
    let source = generator(SMALL);
    let (mut reader, _) = source.open(None, context()).await.unwrap();
    while !matches!(reader.next().await.unwrap(), SourceEvent::SchemaChange(_)) {}
    let position = reader.barrier(&mut Vec::new()).unwrap();
    let (mut again, _) = source.open(Some(position), context()).await.unwrap();
    assert!(matches!(again.next().await.unwrap(), SourceEvent::CaughtUp));
    assert!(matches!(again.next().await.unwrap(), SourceEvent::SchemaChange(_)));
    again.next().await.unwrap();
    let position = again.barrier(&mut Vec::new()).unwrap();
    assert_eq!(source.schemas_at(&position).await.unwrap()[0].version, 2);
}

#[tokio::test]
async fn before_images_are_the_rows_that_were_there() {
    let source = generator(&[("rate", "0"), ("rows", "30000"), ("initial-rows", "20"), ("alter-after", "500")]);
    let (mut reader, _) = source.open(None, context()).await.unwrap();
    let mut rows: HashMap<(String, Vec<u8>), String> = HashMap::new();
    loop {
        let batch = match reader.next().await.unwrap() {
            SourceEvent::Batch(batch) => batch,
            SourceEvent::End => break,
            _ => continue,
        };
        for row in 0..batch.images() {
            let (mut key, mut image) = (Vec::new(), Vec::new());
            dujiang_core::key::write_key(&batch, row, &mut key);
            text::write_json_row(&batch, row, &mut image);
            // Rows of before the ALTER TABLE have the new column, empty.
            let image = String::from_utf8(image).unwrap().replace(",\"loyalty_points\":null", "");
            let id = (batch.schema.id.to_string(), key);
            match batch.kinds[row] {
                Kind::Insert | Kind::Read => assert_eq!(rows.insert(id, image), None),
                Kind::UpdateBefore | Kind::Delete => assert_eq!(rows.remove(&id), Some(image)),
                Kind::UpdateAfter => assert_eq!(rows.insert(id, image), None),
            }
        }
    }
    assert!(rows.len() > 5_000);
}

#[tokio::test]
async fn other_options_are_another_source() {
    let (mut reader, _) = generator(SMALL).open(None, context()).await.unwrap();
    let position = reader.barrier(&mut Vec::new()).unwrap();
    let other = generator(&[("seed", "10")]);
    assert_eq!(other.open(Some(position.clone()), context()).await.err().unwrap().code(), Code::OtherServer);
    assert!(generator(SMALL).describe(&position).contains("transaction 0"));
}

#[test]
fn unknown_tables_are_refused_with_a_suggestion() {
    let raw = [RawOption::new("tables", "custmers, orders", Where::CommandLine)];
    let problems = Generator::new(&GeneratorOptions::parse(&raw).unwrap()).err().unwrap();
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `customers`?"));
}
