//! Expressions of the dialect, each with the same in PostgreSQL's language.

use super::values::{quoted, texts};
use dujiang_scratch::Random;

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    Bool,
    Small,
    Int,
    Big,
    Dec,
    Wide,
    Float,
    Double,
    Text,
    Date,
    Time,
    Stamp,
    Instant,
}

impl Ty {
    pub fn is_decimal(self) -> bool {
        matches!(self, Ty::Dec | Ty::Wide)
    }

    fn column(self) -> &'static str {
        match self {
            Ty::Bool => "b",
            Ty::Small => "s",
            Ty::Int => "i",
            Ty::Big => "l",
            Ty::Dec => "d",
            Ty::Wide => "w",
            Ty::Float => "f",
            Ty::Double => "g",
            Ty::Text => "t",
            Ty::Date => "da",
            Ty::Time => "ti",
            Ty::Stamp => "ts",
            Ty::Instant => "tz",
        }
    }

    fn name(self) -> (&'static str, &'static str) {
        match self {
            Ty::Bool => ("BOOLEAN", "boolean"),
            Ty::Small => ("SMALLINT", "int2"),
            Ty::Int => ("INT", "int4"),
            Ty::Big => ("BIGINT", "int8"),
            Ty::Dec => ("DECIMAL(12, 3)", "numeric(12,3)"),
            Ty::Wide => ("DECIMAL(30, 6)", "numeric(30,6)"),
            Ty::Float => ("FLOAT", "float4"),
            Ty::Double => ("DOUBLE", "float8"),
            Ty::Text => ("STRING", "text"),
            Ty::Date => ("DATE", "date"),
            Ty::Time => ("TIME(6)", "time"),
            Ty::Stamp => ("TIMESTAMP(6)", "timestamp"),
            Ty::Instant => ("TIMESTAMP_LTZ(6)", "timestamptz"),
        }
    }
}

const NUMBERS: &[Ty] = &[Ty::Small, Ty::Int, Ty::Big, Ty::Dec, Ty::Wide, Ty::Float, Ty::Double];
const ALL: &[Ty] = &[
    Ty::Bool,
    Ty::Small,
    Ty::Int,
    Ty::Big,
    Ty::Dec,
    Ty::Wide,
    Ty::Float,
    Ty::Double,
    Ty::Text,
    Ty::Date,
    Ty::Time,
    Ty::Stamp,
    Ty::Instant,
];
const PATTERNS: &[&str] =
    &["%", "_", "a%", "%c", "%b%", "a_c", "", "abc", "a\\%c", "a\\_c", "\\\\", "日_語", "%😀%", "___", "x%x"];
const SIMILAR: &[&str] = &["%", "a%", "(a|b)%", "[a-c]+", "abc(abc)*", "_{3}", "%[0-9]%", "a.c", "(x|y)*%"];

/// One expression in both languages.
#[derive(Debug, Clone)]
pub struct Pair {
    pub ours: String,
    pub theirs: String,
    pub ty: Ty,
}

impl Pair {
    pub fn new(ty: Ty, ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        Self { ours: ours.into(), theirs: theirs.into(), ty }
    }

    fn same(ty: Ty, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { ours: text.clone(), theirs: text, ty }
    }
}

/// Fills `$1`, `$2`, ... with the operands.
fn fill(template: &str, operands: &[&str]) -> String {
    let mut text = template.to_owned();
    for (nth, operand) in operands.iter().enumerate().rev() {
        text = text.replace(&format!("${}", nth + 1), operand);
    }
    text
}

