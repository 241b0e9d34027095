//! Random typed expressions, in both languages.

use logmill_stream::Decimal;
use logmill_stream::time::{Iso, IsoDate};

use super::generator::Generator;

/// The types expressions are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Float,
    Decimal,
    Text,
    Truth,
    Instant,
    Day,
}

const KINDS: [Kind; 7] =
    [Kind::Integer, Kind::Float, Kind::Decimal, Kind::Text, Kind::Truth, Kind::Instant, Kind::Day];

/// An expression in both languages.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) ours: String,
    pub(crate) duck: String,
}

impl Pair {
    fn same(text: impl Into<String>) -> Pair {
        let text = text.into();
        Pair { duck: text.clone(), ours: text }
    }

    fn new(ours: impl Into<String>, duck: impl Into<String>) -> Pair {
        Pair { ours: ours.into(), duck: duck.into() }
    }
}

/// Both languages' text from one form in which `{0}`, `{1}`.. stand for arguments.
fn form(text: &str, arguments: &[&Pair]) -> Pair {
    forms(text, text, arguments)
}

fn forms(ours: &str, duck: &str, arguments: &[&Pair]) -> Pair {
    let fill = |text: &str, side: fn(&Pair) -> &str| {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (index, after) = after.split_once('}').expect("a brace is closed");
            out.push_str(before);
            out.push_str(side(arguments[index.parse::<usize>().expect("a number")]));
            rest = after;
        }
        out + rest
    };
    Pair::new(fill(ours, |pair| &pair.ours), fill(duck, |pair| &pair.duck))
}

impl Generator {
    fn column(&mut self, kind: Kind) -> Pair {
        Pair::same(match kind {
            Kind::Integer => self.pick(&["i1", "i1", "i2", "i3"]),
            Kind::Float => self.pick(&["d1", "d2"]),
            Kind::Decimal => self.pick(&["n1", "n2"]),
            Kind::Text => self.pick(&["s1", "s2", "s3"]),
            Kind::Truth => self.pick(&["b1", "b2"]),
            Kind::Instant => self.pick(&["t1", "t2"]),
            Kind::Day => "y1",
        })
    }

    fn constant(&mut self, kind: Kind) -> Pair {
        match kind {
            Kind::Integer => {
                let value = match self.below(4) {
                    // DuckDB takes the least one's opposite for a wider integer.
                    0 => self.integer_value().max(-i64::MAX),
                    _ => self.between(-6, 12),
                };
                let ours = if value < 0 { format!("({value})") } else { value.to_string() };
                Pair::new(ours, format!("CAST('{value}' AS BIGINT)"))
            }
            Kind::Float => {
                let value = self.between(-400, 400) as f64 / 8.0;
                Pair::new(format!("({value:e})"), format!("CAST('{value:e}' AS DOUBLE)"))
            }
            Kind::Decimal => {
                let value = Decimal { unscaled: i128::from(self.between(-5_000, 5_000)), scale: 2 };
                Pair::new(format!("({value})"), format!("CAST('{value}' AS DECIMAL(5, 2))"))
            }
            Kind::Text => {
                let text = self.text_value();
                Pair::same(format!("'{text}'"))
            }
            Kind::Truth => Pair::same(self.pick(&["TRUE", "FALSE"])),
            Kind::Instant => {
                let text = Iso(self.instant_value()).to_string();
                let plain = text.trim_end_matches('Z').replace('T', " ");
                Pair::same(format!("TIMESTAMP '{plain}'"))
            }
            Kind::Day => {
                let day = IsoDate(self.instant_value().div_euclid(86_400_000) as i32);
                Pair::same(format!("DATE '{day}'"))
            }
        }
    }

    fn null(&mut self, kind: Kind) -> Pair {
        let (ours, duck) = match kind {
            Kind::Integer => ("BIGINT", "BIGINT"),
            Kind::Float => ("DOUBLE", "DOUBLE"),
            Kind::Decimal => ("DECIMAL(10, 2)", "DECIMAL(10, 2)"),
            Kind::Text => ("STRING", "VARCHAR"),
            Kind::Truth => ("BOOLEAN", "BOOLEAN"),
            Kind::Instant => ("TIMESTAMP(3)", "TIMESTAMP"),
            Kind::Day => ("DATE", "DATE"),
        };
        Pair::new(format!("CAST(NULL AS {ours})"), format!("CAST(NULL AS {duck})"))
    }

