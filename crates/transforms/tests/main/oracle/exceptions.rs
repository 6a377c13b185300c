//! Where this program means to answer otherwise than PostgreSQL. The guide (`docs/guide/transforms.md`) lists the same.

use super::Answer;
use super::generate::Pair;

/// Why another answer than the server's is right here; `None` when it is wrong.
pub fn reason(pair: &Pair, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
    let ours_refused = |word: &str| matches!(ours, Answer::Error { words, .. } if words.contains(word));
    let theirs_text = match theirs {
        Answer::Text(text) => text.as_str(),
        _ => "",
    };
    if ours_refused("is out of range") && ours_refused("E0711") && decimals(&pair.ours) {
        return Some("a decimal has at most 38 digits");
    }
    if far_future(theirs_text) && (pair.ours.contains("TIMESTAMP_LTZ") || pair.ours.contains("tz")) {
        return Some("daylight saving time is known up to 2099");
    }
    if ours_refused("is no ") && loose_time(&pair.theirs) {
        return Some("times are read in ISO 8601 only");
    }
    if theirs_text == "NaN" && ours_refused("is no DECIMAL") {
        return Some("a decimal cannot be NaN");
    }
    if let Answer::Text(ours) = ours
        && same_float(ours, theirs_text)
    {
        return Some("of two shortest texts of a float either may be printed");
    }
    None
}

/// Whether two printed floats read back as the same value.
fn same_float(a: &str, b: &str) -> bool {
    let single = |text: &str| text.parse::<f32>().ok().filter(|v| v.is_finite());
    let double = |text: &str| text.parse::<f64>().ok().filter(|v| v.is_finite());
    let long = a.len().max(b.len()) > 14;
    if long { double(a).is_some() && double(a) == double(b) } else { single(a).is_some() && single(a) == single(b) }
}

fn decimals(text: &str) -> bool {
    ["d1", "d2", "w1", "w2", "DECIMAL", "."].iter().any(|part| text.contains(part))
}

/// A time after 2099.
fn far_future(text: &str) -> bool {
    text.split('-').next().and_then(|year| year.parse::<u32>().ok()).is_some_and(|year| year > 2099)
}

/// A text turned into a time.
fn loose_time(text: &str) -> bool {
    ["AS date)", "AS time)", "AS timestamp)", "AS timestamptz)"].iter().any(|cast| text.contains(cast))
}
