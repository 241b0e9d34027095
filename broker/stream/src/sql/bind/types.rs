//! Types: what SQL calls them, and where one becomes another by itself.

use sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use crate::plan::Expression;
use crate::value::{DataType, Value};

/// The type a script names.
pub(super) fn from_sql(data_type: &SqlType, at: Location) -> Result<DataType, SqlError> {
    let help = match data_type {
        SqlType::Boolean | SqlType::Bool => return Ok(DataType::Boolean),
        SqlType::BigInt(None) => return Ok(DataType::BigInt),
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision => return Ok(DataType::Double),
        SqlType::String(None) | SqlType::Text | SqlType::Varchar(None) => return Ok(DataType::String),
        SqlType::Timestamp(None | Some(3), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            return Ok(DataType::Timestamp);
        }
        SqlType::TinyInt(_) | SqlType::SmallInt(_) | SqlType::Int(_) | SqlType::Integer(_) => {
            "write BIGINT: integers have 64 bits"
        }
        SqlType::Float(_) | SqlType::Real | SqlType::Float4 | SqlType::Float8 => {
            "write DOUBLE: floats have 64 bits"
        }
        SqlType::Decimal(_) | SqlType::Numeric(_) => {
            "decimals are not supported yet; write DOUBLE, or BIGINT of the smallest unit"
        }
        SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Character(_) | SqlType::String(_) => {
            "write STRING: text has no maximum length"
        }
        SqlType::Timestamp(..) | SqlType::Datetime(_) | SqlType::Date | SqlType::Time(..) => {
            "write TIMESTAMP(3): an instant in milliseconds, in UTC"
        }
        _ => "the types are BOOLEAN, BIGINT, DOUBLE, STRING and TIMESTAMP(3)",
    };
    Err(SqlError::at(at, format!("type {data_type} is not supported"), help))
}

/// Whether the expression is a bare `NULL`, which takes any type.
fn is_null(expression: &Expression) -> bool {
    matches!(expression, Expression::Literal { value: Value::Null, .. })
}

/// The expression as `wanted`, if it becomes that by itself: a bare `NULL` anything, a `BIGINT` a `DOUBLE`.
pub(super) fn coerce(expression: Expression, wanted: DataType) -> Result<Expression, Expression> {
    match (expression.data_type(), wanted) {
        (found, wanted) if found == wanted => Ok(expression),
        _ if is_null(&expression) => Ok(Expression::Literal { value: Value::Null, data_type: wanted }),
        (DataType::BigInt, DataType::Double) => Ok(match expression {
            Expression::Literal { value: Value::BigInt(value), .. } => {
                Expression::Literal { value: Value::Double(value as f64), data_type: DataType::Double }
            }
            operand => Expression::Cast { operand: Box::new(operand), data_type: DataType::Double },
        }),
        _ => Err(expression),
    }
}

/// The type several expressions have in common, each becoming it by itself.
pub(super) fn common_type<'a>(expressions: impl Iterator<Item = &'a Expression> + Clone) -> Option<DataType> {
    let mut common = None;
    for expression in expressions.clone().filter(|expression| !is_null(expression)) {
        let found = expression.data_type();
        common = match (common, found) {
            (None, found) => Some(found),
            (Some(common), found) if common == found => Some(common),
            (Some(DataType::BigInt), DataType::Double) | (Some(DataType::Double), DataType::BigInt) => {
                Some(DataType::Double)
            }
            _ => return None,
        };
    }
    // Nothing but NULLs: any type will do.
    common.or_else(|| expressions.clone().next().map(Expression::data_type))
}

/// Whether `CAST` knows the way from one type to another.
pub(super) fn can_cast(from: DataType, to: DataType) -> bool {
    use DataType::{BigInt, Double, String, Timestamp};
    from == to
        || from == String
        || to == String
        || matches!(
            (from, to),
            (BigInt, Double) | (Double, BigInt) | (BigInt, Timestamp) | (Timestamp, BigInt)
        )
}
