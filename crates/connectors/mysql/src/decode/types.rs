//! Column types: from the catalog's text to how a value is decoded and to its Arrow type.

use super::charset::Charset;
use arrow_schema::{DataType, Field, TimeUnit};
use dujiang_core::schema::{self, LOGICAL_BIT, LOGICAL_ENUM, LOGICAL_JSON, LOGICAL_SET, LOGICAL_YEAR};
use dujiang_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A column's type as far as decoding is concerned.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnType {
    /// `TINYINT`, `BOOL`.
    TinyInt {
        /// Whether declared UNSIGNED (or ZEROFILL, which implies it).
        unsigned: bool,
    },
    /// `SMALLINT`.
    SmallInt {
        /// Whether declared UNSIGNED.
        unsigned: bool,
    },
    /// `MEDIUMINT`, three bytes in the log.
    MediumInt {
        /// Whether declared UNSIGNED.
        unsigned: bool,
    },
    /// `INT`.
    Int {
        /// Whether declared UNSIGNED.
        unsigned: bool,
    },
    /// `BIGINT`.
    BigInt {
        /// Whether declared UNSIGNED.
        unsigned: bool,
    },
    /// `DECIMAL(precision,scale)`.
    Decimal {
        /// Digits in all, 1 to 65.
        precision: u8,
        /// Digits after the point, at most 38.
        scale: u8,
    },
    /// `FLOAT`, four bytes.
    Float,
    /// `DOUBLE`, eight bytes.
    Double,
    /// `YEAR`.
    Year,
    /// `BIT(width)`.
    Bit {
        /// 1 to 64.
        width: u8,
    },
    /// `DATE`.
    Date,
    /// `TIME(fsp)`: a duration of up to ±838:59:59.
    Time {
        /// Digits after the seconds, 0 to 6.
        fsp: u8,
    },
    /// `DATETIME(fsp)`: wall clock.
    DateTime {
        /// Digits after the seconds, 0 to 6.
        fsp: u8,
    },
    /// `TIMESTAMP(fsp)`: an instant.
    Timestamp {
        /// Digits after the seconds, 0 to 6.
        fsp: u8,
    },
    /// `CHAR`, `VARCHAR`, the `TEXT` family, and MariaDB's `JSON`, which is a LONGTEXT.
    Text {
        /// How its bytes in the log are to be read.
        charset: Charset,
    },
    /// `BINARY(length)`; the log strips trailing zero bytes, which are put back.
    Binary {
        /// In bytes.
        length: u16,
    },
    /// `VARBINARY` and the `BLOB` family.
    Bytes,
    /// `ENUM`.
    Enum {
        /// In order of their index, which starts at 1; index 0 is the empty string of an invalid value.
        labels: Arc<[Box<str>]>,
    },
    /// `SET`.
    Set {
        /// In order of their bit.
        labels: Arc<[Box<str>]>,
    },
    /// MySQL's binary `JSON`.
    Json,
    /// MariaDB's `UUID`.
    Uuid,
    /// MariaDB's `INET4`.
    Inet4,
    /// MariaDB's `INET6`.
    Inet6,
    /// `VECTOR`: 4-byte floats, little-endian.
    Vector,
    /// The spatial types: SRID (4 bytes, little-endian) and WKB, as the server stores and sends them.
    Geometry,
}

impl ColumnType {
    /// Whether an integer type is unsigned; none for other types.
    pub fn is_unsigned(&self) -> Option<bool> {
        match self {
            Self::TinyInt { unsigned }
            | Self::SmallInt { unsigned }
            | Self::MediumInt { unsigned }
            | Self::Int { unsigned }
            | Self::BigInt { unsigned } => Some(*unsigned),
            _ => None,
        }
    }
}

/// One column of a captured table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name as the catalog spells it.
    pub name: Arc<str>,
    /// How to decode it.
    pub column_type: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Collation of a character column.
    pub collation: Option<Arc<str>>,
    /// Whether MariaDB stores it compressed (`COMPRESSED` attribute): its bytes in the log are then compressed, too.
    pub compressed: bool,
    /// The Arrow field, with the source type and the logical type as metadata.
    pub field: Field,
    /// What becomes of dates that are none.
    pub zero_dates: ZeroDates,
}

dujiang_core::choice! {
    /// What becomes of `0000-00-00`, `2020-00-15`, `2020-02-31` and the like.
    #[derive(Default, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub enum ZeroDates {
        /// Their records are dead letters.
        #[default]
        Error = "error",
        /// They become NULL, also in columns declared NOT NULL; not in keys.
        Null = "null",
        /// Columns of dates and times become text, as the server prints it.
        Text = "text",
    }
}

impl std::fmt::Display for ZeroDates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ZeroDates::Error => "error",
            ZeroDates::Null => "null",
            ZeroDates::Text => "text",
        })
    }
}

impl ZeroDates {
    /// Whether it is the default.
    pub fn is_error(&self) -> bool {
        *self == ZeroDates::Error
    }
}

