//! Expressions, from columns and constants.

use std::ops;

use super::{quoted, text};
use crate::value::DataType;

/// An expression over the columns of a row, or of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expr {
    sql: String,
}

/// A column that a query gives: an expression, with a name or under its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub(super) expression: Expr,
    pub(super) name: Option<String>,
}

impl From<Expr> for Item {
    fn from(expression: Expr) -> Item {
        Item { expression, name: None }
    }
}

/// A column, by its name.
pub fn col(name: &str) -> Expr {
    Expr { sql: quoted(name) }
}

/// A column of one of several tables.
pub fn column_of(table: &str, name: &str) -> Expr {
    Expr { sql: format!("{}.{}", quoted(table), quoted(name)) }
}

/// A constant: an integer, a `DOUBLE`, a truth value or a text.
pub fn lit(value: impl Into<Expr>) -> Expr {
    value.into()
}

/// No value.
pub fn null() -> Expr {
    Expr { sql: "NULL".to_owned() }
}

/// An expression as SQL writes it, for what has no method here.
pub fn raw(sql: &str) -> Expr {
    Expr { sql: format!("({sql})") }
}

/// A call of a function, built in or of the user's own.
pub fn call(name: &str, arguments: impl IntoIterator<Item = Expr>) -> Expr {
    let arguments: Vec<String> = arguments.into_iter().map(|argument| argument.sql).collect();
    Expr { sql: format!("{name}({})", arguments.join(", ")) }
}

/// How many rows a group has.
pub fn count_all() -> Expr {
    Expr { sql: "COUNT(*)".to_owned() }
}

/// How many values there are.
pub fn count(of: Expr) -> Expr {
    call("COUNT", [of])
}

/// The sum.
pub fn sum(of: Expr) -> Expr {
    call("SUM", [of])
}

/// The mean.
pub fn avg(of: Expr) -> Expr {
    call("AVG", [of])
}

/// The least.
pub fn min(of: Expr) -> Expr {
    call("MIN", [of])
}

/// The greatest.
pub fn max(of: Expr) -> Expr {
    call("MAX", [of])
}

/// `CASE WHEN condition THEN value`; more branches and the `ELSE` follow.
pub fn case(condition: Expr, then: impl Into<Expr>) -> When {
    When { sql: format!("CASE WHEN {condition} THEN {then}", then = then.into()) }
}

/// A `CASE` that is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    sql: String,
}

impl When {
    /// Another branch.
    pub fn when(self, condition: Expr, then: impl Into<Expr>) -> When {
        When { sql: format!("{} WHEN {condition} THEN {then}", self.sql, then = then.into()) }
    }

    /// The value where no branch is taken.
    pub fn otherwise(self, value: impl Into<Expr>) -> Expr {
        Expr { sql: format!("{} ELSE {} END", self.sql, value.into()) }
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sql)
    }
}

impl Expr {
    fn binary(self, operator: &str, right: impl Into<Expr>) -> Expr {
        Expr { sql: format!("({self} {operator} {})", right.into()) }
    }

    /// The expression under a name.
    pub fn named(self, name: &str) -> Item {
        Item { expression: self, name: Some(name.to_owned()) }
    }

    /// `=`
    pub fn eq(self, right: impl Into<Expr>) -> Expr {
        self.binary("=", right)
    }

    /// `<>`
    pub fn not_eq(self, right: impl Into<Expr>) -> Expr {
        self.binary("<>", right)
    }

    /// `<`
    pub fn lt(self, right: impl Into<Expr>) -> Expr {
        self.binary("<", right)
    }

    /// `<=`
    pub fn lt_eq(self, right: impl Into<Expr>) -> Expr {
        self.binary("<=", right)
    }

    /// `>`
    pub fn gt(self, right: impl Into<Expr>) -> Expr {
        self.binary(">", right)
    }

    /// `>=`
    pub fn gt_eq(self, right: impl Into<Expr>) -> Expr {
        self.binary(">=", right)
    }

    /// `AND`
    pub fn and(self, right: impl Into<Expr>) -> Expr {
        self.binary("AND", right)
    }

    /// `OR`
    pub fn or(self, right: impl Into<Expr>) -> Expr {
        self.binary("OR", right)
    }

