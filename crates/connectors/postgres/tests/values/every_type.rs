//! Every type with literals of its values: limits, oddities, and whatever a random series makes.

use dujiang_scratch::Random;

/// A column's declaration, and SQL literals (without quotes) of its values.
pub struct TypeCase {
    pub declared: &'static str,
    pub values: fn(&mut Random) -> String,
    /// The first server version that has it.
    pub since: i32,
}

/// What the types need.
pub const SETUP: &str = r#"
CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION ltree SCHEMA public; CREATE EXTENSION citext SCHEMA public;
CREATE EXTENSION cube SCHEMA public; CREATE EXTENSION isn SCHEMA public;
CREATE SCHEMA "odd, schema";
CREATE TYPE "odd, schema"."mood ""x""" AS ENUM ('sad', 'it''s ok', 'übel', 'with,comma', '');
CREATE TYPE public.pair AS (a int, "b c" text);
CREATE DOMAIN public.price AS numeric(10,2) CHECK (VALUE < 1000000);
CREATE DOMAIN public.cheap AS public.price;
CREATE DOMAIN public.tags AS text[];
CREATE TYPE public.floats AS RANGE (subtype = float8);
"#;

fn pick(random: &mut Random, values: &[&str]) -> String {
    random.pick(values).to_owned()
}

fn digits(random: &mut Random, most: u64) -> String {
    let count = random.below(most) + 1;
    (0..count).map(|_| char::from(b'0' + random.below(10) as u8)).collect()
}

fn sign(random: &mut Random) -> &'static str {
    if random.chance(50) { "-" } else { "" }
}

/// A number that a column of `whole` digits before and `fraction` after the point can hold.
fn number(random: &mut Random, whole: u64, fraction: u64) -> String {
    let before = if whole == 0 { "0".to_owned() } else { digits(random, whole) };
    let after = if fraction == 0 { String::new() } else { format!(".{}", digits(random, fraction)) };
    format!("{}{before}{after}", sign(random))
}

fn text(random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "",
        " ",
        "NULL",
        "null",
        "{}",
        "a\"b",
        "a\\b",
        "a'b",
        "ü",
        "日本",
        "😀",
        "tab\there",
        "line\nend",
        "x  ",
        "{1,2}",
        ",",
        "\\x41",
    ];
    match random.below(10) {
        0 => (0..random.below(3000) + 2000).map(|_| char::from(b'a' + random.below(26) as u8)).collect(),
        1..=3 => digits(random, 12),
        _ => pick(random, ODD),
    }
}

fn date(random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "4714-11-24 BC",
        "0001-12-31 BC",
        "0001-01-01",
        "1582-10-10",
        "1969-12-31",
        "1970-01-01",
        "2000-02-29",
        "9999-12-31",
        "10000-01-01",
        "99999-12-31",
        "5874897-12-31",
    ];
    if random.chance(40) { pick(random, ODD) } else { day(random) }
}

fn day(random: &mut Random) -> String {
    format!("{:04}-{:02}-{:02}", random.below(3000) + 1, random.below(12) + 1, random.below(28) + 1)
}

fn clock(random: &mut Random) -> String {
    const ODD: &[&str] = &["00:00:00", "23:59:59.999999", "12:00:00.5", "00:00:00.000001"];
    if random.chance(40) {
        return pick(random, ODD);
    }
    let (h, m, s, f) = (random.below(24), random.below(60), random.below(60), random.below(1_000_000));
    format!("{h:02}:{m:02}:{s:02}.{f:06}")
}

fn moment(random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "4714-11-24 00:00:00 BC",
        "0001-12-31 23:59:59.999999 BC",
        "294247-01-10 04:00:54.775807",
        "1969-12-31 23:59:59.999999",
        "2000-01-01 00:00:00",
        "20000-01-01 00:00:00.1",
    ];
    if random.chance(40) { pick(random, ODD) } else { format!("{} {}", day(random), clock(random)) }
}

fn instant(random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "4714-11-24 00:00:00+00 BC",
        "2026-03-29 02:30:00 Europe/Berlin",
        "2026-10-25 02:30:00+01",
        "1890-01-01 00:00:00 Europe/Berlin",
        "294247-01-10 04:00:54.775807+00",
        "1970-01-01 00:00:00-15:59:59",
    ];
    if random.chance(40) { pick(random, ODD) } else { format!("{} {}+05:30", day(random), clock(random)) }
}

