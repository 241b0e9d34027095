//! The plan: what a pipeline does, as plain data.
//!
//! A plan is a graph of operators in topological order: sources first, each node after its inputs, sinks behind them.
//! It is ours from end to end: nothing of the SQL parser is stored or hashed in it, so that it stays the same when
//! the parser changes. [`Plan::explain`] is its text, and [`Plan::fingerprint`] its identity: state is only ever
//! restored under the plan that wrote it.

mod aggregate;
mod collect;
mod contenders;
mod explain;
mod explained;
mod expression;
mod expression_text;
mod format;
mod function;
mod join;
mod operator;
mod over;
mod partitioned;
mod pattern;
mod prune;
mod shed;
mod simplify;
mod sink;
mod source;
mod span;
mod state;

pub(crate) use aggregate::MAX_AGGREGATES;
pub use aggregate::{Aggregate, AggregateFunction};
pub use collect::Collect;
pub use contenders::Contenders;
pub use explained::{
    ExplainedColumn, ExplainedOperator, ExplainedPlan, ExplainedSink, ExplainedSource, ExplainedState,
};
pub use expression::{BinaryOperator, Branch, Expression, RegexOperation};
pub use format::{
    AvroFormat, ColumnOrigin, CsvFormat, DebeziumFormat, Format, JsonFormat, ProtobufFormat, ProtobufSchema,
    RecordFormat, TimestampText,
};
pub use function::{
    Digest, Function, IntegerType, JsonKind, JsonResult, Math, PatternStyle, Side, TimeField, TimeUnit,
};
pub use join::{Join, JoinBound, JoinKind, JoinSide, TemporalJoin, Upsert, Versions};
pub use operator::{
    Emit, Grouping, Operator, SessionAggregate, StateBound, WindowAggregate, WindowKind, WindowOf,
};
pub use over::{
    Frame, FrameUnit, Over, OverFunction, OverKind, OverMode, Rank, RankFunction, RankMode, SortKey,
};
pub use partitioned::NeedsExchange;
pub use pattern::Pattern;
use serde::{Deserialize, Serialize};
pub use shed::{LagMeasure, Shed, ShedPolicy};
pub(crate) use simplify::simplify;
pub use sink::{Compression, OutputMode, Sink, SinkErrorPolicy, SinkKey};
pub use source::{Computed, ErrorPolicy, EventTime, Source};
pub use state::OperatorState;

use crate::value::DataType;

/// One pipeline: sources, what is done with their rows, and sinks. All sinks of an epoch share one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The topics it reads.
    pub sources: Vec<Source>,
    /// The operators; the inputs of each come before it.
    pub nodes: Vec<Node>,
    /// The topics it writes.
    pub sinks: Vec<Sink>,
}

/// An operator in the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it does.
    pub operator: Operator,
    /// The nodes whose rows it takes, by their index in [`Plan::nodes`].
    pub inputs: Vec<usize>,
    /// The columns of its rows.
    pub columns: Vec<Column>,
    /// Whether it also takes rows back that it gave before. If not, it only ever adds rows.
    pub changes: bool,
}

/// A column of a source, a node or a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, and the name of its field.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Declared `NOT NULL`: a missing value is an error of the record.
    pub required: bool,
    /// Where in a record it is.
    #[serde(default)]
    pub origin: ColumnOrigin,
}

/// Objects inside one another that a column's name leads through, and itself.
const MAX_PATH_PARTS: usize = 32;
/// A column's name is no longer than this.
const MAX_NAME_BYTES: usize = 1_000;

impl Column {
    /// Whether a column may have this name. What reads and writes a record goes as deep as the dots in it lead.
    ///
    /// # Errors
    /// What is wrong with it, without its name.
    pub(crate) fn check_name(name: &str) -> Result<(), String> {
        let parts = name.split('.').count();
        match name.len() {
            bytes if bytes > MAX_NAME_BYTES => {
                Err(format!("has {bytes} bytes, {MAX_NAME_BYTES} are the most"))
            }
            _ if parts > MAX_PATH_PARTS => {
                Err(format!("leads through {parts} objects, {MAX_PATH_PARTS} are the most"))
            }
            _ => Ok(()),
        }
    }

    /// A column of the value that may be `NULL`.
    pub fn of_value(name: &str, data_type: DataType) -> Self {
        Self { name: name.to_owned(), data_type, required: false, origin: ColumnOrigin::Value }
    }
}

impl Node {
    /// The types of its columns.
    pub fn types(&self) -> Vec<DataType> {
        self.columns.iter().map(|column| column.data_type).collect()
    }
}

impl Plan {
    /// The topics it reads, each once, in the order of their first source.
    pub fn source_topics(&self) -> Vec<&str> {
        once(self.sources.iter().map(|source| source.topic.as_str()))
    }

    /// The topics its rows go to, each once.
    pub fn sink_topics(&self) -> Vec<&str> {
        once(self.sinks.iter().map(|sink| sink.topic.as_str()))
    }

    /// The longest window of any operator, in milliseconds; 0 without one.
    pub fn longest_window_ms(&self) -> i64 {
        let size = |node: &Node| match &node.operator {
            Operator::AssignWindows { kind, .. }
            | Operator::WindowAggregate(WindowAggregate {
                window: WindowOf::Assigned { kind, .. }, ..
            }) => kind.size_ms(),
            Operator::SessionAggregate(session) => session.gap_ms,
            _ => 0,
        };
        self.nodes.iter().map(size).max().unwrap_or(0)
    }

    /// About how many rows of some node a record may become at once: each copy that windows make of it counts.
    pub fn rows_of_record(&self) -> u64 {
        let mut rows: Vec<u64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let most = node.inputs.iter().map(|input| rows[*input]).max().unwrap_or(1);
            let copies = match &node.operator {
                Operator::AssignWindows { kind, .. }
                | Operator::WindowAggregate(WindowAggregate {
                    window: WindowOf::Assigned { kind, .. },
                    emit: Emit::Changes,
                    ..
                }) => kind.overlap(),
                _ => 1,
            };
            rows.push(most.saturating_mul(u64::try_from(copies).unwrap_or(1)));
        }
        rows.into_iter().max().unwrap_or(1)
    }

    /// The topics that take records which did not become rows: dead letters, late records and what is shed, each once.
    pub fn side_topics(&self) -> Vec<&str> {
        once(self.sources.iter().flat_map(Source::side_topics))
    }

    /// Whether a topic it writes holds nothing but the last row of each key: it is compacted by who makes it.
    pub fn holds_last_rows(&self, topic: &str) -> bool {
        let mut sinks = self.sinks.iter().filter(|sink| sink.topic == topic).peekable();
        sinks.peek().is_some()
            && sinks.all(|sink| sink.mode == OutputMode::Upsert)
            && !self.side_topics().contains(&topic)
    }
}

fn once<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    names.for_each(|name| {
        if !found.contains(&name) {
            found.push(name);
        }
    });
    found
}