    /// `||`
    pub fn concat(self, right: impl Into<Expr>) -> Expr {
        self.binary("||", right)
    }

    /// `LIKE`
    pub fn like(self, pattern: &str) -> Expr {
        self.binary("LIKE", pattern)
    }

    /// `BETWEEN`: neither below nor above.
    pub fn between(self, low: impl Into<Expr>, high: impl Into<Expr>) -> Expr {
        Expr { sql: format!("({self} BETWEEN {} AND {})", low.into(), high.into()) }
    }

    /// `IN`: one of these.
    pub fn is_in(self, values: impl IntoIterator<Item = impl Into<Expr>>) -> Expr {
        let values: Vec<String> = values.into_iter().map(|value| value.into().sql).collect();
        Expr { sql: format!("({self} IN ({}))", values.join(", ")) }
    }

    /// `IS NULL`
    pub fn is_null(self) -> Expr {
        Expr { sql: format!("({self} IS NULL)") }
    }

    /// `IS NOT NULL`
    pub fn is_not_null(self) -> Expr {
        Expr { sql: format!("({self} IS NOT NULL)") }
    }

    /// `CAST`
    pub fn cast(self, data_type: DataType) -> Expr {
        Expr { sql: format!("CAST({self} AS {data_type})") }
    }

    /// Of an aggregate: only of the rows for which this is true.
    pub fn only_where(self, condition: Expr) -> Expr {
        Expr { sql: format!("{self} FILTER (WHERE {condition})") }
    }

    /// Of an aggregate: of equal values one.
    pub fn distinct(self) -> Expr {
        Expr { sql: self.sql.replacen('(', "(DISTINCT ", 1) }
    }

    /// A function over the rows around each row: `partition` are its columns, `order` how they follow one another.
    pub fn over(
        self,
        partition: impl IntoIterator<Item = Expr>,
        order: impl IntoIterator<Item = Expr>,
    ) -> Expr {
        let list = |list: Vec<String>, before: &str| match list.is_empty() {
            true => String::new(),
            false => format!("{before} {}", list.join(", ")),
        };
        let partition: Vec<String> = partition.into_iter().map(|column| column.sql).collect();
        let order: Vec<String> = order.into_iter().map(|key| key.sql).collect();
        let (partition, order) = (list(partition, "PARTITION BY"), list(order, "ORDER BY"));
        let space = if partition.is_empty() || order.is_empty() { "" } else { " " };
        Expr { sql: format!("{self} OVER ({partition}{space}{order})") }
    }

    /// In an order: the greatest first.
    pub fn descending(self) -> Expr {
        Expr { sql: format!("{self} DESC") }
    }
}

impl From<i64> for Expr {
    fn from(value: i64) -> Expr {
        Expr { sql: value.to_string() }
    }
}

impl From<i32> for Expr {
    fn from(value: i32) -> Expr {
        Expr::from(i64::from(value))
    }
}

impl From<f64> for Expr {
    /// A `DOUBLE`; what is not finite is `NULL`, which is all that SQL has for it.
    fn from(value: f64) -> Expr {
        match value.is_finite() {
            true => Expr { sql: format!("{value:e}") },
            false => null(),
        }
    }
}

impl From<bool> for Expr {
    fn from(value: bool) -> Expr {
        Expr { sql: if value { "TRUE" } else { "FALSE" }.to_owned() }
    }
}

impl From<&str> for Expr {
    fn from(value: &str) -> Expr {
        Expr { sql: text(value) }
    }
}

impl From<String> for Expr {
    fn from(value: String) -> Expr {
        Expr::from(value.as_str())
    }
}

impl ops::Not for Expr {
    type Output = Expr;

    fn not(self) -> Expr {
        Expr { sql: format!("(NOT {self})") }
    }
}

impl ops::Neg for Expr {
    type Output = Expr;

    fn neg(self) -> Expr {
        Expr { sql: format!("(-{self})") }
    }
}

macro_rules! arithmetic {
    ($($operation:ident $method:ident $sign:literal),*) => {$(
        impl<R: Into<Expr>> ops::$operation<R> for Expr {
            type Output = Expr;

            fn $method(self, right: R) -> Expr {
                self.binary($sign, right)
            }
        }
    )*};
}

arithmetic!(Add add "+", Sub sub "-", Mul mul "*", Div div "/", Rem rem "%");
