//! Functions on days and times.

pub(crate) mod arithmetic;
pub(crate) mod civil;
pub(crate) mod extract;
pub(crate) mod format;
pub(crate) mod pattern;
