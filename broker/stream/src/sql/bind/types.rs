//! Types: what SQL calls them, and where one becomes another by itself.

use sqlparser::ast::{CharacterLength, DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use crate::decimal::{self, Decimal, MAX_PRECISION};
use crate::plan::{Expression, IntegerType};
use crate::time::DAY_MS;
use crate::value::{DataType, Value};

/// What `DECIMAL` without digits is: as in PostgreSQL a number, but of a shape.
const PLAIN_DECIMAL: (u8, u8) = (38, 18);

/// The type a script names. Integers have 64 bits, floats too, texts no maximum length, whatever they are called.
pub(super) fn from_sql(data_type: &SqlType, at: Location) -> Result<DataType, SqlError> {
    let help = match data_type {
        SqlType::Boolean | SqlType::Bool => return Ok(DataType::Boolean),
        SqlType::BigInt(None)
        | SqlType::Int8(None)
        | SqlType::TinyInt(None)
        | SqlType::SmallInt(None)
        | SqlType::Int2(None)
        | SqlType::Int(None)
        | SqlType::Int4(None)
        | SqlType::Integer(None) => return Ok(DataType::BigInt),
        SqlType::Double(ExactNumberInfo::None)
        | SqlType::DoublePrecision
        | SqlType::Float(_)
        | SqlType::Float4
        | SqlType::Float8
        | SqlType::Real => return Ok(DataType::Double),
        SqlType::Decimal(info) | SqlType::Dec(info) | SqlType::Numeric(info) => {
            return decimal(data_type, info, at);
        }
        SqlType::String(None)
        | SqlType::Text
        | SqlType::Varchar(_)
        | SqlType::CharacterVarying(_)
        | SqlType::CharVarying(_)
        | SqlType::Char(_)
        | SqlType::Character(_) => return Ok(DataType::String),
        SqlType::Bytes(None) | SqlType::Bytea | SqlType::Varbinary(None) => return Ok(DataType::Bytes),
        SqlType::Date => return Ok(DataType::Date),
        SqlType::Timestamp(None | Some(3), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            return Ok(DataType::Timestamp);
        }
        SqlType::String(_) => "write STRING: text has no maximum length",
        SqlType::Timestamp(..) | SqlType::Datetime(_) | SqlType::Time(..) => {
            "write TIMESTAMP(3): an instant in milliseconds, in UTC"
        }
        SqlType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") => {
            "write TIMESTAMP(3): an instant in milliseconds, in UTC"
        }
        _ => {
            "the types are BOOLEAN, BIGINT, DOUBLE, DECIMAL(precision, scale), STRING, BYTES, DATE and TIMESTAMP(3)"
        }
    };
    Err(SqlError::at(at, format!("type {data_type} is not supported"), help))
}

fn decimal(data_type: &SqlType, info: &ExactNumberInfo, at: Location) -> Result<DataType, SqlError> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => PLAIN_DECIMAL,
        ExactNumberInfo::Precision(precision) => (u8::try_from(*precision).unwrap_or(u8::MAX), 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => {
            (u8::try_from(*precision).unwrap_or(u8::MAX), u8::try_from(*scale).unwrap_or(u8::MAX))
        }
    };
    match (1..=MAX_PRECISION).contains(&precision) && scale <= precision {
        true => Ok(DataType::Decimal { precision, scale }),
        false => Err(SqlError::at(
            at,
            format!("type {data_type} is not supported"),
            "write DECIMAL(precision, scale): 1 to 38 digits in all, at most as many after the point",
        )),
    }
}

/// The integer type that is shorter than 64 bits, if it is one.
pub(super) fn short_integer(data_type: &SqlType) -> Option<IntegerType> {
    match data_type {
        SqlType::TinyInt(_) => Some(IntegerType::TinyInt),
        SqlType::SmallInt(_) | SqlType::Int2(_) => Some(IntegerType::SmallInt),
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => Some(IntegerType::Int),
        _ => None,
    }
}

/// The characters that a conversion to a type with a length keeps.
pub(super) fn kept_length(data_type: &SqlType) -> Option<u64> {
    match data_type {
        SqlType::Varchar(Some(CharacterLength::IntegerLength { length, .. }))
        | SqlType::CharacterVarying(Some(CharacterLength::IntegerLength { length, .. }))
        | SqlType::CharVarying(Some(CharacterLength::IntegerLength { length, .. }))
        | SqlType::Char(Some(CharacterLength::IntegerLength { length, .. }))
        | SqlType::Character(Some(CharacterLength::IntegerLength { length, .. })) => Some(*length),
        SqlType::Char(None) | SqlType::Character(None) => Some(1),
        _ => None,
    }
}

/// Whether the expression is a bare `NULL`, which takes any type.
pub(super) fn is_null(expression: &Expression) -> bool {
    matches!(expression, Expression::Literal { value: Value::Null, .. })
}

/// The digits a number needs as a decimal.
pub(super) fn decimal_shape(expression: &Expression) -> (u8, u8) {
    match (expression, expression.data_type()) {
        (_, DataType::Decimal { precision, scale }) => (precision, scale),
        (Expression::Literal { value: Value::BigInt(value), .. }, _) => {
            (Decimal { unscaled: i128::from(*value), scale: 0 }.precision(), 0)
        }
        _ => (19, 0),
    }
}

