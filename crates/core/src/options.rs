//! One definition per option.
//!
//! [`options!`](crate::options!) turns a doc comment, a name, a type and a default into a struct, a parser that reports
//! every mistake at once with its place, and [`OptionDef`]s from which reference pages and the JSON Schema are made.
//!
//! ```
//! dujiang_core::options! {
//!     /// Options of the `mysql` source.
//!     pub struct MysqlOptions {
//!         /// Host name or address of the server.
//!         "hostname" => hostname: String, required;
//!         /// TCP port of the server.
//!         "port" => port: u16, default "3306";
//!         /// Tables to leave out.
//!         "tables.exclude" => tables_exclude: String, optional;
//!         /// Passed on to the JDBC driver elsewhere; here each is mapped or warned about.
//!         "jdbc.properties." => jdbc_properties: String, prefix;
//!     }
//! }
//! use dujiang_core::options::{Place, RawOption};
//! let raw = [RawOption::new("hostname", "db1", Place::CommandLine)];
//! let options = MysqlOptions::parse(&raw).unwrap();
//! assert_eq!((options.hostname.as_str(), options.port, options.tables_exclude), ("db1", 3306, None));
//! assert_eq!(MysqlOptions::parse(&[]).unwrap_err()[0].message, "required option `hostname` is missing");
//! ```

use crate::codes::Code;
use crate::secret::Secret;
use std::ops::Range;
use std::time::Duration;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the pipeline file.
    File(Range<usize>),
    /// An environment variable.
    Environment(String),
    /// A flag of the command.
    CommandLine,
    /// Nowhere: the block that should hold it is at these bytes, if there is one.
    Block(Option<Range<usize>>),
}

/// One `key: value` of a block, as raw text: `012345` stays `012345`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOption {
    /// The key as written.
    pub key: String,
    /// The value's text, references resolved.
    pub value: String,
    /// Where the key is.
    pub key_place: Place,
    /// Where the value is.
    pub value_place: Place,
}

impl RawOption {
    /// A value with one place for key and value.
    pub fn new(key: impl Into<String>, value: impl Into<String>, place: Place) -> Self {
        Self { key: key.into(), value: value.into(), key_place: place.clone(), value_place: place }
    }
}

/// One mistake, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The code.
    pub code: Code,
    /// One sentence without a full stop; never contains the value of a secret.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// A mistake.
    pub fn new(code: Code, message: impl Into<String>, place: Place) -> Self {
        Self { code, message: message.into(), place, help: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Whether an option must be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Must be given.
    Required,
    /// May be left out; then it is unset.
    Optional,
    /// May be left out; then this text is parsed.
    Default(&'static str),
    /// Any number of keys with this prefix.
    Prefix,
}

/// What an option's text may be; for reference pages and the JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionType {
    /// Any text.
    Text,
    /// Text that is never printed.
    Secret,
    /// A whole number within bounds.
    Integer {
        /// Smallest value.
        min: i128,
        /// Largest value.
        max: i128,
    },
    /// A number with a fraction.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A time span: `30s`, `5 min`, `1h`, `200ms`.
    Duration,
    /// A number of bytes: `64mb`, `1 gib`, `4096`.
    Bytes,
    /// Words in a list, or separated by commas.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One option, for reference pages, the JSON Schema and did-you-mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionDef {
    /// The key in the pipeline file; for a prefix with its closing dot.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// Whether it must be given.
    pub presence: Presence,
    /// What it may be.
    pub kind: OptionType,
}

/// A type that an option's text can be read as.
pub trait OptionValue: Sized {
    /// What the text may be.
    const KIND: OptionType;
    /// Reads the text; the error says what is acceptable, without repeating the text.
    ///
    /// # Errors
    /// A phrase that completes "`key` ...": "must be a whole number from 1 to 65535".
    fn from_text(text: &str) -> Result<Self, String>;
}

impl OptionValue for String {
    const KIND: OptionType = OptionType::Text;
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl OptionValue for Secret {
    const KIND: OptionType = OptionType::Secret;
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Secret::new(text))
    }
}

impl OptionValue for bool {
    const KIND: OptionType = OptionType::Boolean;
    fn from_text(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be `true` or `false`".into()),
        }
    }
}

impl OptionValue for f64 {
    const KIND: OptionType = OptionType::Number;
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| "must be a number".into())
    }
}

macro_rules! integer_options {
    ($($type:ty: $min:expr, $max:expr;)+) => {$(
        impl OptionValue for $type {
            const KIND: OptionType = OptionType::Integer { min: $min as i128, max: $max as i128 };
            fn from_text(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("must be a whole number from {} to {}", $min, $max))
            }
        }
    )+};
}
integer_options! {
    u16: u16::MIN, u16::MAX;
    u32: u32::MIN, u32::MAX;
    u64: u64::MIN, u64::MAX;
    i64: i64::MIN, i64::MAX;
    std::num::NonZeroU16: 1, u16::MAX;
    std::num::NonZeroU32: 1, u32::MAX;
    std::num::NonZeroU64: 1, u64::MAX;
}

