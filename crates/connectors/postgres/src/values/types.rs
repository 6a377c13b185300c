//! PostgreSQL's types, as the catalog describes them, and what becomes of their values.

use super::kind::PgKind;
use dujiang_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Object ids of built-in types that have a kind of their own (`pg_type.dat`); they are the same on every server.
mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const XID: u32 = 28;
    pub const CID: u32 = 29;
    pub const JSON: u32 = 114;
    pub const CIDR: u32 = 650;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const MACADDR8: u32 = 774;
    pub const MONEY: u32 = 790;
    pub const MACADDR: u32 = 829;
    pub const INET: u32 = 869;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const TIMETZ: u32 = 1266;
    pub const BIT: u32 = 1560;
    pub const VARBIT: u32 = 1562;
    pub const NUMERIC: u32 = 1700;
    pub const UUID: u32 = 2950;
    pub const PG_LSN: u32 = 3220;
    pub const JSONB: u32 = 3802;
    pub const XID8: u32 = 5069;
}

dujiang_core::choice! {
    /// How values that have both forms are carried.
    #[derive(Default)]
    pub enum ValueForm {
        /// As columns of their own type; a value that does not fit it is an error of its record.
        #[default]
        Native = "native",
        /// As the text the server prints, whatever the value.
        Text = "text",
    }
}

/// What a database and the pipeline's options say about values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ValueSettings {
    /// Arrays of one dimension: lists, or text.
    pub arrays: ValueForm,
    /// Dates, times of day and timestamps.
    pub times: ValueForm,
    /// Digits that the database's `lc_monetary` gives to `money` after the point.
    pub money_scale: i8,
    /// Whether the database does not check its text (its encoding is `SQL_ASCII`).
    pub unchecked_text: bool,
}

/// A type in the catalog's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgType {
    /// `pg_type.oid`.
    pub oid: u32,
    /// Its name without schema.
    pub name: String,
    /// Its name as `format_type` prints it.
    pub shown: String,
    /// `pg_type.typtype`: `b`ase, `c`omposite, `d`omain, `e`num, `p`seudo, `r`ange, `m`ultirange.
    pub class: char,
    /// The type of its elements, when it is an array.
    pub element: Option<u32>,
    /// What stands between its values in the text of an array.
    pub delimiter: char,
    /// The type below a domain, and its modifier.
    pub base: Option<(u32, i32)>,
    /// Dimensions that a domain over an array declares.
    pub dimensions: i32,
    /// Its output function, quoted and with schema.
    pub output: String,
    /// The extension it belongs to.
    pub extension: Option<String>,
}

/// All types that some tables use, and those below them.
#[derive(Debug, Clone, Default)]
pub struct Types(HashMap<u32, PgType>);

impl FromIterator<PgType> for Types {
    fn from_iter<I: IntoIterator<Item = PgType>>(types: I) -> Self {
        Self(types.into_iter().map(|t| (t.oid, t)).collect())
    }
}

/// A column's type, as far as its values depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// `pg_type.oid`.
    pub oid: u32,
    /// `atttypmod`, -1 for none.
    pub modifier: i32,
    /// Dimensions an array is declared with; the server does not enforce them.
    pub dimensions: i32,
    /// Whether its collation tells apart what has different bytes.
    pub deterministic: bool,
    /// Whether the column is part of the table's key.
    pub in_key: bool,
}

/// What becomes of a column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// How they are carried.
    pub kind: PgKind,
    /// The type, for people.
    pub source_type: String,
    /// The output function to ask for, when the binary form is not read here.
    pub output: Option<String>,
    /// Whether two of them are equal to the server iff they are equal here.
    pub by_value: bool,
}

impl Types {
    /// Whether the type and all below it are known.
    pub fn knows(&self, oid: u32) -> bool {
        self.base(oid, -1).is_ok_and(|(t, _)| t.element.is_none_or(|element| self.base(element, -1).is_ok()))
    }

    /// Takes in what another reading of the catalog found.
    pub fn extend(&mut self, other: Types) {
        self.0.extend(other.0);
    }

