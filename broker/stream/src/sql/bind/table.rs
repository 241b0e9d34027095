//! `CREATE TABLE`: columns, watermark and options of a source or a sink.

use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::tokenizer::Location;

use super::super::error::{SqlError, suggest};
use super::super::statement::{CreateTable, TableOption, Watermark};
use super::scope::{Binder, Role, ScopeColumn};
use super::{format, literal, shed, types};
use crate::functions::Functions;
use crate::plan::{
    Column, ColumnOrigin, Compression, Computed, ErrorPolicy, EventTime, Format, OutputMode, RecordFormat,
    SinkErrorPolicy, Source,
};
use crate::value::DataType;

const SOURCE_OPTIONS: [&str; 6] =
    ["topic", "on-error", "dlq-topic", "late-topic", "idle-timeout", "max-time-ahead"];
const SINK_OPTIONS: [&str; 4] = ["topic", "compression", "on-error", "output"];

/// The longest time after which a partition is idle, or by which it is ahead.
const MAX_IDLE_MS: i64 = 30 * 86_400_000;

/// What a table that is written to declares.
pub(super) struct SinkDeclaration {
    pub(super) table: String,
    pub(super) topic: String,
    pub(super) format: RecordFormat,
    pub(super) columns: Vec<Column>,
    pub(super) primary_key: Vec<usize>,
    pub(super) mode: Option<(OutputMode, Location)>,
    pub(super) compression: Compression,
    pub(super) on_error: SinkErrorPolicy,
}

/// The table as a source, with all its columns.
pub(super) fn source(table: &CreateTable, functions: &Functions) -> Result<Source, SqlError> {
    let options = Options::new(table, &SOURCE_OPTIONS)?;
    let mut columns = columns(table)?;
    let topic = options.topic("topic")?;
    let format = options.format(&mut columns)?;
    format::check_source(&format, &columns, &table.options, table.name.span.start)?;
    let computed = computed(table, &columns, functions)?;
    let mut row = columns.clone();
    row.extend(
        computed.iter().map(|computed| Column::of_value(&computed.name, computed.expression.data_type())),
    );
    let event_time = table.watermark.as_ref().map(|watermark| event_time(watermark, &row)).transpose()?;
    let upsert_key = primary_key(table, &columns)?;
    let replaces = !upsert_key.is_empty() || matches!(format.value, Format::Debezium(_));
    let shed = table.shed.as_ref();
    Ok(Source {
        shed: shed.map(|clause| shed::bind(table, clause, &row, replaces, functions)).transpose()?,
        key_fields: columns.iter().filter(|column| column.origin == ColumnOrigin::Key).count(),
        upsert_key,
        late_topic: options.late_topic(event_time.is_some())?,
        idle_ms: options.span_ms("idle-timeout", event_time.is_some())?,
        max_ahead_ms: options.span_ms("max-time-ahead", event_time.is_some())?,
        computed,
        table: table.name.value.clone(),
        topic,
        format,
        on_error: options.on_source_error()?,
        columns,
        event_time,
    })
}

/// The table as a sink.
pub(super) fn sink(table: &CreateTable) -> Result<SinkDeclaration, SqlError> {
    let options = Options::new(table, &SINK_OPTIONS)?;
    if let Some(watermark) = &table.watermark {
        return Err(SqlError::at(
            watermark.column.span.start,
            format!("`{}` is written to, a WATERMARK means nothing there", table.name.value),
            "leave the WATERMARK out",
        ));
    }
    if let Some(shed) = &table.shed {
        return Err(SqlError::at(
            shed.at,
            format!("`{}` is written to, and only what is read is shed", table.name.value),
            "write SHED behind the table that is read",
        ));
    }
    if let Some(computed) = table.computed.first() {
        return Err(SqlError::at(
            computed.name.span.start,
            format!("`{}` is written to, and `{}` is computed", table.name.value, computed.name.value),
            "declare it with its type, and select its value",
        ));
    }
    let written = |name: &str| {
        let definition = table.columns.iter().find(|definition| definition.name.value == name);
        let metadata = definition.and_then(|definition| definition.metadata.as_ref());
        !metadata.is_some_and(|metadata| metadata.is_virtual)
    };
    let mut columns = columns(table)?;
    columns.retain(|column| written(&column.name));
    let topic = options.topic("topic")?;
    let primary_key = primary_key(table, &columns)?;
    // A record without a key can neither be replaced nor deleted.
    primary_key.iter().for_each(|column| columns[*column].required = true);
    let format = options.format(&mut columns)?;
    format::check_sink(&format, &columns, &table.options, table.name.span.start)?;
    Ok(SinkDeclaration {
        table: table.name.value.clone(),
        topic,
        format,
        primary_key,
        mode: options.output()?,
        columns,
        compression: options.compression()?,
        on_error: options.on_sink_error()?,
    })
}

