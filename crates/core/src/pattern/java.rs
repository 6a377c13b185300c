//! Java's regular expressions, written for the library used here.
//!
//! The two agree on most of the language and quietly differ in the rest: in Java `\d`, `\w` and `\s` mean ASCII, `\h` is
//! a blank (elsewhere a hexadecimal digit), `\Q...\E` quotes, `\p{Lower}` is ASCII, a `{` must begin a repetition, and a
//! comparison without regard to case is about ASCII letters only. So the expression is read token by token, and what is
//! not known is refused by name instead of being passed on.
//! Source: the documentation of `java.util.regex.Pattern`.

/// Deepest nesting of groups and classes.
const MAX_DEPTH: usize = 50;
/// Largest count of a repetition.
const MAX_COUNT: u32 = 1_000;

const BLANK: &str = r" \t\xA0\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}";
const LINE_END: &str = r"\n\x0B\x0C\r\x85\x{2028}\x{2029}";
const SPACE: &str = r" \t\n\x0B\x0C\r";

/// Translates an expression; with `fold`, ASCII letters match in either case.
///
/// # Errors
/// What is wrong with it, as a phrase.
pub(super) fn translate(expression: &str, fold: bool) -> Result<String, String> {
    let chars: Vec<char> = expression.chars().collect();
    let mut translator = Translator { chars: &chars, at: 0, fold, out: String::with_capacity(expression.len() * 2) };
    translator.expression()?;
    Ok(translator.out)
}

struct Translator<'a> {
    chars: &'a [char],
    at: usize,
    fold: bool,
    out: String,
}

/// What an escape stands for.
enum Escape {
    /// One character.
    Char(char),
    /// Members of a class, without brackets; negated or not.
    Class(String, bool),
    /// Written as it is, outside classes only.
    Assertion(String),
    /// Text up to `\E`.
    Quoted(Vec<char>),
}

