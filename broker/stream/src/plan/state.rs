//! What a plan keeps: each operator's state, how large an entry is, and what bounds it.

use super::span::Span;
use super::{Column, JoinBound, Node, Operator, OverMode, Plan, RankMode, StateBound, Versions, WindowOf};
use crate::value::DataType;

/// A text is taken to be this long, in bytes.
const TEXT_BYTES: usize = 24;
/// What an entry costs beside its columns, in bytes.
const ENTRY_BYTES: usize = 64;

/// The state of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorState {
    /// The node's place in [`Plan::nodes`].
    pub id: usize,
    /// The operator's name.
    pub operator: &'static str,
    /// Its identity; see [`Plan::identities`].
    pub identity: u32,
    /// What it keeps an entry of, and about how large one is.
    pub keeps: String,
    /// About how many bytes an entry takes.
    pub entry_bytes: usize,
    /// When entries go.
    pub until: String,
}

impl Plan {
    /// What each operator that keeps state keeps, in the plan's order.
    pub fn states(&self) -> Vec<OperatorState> {
        let identities = self.identities();
        let state = |(index, node): (usize, &Node)| {
            let input = node.inputs.first().map_or(&[][..], |input| &self.nodes[*input].columns);
            let (operator, keeps, until) = describe(node, input)?;
            // What is kept of these is rows of the input.
            let of_input =
                matches!(node.operator, Operator::Rank(_) | Operator::Over(_) | Operator::Contenders(_));
            let entry_bytes = bytes(if of_input { input } else { &node.columns });
            Some(OperatorState {
                id: index,
                operator,
                identity: identities[index],
                keeps,
                entry_bytes,
                until,
            })
        };
        self.nodes.iter().enumerate().filter_map(state).collect()
    }
}

fn describe(node: &Node, input: &[Column]) -> Option<(&'static str, String, String)> {
    let names = |columns: &[usize]| match columns {
        [] => "all rows".to_owned(),
        columns => columns.iter().map(|column| input[*column].name.as_str()).collect::<Vec<_>>().join(", "),
    };
    let entry = |what: &str, columns: &[usize], of: &[Column]| {
        format!("{what} of {}, about {} bytes each", names(columns), bytes(of))
    };
    Some(match &node.operator {
        Operator::Contenders(contenders) => {
            let most = if contenders.greatest { "greatest" } else { "least" };
            (
                "Contenders",
                format!("the {most} {} of each slice", input[contenders.value].name),
                "the watermark passes the last window that a row may be joined to".to_owned(),
            )
        }
        Operator::WindowAggregate(window) => {
            let until = match window.window {
                WindowOf::Assigned { kind, .. } => format!(
                    "the watermark passes the last window of its slice ({} at most)",
                    Span::readable(kind.size_ms() + kind.slice_ms())
                ),
                WindowOf::Given { .. } => "the watermark passes the window's end".to_owned(),
            };
            ("WindowAggregate", entry("a group for each slice and value", &window.keys, &node.columns), until)
        }
        Operator::SessionAggregate(session) => (
            "SessionAggregate",
            entry("each open session", &session.keys, &node.columns),
            format!("the watermark is {} past its last row", Span::readable(session.gap_ms)),
        ),
        Operator::GroupAggregate(grouping) => (
            "GroupAggregate",
            entry("a group for each value", &grouping.keys, &node.columns),
            bound(grouping.bound),
        ),
        Operator::Rank(rank) => {
            let until = match &rank.mode {
                RankMode::Window { .. } => "the watermark passes the window's end".to_owned(),
                RankMode::First { bound: limit, .. } => {
                    format!("the watermark passes it; that it was given: {}", bound(*limit))
                }
                RankMode::Arrival { bound: limit } | RankMode::Changes { bound: limit } => bound(*limit),
            };
            ("Rank", entry("rows for each value", &rank.partition, input), until)
        }
        Operator::Over(over) => {
            let until = match &over.mode {
                OverMode::OnTime { bound: None, .. } => "the frames of later rows do not reach it".to_owned(),
                OverMode::OnTime { bound: Some(limit), .. } | OverMode::Changes { bound: limit } => {
                    bound(*limit)
                }
                OverMode::Window { .. } => "the watermark passes the window's end".to_owned(),
            };
            ("Over", entry("rows for each value", &over.partition, input), until)
        }
        Operator::Join(join) => {
            let until = match join.bound {
                JoinBound::Window { .. } => "the watermark passes the window's end".to_owned(),
                JoinBound::Interval { least_ms, most_ms, .. } => format!(
                    "the watermark is past its time by {} (left), {} (right)",
                    Span::readable(least_ms.saturating_neg().max(0)),
                    Span::readable(most_ms.max(0))
                ),
                JoinBound::State(limit) => bound(limit),
            };
            ("Join", entry("the rows of both sides for each value", &join.left.keys, &node.columns), until)
        }
        Operator::TemporalJoin(join) => {
            let (keeps, until) = match join.versions {
                Versions::AsOf { .. } => (
                    "rows that wait, and versions for each value",
                    "the watermark passes it; of versions the newest that it has passed stays",
                ),
                Versions::Latest => ("the newest row for each value", "a record without a value deletes it"),
            };
            ("TemporalJoin", entry(keeps, &join.left.keys, &node.columns), until.to_owned())
        }
        Operator::Upsert(upsert) => (
            "Upsert",
            entry("the row for each value", &upsert.keys, &node.columns),
            "a record without a value deletes it".to_owned(),
        ),
        Operator::Collect(_) => (
            "Collect",
            format!("the rows of the whole table, about {} bytes each", bytes(&node.columns)),
            "they are taken back".to_owned(),
        ),
        Operator::Source { .. }
        | Operator::Map { .. }
        | Operator::AssignWindows { .. }
        | Operator::Union
        | Operator::ProcessingTime => return None,
    })
}

fn bound(bound: StateBound) -> String {
    match bound {
        StateBound::Unbounded => "never: the script says UNBOUNDED".to_owned(),
        StateBound::TimeToLive { ms } => format!("it was not touched for {}", Span::readable(ms)),
    }
}

/// About how many bytes an entry with these columns takes.
fn bytes(columns: &[Column]) -> usize {
    let of = |column: &Column| match column.data_type {
        DataType::Boolean => 2,
        DataType::BigInt | DataType::Double | DataType::Timestamp => 9,
        DataType::Date => 5,
        DataType::Decimal { .. } => 17,
        DataType::String | DataType::Bytes => TEXT_BYTES,
    };
    ENTRY_BYTES + columns.iter().map(of).sum::<usize>()
}
