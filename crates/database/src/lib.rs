//! What sources that follow a database have in common: the bytes of their positions, and options written for other tools.

pub mod foreign;
pub mod position;
