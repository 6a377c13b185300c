//! What every [`CheckpointStore`] promises.

use dujiang_core::checkpoint::{Acquired, Checkpoint, CheckpointStore, Generation, ParticipantTokens, Standing, Token};
use dujiang_core::{Code, Epoch, Position};

/// Opens the same store again and again, as one process after the other does.
pub trait StoreFactory {
    /// A new process's store; the one before is gone.
    fn open(&mut self) -> Box<dyn CheckpointStore>;
}

impl<F: FnMut() -> Box<dyn CheckpointStore>> StoreFactory for F {
    fn open(&mut self) -> Box<dyn CheckpointStore> {
        self()
    }
}

/// A checkpoint with everything a store has to keep.
pub fn checkpoint(epoch: u64, generation: Generation, standing: Standing) -> Checkpoint {
    let token = |n: u8| Token(vec![n, 0, 255, epoch as u8].into());
    Checkpoint {
        epoch: Epoch(epoch),
        generation,
        position: Position::new(vec![0, 159, 146, 150, epoch as u8]),
        position_text: format!("place {epoch} \"ö\""),
        tokens: vec![
            ParticipantTokens { participant: "sink".to_owned(), tokens: vec![token(1), token(2)] },
            ParticipantTokens { participant: "dead-letters".to_owned(), tokens: vec![token(3)] },
        ],
        sink_before: Epoch(epoch.saturating_sub(1)),
        standing,
        written_micros: 1_700_000_000_000_000 + epoch as i64,
    }
}

/// The whole suite, on a store that is empty at first and keeps the newest `keep` checkpoints.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn all(factory: &mut impl StoreFactory, keep: usize) {
    let first = empty_at_first(factory).await;
    let second = what_is_published_is_found(factory, &first).await;
    retention(factory, keep).await;
    candidates(factory).await;
    going_back(factory).await;
    assert!(second.generation > first.generation);
}

async fn empty_at_first(factory: &mut impl StoreFactory) -> Acquired {
    let mut store = factory.open();
    let acquired = store.acquire().await.expect("acquire an empty store");
    assert!(acquired.checkpoints.is_empty(), "an empty store has no checkpoint");
    assert!(acquired.generation > Generation(0), "the first generation is above zero");
    assert_eq!(store.latest().await.expect("read back"), None);
    acquired
}

async fn what_is_published_is_found(factory: &mut impl StoreFactory, first: &Acquired) -> Acquired {
    let mut store = factory.open();
    let acquired = store.acquire().await.expect("acquire again");
    let generation = acquired.generation;
    assert!(generation > first.generation, "the generation rises with every start");
    assert_eq!(acquired.identity, first.identity, "name and lineage are chosen once");
    let next = checkpoint(1, generation, Standing::Final);
    store.publish((generation, Epoch::NONE), &next).await.expect("publish");
    assert_eq!(store.latest().await.expect("read back"), Some(next.clone()), "what is published is read back");
    let wrong_epoch = store.publish((generation, Epoch::NONE), &checkpoint(2, generation, Standing::Final)).await;
    assert_eq!(
        wrong_epoch.expect_err("a publish from a wrong epoch").code(),
        Code::Fenced,
        "INV-11: the epoch is compared"
    );
    let wrong_generation =
        store.publish((first.generation, Epoch(1)), &checkpoint(2, first.generation, Standing::Final)).await;
    assert_eq!(
        wrong_generation.expect_err("a publish of an earlier generation").code(),
        Code::Fenced,
        "INV-11: the generation is compared"
    );
    drop(store);
    let found = factory.open().acquire().await.expect("acquire a third time");
    assert_eq!(found.checkpoints, [next], "P14: restored is what was published");
    acquired
}

async fn retention(factory: &mut impl StoreFactory, keep: usize) {
    let mut store = factory.open();
    let Acquired { generation, checkpoints, .. } = store.acquire().await.expect("acquire");
    let mut at = checkpoints[0].epoch;
    for _ in 0..keep + 3 {
        let next = checkpoint(at.0 + 2, generation, Standing::Final);
        store.publish((generation, at), &next).await.expect("publish");
        at = next.epoch;
    }
    drop(store);
    let kept: Vec<u64> =
        factory.open().acquire().await.expect("acquire").checkpoints.iter().map(|c| c.epoch.0).collect();
    let expected: Vec<u64> = (0..keep as u64).map(|n| at.0 - 2 * n).collect();
    assert_eq!(kept, expected, "P17: exactly the newest are kept, newest first");
}

async fn candidates(factory: &mut impl StoreFactory) {
    let mut store = factory.open();
    let Acquired { generation, checkpoints, .. } = store.acquire().await.expect("acquire");
    let before = checkpoints[0].clone();
    let candidate = checkpoint(before.epoch.0 + 1, generation, Standing::Candidate);
    store.publish((generation, before.epoch), &candidate).await.expect("publish a candidate");
    drop(store);
    let mut store = factory.open();
    let Acquired { generation, checkpoints, .. } = store.acquire().await.expect("acquire");
    assert_eq!(checkpoints[0], candidate, "a candidate is found");
    assert_eq!(checkpoints[1], before, "the record before a candidate is kept");
    let made_final = Checkpoint { standing: Standing::Final, ..candidate };
    store.publish((generation, made_final.epoch), &made_final).await.expect("make it final");
    let latest = store.latest().await.expect("read back").expect("there is one");
    assert_eq!((latest.epoch, latest.standing), (made_final.epoch, Standing::Final));
}

async fn going_back(factory: &mut impl StoreFactory) {
    let mut store = factory.open();
    let kept = store.acquire().await.expect("acquire").checkpoints;
    let missing = store.rewind(Epoch(kept[0].epoch.0 + 5)).await;
    assert_eq!(missing.expect_err("a rewind to an epoch that is not kept").code(), Code::NoCheckpoint);
    store.rewind(kept[1].epoch).await.expect("rewind");
    assert_eq!(store.latest().await.expect("read back").map(|c| c.epoch), Some(kept[1].epoch));
    drop(store);
    let mut store = factory.open();
    let found = store.acquire().await.expect("acquire").checkpoints;
    assert_eq!(found[0].epoch, kept[1].epoch, "going back is durable");
    store.rewind(Epoch::NONE).await.expect("forget all");
    assert_eq!(store.latest().await.expect("read back"), None);
}