    fn any(&mut self, kind: Kind, depth: u32) -> Pair {
        if depth == 0 {
            return if self.below(3) == 0 { self.constant(kind) } else { self.column(kind) };
        }
        if self.below(6) == 0 {
            return self.any(kind, 0);
        }
        if self.below(7) == 0 {
            return self.choice(kind, depth - 1);
        }
        let depth = depth - 1;
        match kind {
            Kind::Integer => self.integer(depth),
            Kind::Float => self.float(depth),
            Kind::Decimal => self.decimal(depth),
            Kind::Text => self.text(depth),
            Kind::Truth => self.truth(depth),
            Kind::Instant => self.instant(depth),
            Kind::Day => self.day(depth),
        }
    }

    /// What there is for every type.
    fn choice(&mut self, kind: Kind, depth: u32) -> Pair {
        self.lazy = true;
        let (a, b) = (self.any(kind, depth), self.any(kind, depth));
        match self.below(6) {
            0 => {
                let when = self.any(Kind::Truth, depth);
                form("CASE WHEN {0} THEN {1} ELSE {2} END", &[&when, &a, &b])
            }
            1 => {
                let (when, then) = (self.any(Kind::Truth, depth), self.any(Kind::Truth, depth));
                form("CASE WHEN {0} THEN {1} WHEN {2} THEN {3} END", &[&when, &a, &then, &b])
            }
            2 => form("COALESCE({0}, {1}, {2})", &[&a, &self.null(kind), &b]),
            3 if a.ours != b.ours => form("NULLIF({0}, {1})", &[&a, &b]),
            4 if kind != Kind::Truth => form("GREATEST({0}, {1})", &[&a, &b]),
            5 if kind != Kind::Truth => form("LEAST({0}, {1})", &[&a, &b]),
            _ => form("COALESCE({0}, {1}, {0})", &[&a, &b]),
        }
    }

    fn integer(&mut self, depth: u32) -> Pair {
        let a = self.any(Kind::Integer, depth);
        match self.below(24) {
            0 | 1 => form("({0} + {1})", &[&a, &self.any(Kind::Integer, depth)]),
            2 | 3 => form("({0} - {1})", &[&a, &self.any(Kind::Integer, depth)]),
            4 => form("({0} * {1})", &[&a, &self.any(Kind::Integer, depth)]),
            5 => forms("({0} / {1})", "({0} // {1})", &[&a, &self.any(Kind::Integer, depth)]),
            6 => form("({0} % {1})", &[&a, &self.any(Kind::Integer, depth)]),
            7 => form("(-{0})", &[&a]),
            8 => form("ABS({0})", &[&a]),
            9 => forms("SIGN({0})", "CAST(SIGN({0}) AS BIGINT)", &[&a]),
            10 => form("({0} & {1})", &[&a, &self.any(Kind::Integer, depth)]),
            11 => form("({0} | {1})", &[&a, &self.any(Kind::Integer, depth)]),
            12 => forms("({0} # {1})", "XOR({0}, {1})", &[&a, &self.any(Kind::Integer, depth)]),
            13 => form("(~{0})", &[&a]),
            14 => {
                let by = self.between(0, 40);
                form(&format!("({{0}} >> {by})"), &[&a])
            }
            15 => form("LENGTH({0})", &[&self.any(Kind::Text, depth)]),
            16 => forms("OCTET_LENGTH({0})", "OCTET_LENGTH(ENCODE({0}))", &[&self.any(Kind::Text, depth)]),
            17 => form("STRPOS({0}, {1})", &[&self.any(Kind::Text, depth), &self.any(Kind::Text, 0)]),
            18 => forms("ASCII({0})", "CAST(ASCII({0}) AS BIGINT)", &[&self.any(Kind::Text, depth)]),
            19 => {
                let unit = self.pick(&[
                    "YEAR",
                    "QUARTER",
                    "MONTH",
                    "WEEK",
                    "DAY",
                    "HOUR",
                    "MINUTE",
                    "SECOND",
                    "MILLISECOND",
                    "DOW",
                    "ISODOW",
                    "DOY",
                    "ISOYEAR",
                    "CENTURY",
                    "DECADE",
                    "MILLENNIUM",
                ]);
                let instant = self.any(Kind::Instant, depth);
                form(&format!("EXTRACT({unit} FROM {{0}})"), &[&instant])
            }
            20 => {
                let (unit, name) = self.pick(&[
                    ("DAY", "day"),
                    ("HOUR", "hour"),
                    ("MINUTE", "minute"),
                    ("SECOND", "second"),
                    ("WEEK", "week"),
                ]);
                let (from, to) = (self.any(Kind::Instant, depth), self.any(Kind::Instant, depth));
                forms(
                    &format!("TIMESTAMPDIFF({unit}, {{0}}, {{1}})"),
                    &format!("DATE_SUB('{name}', {{0}}, {{1}})"),
                    &[&from, &to],
                )
            }
            21 => form("CAST({0} AS BIGINT)", &[&self.any(Kind::Float, depth)]),
            22 => form("CAST({0} AS BIGINT)", &[&self.any(Kind::Decimal, depth)]),
            _ => {
                let (from, to) = (self.any(Kind::Day, depth), self.any(Kind::Day, depth));
                form("({0} - {1})", &[&from, &to])
            }
        }
    }

