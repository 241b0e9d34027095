//! `FROM`: tables, views, queries and window functions.

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Spanned, TableAlias,
    TableFactor, TableWithJoins,
};
use sqlparser::tokenizer::Location;

use super::super::error::{SqlError, suggest};
use super::super::statement::{CreateTable, GivenTable, Refusal};
use super::query::{QueryBinder, start_or};
use super::relation::{Relation, Windows};
use super::scope::Role;
use super::{literal, table};
use crate::plan::{Operator, Source, Upsert, WindowKind};

const WINDOW_HELP: &str = "write TABLE(TUMBLE(TABLE <table>, DESCRIPTOR(<event time>), INTERVAL '1' HOUR))";

/// Windows are no longer than this, so that their bounds stay within what an instant can be.
const MAX_WINDOW_MS: i64 = 100 * 366 * 86_400_000;

/// A window has at most this many slices: as often is a row looked at when windows close.
const MAX_SLICES: i64 = 100_000;

/// A row lies in at most this many windows where it costs something in each of them at once.
const MAX_WINDOWS_OF_ROW: i64 = 1_000;

/// Refuses windows of which too many share a row.
pub(super) fn few_windows(kind: WindowKind, why: &str, at: Location) -> Result<(), SqlError> {
    if kind.overlap() <= MAX_WINDOWS_OF_ROW {
        return Ok(());
    }
    Err(SqlError::at(
        at,
        format!(
            "a row lies in {} windows, and {why}: at most {MAX_WINDOWS_OF_ROW} are supported",
            kind.overlap()
        ),
        "aggregate with GROUP BY window_start, window_end and EMIT ON CLOSE, which keeps one copy, or choose a longer \
         slide",
    ))
}

struct Call<'a> {
    name: &'a ObjectName,
    args: &'a [FunctionArg],
}