fn columns(table: &CreateTable) -> Result<Vec<Column>, SqlError> {
    let mut columns: Vec<Column> = Vec::new();
    for definition in &table.columns {
        let name = &definition.name.value;
        if columns.iter().any(|column| column.name == *name) {
            return Err(SqlError::at(
                definition.name.span.start,
                format!("a second column `{name}`"),
                "give it another name",
            ));
        }
        Column::check_name(name).map_err(|reason| {
            let at = definition.name.span.start;
            let begin: String = name.chars().take(40).collect();
            let help =
                "give it a shorter one; what is deeper is reached in a query: JSON_VALUE(<column>, '$.a.b')";
            SqlError::at(at, format!("the name of column `{begin}...` {reason}"), help)
        })?;
        let data_type = types::from_sql(&definition.data_type, definition.data_type_at)?;
        let origin = match &definition.metadata {
            Some(metadata) => {
                format::metadata(metadata.name.as_deref().unwrap_or(name), data_type, metadata.at)?
            }
            None => ColumnOrigin::Value,
        };
        columns.push(Column { name: name.clone(), data_type, required: definition.required, origin });
    }
    if columns.is_empty() {
        return Err(SqlError::at(
            table.name.span.start,
            format!("table `{}` has no columns", table.name.value),
            "list the fields of the topic's records: (<name> <TYPE>, ...)",
        ));
    }
    Ok(columns)
}

/// The columns that are computed, each from those before it.
fn computed(
    table: &CreateTable,
    columns: &[Column],
    functions: &Functions,
) -> Result<Vec<Computed>, SqlError> {
    let plain = |name: &str, data_type| ScopeColumn {
        table: Some(table.name.value.clone()),
        name: name.to_owned(),
        data_type,
        role: Role::Plain,
        merged: false,
    };
    let mut scope: Vec<ScopeColumn> =
        columns.iter().map(|column| plain(&column.name, column.data_type)).collect();
    let mut found = Vec::new();
    for definition in &table.computed {
        let name = &definition.name.value;
        if scope.iter().any(|column| column.name == *name) {
            return Err(SqlError::at(
                definition.name.span.start,
                format!("a second column `{name}`"),
                "give it another name",
            ));
        }
        let mut binder = Binder::new(&scope, definition.expression_at).with_functions(functions);
        let expression = binder.bind(&definition.expression)?;
        scope.push(plain(name, expression.data_type()));
        found.push(Computed { name: name.clone(), expression });
    }
    Ok(found)
}

fn primary_key(table: &CreateTable, columns: &[Column]) -> Result<Vec<usize>, SqlError> {
    let Some(key) = &table.primary_key else { return Ok(Vec::new()) };
    let place = |name: &sqlparser::ast::Ident| {
        columns.iter().position(|column| column.name == name.value).ok_or_else(|| {
            SqlError::at(
                name.span.start,
                format!("there is no column `{}`", name.value),
                suggest(&name.value, columns.iter().map(|column| column.name.as_str())),
            )
        })
    };
    key.columns.iter().map(place).collect()
}

