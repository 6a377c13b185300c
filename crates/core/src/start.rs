//! Where a reader of a log begins.

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
        assert_eq!(start("time:1500"), Ok(Start::Time(1_500_000)));
        for wrong in ["", "soon", "offset:-1", "time:2026-13-01T00:00:00Z", "time:now"] {
            assert!(start(wrong).is_err(), "{wrong}");
        }
    }
}
