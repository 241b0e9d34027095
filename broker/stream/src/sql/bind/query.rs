//! `SELECT`: from where, which rows, grouped how, and into which columns.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, ObjectName, Query,
    Select, SelectFlavor, SelectItem, SetExpr, Spanned, TableAlias, TableFactor,
};
use sqlparser::tokenizer::Location;

use super::super::error::SqlError;
use super::super::script::{Insert, Script};
use super::expression::{Binder, Groups};
use super::{find_table, literal, table, types};
use crate::plan::{Body, Expression, NamedExpression, Plan, Sink, Source, WindowAggregate};
use crate::value::DataType;

/// Binds the query of an `INSERT`.
pub(super) fn bind(script: &Script, insert: &Insert, sink: Sink) -> Result<Plan, SqlError> {
    let select = the_select(&insert.query, insert.at)?;
    let from = bind_from(script, select)?;
    let at = select.select_token.0.span.start;
    let mut binder = Binder::new(&from.source.columns, &from.alias, from.size_ms.is_some(), at);
    let filter = match &select.selection {
        Some(condition) => Some(binder.bind_condition(condition, "WHERE")?),
        None => None,
    };
    let body = match from.size_ms {
        Some(size_ms) => bind_window(&mut binder, select, insert, &sink, size_ms, &from.source)?,
        None => {
            refuse_grouping(select, at)?;
            let outputs = bind_outputs(&mut binder, select, insert, &sink)?;
            Body::Project { outputs }
        }
    };
    Ok(Plan { filter, body, sink, source: from.source })
}

struct From {
    source: Source,
    alias: String,
    size_ms: Option<i64>,
}

/// The plain `SELECT` inside a query; everything around it that the language lacks is refused by name.
fn the_select(query: &Query, at: Location) -> Result<&Select, SqlError> {
    let refuse = |at: Location, what: &str, help: &str| {
        Err(SqlError::at(at, format!("{what} is not supported yet"), help))
    };
    if let Some(with) = &query.with {
        return refuse(with.with_token.0.span.start, "WITH", "write the query without common tables");
    }
    if let Some(order_by) = &query.order_by {
        return refuse(
            start_or(order_by.span(), at),
            "ORDER BY",
            "leave it out: a stream has no last row to sort by",
        );
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        return refuse(at, "LIMIT", "leave it out: a stream has no end; a reader may stop when it likes");
    }
    let others = !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty();
    if others {
        return refuse(at, "what follows the query", "end the query after GROUP BY and HAVING");
    }
    match &*query.body {
        SetExpr::Select(select) => {
            refuse_select_extras(select)?;
            Ok(select)
        }
        SetExpr::SetOperation { op, .. } => {
            refuse(at, &op.to_string(), "write one pipeline for each query; they may share the sink's topic")
        }
        SetExpr::Values(_) => refuse(at, "VALUES", "write INSERT INTO ... SELECT ... FROM <table>"),
        _ => refuse(at, "this kind of query", "write INSERT INTO ... SELECT ... FROM <table>"),
    }
}

fn refuse_select_extras(select: &Select) -> Result<(), SqlError> {
    let at = select.select_token.0.span.start;
    let refuse = |what: &str, help: &str| Err(SqlError::at(at, format!("{what} is not supported yet"), help));
    if select.distinct.is_some() {
        return refuse(
            "SELECT DISTINCT",
            "group by a window and the columns: GROUP BY window_start, window_end, ...",
        );
    }
    if let Some(qualify) = &select.qualify {
        let help = "write conditions on rows after WHERE, on groups after HAVING";
        return Err(SqlError::at(start_or(qualify.span(), at), "QUALIFY is not supported yet", help));
    }
    if !select.named_window.is_empty() {
        return refuse("WINDOW", "use TUMBLE in FROM");
    }
    let others = select.top.is_some()
        || select.exclude.is_some()
        || select.into.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.value_table_mode.is_some()
        || select.select_modifiers.is_some()
        || select.flavor != SelectFlavor::Standard;
    if others {
        return refuse(
            "this form of SELECT",
            "write SELECT ... FROM ... [WHERE ...] [GROUP BY ...] [HAVING ...]",
        );
    }
    Ok(())
}

