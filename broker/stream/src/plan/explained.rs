//! The plan as data for programs: what `pipeline explain` gives as JSON.

use serde::Serialize;

use super::explain::Style;
use super::{Column, JoinBound, Node, Operator, OverMode, Plan, RankMode, StateBound, Versions};

/// A plan as data. Numbers are those of operators; a field is only ever added.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedPlan {
    /// The topics it reads.
    pub sources: Vec<ExplainedSource>,
    /// What is done with their rows; the inputs of each come before it.
    pub operators: Vec<ExplainedOperator>,
    /// The topics it writes.
    pub sinks: Vec<ExplainedSink>,
}

/// A topic read as a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedSource {
    /// The table's name.
    pub table: String,
    /// The topic it reads.
    pub topic: String,
    /// The format of its records.
    pub format: String,
    /// The columns of a row.
    pub columns: Vec<ExplainedColumn>,
    /// The column that says when, if the table has a WATERMARK.
    pub event_time: Option<String>,
    /// How far a record may be behind the newest of its partition, in milliseconds.
    pub delay_ms: Option<i64>,
    /// For how long a partition at its end holds event time back, in milliseconds; for ever if not said.
    pub idle_timeout_ms: Option<i64>,
    /// The columns of the key under which a record replaces the one before.
    pub key: Vec<String>,
}

/// One operator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedOperator {
    /// Its place in the plan.
    pub id: usize,
    /// What it is.
    pub operator: &'static str,
    /// Its identity, in hexadecimal; see [`Plan::identities`].
    pub identity: String,
    /// The operators whose rows it takes.
    pub inputs: Vec<usize>,
    /// Of an operator that reads a topic: the source's place among the plan's.
    pub source: Option<usize>,
    /// What it does, as text.
    pub text: String,
    /// Of each input the columns by which its rows are told apart: of groups, partitions, joins.
    pub keys: Vec<Vec<String>>,
    /// The columns of its rows.
    pub columns: Vec<ExplainedColumn>,
    /// Whether it also takes rows back that it gave before.
    pub changes: bool,
    /// What it keeps, if it keeps anything.
    pub state: Option<ExplainedState>,
}

/// The state of an operator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedState {
    /// What it keeps an entry of.
    pub keeps: String,
    /// When entries go.
    pub until: String,
    /// What lets entries go: `watermark`, `ttl`, `key` (one stays for each, until it is deleted), `rows` (of the whole result) or
    /// nothing: `unbounded`.
    pub bound: &'static str,
    /// Of `ttl`: for how long an entry stays that is not touched, in milliseconds.
    pub ttl_ms: Option<i64>,
    /// About how many bytes an entry takes.
    pub entry_bytes: usize,
}

/// A topic written as a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedSink {
    /// The table's name.
    pub table: String,
    /// The topic it writes.
    pub topic: String,
    /// The format of its records.
    pub format: String,
    /// What of the rows becomes a record, as the option `'output'` says it.
    pub output: &'static str,
    /// The operator whose rows it writes.
    pub input: usize,
    /// The names in a record's key.
    pub key: Vec<String>,
    /// Its columns.
    pub columns: Vec<ExplainedColumn>,
}

/// A column of rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedColumn {
    /// Its name.
    pub name: String,
    /// Its type, as SQL writes it.
    pub r#type: String,
}

impl Plan {
    /// The plan as data.
    pub fn explained(&self) -> ExplainedPlan {
        let sources = self.sources.iter().map(|source| {
            let row = source.row();
            ExplainedSource {
                table: source.table.clone(),
                topic: source.topic.clone(),
                format: source.format.to_string(),
                event_time: source.event_time.map(|time| row[time.column].name.clone()),
                delay_ms: source.event_time.map(|time| time.delay_ms),
                idle_timeout_ms: source.idle_ms,
                key: names(&row, &source.upsert_key),
                columns: columns(&row),
            }
        });
        let sinks = self.sinks.iter().map(|sink| ExplainedSink {
            table: sink.table.clone(),
            topic: sink.topic.clone(),
            format: sink.format.to_string(),
            output: sink.mode.name(),
            input: sink.input,
            key: sink.key.iter().map(|key| key.name.clone()).collect(),
            columns: columns(&sink.columns),
        });
        let identities = self.identities();
        let mut states = self.states().into_iter().peekable();
        let operators = self.nodes.iter().enumerate().map(|(id, node)| ExplainedOperator {
            id,
            operator: operator_name(&node.operator),
            identity: format!("{:08x}", identities[id]),
            inputs: node.inputs.clone(),
            source: match node.operator {
                Operator::Source { source } => Some(source),
                _ => None,
            },
            text: self.node_text(id, Style::Readable),
            keys: self.keys(node),
            columns: columns(&node.columns),
            changes: node.changes,
            state: states.next_if(|state| state.id == id).map(|state| {
                let (bound, ttl_ms) = bound(&node.operator);
                ExplainedState {
                    keeps: state.keeps,
                    until: state.until,
                    bound,
                    ttl_ms,
                    entry_bytes: state.entry_bytes,
                }
            }),
        });
        ExplainedPlan { sources: sources.collect(), operators: operators.collect(), sinks: sinks.collect() }
    }