impl OptionValue for Duration {
    const KIND: OptionType = OptionType::Duration;
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || "must be a time span such as `500ms`, `30s`, `5 min` or `1h`".to_owned();
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let millis = match unit.as_str() {
            "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
            "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl OptionValue for ByteSize {
    const KIND: OptionType = OptionType::Bytes;
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || "must be a number of bytes such as `64mb`, `1 gb` or `4096`".to_owned();
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let factor = match unit.as_str() {
            "" | "b" | "bytes" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1u64 << 40,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(ByteSize).ok_or_else(wrong)
    }
}

fn split_unit(text: &str) -> Option<(u64, String)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim().to_ascii_lowercase()))
}

/// Completes "`option` ..." for a text that is none of these words.
#[doc(hidden)]
pub fn one_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("must be {}{}", if words.len() > 1 { "one of " } else { "" }, words.join(", "))
}

/// Makes an option type of a list of words: `choice! { /// doc pub enum Mode { /// doc Initial = "initial" } }`.
#[macro_export]
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal ),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $( $(#[$vmeta])* $variant ),+ }

        impl $crate::options::OptionValue for $name {
            const KIND: $crate::options::OptionType = $crate::options::OptionType::Choice(&[$($word),+]);
            fn from_text(text: &str) -> ::std::result::Result<Self, String> {
                match text.to_ascii_lowercase().as_str() {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::options::one_of(&[$($word),+])),
                }
            }
        }
    };
}

/// Defines a block of options; see the module's documentation.
#[macro_export]
macro_rules! options {
    ($(#[$meta:meta])* pub struct $struct:ident {
        $( $(#[doc = $doc:literal])+ $key:literal => $field:ident : $type:ty, $presence:ident $($default:literal)? ; )*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $struct {
            $( $(#[doc = $doc])+ pub $field: $crate::options!(@field $type, $presence), )*
            places: Vec<(String, $crate::options::Place)>,
        }

        impl $struct {
            /// The definitions, in order.
            pub const DEFS: &'static [$crate::options::OptionDef] = &[
                $( $crate::options::OptionDef {
                    name: $key,
                    doc: concat!($($doc, "\n"),+),
                    presence: $crate::options!(@presence $presence $($default)?),
                    kind: <$type as $crate::options::OptionValue>::KIND,
                }, )*
            ];

            /// Reads a block, reporting every mistake at once.
            ///
            /// # Errors
            /// All problems, in the order of the block.
            pub fn parse(raw: &[$crate::options::RawOption]) -> ::std::result::Result<Self, Vec<$crate::options::Problem>> {
                let mut reader = $crate::options::BlockReader::new(raw, Self::DEFS);
                $( let $field = $crate::options!(@read reader, $key, $type, $presence $($default)?); )*
                let places = reader.finish()?;
                Ok(Self {
                    $( $field: $crate::options!(@unwrap $field, $presence), )*
                    places,
                })
            }

            /// Where the value of a key was written, for later checks that find fault with it.
            pub fn place(&self, key: &str) -> $crate::options::Place {
                self.places.iter().find(|(k, _)| k == key).map_or($crate::options::Place::Block(None), |(_, p)| p.clone())
            }
        }
    };
    (@field $type:ty, required) => { $type };
    (@field $type:ty, default) => { $type };
    (@field $type:ty, optional) => { Option<$type> };
    (@field $type:ty, prefix) => { Vec<(String, $type)> };
    (@presence required) => { $crate::options::Presence::Required };
    (@presence optional) => { $crate::options::Presence::Optional };
    (@presence prefix) => { $crate::options::Presence::Prefix };
    (@presence default $default:literal) => { $crate::options::Presence::Default($default) };
    (@read $reader:ident, $key:literal, $type:ty, required) => { $reader.required::<$type>($key) };
    (@read $reader:ident, $key:literal, $type:ty, optional) => { $reader.optional::<$type>($key) };
    (@read $reader:ident, $key:literal, $type:ty, prefix) => { $reader.prefix::<$type>($key) };
    (@read $reader:ident, $key:literal, $type:ty, default $default:literal) => { $reader.or_default::<$type>($key, $default) };
    (@unwrap $field:ident, required) => { $field.expect("invariant: the reader reported what is missing") };
    (@unwrap $field:ident, default) => { $field.expect("invariant: the reader reported what is missing") };
    (@unwrap $field:ident, optional) => { $field };
    (@unwrap $field:ident, prefix) => { $field };
}

/// The first sentence of an option's text, on one line and without its full stop.
fn first_sentence(doc: &str) -> String {
    let line = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.find(". ").unwrap_or(line.len());
    line[..end].trim_end_matches('.').to_owned()
}

/// Reads one block for the code that [`options!`](crate::options!) makes.
pub struct BlockReader<'a> {
    raw: &'a [RawOption],
    defs: &'static [OptionDef],
    problems: Vec<Problem>,
}

impl<'a> BlockReader<'a> {
    /// Starts by reporting unknown and duplicate keys.
    pub fn new(raw: &'a [RawOption], defs: &'static [OptionDef]) -> Self {
        let mut problems = Vec::new();
        for option in raw {
            let known = defs.iter().any(|def| match def.presence {
                Presence::Prefix => option.key.starts_with(def.name) && option.key.len() > def.name.len(),
                _ => option.key == def.name,
            });
            if !known {
                let message = format!("unknown option `{}`", option.key);
                let mut problem = Problem::new(Code::UnknownKey, message, option.key_place.clone());
                problem.help =
                    nearest(&option.key, defs.iter().map(|d| d.name)).map(|n| format!("did you mean `{n}`?"));
                problems.push(problem);
            }
        }
        Self { raw, defs, problems }
    }

    fn find(&self, key: &str) -> Option<&'a RawOption> {
        self.raw.iter().rev().find(|o| o.key == key)
    }

    fn convert<T: OptionValue>(&mut self, option: &RawOption) -> Option<T> {
        match T::from_text(&option.value) {
            Ok(value) => Some(value),
            Err(why) => {
                let message = format!("`{}` {why}", option.key);
                self.problems.push(Problem::new(Code::BadValue, message, option.value_place.clone()));
                None
            }
        }
    }

    /// A required option.
    pub fn required<T: OptionValue>(&mut self, key: &'static str) -> Option<T> {
        match self.find(key) {
            Some(option) => self.convert(option),
            None => {
                let message = format!("required option `{key}` is missing");
                let mut problem = Problem::new(Code::MissingKey, message, Place::Block(None));
                let def = self.defs.iter().find(|def| def.name == key);
                problem.help = def.map(|def| format!("add `{key}`: {}", first_sentence(def.doc)));
                self.problems.push(problem);
                None
            }
        }
    }

    /// An optional option.
    pub fn optional<T: OptionValue>(&mut self, key: &'static str) -> Option<T> {
        self.find(key).and_then(|option| self.convert(option))
    }

    /// An option with a default.
    pub fn or_default<T: OptionValue>(&mut self, key: &'static str, default: &'static str) -> Option<T> {
        match self.find(key) {
            Some(option) => self.convert(option),
            None => Some(T::from_text(default).unwrap_or_else(|e| panic!("invariant: the default of `{key}` {e}"))),
        }
    }

    /// All options with a prefix, without it.
    pub fn prefix<T: OptionValue>(&mut self, prefix: &'static str) -> Vec<(String, T)> {
        let all = self.raw.iter().filter(|o| o.key.starts_with(prefix) && o.key.len() > prefix.len());
        all.filter_map(|o| Some((o.key[prefix.len()..].to_owned(), self.convert(o)?))).collect()
    }

    /// The places of all values, or every problem.
    ///
    /// # Errors
    /// Every problem found.
    pub fn finish(self) -> Result<Vec<(String, Place)>, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        Ok(self.raw.iter().map(|o| (o.key.clone(), o.value_place.clone())).collect())
    }
}