fn bind_from(script: &Script, select: &Select) -> Result<From, SqlError> {
    let at = select.select_token.0.span.start;
    let [from] = select.from.as_slice() else {
        return Err(match select.from.get(1) {
            Some(second) => joins(start_or(second.span(), at)),
            None => SqlError::at(at, "FROM is missing", "write SELECT ... FROM <table>"),
        });
    };
    if let Some(join) = from.joins.first() {
        return Err(joins(start_or(join.span(), at)));
    }
    match &from.relation {
        TableFactor::TableFunction { expr: Expr::Function(function), alias } => {
            bind_tumble(script, function_call(function, at)?, alias.as_ref(), at)
        }
        TableFactor::Table { name, alias, args: Some(args), .. } => {
            let call = Call { name, args: &args.args };
            bind_tumble(script, call, alias.as_ref(), at)
        }
        TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_directives,
            inheritance: None,
        } if with_hints.is_empty() && partitions.is_empty() && index_directives.is_empty() => {
            let name = simple_name(name, at)?;
            let source = table::source(find_table(script, &name.value, name.span.start)?)?;
            let alias = alias_name(alias.as_ref(), &name.value)?;
            Ok(From { source, alias, size_ms: None })
        }
        TableFactor::Derived { .. } => Err(SqlError::at(
            start_or(from.relation.span(), at),
            "a query in FROM is not supported yet",
            "write its expressions into this query, or make it a pipeline of its own",
        )),
        other => Err(SqlError::at(
            start_or(other.span(), at),
            "this kind of table is not supported yet",
            "write FROM <table> or FROM TABLE(TUMBLE(TABLE <table>, DESCRIPTOR(<time>), INTERVAL '1' HOUR))",
        )),
    }
}

fn joins(at: Location) -> SqlError {
    SqlError::at(at, "joins are not supported yet", "read from one table")
}

struct Call<'a> {
    name: &'a ObjectName,
    args: &'a [FunctionArg],
}

const TUMBLE_HELP: &str = "write TABLE(TUMBLE(TABLE <table>, DESCRIPTOR(<event time>), INTERVAL '1' HOUR))";

/// Windows are no longer than this, so that their bounds stay within what an instant can be.
const MAX_WINDOW_MS: i64 = 100 * 366 * 86_400_000;

fn function_call(function: &Function, at: Location) -> Result<Call<'_>, SqlError> {
    match &function.args {
        FunctionArguments::List(list) => Ok(Call { name: &function.name, args: &list.args }),
        _ => Err(SqlError::at(start_or(function.name.span(), at), "arguments are missing", TUMBLE_HELP)),
    }
}