impl Translator<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let fits = text.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c));
        self.at += if fits { text.chars().count() } else { 0 };
        fits
    }

    fn expression(&mut self) -> Result<(), String> {
        let mut depth = 0usize;
        while let Some(c) = self.next() {
            match c {
                '\\' => match self.escape()? {
                    Escape::Char(c) => self.literal(c),
                    Escape::Class(members, negated) => self.class_of(&members, negated),
                    Escape::Assertion(text) => self.out.push_str(&text),
                    Escape::Quoted(text) => text.into_iter().for_each(|c| self.literal(c)),
                },
                '[' => self.class(0)?,
                '(' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return Err(format!("groups nest deeper than {MAX_DEPTH} levels"));
                    }
                    if self.group()? {
                        depth -= 1;
                    }
                }
                ')' => {
                    depth = depth.checked_sub(1).ok_or("a `)` closes no group")?;
                    self.out.push(')');
                }
                '{' => self.repetition()?,
                '.' | '*' | '+' | '?' | '|' | '^' | '$' => self.out.push(c),
                other => self.literal(other),
            }
        }
        if depth > 0 { Err("a group is not closed".into()) } else { Ok(()) }
    }

    /// One character that stands for itself.
    fn literal(&mut self, c: char) {
        if self.fold && c.is_ascii_alphabetic() {
            self.out.extend(['[', c.to_ascii_lowercase(), c.to_ascii_uppercase(), ']']);
        } else {
            push_escaped(&mut self.out, c);
        }
    }

    fn class_of(&mut self, members: &str, negated: bool) {
        self.out.push_str(if negated { "[^" } else { "[" });
        self.out.push_str(members);
        self.out.push(']');
    }

    /// What follows `(`; yields whether the group is over already, as `(?i)` is.
    fn group(&mut self) -> Result<bool, String> {
        if !self.eat("?") {
            self.out.push('(');
            return Ok(false);
        }
        for kind in [":", "=", "!", ">", "<=", "<!"] {
            if self.eat(kind) {
                self.out.push_str("(?");
                self.out.push_str(kind);
                return Ok(false);
            }
        }
        if self.eat("<") {
            let name = self.name('>')?;
            self.out.push_str(&format!("(?<{name}>"));
            return Ok(false);
        }
        self.flags()
    }

    /// A group's name up to a closing character.
    fn name(&mut self, close: char) -> Result<String, String> {
        let mut name = String::new();
        while let Some(c) = self.next() {
            if c == close && name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Ok(name);
            }
            if !c.is_ascii_alphanumeric() {
                break;
            }
            name.push(c);
        }
        Err("a group's name must be letters and digits, beginning with a letter".into())
    }

    /// `(?i)`, `(?s-m:` and the like.
    fn flags(&mut self) -> Result<bool, String> {
        let (mut kept, mut off) = (String::new(), false);
        while let Some(c) = self.next() {
            match c {
                ')' | ':' => {
                    self.out.push_str(&if kept.is_empty() { "(?:".to_owned() } else { format!("(?{kept}{c}") });
                    if kept.is_empty() && c == ')' {
                        self.out.push(')');
                    }
                    return Ok(c == ')');
                }
                '-' if !off => {
                    off = true;
                    kept.push('-');
                }
                'i' if off && self.fold => return Err("`(?-i)` has no place here: case is always ignored".into()),
                'i' | 's' | 'm' => kept.push(c),
                // Letters beyond ASCII are compared without regard to case by `i` alone.
                'u' => {}
                other => return Err(format!("the flag `(?{other})` is not supported")),
            }
        }
        Err("a group is not closed".into())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is an error in Java, too.
    fn repetition(&mut self) -> Result<(), String> {
        let close = self.chars[self.at..].iter().position(|c| *c == '}').map(|i| self.at + i);
        let wrong =
            || "a `{` must begin a repetition such as `{2}`, `{2,}` or `{2,5}`; escape it with `\\{`".to_owned();
        let inner: String = self.chars[self.at..close.ok_or_else(wrong)?].iter().collect();
        let (low, high) = inner.split_once(',').unwrap_or((&inner, &inner));
        let count = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        let low = count(low).ok_or_else(wrong)?;
        let high = if high.is_empty() { low } else { count(high).ok_or_else(wrong)? };
        if low.max(high) > MAX_COUNT {
            return Err(format!("a repetition counts to more than {MAX_COUNT}"));
        }
        if high < low {
            return Err(format!("the repetition `{{{inner}}}` ends below its begin"));
        }
        self.out.push_str(&format!("{{{inner}}}"));
        self.at += inner.chars().count() + 1;
        Ok(())
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<Escape, String> {
        let c = self.next().ok_or("the expression ends with a lone backslash")?;
        let class = |members: &str, negated: bool| Ok(Escape::Class(members.to_owned(), negated));
        let plain = |c: char| Ok(Escape::Char(c));
        match c {
            'd' | 'D' => class("0-9", c == 'D'),
            'w' | 'W' => class("a-zA-Z_0-9", c == 'W'),
            's' | 'S' => class(SPACE, c == 'S'),
            'h' | 'H' => class(BLANK, c == 'H'),
            'v' | 'V' => class(LINE_END, c == 'V'),
            'p' | 'P' => self.property(c == 'P'),
            'R' => Ok(Escape::Assertion(format!(r"(?>\r\n|[{LINE_END}])"))),
            'b' | 'B' | 'A' | 'z' => Ok(Escape::Assertion(format!("\\{c}"))),
            'Z' => Ok(Escape::Assertion(r"(?=\n?\z)".into())),
            'Q' => Ok(Escape::Quoted(self.quoted())),
            'k' => {
                let name =
                    if self.eat("<") { self.name('>')? } else { return Err("`\\k` needs a name: `\\k<name>`".into()) };
                self.same_again(&format!("\\k<{name}>"))
            }
            '1'..='9' => self.same_again(&format!("\\{c}")),
            't' => plain('\t'),
            'n' => plain('\n'),
            'r' => plain('\r'),
            'f' => plain('\x0c'),
            'a' => plain('\x07'),
            'e' => plain('\x1b'),
            'c' => {
                let of = self.next().filter(char::is_ascii).ok_or("`\\c` needs a letter")?;
                plain(char::from((of as u8) ^ 64))
            }
            '0' => self.number(8, 3, "`\\0` needs one to three octal digits").and_then(plain),
            'u' => self.number(16, 4, "`\\u` needs four hexadecimal digits").and_then(plain),
            'x' if self.eat("{") => {
                let c = self.number(16, 6, "`\\x{` needs hexadecimal digits and a `}`")?;
                if self.eat("}") { plain(c) } else { Err("`\\x{` is not closed".into()) }
            }
            'x' => self.number(16, 2, "`\\x` needs two hexadecimal digits").and_then(plain),
            other if other.is_ascii_alphabetic() => Err(format!("the escape `\\{other}` is not supported")),
            other => plain(other),
        }
    }

    /// A back-reference. The library compares what it repeats letter by letter.
    fn same_again(&self, reference: &str) -> Result<Escape, String> {
        if self.fold {
            return Err("a back-reference is not supported where case is ignored".into());
        }
        Ok(Escape::Assertion(format!("(?:{reference})")))
    }

    fn quoted(&mut self) -> Vec<char> {
        let mut text = Vec::new();
        while self.at < self.chars.len() && !self.eat("\\E") {
            text.extend(self.next());
        }
        text
    }

    /// A character by its number. `\x` and `\u` need all digits, octal numbers and `\x{` take what is there.
    fn number(&mut self, radix: u32, most: usize, wrong: &str) -> Result<char, String> {
        let digits: String = self.chars[self.at..].iter().take(most).take_while(|c| c.is_digit(radix)).collect();
        if digits.is_empty() || (matches!(most, 2 | 4) && digits.len() < most) {
            return Err(wrong.to_owned());
        }
        self.at += digits.len();
        let number = u32::from_str_radix(&digits, radix).map_err(|_| wrong.to_owned())?;
        char::from_u32(number).ok_or_else(|| format!("`{digits}` is no character"))
    }

    /// `\p{Name}` or `\pN`.
    fn property(&mut self, negated: bool) -> Result<Escape, String> {
        let name: String = if self.eat("{") {
            let close = self.chars[self.at..].iter().position(|c| *c == '}').ok_or("`\\p{` is not closed")?;
            let name = self.chars[self.at..self.at + close].iter().collect();
            self.at += close + 1;
            name
        } else {
            self.next().ok_or("`\\p` needs the name of a property")?.to_string()
        };
        property(&name, self.fold).map(|members| Escape::Class(members, negated))
    }

    /// A class, after its `[`.
    fn class(&mut self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("classes nest deeper than {MAX_DEPTH} levels"));
        }
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let c = self.next().ok_or("a class `[` is not closed")?;
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '[' => self.class(depth + 1)?,
                '&' if self.eat("&") => self.out.push_str("&&"),
                '\\' => match self.escape()? {
                    Escape::Char(c) => self.class_range(c)?,
                    Escape::Class(members, negated) => self.class_of(&members, negated),
                    Escape::Quoted(text) => text.into_iter().for_each(|c| self.class_members(c, c)),
                    Escape::Assertion(_) => return Err("a class cannot hold a position or a back-reference".into()),
                },
                other => self.class_range(other)?,
            }
            first = false;
        }
    }

    /// A character of a class, or the range that it begins.
    fn class_range(&mut self, from: char) -> Result<(), String> {
        let ranges = self.peek() == Some('-') && !matches!(self.chars.get(self.at + 1), None | Some(']' | '['));
        if !ranges {
            self.class_members(from, from);
            return Ok(());
        }
        self.at += 1;
        let to = match self.next().ok_or("a class `[` is not closed")? {
            '\\' => match self.escape()? {
                Escape::Char(c) => c,
                _ => return Err("a range of a class must end with one character".into()),
            },
            other => other,
        };
        if to < from {
            return Err(format!("the range `{from}-{to}` ends below its begin"));
        }
        self.class_members(from, to);
        Ok(())
    }

    fn class_members(&mut self, from: char, to: char) {
        push_range(&mut self.out, from, to);
        if self.fold {
            let within = |low: char, high: char| (from.max(low), to.min(high));
            let (low, high) = within('a', 'z');
            if low <= high {
                push_range(&mut self.out, low.to_ascii_uppercase(), high.to_ascii_uppercase());
            }
            let (low, high) = within('A', 'Z');
            if low <= high {
                push_range(&mut self.out, low.to_ascii_lowercase(), high.to_ascii_lowercase());
            }
        }
    }
}