    fn get(&self, oid: u32) -> Result<&PgType> {
        self.0.get(&oid).ok_or_else(|| {
            Error::new(Code::TypeGone, format!("the type with the object id {oid} is not in the database's catalog"))
                .help("it was dropped after rows with it were written; take a new snapshot of the table")
        })
    }

    /// The type below all domains, and its modifier.
    fn base(&self, oid: u32, modifier: i32) -> Result<(&PgType, i32)> {
        let (mut found, mut modifier) = (self.get(oid)?, modifier);
        // The catalog has no rings; a bound keeps a damaged one from hanging us.
        for _ in 0..100 {
            let Some((below, its)) = found.base else { break };
            (found, modifier) = (self.get(below)?, its);
        }
        Ok((found, modifier))
    }

    /// What becomes of the values of a column.
    ///
    /// # Errors
    /// `TypeGone`.
    pub fn resolve(&self, declared: Declared, settings: &ValueSettings) -> Result<Resolved> {
        let outer = self.get(declared.oid)?;
        let (base, modifier) = self.base(declared.oid, declared.modifier)?;
        let dimensions = declared.dimensions.max(outer.dimensions);
        let as_list = settings.arrays == ValueForm::Native && dimensions <= 1 && !declared.in_key;
        let kind = match base.element {
            Some(element) if as_list => self.list(element, modifier, settings)?,
            Some(_) => PgKind::Output,
            None => scalar(base, modifier, settings),
        };
        let source_type = if outer.base.is_some() { outer.shown.clone() } else { self.shown(base, modifier) };
        let by_value = compares_by_value(base, modifier, &kind, declared.deterministic);
        let output = (!kind.reads_binary()).then(|| base.output.clone());
        Ok(Resolved { kind, source_type, output, by_value })
    }

    fn list(&self, element: u32, modifier: i32, settings: &ValueSettings) -> Result<PgKind> {
        let outer = self.get(element)?;
        // The modifier of an array is that of its elements.
        let (base, modifier) = self.base(element, modifier)?;
        let item = if base.element.is_some() { PgKind::Output } else { scalar(base, modifier, settings) };
        let item_type = if outer.base.is_some() { outer.shown.clone() } else { self.shown(base, modifier) };
        let delimiter = u8::try_from(outer.delimiter).unwrap_or(b',');
        Ok(PgKind::List { item: Box::new(item), item_type, delimiter })
    }

    /// The type for people, with its modifier.
    fn shown(&self, base: &PgType, modifier: i32) -> String {
        if let Some(element) = base.element {
            let inner = self.0.get(&element).map_or_else(|| base.shown.clone(), |e| self.shown(e, modifier));
            return inner.trim_end_matches("[]").to_owned() + "[]";
        }
        let length = modifier.checked_sub(4).filter(|n| *n > 0);
        let precision = if modifier < 0 { 6 } else { modifier };
        match (base.oid, length) {
            (oid::VARCHAR, Some(n)) => format!("varchar({n})"),
            (oid::VARCHAR, None) => "varchar".into(),
            (oid::BPCHAR, Some(n)) => format!("char({n})"),
            (oid::BPCHAR, None) => "bpchar".into(),
            (oid::NUMERIC, _) => match digits(modifier) {
                Some((precision, scale)) => format!("numeric({precision},{scale})"),
                None => "numeric".into(),
            },
            (oid::TIME, _) => format!("time({precision})"),
            (oid::TIMESTAMP, _) => format!("timestamp({precision})"),
            (oid::TIMESTAMPTZ, _) => format!("timestamptz({precision})"),
            (oid::BIT, _) if modifier > 0 => format!("bit({modifier})"),
            (oid::VARBIT, _) if modifier > 0 => format!("bit varying({modifier})"),
            _ => base.shown.clone(),
        }
    }
}

/// Precision and scale of a `numeric` (`make_numeric_typmod` of numeric.c: the scale has 11 bits and a sign).
fn digits(modifier: i32) -> Option<(i32, i32)> {
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    Some((packed >> 16 & 0xFFFF, (packed & 0x7FF ^ 1024) - 1024))
}