fn interval(random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "0",
        "1 year 2 mons -3 days 04:05:06.000007",
        "-1 year +2 mons",
        "178000000 years",
        "-178000000 years",
        "1 mon -1 day",
        "2562047788:00:54.775807",
        "-2562047788:00:54.775807",
        "-00:00:00.000001",
        "00:59:59.9",
    ];
    if random.chance(50) {
        return pick(random, ODD);
    }
    let part = |random: &mut Random, most| format!("{}{}", sign(random), random.below(most));
    let (months, days, seconds) = (part(random, 100), part(random, 1000), number(random, 6, 6));
    format!("{months} mons {days} days {seconds} seconds")
}

fn float(random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "NaN",
        "Infinity",
        "-Infinity",
        "-0",
        "0",
        "4.9e-324",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "0.1",
        "1e22",
        "1e-7",
        "123456789012345680",
    ];
    if random.chance(50) { pick(random, ODD) } else { format!("{}e{}", number(random, 5, 12), random.below(300)) }
}

fn float4(random: &mut Random) -> String {
    const ODD: &[&str] =
        &["NaN", "Infinity", "-Infinity", "-0", "1.4e-45", "1.1754944e-38", "3.4028235e38", "0.1", "16777216", "1e10"];
    if random.chance(50) { pick(random, ODD) } else { format!("{}e{}", number(random, 3, 6), random.below(30)) }
}

fn bytes(random: &mut Random) -> String {
    let most = if random.chance(5) { 6000 } else { 20 };
    let count = random.below(most);
    (0..count).fold("\\x".to_owned(), |text, _| text + &format!("{:02x}", random.below(256)))
}

fn bits(random: &mut Random, count: u64) -> String {
    (0..count).map(|_| if random.chance(50) { '1' } else { '0' }).collect()
}

fn json(random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "null",
        "true",
        "{}",
        "[]",
        "{\"a\": 1.0, \"a\": 1}",
        "  [1,\n 2 ]",
        "\"ü\\u00e9\"",
        "1e400",
        "123456789012345678901234567890",
        "{\"b\":{\"c\":[null,\"x\"]}}",
        "-0.00",
    ];
    pick(random, ODD)
}

