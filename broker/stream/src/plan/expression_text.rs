//! Expressions as text: what `EXPLAIN`, errors and golden files show.

use std::fmt::{self, Display};

use super::{Branch, Expression, Function};

impl Display for Expression {
    /// The expression as SQL, with a parenthesis around every operator inside another.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Column { name, .. } => f.write_str(name),
            Expression::Literal { value, .. } => write!(f, "{value}"),
            Expression::Negate(operand) => write!(f, "-({operand})"),
            Expression::Not(operand) => write!(f, "NOT ({operand})"),
            Expression::IsNull(operand) => write!(f, "({operand}) IS NULL"),
            Expression::IsTrue(operand) => write!(f, "({operand}) IS TRUE"),
            Expression::Binary { operator, left, right } => {
                write!(f, "({left} {} {right})", operator.symbol())
            }
            Expression::Like { text, pattern, escape } => {
                write!(f, "({text}) LIKE '{}'", pattern.replace('\'', "''"))?;
                match escape {
                    Some(escape) => write!(f, " ESCAPE '{}'", escape.to_string().replace('\'', "''")),
                    None => Ok(()),
                }
            }
            Expression::Case { branches, otherwise } => {
                f.write_str("CASE")?;
                for Branch { when, then } in branches {
                    write!(f, " WHEN {when} THEN {then}")?;
                }
                write!(f, " ELSE {otherwise} END")
            }
            Expression::Cast { operand, data_type } => write!(f, "CAST({operand} AS {data_type})"),
            Expression::TryCast { operand, data_type } => write!(f, "TRY_CAST({operand} AS {data_type})"),
            Expression::Call { function, arguments } => call_text(f, *function, arguments),
        }
    }
}

fn call_text(f: &mut fmt::Formatter<'_>, function: Function, arguments: &[Expression]) -> fmt::Result {
    match (function, arguments) {
        (Function::Extract(unit), [instant]) => write!(f, "EXTRACT({} FROM {instant})", unit.name()),
        (Function::FloorTime(unit), [instant]) => write!(f, "FLOOR({instant} TO {})", unit.name()),
        _ => {
            write!(f, "{}(", function.name())?;
            for (index, argument) in arguments.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{argument}")?;
            }
            f.write_str(")")
        }
    }
}
