//! Days of the proleptic Gregorian calendar (ISO 8601), counted from 1970-01-01.

/// The number of a day; `None` when there is no such day. The arithmetic is Howard Hinnant's `days_from_civil`: years begin
/// in March, so that the leap day is the last of its year, and 400 years repeat.
pub fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    let from_march = year - i64::from(month <= 2);
    let (era, of_era) = (from_march.div_euclid(400), from_march.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    Some(era * DAYS_PER_ERA + day_of_era - EPOCH)
}

/// Year, month and day of a day's number; the inverse of [`day_number`].
pub fn civil(number: i64) -> (i64, u32, u32) {
    let shifted = number + EPOCH;
    let (era, day_of_era) = (shifted.div_euclid(DAYS_PER_ERA), shifted.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other() {
        let mut before = civil(-800_000);
        for number in -799_999..800_000 {
            let (year, month, day) = civil(number);
            assert_eq!(day_number(year, month.into(), day.into()), Some(number), "{year}-{month}-{day}");
            let (last_year, last_month, last_day) = before;
            let next_day = (year, month, day) == (last_year, last_month, last_day + 1);
            let next_month = (year, month, day) == (last_year, last_month + 1, 1);
            assert!(next_day || next_month || (year, month, day) == (last_year + 1, 1, 1), "{before:?}");
            before = (year, month, day);
        }
        assert_eq!((civil(0), civil(-1), civil(11_016)), ((1970, 1, 1), (1969, 12, 31), (2000, 2, 29)));
    }

    #[test]
    fn there_is_no_such_day() {
        for (year, month, day) in
            [(2026, 2, 29), (1900, 2, 29), (2026, 4, 31), (2026, 13, 1), (2026, 0, 1), (2026, 1, 0)]
        {
            assert_eq!(day_number(year, month, day), None, "{year}-{month}-{day}");
        }
    }
}
