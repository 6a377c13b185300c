//! The SQL of transforms against an independent oracle, and against hostile text.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod hostile;
mod oracle;
mod support;
