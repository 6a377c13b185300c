//! Types as the catalog spells them.

use super::column::{NewColumn, NewType};
use super::lexer::{REAL_AS_FLOAT, Reading};

/// The catalog's spelling of a column's type; `charset` is the column's, were it a character column.
///
/// # Errors
/// For people: why it cannot be told.
pub(super) fn spelled(column: &NewColumn, charset: &str, reading: &Reading) -> Result<String, String> {
    let new = &column.column_type;
    let number = |at: usize| new.arguments.get(at).map(String::as_str);
    let sign = match (new.unsigned || new.zerofill, new.zerofill) {
        (_, true) => " unsigned zerofill",
        (true, false) => " unsigned",
        _ => "",
    };
    let is_binary = charset == "binary";
    let spelled = match new.base.as_str() {
        base @ ("tinyint" | "smallint" | "mediumint" | "int" | "bigint") => {
            integer(base, number(0), new, reading) + sign
        }
        "decimal" => format!("decimal({},{}){sign}", number(0).unwrap_or("10"), number(1).unwrap_or("0")),
        "float" => match (number(0).map(str::parse::<u32>), number(1)) {
            (Some(m), Some(d)) => format!("float({},{d}){sign}", m.map_err(|_| "its width is no number")?),
            (Some(Ok(25..)), None) => format!("double{sign}"),
            _ => format!("float{sign}"),
        },
        base @ ("double" | "real") => {
            let base = if base == "real" && reading.has(REAL_AS_FLOAT) { "float" } else { "double" };
            match (number(0), number(1)) {
                (Some(m), Some(d)) => format!("{base}({m},{d}){sign}"),
                _ => format!("{base}{sign}"),
            }
        }
        "bit" => format!("bit({})", number(0).unwrap_or("1")),
        "year" => {
            if shows_widths(reading) {
                "year(4)".into()
            } else {
                "year".to_owned()
            }
        }
        "date" => "date".into(),
        base @ ("time" | "datetime" | "timestamp") => match number(0) {
            Some(digits) if digits != "0" => format!("{base}({digits})"),
            _ => base.to_owned(),
        },
        "char" => format!("{}({})", if is_binary { "binary" } else { "char" }, number(0).unwrap_or("1")),
        "binary" => format!("binary({})", number(0).unwrap_or("1")),
        "varchar" => {
            format!("{}({})", if is_binary { "varbinary" } else { "varchar" }, number(0).ok_or("it has no length")?)
        }
        "varbinary" => format!("varbinary({})", number(0).ok_or("it has no length")?),
        base @ ("tinytext" | "text" | "mediumtext" | "longtext") => {
            let sized = sized(base, "text", number(0), widest(charset))?;
            if is_binary { sized.replace("text", "blob") } else { sized }
        }
        base @ ("tinyblob" | "blob" | "mediumblob" | "longblob") => sized(base, "blob", number(0), 1)?,
        base @ ("enum" | "set") => format!("{base}({})", labels(new)),
        "json" if reading.mariadb => "longtext".into(),
        base => match number(0) {
            Some(argument) => format!("{base}({argument})"),
            None => base.to_owned(),
        },
    };
    Ok(if new.compressed { spelled + " /*M!100301 COMPRESSED*/" } else { spelled })
}

/// MySQL has shown no display widths since 8.0.19, other than that of TINYINT(1) and with ZEROFILL.
fn shows_widths(reading: &Reading) -> bool {
    reading.mariadb || reading.version < 80_019
}

fn integer(base: &str, width: Option<&str>, new: &NewType, reading: &Reading) -> String {
    let unsigned = new.unsigned || new.zerofill;
    let width = match (width, base) {
        (Some(width), _) => width,
        (None, "tinyint") if unsigned => "3",
        (None, "tinyint") => "4",
        (None, "smallint") if unsigned => "5",
        (None, "smallint") => "6",
        (None, "mediumint") if unsigned => "8",
        (None, "mediumint") => "9",
        (None, "int") if unsigned => "10",
        (None, "int") => "11",
        (None, _) => "20",
    };
    let shown = shows_widths(reading) || new.zerofill || (base == "tinyint" && width == "1" && !unsigned);
    if shown { format!("{base}({width})") } else { base.to_owned() }
}

/// `TEXT(n)` is the smallest type that holds n characters.
fn sized(base: &str, kind: &str, length: Option<&str>, widest: u64) -> Result<String, String> {
    let Some(length) = length.filter(|_| base == kind) else { return Ok(base.to_owned()) };
    let bytes = length.parse::<u64>().map_err(|_| "its length is no number")?.saturating_mul(widest);
    let size = match bytes {
        0..=0xff => "tiny",
        0x100..=0xffff => "",
        0x1_0000..=0xff_ffff => "medium",
        _ => "long",
    };
    Ok(format!("{size}{kind}"))
}

/// Bytes of the widest character.
pub(super) fn widest(charset: &str) -> u64 {
    match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        "utf8mb3" | "utf8" | "ujis" | "eucjpms" => 3,
        "ucs2" | "gbk" | "cp932" | "euckr" | "big5" | "sjis" | "gb2312" => 2,
        _ => 1,
    }
}

/// As the catalog quotes them (`append_unescaped`); the server drops spaces at their ends.
fn labels(new: &NewType) -> String {
    let quoted = |label: &String| {
        let mut out = String::from("'");
        for c in label.trim_end_matches(' ').chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\0' => out.push_str("\\0"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\'' => out.push_str("''"),
                c => out.push(c),
            }
        }
        out + "'"
    };
    new.arguments.iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// Whether values of a type are characters, so that it has a character set.
pub(super) fn has_charset(spelled: &str) -> bool {
    let base = spelled.split(['(', ' ']).next().unwrap_or_default();
    matches!(base, "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set")
}