fn event_time(watermark: &Watermark, columns: &[Column]) -> Result<EventTime, SqlError> {
    let name = &watermark.column.value;
    let Some(column) = columns.iter().position(|column| column.name == *name) else {
        return Err(SqlError::at(
            watermark.column.span.start,
            format!("there is no column `{name}`"),
            suggest(name, columns.iter().map(|column| column.name.as_str())),
        ));
    };
    if columns[column].data_type != DataType::Timestamp {
        return Err(SqlError::at(
            watermark.column.span.start,
            format!("`{name}` is a {}, event time is a TIMESTAMP(3)", columns[column].data_type),
            format!("declare `{name} TIMESTAMP(3)`; it reads ISO-8601 text and epoch milliseconds"),
        ));
    }
    let wrong = || {
        SqlError::at(
            watermark.expression_at,
            "this is not a bounded delay",
            format!(
                "write WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND, or just {name} for no delay"
            ),
        )
    };
    let is_column = |expr: &Expr| matches!(expr, Expr::Identifier(ident) if ident.value == *name);
    let delay_ms = match &watermark.expression {
        expr if is_column(expr) => 0,
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => match &**right {
            Expr::Interval(interval) => literal::interval_ms(interval, watermark.expression_at)?,
            _ => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    if delay_ms < 0 {
        return Err(wrong());
    }
    Ok(EventTime { column, delay_ms })
}

struct Options<'a> {
    table: &'a CreateTable,
}

impl<'a> Options<'a> {
    fn new(table: &'a CreateTable, known: &[&'static str]) -> Result<Self, SqlError> {
        for (index, option) in table.options.iter().enumerate() {
            if table.options[..index].iter().any(|other| other.key == option.key) {
                return Err(SqlError::at(
                    option.key_at,
                    format!("option '{}' is given twice", option.key),
                    "keep one of them",
                ));
            }
            if !known.contains(&option.key.as_str()) && !format::is_option(&option.key) {
                return Err(unknown_option(option, known));
            }
        }
        Ok(Self { table })
    }

    fn get(&self, key: &str) -> Option<&'a TableOption> {
        self.table.options.iter().find(|option| option.key == key)
    }

    fn topic(&self, key: &str) -> Result<String, SqlError> {
        let Some(option) = self.get(key) else { return Err(self.missing("topic", "'<topic name>'")) };
        topic_name(&option.value, option.value_at)
    }

    fn format(&self, columns: &mut [Column]) -> Result<RecordFormat, SqlError> {
        format::record_format(&self.table.options, columns, &self.table.name)
    }

    fn on_source_error(&self) -> Result<ErrorPolicy, SqlError> {
        let dlq_topic = self.get("dlq-topic");
        let policy = self.get("on-error");
        match (policy.map(|option| option.value.as_str()), dlq_topic) {
            (Some("dlq"), Some(_)) => Ok(ErrorPolicy::DeadLetter { topic: self.topic("dlq-topic")? }),
            (Some("dlq"), None) => {
                let at = policy.map_or(self.table.name.span.start, |option| option.value_at);
                Err(SqlError::at(
                    at,
                    "'on-error' = 'dlq' needs a topic for the dead letters",
                    "add 'dlq-topic' = '<topic name>'",
                ))
            }
            (_, Some(topic)) => Err(SqlError::at(
                topic.key_at,
                "'dlq-topic' means something only with 'on-error' = 'dlq'",
                "add 'on-error' = 'dlq', or leave 'dlq-topic' out",
            )),
            (None | Some("fail"), None) => Ok(ErrorPolicy::Fail),
            (Some("skip"), None) => Ok(ErrorPolicy::Skip),
            (Some(_), None) => Err(choice(
                policy.expect("matched as present"),
                "'on-error' = 'fail', 'skip' or 'dlq' (with 'dlq-topic')",
            )),
        }
    }

    fn late_topic(&self, has_time: bool) -> Result<Option<String>, SqlError> {
        let Some(option) = self.get("late-topic") else { return Ok(None) };
        match has_time {
            true => self.topic("late-topic").map(Some),
            false => Err(SqlError::at(
                option.key_at,
                "'late-topic' means something only where there is a WATERMARK",
                "add WATERMARK FOR <column> AS <column> - INTERVAL '5' SECOND, or leave 'late-topic' out",
            )),
        }
    }

    /// A length of time that means something only where there is event time.
    fn span_ms(&self, key: &str, has_time: bool) -> Result<Option<i64>, SqlError> {
        let Some(option) = self.get(key) else { return Ok(None) };
        if !has_time {
            return Err(SqlError::at(
                option.key_at,
                format!("'{key}' means something only where there is a WATERMARK"),
                format!("add WATERMARK FOR <column> AS <column> - INTERVAL '5' SECOND, or leave '{key}' out"),
            ));
        }
        let digits = option.value.find(|c: char| !c.is_ascii_digit()).unwrap_or(option.value.len());
        let (number, unit) = option.value.split_at(digits);
        let unit_ms = match unit.trim() {
            "ms" => Some(1),
            "s" => Some(1_000),
            "min" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            _ => None,
        };
        let ms = number.parse::<i64>().ok().zip(unit_ms).and_then(|(number, unit)| number.checked_mul(unit));
        match ms.filter(|ms| (1..=MAX_IDLE_MS).contains(ms)) {
            Some(ms) => Ok(Some(ms)),
            None => {
                let help = format!("a time up to 30 days in ms, s, min, h or d: '{key}' = '30 s'");
                Err(choice(option, &help))
            }
        }
    }

    fn output(&self) -> Result<Option<(OutputMode, Location)>, SqlError> {
        let Some(option) = self.get("output") else { return Ok(None) };
        let mode = match option.value.as_str() {
            "append" => OutputMode::Append,
            "upsert" => OutputMode::Upsert,
            "changes" => OutputMode::Update,
            "retract" => OutputMode::Retract,
            "complete" => OutputMode::Complete,
            _ => {
                let help = "'output' = 'append', 'upsert', 'changes', 'retract' or 'complete'";
                return Err(choice(option, help));
            }
        };
        Ok(Some((mode, option.value_at)))
    }

    fn on_sink_error(&self) -> Result<SinkErrorPolicy, SqlError> {
        match self.get("on-error") {
            None => Ok(SinkErrorPolicy::Fail),
            Some(option) => match option.value.as_str() {
                "fail" => Ok(SinkErrorPolicy::Fail),
                "skip" => Ok(SinkErrorPolicy::Skip),
                _ => Err(choice(option, "'on-error' = 'fail' or 'skip' for a table that is written to")),
            },
        }
    }

    fn compression(&self) -> Result<Compression, SqlError> {
        let Some(option) = self.get("compression") else { return Ok(Compression::None) };
        match option.value.as_str() {
            "none" => Ok(Compression::None),
            "gzip" => Ok(Compression::Gzip),
            "snappy" => Ok(Compression::Snappy),
            "lz4" => Ok(Compression::Lz4),
            "zstd" => Ok(Compression::Zstd),
            _ => Err(choice(option, "'compression' = 'none', 'gzip', 'snappy', 'lz4' or 'zstd'")),
        }
    }

    fn missing(&self, key: &str, value: &str) -> SqlError {
        SqlError::at(
            self.table.name.span.start,
            format!("table `{}` has no option '{key}'", self.table.name.value),
            format!("add WITH ('{key}' = {value})"),
        )
    }
}

