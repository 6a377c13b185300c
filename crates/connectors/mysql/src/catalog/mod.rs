//! What the server's catalog says: settings, tables, columns, keys, foreign keys.
//!
//! Read with few queries whatever the number of tables, and in a fixed order, so that two readings can be compared.

mod foreign;
pub mod selector;
mod server;
mod tables;

pub use foreign::{Cascade, cascades};
pub use selector::{Selector, TableFilter};
pub use server::{ServerFlavor, ServerProfile, Version};
pub use tables::{Found, databases, estimated_rows, estimated_sizes, find_tables, generated_columns, shapes};