impl QueryBinder<'_> {
    /// The rows of a `FROM`, before `WHERE`.
    pub(super) fn bind_from(&mut self, from: &[TableWithJoins], at: Location) -> Result<Relation, SqlError> {
        match from {
            [] => Err(SqlError::at(at, "FROM is missing", "write SELECT ... FROM <table>")),
            [only] if only.joins.is_empty() => self.bind_factor(&only.relation, at),
            several => self.bind_joined(several, None, at),
        }
    }

    /// One table, view, query or window function.
    pub(super) fn bind_factor(&mut self, factor: &TableFactor, at: Location) -> Result<Relation, SqlError> {
        let relation = self.bind_unranked_factor(factor, at)?;
        self.ranked_from(relation)
    }

    fn bind_unranked_factor(&mut self, factor: &TableFactor, at: Location) -> Result<Relation, SqlError> {
        match factor {
            TableFactor::TableFunction { expr: Expr::Function(function), alias } => {
                self.bind_windows(function_call(function, at)?, alias.as_ref(), at)
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                self.bind_windows(Call { name, args: &args.args }, alias.as_ref(), at)
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
                let alias = alias_name(alias.as_ref(), &name.value)?;
                Ok(self.bind_table(name)?.named(&alias))
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let relation = self.bind_query_unranked(subquery, at)?;
                match alias {
                    Some(_) => Ok(relation.named(&alias_name(alias.as_ref(), "")?)),
                    None => Ok(relation),
                }
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.bind_from(std::slice::from_ref(table_with_joins), at)
            }
            other => Err(SqlError::at(
                start_or(other.span(), at),
                "this kind of table is not supported",
                "write FROM <table>, FROM (SELECT ...) AS <name> or \
                 FROM TABLE(TUMBLE(TABLE <table>, DESCRIPTOR(<time>), INTERVAL '1' HOUR))",
            )),
        }
    }

    /// A common table, a view or a table, in this order.
    pub(super) fn bind_table(&mut self, name: &Ident) -> Result<Relation, SqlError> {
        let at = name.span.start;
        if let Some(relation) = self.common_table(&name.value) {
            return Ok(relation);
        }
        if let Some(view) = self.script.views.iter().find(|view| view.name.value == name.value) {
            return self.bind_view(view, at);
        }
        let mut given = self.script.given.iter().flatten().filter(|given| given.source.table == name.value);
        if let Some(GivenTable { source, refusal }) = given.next() {
            if given.next().is_some() {
                return Err(SqlError::at(
                    at,
                    format!("several pipelines write a table `{}`", name.value),
                    "say which: --pipeline <name>",
                ));
            }
            if let Some(Refusal { message, help }) = refusal {
                return Err(SqlError::at(at, message.clone(), help.clone()));
            }
            let node = self.graph.source(source.clone());
            return Ok(Relation::new(node, Some(&name.value), self.graph));
        }
        let Some(found) = self.script.tables.iter().find(|table| table.name.value == name.value) else {
            return Err(self.unknown_table(name));
        };
        let (node, source) = self.bind_source(found)?;
        if source.upsert_key.is_empty() {
            let mut relation = Relation::new(node, Some(&name.value), self.graph);
            // What is taken back is of a time long past.
            if let Some(time) = source.event_time.filter(|_| !source.changes()) {
                relation.columns[time.column].role = Role::Time;
            }
            let computed = relation.columns.iter_mut().skip(source.columns.len()).zip(&source.computed);
            for (column, computed) in computed.filter(|(column, _)| column.role == Role::Plain) {
                column.role = Role::of(&computed.expression, None);
            }
            return Ok(relation);
        }
        // Rows that replace one another are read as changes.
        let columns = self.graph.columns(node).to_vec();
        let upsert = Upsert { keys: source.upsert_key.clone(), columns: (0..columns.len()).collect() };
        let node = self.graph.node(Operator::Upsert(upsert), vec![node], columns, true);
        let mut relation = Relation::new(node, Some(&name.value), self.graph);
        relation.key = Some(source.upsert_key);
        Ok(relation)
    }

    /// The same rows, whose time is from here on a column of processing time.
    fn by_processing_time(&mut self, mut input: Relation, time: usize) -> Relation {
        let columns = self.graph.columns(input.node).to_vec();
        input.node = self.graph.node(Operator::ProcessingTime, vec![input.node], columns, false);
        // Event time says nothing about what is late here.
        for (index, column) in input.columns.iter_mut().enumerate() {
            column.role = if index == time { Role::Time } else { Role::Plain };
        }
        input
    }

    pub(super) fn unknown_table(&self, name: &Ident) -> SqlError {
        let tables = self.script.tables.iter().map(|table| table.name.value.as_str());
        let views = self.script.views.iter().map(|view| view.name.value.as_str());
        if let Some(given) = &self.script.given {
            let given = given.iter().map(|given| given.source.table.as_str());
            let message = format!("no pipeline writes a table `{}`", name.value);
            return SqlError::at(name.span.start, message, suggest(&name.value, given));
        }
        SqlError::at(
            name.span.start,
            format!("there is no table `{}`", name.value),
            format!(
                "{}; tables are declared above with CREATE TABLE",
                suggest(&name.value, tables.chain(views))
            ),
        )
    }

    /// The node of a table that is read.
    pub(super) fn bind_source(&mut self, table: &CreateTable) -> Result<(usize, Source), SqlError> {
        let source = table::source(table, &self.script.functions)?;
        Ok((self.graph.source(source.clone()), source))
    }

    fn bind_windows(
        &mut self,
        call: Call<'_>,
        alias: Option<&TableAlias>,
        at: Location,
    ) -> Result<Relation, SqlError> {
        let name = simple_name(call.name, at)?;
        let call_at = name.span.start;
        let (names, intervals): (&[&str], usize) = match name.value.to_ascii_uppercase().as_str() {
            "TUMBLE" => (&["DATA", "TIMECOL", "SIZE", "OFFSET"], 1),
            "HOP" => (&["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"], 2),
            "CUMULATE" => (&["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"], 2),
            "SESSION" => (&["DATA", "TIMECOL", "GAP"], 1),
            _ => {
                let message = format!("`{}` is not a function that makes a table", name.value);
                return Err(SqlError::at(call_at, message, WINDOW_HELP));
            }
        };
        let arguments = arguments(&name.value, call.args, names, 2 + intervals, call_at)?;
        let (Some(data), Some(time)) = (arguments[0], arguments[1]) else {
            return Err(wrong_arguments(&name.value, 2 + intervals, call_at));
        };
        let (table_name, partition_by) = window_input(data, call_at)?;
        let input = self.bind_table(table_name)?;
        let input = self.ranked_from(input)?;
        if self.graph.changes(input.node) {
            return Err(SqlError::at(
                table_name.span.start,
                format!(
                    "the rows of `{}` are taken back at times, when their windows may be closed",
                    table_name.value
                ),
                "group without a window: GROUP BY FLOOR(<time> TO HOUR), <columns>",
            ));
        }
        let declared = self.script.tables.iter().any(|table| table.name.value == table_name.value)
            && self.common_table(&table_name.value).is_none();
        let time = time_column(&input, time, table_name, declared, call_at)?;
        let input = match input.columns[time].role {
            Role::ProcessingTime => self.by_processing_time(input, time),
            _ => input,
        };
        let partition_by = partition_by
            .iter()
            .map(|column| {
                input.columns.iter().position(|known| known.name == column.value).ok_or_else(|| {
                    let names = input.columns.iter().map(|known| known.name.as_str());
                    SqlError::at(
                        column.span.start,
                        format!("there is no column `{}`", column.value),
                        suggest(&column.value, names),
                    )
                })
            })
            .collect::<Result<Vec<usize>, SqlError>>()?;
        let lengths = arguments[2..]
            .iter()
            .map(|length| length.map(|length| length_ms(length, call_at)).transpose())
            .collect::<Result<Vec<Option<(i64, Location)>>, SqlError>>()?;
        let by_place = |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(_));
        if let ("HOP", [Some((slide, slide_at)), Some((size, _)), ..]) =
            (&*name.value.to_ascii_uppercase(), &lengths[..])
            && slide > size
            && call.args.iter().any(by_place)
        {
            return Err(SqlError::at(
                *slide_at,
                "the windows begin further apart than they are long: records between them would be in none",
                "write the slide first, then the length: HOP(TABLE <table>, DESCRIPTOR(<event time>), INTERVAL '10' MINUTE, \
                 INTERVAL '1' HOUR); where gaps are meant, name all arguments: HOP(DATA => TABLE <table>, TIMECOL => \
                 DESCRIPTOR(<event time>), SLIDE => ..., SIZE => ...)",
            ));
        }
        let windows = windows(&name.value, &lengths, time, partition_by, call_at)?;
        let alias = alias_name(alias, &table_name.value)?;
        Ok(input.named(&alias).with_windows(windows, &alias))
    }
}

