//! Java's patterns of dates and times (`yyyy-MM-dd HH:mm:ss.SSS`), for printing and for reading.

use super::civil;
use chrono::{Datelike, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;
use dujiang_core::Error;
use std::fmt::Write;

/// A pattern, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(char, usize),
}

/// Letters this program knows, of Java's.
const LETTERS: &str = "GyuMLdDQqEeHhkKmsSaxXZzVw";
/// Widest field; Java's own numbers have 19 digits at most.
const WIDEST: usize = 19;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A time to be printed.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    micros: i64,
    offset: i32,
    zone: Tz,
}

impl Moment {
    /// A wall clock.
    pub fn local(micros: i64) -> Self {
        Self { micros, offset: 0, zone: Tz::UTC }
    }

    /// An instant as the clock of a zone shows it.
    pub fn instant(micros: i64, zone: Tz) -> Result<Self, Error> {
        let utc = civil::date_time(micros).ok_or_else(civil::beyond)?;
        let offset = zone.offset_from_utc_datetime(&utc).fix().local_minus_utc();
        Ok(Self { micros: civil::to_local(micros, zone)?, offset, zone })
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A phrase saying which letter is unknown.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let literal = |pieces: &mut Vec<Piece>, c: char| match pieces.last_mut() {
            Some(Piece::Literal(text)) => text.push(c),
            _ => pieces.push(Piece::Literal(c.to_string())),
        };
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                if chars.next_if_eq(&'\'').is_some() {
                    literal(&mut pieces, '\'');
                    continue;
                }
                loop {
                    match chars.next() {
                        None => return Err("a quote is never closed".to_owned()),
                        Some('\'') if chars.next_if_eq(&'\'').is_some() => literal(&mut pieces, '\''),
                        Some('\'') => break,
                        Some(inside) => literal(&mut pieces, inside),
                    }
                }
            } else if c.is_ascii_alphabetic() {
                let mut width = 1;
                while chars.next_if_eq(&c).is_some() {
                    width += 1;
                }
                if !LETTERS.contains(c) {
                    return Err(format!("the letter `{c}` stands for nothing; put text between quotes: '{c}'"));
                }
                if width > WIDEST {
                    return Err(format!("{width} times `{c}` is too wide"));
                }
                pieces.push(Piece::Field(c, width));
            } else {
                literal(&mut pieces, c);
            }
        }
        Ok(Self(pieces))
    }

    /// Appends the time.
    ///
    /// # Errors
    /// For times beyond some 262,000 years.
    pub fn print(&self, moment: &Moment, out: &mut String) -> Result<(), Error> {
        let date = civil::date(civil::day_of(moment.micros)).ok_or_else(civil::beyond)?;
        let clock = moment.micros.rem_euclid(civil::DAY);
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(letter, width) => {
                    if !date_field(*letter, *width, date, out) && !clock_field(*letter, *width, clock, out) {
                        zone_field(*letter, *width, moment, out);
                    }
                }
            }
        }
        Ok(())
    }
}

fn padded(value: i64, width: usize, out: &mut String) {
    if value < 0 {
        out.push('-');
    }
    write!(out, "{:0width$}", value.abs()).expect("invariant: a string takes any text");
}

fn named(name: &str, width: usize, out: &mut String) {
    out.push_str(if width >= 4 { name } else { &name[..3] });
}

fn date_field(letter: char, width: usize, date: NaiveDate, out: &mut String) -> bool {
    let year_of_era = if date.year() <= 0 { 1 - date.year() } else { date.year() };
    match letter {
        'G' => out.push_str(if date.year() <= 0 { "BC" } else { "AD" }),
        'y' if width == 2 => padded(i64::from(year_of_era % 100), 2, out),
        'u' if width == 2 => padded(i64::from(date.year().rem_euclid(100)), 2, out),
        'y' => padded(i64::from(year_of_era), width, out),
        'u' => padded(i64::from(date.year()), width, out),
        'M' | 'L' if width >= 3 => named(MONTHS[date.month0() as usize], width, out),
        'M' | 'L' => padded(i64::from(date.month()), width, out),
        'd' => padded(i64::from(date.day()), width, out),
        'D' => padded(i64::from(date.ordinal()), width, out),
        'Q' | 'q' if width == 3 => {
            write!(out, "Q{}", date.month0() / 3 + 1).expect("invariant: a string takes any text")
        }
        'Q' | 'q' => padded(i64::from(date.month0() / 3 + 1), width, out),
        'w' => padded(i64::from(date.iso_week().week()), width, out),
        'E' => named(DAYS[date.weekday().num_days_from_monday() as usize], width, out),
        'e' => padded(i64::from(date.weekday().number_from_sunday()), width, out),
        _ => return false,
    }
    true
}

