//! Calls: the built-in scalar functions, and the forms SQL gives some of them.

use sqlparser::ast::{
    CeilFloorKind, DateTimeField, Expr, Function as SqlFunction, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, JsonNullClause, JsonPredicateType, TrimWhereField,
};

use super::super::dialect;
use super::super::error::{NO_FUNCTION, SqlError};
use super::expression::Binder;
use super::signature::{self, Kind, Signature, suggest_function};
use super::{literal, operator, types};
use crate::functions::{Functions, UserFunction};
use crate::plan::{BinaryOperator, Branch, Expression, Function, JsonKind, Math, Side, TimeField, TimeUnit};
use crate::value::{DataType, Value};

/// A call of a function, as an expression.
pub(super) fn call(function: Function, arguments: Vec<Expression>) -> Expression {
    Expression::Call { function, arguments }
}

pub(super) fn whole(value: i64) -> Expression {
    literal::literal(Value::BigInt(value), DataType::BigInt)
}

impl Binder<'_> {
    /// A call, or whatever else has no meaning here.
    pub(super) fn bind_call(&mut self, expr: &Expr) -> Result<Expression, SqlError> {
        match expr {
            Expr::Function(function) if function.over.is_some() => self.bind_over(expr, function),
            Expr::Function(function) => match self.bind_aggregate(expr, function)? {
                Some(aggregate) => Ok(aggregate),
                None => self.bind_function(expr, function),
            },
            Expr::Extract { field, expr: instant, .. } => {
                let field = self.time_field(expr, &field.to_string())?;
                self.one(Function::Extract(field), instant, DataType::Timestamp)
            }
            Expr::Floor { expr: operand, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.bind_rounding(Function::Floor, operand)
            }
            Expr::Ceil { expr: operand, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.bind_rounding(Function::Ceil, operand)
            }
            Expr::Floor { expr: instant, field: CeilFloorKind::DateTimeField(field) } => {
                let unit = self.time_unit(expr, &field.to_string())?;
                self.one(Function::FloorTime(unit), instant, DataType::Timestamp)
            }
            Expr::Ceil { expr: instant, field: CeilFloorKind::DateTimeField(field) } => {
                let unit = self.time_unit(expr, &field.to_string())?;
                self.one(Function::CeilTime(unit), instant, DataType::Timestamp)
            }
            Expr::Trim { trim_where, trim_what, expr: text, trim_characters } => {
                let side = match trim_where {
                    None | Some(TrimWhereField::Both) => Side::Both,
                    Some(TrimWhereField::Leading) => Side::Left,
                    Some(TrimWhereField::Trailing) => Side::Right,
                };
                let mut arguments = vec![self.bind_as(text, DataType::String)?];
                let listed = trim_characters.iter().flatten();
                for characters in trim_what.as_deref().into_iter().chain(listed) {
                    arguments.push(self.bind_as(characters, DataType::String)?);
                }
                match arguments.len() <= 2 {
                    true => Ok(call(Function::Trim(side), arguments)),
                    false => Err(self.error(
                        expr,
                        "TRIM with too many arguments",
                        "write TRIM(BOTH 'characters' FROM text)",
                    )),
                }
            }
            Expr::Position { expr: part, r#in: text } => {
                let arguments =
                    vec![self.bind_as(text, DataType::String)?, self.bind_as(part, DataType::String)?];
                Ok(call(Function::Position, arguments))
            }
            Expr::Overlay { expr: text, overlay_what, overlay_from, overlay_for } => {
                let mut arguments = vec![
                    self.bind_as(text, DataType::String)?,
                    self.bind_as(overlay_what, DataType::String)?,
                    self.bind_as(overlay_from, DataType::BigInt)?,
                ];
                if let Some(length) = overlay_for {
                    arguments.push(self.bind_as(length, DataType::BigInt)?);
                }
                Ok(call(Function::Overlay, arguments))
            }
            Expr::Substring { expr: text, substring_from: Some(from), substring_for, .. } => {
                let mut arguments =
                    vec![self.bind_as(text, DataType::String)?, self.bind_as(from, DataType::BigInt)?];
                if let Some(length) = substring_for {
                    arguments.push(self.bind_as(length, DataType::BigInt)?);
                }
                Ok(call(Function::Substring, arguments))
            }
            Expr::IsJson { expr: text, kind, unique_keys: None, negated } => {
                let kind = match kind {
                    None | Some(JsonPredicateType::Value) => JsonKind::Value,
                    Some(JsonPredicateType::Scalar) => JsonKind::Scalar,
                    Some(JsonPredicateType::Array) => JsonKind::Array,
                    Some(JsonPredicateType::Object) => JsonKind::Object,
                };
                let is_json = self.one(Function::IsJson(kind), text, DataType::String)?;
                Ok(super::expression::negate_if(*negated, is_json))
            }
            Expr::Substring { .. } => Err(self.error(
                expr,
                "SUBSTRING lacks the place where it begins",
                "write SUBSTRING(<text>, <from, 1 is the first>[, <length>])",
            )),
            Expr::Subquery(_) => Err(self.error(
                expr,
                "a query inside an expression is not supported",
                "join its row: FROM <table> JOIN (SELECT ...) AS q ON <table>.k = q.k; a total is joined by a constant column \
                 on both sides",
            )),
            Expr::Exists { .. } | Expr::In { .. } => Err(self.error(
                expr,
                "a query inside a condition is not supported",
                "join its rows, each once: FROM <table> JOIN (SELECT DISTINCT k FROM ...) AS q ON <table>.k = q.k; of known \
                 values write IN ('a', 'b')",
            )),
            _ => Err(self.error(
                expr,
                format!("`{expr}` is not supported"),
                "use columns, constants, operators, CASE, CAST and the built-in functions",
            )),
        }
    }

    fn bind_function(&mut self, expr: &Expr, sql: &SqlFunction) -> Result<Expression, SqlError> {
        let name = sql.name.to_string().to_ascii_uppercase();
        if let Some(signature) = signature::find(&name) {
            let arguments = self.plain_arguments(expr, sql)?;
            return self.bind_signature(expr, &name, signature, &arguments);
        }
        match name.as_str() {
            "JSON_VALUE" | "JSON_QUERY" | "JSON_EXISTS" => return self.bind_json_path(expr, &name, sql),
            "JSON_OBJECT" | "JSON_BUILD_OBJECT" => return self.bind_json_object(expr, sql),
            dialect::BETWEEN_SYMMETRIC => {
                let arguments = self.plain_arguments(expr, sql)?;
                return self.bind_between_symmetric(expr, &arguments);
            }
            "JSON_ARRAY" | "JSON_BUILD_ARRAY" => return self.bind_json_array(expr, &name, sql),
            "REGEXP_LIKE" | "REGEXP" | "REGEXP_COUNT" | "REGEXP_MATCH" | "REGEXP_SUBSTR"
            | "REGEXP_EXTRACT" | "REGEXP_REPLACE" => {
                let arguments = self.plain_arguments(expr, sql)?;
                return self.bind_regexp(expr, &name, &arguments);
            }
            _ => {}
        }
        let arguments = self.plain_arguments(expr, sql)?;
        if let Some(user) = self.user_function(&name) {
            return self.bind_user_function(expr, user, &arguments);
        }
        if let Some(time) = self.bind_time_function(expr, &name, &arguments)? {
            return Ok(time);
        }
        match (name.as_str(), arguments.as_slice()) {
            ("COALESCE", [_, ..]) => self.same_type(expr, Function::Coalesce, &arguments),
            ("IFNULL" | "NVL", [_, _]) => self.same_type(expr, Function::Coalesce, &arguments),
            ("GREATEST", [_, ..]) => self.same_type(expr, Function::Greatest, &arguments),
            ("LEAST", [_, ..]) => self.same_type(expr, Function::Least, &arguments),
            ("NULLIF", [left, right]) => self.bind_null_if(expr, left, right),
            ("IF" | "IIF", [condition, then, otherwise]) => {
                let when = self.bind_condition(condition, &name)?;
                let branches = vec![self.bind(then)?, self.bind(otherwise)?];
                let mut branches = self.unify(expr, branches, &format!("the branches of {name}"))?;
                let otherwise = Box::new(branches.pop().expect("there are two branches"));
                let then = branches.pop().expect("there are two branches");
                Ok(Expression::Case { branches: vec![Branch { when, then }], otherwise })
            }
            ("MOD", [left, right]) => {
                let (left, right) = (self.bind_number(left)?, self.bind_number(right)?);
                Ok(operator::numbers(BinaryOperator::Modulo, left, right))
            }
            ("DIV", [left, right]) => {
                let (left, right) = (self.bind_number(left)?, self.bind_number(right)?);
                // The operands as for a quotient.
                match operator::numbers(BinaryOperator::Divide, left, right) {
                    Expression::Binary { left, right, .. } => Ok(call(Function::Div, vec![*left, *right])),
                    other => unreachable!("an operation was made: {other}"),
                }
            }
            ("LOG", [number]) => self.one(Function::Math(Math::Log10), number, DataType::Double),
            ("LOG", [base, number]) => {
                let arguments =
                    vec![self.bind_as(base, DataType::Double)?, self.bind_as(number, DataType::Double)?];
                Ok(call(Function::LogBase, arguments))
            }
            ("PI", []) => Ok(literal::literal(Value::Double(std::f64::consts::PI), DataType::Double)),
            ("CEILING", [number]) => self.bind_rounding(Function::Ceil, number),
            ("CONCAT", [_, ..]) => Ok(call(Function::Concat, self.bind_texts(&arguments)?)),
            ("CONCAT_WS", [_, _, ..]) => Ok(call(Function::ConcatWs, self.bind_texts(&arguments)?)),
            ("TO_BASE64", [bytes]) => {
                let bytes = self.bind_octets(bytes)?;
                Ok(call(Function::Encode, vec![bytes, text("base64")]))
            }
            ("FROM_BASE64", [encoded]) => {
                let encoded = self.bind_as(encoded, DataType::String)?;
                let bytes = call(Function::Decode, vec![encoded, text("base64")]);
                Ok(Expression::Cast { operand: Box::new(bytes), data_type: DataType::String })
            }
            _ => {
                let form = match name.as_str() {
                    "COALESCE" | "GREATEST" | "LEAST" => format!("{name}(a, b, ...)"),
                    "NULLIF" | "IFNULL" | "NVL" | "MOD" | "DIV" => format!("{name}(a, b)"),
                    "IF" | "IIF" => format!("{name}(condition, then, otherwise)"),
                    "LOG" => "LOG(number) or LOG(base, number)".to_owned(),
                    "PI" => "PI()".to_owned(),
                    "CEILING" => "CEILING(number)".to_owned(),
                    "CONCAT" => "CONCAT(text, text, ...)".to_owned(),
                    "CONCAT_WS" => "CONCAT_WS(separator, text, text, ...)".to_owned(),
                    "TO_BASE64" | "FROM_BASE64" => format!("{name}(text)"),
                    _ => {
                        let message = format!("{NO_FUNCTION} {}", sql.name);
                        let own = self.functions.into_iter().flat_map(Functions::names);
                        return Err(self.error(expr, message, suggest_function(&name, own)));
                    }
                };
                Err(self.wrong_count(expr, &name, arguments.len(), &form))
            }
        }
    }

    /// A function of the user's own.
    fn bind_user_function(
        &mut self,
        expr: &Expr,
        user: &UserFunction,
        arguments: &[&Expr],
    ) -> Result<Expression, SqlError> {
        let types = user.signature().arguments();
        if arguments.len() != types.len() {
            let form: Vec<String> = types.iter().map(DataType::to_string).collect();
            let form = format!("{}({})", user.name(), form.join(", "));
            return Err(self.wrong_count(expr, user.name(), arguments.len(), &form));
        }
        let bound = arguments.iter().zip(types).map(|(argument, wanted)| self.bind_as(argument, *wanted));
        Ok(Expression::User { function: user.clone(), arguments: bound.collect::<Result<_, _>>()? })
    }

    pub(super) fn wrong_count(&self, expr: &Expr, name: &str, count: usize, form: &str) -> SqlError {
        self.error(expr, format!("{name} with {count} arguments"), format!("write {form}"))
    }

    /// A function of the table.
    fn bind_signature(
        &mut self,
        expr: &Expr,
        name: &str,
        signature: &Signature,
        arguments: &[&Expr],
    ) -> Result<Expression, SqlError> {
        let least = signature.arguments.len() - signature.optional;
        if !(least..=signature.arguments.len()).contains(&arguments.len()) {
            return Err(self.wrong_count(expr, name, arguments.len(), signature.form));
        }
        let bound = arguments.iter().zip(signature.arguments).map(|(argument, kind)| match kind {
            Kind::Text => self.bind_as(argument, DataType::String),
            Kind::Octets => self.bind_octets(argument),
            Kind::Whole => self.bind_as(argument, DataType::BigInt),
            Kind::Float => self.bind_as(argument, DataType::Double),
            Kind::Number => self.bind_number(argument),
            Kind::Moment => self.bind_as(argument, DataType::Timestamp),
        });
        let bound = bound.collect::<Result<Vec<_>, _>>()?;
        // Rounding at no digit leaves a whole number as it is.
        let rounds = matches!(signature.function, Function::Round | Function::Truncate);
        match bound.as_slice() {
            [number] if rounds && number.data_type() == DataType::BigInt => Ok(number.clone()),
            _ => Ok(call(signature.function, bound)),
        }
    }

    /// A text or bytes.
    fn bind_octets(&mut self, expr: &Expr) -> Result<Expression, SqlError> {
        let bound = self.bind(expr)?;
        match bound.data_type() {
            DataType::String | DataType::Bytes => Ok(bound),
            found => Err(self.error(
                expr,
                format!("`{bound}` is a {found}, a STRING or BYTES is needed"),
                "write CAST(... AS STRING)",
            )),
        }
    }

    /// Values of any type as texts.
    fn bind_texts(&mut self, arguments: &[&Expr]) -> Result<Vec<Expression>, SqlError> {
        let as_text = |bound: Expression| match types::coerce(bound, DataType::String) {
            Ok(text) => text,
            Err(other) => Expression::Cast { operand: Box::new(other), data_type: DataType::String },
        };
        arguments.iter().map(|argument| self.bind(argument).map(as_text)).collect()
    }

    /// The plain arguments of a call; every extra that SQL allows is refused.
    pub(super) fn plain_arguments<'e>(
        &self,
        expr: &Expr,
        call: &'e SqlFunction,
    ) -> Result<Vec<&'e Expr>, SqlError> {
        let no_clauses = match &call.args {
            FunctionArguments::List(list) => list.clauses.is_empty(),
            _ => true,
        };
        self.arguments_beside_clauses(call).filter(|_| no_clauses).ok_or_else(|| {
            self.error(
                expr,
                format!("this form of {} is not supported", call.name),
                "write plain arguments: f(a, b)",
            )
        })
    }

    fn arguments_beside_clauses<'e>(&self, call: &'e SqlFunction) -> Option<Vec<&'e Expr>> {
        let extras = !call.within_group.is_empty()
            || call.null_treatment.is_some()
            || call.filter.is_some()
            || !matches!(call.parameters, FunctionArguments::None);
        match &call.args {
            _ if extras => None,
            FunctionArguments::None => Some(Vec::new()),
            FunctionArguments::List(list) if list.duplicate_treatment.is_none() => list
                .args
                .iter()
                .map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    fn one(&mut self, function: Function, argument: &Expr, wanted: DataType) -> Result<Expression, SqlError> {
        let argument = self.bind_as(argument, wanted)?;
        Ok(call(function, vec![argument]))
    }

    fn same_type(
        &mut self,
        expr: &Expr,
        function: Function,
        arguments: &[&Expr],
    ) -> Result<Expression, SqlError> {
        let bound = arguments.iter().map(|argument| self.bind(argument)).collect::<Result<Vec<_>, _>>()?;
        let arguments = self.unify(expr, bound, &format!("the arguments of {}", function.name()))?;
        Ok(call(function, arguments))
    }

    /// The first argument, or `NULL` where the second equals it.
    fn bind_null_if(&mut self, expr: &Expr, left: &Expr, right: &Expr) -> Result<Expression, SqlError> {
        let bound = vec![self.bind(left)?, self.bind(right)?];
        let arguments = match types::compared_types(&bound[0], &bound[1]) {
            Some(wanted) if wanted[0] != wanted[1] => {
                let to =
                    |(side, wanted)| types::coerce(side, wanted).expect("the type is reached from its side");
                bound.into_iter().zip(wanted).map(to).collect()
            }
            _ => self.unify(expr, bound, "the arguments of NULLIF")?,
        };
        Ok(call(Function::NullIf, arguments))
    }

    /// Rounding leaves a whole number as it is.
    fn bind_rounding(&mut self, function: Function, operand: &Expr) -> Result<Expression, SqlError> {
        let operand = self.bind_number(operand)?;
        Ok(match operand.data_type() {
            DataType::BigInt => operand,
            _ => call(function, vec![operand]),
        })
    }

    /// `JSON_VALUE(text, path [RETURNING type])` and its kin.
    fn bind_json_path(&mut self, expr: &Expr, name: &str, sql: &SqlFunction) -> Result<Expression, SqlError> {
        let form = match name {
            "JSON_VALUE" => "JSON_VALUE(text, '$.path' [RETURNING type])",
            "JSON_QUERY" => "JSON_QUERY(text, '$.path')",
            _ => "JSON_EXISTS(text, '$.path')",
        };
        let clauses = match &sql.args {
            FunctionArguments::List(list) => list.clauses.as_slice(),
            _ => &[],
        };
        let returning = match clauses {
            [] => None,
            [FunctionArgumentClause::JsonReturningClause(returning)] if name == "JSON_VALUE" => {
                Some(types::from_sql(&returning.data_type, self.locate(expr))?)
            }
            _ => {
                return Err(self.error(
                    expr,
                    format!("this form of {name} is not supported"),
                    format!("write {form}"),
                ));
            }
        };
        let arguments = self.arguments_beside_clauses(sql).unwrap_or_default();
        let [json, path] = arguments.as_slice() else {
            return Err(self.wrong_count(expr, name, arguments.len(), form));
        };
        self.check_json_path(path, crate::eval::JsonPath::read, "write a path such as '$.a.b[0]'")?;
        let function = match name {
            "JSON_VALUE" => Function::JsonValue,
            "JSON_QUERY" => Function::JsonQuery,
            _ => Function::JsonExists,
        };
        let value = call(
            function,
            vec![self.bind_as(json, DataType::String)?, self.bind_as(path, DataType::String)?],
        );
        Ok(match returning {
            None | Some(DataType::String) => value,
            Some(data_type) => Expression::TryCast { operand: Box::new(value), data_type },
        })
    }

    /// A path that is a constant must be one that can be followed.
    pub(super) fn check_json_path(
        &self,
        path: &Expr,
        read: fn(&str) -> Result<crate::eval::JsonPath, String>,
        help: &str,
    ) -> Result<(), SqlError> {
        match literal::text(path).map(read) {
            Some(Err(error)) => Err(self.error(path, format!("{path} is not a path: {error}"), help)),
            _ => Ok(()),
        }
    }

    /// `JSON_OBJECT('key', value, ...)`, or `JSON_OBJECT('key' VALUE value, ...)`.
    fn bind_json_object(&mut self, expr: &Expr, sql: &SqlFunction) -> Result<Expression, SqlError> {
        let form = "JSON_OBJECT('key' VALUE value, ...)";
        let wrong = |binder: &Self| {
            binder.error(expr, format!("this form of {} is not supported", sql.name), format!("write {form}"))
        };
        let list = match &sql.args {
            FunctionArguments::List(list) if list.clauses.is_empty() => list.args.as_slice(),
            _ => return Err(wrong(self)),
        };
        if !list.len().is_multiple_of(2) {
            return Err(self.error(expr, "a key without a value", format!("write {form}")));
        }
        let mut arguments = Vec::with_capacity(list.len());
        for (index, arg) in list.iter().enumerate() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(part)) = arg else { return Err(wrong(self)) };
            arguments.push(match index.is_multiple_of(2) {
                true => self.bind_as(part, DataType::String)?,
                false => self.bind(part)?,
            });
        }
        Ok(call(Function::JsonObject, arguments))
    }

    /// `JSON_ARRAY(value, ... [ABSENT | NULL ON NULL])`, and `JSON_BUILD_ARRAY`, which keeps `NULL`s.
    fn bind_json_array(
        &mut self,
        expr: &Expr,
        name: &str,
        sql: &SqlFunction,
    ) -> Result<Expression, SqlError> {
        let clauses = match &sql.args {
            FunctionArguments::List(list) => list.clauses.as_slice(),
            _ => &[],
        };
        let function = match (name, clauses) {
            ("JSON_ARRAY", [] | [FunctionArgumentClause::JsonNullClause(JsonNullClause::AbsentOnNull)]) => {
                Function::JsonArray
            }
            ("JSON_BUILD_ARRAY", [])
            | ("JSON_ARRAY", [FunctionArgumentClause::JsonNullClause(JsonNullClause::NullOnNull)]) => {
                Function::JsonBuildArray
            }
            _ => {
                return Err(self.error(
                    expr,
                    format!("this form of {name} is not supported"),
                    "write JSON_ARRAY(value, ... [NULL ON NULL])",
                ));
            }
        };
        let values = self.arguments_beside_clauses(sql).unwrap_or_default();
        let values = values.into_iter().map(|value| self.bind(value)).collect::<Result<_, _>>()?;
        Ok(call(function, values))
    }

    pub(super) fn time_field(&self, expr: &Expr, name: &str) -> Result<TimeField, SqlError> {
        Ok(match name.to_ascii_uppercase().trim_end_matches('S') {
            "DOW" | "DAYOFWEEK" => TimeField::DayOfWeek,
            "ISODOW" => TimeField::IsoDayOfWeek,
            "DOY" | "DAYOFYEAR" => TimeField::DayOfYear,
            "ISOYEAR" => TimeField::IsoYear,
            "EPOCH" => TimeField::Epoch,
            "MICROSECOND" => TimeField::Microsecond,
            "ISOWEEK" => TimeField::Unit(TimeUnit::Week),
            _ => match unit_by_name(name) {
                Some(unit) => TimeField::Unit(unit),
                None => {
                    return Err(self.error(
                        expr,
                        format!("the unit {name} is not supported"),
                        "the units are MILLENNIUM, CENTURY, DECADE, YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, \
                         SECOND, MILLISECOND, MICROSECOND, DOW, ISODOW, DOY, ISOYEAR and EPOCH",
                    ));
                }
            },
        })
    }

    pub(super) fn time_unit(&self, expr: &Expr, name: &str) -> Result<TimeUnit, SqlError> {
        unit_by_name(name).ok_or_else(|| {
            self.error(
                expr,
                format!("the unit {name} is not supported"),
                "the units are MILLENNIUM, CENTURY, DECADE, YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND and \
                 MILLISECOND",
            )
        })
    }
}

pub(super) fn text(value: &str) -> Expression {
    literal::literal(Value::String(value.to_owned()), DataType::String)
}

fn unit_by_name(name: &str) -> Option<TimeUnit> {
    let name = name.to_ascii_uppercase();
    Some(match name.strip_prefix("SQL_TSI_").unwrap_or(&name) {
        "MILLENNIUM" | "MILLENIUM" | "MILLENNIA" => TimeUnit::Millennium,
        "CENTURY" | "CENTURIES" => TimeUnit::Century,
        "DECADE" | "DECADES" => TimeUnit::Decade,
        "YEAR" | "YEARS" => TimeUnit::Year,
        "QUARTER" | "QUARTERS" => TimeUnit::Quarter,
        "MONTH" | "MONTHS" => TimeUnit::Month,
        "WEEK" | "WEEKS" => TimeUnit::Week,
        "DAY" | "DAYS" => TimeUnit::Day,
        "HOUR" | "HOURS" => TimeUnit::Hour,
        "MINUTE" | "MINUTES" => TimeUnit::Minute,
        "SECOND" | "SECONDS" => TimeUnit::Second,
        "MILLISECOND" | "MILLISECONDS" => TimeUnit::Millisecond,
        _ => return None,
    })
}
