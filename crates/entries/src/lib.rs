//! What a log of messages is made of: numbered entries, the headers and shapes that tell them, and the way back into batches.
//!
//! Every change is a message that anybody can read; a header tells its number, by which the readers of a log put all of them
//! into the order in which they were captured. Changes of shapes and milestones have numbers too. Numbers have no gaps.
//!
//! ```text
//! batch -> pieces -> messages + heads (numbers) -> a queue -> rows (by shape) -> batch -> item -> reader
//! ```
//!
//! What a queue has of its own is how it is followed ([`Pieces`]) and how a number is found in it again ([`Place`]).

#![warn(missing_docs)]

mod entry;
mod head;
mod here;
mod numbers;
mod reader;
mod rows;
mod shape;
mod spot;
mod view;
mod write;

pub use entry::{Entry, Item, Piece, each};
pub use head::{HEADER, Head, Heads};
pub use here::Here;
pub use numbers::{Entries, Part, Ranges};
pub use reader::{LogReader, Pieces};
pub use rows::{Joined, Rows, messages};
pub use shape::{Shapes, write_shape};
pub use spot::{Place, Spot};
pub use view::{Summary, Verified};
pub use write::{Encoded, Numbering, encoded, size, without_large};