fn bind_tumble(
    script: &Script,
    call: Call<'_>,
    alias: Option<&TableAlias>,
    at: Location,
) -> Result<From, SqlError> {
    let name = simple_name(call.name, at)?;
    let call_at = name.span.start;
    match name.value.to_ascii_uppercase().as_str() {
        "TUMBLE" => {}
        other @ ("HOP" | "CUMULATE" | "SESSION") => {
            return Err(SqlError::at(call_at, format!("{other} windows are not supported yet"), TUMBLE_HELP));
        }
        _ => {
            let message = format!("`{}` is not a function that makes a table", name.value);
            return Err(SqlError::at(call_at, message, TUMBLE_HELP));
        }
    }
    let [data, time, size] = tumble_arguments(call.args, call_at)?;
    let Expr::Identifier(table_name) = data else {
        return Err(SqlError::at(start_or(data.span(), call_at), "this is not a table", TUMBLE_HELP));
    };
    let source = table::source(find_table(script, &table_name.value, table_name.span.start)?)?;
    let Some(event_time) = source.event_time else {
        return Err(SqlError::at(
            table_name.span.start,
            format!("table `{}` has no event time", source.table),
            "add to its CREATE TABLE: WATERMARK FOR <column> AS <column> - INTERVAL '5' SECOND",
        ));
    };
    let descriptor = descriptor_column(time, call_at)?;
    let declared = &source.columns[event_time.column].name;
    if descriptor.value != *declared {
        return Err(SqlError::at(
            descriptor.span.start,
            format!("`{}` is not the event time of `{}`", descriptor.value, source.table),
            format!("write DESCRIPTOR({declared}), the column of the WATERMARK"),
        ));
    }
    let size_at = start_or(size.span(), call_at);
    let Expr::Interval(interval) = size else {
        return Err(SqlError::at(size_at, "the window's size is not an INTERVAL", TUMBLE_HELP));
    };
    let size_ms = literal::interval_ms(interval, size_at)?;
    if size_ms <= 0 {
        return Err(SqlError::at(size_at, "a window of no length", TUMBLE_HELP));
    }
    if size_ms > MAX_WINDOW_MS {
        return Err(SqlError::at(size_at, "a window of more than 100 years", TUMBLE_HELP));
    }
    let alias = alias_name(alias, &source.table)?;
    Ok(From { source, alias, size_ms: Some(size_ms) })
}

fn tumble_arguments(args: &[FunctionArg], at: Location) -> Result<[&Expr; 3], SqlError> {
    const NAMES: [&str; 3] = ["DATA", "TIMECOL", "SIZE"];
    let wrong = || SqlError::at(at, "TUMBLE has three arguments", TUMBLE_HELP);
    let mut found: [Option<&Expr>; 3] = [None; 3];
    for (index, arg) in args.iter().enumerate() {
        let (place, arg) = match arg {
            FunctionArg::Unnamed(arg) => (index, arg),
            FunctionArg::Named { name, arg, .. } => {
                let place = NAMES.iter().position(|known| name.value.eq_ignore_ascii_case(known));
                let place = place.ok_or_else(|| {
                    SqlError::at(
                        name.span.start,
                        format!("TUMBLE has no argument `{}`", name.value),
                        "the arguments are DATA, TIMECOL and SIZE; windows with OFFSET are not supported yet",
                    )
                })?;
                (place, arg)
            }
            FunctionArg::ExprNamed { .. } => return Err(wrong()),
        };
        let FunctionArgExpr::Expr(expr) = arg else { return Err(wrong()) };
        if place == 3 {
            return Err(SqlError::at(
                start_or(expr.span(), at),
                "windows with an offset are not supported yet",
                TUMBLE_HELP,
            ));
        }
        let slot = found.get_mut(place).ok_or_else(wrong)?;
        if slot.replace(expr).is_some() {
            return Err(wrong());
        }
    }
    match found {
        [Some(data), Some(time), Some(size)] => Ok([data, time, size]),
        _ => Err(wrong()),
    }
}

fn descriptor_column(expr: &Expr, at: Location) -> Result<&Ident, SqlError> {
    if let Expr::Function(function) = expr
        && function.name.to_string().eq_ignore_ascii_case("DESCRIPTOR")
        && let FunctionArguments::List(list) = &function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column)))] = list.args.as_slice()
    {
        return Ok(column);
    }
    Err(SqlError::at(start_or(expr.span(), at), "this is not a DESCRIPTOR(<event time>)", TUMBLE_HELP))
}

fn simple_name(name: &ObjectName, at: Location) -> Result<&Ident, SqlError> {
    match name.0.as_slice() {
        [part] => part.as_ident().ok_or(()),
        _ => Err(()),
    }
    .map_err(|()| {
        SqlError::at(
            start_or(name.span(), at),
            format!("`{name}` has more than one part"),
            "tables have plain names; a name with unusual letters goes between ` and `",
        )
    })
}

