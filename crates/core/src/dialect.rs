//! Type names of Flink CDC's pipeline dialect: the name a column prints, and the column a name stands for.
//!
//! The dialect has no unsigned integers, no bit strings and no decimals beyond 38 digits; such a column has the name of the
//! type the dialect gives it (docs/reference/types.md), which may be wider than what is carried.

mod parse;

use crate::schema::{self, LOGICAL_BIT, META_SOURCE_TYPE};
use arrow_schema::{DataType, Field, TimeUnit};

pub use parse::parse_field;

/// The dialect's name of a column's type, with ` NOT NULL` where it holds, e.g. `DECIMAL(10, 2) NOT NULL`.
pub fn type_name(field: &Field) -> String {
    let name = nullable_name(field);
    if field.is_nullable() { name } else { name + " NOT NULL" }
}

fn nullable_name(field: &Field) -> String {
    let declared = Declared::of(field);
    match field.data_type() {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 => "TINYINT".into(),
        DataType::Int16 | DataType::UInt8 => "SMALLINT".into(),
        DataType::Int32 | DataType::UInt16 => "INT".into(),
        DataType::UInt32 if declared.word == "mediumint" => "INT".into(),
        DataType::Int64 | DataType::UInt32 => "BIGINT".into(),
        DataType::UInt64 if schema::logical(field) == Some(LOGICAL_BIT) => match declared.argument.unwrap_or(1) {
            1 => "BOOLEAN".into(),
            bits => format!("BINARY({})", bits.div_ceil(8)),
        },
        DataType::UInt64 => "DECIMAL(20, 0)".into(),
        DataType::Float16 | DataType::Float32 => "FLOAT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
            format!("DECIMAL({p}, {s})")
        }
        DataType::Date32 | DataType::Date64 => "DATE".into(),
        DataType::Time32(unit) | DataType::Time64(unit) | DataType::Duration(unit) => {
            format!("TIME({})", declared.precision(*unit))
        }
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", declared.precision(*unit)),
        DataType::Timestamp(unit, Some(_)) if declared.zoned => {
            format!("TIMESTAMP({}) WITH TIME ZONE", declared.precision(*unit))
        }
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", declared.precision(*unit)),
        DataType::FixedSizeBinary(length) => format!("BINARY({length})"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            match (declared.word.as_str(), declared.argument) {
                ("binary", Some(n)) if n > 0 => format!("BINARY({n})"),
                ("varbinary", Some(n)) if n > 0 => format!("VARBINARY({n})"),
                (word, _) if SPATIAL.contains(&word) => "STRING".into(),
                _ => "BYTES".into(),
            }
        }
        DataType::Dictionary(_, values) => nullable_name(&field.clone().with_data_type(values.as_ref().clone())),
        nested => nested_name(nested).unwrap_or_else(|| text_name(&declared)),
    }
}

/// The source's names of geometry, carried as bytes; the dialect knows them as text.
const SPATIAL: &[&str] = &[
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
];

fn nested_name(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(format!("ARRAY<{}>", type_name(item)))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) if parts.len() == 2 => {
                Some(format!("MAP<{}, {}>", type_name(&parts[0]), type_name(&parts[1])))
            }
            _ => None,
        },
        DataType::Struct(fields) => {
            let parts: Vec<String> = fields.iter().map(|f| format!("{} {}", quoted(f.name()), type_name(f))).collect();
            Some(format!("ROW<{}>", parts.join(", ")))
        }
        _ => None,
    }
}

fn text_name(declared: &Declared) -> String {
    match (declared.word.as_str(), declared.argument) {
        ("char", Some(n)) if n > 0 => format!("CHAR({n})"),
        ("varchar", Some(n)) if n > 0 => format!("VARCHAR({n})"),
        ("variant", _) => "VARIANT".into(),
        _ => "STRING".into(),
    }
}

/// A name in the dialect's quotes.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// What the source's own type says beyond the Arrow type.
struct Declared {
    /// First word, in lower case.
    word: String,
    /// First number in brackets.
    argument: Option<u32>,
    /// Whether it says `with time zone`.
    zoned: bool,
}

impl Declared {
    fn of(field: &Field) -> Self {
        let text = field.metadata().get(META_SOURCE_TYPE).map_or("", String::as_str).to_ascii_lowercase();
        let word: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let rest = text.split_once('(').map(|(_, rest)| rest);
        let argument = rest.and_then(|rest| rest.split([',', ')']).next()).and_then(|n| n.trim().parse().ok());
        Self { word, argument, zoned: text.ends_with(" with time zone") }
    }