/// The expression as `wanted`, if it becomes that by itself: a bare `NULL` anything, a number a wider or an exact
/// one, a `DATE` its midnight.
///
/// A decimal becomes one of another shape, rounded; what does not fit is an error of the record.
pub(super) fn coerce(expression: Expression, wanted: DataType) -> Result<Expression, Expression> {
    let found = expression.data_type();
    if found == wanted {
        return Ok(expression);
    }
    if is_null(&expression) {
        return Ok(Expression::Literal { value: Value::Null, data_type: wanted });
    }
    let converts = matches!(
        (found, wanted),
        (DataType::BigInt, DataType::Double | DataType::Decimal { .. })
            | (DataType::Decimal { .. }, DataType::Double | DataType::Decimal { .. })
            | (DataType::Date, DataType::Timestamp)
    );
    match (&expression, converts) {
        (_, false) => Err(expression),
        (Expression::Literal { value, .. }, true) if converted(value, wanted).is_some() => {
            let value = converted(value, wanted).unwrap_or(Value::Null);
            Ok(Expression::Literal { value, data_type: wanted })
        }
        _ => Ok(Expression::Cast { operand: Box::new(expression), data_type: wanted }),
    }
}

/// A constant as another type; `None` when it does not fit, which the conversion then says of each record.
fn converted(value: &Value, wanted: DataType) -> Option<Value> {
    let exact = |decimal: Decimal, precision, scale| {
        decimal.rescale(scale).filter(|decimal| decimal.fits(precision)).map(Value::Decimal)
    };
    match (value, wanted) {
        (Value::BigInt(value), DataType::Double) => Some(Value::Double(*value as f64)),
        (Value::Decimal(value), DataType::Double) => Some(Value::Double(value.to_f64())),
        (Value::BigInt(value), DataType::Decimal { precision, scale }) => {
            exact(Decimal { unscaled: i128::from(*value), scale: 0 }, precision, scale)
        }
        (Value::Decimal(value), DataType::Decimal { precision, scale }) => exact(*value, precision, scale),
        (Value::Date(day), DataType::Timestamp) => Some(Value::Timestamp(i64::from(*day) * DAY_MS)),
        _ => None,
    }
}

/// The type several expressions have in common, each becoming it by itself.
pub(super) fn common_type<'a>(expressions: impl Iterator<Item = &'a Expression> + Clone) -> Option<DataType> {
    use DataType::{BigInt, Date, Decimal, Double, Timestamp};
    let mut common = None;
    // A whole constant among decimals needs no more digits than it is written with.
    let mut shape: Option<(u8, u8)> = None;
    for expression in expressions.clone().filter(|expression| !is_null(expression)) {
        let found = expression.data_type();
        if matches!(found, BigInt | Decimal { .. }) {
            let digits = decimal_shape(expression);
            shape = Some(shape.map_or(digits, |shape| decimal::common_shape(shape, digits)));
        }
        common = match (common, found) {
            (None, found) => Some(found),
            (Some(common), found) if common == found => Some(common),
            (Some(BigInt | Decimal { .. }), Double) | (Some(Double), BigInt | Decimal { .. }) => Some(Double),
            (Some(BigInt | Decimal { .. }), BigInt | Decimal { .. }) => {
                Some(Decimal { precision: 1, scale: 0 })
            }
            (Some(Date), Timestamp) | (Some(Timestamp), Date) => Some(Timestamp),
            _ => return None,
        };
    }
    match (common, shape) {
        (Some(Decimal { .. }), Some((precision, scale))) => Some(Decimal { precision, scale }),
        (Some(common), _) => Some(common),
        // Nothing but NULLs: any type will do.
        (None, _) => expressions.clone().next().map(Expression::data_type),
    }
}

/// The types two expressions are compared in: the one they have in common, or each its own where that would round.
pub(super) fn compared_types(left: &Expression, right: &Expression) -> Option<[DataType; 2]> {
    let common = common_type([left, right].into_iter())?;
    let [of_left, of_right] = [left, right].map(decimal_shape);
    let rounds = matches!(common, DataType::Decimal { .. })
        && !is_null(left)
        && !is_null(right)
        && !decimal::have_common_shape(of_left, of_right);
    Some(match rounds {
        true => [of_left, of_right].map(|(precision, scale)| DataType::Decimal { precision, scale }),
        false => [common, common],
    })
}

/// Whether `CAST` knows the way from one type to another.
pub(super) fn can_cast(from: DataType, to: DataType) -> bool {
    use DataType::{BigInt, Boolean, Bytes, Date, Decimal, Double, String, Timestamp};
    match (from, to) {
        _ if from == to => true,
        (String, _) | (_, String) => true,
        (Bytes, _) | (_, Bytes) => false,
        (BigInt | Double | Decimal { .. }, BigInt | Double | Decimal { .. }) => true,
        (BigInt, Timestamp) | (Timestamp, BigInt) => true,
        (BigInt, Boolean) | (Boolean, BigInt) => true,
        (Date, Timestamp) | (Timestamp, Date) => true,
        _ => false,
    }
}
