//! The decoder against a real server: what the log holds, what a SELECT gives and what the server prints are one value.

#![allow(clippy::unwrap_used)]

mod capture;
mod events;
mod generated;
mod show;
mod stops;
mod types;
