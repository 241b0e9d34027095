//! Scalar expressions, with every name resolved and every type known.

use serde::{Deserialize, Serialize};

use super::{Function, Pattern};
use crate::decimal;
use crate::functions::UserFunction;
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
    /// A regular expression against the first argument.
    Regex {
        /// What is asked of it.
        operation: RegexOperation,
        /// The expression.
        pattern: Pattern,
        /// The text, and for a replacement what comes in its place.
        arguments: Vec<Expression>,
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
    /// A scalar function of the user's own.
    User {
        /// Which.
        function: UserFunction,
        /// Its arguments, of the types declared.
        arguments: Vec<Expression>,
    },
    /// Values that are computed once and read several times: `x BETWEEN a AND b` reads `x` twice. Written out twice, such
    /// expressions inside one another would double with each level.
    With {
        /// The values.
        operands: Vec<Expression>,
        /// What reads them.
        result: Box<Expression>,
    },
    /// One of the operands of the innermost [`Expression::With`] around it.
    Operand {
        /// Its place among them.
        index: usize,
        /// Its type.
        data_type: DataType,
    },
}

impl Expression {
    /// The type of the result.
    pub fn data_type(&self) -> DataType {
        match self {
            Expression::Column { data_type, .. }
            | Expression::Literal { data_type, .. }
            | Expression::Operand { data_type, .. }
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
            Expression::With { result, .. } => result.data_type(),
            Expression::Call { function, arguments } => function.data_type(arguments),
            Expression::User { function, .. } => function.signature().result(),
            Expression::Regex { operation, .. } => match operation {
                RegexOperation::Matches => DataType::Boolean,
                RegexOperation::Count => DataType::BigInt,
                RegexOperation::Extract { .. } | RegexOperation::Replace { .. } => DataType::String,
            },
        }
    }

    /// Calls `visit` for the expression and every expression in it.
    pub(crate) fn for_each(&self, visit: &mut impl FnMut(&Expression)) {
        visit(self);
        match self {
            Expression::Column { .. } | Expression::Literal { .. } | Expression::Operand { .. } => {}
            Expression::Negate(operand)
            | Expression::Not(operand)
            | Expression::IsNull(operand)
            | Expression::IsTrue(operand)
            | Expression::Cast { operand, .. }
            | Expression::TryCast { operand, .. }
            | Expression::Like { text: operand, .. } => operand.for_each(visit),
            Expression::Binary { left, right, .. } => {
                left.for_each(visit);
                right.for_each(visit);
            }
            Expression::Case { branches, otherwise } => {
                for branch in branches {
                    branch.when.for_each(visit);
                    branch.then.for_each(visit);
                }
                otherwise.for_each(visit);
            }
            Expression::Call { arguments, .. }
            | Expression::User { arguments, .. }
            | Expression::Regex { arguments, .. } => {
                arguments.iter().for_each(|argument| argument.for_each(visit));
            }
            Expression::With { operands, result } => {
                operands.iter().for_each(|operand| operand.for_each(visit));
                result.for_each(visit);
            }
        }
    }

    /// Calls `visit` for every column the expression reads.
    pub fn for_each_column(&self, visit: &mut impl FnMut(usize)) {
        self.for_each(&mut |part| {
            if let Expression::Column { index, .. } = part {
                visit(*index);
            }
        });
    }

    /// Whether it may fail for a row, as a division and a conversion may; of what is not known to have a value for every
    /// row it is believed.
    pub(crate) fn may_fail(&self) -> bool {
        let mut found = false;
        self.for_each(&mut |part| {
            found |= match part {
                Expression::Binary { operator, .. } => {
                    operator.is_arithmetic() || *operator == BinaryOperator::Concat
                }
                Expression::Call { function, .. } => call_may_fail(*function),
                Expression::Negate(operand) => operand.data_type() == DataType::BigInt,
                Expression::Cast { operand, data_type } => cast_may_fail(operand.data_type(), *data_type),
                Expression::User { .. } | Expression::Regex { .. } => true,
                Expression::Column { .. }
                | Expression::Literal { .. }
                | Expression::Not(_)
                | Expression::IsNull(_)
                | Expression::IsTrue(_)
                | Expression::Like { .. }
                | Expression::Case { .. }
                | Expression::TryCast { .. }
                | Expression::With { .. }
                | Expression::Operand { .. } => false,
            };
        });
        found
    }

