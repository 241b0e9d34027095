//! Scalar expressions, with every name resolved and every type known.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::decimal::{self, MAX_PRECISION};
use crate::value::{DataType, Value};

/// A scalar expression. Its operands have the types its evaluation needs: the binder has put a [`Expression::Cast`]
/// wherever SQL converts by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Expression {
    /// A column of the input row.
    Column {
        /// Its index.
        index: usize,
        /// Its type.
        data_type: DataType,
        /// Its name, for people.
        name: String,
    },
    /// A constant. A `NULL` has the type its place asks for.
    Literal {
        /// The value.
        value: Value,
        /// Its type.
        data_type: DataType,
    },
    /// `-x`.
    Negate(Box<Expression>),
    /// `NOT x`, with three values.
    Not(Box<Expression>),
    /// `x IS NULL`.
    IsNull(Box<Expression>),
    /// `x IS TRUE`.
    IsTrue(Box<Expression>),
    /// An operator between two expressions.
    Binary {
        /// The operator.
        operator: BinaryOperator,
        /// What stands before it.
        left: Box<Expression>,
        /// What stands after it.
        right: Box<Expression>,
    },
    /// `text LIKE 'pattern'`: `%` any text, `_` one character.
    Like {
        /// The text.
        text: Box<Expression>,
        /// The pattern.
        pattern: String,
        /// The character that makes the next one of the pattern plain.
        escape: Option<char>,
    },
    /// `CASE WHEN .. THEN .. ELSE .. END`. A branch that is not taken cannot fail.
    Case {
        /// The branches, in order.
        branches: Vec<Branch>,
        /// The value when none is taken.
        otherwise: Box<Expression>,
    },
    /// A conversion between types.
    Cast {
        /// What is converted.
        operand: Box<Expression>,
        /// Into what.
        data_type: DataType,
    },
    /// A conversion between types that gives `NULL` for what it cannot convert.
    TryCast {
        /// What is converted.
        operand: Box<Expression>,
        /// Into what.
        data_type: DataType,
    },
    /// A built-in function.
    Call {
        /// Which.
        function: Function,
        /// Its arguments.
        arguments: Vec<Expression>,
    },
}

impl Expression {
    /// The type of the result.
    pub fn data_type(&self) -> DataType {
        match self {
            Expression::Column { data_type, .. }
            | Expression::Literal { data_type, .. }
            | Expression::Cast { data_type, .. }
            | Expression::TryCast { data_type, .. } => *data_type,
            Expression::Negate(operand) => operand.data_type(),
            Expression::Not(_) | Expression::IsNull(_) | Expression::IsTrue(_) | Expression::Like { .. } => {
                DataType::Boolean
            }
            Expression::Binary { operator, left, right } => match operator {
                BinaryOperator::Concat => DataType::String,
                operator if operator.is_arithmetic() => {
                    operator.result_type(left.data_type(), right.data_type())
                }
                _ => DataType::Boolean,
            },
            Expression::Case { otherwise, .. } => otherwise.data_type(),
            Expression::Call { function, arguments } => function.data_type(arguments),
        }
    }

    /// Calls `visit` for every column the expression reads.
    pub fn for_each_column(&self, visit: &mut impl FnMut(usize)) {
        match self {
            Expression::Column { index, .. } => visit(*index),
            Expression::Literal { .. } => {}
            Expression::Negate(operand)
            | Expression::Not(operand)
            | Expression::IsNull(operand)
            | Expression::IsTrue(operand)
            | Expression::Cast { operand, .. }
            | Expression::TryCast { operand, .. }
            | Expression::Like { text: operand, .. } => operand.for_each_column(visit),
            Expression::Binary { left, right, .. } => {
                left.for_each_column(visit);
                right.for_each_column(visit);
            }
            Expression::Case { branches, otherwise } => {
                for branch in branches {
                    branch.when.for_each_column(visit);
                    branch.then.for_each_column(visit);
                }
                otherwise.for_each_column(visit);
            }
            Expression::Call { arguments, .. } => {
                arguments.iter().for_each(|argument| argument.for_each_column(visit));
            }
        }
    }

