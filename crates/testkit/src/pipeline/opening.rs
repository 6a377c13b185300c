//! How a source is built and opened here.

use crate::saboteur;
use dujiang_core::budget::Budget;
use dujiang_core::clock::Clock;
use dujiang_core::connector::{PipelineOptions, SourceSpec};
use dujiang_core::options::{Place, RawOption};
use dujiang_core::source::{Source, SourceContext};
use dujiang_core::{Lineage, PipelineIdentity};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

struct WallClock;

impl Clock for WallClock {
    fn now_micros(&self) -> i64 {
        // tidy: allow(clock): this is the clock that sources are handed
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        now.as_micros() as i64
    }
}

/// A folder of its own for each opening; nobody makes it unless a source needs it, and that source removes it.
pub(crate) fn work_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("dujiang-work-{}-{number}", std::process::id()))
}

/// What a source is opened with.
pub fn context() -> SourceContext {
    SourceContext {
        identity: PipelineIdentity { name: "test".into(), lineage: Lineage("00112233aabbccdd".into()) },
        clock: Arc::new(WallClock),
        budget: Budget::new(128 << 20),
        work_dir: work_dir(),
    }
}

/// A source for a pipeline of this name, with what `usual` says, unless `options` say otherwise.
///
/// # Panics
/// For options that the source refuses.
pub fn built(spec: &SourceSpec, pipeline: &str, usual: &[(&str, &str)], options: &[(&str, &str)]) -> Box<dyn Source> {
    saboteur::take_out();
    let given = |key: &str| options.iter().any(|(k, _)| *k == key);
    let all = usual.iter().filter(|(key, _)| !given(key)).chain(options);
    let raw: Vec<_> = all.map(|(key, value)| RawOption::new(*key, *value, Place::CommandLine)).collect();
    let pipeline = PipelineOptions { name: pipeline.into(), parallelism: 1, memory_limit: 128 << 20 };
    (spec.build)(&raw, &pipeline).expect("options that fit")
}
