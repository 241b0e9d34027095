//! One expression by itself, without a pipeline around it: to try one, and to compare with what others compute.

use crate::column::{Column, ColumnBuilder};
use crate::eval::{Evaluator, too_much_text};
use crate::plan::{self, Expression};
use crate::sql::{SqlError, compile_expression};
use crate::value::{DataType, Value};

/// An expression over the columns of a row.
///
/// ```
/// use logmill_stream::{DataType, Scalar, Value};
///
/// let scalar = Scalar::compile(&[("a", DataType::BigInt)], "10 / a").unwrap();
/// let results = scalar.evaluate(&[vec![Value::BigInt(3)], vec![Value::BigInt(0)], vec![Value::Null]], 0);
/// assert_eq!(results, [Ok(Value::BigInt(3)), Err("division by zero".to_owned()), Ok(Value::Null)]);
/// ```
#[derive(Debug, Clone)]
pub struct Scalar {
    types: Vec<DataType>,
    expression: Expression,
}

impl Scalar {
    /// Compiles an expression over columns with names and types.
    ///
    /// # Errors
    /// Where the text is wrong, and what to write.
    pub fn compile(columns: &[(&str, DataType)], text: &str) -> Result<Scalar, SqlError> {
        let declared: Vec<plan::Column> =
            columns.iter().map(|(name, data_type)| plan::Column::of_value(name, *data_type)).collect();
        let types = columns.iter().map(|(_, data_type)| *data_type).collect();
        Ok(Scalar { types, expression: compile_expression(&declared, text)? })
    }

    /// The type of the result.
    pub fn data_type(&self) -> DataType {
        self.expression.data_type()
    }

    /// The results of rows, each with a value of every column, when processing time stands at `now`, in milliseconds
    /// since 1970. An error is one row's, in words.
    ///
    /// # Panics
    /// When a row has not the columns declared.
    pub fn evaluate(&self, rows: &[Vec<Value>], now: i64) -> Vec<Result<Value, String>> {
        let column = |(index, data_type): (usize, &DataType)| -> Column {
            let mut builder = ColumnBuilder::new(*data_type, rows.len());
            rows.iter().for_each(|row| builder.append(&row[index]));
            builder.finish()
        };
        let columns: Vec<Column> = self.types.iter().enumerate().map(column).collect();
        let mut evaluator = Evaluator::new(&columns, rows.len()).with_now(now);
        let active = evaluator.all_rows();
        let values = evaluator.evaluate(&self.expression, &active);
        if evaluator.is_too_much() {
            return match rows.len() {
                1 => vec![Err(too_much_text())],
                _ => {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    [self.evaluate(first, now), self.evaluate(second, now)].concat()
                }
            };
        }
        let mut faults = evaluator.into_faults();
        (0..rows.len())
            .map(|row| match faults.remove(&row) {
                Some(fault) => Err(fault.reason),
                None => Ok(values.value(row)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_an_argument() {
        let now = |text: &str| Scalar::compile(&[], text).unwrap().evaluate(&[vec![]], 86_400_001).remove(0);
        assert_eq!(now("NOW()"), Ok(Value::Timestamp(86_400_001)));
        assert_eq!(now("CURRENT_TIMESTAMP - INTERVAL '1' DAY"), Ok(Value::Timestamp(1)));
        assert_eq!(now("CURRENT_DATE"), Ok(Value::Date(1)));
        assert_eq!(now("UNIX_TIMESTAMP()"), Ok(Value::BigInt(86_400)));
        assert_eq!(now("PROCTIME() = LOCALTIMESTAMP"), Ok(Value::Boolean(true)));
    }

    #[test]
    fn an_error_is_where_the_text_is_wrong() {
        let error = Scalar::compile(&[("a", DataType::BigInt)], "a +\n b").unwrap_err();
        assert_eq!((error.line, error.column), (2, 2));
        assert!(Scalar::compile(&[], "1 2").unwrap_err().message.contains("not expected"));
        assert!(Scalar::compile(&[], "1 +").is_err());
    }
}
