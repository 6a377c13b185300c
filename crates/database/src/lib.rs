//! What sources that follow a database have in common: the bytes of their positions, checks of their blocks, and options written
//! for other tools.

pub mod block;
pub mod foreign;
pub mod position;
