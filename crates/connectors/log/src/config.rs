//! Options of the log, as a block between source and sink and as a source.

use crate::frame::Codec;
use crate::store::Limits;
use dujiang_core::options;
use dujiang_core::options::{ByteSize, Place as OptionPlace, Problem, RawOption};
use dujiang_core::{Code, Start};
use std::path::PathBuf;
use std::time::Duration;

options! {
    /// Options of the embedded log.
    pub struct EmbeddedOptions {
        /// Folder of the log; made if it is missing. Exactly one pipeline captures into it.
        "path" => path: String, required;
        /// Bytes on disk at which capture waits for the deliveries. What every delivery has passed is removed first.
        "max-bytes" => max_bytes: ByteSize, default "10gb";
        /// How long what has been delivered is kept for replay, space permitting. What has not been delivered is never
        /// removed, however old it is.
        "retention.age" => retention_age: Duration, default "1 d";
        /// Time between two commits of what is captured: a delivery sees a change no sooner.
        "commit.interval" => commit_interval: Duration, default "1s";
        /// Size at which a segment is followed by the next one; space is given back by whole segments.
        "segment.size" => segment_size: ByteSize, default "64mb";
        /// Compression of the log.
        "compression" => compression: Codec, default "zstd";
        /// Where a delivery begins that has none of its own position yet: `earliest`, `latest`, `offset:<number>` or
        /// `time:<time>`.
        "start" => start: Start, default "earliest";
    }
}

options! {
    /// Options of the `log` source.
    pub struct LogSourceOptions {
        /// Folder of a log that another pipeline captures into.
        "path" => path: String, required;
        /// Name of the consumer group: the log keeps what it has not passed. Default: the pipeline's name.
        "consumer" => consumer: String, optional;
        /// Where it begins when it has no position yet: `earliest`, `latest`, `offset:<number>` or `time:<time>`.
        "start" => start: Start, default "earliest";
    }
}

/// The embedded log, checked.
#[derive(Debug, Clone)]
pub(crate) struct EmbeddedConfig {
    pub(crate) path: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) codec: Codec,
    pub(crate) commit_interval: Duration,
    /// Bytes in memory after which an epoch of the capture ends.
    pub(crate) epoch_bytes: u64,
    pub(crate) start: Start,
}

/// A log of fewer segments could be full of what is not committed yet.
const FEWEST_SEGMENTS: u64 = 4;
/// An epoch of the capture takes no more of the log than this share.
const EPOCH_SHARE: u64 = 8;
const LARGEST_EPOCH: u64 = 256 << 20;

impl EmbeddedConfig {
    pub(crate) fn parse(raw: &[RawOption]) -> Result<Self, Vec<Problem>> {
        let options = EmbeddedOptions::parse(raw)?;
        let mut problems = Vec::new();
        check_path(&options.path, options.place("path"), &mut problems);
        let (segment, most) = (options.segment_size.0, options.max_bytes.0);
        if segment < 4096 {
            problems.push(Problem::new(
                Code::BadValue,
                "`segment.size` is at least 4kb",
                options.place("segment.size"),
            ));
        }
        if most < segment.saturating_mul(FEWEST_SEGMENTS) {
            let message = format!("`max-bytes` must be {FEWEST_SEGMENTS} times `segment.size` at least");
            let problem = Problem::new(Code::Conflict, message, options.place("max-bytes"));
            problems.push(problem.help("space is given back by whole segments; make them smaller, or the log larger"));
        }
        if options.commit_interval.is_zero() {
            let problem =
                Problem::new(Code::BadValue, "`commit.interval` must not be 0", options.place("commit.interval"));
            problems.push(problem.help("leave it out for 1s"));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            path: PathBuf::from(&options.path),
            limits: Limits { segment_bytes: segment, max_bytes: most, retention: options.retention_age },
            codec: options.compression,
            commit_interval: options.commit_interval,
            epoch_bytes: (most / EPOCH_SHARE).clamp(1, LARGEST_EPOCH),
            start: options.start,
        })
    }
}

pub(crate) fn check_path(path: &str, place: OptionPlace, problems: &mut Vec<Problem>) {
    if path.is_empty() {
        problems.push(Problem::new(Code::BadValue, "`path` is empty", place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<EmbeddedConfig, Vec<Problem>> {
        let raw: Vec<_> = pairs.iter().map(|(k, v)| RawOption::new(*k, *v, OptionPlace::CommandLine)).collect();
        EmbeddedConfig::parse(&raw)
    }

    #[test]
    fn mistakes_are_named_all_at_once() {
        let config = parse(&[("path", "/l")]).unwrap();
        assert_eq!((config.codec, config.limits.max_bytes, config.epoch_bytes), (Codec::Zstd, 10 << 30, 256 << 20));
        let wrong = [("path", ""), ("max-bytes", "1mb"), ("commit.interval", "0s"), ("segment.size", "1")];
        assert_eq!(parse(&wrong).unwrap_err().len(), 3);
        assert_eq!(parse(&[("path", "/l"), ("max-bytes", "100mb")]).unwrap_err()[0].code, Code::Conflict);
    }
}
