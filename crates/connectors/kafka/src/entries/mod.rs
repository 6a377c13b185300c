//! What a log is made of: numbered entries, the headers and shapes that tell them, and the topics they stand in.

mod head;
mod names;
mod numbers;
mod shape;
mod write;

pub(crate) use head::{HEADER, Head, Heads};
pub(crate) use names::{ReadConfig, state_topic, topic_of};
pub(crate) use numbers::{Entries, Part};
pub(crate) use shape::{
    Shapes, foreign, is_marker, read as read_shapes, read_all as read_all_shapes, write as write_shape,
};
pub(crate) use write::{Numbering, Piece, moved_to, pieces};
