//! Where an event lies.

use crate::decode::EventFormat;
use crate::place::Place;

/// Where an event lies, and how events there are laid out.
pub(super) struct At<'a> {
    pub begin: &'a Place,
    /// Where the next one begins; none for events that are not in the file.
    pub next: Option<&'a Place>,
    pub format: &'a EventFormat,
}
