//! The decoder against a real server: what the log holds, what a SELECT gives and what the server prints are one value.

mod capture;
mod events;
mod generated;
mod show;
mod types;
