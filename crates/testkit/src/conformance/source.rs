//! What every [`Source`] promises, on a source that has something to tell and then ends or is idle.

use super::clock;
use crate::pipeline::work_dir;
use dujiang_core::budget::Budget;
use dujiang_core::checkpoint::{Lineage, PipelineIdentity};
use dujiang_core::source::{Reader, Source, SourceContext, SourceEvent};
use dujiang_core::text::write_event_id;
use dujiang_core::{ChangeBatch, Kind, Position};
use std::time::Duration;

fn context() -> SourceContext {
    SourceContext {
        identity: PipelineIdentity { name: "conformance".into(), lineage: Lineage("00000000000000aa".into()) },
        clock: clock(),
        budget: Budget::new(64 << 20),
        work_dir: work_dir(),
    }
}

/// The whole suite. `open` gives the source as a new process finds it; it is to hand out `images` images, always the
/// same ones, from its configured start. Snapshots may hand out their rows in another order.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn all(mut open: impl FnMut() -> Box<dyn Source>, images: usize) {
    let whole = read(&mut open, None, images, usize::MAX).await.0;
    assert_eq!(whole.len(), images, "it hands out what it has");
    no_id_twice(&whole);
    // P39: ids are the same on every read; INV-3: a reader opened at a barrier's position hands out exactly the rest.
    for events in [0, 1, 2, 3, 5, 8] {
        let (mut parts, position) = read(&mut open, None, images, events).await;
        let rest = read(&mut open, Some(position), images - parts.len(), usize::MAX).await.0;
        parts.extend(rest);
        let (mut parts, mut expected) = (parts, whole.clone());
        parts.sort();
        expected.sort();
        assert_eq!(parts, expected, "a barrier after {events} events splits without loss or repetition");
    }
    cancelled_calls_lose_nothing(&mut open, images, &whole).await;
}

/// Reads until `events` batches or `images` images have come, passes a barrier, and returns the ids of all images.
async fn read(
    open: &mut impl FnMut() -> Box<dyn Source>,
    from: Option<Position>,
    images: usize,
    events: usize,
) -> (Vec<String>, Position) {
    let source = open();
    let (mut reader, _acker) = source.open(from, context()).await.expect("open");
    let (mut ids, mut batches) = (Vec::new(), 0);
    while batches < events && ids.len() < images {
        match next(&mut reader).await {
            SourceEvent::Batch(batch) => {
                batches += 1;
                note(&batch, &mut ids);
            }
            SourceEvent::End => break,
            _ => {}
        }
    }
    let position = pass(&mut reader, &mut ids);
    (ids, position)
}

fn pass(reader: &mut Box<dyn Reader>, ids: &mut Vec<String>) -> Position {
    let mut rest = Vec::new();
    let position = reader.barrier(&mut rest).expect("barrier");
    rest.iter().for_each(|batch| note(batch, ids));
    let mut nothing = Vec::new();
    let again = reader.barrier(&mut nothing).expect("barrier again");
    assert!(nothing.is_empty(), "a second barrier has nothing to hand out");
    assert_eq!(again, position, "and stands at the same place");
    position
}

async fn next(reader: &mut Box<dyn Reader>) -> SourceEvent {
    let waited = tokio::time::timeout(Duration::from_secs(60), reader.next()).await;
    waited.expect("`next` answers, if only with `Idle`").expect("next")
}

fn note(batch: &ChangeBatch, ids: &mut Vec<String>) {
    let lineage = Lineage("00000000000000aa".into());
    for (row, (ordinal, origin)) in batch.ordinals().enumerate() {
        let mut id = Vec::new();
        write_event_id(&lineage, batch, row, ordinal, &origin, &mut id);
        if batch.kinds[row] == Kind::UpdateBefore {
            id.extend_from_slice(b" before");
        }
        ids.push(String::from_utf8_lossy(&id).into_owned());
    }
}

fn no_id_twice(ids: &[String]) {
    let mut sorted = ids.to_vec();
    sorted.sort();
    let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None, "P39: ids are unique");
}

async fn cancelled_calls_lose_nothing(open: &mut impl FnMut() -> Box<dyn Source>, images: usize, whole: &[String]) {
    let source = open();
    let (mut reader, _acker) = source.open(None, context()).await.expect("open");
    let mut ids = Vec::new();
    while ids.len() < images {
        // The future is dropped after one look, as a barrier that comes in between does.
        let looked = tokio::select! {
            biased;
            event = reader.next() => Some(event.expect("next")),
            () = tokio::task::yield_now() => None,
        };
        let event = match looked {
            Some(event) => event,
            None => next(&mut reader).await,
        };
        match event {
            SourceEvent::Batch(batch) => note(&batch, &mut ids),
            SourceEvent::End => break,
            _ => {}
        }
    }
    let mut expected = whole.to_vec();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected, "`next` is cancel-safe");
}
