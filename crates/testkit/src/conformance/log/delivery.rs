//! A process that reads a log.

use super::capture::context;
use crate::sample;
use dujiang_core::schema::SchemaChange;
use dujiang_core::sink::SinkContext;
use dujiang_core::source::{Acker, Reader, Source, SourceContext, SourceEvent};
use dujiang_core::{Error, Kind, Position, Result};
use std::time::Duration;

/// Events that are looked at until something has to have come; each takes about a second at most.
const PATIENCE: usize = 60;

/// Opens a source.
///
/// # Errors
/// As the source's.
pub async fn open(source: &dyn Source, from: Option<Position>) -> Result<(Box<dyn Reader>, Box<dyn Acker>)> {
    let SinkContext { identity, clock, budget, .. } = context("test", 1);
    source.open(from, SourceContext { identity, clock, budget, work_dir: std::env::temp_dir() }).await
}

/// What a delivery is told, with the rows of batches as kinds and ids.
#[derive(Debug, PartialEq)]
pub enum Told {
    /// Of a table, and whether others of their cut follow.
    Rows(String, Vec<(Kind, i64)>, bool),
    /// A change of a shape.
    Shape(Box<SchemaChange>),
    /// The end of the snapshot.
    SnapshotDone,
}

/// The next event.
///
/// # Errors
/// As the reader's.
///
/// # Panics
/// When it does not answer.
pub async fn next(reader: &mut Box<dyn Reader>) -> Result<SourceEvent> {
    let waited = tokio::time::timeout(Duration::from_secs(60), reader.next()).await;
    waited.expect("`next` answers, if only with `Idle`")
}

/// Everything up to where it has caught up.
///
/// # Panics
/// When that never comes.
pub async fn told(reader: &mut Box<dyn Reader>) -> Vec<Told> {
    let (mut all, mut idle) = (Vec::new(), 0);
    while idle < PATIENCE {
        match next(reader).await.expect("next") {
            SourceEvent::Batch(batch) => {
                let rows = batch.kinds.iter().copied().zip(sample::ids(&batch).iter().copied()).collect();
                all.push(Told::Rows(batch.schema.id.to_string(), rows, reader.is_mid_cut()));
            }
            SourceEvent::SchemaChange(change) => all.push(Told::Shape(Box::new(change))),
            SourceEvent::SnapshotDone => all.push(Told::SnapshotDone),
            SourceEvent::CaughtUp => return all,
            SourceEvent::Idle => idle += 1,
            SourceEvent::End => panic!("it has no end"),
        }
    }
    panic!("it never catches up: {all:?}")
}

/// The ids of all rows, in order.
pub fn ids(told: &[Told]) -> Vec<i64> {
    let rows = told.iter().filter_map(|told| match told {
        Told::Rows(_, rows, _) => Some(rows),
        _ => None,
    });
    rows.flatten().map(|(_, id)| *id).collect()
}

/// The error that ends reading; nothing is handed out before it.
///
/// # Panics
/// When there is none.
pub async fn until_error(reader: &mut Box<dyn Reader>) -> Error {
    for _ in 0..PATIENCE {
        match next(reader).await {
            Err(error) => return error,
            Ok(SourceEvent::Batch(batch)) => panic!("rows behind a gap: {batch:?}"),
            Ok(_) => {}
        }
    }
    panic!("nothing is told")
}