fn alias_name(alias: Option<&TableAlias>, table: &str) -> Result<String, SqlError> {
    match alias {
        None => Ok(table.to_owned()),
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => Ok(alias.name.value.clone()),
        Some(alias) => Err(SqlError::at(
            alias.name.span.start,
            "new names for columns are not supported here",
            "give names in the SELECT: <expression> AS <name>",
        )),
    }
}

fn refuse_grouping(select: &Select, at: Location) -> Result<(), SqlError> {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(keys, modifiers) => !keys.is_empty() || !modifiers.is_empty(),
    };
    if !grouped && select.having.is_none() {
        return Ok(());
    }
    let grouped_at = match &select.group_by {
        GroupByExpr::Expressions(keys, _) => keys.first().map(|key| start_or(key.span(), at)),
        GroupByExpr::All(_) => None,
    };
    Err(SqlError::at(
        grouped_at.unwrap_or(at),
        "groups without a window would never be complete",
        format!("read FROM a window and group by it: {TUMBLE_HELP}"),
    ))
}

fn bind_window(
    binder: &mut Binder<'_>,
    select: &Select,
    insert: &Insert,
    sink: &Sink,
    size_ms: i64,
    source: &Source,
) -> Result<Body, SqlError> {
    let keys = bind_keys(binder, select, source)?;
    binder.enter_groups(Groups { keys, aggregates: Vec::new() });
    let having = match &select.having {
        Some(condition) => Some(binder.bind_condition(condition, "HAVING")?),
        None => None,
    };
    let outputs = bind_outputs(binder, select, insert, sink)?;
    let Groups { keys, aggregates } = binder.leave_groups();
    Ok(Body::Window(WindowAggregate { size_ms, keys, aggregates, having, outputs }))
}

fn bind_keys(
    binder: &mut Binder<'_>,
    select: &Select,
    source: &Source,
) -> Result<Vec<NamedExpression>, SqlError> {
    let at = select.select_token.0.span.start;
    let help = "write GROUP BY window_start, window_end, <columns>";
    let GroupByExpr::Expressions(expressions, modifiers) = &select.group_by else {
        return Err(SqlError::at(at, "GROUP BY ALL is not supported", help));
    };
    if !modifiers.is_empty() {
        return Err(SqlError::at(at, "GROUP BY with a modifier is not supported yet", help));
    }
    let mut keys: Vec<NamedExpression> = Vec::new();
    let mut by_window = false;
    for expr in expressions {
        let key_at = binder.locate(expr);
        if binder.window_column(expr).is_some() {
            by_window = true;
            continue;
        }
        match expr {
            Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) | Expr::Tuple(_) => {
                return Err(SqlError::at(key_at, "several groupings at once are not supported yet", help));
            }
            Expr::Value(_) => {
                return Err(SqlError::at(key_at, "a constant is not a group", "write the expression itself"));
            }
            _ => {}
        }
        let expression = binder.bind(expr)?;
        if keys.iter().any(|key| key.expression == expression) {
            continue;
        }
        let name = key_name(binder, select, &expression, source, keys.len());
        keys.push(NamedExpression { name, expression });
    }
    match by_window {
        true => Ok(keys),
        false => Err(SqlError::at(
            expressions.first().map_or(at, |expr| binder.locate(expr)),
            "the window is not in GROUP BY",
            help,
        )),
    }
}

/// The name of a key: its column's, or the one the `SELECT` gives it.
fn key_name(
    binder: &mut Binder<'_>,
    select: &Select,
    expression: &Expression,
    source: &Source,
    index: usize,
) -> String {
    if let Expression::Column { index, .. } = expression {
        return source.columns[*index].name.clone();
    }
    let alias = select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => {
            (binder.bind(expr).ok().as_ref() == Some(expression)).then(|| alias.value.clone())
        }
        _ => None,
    });
    alias.unwrap_or_else(|| format!("key{}", index + 1))
}

