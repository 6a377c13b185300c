//! Reading what is there, in chunks, beside the stream.

mod handoff;
#[cfg(test)]
mod handoff_tests;

pub use handoff::{Chunk, Handoff, Upper, Verdict};