    fn keys(&self, node: &Node) -> Vec<Vec<String>> {
        let keys: &[&[usize]] = match &node.operator {
            Operator::WindowAggregate(window) => &[&window.keys],
            Operator::SessionAggregate(session) => &[&session.keys],
            Operator::GroupAggregate(grouping) => &[&grouping.keys],
            Operator::Rank(rank) => &[&rank.partition],
            Operator::Over(over) => &[&over.partition],
            Operator::Upsert(upsert) => &[&upsert.keys],
            Operator::Join(join) => &[&join.left.keys, &join.right.keys],
            Operator::TemporalJoin(join) => &[&join.left.keys, &join.right.keys],
            Operator::Source { .. }
            | Operator::Map { .. }
            | Operator::AssignWindows { .. }
            | Operator::Union
            | Operator::ProcessingTime
            | Operator::Contenders(_)
            | Operator::Collect(_) => &[],
        };
        let inputs = node.inputs.iter().map(|input| &self.nodes[*input].columns);
        keys.iter().zip(inputs).map(|(keys, input)| names(input, keys)).collect()
    }
}

fn names(columns: &[Column], indices: &[usize]) -> Vec<String> {
    indices.iter().map(|index| columns[*index].name.clone()).collect()
}

fn columns(columns: &[Column]) -> Vec<ExplainedColumn> {
    let explained =
        |column: &Column| ExplainedColumn { name: column.name.clone(), r#type: column.data_type.to_string() };
    columns.iter().map(explained).collect()
}

/// What an operator is called.
fn operator_name(operator: &Operator) -> &'static str {
    match operator {
        Operator::Source { .. } => "Source",
        Operator::Map { .. } => "Project",
        Operator::AssignWindows { .. } => "Windows",
        Operator::Union => "Union",
        Operator::ProcessingTime => "ProcessingTime",
        Operator::Contenders(_) => "Contenders",
        Operator::WindowAggregate(_) => "WindowAggregate",
        Operator::SessionAggregate(_) => "SessionAggregate",
        Operator::GroupAggregate(_) => "GroupAggregate",
        Operator::Rank(_) => "Rank",
        Operator::Over(_) => "Over",
        Operator::Join(_) => "Join",
        Operator::TemporalJoin(_) => "TemporalJoin",
        Operator::Upsert(_) => "Upsert",
        Operator::Collect(_) => "Collect",
    }
}

/// What lets the entries of an operator's state go, and after which time.
fn bound(operator: &Operator) -> (&'static str, Option<i64>) {
    const WATERMARK: (&str, Option<i64>) = ("watermark", None);
    let of = |bound: StateBound| match bound {
        StateBound::Unbounded => ("unbounded", None),
        StateBound::TimeToLive { ms } => ("ttl", Some(ms)),
    };
    match operator {
        Operator::GroupAggregate(grouping) => of(grouping.bound),
        Operator::Rank(rank) => match rank.mode {
            RankMode::Window { .. } => WATERMARK,
            RankMode::First { bound, .. } | RankMode::Arrival { bound } | RankMode::Changes { bound } => {
                of(bound)
            }
        },
        Operator::Over(over) => match over.mode {
            OverMode::OnTime { bound: Some(bound), .. } | OverMode::Changes { bound } => of(bound),
            OverMode::OnTime { bound: None, .. } | OverMode::Window { .. } => WATERMARK,
        },
        Operator::Join(join) => match join.bound {
            JoinBound::State(bound) => of(bound),
            JoinBound::Window { .. } | JoinBound::Interval { .. } => WATERMARK,
        },
        Operator::TemporalJoin(join) => match join.versions {
            Versions::AsOf { .. } => WATERMARK,
            Versions::Latest => ("key", None),
        },
        Operator::Upsert(_) => ("key", None),
        Operator::Collect(_) => ("rows", None),
        _ => WATERMARK,
    }
}