fn push_range(out: &mut String, from: char, to: char) {
    push_escaped(out, from);
    if from != to {
        out.push('-');
        push_escaped(out, to);
    }
}

/// A character that stands for itself, inside a class or outside.
fn push_escaped(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() {
        out.push(c);
    } else {
        out.push_str(&format!("\\x{:02X}", c as u32));
    }
}

/// The members of a property's class.
fn property(name: &str, fold: bool) -> Result<String, String> {
    let ascii = match name {
        "Lower" | "Upper" if fold => "a-zA-Z",
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => r"\x00-\x7F",
        "Alpha" => "a-zA-Z",
        "Digit" => "0-9",
        "Alnum" => "a-zA-Z0-9",
        "Punct" => r"\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E",
        "Graph" => r"\x21-\x7E",
        "Print" => r"\x20-\x7E",
        "Blank" => r" \t",
        "Cntrl" => r"\x00-\x1F\x7F",
        "XDigit" => "0-9a-fA-F",
        "Space" => SPACE,
        "javaLowerCase" => r"\p{Lowercase}",
        "javaUpperCase" => r"\p{Uppercase}",
        "javaWhitespace" => r"\p{White_Space}",
        "javaLetter" | "javaAlphabetic" => r"\p{Alphabetic}",
        "javaDigit" => r"\p{Nd}",
        "javaLetterOrDigit" => r"\p{L}\p{Nd}",
        _ => "",
    };
    if !ascii.is_empty() {
        return Ok(ascii.to_owned());
    }
    let word = name.strip_prefix("Is").unwrap_or(name);
    let word = word.split_once('=').map_or(word, |(_, value)| value);
    let block = name.starts_with("In") || name.starts_with("blk=") || name.starts_with("block=");
    let proper = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // Whether the library knows the name is asked of the library: an unknown one fails when the whole is compiled.
    if block || !proper {
        return Err(format!("the property `\\p{{{name}}}` is not supported"));
    }
    Ok(format!(r"\p{{{word}}}"))
}