    fn float(&mut self, depth: u32) -> Pair {
        let a = self.any(Kind::Float, depth);
        match self.below(13) {
            0..=3 => {
                let operator = self.pick(&["+", "-", "*", "/", "%"]);
                let b = self.any(Kind::Float, depth);
                forms(
                    &format!("({{0}} {operator} {{1}})"),
                    &format!("fin({{0}} {operator} {{1}})"),
                    &[&a, &b],
                )
            }
            4 => form("(-{0})", &[&a]),
            5 => form("ABS({0})", &[&a]),
            6 => form("FLOOR({0})", &[&a]),
            7 => form("CEIL({0})", &[&a]),
            8 => form("TRUNC({0})", &[&a]),
            9 => form("ROUND({0})", &[&a]),
            10 => forms("SQRT({0})", "fin(SQRT({0}))", &[&a]),
            11 => form("CAST({0} AS DOUBLE)", &[&self.any(Kind::Integer, depth)]),
            _ => {
                let b = self.any(Kind::Integer, depth);
                forms("({0} + {1})", "fin({0} + CAST({1} AS DOUBLE))", &[&a, &b])
            }
        }
    }

    fn decimal(&mut self, depth: u32) -> Pair {
        let a = self.any(Kind::Decimal, depth);
        match self.below(10) {
            0 | 1 => {
                let operator = self.pick(&["+", "-"]);
                form(&format!("({{0}} {operator} {{1}})"), &[&a, &self.any(Kind::Decimal, depth)])
            }
            // Of more factors digits after the point would give way.
            2 => form("({0} * {1})", &[&self.any(Kind::Decimal, 0), &self.any(Kind::Decimal, 0)]),
            3 => form("({0} % {1})", &[&a, &self.any(Kind::Decimal, 0)]),
            4 => form("(-{0})", &[&a]),
            5 => form("ABS({0})", &[&a]),
            6 => {
                let function = self.pick(&["FLOOR", "CEIL", "ROUND", "TRUNC"]);
                form(&format!("{function}({{0}})"), &[&a])
            }
            7 => {
                let digits = self.between(0, 2);
                form(&format!("ROUND({{0}}, {digits})"), &[&a])
            }
            8 => form("CAST({0} AS DECIMAL(12, 1))", &[&a]),
            _ => {
                let small = self.between(-9, 9);
                forms(
                    "CAST({0} AS DECIMAL(20, 1))",
                    "CAST({0} AS DECIMAL(20, 1))",
                    &[&Pair::new(format!("({small})"), format!("CAST({small} AS BIGINT)"))],
                )
            }
        }
    }

