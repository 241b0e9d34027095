//! Random expressions over the columns of a table, in words that mean the same in both languages.

use crate::random::Random;

/// What type an expression has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    /// `DECIMAL(10, 2)`.
    Decimal,
    Float,
    Text,
    Truth,
    Instant,
}

impl Kind {
    pub(super) const ALL: [Kind; 6] =
        [Kind::Number, Kind::Decimal, Kind::Float, Kind::Text, Kind::Truth, Kind::Instant];

    pub(super) fn sql(self) -> &'static str {
        match self {
            Kind::Number => "BIGINT",
            Kind::Decimal => "DECIMAL(10, 2)",
            Kind::Float => "DOUBLE",
            Kind::Text => "STRING",
            Kind::Truth => "BOOLEAN",
            Kind::Instant => "TIMESTAMP(3)",
        }
    }
}

/// Makes expressions over the columns of these tables: `a.`, or nothing where there is one only.
#[derive(Debug)]
pub(super) struct Expressions<'r> {
    pub(super) random: &'r mut Random,
    tables: &'static [&'static str],
}

impl<'r> Expressions<'r> {
    pub(super) fn new(random: &'r mut Random, tables: &'static [&'static str]) -> Self {
        Self { random, tables }
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.random.below(choices.len())]
    }

    pub(super) fn column(&mut self, name: &str) -> String {
        format!("{}{name}", self.pick(self.tables))
    }

    fn number(&mut self) -> i64 {
        self.random.below(13) as i64 - 6
    }

    /// An expression of a kind. Numbers stay so small that nothing overflows.
    pub(super) fn of(&mut self, kind: Kind, depth: u32) -> String {
        if depth > 0 && self.random.below(3) == 0 {
            let (one, other) = (self.of(kind, depth - 1), self.of(kind, depth - 1));
            return match self.random.below(3) {
                0 => format!("COALESCE({one}, {other})"),
                1 => format!("CASE WHEN {} THEN {one} ELSE {other} END", self.condition(depth - 1)),
                _ => format!("CASE WHEN {} THEN {one} END", self.condition(depth - 1)),
            };
        }
        match kind {
            Kind::Number if depth > 0 => {
                let (one, other) = (self.of(kind, depth - 1), self.of(kind, depth - 1));
                match self.random.below(6) {
                    0 => format!("({one} + {other})"),
                    1 => format!("({one} - {other})"),
                    2 => format!("({one} * {})", self.number()),
                    3 => format!("ABS({one})"),
                    4 => format!("NULLIF({one}, {})", self.number()),
                    _ => format!("({one} % 5)"),
                }
            }
            Kind::Number => match self.random.below(8) {
                0 => self.number().to_string(),
                1 => self.column("id"),
                2 | 3 => self.column("g"),
                _ => self.column("v"),
            },
            Kind::Decimal => self.column("n"),
            Kind::Float if depth > 0 && self.random.below(2) == 0 => {
                let (one, other) = (self.of(kind, depth - 1), self.of(kind, depth - 1));
                format!("({one} {} {other})", self.pick(&["+", "-"]))
            }
            Kind::Float => self.column("f"),
            Kind::Text if depth > 0 => {
                let one = self.of(kind, depth - 1);
                match self.random.below(3) {
                    0 => format!("UPPER({one})"),
                    1 => format!("({one} || {})", self.pick(&["'x'", "''", "'é'"])),
                    _ => format!("({one} || {})", self.of(kind, depth - 1)),
                }
            }
            Kind::Text => self.column("k"),
            Kind::Truth => self.condition(depth),
            Kind::Instant if depth > 0 => {
                let one = self.of(kind, depth - 1);
                format!("({one} {} INTERVAL '{}' SECOND)", self.pick(&["+", "-"]), self.random.below(90))
            }
            Kind::Instant => self.column("ts"),
        }
    }

    /// What stands in WHERE, HAVING, ON and FILTER.
    pub(super) fn condition(&mut self, depth: u32) -> String {
        if depth > 0 && self.random.below(2) == 0 {
            let (one, other) = (self.condition(depth - 1), self.condition(depth - 1));
            return match self.random.below(4) {
                0 => format!("NOT ({one})"),
                1 => format!("({one} OR {other})"),
                2 => format!("({one}) IS {}", self.pick(&["TRUE", "NOT TRUE", "FALSE", "UNKNOWN"])),
                _ => format!("({one} AND {other})"),
            };
        }
        let kind =
            self.pick(&[Kind::Number, Kind::Number, Kind::Decimal, Kind::Float, Kind::Text, Kind::Truth]);
        let one = match kind {
            Kind::Truth => return self.column("t"),
            kind => self.of(kind, depth.saturating_sub(1)),
        };
        let relation = self.pick(&["=", "<>", "<", "<=", ">", ">="]);
        match (kind, self.random.below(6)) {
            (_, 0) => format!("{one} IS {}NULL", self.pick(&["", "NOT "])),
            (_, 1) => format!("{one} IS {}DISTINCT FROM {}", self.pick(&["", "NOT "]), self.of(kind, 0)),
            (Kind::Number, 2) => {
                format!("{one} {}IN ({}, {}, 3)", self.pick(&["", "NOT "]), self.number(), self.number())
            }
            (Kind::Number, 3) => {
                format!("{one} {}BETWEEN -3 AND {}", self.pick(&["", "NOT "]), self.number())
            }
            (Kind::Number, 4) => format!("{one} {relation} {}", self.number()),
            (Kind::Text, 2) => format!("{one} LIKE {}", self.pick(&["'a%'", "'%b'", "'_'", "''"])),
            (Kind::Text, 3) => format!("{one} {relation} {}", self.pick(&["'a'", "'b'", "''", "'é'"])),
            (Kind::Float, 2) => format!("{one} {relation} 1.5e0"),
            (Kind::Decimal, 2) => format!("{one} {relation} 12.34"),
            _ => format!("{one} {relation} {}", self.of(kind, 0)),
        }
    }
}