#[cfg(test)]
mod tests {
    use crate::pattern::Whole;

    #[track_caller]
    fn check(expression: &str, yes: &[&str], no: &[&str]) {
        let whole = Whole::compile(expression, false).unwrap();
        for (names, expected) in [(yes, true), (no, false)] {
            for name in names {
                assert_eq!(whole.matches(name).unwrap(), expected, "{expression} on {name:?}");
            }
        }
    }

    #[test]
    fn java_only_syntax_means_what_it_means_in_java() {
        check(r"\d+", &["12"], &["١٢", ""]);
        check(r"\w+", &["a_1"], &["é", "日本"]);
        check(r"a\sb", &["a b", "a\tb"], &["a\u{a0}b"]);
        check(r"a\hb", &["a b", "a\u{a0}b"], &["aab", "a1b"]);
        check(r"\Qa.b*\E+", &["a.b*", "a.b**"], &["axb*"]);
        check(r"\Qa.b", &["a.b"], &["axb"]);
        check(r"a++b", &["aab"], &["aa"]);
        check(r"a*+a", &[], &["aaa"]);
        check(r"(?>a|ab)c", &["ac"], &["abc"]);
        check(r"(?!tmp_).*", &["orders"], &["tmp_orders"]);
        check(r".*(?<!_bak)", &["orders"], &["orders_bak"]);
        check(r"(?<x>\w+)_\k<x>", &["ab_ab"], &["ab_ac"]);
        check(r"(\w)\1", &["aa"], &["ab"]);
        check(r"[a-z&&[^bc]]+", &["ad"], &["ab"]);
        check(r"[a-c[x-z]]+", &["ax"], &["am"]);
        check(r"[]a]+", &["]a"], &["b"]);
        check(r"[\w-]+", &["a-b"], &["a b"]);
        check(r"[\d\-x]+", &["1-x"], &["y"]);
        check(r"\p{Lower}+", &["abc"], &["é", "A"]);
        check(r"\p{IsAlphabetic}+\pL", &["éß"], &["12"]);
        check(r"\p{javaUpperCase}\P{Lu}", &["Éa"], &["éa", "ÉA"]);
        check(r"\p{IsHan}{2}", &["日本"], &["ab"]);
        check(r"\x41\u0042\x{43}\0104\t\cA", &["ABCD\t\u{1}"], &["abcd\t\u{1}"]);
        check(r"(?i)abc", &["ABC"], &[]);
        check(r"(?i:a)b", &["Ab"], &["aB"]);
        check(r"a{2}b{1,}c{0,2}", &["aab", "aabbcc"], &["ab", "aabccc"]);
        check(r"a]b}", &["a]b}"], &[]);
        check(r"a|b", &["a", "b"], &["ab"]);
        check(r"#~\-&", &["#~-&"], &[]);
    }

