//! Where a reader of a log begins.

use crate::calendar::day_number;
use crate::options::{OptionType, OptionValue};

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
    let [year, month, day] = numbers(date, '-')?;
    // Seconds may be left out.
    let [hour, minute, second] = numbers(clock, ':').or_else(|| {
        let [hour, minute] = numbers(clock, ':')?;
        Some([hour, minute, 0])
    })?;
    let within = (0..=9999).contains(&year) && hour < 24 && minute < 60 && second < 60;
    let day_seconds = day_number(year, month, day)? * 86_400;
    within.then_some((day_seconds + hour * 3600 + minute * 60 + second) * 1_000_000)
}

/// Exactly `N` numbers without signs.
fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
    let parts: Vec<i64> = text.split(between).map(number).collect::<Option<_>>()?;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_an_offset_or_a_time() {
        let start = |text| Start::from_text(text);
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert_eq!(start("offset: 17"), Ok(Start::Offset(17)));
        assert_eq!(start("time:1970-01-02T00:00:01Z"), Ok(Start::Time(86_401_000_000)));
        assert_eq!(start("time:2026-11-27T08:30:00Z"), Ok(Start::Time(1_795_768_200_000_000)));
        assert_eq!(start("time:2026-11-27 08:30Z"), Ok(Start::Time(1_795_768_200_000_000)));
        assert_eq!(start("time:2024-02-29T00:00:00Z"), Ok(Start::Time(1_709_164_800_000_000)));
        assert_eq!(start("time:1500"), Ok(Start::Time(1_500_000)));
        for wrong in ["", "soon", "offset:-1", "time:2026-13-01T00:00:00Z", "time:now"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_that_there_is_not_is_refused() {
        let days = ["2026-02-31", "2026-02-29", "2026-04-31", "2026-1-00", "2026-11-27-28", "2026-11", "-2026-11-27"];
        let clocks = ["24:00:00", "08:60:00", "08:30:60", "08:30:00:00", "08", "+8:30:00", "08:-30:00"];
        let days = days.map(|day| format!("time:{day}T08:30:00Z"));
        for wrong in days.into_iter().chain(clocks.map(|clock| format!("time:2026-11-27T{clock}Z"))) {
            assert!(Start::from_text(&wrong).is_err(), "{wrong}");
        }
    }
}