fn uuid(random: &mut Random) -> String {
    let hex = format!("{:016x}{:016x}", random.next(), random.next());
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// An array literal of one dimension.
fn array(random: &mut Random, item: fn(&mut Random) -> String) -> String {
    let count = random.below(5);
    let element = |random: &mut Random| {
        if random.chance(20) {
            return "NULL".to_owned();
        }
        format!("\"{}\"", item(random).replace('\\', "\\\\").replace('"', "\\\""))
    };
    let items: Vec<String> = (0..count).map(|_| element(random)).collect();
    format!("{{{}}}", items.join(","))
}

macro_rules! cases {
    ($($declared:literal $(since $since:literal)? => $values:expr;)+) => {
        pub const ALL: &[TypeCase] = &[$(TypeCase { declared: $declared, values: $values, since: cases!(@since $($since)?) }),+];
    };
    (@since) => { 0 };
    (@since $since:literal) => { $since };
}

cases! {
    "bool" => |r| pick(r, &["true", "false"]);
    "int2" => |r| pick(r, &["-32768", "-1", "0", "1", "32767"]);
    "int4" => |r| if r.chance(50) { pick(r, &["-2147483648", "2147483647", "0"]) } else { number(r, 9, 0) };
    "int8" => |r| if r.chance(50) { pick(r, &["-9223372036854775808", "9223372036854775807", "-1"]) } else { number(r, 18, 0) };
    "oid" => |r| pick(r, &["0", "4294967295", "16384"]);
    "xid" => |r| pick(r, &["0", "4294967295", "3"]);
    "cid" => |r| pick(r, &["0", "4294967295", "3"]);
    "xid8" => |r| pick(r, &["0", "18446744073709551615", "4294967296"]);
    "float4" => float4;
    "float8" => float;
    "numeric" => |r| match r.below(6) {
        0 => pick(r, &["NaN", "Infinity", "-Infinity", "0", "0.000", "1e131071", "1e-16383", "-0.0", "10000", "1.10", "10000.0001"]),
        _ => { let (whole, fraction) = (r.below(60), r.below(60)); number(r, whole, fraction) }
    };
    "numeric(10,2)" => |r| number(r, 8, 2);
    "numeric(5)" => |r| number(r, 5, 0);
    "numeric(38,0)" => |r| number(r, 38, 0);
    "numeric(38,38)" => |r| number(r, 0, 38);
    "numeric(38,17)" => |r| number(r, 21, 17);
    "numeric(39,1)" => |r| number(r, 38, 1);
    "numeric(76,30)" => |r| number(r, 46, 30);
    "numeric(76,76)" => |r| number(r, 0, 76);
    "numeric(77,5)" => |r| number(r, 72, 5);
    "numeric(1000,500)" => |r| number(r, 500, 500);
    "numeric(3,-2)" since 150000 => |r| pick(r, &["12300", "-99900", "0", "12345"]);
    "numeric(2,5)" since 150000 => |r| pick(r, &["0.00012", "-0.00099", "0"]);
    "money" => |r| pick(r, &["0", "-92233720368547758.08", "92233720368547758.07", "-0.01", "1234567.89", "3"]);
    "text" => text;
    "varchar" => text;
    "varchar(5000)" => text;
    "char(5000)" => text;
    "char(3)" => |r| pick(r, &["", "a", "ab", "abc", "ü  ", "日本語"]);
    "bpchar" => |r| pick(r, &["", "a ", "ab  "]);
    "name" => |r| pick(r, &["", "n", "ü", "a b"]);
    "\"char\"" => |r| pick(r, &["a", "", " ", "\\377"]);
    "bytea" => bytes;
    "date" => date;
    "time" => clock;
    "time(3)" => |r| { let (h, f) = (r.below(23), r.below(999)); format!("{h}:00:00.{f:03}") };
    "timetz" => |r| pick(r, &["00:00:00+15:59", "12:34:56.789-08", "24:00:00+00", "01:02:03+05:30:15"]);
    "timestamp" => moment;
    "timestamp(0)" => |r| format!("{} 01:02:03", day(r));
    "timestamptz" => instant;
    "timestamptz(3)" => |r| format!("{} 01:02:03.123+02", day(r));
    "interval" => interval;
    "interval second(2)" => |r| { let n = number(r, 4, 6); format!("{n} seconds") };
    "uuid" => uuid;
    "json" => json;
    "jsonb" => |r| pick(r, &["null", "{\"b\": 1.0, \"aa\": [1, 2.50, \"x\"]}", "\"ü\"", "[]", "1e30", "{\"a\": {\"a\": null}}"]);
    "xml" => |r| pick(r, &["<a>ü</a>", "<?xml version=\"1.0\"?><a b=\"1\"/>", "text", ""]);
    "inet" => |r| pick(r, &["192.168.0.1", "10.0.0.1/8", "::1", "2001:db8::1/64", "::ffff:1.2.3.4", "0.0.0.0/0"]);
    "cidr" => |r| pick(r, &["192.168.0.0/24", "10.0.0.1", "2001:db8::/32", "::/0"]);
    "macaddr" => |r| pick(r, &["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"]);
    "macaddr8" => |r| pick(r, &["08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00"]);
    "bit(1)" => |r| bits(r, 1);
    "bit(13)" => |r| bits(r, 13);
    "varbit" => |r| { let n = r.below(100); bits(r, n) };
    "varbit(70)" => |r| { let n = r.below(70); bits(r, n) };
    "pg_lsn" => |r| pick(r, &["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"]);
    "pg_snapshot" => |r| pick(r, &["10:20:10,14,15", "1:1:"]);
    "txid_snapshot" => |r| pick(r, &["10:20:10,14,15"]);
    "tid" => |r| pick(r, &["(0,1)", "(4294967295,65535)"]);
    "regclass" => |r| pick(r, &["pg_class", "information_schema.tables", "0", "999999999"]);
    "regtype" => |r| pick(r, &["int4", "pg_catalog.varchar", "\"odd, schema\".\"mood \"\"x\"\"\""]);
    "point" => |r| pick(r, &["(0,-0)", "(1.5,NaN)", "(1e300,-Infinity)"]);
    "line" => |r| pick(r, &["{1,2,3}"]);
    "lseg" => |r| pick(r, &["[(0,0),(1,1.25)]"]);
    "box" => |r| pick(r, &["(1,1),(0,0)"]);
    "path" => |r| pick(r, &["[(0,0),(1,1)]", "((0,0),(1,1))"]);
    "polygon" => |r| pick(r, &["((0,0),(1,1),(2,0))"]);
    "circle" => |r| pick(r, &["<(1,2),3.5>"]);
    "tsvector" => |r| pick(r, &["'a':1A,3 'b':2", "", "'it''s'"]);
    "tsquery" => |r| pick(r, &["'a' & !'b'", "'x':*A <-> 'y'"]);
    "jsonpath" => |r| pick(r, &["$.a[*]?(@ > 1)", "strict $"]);
    "int4range" => |r| pick(r, &["empty", "[1,10)", "(,5]", "(,)"]);
    "numrange" => |r| pick(r, &["[1.0,2.50)", "(-Infinity,3]", "empty"]);
    "tstzrange" => |r| pick(r, &["[2026-01-01 00:00:00+02,infinity)", "(,2000-01-01 00:00+00)"]);
    "daterange" => |r| pick(r, &["[0044-03-15 BC,2026-01-01]"]);
    "floats" => |r| pick(r, &["[1,NaN]", "[-0,1e300)"]);
    "int4multirange" => |r| pick(r, &["{}", "{[1,3),[7,9)}"]);
    "\"odd, schema\".\"mood \"\"x\"\"\"" => |r| pick(r, &["sad", "it's ok", "übel", "with,comma", ""]);
    "price" => |r| number(r, 5, 2);
    "cheap" => |r| number(r, 5, 2);
    "tags" => |r| array(r, text);
    "pair" => |r| pick(r, &["(1,x)", "(,)", "(-5,\"a \"\"quoted\"\", b\")", "(7,\"\")"]);
    "hstore" => |r| pick(r, &["", "\"a\"=>\"1\", \"b c\"=>NULL", "\"ü\"=>\"=>\""]);
    "ltree" => |r| pick(r, &["Top.Science", "a"]);
    "citext" => |r| pick(r, &["MiXed", "", "Ü"]);
    "cube" => |r| pick(r, &["(1,2),(3,4)", "(0.5)"]);
    "isbn" => |r| pick(r, &["978-0-11-000222-4"]);
    "int2vector" => |r| pick(r, &["1 2 3", ""]);
    "oidvector" => |r| pick(r, &["1 4294967295", ""]);
    "int4[]" => |r| array(r, |r| number(r, 9, 0));
    "int8[]" => |r| array(r, |r| number(r, 18, 0));
    "bool[]" => |r| array(r, |r| pick(r, &["t", "f"]));
    "float8[]" => |r| array(r, float);
    "numeric[]" => |r| array(r, |r| pick(r, &["NaN", "1.50", "1e50", "-0.001"]));
    "numeric(50,10)[]" => |r| array(r, |r| number(r, 40, 10));
    "money[]" => |r| array(r, |r| pick(r, &["-1234.56", "0"]));
    "text[]" => |r| array(r, text);
    "varchar(5000)[]" => |r| array(r, text);
    "char(4)[]" => |r| array(r, |r| pick(r, &["", "abc", "ü"]));
    "bytea[]" => |r| array(r, bytes);
    "date[]" => |r| array(r, date);
    "timestamp[]" => |r| array(r, moment);
    "timestamptz[]" => |r| array(r, |r| format!("{} 00:00:00+00", day(r)));
    "interval[]" => |r| array(r, interval);
    "uuid[]" => |r| array(r, uuid);
    "json[]" => |r| array(r, json);
    "jsonb[]" => |r| array(r, |r| pick(r, &["{\"a\": [1, \"x\\\"y\"]}", "null"]));
    "bit(3)[]" => |r| array(r, |r| bits(r, 3));
    "inet[]" => |r| array(r, |r| pick(r, &["1.2.3.4", "::/0"]));
    "\"odd, schema\".\"mood \"\"x\"\"\"[]" => |r| array(r, |r| pick(r, &["sad", "it's ok", "with,comma", ""]));
    "pair[]" => |r| array(r, |r| pick(r, &["(1,\"x\\\"y\")", "(,)"]));
    "price[]" => |r| array(r, |r| number(r, 5, 2));
    "citext[]" => |r| array(r, |r| pick(r, &["MiXed", ""]));
    "hstore[]" => |r| array(r, |r| pick(r, &["\"a\"=>\"1\"", ""]));
    "int4range[]" => |r| array(r, |r| pick(r, &["[1,5)", "empty"]));
    "box[]" => |r| pick(r, &["{(1,1),(0,0);(2,2),(1,1)}", "{}"]);
    "int4[][]" => |r| pick(r, &["{{1,2},{3,NULL}}", "[0:1]={1,2}", "{}", "{1}"]);
    "text[][]" => |r| pick(r, &["{{a,\"b,c\"}}", "[2:2][1:2]={{x,y}}"]);
}