/// The nearest of some known names, if one is near enough to suggest.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (distance(word, name), name))
        .filter(|(d, name)| *d <= (name.len() / 3).max(1))
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn one word into another.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::options! {
        /// For the tests.
        pub struct Sample {
            /// A host.
            "hostname" => hostname: String, required;
            /// A port.
            "port" => port: u16, default "3306";
            /// A span.
            "wait" => wait: Duration, optional;
            /// Anything.
            "properties." => properties: String, prefix;
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let raw = ["hostnme", "port", "wait"].map(|k| RawOption::new(k, "70000x", Place::File(0..1)));
        let problems = Sample::parse(&raw).unwrap_err();
        let codes: Vec<_> = problems.iter().map(|p| p.code).collect();
        assert_eq!(codes, [Code::UnknownKey, Code::MissingKey, Code::BadValue, Code::BadValue]);
        assert_eq!(problems[0].help.as_deref(), Some("did you mean `hostname`?"));
        assert!(problems[1].help.as_deref().is_some_and(|help| help.starts_with("add `hostname`: ")), "{problems:?}");
    }

    #[test]
    fn prefixes_and_units_are_read() {
        let raw = [("hostname", "h"), ("wait", "5 min"), ("properties.a.b", "1")]
            .map(|(k, v)| RawOption::new(k, v, Place::CommandLine));
        let sample = Sample::parse(&raw).unwrap();
        assert_eq!((sample.hostname.as_str(), sample.port), ("h", 3306));
        assert_eq!(sample.wait, Some(Duration::from_secs(300)));
        assert_eq!(sample.properties, [("a.b".to_owned(), "1".to_owned())]);
        assert_eq!(sample.place("wait"), Place::CommandLine);
        assert_eq!(ByteSize::from_text("64 MB"), Ok(ByteSize(64 << 20)));
    }
}
