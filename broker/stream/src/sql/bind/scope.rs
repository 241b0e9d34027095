//! What names mean: the columns of the tables in `FROM`, and in a grouped query the keys and aggregates of a group.

use sqlparser::ast::{Expr, Ident, Spanned};
use sqlparser::tokenizer::Location;

use super::super::error::{SqlError, suggest};
use super::expression::binary;
use super::literal;
use super::over::OverCall;
use super::query::start_or;
use crate::functions::{Functions, UserFunction};
use crate::plan::{Aggregate, AggregateFunction, BinaryOperator, Branch, Expression, Function};
use crate::value::{DataType, Value};

/// A column that a name may mean.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ScopeColumn {
    /// The table's name in `FROM`.
    pub(super) table: Option<String>,
    pub(super) name: String,
    pub(super) data_type: DataType,
    pub(super) role: Role,
    /// `USING` has made it one with another column: it is found only by its table's name too.
    pub(super) merged: bool,
}

/// What a column says about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    /// The event time that watermarks speak of.
    Time,
    /// The processing time of the epoch that the row is in.
    ProcessingTime,
    WindowStart,
    WindowEnd,
    /// The last instant of the window.
    WindowTime,
}

impl Role {
    /// The role of an expression over rows, which may be a column with a role of its own.
    pub(super) fn of(expression: &Expression, of_column: Option<Role>) -> Role {
        match expression {
            Expression::Call { function: Function::Now, .. } => Role::ProcessingTime,
            _ => of_column.unwrap_or(Role::Plain),
        }
    }

    pub(super) fn is_window(self) -> bool {
        matches!(self, Role::WindowStart | Role::WindowEnd | Role::WindowTime)
    }
}

/// An expression with the name it goes by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NamedExpression {
    pub(super) name: String,
    pub(super) expression: Expression,
}

/// An aggregate of a group, while it is being bound: its argument and filter are over the rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BoundAggregate {
    pub(super) function: AggregateFunction,
    /// Of a function of the user's own: which.
    pub(super) user: Option<UserFunction>,
    pub(super) argument: Option<Expression>,
    pub(super) parameter: Value,
    pub(super) filter: Option<Expression>,
    pub(super) distinct: bool,
    pub(super) text: String,
}

impl BoundAggregate {
    pub(super) fn new(
        function: AggregateFunction,
        argument: Option<Expression>,
        parameter: Value,
        filter: Option<Expression>,
        distinct: bool,
    ) -> Self {
        let of = argument.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string);
        let only = if distinct { "DISTINCT " } else { "" };
        let where_true =
            filter.as_ref().map_or_else(String::new, |filter| format!(" FILTER (WHERE {filter})"));
        let beside = if parameter == Value::Null { String::new() } else { format!(", {parameter}") };
        let text = format!("{}({only}{of}{beside}){where_true}", function.name());
        Self { function, user: None, argument, parameter, filter, distinct, text }
    }

    /// An aggregate of the user's own.
    pub(super) fn of_user(
        user: UserFunction,
        argument: Expression,
        filter: Option<Expression>,
        distinct: bool,
    ) -> Self {
        let function = AggregateFunction::User;
        let bound = Self::new(function, Some(argument), Value::Null, filter, distinct);
        let text = bound.text.replacen(function.name(), &user.to_string(), 1);
        Self { user: Some(user), text, ..bound }
    }

    /// The aggregate with an argument that is not computed, and cannot fail, for rows that its filter leaves out. One that
    /// has a value for every row stays what it is.
    pub(super) fn guarded(mut self) -> Self {
        let argument = self.argument.take_if(|argument| argument.may_fail() && self.filter.is_some());
        if let (Some(then), Some(when)) = (argument, self.filter.clone()) {
            let nothing = literal::literal(Value::Null, then.data_type());
            let branches = vec![Branch { when, then }];
            self.argument = Some(Expression::Case { branches, otherwise: Box::new(nothing) });
        }
        self
    }

    /// The expressions over the rows that it reads.
    pub(super) fn operands(&self) -> impl Iterator<Item = &Expression> {
        self.argument.iter().chain(&self.filter)
    }

    /// The aggregate with these expressions in the place of what it reads.
    pub(super) fn with_operands(mut self, new: impl Fn(&Expression) -> Expression) -> Self {
        self.argument = self.argument.as_ref().map(&new);
        self.filter = self.filter.as_ref().map(&new);
        self
    }

    pub(super) fn data_type(&self) -> DataType {
        self.placed(None, None).data_type()
    }

    /// The aggregate, its argument and filter being columns of the operator's input.
    pub(super) fn placed(&self, argument: Option<usize>, filter: Option<usize>) -> Aggregate {
        Aggregate {
            function: self.function,
            user: self.user.clone(),
            argument,
            argument_type: self.argument.as_ref().map_or(DataType::BigInt, Expression::data_type),
            parameter: self.parameter.clone(),
            filter,
            distinct: self.distinct,
            text: self.text.clone(),
        }
    }
}

