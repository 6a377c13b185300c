//! Options of the log, as a block between source and sink and as a source.

use crate::frame::Codec;
use crate::store::Limits;
use dujiang_core::Code;
use dujiang_core::options;
use dujiang_core::options::{ByteSize, OptionType, OptionValue, Place as OptionPlace, Problem, RawOption};
use std::path::PathBuf;
use std::time::Duration;

/// Where a delivery begins when its consumer group has no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest entry.
    Earliest,
    /// With what comes next.
    Latest,
    /// With this offset.
    Offset(u64),
    /// With the first change committed at this time or later, microseconds since 1970-01-01 UTC.
    Time(i64),
}

impl OptionValue for Start {
    const KIND: OptionType = OptionType::Text;

    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = "must be `earliest`, `latest`, `offset:<number>` or `time:<time>`, where a time is \
                     `2026-11-27T08:30:00Z` or milliseconds since 1970";
        match text.trim() {
            "earliest" => return Ok(Start::Earliest),
            "latest" => return Ok(Start::Latest),
            _ => {}
        }
        let (word, rest) = text.trim().split_once(':').ok_or(wrong)?;
        let start = match word.trim() {
            "offset" => rest.trim().parse().ok().map(Start::Offset),
            "time" => time(rest.trim()).map(Start::Time),
            _ => None,
        };
        start.ok_or_else(|| wrong.to_owned())
    }
}

/// Microseconds of `2026-11-27T08:30:00Z`, or of milliseconds since 1970.
fn time(text: &str) -> Option<i64> {
    if let Ok(millis) = text.parse::<i64>() {
        return millis.checked_mul(1000);
    }
    let (date, clock) = text.strip_suffix(['Z', 'z'])?.split_once(['T', 't', ' '])?;
    let mut date = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut clock = clock.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next().unwrap_or(Ok(0)).ok()?);
    let within = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..=9999).contains(&year);
    let within = within && (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    let day_seconds = days(year, month, day) * 86_400;
    within.then_some((day_seconds + hour * 3600 + minute * 60 + second) * 1_000_000)
}

/// Days from 1970-01-01 in the Gregorian calendar; years begin in March, so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

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
    fn a_start_is_a_word_an_offset_or_a_time() {
        let start = |text| Start::from_text(text);
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert_eq!(start("offset: 17"), Ok(Start::Offset(17)));
        assert_eq!(start("time:1970-01-02T00:00:01Z"), Ok(Start::Time(86_401_000_000)));
        assert_eq!(start("time:2026-11-27T08:30:00Z"), Ok(Start::Time(1_795_768_200_000_000)));
        assert_eq!(start("time:1500"), Ok(Start::Time(1_500_000)));
        for wrong in ["", "soon", "offset:-1", "time:2026-13-01T00:00:00Z", "time:now"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
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
