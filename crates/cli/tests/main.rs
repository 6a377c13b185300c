//! The real binary, as users and scripts meet it.

mod commands;
mod support;