/// What a group's row is made of, while it is being bound: the keys, then the aggregates.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) keys: Vec<NamedExpression>,
    pub(super) aggregates: Vec<BoundAggregate>,
    /// Whether there was a call of an aggregate, even one that cannot be bound.
    pub(super) called: bool,
}

/// Binds expressions against the columns of a scope, and after [`Binder::enter_groups`] against its groups.
pub(super) struct Binder<'a> {
    pub(super) columns: &'a [ScopeColumn],
    /// The functions there are beside the built-in ones.
    pub(super) functions: Option<&'a Functions>,
    /// Where an expression without a position of its own is said to be.
    fallback: Location,
    pub(super) groups: Option<Groups>,
    /// The calls with `OVER`, where they may stand.
    pub(super) over: Option<Vec<OverCall>>,
    pub(super) depth: usize,
}

impl<'a> Binder<'a> {
    pub(super) fn new(columns: &'a [ScopeColumn], fallback: Location) -> Self {
        Self { columns, functions: None, fallback, groups: None, over: None, depth: 0 }
    }

    /// With functions beside the built-in ones.
    pub(super) fn with_functions(self, functions: &'a Functions) -> Self {
        Self { functions: Some(functions), ..self }
    }

    /// The function of the user's own that a name means.
    pub(super) fn user_function(&self, name: &str) -> Option<&'a UserFunction> {
        self.functions?.find(name)
    }

    pub(super) fn enter_groups(&mut self, groups: Groups) {
        self.groups = Some(groups);
    }

    pub(super) fn leave_groups(&mut self) -> Groups {
        self.groups.take().expect("groups were entered")
    }

    /// Where an expression begins.
    pub(super) fn locate(&self, expr: &Expr) -> Location {
        let mut leftmost = expr;
        while let Expr::BinaryOp { left, .. } = leftmost {
            leftmost = left;
        }
        start_or(leftmost.span(), self.fallback)
    }

    pub(super) fn error(&self, expr: &Expr, message: impl Into<String>, help: impl Into<String>) -> SqlError {
        SqlError::at(self.locate(expr), message, help)
    }

    pub(super) fn column(&self, index: usize) -> Expression {
        let ScopeColumn { name, data_type, .. } = &self.columns[index];
        Expression::Column { index, data_type: *data_type, name: name.clone() }
    }

    /// In a group's row: the key that the expression as a whole is.
    pub(super) fn bind_group_column(&mut self, expr: &Expr) -> Option<Expression> {
        let groups = self.groups.take()?;
        let found = match expr {
            Expr::Value(_) => None,
            _ => self.bind_node(expr).ok().and_then(|row_expression| self.group_key(&groups, row_expression)),
        };
        self.groups = Some(groups);
        found
    }

    fn group_key(&self, groups: &Groups, row_expression: Expression) -> Option<Expression> {
        let key = |index: usize| Expression::Column {
            index,
            data_type: groups.keys[index].expression.data_type(),
            name: groups.keys[index].name.clone(),
        };
        if let Some(index) = groups.keys.iter().position(|key| key.expression == row_expression) {
            return Some(key(index));
        }
        // The bounds of a window follow from one another.
        let Role::WindowTime = self.role(&row_expression)? else { return None };
        let end = groups.keys.iter().position(|key| self.role(&key.expression) == Some(Role::WindowEnd))?;
        Some(last_instant(key(end)))
    }

    /// What a bare column says about time.
    pub(super) fn role(&self, expression: &Expression) -> Option<Role> {
        match expression {
            Expression::Column { index, .. } => self.columns.get(*index).map(|column| column.role),
            _ => None,
        }
    }

    /// What a column that a `SELECT` gives says about time.
    pub(super) fn item_role(&self, expression: &Expression) -> Role {
        let Some(groups) = &self.groups else { return Role::of(expression, self.role(expression)) };
        let of_key = |index: usize| groups.keys.get(index).and_then(|key| self.role(&key.expression));
        match expression {
            // An instant among the keys of a window is past when the window closes.
            Expression::Column { index, .. } => {
                of_key(*index).filter(|role| role.is_window()).unwrap_or(Role::Plain)
            }
            Expression::Binary { left, .. } => match &**left {
                Expression::Column { index, .. }
                    if of_key(*index) == Some(Role::WindowEnd)
                        && *expression == last_instant((**left).clone()) =>
                {
                    Role::WindowTime
                }
                _ => Role::Plain,
            },
            _ => Role::Plain,
        }
    }

    /// A column by its name, or by its table's and its own.
    pub(super) fn bind_name(
        &self,
        expr: &Expr,
        table: Option<&Ident>,
        name: &Ident,
    ) -> Result<Expression, SqlError> {
        let in_table = |column: &&ScopeColumn| match table {
            Some(table) => column.table.as_deref() == Some(table.value.as_str()),
            None => !column.merged,
        };
        let found: Vec<usize> = (0..self.columns.len())
            .filter(|index| self.columns[*index].name == name.value && in_table(&&self.columns[*index]))
            .collect();
        match found.as_slice() {
            [index] if self.groups.is_some() => Err(self.error(
                expr,
                format!("`{}` has many values in a group", name.value),
                format!("add `{0}` to GROUP BY, or aggregate it: MAX({0})", self.columns[*index].name),
            )),
            [index] => Ok(self.column(*index)),
            [] => Err(self.unknown(expr, table, name)),
            [first, second, ..] => {
                let qualified = |index: usize| {
                    let column = &self.columns[index];
                    column
                        .table
                        .as_ref()
                        .map_or(column.name.clone(), |table| format!("{table}.{}", column.name))
                };
                let of_windows = found.iter().any(|index| self.columns[*index].role.is_window());
                let (first, second) = (qualified(*first), qualified(*second));
                let help = match first == second {
                    true if of_windows => format!(
                        "what is put into windows has a `{0}` already: select it as `{0} AS ...` there",
                        name.value
                    ),
                    true => {
                        "give each table a name of its own: FROM t AS x JOIN t AS y ON x.a = y.a".to_owned()
                    }
                    false => format!("write `{first}` or `{second}`"),
                };
                let message = format!("`{}` is a column of several tables", name.value);
                Err(self.error(expr, message, help))
            }
        }
    }

    fn unknown(&self, expr: &Expr, table: Option<&Ident>, name: &Ident) -> SqlError {
        if let Some(table) = table {
            let mut tables: Vec<&str> =
                self.columns.iter().filter_map(|column| column.table.as_deref()).collect();
            tables.dedup();
            if !tables.contains(&table.value.as_str()) {
                let help = match tables.as_slice() {
                    [only] => format!("the table in FROM goes by the name `{only}`"),
                    _ => suggest(&table.value, tables.iter().copied()),
                };
                return self.error(expr, format!("there is no table `{}` in FROM", table.value), help);
            }
        }
        let names = self.columns.iter().map(|column| column.name.as_str());
        self.error(expr, format!("there is no column `{}`", name.value), suggest(&name.value, names))
    }
}

/// The last instant of a window, given its end.
pub(super) fn last_instant(window_end: Expression) -> Expression {
    binary(BinaryOperator::Subtract, window_end, literal::literal(Value::BigInt(1), DataType::BigInt))
}