/// The windows a function names, its lengths checked.
fn windows(
    name: &str,
    lengths: &[Option<(i64, Location)>],
    time: usize,
    partition_by: Vec<usize>,
    at: Location,
) -> Result<Windows, SqlError> {
    let length = |index: usize| lengths.get(index).copied().flatten();
    let positive = |index: usize| match length(index) {
        Some((ms, length_at)) if ms <= 0 => {
            Err(SqlError::at(length_at, "a window of no length", WINDOW_HELP))
        }
        Some((ms, length_at)) if ms > MAX_WINDOW_MS => {
            Err(SqlError::at(length_at, "a window of more than 100 years", WINDOW_HELP))
        }
        Some(found) => Ok(found),
        None => Err(SqlError::at(at, format!("{name} lacks a length"), WINDOW_HELP)),
    };
    let offset = |index: usize| length(index).map_or(0, |(ms, _)| ms);
    let upper = name.to_ascii_uppercase();
    if upper == "SESSION" {
        let (gap_ms, _) = positive(0)?;
        return Ok(Windows::Session { gap_ms, time, partition_by });
    }
    if !partition_by.is_empty() {
        return Err(SqlError::at(
            at,
            format!("{upper} has no PARTITION BY"),
            "group by the columns: GROUP BY window_start, window_end, <columns>",
        ));
    }
    let kind = match upper.as_str() {
        "TUMBLE" => {
            let (size_ms, _) = positive(0)?;
            WindowKind::Tumble { size_ms, offset_ms: offset(1) % size_ms }
        }
        "HOP" => {
            let (slide_ms, _) = positive(0)?;
            let (size_ms, _) = positive(1)?;
            WindowKind::Hop { size_ms, slide_ms, offset_ms: offset(2) % slide_ms }
        }
        _ => {
            let (step_ms, step_at) = positive(0)?;
            let (size_ms, _) = positive(1)?;
            if size_ms % step_ms != 0 {
                return Err(SqlError::at(
                    step_at,
                    "the greatest length is not a whole number of steps",
                    "write CUMULATE(TABLE <table>, DESCRIPTOR(<event time>), INTERVAL '1' HOUR, INTERVAL '1' DAY)",
                ));
            }
            WindowKind::Cumulate { size_ms, step_ms, offset_ms: offset(2) % size_ms }
        }
    };
    if kind.size_ms() / kind.slice_ms() > MAX_SLICES {
        let (_, length_at) = positive(0)?;
        return Err(SqlError::at(
            length_at,
            format!("the windows consist of more than {MAX_SLICES} slices"),
            "choose a length and a slide of which one is a multiple of the other",
        ));
    }
    Ok(Windows::Fixed { kind, time })
}

fn function_call(function: &Function, at: Location) -> Result<Call<'_>, SqlError> {
    match &function.args {
        FunctionArguments::List(list) => Ok(Call { name: &function.name, args: &list.args }),
        _ => Err(SqlError::at(start_or(function.name.span(), at), "arguments are missing", WINDOW_HELP)),
    }
}

fn wrong_arguments(name: &str, count: usize, at: Location) -> SqlError {
    let count = if count == 3 { "three" } else { "four" };
    SqlError::at(at, format!("{} has {count} arguments", name.to_ascii_uppercase()), WINDOW_HELP)
}