    fn text(&mut self, depth: u32) -> Pair {
        let a = self.any(Kind::Text, depth);
        match self.below(27) {
            0 | 1 => form("({0} || {1})", &[&a, &self.any(Kind::Text, depth)]),
            2 => form("UPPER({0})", &[&a]),
            3 => form("LOWER({0})", &[&a]),
            4 => form("TRIM({0})", &[&a]),
            5 => {
                let function = self.pick(&["LTRIM", "RTRIM"]);
                form(&format!("{function}({{0}}, 'ab ')"), &[&a])
            }
            6 => {
                let count = self.between(-4, 6);
                form(&format!("LEFT({{0}}, {count})"), &[&a])
            }
            7 => {
                let count = self.between(-4, 6);
                form(&format!("RIGHT({{0}}, {count})"), &[&a])
            }
            8 => {
                let (function, count) = (self.pick(&["LPAD", "RPAD"]), self.between(-2, 9));
                form(&format!("{function}({{0}}, {count}, 'é*')"), &[&a])
            }
            9 => {
                let (start, length) = (self.between(1, 6), self.between(0, 4));
                form(&format!("SUBSTRING({{0}}, {start}, {length})"), &[&a])
            }
            10 => {
                let start = self.between(1, 6);
                form(&format!("SUBSTRING({{0}}, {start})"), &[&a])
            }
            11 => form("REPLACE({0}, {1}, {2})", &[&a, &self.any(Kind::Text, 0), &self.any(Kind::Text, 0)]),
            12 => form("TRANSLATE({0}, 'abé1', 'zX')", &[&a]),
            13 => form("REVERSE({0})", &[&a]),
            14 => {
                let count = self.between(-1, 3);
                form(&format!("REPEAT({{0}}, {count})"), &[&a])
            }
            15 => {
                let number = self.pick(&[1, 2, 3, -1, -2]);
                form(&format!("SPLIT_PART({{0}}, ',', {number})"), &[&a])
            }
            16 => form("CONCAT({0}, {1})", &[&a, &self.any(Kind::Text, depth)]),
            17 => form("CONCAT_WS('-', {0}, {1})", &[&a, &self.any(Kind::Text, depth)]),
            18 => form("MD5({0})", &[&a]),
            19 => {
                let function = self.pick(&["SHA256", "SHA1"]);
                form(&format!("{function}({{0}})"), &[&a])
            }
            20 => forms("TO_HEX({0})", "LOWER(TO_HEX({0}))", &[&self.any(Kind::Integer, depth)]),
            21 => {
                let (pattern, replacement) =
                    self.pick(&[("[ab]", "#"), ("[0-9]+", ""), ("(a|b)(.)", "\\2\\1"), ("^.", "<")]);
                let flags = self.pick(&["", ", 'g'", ", 'gi'"]);
                form(&format!("REGEXP_REPLACE({{0}}, '{pattern}', '{replacement}'{flags})"), &[&a])
            }
            22 => {
                let (pattern, group) = self.pick(&[("[ab]+", 0), ("(.)a", 1), ("a(.)(.)", 2)]);
                forms(
                    &format!("REGEXP_EXTRACT({{0}}, '{pattern}', {group})"),
                    &format!(
                        "CASE WHEN REGEXP_MATCHES({{0}}, '{pattern}') THEN REGEXP_EXTRACT({{0}}, '{pattern}', {group}) END"
                    ),
                    &[&a],
                )
            }
            23 => forms("CAST({0} AS STRING)", "CAST({0} AS VARCHAR)", &[&self.any(Kind::Integer, depth)]),
            24 => {
                let (kind, of) = self.pick(&[("VARCHAR", Kind::Day), ("VARCHAR", Kind::Truth)]);
                forms("CAST({0} AS STRING)", &format!("CAST({{0}} AS {kind})"), &[&self.any(of, depth)])
            }
            25 => {
                let path = self.pick(&["$.a", "$.a.b", "$.b[0]", "$[1]", "$.c.a[1]", "$"]);
                match self.pick(&["", "lax ", "strict "]) {
                    "strict " => forms(
                        &format!("JSON_VALUE(j1, 'strict {path}')"),
                        &format!(
                            "CASE WHEN JSON_TYPE(j1, '{path}') IN ('OBJECT', 'ARRAY') THEN NULL \
                             ELSE JSON_EXTRACT_STRING(j1, '{path}') END"
                        ),
                        &[],
                    ),
                    mode => forms(
                        &format!("JSON_VALUE(j1, '{mode}{path}')"),
                        &format!("JSON_LAX(j1, '{path}')"),
                        &[],
                    ),
                }
            }
            _ => {
                let (ours, duck) = self.pick(&[
                    ("'yyyy-MM-dd HH:mm:ss'", "'%Y-%m-%d %H:%M:%S'"),
                    ("'yyyyMMddHHmmssSSS'", "'%Y%m%d%H%M%S%g'"),
                    ("'EEE d. MMM yyyy'", "'%a %-d. %b %Y'"),
                    ("'EEEE MMMM DDD h:mm a'", "'%A %B %j %-I:%M %p'"),
                ]);
                let instant = self.any(Kind::Instant, depth);
                forms(
                    &format!("DATE_FORMAT({{0}}, {ours})"),
                    &format!("STRFTIME({{0}}, {duck})"),
                    &[&instant],
                )
            }
        }
    }

