//! From a file's text to a pipeline that can run.

use crate::diagnostic::Diagnostic;
use crate::pipeline::Pipeline;
use crate::registry::Registry;
use crate::source_text::SourceText;
use dujiang_core::Code;
use dujiang_core::sink::Sink;
use dujiang_core::source::Source;
use std::io;

/// Everything a pipeline is made of.
pub struct Inputs<'a> {
    /// The file.
    pub text: SourceText,
    /// The environment: all variables; those that begin with `DUJIANG__` override the file, any may be named by
    /// `${env:X}`.
    pub env: Vec<(String, String)>,
    /// `--set path=value`, in the order given; overrides file and environment.
    pub set: Vec<(String, String)>,
    /// Reads the file of a `${file:path}`.
    pub read_file: &'a dyn Fn(&str) -> io::Result<String>,
}

/// A pipeline that can run.
pub struct Loaded {
    /// What the file says.
    pub pipeline: Pipeline,
    /// The source, built.
    pub source: Box<dyn Source>,
    /// The sink, built.
    pub sink: Box<dyn Sink>,
    /// What the user should know although it runs, in file order.
    pub warnings: Vec<Diagnostic>,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

/// Reads and checks a pipeline; builds its source and sink, which touches nothing outside the process.
///
/// # Errors
/// Every mistake (and every warning) at once, in file order.
pub fn load(inputs: Inputs<'_>, _registry: &dyn Registry) -> Result<Loaded, Vec<Diagnostic>> {
    Err(vec![Diagnostic::about_file(Code::Bug, "loading is not there yet", inputs.text.name())])
}