    /// Replaces the index of every column it reads.
    pub fn remap_columns(&mut self, new_index: &impl Fn(usize) -> usize) {
        match self {
            Expression::Column { index, .. } => *index = new_index(*index),
            Expression::Literal { .. } => {}
            Expression::Negate(operand)
            | Expression::Not(operand)
            | Expression::IsNull(operand)
            | Expression::IsTrue(operand)
            | Expression::Cast { operand, .. }
            | Expression::TryCast { operand, .. }
            | Expression::Like { text: operand, .. } => operand.remap_columns(new_index),
            Expression::Binary { left, right, .. } => {
                left.remap_columns(new_index);
                right.remap_columns(new_index);
            }
            Expression::Case { branches, otherwise } => {
                for branch in branches {
                    branch.when.remap_columns(new_index);
                    branch.then.remap_columns(new_index);
                }
                otherwise.remap_columns(new_index);
            }
            Expression::Call { arguments, .. } => {
                arguments.iter_mut().for_each(|argument| argument.remap_columns(new_index));
            }
        }
    }
}

/// One `WHEN .. THEN ..`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// The condition.
    pub when: Expression,
    /// The value where it is true.
    pub then: Expression,
}

/// An operator between two expressions.
///
/// Arithmetic operands have the same type, but for the digits of decimals; `+` and `-` also take a `TIMESTAMP` and a
/// `BIGINT` of milliseconds (what an `INTERVAL` becomes), a `DATE` and a `BIGINT` of days, and two `DATE`s. Comparisons have operands of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BinaryOperator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`; between integers it cuts towards zero.
    Divide,
    /// `%`, with the sign of the left side.
    Modulo,
    /// `||`
    Concat,
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IS NOT DISTINCT FROM`: equal, with `NULL` equal to `NULL`.
    Same,
    /// `AND`, with three values; the right side cannot fail where the left is false.
    And,
    /// `OR`, with three values; the right side cannot fail where the left is true.
    Or,
}

impl BinaryOperator {
    /// Whether the result has the type of the left side.
    pub fn is_arithmetic(self) -> bool {
        use BinaryOperator::*;
        matches!(self, Add | Subtract | Multiply | Divide | Modulo)
    }

    /// The type of an arithmetic result.
    fn result_type(self, left: DataType, right: DataType) -> DataType {
        match (left, right) {
            (
                DataType::Decimal { precision: p1, scale: s1 },
                DataType::Decimal { precision: p2, scale: s2 },
            ) => {
                let (precision, scale) = decimal::result_shape(self, (p1, s1), (p2, s2));
                DataType::Decimal { precision, scale }
            }
            (DataType::Date, DataType::Date) => DataType::BigInt,
            _ => left,
        }
    }

    /// The operator as SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOperator::Add => "+",
            BinaryOperator::Subtract => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::Divide => "/",
            BinaryOperator::Modulo => "%",
            BinaryOperator::Concat => "||",
            BinaryOperator::Equal => "=",
            BinaryOperator::NotEqual => "<>",
            BinaryOperator::Less => "<",
            BinaryOperator::LessOrEqual => "<=",
            BinaryOperator::Greater => ">",
            BinaryOperator::GreaterOrEqual => ">=",
            BinaryOperator::Same => "IS NOT DISTINCT FROM",
            BinaryOperator::And => "AND",
            BinaryOperator::Or => "OR",
        }
    }
}

/// A built-in scalar function. Unless it says otherwise, the result is `NULL` when an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// `COALESCE(a, b, ..)`: the first that is not `NULL`; later ones cannot fail where an earlier one is taken.
    Coalesce,
    /// The integer itself where it fits a shorter type, else a fault.
    CheckRange(IntegerType),
    /// `NULLIF(a, b)`: `NULL` where they are equal, else `a`.
    NullIf,
    /// `GREATEST(a, b, ..)`: the greatest of those that are not `NULL`.
    Greatest,
    /// `LEAST(a, b, ..)`: the least of those that are not `NULL`.
    Least,
    /// `ABS(x)` of a number.
    Abs,
    /// `FLOOR(x)` of a `DOUBLE` or `DECIMAL`.
    Floor,
    /// `CEIL(x)` of a `DOUBLE` or `DECIMAL`.
    Ceil,
    /// `ROUND(x)` of a `DOUBLE` or `DECIMAL`, halves away from zero.
    Round,
    /// `UPPER(text)`.
    Upper,
    /// `LOWER(text)`.
    Lower,
    /// `TRIM(text)`: without white space at either end.
    Trim,
    /// `CHAR_LENGTH(text)` in characters.
    CharLength,
    /// `SUBSTRING(text FROM start [FOR length])`, counted in characters from 1.
    Substring,
    /// `REPLACE(text, from, to)`.
    Replace,
    /// `EXTRACT(unit FROM timestamp)`, in UTC.
    Extract(TimeUnit),
    /// `FLOOR(timestamp TO unit)`, in UTC.
    FloorTime(TimeUnit),
}

impl Function {
    fn data_type(self, arguments: &[Expression]) -> DataType {
        match self {
            Function::CheckRange(_) | Function::CharLength | Function::Extract(_) => DataType::BigInt,
            Function::Upper | Function::Lower | Function::Trim | Function::Substring | Function::Replace => {
                DataType::String
            }
            Function::Floor | Function::Ceil | Function::Round => match arguments[0].data_type() {
                // One digit more, for what is rounded up.
                DataType::Decimal { precision, scale } => {
                    let precision = (precision - scale + 1).min(MAX_PRECISION);
                    DataType::Decimal { precision, scale: 0 }
                }
                other => other,
            },
            Function::FloorTime(_) => DataType::Timestamp,
            Function::Coalesce | Function::NullIf | Function::Greatest | Function::Least | Function::Abs => {
                arguments[0].data_type()
            }
        }
    }

    /// The name as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Function::Coalesce => "COALESCE",
            Function::NullIf => "NULLIF",
            Function::CheckRange(integer) => integer.name(),
            Function::Greatest => "GREATEST",
            Function::Least => "LEAST",
            Function::Abs => "ABS",
            Function::Floor | Function::FloorTime(_) => "FLOOR",
            Function::Ceil => "CEIL",
            Function::Round => "ROUND",
            Function::Upper => "UPPER",
            Function::Lower => "LOWER",
            Function::Trim => "TRIM",
            Function::CharLength => "CHAR_LENGTH",
            Function::Substring => "SUBSTRING",
            Function::Replace => "REPLACE",
            Function::Extract(_) => "EXTRACT",
        }
    }
}

/// An integer type of SQL that is shorter than a `BIGINT`; its values are kept as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IntegerType {
    /// 8 bits.
    TinyInt,
    /// 16 bits.
    SmallInt,
    /// 32 bits.
    Int,
}

impl IntegerType {
    /// The values it has.
    pub fn range(self) -> RangeInclusive<i64> {
        match self {
            IntegerType::TinyInt => i8::MIN.into()..=i8::MAX.into(),
            IntegerType::SmallInt => i16::MIN.into()..=i16::MAX.into(),
            IntegerType::Int => i32::MIN.into()..=i32::MAX.into(),
        }
    }

    /// The type as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            IntegerType::TinyInt => "TINYINT",
            IntegerType::SmallInt => "SMALLINT",
            IntegerType::Int => "INT",
        }
    }
}

/// A unit of the calendar or the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// The year.
    Year,
    /// The month, 1 to 12.
    Month,
    /// The day of the month, 1 to 31.
    Day,
    /// The hour, 0 to 23.
    Hour,
    /// The minute, 0 to 59.
    Minute,
    /// The second, 0 to 59.
    Second,
}

impl TimeUnit {
    /// The unit as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Year => "YEAR",
            TimeUnit::Month => "MONTH",
            TimeUnit::Day => "DAY",
            TimeUnit::Hour => "HOUR",
            TimeUnit::Minute => "MINUTE",
            TimeUnit::Second => "SECOND",
        }
    }
}