impl Column {
    /// The same column under a policy; `in_key`: whether it belongs to the table's key, which has no NULLs.
    #[must_use]
    pub fn with_zero_dates(mut self, policy: ZeroDates, in_key: bool) -> Self {
        let is_date =
            matches!(self.column_type, ColumnType::Date | ColumnType::DateTime { .. } | ColumnType::Timestamp { .. });
        self.zero_dates = match policy {
            _ if !is_date => ZeroDates::Error,
            ZeroDates::Null if in_key => ZeroDates::Error,
            other => other,
        };
        match self.zero_dates {
            ZeroDates::Error => {}
            ZeroDates::Null => {
                self.nullable = true;
                self.field = self.field.with_nullable(true);
            }
            ZeroDates::Text => self.field = self.field.with_data_type(DataType::Utf8),
        }
        self
    }
}

/// A column as the catalog describes it (`information_schema.COLUMNS`).
#[derive(Debug, Clone, Copy)]
pub struct CatalogColumn<'a> {
    /// `COLUMN_NAME`.
    pub name: &'a str,
    /// `COLUMN_TYPE`, e.g. `int(10) unsigned`.
    pub column_type: &'a str,
    /// `CHARACTER_SET_NAME`.
    pub charset: Option<&'a str>,
    /// `COLLATION_NAME`.
    pub collation: Option<&'a str>,
    /// `IS_NULLABLE = 'YES'`.
    pub nullable: bool,
}

/// Reads a catalog column.
///
/// # Errors
/// [`Code::UnknownType`], naming column and type, when a value of that type could not be carried exactly.
pub fn column(catalog: CatalogColumn<'_>) -> Result<Column> {
    let declared = Declared::parse(catalog.column_type).ok_or_else(|| unknown(&catalog, "it cannot be read"))?;
    let column_type = column_type(&catalog, &declared)?;
    let (arrow, logical) = arrow_type(&column_type);
    Ok(Column {
        name: catalog.name.into(),
        nullable: catalog.nullable,
        collation: catalog.collation.map(Into::into),
        compressed: declared.has("compressed"),
        field: schema::field(catalog.name, arrow, catalog.nullable, catalog.column_type, logical),
        zero_dates: ZeroDates::Error,
        column_type,
    })
}

fn unknown(catalog: &CatalogColumn<'_>, why: &str) -> Error {
    Error::new(
        Code::UnknownType,
        format!("column {} has type {}, which is not supported: {why}", catalog.name, catalog.column_type),
    )
    .help("leave the table out of `tables`, or change the column's type at the source")
}

fn column_type(catalog: &CatalogColumn<'_>, declared: &Declared) -> Result<ColumnType> {
    let unsigned = declared.has("unsigned") || declared.has("zerofill");
    let fsp = || declared.number(0, 0, 6).ok_or_else(|| unknown(catalog, "it cannot be read"));
    Ok(match declared.base.as_str() {
        "tinyint" | "bool" | "boolean" => ColumnType::TinyInt { unsigned },
        "smallint" => ColumnType::SmallInt { unsigned },
        "mediumint" => ColumnType::MediumInt { unsigned },
        "int" | "integer" => ColumnType::Int { unsigned },
        "bigint" => ColumnType::BigInt { unsigned },
        "decimal" | "numeric" => decimal(catalog, declared)?,
        "float" => ColumnType::Float,
        "double" | "real" => ColumnType::Double,
        "year" if declared.number(0, 4, 4).is_some() => ColumnType::Year,
        "bit" => {
            ColumnType::Bit { width: declared.number(0, 1, 64).ok_or_else(|| unknown(catalog, "it cannot be read"))? }
        }
        "date" => ColumnType::Date,
        "time" => ColumnType::Time { fsp: fsp()? },
        "datetime" => ColumnType::DateTime { fsp: fsp()? },
        "timestamp" => ColumnType::Timestamp { fsp: fsp()? },
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(catalog)?,
        "binary" => ColumnType::Binary { length: declared.number(0, 1, 255).unwrap_or(0).into() },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => ColumnType::Bytes,
        "enum" => ColumnType::Enum { labels: declared.labels(catalog)? },
        "set" => ColumnType::Set { labels: declared.labels(catalog)? },
        "json" => ColumnType::Json,
        "vector" => ColumnType::Vector,
        "uuid" => ColumnType::Uuid,
        "inet4" => ColumnType::Inet4,
        "inet6" => ColumnType::Inet6,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => ColumnType::Geometry,
        _ => return Err(unknown(catalog, "no exact representation is known")),
    })
}

fn decimal(catalog: &CatalogColumn<'_>, declared: &Declared) -> Result<ColumnType> {
    let bad = || unknown(catalog, "precision or scale cannot be read");
    let precision = declared.number(0, 10, 65).filter(|p| *p > 0).ok_or_else(bad)?;
    let scale = declared.number(1, 0, precision).ok_or_else(bad)?;
    Ok(ColumnType::Decimal { precision, scale })
}

