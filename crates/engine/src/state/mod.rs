//! What a pipeline keeps on the local disk: checkpoints, dead letters, its identity and its lock.

pub mod inspect;