fn scalar(base: &PgType, modifier: i32, settings: &ValueSettings) -> PgKind {
    let time = |kind| if settings.times == ValueForm::Text { PgKind::Output } else { kind };
    match base.oid {
        oid::BOOL => PgKind::Bool,
        oid::INT2 => PgKind::Int2,
        oid::INT4 => PgKind::Int4,
        oid::INT8 => PgKind::Int8,
        oid::OID | oid::XID | oid::CID => PgKind::Oid,
        oid::XID8 => PgKind::Xid8,
        oid::FLOAT4 => PgKind::Float4,
        oid::FLOAT8 => PgKind::Float8,
        oid::NUMERIC => numeric(modifier),
        oid::MONEY => PgKind::Money { scale: settings.money_scale },
        oid::DATE => time(PgKind::Date),
        oid::TIME => time(PgKind::Time),
        oid::TIMESTAMP => time(PgKind::Timestamp),
        oid::TIMESTAMPTZ => time(PgKind::Timestamptz),
        oid::INTERVAL => PgKind::Interval,
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME => PgKind::Text,
        oid::JSON => PgKind::Json,
        oid::JSONB => PgKind::Jsonb,
        oid::UUID => PgKind::Uuid,
        oid::BIT | oid::VARBIT => PgKind::Bits,
        oid::BYTEA => PgKind::Bytea,
        _ => match (base.class, base.extension.as_deref(), base.name.as_str()) {
            ('e', ..) => PgKind::Enum,
            (_, Some("citext"), "citext") => PgKind::Text,
            (_, Some("postgis"), "geometry" | "geography") => PgKind::Wkb,
            _ => PgKind::Output,
        },
    }
}

/// From PostgreSQL 15 on a scale may be negative, or larger than the precision; Arrow's and Parquet's may not.
fn numeric(modifier: i32) -> PgKind {
    let Some((precision, scale)) = digits(modifier) else { return PgKind::Number };
    let (precision, scale) = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=76), Ok(scale)) => PgKind::Decimal { precision, scale },
        _ => PgKind::Number,
    }
}

