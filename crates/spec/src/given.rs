//! The options that a pipeline was given, as text.

use crate::blocks::RawBlock;
use crate::references::Origin;
use dujiang_core::options::RawOption;

/// The options that were given for a block, from wherever.
#[derive(Clone)]
pub(crate) struct Given {
    /// `source`, `transform.0`, ...
    pub path: String,
    pub options: Vec<RawOption>,
    pub origins: Vec<(String, Origin)>,
}

/// Prints keys only: values may be secrets.
impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.options.iter().map(|o| &o.key).collect();
        f.debug_struct("Given").field("path", &self.path).field("options", &keys).finish_non_exhaustive()
    }
}

impl Given {
    pub fn new(path: impl Into<String>, raw: &RawBlock) -> Self {
        Self { path: path.into(), options: raw.options.clone(), origins: raw.origins.clone() }
    }
}