    /// Digits of a second: those declared; MySQL's types without a number have none; otherwise those of the unit.
    fn precision(&self, unit: TimeUnit) -> u32 {
        match (self.word.as_str(), self.argument) {
            ("time" | "datetime" | "timestamp" | "timestamp_ltz" | "timestamptz", Some(digits)) if digits <= 9 => {
                digits
            }
            ("time" | "datetime" | "timestamp", None) => 0,
            _ => match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::field;

    fn name(data_type: DataType, source: &str, logical: Option<&str>) -> String {
        type_name(&field("c", data_type, true, source, logical))
    }

    #[test]
    fn mysqls_types_have_the_dialects_names() {
        let micros = TimeUnit::Microsecond;
        let cases = [
            (DataType::Int8, "tinyint(1)", None, "TINYINT"),
            (DataType::UInt8, "tinyint(3) unsigned", None, "SMALLINT"),
            (DataType::UInt32, "int(10) unsigned", None, "BIGINT"),
            (DataType::UInt32, "mediumint(8) unsigned", None, "INT"),
            (DataType::UInt64, "bigint(20) unsigned", None, "DECIMAL(20, 0)"),
            (DataType::UInt64, "bit(1)", Some(LOGICAL_BIT), "BOOLEAN"),
            (DataType::UInt64, "bit(12)", Some(LOGICAL_BIT), "BINARY(2)"),
            (DataType::Decimal128(12, 2), "decimal(12,2)", None, "DECIMAL(12, 2)"),
            (DataType::Decimal256(60, 2), "decimal(60,2)", None, "STRING"),
            (DataType::Utf8, "varchar(80)", None, "VARCHAR(80)"),
            (DataType::Utf8, "char(3)", None, "CHAR(3)"),
            (DataType::Utf8, "varchar(0)", None, "STRING"),
            (DataType::Utf8, "longtext", None, "STRING"),
            (DataType::Binary, "varbinary(7)", None, "VARBINARY(7)"),
            (DataType::Binary, "blob", None, "BYTES"),
            (DataType::Binary, "point", None, "STRING"),
            (DataType::Duration(micros), "time(3)", None, "TIME(3)"),
            (DataType::Timestamp(micros, None), "datetime", None, "TIMESTAMP(0)"),
            (DataType::Timestamp(micros, Some("UTC".into())), "timestamp(6)", None, "TIMESTAMP_LTZ(6)"),
        ];
        for (data_type, source, logical, expected) in cases {
            assert_eq!(name(data_type, source, logical), expected, "{source}");
        }
        assert_eq!(type_name(&Field::new("c", DataType::Int64, false)), "BIGINT NOT NULL");
        assert_eq!(quoted("a`b"), "`a``b`");
    }

    #[test]
    fn every_type_of_the_dialect_reads_back_as_it_is_printed() {
        let names = [
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INT",
            "BIGINT",
            "FLOAT",
            "DOUBLE",
            "DECIMAL(10, 0)",
            "DECIMAL(38, 18) NOT NULL",
            "CHAR(3)",
            "VARCHAR(17)",
            "STRING",
            "BINARY(4)",
            "VARBINARY(9)",
            "BYTES",
            "DATE",
            "TIME(0)",
            "TIME(6)",
            "TIMESTAMP(3)",
            "TIMESTAMP(9)",
            "TIMESTAMP_LTZ(6) NOT NULL",
            "TIMESTAMP(6) WITH TIME ZONE",
            "ARRAY<INT>",
            "MAP<STRING NOT NULL, BIGINT>",
            "ROW<`a` INT NOT NULL, `b``c` ARRAY<STRING>>",
            "VARIANT",
        ];
        for name in names {
            assert_eq!(type_name(&parse_field("c", name).unwrap()), name);
        }
    }

    #[test]
    fn other_spellings_are_read_too() {
        let cases = [
            ("integer", "INT"),
            ("Decimal", "DECIMAL(10, 0)"),
            ("numeric(5)", "DECIMAL(5, 0)"),
            ("timestamp", "TIMESTAMP(6)"),
            ("TIMESTAMP(3) WITH LOCAL TIME ZONE NOT NULL", "TIMESTAMP_LTZ(3) NOT NULL"),
            ("time", "TIME(0)"),
            ("row<a int, b string>", "ROW<`a` INT, `b` STRING>"),
            ("int null", "INT"),
        ];
        for (text, expected) in cases {
            assert_eq!(type_name(&parse_field("c", text).unwrap()), expected, "{text}");
        }
        for bad in ["", "uuid", "decimal(39, 2)", "decimal(3, 4)", "array<int", "int x", "char(0)", "timestamp(10)"] {
            assert!(parse_field("c", bad).is_err(), "{bad}");
        }
        let deep = "ARRAY<".repeat(5_000) + "INT" + &">".repeat(5_000);
        assert!(parse_field("c", &deep).unwrap_err().contains("deep"));
    }
}
