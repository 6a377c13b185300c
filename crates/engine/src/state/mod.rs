//! What a pipeline keeps on the local disk: checkpoints, dead letters, its identity and its lock.
//!
//! ```text
//! <state dir>/
//!   lock                          held while an instance runs; holds its process id
//!   identity.json                 name and lineage, written once
//!   generation                    number of the instance that may write
//!   checkpoint-<epoch>.ckpt       published; the newest few are kept
//!   savepoint-<epoch>.ckpt        kept on request, never removed
//!   dlq/staged-<epoch>-<id>.jsonl letters of an epoch that is not committed
//!   dlq/letters-<epoch>.jsonl     committed letters
//!   work/                         the source's own; need not outlive the process
//! ```

mod disk;
mod frame;
pub mod inspect;
mod letters;
mod store;

pub use letters::FileLetters;
pub use store::DiskStore;
