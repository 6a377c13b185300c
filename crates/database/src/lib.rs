//! What sources that follow a database have in common: the bytes of their positions, checks of their blocks, options written for
//! other tools, and estimates of what a snapshot takes.

pub mod block;
pub mod estimate;
pub mod foreign;
pub mod position;