    fn truth(&mut self, depth: u32) -> Pair {
        match self.below(16) {
            0..=4 => {
                let kind = self.pick(&KINDS);
                let operator = self.pick(&["=", "<>", "<", "<=", ">", ">="]);
                form(&format!("({{0}} {operator} {{1}})"), &[&self.any(kind, depth), &self.any(kind, depth)])
            }
            5 => {
                let (left, right) = self.pick(&[
                    (Kind::Integer, Kind::Decimal),
                    (Kind::Decimal, Kind::Float),
                    (Kind::Integer, Kind::Float),
                    (Kind::Day, Kind::Instant),
                ]);
                form("({0} < {1})", &[&self.any(left, depth), &self.any(right, depth)])
            }
            6 | 7 => {
                self.lazy = true;
                let operator = self.pick(&["AND", "OR"]);
                let (a, b) = (self.any(Kind::Truth, depth), self.any(Kind::Truth, depth));
                form(&format!("({{0}} {operator} {{1}})"), &[&a, &b])
            }
            8 => form("(NOT {0})", &[&self.any(Kind::Truth, depth)]),
            9 => {
                let kind = self.pick(&KINDS);
                let test = self.pick(&["IS NULL", "IS NOT NULL"]);
                form(&format!("({{0}} {test})"), &[&self.any(kind, depth)])
            }
            10 => {
                let test = self.pick(&["IS TRUE", "IS NOT TRUE", "IS FALSE", "IS NOT FALSE", "IS UNKNOWN"]);
                let duck = if test == "IS UNKNOWN" { "IS NULL" } else { test };
                let a = self.any(Kind::Truth, depth);
                forms(&format!("({{0}} {test})"), &format!("({{0}} {duck})"), &[&a])
            }
            11 => {
                let kind = self.pick(&KINDS);
                let test = self.pick(&["IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
                form(&format!("({{0}} {test} {{1}})"), &[&self.any(kind, depth), &self.any(kind, depth)])
            }
            12 => {
                self.lazy = true;
                let kind = self.pick(&KINDS);
                let [a, b, c] = [(); 3].map(|()| self.any(kind, 0));
                let not = self.pick(&["", "NOT "]);
                match self.below(2) {
                    0 => form(&format!("({{0}} {not}IN ({{1}}, {{2}}))"), &[&a, &b, &c]),
                    _ => form(&format!("({{0}} {not}BETWEEN {{1}} AND {{2}})"), &[&a, &b, &c]),
                }
            }
            13 => {
                let operator = self.pick(&["LIKE", "NOT LIKE", "ILIKE"]);
                let pattern = self.text_value() + self.pick(&["", "%", "_%"]);
                form(&format!("({{0}} {operator} '{pattern}')"), &[&self.any(Kind::Text, depth)])
            }
            14 => {
                let pattern = self.pick(&["^a", "[0-9]$", "a.b", "(ab|ba)+", "^$", "é", "^[^a]*$"]);
                let a = self.any(Kind::Text, depth);
                match self.below(2) {
                    0 => forms(
                        &format!("({{0}} ~ '{pattern}')"),
                        &format!("REGEXP_MATCHES({{0}}, '{pattern}')"),
                        &[&a],
                    ),
                    _ => forms(
                        &format!("({{0}} ~* '{pattern}')"),
                        &format!("REGEXP_MATCHES({{0}}, '{pattern}', 'i')"),
                        &[&a],
                    ),
                }
            }
            _ => {
                let (a, b) = (self.any(Kind::Text, depth), self.any(Kind::Text, 0));
                match self.below(3) {
                    0 => form("STARTS_WITH({0}, {1})", &[&a, &b]),
                    1 => form("ENDS_WITH({0}, {1})", &[&a, &b]),
                    _ => {
                        let path = self.pick(&["$.a", "$.a.b", "$.b[0]", "$[1]"]);
                        match self.pick(&["", "lax ", "strict "]) {
                            "strict " => forms(
                                &format!("JSON_EXISTS(j1, 'strict {path}')"),
                                &format!("JSON_EXISTS(j1, '{path}')"),
                                &[],
                            ),
                            mode => forms(
                                &format!("JSON_EXISTS(j1, '{mode}{path}')"),
                                &format!("JSON_LAX_EXISTS(j1, '{path}')"),
                                &[],
                            ),
                        }
                    }
                }
            }
        }
    }

    fn instant(&mut self, depth: u32) -> Pair {
        let a = self.any(Kind::Instant, depth);
        match self.below(6) {
            0 | 1 => {
                let unit = self.pick(&["MILLISECOND", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR"]);
                let (operator, count) = (self.pick(&["+", "-"]), self.between(-50, 50));
                forms(
                    &format!("({{0}} {operator} INTERVAL '{count}' {unit})"),
                    &format!("inside({{0}} {operator} INTERVAL ({count}) {unit})"),
                    &[&a],
                )
            }
            2 => {
                let unit =
                    self.pick(&["second", "minute", "hour", "day", "week", "month", "quarter", "year"]);
                form(&format!("DATE_TRUNC('{unit}', {{0}})"), &[&a])
            }
            3 => {
                let (unit, length) = self.pick(&[("MINUTE", 15), ("SECOND", 7), ("HOUR", 5), ("DAY", 3)]);
                forms(
                    &format!("DATE_BIN(INTERVAL '{length}' {unit}, {{0}})"),
                    &format!(
                        "inside(TIME_BUCKET(INTERVAL ({length}) {unit}, {{0}}, TIMESTAMP '1970-01-01'))"
                    ),
                    &[&a],
                )
            }
            4 => forms("CAST({0} AS TIMESTAMP(3))", "CAST({0} AS TIMESTAMP)", &[&self.any(Kind::Day, depth)]),
            _ => {
                let count = self.between(-2_000, 2_000);
                forms(
                    &format!("TIMESTAMPADD(HOUR, {count}, {{0}})"),
                    &format!("inside({{0}} + INTERVAL ({count}) HOUR)"),
                    &[&a],
                )
            }
        }
    }

    fn day(&mut self, depth: u32) -> Pair {
        match self.below(4) {
            0 => form("CAST({0} AS DATE)", &[&self.any(Kind::Instant, depth)]),
            1 => {
                let [year, month, day] = [self.between(1, 2_100), self.between(0, 13), self.between(0, 32)];
                Pair::same(format!("MAKE_DATE({year}, {month}, {day})"))
            }
            _ => {
                let (operator, days) = (self.pick(&["+", "-"]), self.between(-500, 500));
                let day = self.any(Kind::Day, depth);
                forms(
                    &format!("({{0}} {operator} ({days}))"),
                    &format!("CAST(inside(CAST({{0}} {operator} ({days}) AS TIMESTAMP)) AS DATE)"),
                    &[&day],
                )
            }
        }
    }

    /// At the root also what is only nearly the same, and what nests badly.
    pub(crate) fn root(&mut self) -> Pair {
        self.lazy = false;
        self.approximate = false;
        if self.below(10) > 0 {
            let kind = self.pick(&KINDS);
            let depth = self.between(1, 4) as u32;
            return self.any(kind, depth);
        }
        self.approximate = true;
        let depth = self.below(3) as u32;
        match self.below(3) {
            0 => {
                let function = self.pick(&[
                    "EXP", "LN", "LOG10", "LOG2", "SIN", "COS", "TAN", "ATAN", "CBRT", "SINH", "TANH",
                    "DEGREES", "RADIANS",
                ]);
                let a = self.any(Kind::Float, depth);
                forms(&format!("{function}({{0}})"), &format!("fin({function}({{0}}))"), &[&a])
            }
            1 => {
                let (a, b) = (self.any(Kind::Float, depth), self.any(Kind::Float, 0));
                forms("POWER({0}, {1})", "fin(POWER({0}, {1}))", &[&a, &b])
            }
            _ => {
                let (a, b) = (self.any(Kind::Decimal, 0), self.any(Kind::Decimal, 0));
                let duck = "CASE WHEN {0} IS NOT NULL AND {1} = 0 THEN error('zero') ELSE CAST({0} AS DOUBLE) / CAST({1} AS DOUBLE) END";
                forms("CAST({0} / {1} AS DOUBLE)", duck, &[&a, &b])
            }
        }
    }
}