fn clock_field(letter: char, width: usize, micros: i64, out: &mut String) -> bool {
    let hour = micros / civil::HOUR;
    match letter {
        'H' => padded(hour, width, out),
        'k' => padded(if hour == 0 { 24 } else { hour }, width, out),
        'K' => padded(hour % 12, width, out),
        'h' => padded(if hour % 12 == 0 { 12 } else { hour % 12 }, width, out),
        'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'm' => padded(micros / civil::MINUTE % 60, width, out),
        's' => padded(micros / civil::SECOND % 60, width, out),
        'S' => {
            let digits = format!("{:06}", micros % civil::SECOND);
            out.push_str(&format!("{digits:0<19}")[..width]);
        }
        _ => return false,
    }
    true
}

fn zone_field(letter: char, width: usize, moment: &Moment, out: &mut String) {
    match letter {
        'V' | 'z' => out.push_str(moment.zone.name()),
        'X' if moment.offset == 0 => out.push('Z'),
        _ => {
            let (sign, seconds) = if moment.offset < 0 { ('-', -moment.offset) } else { ('+', moment.offset) };
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let text = match (letter, width) {
                ('x' | 'X', 1) if minutes == 0 => format!("{sign}{hours:02}"),
                ('x' | 'X', 3) | ('Z', 5) => format!("{sign}{hours:02}:{minutes:02}"),
                _ => format!("{sign}{hours:02}{minutes:02}"),
            };
            out.push_str(&text);
        }
    }
}

/// What has been read so far.
struct Read {
    year: i64,
    month: u32,
    day: u32,
    day_of_year: Option<u32>,
    hour: i64,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    before_christ: bool,
}

impl Pattern {
    /// The wall clock a text stands for; `None` when it does not follow the pattern. What the pattern leaves out is the
    /// beginning of 1970.
    pub fn parse(&self, text: &str) -> Option<i64> {
        let mut read = Read {
            year: 1970,
            month: 1,
            day: 1,
            day_of_year: None,
            hour: 0,
            afternoon: None,
            minute: 0,
            second: 0,
            micros: 0,
            before_christ: false,
        };
        let mut rest = text;
        for (at, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Piece::Field(letter, width) => {
                    let digit_follows =
                        matches!(self.0.get(at + 1), Some(Piece::Field(next, _)) if !"aEGzVXxZ".contains(*next));
                    rest = read.field(*letter, *width, digit_follows, rest)?;
                }
            }
        }
        if !rest.is_empty() {
            return None;
        }
        read.micros()
    }
}

impl Read {
    fn field<'t>(&mut self, letter: char, width: usize, digit_follows: bool, rest: &'t str) -> Option<&'t str> {
        match letter {
            'M' | 'L' if width >= 3 => {
                let (index, rest) = name(&MONTHS, width, rest)?;
                self.month = index as u32 + 1;
                return Some(rest);
            }
            'E' => return name(&DAYS, width, rest).map(|(_, rest)| rest),
            'a' | 'G' => {
                let word = rest.get(..2)?.to_ascii_uppercase();
                match word.as_str() {
                    "AM" if letter == 'a' => self.afternoon = Some(false),
                    "PM" if letter == 'a' => self.afternoon = Some(true),
                    "AD" if letter == 'G' => self.before_christ = false,
                    "BC" if letter == 'G' => self.before_christ = true,
                    _ => return None,
                }
                return rest.get(2..);
            }
            _ => {}
        }
        let most = if digit_follows || letter == 'S' { width } else { 9.max(width) };
        let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if count == 0 || (digit_follows && count != width) || (letter == 'S' && count != width) {
            return None;
        }
        self.number(letter, width, &rest[..count])?;
        Some(&rest[count..])
    }

    fn number(&mut self, letter: char, width: usize, digits: &str) -> Option<()> {
        let value: i64 = digits.parse().ok()?;
        match letter {
            'y' | 'u' if width == 2 && digits.len() == 2 => self.year = 2000 + value,
            'y' | 'u' => self.year = value,
            'M' | 'L' => self.month = u32::try_from(value).ok()?,
            'd' => self.day = u32::try_from(value).ok()?,
            'D' => self.day_of_year = Some(u32::try_from(value).ok()?),
            'H' => self.hour = value,
            'k' => self.hour = if value == 24 { 0 } else { value },
            'K' => self.hour = value,
            'h' => self.hour = if value == 12 { 0 } else { value },
            'm' => self.minute = value,
            's' => self.second = value,
            'S' => self.micros = format!("{digits:0<6}").get(..6)?.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    fn micros(&self) -> Option<i64> {
        let year = i32::try_from(if self.before_christ { 1 - self.year } else { self.year }).ok()?;
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month, self.day)?,
        };
        let hour = self.hour + if self.afternoon == Some(true) { 12 } else { 0 };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let clock = hour * civil::HOUR + self.minute * civil::MINUTE + self.second * civil::SECOND + self.micros;
        (i64::from(civil::days(date))).checked_mul(civil::DAY)?.checked_add(clock)
    }
}

fn name<'t>(names: &[&str], width: usize, rest: &'t str) -> Option<(usize, &'t str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = if width >= 4 { name } else { &name[..3] };
        let head = rest.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| (index, &rest[name.len()..]))
    })
}
