//! The SQL of transforms against an independent oracle, and against hostile text.

mod hostile;
mod oracle;
mod support;