    /// Whether its value depends on the frozen processing time.
    pub(crate) fn reads_clock(&self) -> bool {
        let mut reads = false;
        self.for_each(&mut |part| reads |= matches!(part, Expression::Call { function: Function::Now, .. }));
        reads
    }

    /// Replaces the index of every column it reads.
    pub fn remap_columns(&mut self, new_index: &impl Fn(usize) -> usize) {
        self.replace_columns(&|column| {
            if let Expression::Column { index, .. } = column {
                *index = new_index(*index);
            }
        });
    }

    /// Replaces every column it reads.
    pub(crate) fn replace_columns(&mut self, replace: &impl Fn(&mut Expression)) {
        match self {
            Expression::Column { .. } => replace(self),
            Expression::Literal { .. } | Expression::Operand { .. } => {}
            Expression::Negate(operand)
            | Expression::Not(operand)
            | Expression::IsNull(operand)
            | Expression::IsTrue(operand)
            | Expression::Cast { operand, .. }
            | Expression::TryCast { operand, .. }
            | Expression::Like { text: operand, .. } => operand.replace_columns(replace),
            Expression::Binary { left, right, .. } => {
                left.replace_columns(replace);
                right.replace_columns(replace);
            }
            Expression::Case { branches, otherwise } => {
                for branch in branches {
                    branch.when.replace_columns(replace);
                    branch.then.replace_columns(replace);
                }
                otherwise.replace_columns(replace);
            }
            Expression::Call { arguments, .. }
            | Expression::User { arguments, .. }
            | Expression::Regex { arguments, .. } => {
                arguments.iter_mut().for_each(|argument| argument.replace_columns(replace));
            }
            Expression::With { operands, result } => {
                operands.iter_mut().for_each(|operand| operand.replace_columns(replace));
                result.replace_columns(replace);
            }
        }
    }
}

/// Whether a function may fail for a row; of most it is believed.
fn call_may_fail(function: Function) -> bool {
    use Function::*;
    !matches!(
        function,
        Coalesce
            | NullIf
            | Greatest
            | Least
            | Sign
            | Floor
            | Ceil
            | Upper
            | Lower
            | FoldCase
            | InitCap
            | Trim(_)
            | Left
            | Right
            | Reverse
            | CharLength
            | OctetLength
            | Position
            | StartsWith
            | EndsWith
            | Extract(_)
            | FloorTime(_)
    )
}

/// Whether a conversion may find a value that it has no other for.
fn cast_may_fail(from: DataType, to: DataType) -> bool {
    use DataType::{BigInt, Boolean, Bytes, Date, Decimal, Double, String, Timestamp};
    match (from, to) {
        (String | Bytes, _) => true,
        (BigInt | Decimal { .. }, Double)
        | (BigInt, Boolean)
        | (Boolean | Timestamp, BigInt)
        | (Timestamp, Date)
        | (Date, Timestamp)
        | (_, String) => false,
        (BigInt, Decimal { precision, scale }) => precision < scale + 19,
        (Decimal { precision, scale }, Decimal { precision: new_precision, scale: new_scale }) => {
            new_scale < scale || new_precision - new_scale < precision - scale
        }
        _ => true,
    }
}

/// What a regular expression is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegexOperation {
    /// Whether it is found anywhere in the text.
    Matches,
    /// How often it is found, one match after the other.
    Count,
    /// What a group matched the first time, 0 for the whole; `NULL` where nothing did.
    Extract {
        /// The group's number.
        group: usize,
    },
    /// The text with the first or every match replaced; `\1` to `\9` and `\&` stand for groups and the whole.
    Replace {
        /// Every match, not only the first.
        all: bool,
    },
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
