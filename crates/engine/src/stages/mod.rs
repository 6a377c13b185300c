//! The hops of a batch.