pub struct Generator {
    random: Random,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed ^ 0xabcd) }
    }

    pub fn pair(&mut self) -> Pair {
        let ty = self.random.pick(ALL);
        let depth = 1 + self.random.below(3);
        // Types whose rules follow the value at the server are only looked at from outside.
        if self.random.chance(6) {
            self.division()
        } else if self.random.chance(12) {
            self.cast()
        } else {
            self.of(ty, depth)
        }
    }

    /// A decimal division; the server's digits follow the value, so only the quotient itself is compared.
    fn division(&mut self) -> Pair {
        let (a, b) = (self.leaf(Ty::Dec), self.random.pick(&[Ty::Dec, Ty::Int, Ty::Small]));
        let b = self.leaf(b);
        let a = Pair::new(a.ty, format!("({} / {})", a.ours, b.ours), format!("({} / {})", a.theirs, b.theirs));
        Pair::new(Ty::Dec, format!("ROUND({}, 6)", a.ours), format!("round({}, 6)", a.theirs))
    }

    /// A cast of a plain value into any type the server knows a way to.
    fn cast(&mut self) -> Pair {
        let from = self.random.pick(ALL);
        let targets: &[Ty] = match from {
            Ty::Text => ALL,
            Ty::Bool => &[Ty::Int, Ty::Text],
            Ty::Int => &[Ty::Bool, Ty::Small, Ty::Big, Ty::Dec, Ty::Wide, Ty::Float, Ty::Double, Ty::Text],
            _ if NUMBERS.contains(&from) => {
                &[Ty::Small, Ty::Int, Ty::Big, Ty::Dec, Ty::Wide, Ty::Float, Ty::Double, Ty::Text]
            }
            Ty::Date => &[Ty::Text, Ty::Stamp, Ty::Instant],
            Ty::Time => &[Ty::Text],
            Ty::Stamp => &[Ty::Text, Ty::Date, Ty::Time, Ty::Instant],
            _ => &[Ty::Text, Ty::Date, Ty::Time, Ty::Stamp],
        };
        let to = self.random.pick(targets);
        self.cast_to(from, to)
    }

    fn cast_to(&mut self, from: Ty, to: Ty) -> Pair {
        let value = self.leaf(from);
        let (ours, theirs) = to.name();
        Pair::new(to, format!("CAST({} AS {ours})", value.ours), format!("CAST({} AS {theirs})", value.theirs))
    }

    fn leaf(&mut self, ty: Ty) -> Pair {
        if self.random.chance(70) {
            let nth = 1 + self.random.below(2);
            return Pair::same(ty, format!("{}{nth}", ty.column()));
        }
        let r = &mut self.random;
        let (ours, theirs) = match ty {
            Ty::Bool => {
                let v = r.pick(&["TRUE", "FALSE", "CAST(NULL AS BOOLEAN)"]);
                (v.to_owned(), v.to_owned())
            }
            Ty::Small => {
                let v = r.pick(&["0", "1", "-7", "300"]);
                (format!("CAST({v} AS SMALLINT)"), format!("CAST({v} AS int2)"))
            }
            Ty::Int => {
                let v = r.pick(&["0", "1", "-1", "5", "2147483647", "12"]);
                (v.to_owned(), format!("({v})"))
            }
            Ty::Big => {
                let v = r.pick(&["3000000000", "-9223372036854775808", "9223372036854775807"]);
                (v.to_owned(), format!("('{v}'::int8)"))
            }
            Ty::Dec => {
                let v = r.pick(&["1.5", "-0.005", "0.0", "123456.789"]);
                (v.to_owned(), format!("({v})"))
            }
            Ty::Wide => {
                let v = r.pick(&["12345678901234567890.123456", "-0.000001"]);
                (v.to_owned(), format!("({v})"))
            }
            Ty::Float => {
                let v = r.pick(&["1.5", "0.1", "-2.5", "NaN"]);
                (format!("CAST('{v}' AS FLOAT)"), format!("('{v}'::float4)"))
            }
            Ty::Double => {
                let v = r.pick(&["1.5", "0.1", "1e300", "NaN", "-0", "Infinity"]);
                (format!("CAST('{v}' AS DOUBLE)"), format!("('{v}'::float8)"))
            }
            Ty::Text => {
                let v = quoted(r.pick(texts()));
                (v.clone(), format!("({v}::text)"))
            }
            Ty::Date => {
                let v = r.pick(&["2024-02-29", "1970-01-01", "1999-12-31"]);
                (format!("DATE '{v}'"), format!("DATE '{v}'"))
            }
            Ty::Time => {
                let v = r.pick(&["00:00:00", "23:59:59.999999", "12:34:56"]);
                (format!("TIME '{v}'"), format!("TIME '{v}'"))
            }
            Ty::Stamp => {
                let v = r.pick(&["2024-02-29 12:34:56.789", "1970-01-01 00:00:00"]);
                (format!("TIMESTAMP '{v}'"), format!("TIMESTAMP '{v}'"))
            }
            Ty::Instant => {
                let v = r.pick(&["2024-02-29 12:34:56.789", "1970-01-01 00:00:00"]);
                (format!("CAST(TIMESTAMP '{v}' AS TIMESTAMP_LTZ(6))"), format!("CAST(TIMESTAMP '{v}' AS timestamptz)"))
            }
        };
        // In a subquery of its own, so that the server does not compute constants before it is asked for them.
        Pair::new(ty, ours, format!("(SELECT {theirs})"))
    }

    pub fn of(&mut self, ty: Ty, depth: u64) -> Pair {
        if depth == 0 {
            return self.leaf(ty);
        }
        if self.random.chance(18) {
            return self.choice(ty, depth);
        }
        match ty {
            Ty::Bool => self.boolean(depth),
            Ty::Small | Ty::Int | Ty::Big => self.integer(ty, depth),
            Ty::Dec | Ty::Wide => self.decimal(ty, depth),
            Ty::Float | Ty::Double => self.float(ty, depth),
            Ty::Text => self.text(depth),
            Ty::Date | Ty::Time | Ty::Stamp | Ty::Instant => self.temporal(ty, depth),
        }
    }

    /// A template with operands of these types.
    fn filled(&mut self, ty: Ty, ours: &str, theirs: &str, operands: &[Ty], depth: u64) -> Pair {
        let bound: Vec<Pair> = operands
            .iter()
            .map(|operand| {
                let depth = if operand.is_decimal() && !ty.is_decimal() { 0 } else { depth - 1 };
                self.of(*operand, depth)
            })
            .collect();
        let mine: Vec<&str> = bound.iter().map(|p| p.ours.as_str()).collect();
        let other: Vec<&str> = bound.iter().map(|p| p.theirs.as_str()).collect();
        Pair::new(ty, format!("({})", fill(ours, &mine)), format!("({})", fill(theirs, &other)))
    }

    fn either(&mut self, ty: Ty, templates: &[(&str, &str, &[Ty])], depth: u64) -> Pair {
        let (ours, theirs, operands) = self.random.pick(templates);
        let theirs = if theirs.is_empty() { ours } else { theirs };
        self.filled(ty, ours, theirs, operands, depth)
    }

    fn choice(&mut self, ty: Ty, depth: u64) -> Pair {
        use Ty::Bool;
        let templates: &[(&str, &str, &[Ty])] = &[
            ("CASE WHEN $1 THEN $2 ELSE $3 END", "", &[Bool, ty, ty]),
            ("CASE WHEN $1 THEN $2 WHEN $3 THEN $4 END", "", &[Bool, ty, Bool, ty]),
            ("CASE $1 WHEN $2 THEN $3 ELSE $4 END", "", &[Ty::Int, Ty::Int, ty, ty]),
            ("COALESCE($1, $2)", "", &[ty, ty]),
            ("COALESCE($1, $2, $3)", "", &[ty, ty, ty]),
            ("IFNULL($1, $2)", "COALESCE($1, $2)", &[ty, ty]),
            ("NULLIF($1, $2)", "", &[ty, ty]),
            ("IF($1, $2, $3)", "CASE WHEN $1 THEN $2 ELSE $3 END", &[Bool, ty, ty]),
        ];
        self.either(ty, templates, depth)
    }

    fn boolean(&mut self, depth: u64) -> Pair {
        use Ty::{Bool, Int, Text};
        if self.random.chance(45) {
            return self.comparison(depth);
        }
        if self.random.chance(25) {
            return self.like();
        }
        let any = self.random.pick(ALL);
        let templates: &[(&str, &str, &[Ty])] = &[
            ("$1 AND $2", "", &[Bool, Bool]),
            ("$1 OR $2", "", &[Bool, Bool]),
            ("NOT $1", "", &[Bool]),
            ("$1 OR $2 OR $3 AND NOT $4", "", &[Bool, Bool, Bool, Bool]),
            ("$1 IS NULL", "", &[any]),
            ("$1 IS NOT NULL", "", &[any]),
            ("$1 IS TRUE", "", &[Bool]),
            ("$1 IS NOT TRUE", "", &[Bool]),
            ("$1 IS FALSE", "", &[Bool]),
            ("$1 IS NOT FALSE", "", &[Bool]),
            ("$1 IS UNKNOWN", "", &[Bool]),
            ("$1 IS NOT UNKNOWN", "", &[Bool]),
            ("STARTSWITH($1, $2)", "starts_with($1, $2)", &[Text, Text]),
            ("ENDSWITH($1, $2)", "right($1, length($2)) = $2", &[Text, Text]),
            ("CAST($1 AS BOOLEAN)", "CAST($1 AS boolean)", &[Int]),
            ("ARRAY_CONTAINS(ARRAY[$1, $2], $3)", "array_position(ARRAY[$1, $2], $3) IS NOT NULL", &[Int, Int, Int]),
        ];
        self.either(Bool, templates, depth)
    }

    fn comparison(&mut self, depth: u64) -> Pair {
        let (a, b) = if self.random.chance(60) {
            (self.random.pick(NUMBERS), self.random.pick(NUMBERS))
        } else {
            let ty = self.random.pick(ALL);
            let other = match ty {
                Ty::Date | Ty::Stamp => self.random.pick(&[Ty::Date, Ty::Stamp, Ty::Instant]),
                _ => ty,
            };
            (ty, other)
        };
        let templates: &[(&str, &str, &[Ty])] = &[
            ("$1 = $2", "", &[a, b]),
            ("$1 <> $2", "", &[a, b]),
            ("$1 < $2", "", &[a, b]),
            ("$1 <= $2", "", &[a, b]),
            ("$1 > $2", "", &[a, b]),
            ("$1 >= $2", "", &[a, b]),
            ("$1 IS DISTINCT FROM $2", "", &[a, b]),
            ("$1 IS NOT DISTINCT FROM $2", "", &[a, b]),
            ("$1 BETWEEN $2 AND $3", "", &[a, b, a]),
            ("$1 NOT BETWEEN $2 AND $3", "", &[a, b, b]),
        ];
        if self.random.chance(20) {
            let (x, y, z) = (self.of(a, depth - 1), self.leaf(b), self.leaf(b));
            let op = self.random.pick(&["IN", "NOT IN"]);
            let list = |x: &str, y: &str, z: &str| format!("({x} {op} ({y}, {z}))");
            return Pair::new(Ty::Bool, list(&x.ours, &y.ours, &z.ours), list(&x.theirs, &y.theirs, &z.theirs));
        }
        self.either(Ty::Bool, templates, depth)
    }

    fn like(&mut self) -> Pair {
        let value = self.of(Ty::Text, 1);
        let not = self.random.pick(&["", "NOT "]);
        let (op, pattern, escape) = match self.random.below(3) {
            0 => ("SIMILAR TO", self.random.pick(SIMILAR), ""),
            1 => ("LIKE", self.random.pick(&["a!%c", "%!_%", "!!", "a%"]), " ESCAPE '!'"),
            _ => ("LIKE", self.random.pick(PATTERNS), ""),
        };
        let text = |value: &str| format!("({value} {not}{op} {}{escape})", quoted(pattern));
        Pair::new(Ty::Bool, text(&value.ours), text(&value.theirs))
    }

    fn integer(&mut self, ty: Ty, depth: u64) -> Pair {
        use Ty::{Bool, Date, Int, Text, Time};
        let same: &[(&str, &str, &[Ty])] = &[
            ("$1 + $2", "", &[ty, ty]),
            ("$1 - $2", "", &[ty, ty]),
            ("$1 * $2", "", &[ty, ty]),
            ("$1 / $2", "", &[ty, ty]),
            ("$1 % $2", "", &[ty, ty]),
            ("- $1", "", &[ty]),
            ("ABS($1)", "", &[ty]),
        ];
        if ty == Ty::Int && self.random.chance(55) {
            let templates: &[(&str, &str, &[Ty])] = &[
                ("CHAR_LENGTH($1)", "", &[Text]),
                ("POSITION($1 IN $2)", "", &[Text, Text]),
                ("LOCATE($1, $2)", "strpos($2, $1)", &[Text, Text]),
                ("INSTR($1, $2)", "strpos($1, $2)", &[Text, Text]),
                ("CAST($1 AS INT)", "CAST($1 AS int4)", &[Bool]),
                ("CARDINALITY(ARRAY[$1, $2])", "", &[Int, Int]),
                ("ARRAY_POSITION(ARRAY[$1, $2], $3)", "", &[Text, Text, Text]),
                ("ARRAY[$1, $2][2]", "(ARRAY[$1, $2])[2]", &[Int, Int]),
                ("$1 - $2", "", &[Date, Date]),
                ("$1 + $2", "", &[Ty::Small, Int]),
                ("ROUND($1)", "round($1)::int4", &[Int]),
                ("MAP['a', 1, 'b', $1]['b']", "$1", &[Int]),
                ("REGEXP_COUNT($1, '[a-c]')", "regexp_count($1, '[a-c]')", &[Text]),
                ("REGEXP_INSTR($1, '[b-c]+')", "regexp_instr($1, '[b-c]+')", &[Text]),
            ];
            return self.either(ty, templates, depth);
        }
        if ty == Ty::Big && self.random.chance(50) {
            let stamp = self.random.pick(&[Ty::Stamp, Date, Ty::Instant]);
            let part = self.random.pick(&[
                "YEAR",
                "QUARTER",
                "MONTH",
                "WEEK",
                "DAY",
                "DOY",
                "DOW",
                "ISODOW",
                "ISOYEAR",
                "CENTURY",
                "DECADE",
                "MILLENNIUM",
            ]);
            let clock = self.random.pick(&["HOUR", "MINUTE"]);
            let (ours, theirs, operand) = match self.random.below(5) {
                0 => (format!("EXTRACT({clock} FROM $1)"), format!("EXTRACT({clock} FROM $1)::int8"), Time),
                1 => ("SECOND($1)".to_owned(), "floor(EXTRACT(SECOND FROM $1))::int8".to_owned(), Ty::Stamp),
                2 => ("DAYOFWEEK($1)".to_owned(), "EXTRACT(DOW FROM $1)::int8 + 1".to_owned(), stamp),
                _ => (format!("EXTRACT({part} FROM $1)"), format!("EXTRACT({part} FROM $1)::int8"), stamp),
            };
            return self.filled(ty, &ours, &theirs, &[operand], depth);
        }
        self.either(ty, same, depth)
    }

    fn decimal(&mut self, ty: Ty, depth: u64) -> Pair {
        use Ty::{Big, Dec, Int, Wide};
        let other = self.random.pick(&[Dec, Wide, Int, Big]);
        let templates: &[(&str, &str, &[Ty])] = &[
            ("$1 + $2", "", &[ty, other]),
            ("$1 - $2", "", &[other, ty]),
            ("$1 * $2", "", &[ty, Dec]),
            ("$1 % $2", "", &[ty, other]),
            ("- $1", "", &[ty]),
            ("ABS($1)", "", &[ty]),
            ("CEIL($1)", "", &[ty]),
            ("FLOOR($1)", "", &[ty]),
            ("ROUND($1)", "", &[ty]),
            ("ROUND($1, 2)", "", &[ty]),
            ("ROUND($1, -2)", "", &[ty]),
        ];
        self.either(ty, templates, depth)
    }

    fn float(&mut self, ty: Ty, depth: u64) -> Pair {
        let other =
            if ty == Ty::Double { self.random.pick(&[Ty::Double, Ty::Float, Ty::Int, Ty::Big, Ty::Dec]) } else { ty };
        let mut templates: Vec<(&str, &str, &[Ty])> = Vec::new();
        let operands = [ty, other];
        for op in ["$1 + $2", "$1 - $2", "$1 * $2", "$1 / $2"] {
            templates.push((op, "", &operands));
        }
        let one = [ty];
        for op in ["- $1", "ABS($1)"] {
            templates.push((op, "", &one));
        }
        if ty == Ty::Double {
            for op in ["CEIL($1)", "FLOOR($1)", "ROUND($1)"] {
                templates.push((op, "", &one));
            }
        }
        self.either(ty, &templates, depth)
    }

    fn text(&mut self, depth: u64) -> Pair {
        use Ty::{Bool, Date, Double, Int, Stamp, Text};
        let printed = self.random.pick(ALL);
        let n = self.random.pick(&["0", "1", "2", "3", "5", "-1", "40"]);
        let m = self.random.pick(&["1", "2", "4"]);
        let length = |template: &str| template.replace("<n>", n).replace("<m>", m);
        let templates: Vec<(String, String, Vec<Ty>)> = [
            ("$1 || $2", "", &[Text, Text][..]),
            ("$1 || $2 || $3", "", &[Text, Int, Bool]),
            ("CONCAT($1, $2, $3)", "", &[Text, Int, Text]),
            ("CONCAT_WS($1, $2, $3)", "", &[Text, Text, Text]),
            ("UPPER($1)", "", &[Text]),
            ("LOWER($1)", "", &[Text]),
            ("TRIM($1)", "", &[Text]),
            ("TRIM(LEADING 'x' FROM $1)", "", &[Text]),
            ("TRIM(TRAILING $2 FROM $1)", "", &[Text, Text]),
            ("TRIM(BOTH 'ac' FROM $1)", "", &[Text]),
            ("LTRIM($1)", "", &[Text]),
            ("RTRIM($1, $2)", "", &[Text, Text]),
            ("BTRIM($1, 'xa ')", "", &[Text]),
            ("SUBSTRING($1, <n>)", "", &[Text]),
            ("SUBSTRING($1 FROM <n> FOR <m>)", "", &[Text]),
            ("SUBSTR($1, <m>, <n>)", "", &[Text]),
            ("OVERLAY($1 PLACING $2 FROM <m>)", "", &[Text, Text]),
            ("OVERLAY($1 PLACING $2 FROM <m> FOR <n>)", "", &[Text, Text]),
            ("LPAD($1, <n>)", "", &[Text]),
            ("LPAD($1, <n>, $2)", "", &[Text, Text]),
            ("RPAD($1, <n>, $2)", "", &[Text, Text]),
            ("REPLACE($1, $2, $3)", "", &[Text, Text, Text]),
            ("REPEAT($1, <n>)", "", &[Text]),
            ("LEFT($1, <n>)", "", &[Text]),
            ("RIGHT($1, <n>)", "", &[Text]),
            ("TO_BASE64($1)", "replace(encode(convert_to($1, 'UTF8'), 'base64'), E'\\n', '')", &[Text]),
            ("FROM_BASE64(TO_BASE64($1))", "$1", &[Text]),
            ("REGEXP_REPLACE($1, '[a-c]', 'X')", "regexp_replace($1, '[a-c]', 'X', 'g')", &[Text]),
            ("REGEXP_SUBSTR($1, '[a-c]+')", "regexp_substr($1, '[a-c]+')", &[Text]),
            ("REGEXP_EXTRACT($1, '(a)(b)', 2)", "regexp_substr($1, '(a)(b)', 1, 1, '', 2)", &[Text]),
            ("CAST($1 AS VARCHAR(3))", "CAST($1 AS varchar(3))", &[Text]),
            ("DATE_FORMAT($1, 'yyyy-MM-dd HH:mm:ss')", "to_char($1, 'YYYY-MM-DD HH24:MI:SS')", &[Stamp]),
            ("DATE_FORMAT($1, 'yyyyMMdd')", "to_char($1, 'YYYYMMDD')", &[Date]),
            ("DATE_FORMAT($1, 'D E SSS')", "to_char($1, 'FMDDD Dy MS')", &[Stamp]),
            ("CAST($1 AS STRING)", "CAST($1 AS text)", &[Double]),
            ("ARRAY[$1, $2][3]", "(ARRAY[$1, $2])[3]", &[Text, Text]),
            ("DATE_ADD($1, 3)", "($1 + 3)::text", &[Date]),
        ]
        .into_iter()
        .map(|(a, b, operands)| (length(a), length(b), operands.to_vec()))
        .collect();
        if self.random.chance(10) && !printed.is_decimal() {
            return self.filled(Text, "CAST($1 AS STRING)", "CAST($1 AS text)", &[printed], depth);
        }
        let pick = self.random.below(templates.len() as u64) as usize;
        let (ours, theirs, operands) = &templates[pick];
        let theirs = if theirs.is_empty() { ours } else { theirs };
        self.filled(Text, ours, theirs, operands, depth)
    }

    fn temporal(&mut self, ty: Ty, depth: u64) -> Pair {
        use Ty::{Date, Instant, Stamp, Time};
        let interval = self.random.pick(&[
            "INTERVAL '1' DAY",
            "INTERVAL '3' HOUR",
            "INTERVAL '1' MONTH",
            "INTERVAL '1-2' YEAR TO MONTH",
            "INTERVAL '1 02:03:04.5' DAY TO SECOND",
            "INTERVAL '-90' MINUTE",
            "INTERVAL '13' MONTH",
            "INTERVAL '0.000001' SECOND",
        ]);
        let clock = self.random.pick(&["INTERVAL '3' HOUR", "INTERVAL '90' MINUTE", "INTERVAL '1.5' SECOND"]);
        let unit = self.random.pick(&["YEAR", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"]);
        let count = self.random.pick(&["1", "-1", "5", "13", "-40"]);
        let add = (format!("TIMESTAMPADD({unit}, {count}, $1)"), format!("$1 + ({count}) * INTERVAL '1 {unit}'"));
        let (plus, minus) = (format!("$1 + {interval}"), format!("$1 - {interval}"));
        let (clock_plus, clock_minus) = (format!("$1 + {clock}"), format!("$1 - {clock}"));
        let templates: Vec<(&str, &str, Vec<Ty>)> = match ty {
            Date => vec![
                ("CAST($1 AS DATE)", "", vec![Stamp]),
                ("CAST($1 AS DATE)", "", vec![Instant]),
                ("TO_DATE($1)", "CAST($1 AS date)", vec![Stamp]),
            ],
            Time => vec![
                (&clock_plus, "", vec![Time]),
                (&clock_minus, "", vec![Time]),
                ("CAST($1 AS TIME(6))", "", vec![Stamp]),
            ],
            Stamp => vec![
                (&plus, "", vec![Stamp]),
                (&minus, "", vec![Stamp]),
                (&plus, "", vec![Date]),
                (&add.0, &add.1, vec![Stamp]),
                ("CAST($1 AS TIMESTAMP(6))", "CAST($1 AS timestamp)", vec![Date]),
                ("CAST($1 AS TIMESTAMP(3))", "CAST($1 AS timestamp(3))", vec![Stamp]),
            ],
            _ => vec![
                (&plus, "", vec![Instant]),
                (&minus, "", vec![Instant]),
                (&add.0, &add.1, vec![Instant]),
                ("CAST($1 AS TIMESTAMP_LTZ(6))", "CAST($1 AS timestamptz)", vec![Stamp]),
            ],
        };
        let pick = self.random.below(templates.len() as u64) as usize;
        let (ours, theirs, operands) = templates[pick].clone();
        let theirs = if theirs.is_empty() { ours } else { theirs };
        self.filled(ty, ours, theirs, &operands, depth)
    }
}