/// Whether equality of the carried values is the server's: a property test asks the server about every type that is said to.
fn compares_by_value(base: &PgType, modifier: i32, kind: &PgKind, deterministic: bool) -> bool {
    match kind {
        PgKind::Bool
        | PgKind::Int2
        | PgKind::Int4
        | PgKind::Int8
        | PgKind::Oid
        | PgKind::Xid8
        | PgKind::Float4
        | PgKind::Float8
        | PgKind::Decimal { .. }
        | PgKind::Money { .. }
        | PgKind::Date
        | PgKind::Time
        | PgKind::Timestamp
        | PgKind::Timestamptz
        | PgKind::Uuid
        | PgKind::Bits
        | PgKind::Bytea
        | PgKind::Enum => true,
        PgKind::Text => match base.oid {
            // Spaces at the end do not count: only texts of one length, which are filled up, differ iff their bytes do.
            oid::BPCHAR => modifier > 4 && deterministic,
            oid::TEXT | oid::VARCHAR | oid::NAME => deterministic,
            _ => false,
        },
        PgKind::Output => matches!(
            base.oid,
            oid::CHAR | oid::CIDR | oid::INET | oid::MACADDR | oid::MACADDR8 | oid::TIMETZ | oid::PG_LSN
        ),
        // 1.0 equals 1.00, and a month 30 days.
        PgKind::Number | PgKind::Interval | PgKind::Json | PgKind::Jsonb | PgKind::Wkb | PgKind::List { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(oid: u32, shown: &str) -> PgType {
        PgType {
            oid,
            name: shown.into(),
            shown: shown.into(),
            class: 'b',
            element: None,
            delimiter: ',',
            base: None,
            dimensions: 0,
            output: format!("pg_catalog.{shown}out"),
            extension: None,
        }
    }

    fn types() -> Types {
        let array = |oid, element, shown| PgType { element: Some(element), ..base(oid, shown) };
        let domain = PgType { class: 'd', base: Some((oid::NUMERIC, (5 << 16 | 2) + 4)), ..base(70_001, "price") };
        let domains = array(70_002, 70_001, "price[]");
        [
            base(oid::NUMERIC, "numeric"),
            base(oid::VARCHAR, "character varying"),
            base(oid::BPCHAR, "character"),
            base(oid::INET, "inet"),
            base(oid::TIMESTAMPTZ, "timestamp with time zone"),
            array(1015, oid::VARCHAR, "character varying[]"),
            array(1041, oid::INET, "inet[]"),
            domain,
            domains,
        ]
        .into_iter()
        .collect()
    }

    fn resolved(oid: u32, modifier: i32) -> Resolved {
        let declared = Declared { oid, modifier, dimensions: 0, deterministic: true, in_key: false };
        types().resolve(declared, &ValueSettings::default()).unwrap()
    }

    #[test]
    fn decimals_keep_every_digit_that_arrow_can() {
        let kind = |precision: i32, scale: i32| resolved(oid::NUMERIC, (precision << 16 | scale & 0x7FF) + 4).kind;
        assert_eq!(kind(10, 2), PgKind::Decimal { precision: 10, scale: 2 });
        assert_eq!(kind(76, 76), PgKind::Decimal { precision: 76, scale: 76 });
        assert_eq!(kind(3, -2), PgKind::Decimal { precision: 5, scale: 0 });
        assert_eq!(kind(3, 5), PgKind::Decimal { precision: 5, scale: 5 });
        assert_eq!(
            (kind(77, 0), kind(1000, 10), resolved(oid::NUMERIC, -1).kind),
            (PgKind::Number, PgKind::Number, PgKind::Number)
        );
    }

    #[test]
    fn types_have_their_declared_names() {
        assert_eq!(resolved(oid::VARCHAR, 14).source_type, "varchar(10)");
        assert_eq!(resolved(oid::BPCHAR, 7).source_type, "char(3)");
        assert_eq!(resolved(1015, 14).source_type, "varchar(10)[]");
        assert_eq!(resolved(oid::NUMERIC, (5 << 16 | 2) + 4).source_type, "numeric(5,2)");
        assert_eq!(resolved(oid::TIMESTAMPTZ, -1).source_type, "timestamptz(6)");
        assert_eq!(resolved(70_001, -1).source_type, "price");
    }

    #[test]
    fn domains_are_carried_as_what_is_below_them_in_arrays_too() {
        let price = PgKind::Decimal { precision: 5, scale: 2 };
        assert_eq!(resolved(70_001, -1).kind, price);
        let PgKind::List { item, item_type, .. } = resolved(70_002, -1).kind else { panic!("no list") };
        assert_eq!((*item, item_type.as_str()), (price, "price"));
        let unread = resolved(1041, -1);
        assert!(!unread.kind.reads_binary());
        assert_eq!(unread.output.as_deref(), Some("pg_catalog.inet[]out"));
    }

    #[test]
    fn arrays_are_text_in_keys_with_dimensions_and_by_option() {
        let declared = Declared { oid: 1015, modifier: -1, dimensions: 1, deterministic: true, in_key: false };
        let kind = |declared, settings: ValueSettings| types().resolve(declared, &settings).unwrap().kind;
        let native = ValueSettings::default();
        assert!(matches!(kind(declared, native), PgKind::List { .. }));
        assert_eq!(kind(Declared { in_key: true, ..declared }, native), PgKind::Output);
        assert_eq!(kind(Declared { dimensions: 2, ..declared }, native), PgKind::Output);
        assert_eq!(kind(declared, ValueSettings { arrays: ValueForm::Text, ..native }), PgKind::Output);
    }

    #[test]
    fn a_type_that_is_gone_has_a_name() {
        let declared = Declared { oid: 99_999, modifier: -1, dimensions: 0, deterministic: true, in_key: false };
        let error = types().resolve(declared, &ValueSettings::default()).unwrap_err();
        assert_eq!(error.code(), Code::TypeGone);
        dujiang_testkit::messages::check(env!("CARGO_MANIFEST_DIR"), &error, &[]);
        assert!(types().knows(70_002) && !types().knows(99_999));
    }
}
