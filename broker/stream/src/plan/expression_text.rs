//! Expressions as text: what `EXPLAIN`, errors and golden files show.

use std::fmt::{self, Display};

use super::{Branch, Expression, Function, Pattern, RegexOperation};

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
                    // A backslash is what it is without a word.
                    Some('\\') => Ok(()),
                    Some(escape) => write!(f, " ESCAPE '{}'", escape.to_string().replace('\'', "''")),
                    None => f.write_str(" ESCAPE ''"),
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
            Expression::User { function, arguments } => {
                write!(f, "{function}(")?;
                list(f, arguments)?;
                f.write_str(")")
            }
            Expression::Regex { operation, pattern, arguments } => {
                regex_text(f, *operation, pattern, arguments)
            }
            Expression::With { operands, result } => {
                write!(f, "({result} WITH ")?;
                for (index, operand) in operands.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}${} AS {operand}", index + 1)?;
                }
                f.write_str(")")
            }
            Expression::Operand { index, .. } => write!(f, "${}", index + 1),
        }
    }
}

fn call_text(f: &mut fmt::Formatter<'_>, function: Function, arguments: &[Expression]) -> fmt::Result {
    match (function, arguments) {
        (Function::Extract(field), [instant]) => write!(f, "EXTRACT({} FROM {instant})", field.name()),
        (Function::FloorTime(unit), [instant]) => write!(f, "FLOOR({instant} TO {})", unit.name()),
        (Function::CeilTime(unit), [instant]) => write!(f, "CEIL({instant} TO {})", unit.name()),
        (Function::AddTime(unit) | Function::DiffTime(unit), [first, second]) => {
            write!(f, "{}({}, {first}, {second})", function.name(), unit.name())
        }
        (Function::IsJson(kind), [text]) => write!(f, "({text}) IS JSON {}", kind.name()),
        (Function::BitNot, [operand]) => write!(f, "~({operand})"),
        (function, [left, right]) if function.is_infix() => write!(f, "({left} {} {right})", function.name()),
        _ => {
            write!(f, "{}(", function.name())?;
            list(f, arguments)?;
            f.write_str(")")
        }
    }
}

fn regex_text(
    f: &mut fmt::Formatter<'_>,
    operation: RegexOperation,
    pattern: &Pattern,
    arguments: &[Expression],
) -> fmt::Result {
    let quoted = pattern.text().replace('\'', "''");
    let (text, others) = arguments.split_first().expect("the binder gives a text");
    let name = match operation {
        RegexOperation::Matches => {
            let operator = if pattern.ignores_case() { "~*" } else { "~" };
            return write!(f, "({text} {operator} '{quoted}')");
        }
        RegexOperation::Count => "REGEXP_COUNT",
        RegexOperation::Extract { .. } => "REGEXP_EXTRACT",
        RegexOperation::Replace { .. } => "REGEXP_REPLACE",
    };
    write!(f, "{name}({text}, '{quoted}'")?;
    others.iter().try_for_each(|other| write!(f, ", {other}"))?;
    match operation {
        RegexOperation::Extract { group } => write!(f, ", {group}")?,
        RegexOperation::Replace { all: true } => f.write_str(", 'g'")?,
        _ => {}
    }
    f.write_str(if pattern.ignores_case() { ", 'i')" } else { ")" })
}

fn list(f: &mut fmt::Formatter<'_>, arguments: &[Expression]) -> fmt::Result {
    for (index, argument) in arguments.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{argument}")?;
    }
    Ok(())
}
