//! A table as a query sees it: a node of the plan, and what its columns are called.

use super::apart::Apart;
use super::graph::{GraphBuilder, column};
use super::over_node::PendingRank;
use super::scope::{Role, ScopeColumn, last_instant};
use crate::plan::{Expression, Operator, WindowKind};
use crate::value::DataType;

/// The rows of a table, a view, a window function or a query.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) node: usize,
    /// The columns that have names. They are the first of the node's; behind them may be columns without a name, and
    /// those of [`Relation::windows`] are not in the node yet.
    pub(super) columns: Vec<ScopeColumn>,
    /// Windows that are named in `FROM` and not assigned yet: an aggregate assigns them itself.
    pub(super) windows: Option<Windows>,
    /// The columns of the node whose values no two rows share at a time, if that is known.
    pub(super) key: Option<Vec<usize>>,
    /// What else is known of telling its rows apart.
    pub(super) apart: Apart,
    /// What the key of a record made of a row is, unless its table says so: names and columns of the node.
    pub(super) record_key: Vec<(String, usize)>,
    /// A rank that the query around it may bound; the node is not the relation's before that is decided.
    pub(super) pending: Option<Box<PendingRank>>,
    /// A column whose values are from 1 to a limit.
    pub(super) ranked: Option<(usize, u64)>,
}

/// Windows of `FROM` that are not assigned yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Windows {
    /// Of fixed length.
    Fixed {
        kind: WindowKind,
        /// The time's column.
        time: usize,
    },
    /// Sessions.
    Session {
        gap_ms: i64,
        /// The time's column.
        time: usize,
        /// The columns of `PARTITION BY`.
        partition_by: Vec<usize>,
    },
}

/// The names of the columns that windows add.
pub(super) const WINDOW_COLUMNS: [(&str, Role); 3] =
    [("window_start", Role::WindowStart), ("window_end", Role::WindowEnd), ("window_time", Role::WindowTime)];

impl Relation {
    /// A relation over a node, under the name its table has in `FROM`.
    pub(super) fn new(node: usize, table: Option<&str>, graph: &GraphBuilder) -> Relation {
        let scope = |column: &crate::plan::Column| ScopeColumn {
            table: table.map(str::to_owned),
            name: column.name.clone(),
            data_type: column.data_type,
            role: Role::Plain,
            merged: false,
        };
        Relation {
            node,
            columns: graph.columns(node).iter().map(scope).collect(),
            windows: None,
            key: None,
            apart: Apart::default(),
            record_key: Vec::new(),
            pending: None,
            ranked: None,
        }
    }

    /// Joined rows, of which nothing more is known.
    pub(super) fn joined(node: usize, columns: Vec<ScopeColumn>) -> Relation {
        Relation {
            node,
            columns,
            windows: None,
            key: None,
            apart: Apart::default(),
            record_key: Vec::new(),
            pending: None,
            ranked: None,
        }
    }

    /// The same rows under another name in `FROM`.
    pub(super) fn named(mut self, table: &str) -> Relation {
        self.columns.iter_mut().for_each(|column| column.table = Some(table.to_owned()));
        self
    }

    /// The event time's column.
    pub(super) fn time(&self) -> Option<usize> {
        self.columns.iter().position(|column| column.role == Role::Time)
    }

    /// Adds the names of windows that are still to be assigned.
    pub(super) fn with_windows(mut self, windows: Windows, table: &str) -> Relation {
        // Bounds of windows that rows had before are times like others, of which one may be what the new ones are by.
        let (Windows::Fixed { time, .. } | Windows::Session { time, .. }) = windows;
        for (index, column) in
            self.columns.iter_mut().enumerate().filter(|(_, column)| column.role.is_window())
        {
            column.role = if index == time { Role::Time } else { Role::Plain };
        }
        self.columns.extend(WINDOW_COLUMNS.map(|(name, role)| ScopeColumn {
            table: Some(table.to_owned()),
            name: name.to_owned(),
            data_type: DataType::Timestamp,
            role,
            merged: false,
        }));
        // A row may lie in several windows.
        self.key = None;
        self.record_key = Vec::new();
        Relation { windows: Some(windows), ..self }
    }

    /// Assigns windows of fixed length that are still to be assigned, so that their columns are in the node.
    pub(super) fn assigned(self, graph: &mut GraphBuilder) -> Relation {
        let Some(Windows::Fixed { kind, time }) = self.windows else { return self };
        let width = self.columns.len() - WINDOW_COLUMNS.len();
        let mut columns = graph.columns(self.node)[..width].to_vec();
        let visible = columns.clone();
        let changes = graph.changes(self.node);
        // Columns without a name end here.
        let outputs = (0..width).map(|index| of_node(&visible, index)).collect();
        let input = match graph.columns(self.node).len() == width {
            true => self.node,
            false => {
                graph.node(Operator::Map { filter: None, outputs }, vec![self.node], visible.clone(), changes)
            }
        };
        columns.push(column("window_start", DataType::Timestamp));
        columns.push(column("window_end", DataType::Timestamp));
        let assigned =
            graph.node(Operator::AssignWindows { kind, time }, vec![input], columns.clone(), changes);
        let mut outputs: Vec<Expression> = (0..columns.len()).map(|index| of_node(&columns, index)).collect();
        outputs.push(last_instant(of_node(&columns, width + 1)));
        columns.push(column("window_time", DataType::Timestamp));
        let node = graph.node(Operator::Map { filter: None, outputs }, vec![assigned], columns, changes);
        Relation { node, windows: None, ..self }
    }
}

/// A column of a node as an expression over its rows.
pub(super) fn of_node(columns: &[crate::plan::Column], index: usize) -> Expression {
    Expression::Column { index, data_type: columns[index].data_type, name: columns[index].name.clone() }
}