/// A topic's name, if it is one.
pub(super) fn topic_name(name: &str, at: Location) -> Result<String, SqlError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.bytes().all(legal) {
        return Err(SqlError::at(
            at,
            format!("'{name}' is not a topic's name"),
            "use 1 to 249 of the letters a-z, A-Z, 0-9, `.`, `_` and `-`",
        ));
    }
    Ok(name.to_owned())
}

fn choice(option: &TableOption, help: &str) -> SqlError {
    SqlError::at(
        option.value_at,
        format!("option '{}' cannot be '{}'", option.key, option.value),
        format!("write {help}"),
    )
}

fn unknown_option(option: &TableOption, known: &[&'static str]) -> SqlError {
    let key = option.key.as_str();
    let (message, help) = if key == "connector" || key.starts_with("properties.") {
        (
            format!("option '{key}' means nothing here"),
            "leave it out: a table is always a topic of this broker".to_owned(),
        )
    } else if matches!(key, "idle-after" | "scan.watermark.idle-timeout") {
        (
            format!("there is no option '{key}' for idle partitions"),
            "write 'idle-timeout' = '30 s': a partition without records for so long holds the watermark back no more"
                .to_owned(),
        )
    } else if let Some(help) = format::foreign_option(key) {
        (format!("option '{key}' means nothing here"), help.to_owned())
    } else {
        let of_formats = format::option_names();
        let known = known.iter().copied().chain(of_formats.iter().map(String::as_str));
        (format!("there is no option '{key}'"), suggest(key, known))
    };
    SqlError::at(option.key_at, message, help)
}