fn text(catalog: &CatalogColumn<'_>) -> Result<ColumnType> {
    let Some(name) = catalog.charset else {
        return Err(unknown(catalog, "the catalog names no character set"));
    };
    let charset = Charset::by_name(name)
        .ok_or_else(|| unknown(catalog, &format!("character set {name} cannot be converted exactly")))?;
    Ok(ColumnType::Text { charset })
}

/// The Arrow type of a column type, and its logical type where Arrow's alone does not say it.
pub fn arrow_type(column_type: &ColumnType) -> (DataType, Option<&'static str>) {
    let plain = match column_type {
        ColumnType::TinyInt { unsigned: false } => DataType::Int8,
        ColumnType::TinyInt { unsigned: true } => DataType::UInt8,
        ColumnType::SmallInt { unsigned: false } => DataType::Int16,
        ColumnType::SmallInt { unsigned: true } => DataType::UInt16,
        ColumnType::MediumInt { unsigned: false } | ColumnType::Int { unsigned: false } => DataType::Int32,
        ColumnType::MediumInt { unsigned: true } | ColumnType::Int { unsigned: true } => DataType::UInt32,
        ColumnType::BigInt { unsigned: false } => DataType::Int64,
        ColumnType::BigInt { unsigned: true } => DataType::UInt64,
        ColumnType::Decimal { precision, scale } if *precision <= 38 => {
            DataType::Decimal128(*precision, scale.cast_signed())
        }
        ColumnType::Decimal { precision, scale } => DataType::Decimal256(*precision, scale.cast_signed()),
        ColumnType::Float => DataType::Float32,
        ColumnType::Double => DataType::Float64,
        ColumnType::Date => DataType::Date32,
        ColumnType::Time { .. } => DataType::Duration(TimeUnit::Microsecond),
        ColumnType::DateTime { .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::Timestamp { .. } => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Text { .. } | ColumnType::Uuid | ColumnType::Inet4 | ColumnType::Inet6 => DataType::Utf8,
        ColumnType::Binary { .. } | ColumnType::Bytes | ColumnType::Geometry => DataType::Binary,
        ColumnType::Vector => vector(),
        ColumnType::Year => return (DataType::UInt16, Some(LOGICAL_YEAR)),
        ColumnType::Bit { .. } => return (DataType::UInt64, Some(LOGICAL_BIT)),
        ColumnType::Enum { .. } => return (DataType::Utf8, Some(LOGICAL_ENUM)),
        ColumnType::Set { .. } => return (DataType::Utf8, Some(LOGICAL_SET)),
        ColumnType::Json => return (DataType::Utf8, Some(LOGICAL_JSON)),
    };
    (plain, None)
}

/// The Arrow type of a vector: a list, since MySQL's may be shorter than declared.
pub(super) fn vector() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float32, false)))
}

/// The parts of a COLUMN_TYPE text.
struct Declared {
    base: String,
    arguments: Vec<String>,
    attributes: Vec<String>,
}

impl Declared {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let base = text[..end].to_ascii_lowercase();
        let mut rest = &text[end..];
        let mut arguments = Vec::new();
        if let Some(inner) = rest.strip_prefix('(') {
            rest = parse_arguments(inner, &mut arguments)?;
        }
        let attributes = rest
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        Some(Self { base, arguments, attributes })
    }

    fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a == attribute)
    }

    /// The argument at `index`, `default` if there is none, `None` if it is not a number up to `max`.
    fn number(&self, index: usize, default: u8, max: u8) -> Option<u8> {
        match self.arguments.get(index) {
            None => Some(default),
            Some(text) => text.trim().parse().ok().filter(|n| *n <= max),
        }
    }

    fn labels(&self, catalog: &CatalogColumn<'_>) -> Result<Arc<[Box<str>]>> {
        if self.arguments.is_empty() {
            return Err(unknown(catalog, "it has no labels"));
        }
        Ok(self.arguments.iter().map(|label| label.as_str().into()).collect())
    }
}

/// Reads `10,2)` or `'a','it''s')` up to and including the closing parenthesis; returns what follows.
fn parse_arguments<'a>(mut rest: &'a str, out: &mut Vec<String>) -> Option<&'a str> {
    loop {
        let argument;
        (argument, rest) = match rest.trim_start().strip_prefix('\'') {
            Some(quoted) => parse_label(quoted)?,
            None => {
                let end = rest.find([',', ')'])?;
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        out.push(argument);
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(')') {
            return Some(after);
        }
        rest = rest.strip_prefix(',')?;
    }
}

/// Reads a label after its opening quote. The catalog doubles quotes and escapes NUL, line ends and backslashes
/// (`append_unescaped`).
fn parse_label(quoted: &str) -> Option<(String, &str)> {
    let mut label = String::new();
    let mut characters = quoted.char_indices();
    loop {
        let (at, character) = characters.next()?;
        let rest = &quoted[at + character.len_utf8()..];
        match character {
            '\'' if rest.starts_with('\'') => {
                characters.next();
                label.push('\'');
            }
            '\'' => return Some((label, rest)),
            '\\' => label.push(match characters.next()?.1 {
                '0' => '\0',
                'n' => '\n',
                'r' => '\r',
                other => other,
            }),
            other => label.push(other),
        }
    }
}