    #[test]
    fn case_is_ignored_for_ascii_letters_only() {
        let whole = |e: &str| Whole::compile(e, true).unwrap();
        assert!(whole("Orders_[a-c]").matches("oRDERS_B").unwrap());
        assert!(whole("[^a]").matches("b").unwrap() && !whole("[^a]").matches("A").unwrap());
        assert!(whole("é").matches("é").unwrap() && !whole("é").matches("É").unwrap());
        assert!(!whole("k").matches("\u{212a}").unwrap(), "the Kelvin sign is no k");
        assert!(Whole::compile(r"(\w+)_\1", true).unwrap_err().contains("back-reference"));
        assert!(whole(r"\p{Upper}\Qx\E").matches("aX").unwrap());
    }

    #[test]
    fn what_java_refuses_or_we_cannot_is_named() {
        let cases = [
            ("(a", "not closed"),
            ("a)", "closes no group"),
            ("[a", "not closed"),
            ("a{x}", "must begin a repetition"),
            ("a{1,2", "must begin a repetition"),
            ("a{3,1}", "below its begin"),
            ("a{100000}", "more than 1000"),
            ("[z-a]", "below its begin"),
            ("a\\", "lone backslash"),
            (r"\y", "escape `\\y`"),
            (r"\p{InGreek}", "property"),
            (r"\p{Nonsense}", ""),
            ("(?x)a", "flag"),
            ("*a", "target of repeat"),
            (r"\ud800", "no character"),
            (r"a\k<b>", ""),
        ];
        for (expression, part) in cases {
            let error = Whole::compile(expression, false).unwrap_err();
            assert!(error.contains(part), "{expression}: {error}");
            assert!(!error.contains('\n') && error.len() < 200, "{expression}: {error}");
        }
    }

    #[test]
    fn costly_expressions_are_bounded() {
        for bomb in ["(a{500}){500}".to_owned(), format!("{}a", "(".repeat(100)), "[".repeat(100), "a".repeat(100_000)]
        {
            assert!(Whole::compile(&bomb, true).is_err());
        }
        let nested = Whole::compile("(a+)+", false).unwrap();
        assert!(!nested.matches(&format!("{}b", "a".repeat(5_000))).unwrap(), "runs in linear time");
        let look = Whole::compile(r"(?=(a+)+\1$).*b", false).unwrap();
        let error = look.matches(&"a".repeat(64)).unwrap_err();
        assert_eq!(error.code(), crate::Code::PatternTooCostly);
    }
}