/// The select list as the sink's columns, in the sink's order.
fn bind_outputs(
    binder: &mut Binder<'_>,
    select: &Select,
    insert: &Insert,
    sink: &Sink,
) -> Result<Vec<Expression>, SqlError> {
    let at = select.select_token.0.span.start;
    let mut items: Vec<(Expression, Location)> = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                items.push((binder.bind(expr)?, binder.locate(expr)));
            }
            SelectItem::Wildcard(options) => {
                let star_at = options.wildcard_token.0.span.start;
                items.extend(binder.all_columns(star_at)?.into_iter().map(|column| (column, star_at)));
            }
            SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => {
                return Err(SqlError::at(
                    start_or(item.span(), at),
                    format!("`{item}` is not supported here"),
                    "write the columns one by one, or `*` for all",
                ));
            }
        }
    }
    let targets = target_columns(insert, sink)?;
    if items.len() != targets.len() {
        let names: Vec<&str> = targets.iter().map(|target| sink.columns[*target].name.as_str()).collect();
        return Err(SqlError::at(
            items.get(targets.len()).map_or(at, |(_, item_at)| *item_at),
            format!("{} values for {} columns of `{}`", items.len(), targets.len(), sink.table),
            format!("select one value for each of: {}", names.join(", ")),
        ));
    }
    let mut outputs: Vec<Option<Expression>> = vec![None; sink.columns.len()];
    for ((expression, item_at), target) in items.into_iter().zip(targets) {
        let column = &sink.columns[target];
        let output = types::coerce(expression, column.data_type).map_err(|found| {
            SqlError::at(
                item_at,
                format!(
                    "`{found}` is a {}, column `{}` of `{}` is a {}",
                    found.data_type(),
                    column.name,
                    sink.table,
                    column.data_type
                ),
                mismatch_help(found.data_type(), column.data_type),
            )
        })?;
        outputs[target] = Some(output);
    }
    outputs
        .into_iter()
        .zip(&sink.columns)
        .map(|(output, column)| match output {
            None if column.required => Err(SqlError::at(
                insert.table.span.start,
                format!(
                    "column `{}` of `{}` is NOT NULL, and no value is selected for it",
                    column.name, sink.table
                ),
                "name it among the columns to insert, and select a value",
            )),
            output => Ok(output.unwrap_or(null(column.data_type))),
        })
        .collect()
}

fn null(data_type: DataType) -> Expression {
    literal::literal(crate::value::Value::Null, data_type)
}

fn mismatch_help(found: DataType, wanted: DataType) -> String {
    match types::can_cast(found, wanted) {
        true => format!("write CAST(... AS {wanted}), or declare the column as {found}"),
        false => format!("declare the column as {found}"),
    }
}

fn target_columns(insert: &Insert, sink: &Sink) -> Result<Vec<usize>, SqlError> {
    if insert.columns.is_empty() {
        return Ok((0..sink.columns.len()).collect());
    }
    let mut targets = Vec::new();
    for name in &insert.columns {
        let known = sink.columns.iter().map(|column| column.name.as_str());
        let target = known.clone().position(|column| column == name.value).ok_or_else(|| {
            SqlError::at(
                name.span.start,
                format!("table `{}` has no column `{}`", sink.table, name.value),
                super::suggest(&name.value, known),
            )
        })?;
        if targets.contains(&target) {
            return Err(SqlError::at(
                name.span.start,
                format!("`{}` is named twice", name.value),
                "name it once",
            ));
        }
        targets.push(target);
    }
    Ok(targets)
}

pub(super) fn start_or(span: sqlparser::tokenizer::Span, fallback: Location) -> Location {
    if span.start.line == 0 { fallback } else { span.start }
}
