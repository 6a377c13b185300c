//! Values: from the bytes of pgoutput and of COPY straight into Arrow columns.
//!
//! A column's type is resolved once ([`Types::resolve`]) into a [`PgKind`], which says how its cells are read: from text (the
//! stream), and from binary (snapshots, and streams of tables all of whose columns are [read](PgKind::reads_binary) so).
//! What has no binary form here is asked for as the text of its own output function ([`Column::select_item`]), so that a
//! snapshot and the stream give the same value: the one the server prints.
//!
//! The texts are those of a session with `DateStyle=ISO`, `IntervalStyle=iso_8601`, `TimeZone=UTC`, `bytea_output=hex`,
//! `lc_monetary=C`, an exact `extra_float_digits`, an empty `search_path` and the client encoding UTF-8.
//!
//! All parsers are pure, never panic whatever the bytes, and allocate only what the bytes at hand can justify.

mod array;
mod bad;
mod builder;
mod cells;
mod column;
mod kind;
mod number;
mod open;
mod time;
mod types;

pub use bad::BadValue;
pub use builder::{Keep, Refused, RowChange, TableBuilder, with_key};
pub use column::Column;
pub use kind::PgKind;

/// Values as what they are ordered by, whether or not they can be carried.
pub(crate) mod ordered {
    pub(crate) use super::number::append_numeric;
    pub use super::time::ordered::{date, time, timestamp};

    /// `money` in the currency's smallest unit.
    pub fn money(text: &[u8]) -> Result<i64, super::BadValue> {
        let units = super::number::money(text)?;
        i64::try_from(units).map_err(|_| super::BadValue::corrupt("an amount of money"))
    }
}
pub use types::{Declared, PgType, Resolved, Types, ValueForm, ValueSettings};
