//! Values as texts that the server reads as exactly the same ones. Pure.

use dujiang_core::calendar;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// A floating-point number, in as few digits as tell it apart.
pub(super) fn float<T: std::fmt::Display + Into<f64> + Copy>(number: T) -> String {
    let wide: f64 = number.into();
    if wide.is_infinite() {
        return if wide < 0.0 { "-Infinity" } else { "Infinity" }.to_owned();
    }
    number.to_string()
}

/// Days since 2000.
pub(super) fn date(days: i64) -> String {
    match i32::try_from(days) {
        Ok(i32::MAX) => "infinity".to_owned(),
        Ok(i32::MIN) => "-infinity".to_owned(),
        _ => {
            let (day, era) = civil(days);
            format!("{day}{era}")
        }
    }
}

/// Microseconds since 2000, with the name of a zone behind.
pub(super) fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => {
            let (day, era) = civil(micros.div_euclid(DAY));
            format!("{day} {}{zone}{era}", time(micros.rem_euclid(DAY)))
        }
    }
}

/// Microseconds of a day, of which the last one may be over.
pub(super) fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Hundredths, as `money` is under `lc_monetary=C`.
pub(super) fn money(hundredths: i64) -> String {
    let (sign, amount) = (if hundredths < 0 { "-" } else { "" }, hundredths.unsigned_abs());
    format!("{sign}{}.{:02}", amount / 100, amount % 100)
}

/// The day so many days after 2000-01-01, and its era.
fn civil(days: i64) -> (String, &'static str) {
    let (year, month, day) = calendar::civil(days + FROM_1970);
    // There is no year 0: the year before 1 is 1 BC.
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

/// Days from 1970-01-01 to 2000-01-01.
const FROM_1970: i64 = 10_957;