/// The arguments by place or by name.
fn arguments<'a>(
    function: &str,
    args: &'a [FunctionArg],
    names: &[&str],
    required: usize,
    at: Location,
) -> Result<Vec<Option<&'a Expr>>, SqlError> {
    let wrong = || wrong_arguments(function, required, at);
    let mut found: Vec<Option<&Expr>> = vec![None; names.len()];
    for (index, arg) in args.iter().enumerate() {
        let (place, arg) = match arg {
            FunctionArg::Unnamed(arg) => (index, arg),
            FunctionArg::Named { name, arg, .. } => {
                let place = names.iter().position(|known| name.value.eq_ignore_ascii_case(known));
                let place = place.ok_or_else(|| {
                    SqlError::at(
                        name.span.start,
                        format!("{} has no argument `{}`", function.to_ascii_uppercase(), name.value),
                        format!("its arguments are {}", names.join(", ")),
                    )
                })?;
                (place, arg)
            }
            FunctionArg::ExprNamed { .. } => return Err(wrong()),
        };
        let FunctionArgExpr::Expr(expr) = arg else { return Err(wrong()) };
        if found.get_mut(place).ok_or_else(wrong)?.replace(expr).is_some() {
            return Err(wrong());
        }
    }
    match found[..required].iter().all(Option::is_some) {
        true => Ok(found),
        false => Err(wrong()),
    }
}

/// `TABLE name [PARTITION BY columns]`, as the dialect reads it.
fn window_input(data: &Expr, at: Location) -> Result<(&Ident, Vec<&Ident>), SqlError> {
    let not_a_table = || SqlError::at(start_or(data.span(), at), "this is not a table", WINDOW_HELP);
    match data {
        Expr::Identifier(name) => Ok((name, Vec::new())),
        Expr::Function(function) => {
            // The dialect reads `TABLE name PARTITION BY a, b` as `name(a, b)`.
            let name = simple_name(&function.name, at)?;
            let FunctionArguments::List(list) = &function.args else { return Err(not_a_table()) };
            let column = |arg| match arg {
                &FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(ref column))) => Ok(column),
                _ => Err(not_a_table()),
            };
            Ok((name, list.args.iter().map(column).collect::<Result<_, _>>()?))
        }
        _ => Err(not_a_table()),
    }
}

/// The column a `DESCRIPTOR` names, which must be the event time of a table that is declared, or of a query.
fn time_column(
    input: &Relation,
    time: &Expr,
    table: &Ident,
    is_declared: bool,
    at: Location,
) -> Result<usize, SqlError> {
    let descriptor = descriptor_column(time, at)?;
    let named = input.columns.iter().position(|column| column.name == descriptor.value);
    if let Some(named) = named.filter(|named| {
        let role = input.columns[*named].role;
        matches!(role, Role::Time | Role::WindowTime | Role::ProcessingTime) && input.windows.is_none()
    }) {
        return Ok(named);
    }
    let window_time = || input.columns.iter().position(|column| column.role == Role::WindowTime);
    let Some(event_time) = input.time().or_else(window_time) else {
        if !is_declared {
            return Err(SqlError::at(
                table.span.start,
                format!("query `{}` has no event time", table.value),
                "a row that is taken back, or given when its window closes, is behind the times of its columns: select \
                 window_time of its window, or take the windows before",
            ));
        }
        return Err(SqlError::at(
            table.span.start,
            format!("table `{}` has no event time", table.value),
            "add to its CREATE TABLE: WATERMARK FOR <column> AS <column> - INTERVAL '5' SECOND, or <column> AS PROCTIME() \
             for windows of processing time",
        ));
    };
    let known = &input.columns[event_time].name;
    let which = if is_declared { "the column of the WATERMARK" } else { "the time its rows are given by" };
    Err(SqlError::at(
        descriptor.span.start,
        format!("`{}` is not the event time of `{}`", descriptor.value, table.value),
        format!("write DESCRIPTOR({known}), {which}"),
    ))
}

fn length_ms(length: &Expr, at: Location) -> Result<(i64, Location), SqlError> {
    let length_at = start_or(length.span(), at);
    let Expr::Interval(interval) = length else {
        return Err(SqlError::at(length_at, "the window's size is not an INTERVAL", WINDOW_HELP));
    };
    Ok((literal::interval_ms(interval, length_at)?, length_at))
}

fn descriptor_column(expr: &Expr, at: Location) -> Result<&Ident, SqlError> {
    if let Expr::Function(function) = expr
        && function.name.to_string().eq_ignore_ascii_case("DESCRIPTOR")
        && let FunctionArguments::List(list) = &function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column)))] = list.args.as_slice()
    {
        return Ok(column);
    }
    Err(SqlError::at(start_or(expr.span(), at), "this is not a DESCRIPTOR(<event time>)", WINDOW_HELP))
}

pub(super) fn simple_name(name: &ObjectName, at: Location) -> Result<&Ident, SqlError> {
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

pub(super) fn alias_name(alias: Option<&TableAlias>, table: &str) -> Result<String, SqlError> {
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
