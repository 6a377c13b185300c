//! The catalog, read-only: tables, columns, types, keys, identities, partitions, publications; PostgreSQL 14 to 18.
//!
//! Every query answers with one JSON document per row ([`sql`]), which the server makes and [`tables`] reads: one query sees one
//! state of the catalog, whatever its nesting.

pub mod generated;
pub mod identity;
pub mod publication;
pub mod read;
pub mod sql;
pub mod tables;

pub use generated::check_virtual;
pub use identity::{IdentityDemand, OldRows, check_identity, key_among, key_of, old_rows};
pub use publication::{Entry, Imprint, Publishing};
pub use tables::{
    CatalogColumn, CatalogIndex, Collates, Collation, Database, IdentityKind, Leaf, Published, TableDetail, TableEntry,
    read_all,
};
