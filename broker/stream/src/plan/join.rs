//! Joins, and tables whose rows replace one another.

use serde::{Deserialize, Serialize};

use super::{Expression, StateBound};

/// The pairs of rows of two inputs whose keys are equal and for which the condition holds. Its row: the columns of the
/// left side, then those of the right one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// Whether rows without a partner are given too.
    pub kind: JoinKind,
    /// The first input.
    pub left: JoinSide,
    /// The second input.
    pub right: JoinSide,
    /// What must hold beside the keys, over the joined row.
    pub condition: Option<Expression>,
    /// What keeps the state from growing for ever.
    pub bound: JoinBound,
}

/// Which rows without a partner are given, with `NULL` in place of the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    /// None.
    Inner,
    /// Those of the left side.
    Left,
    /// Those of the right side.
    Right,
    /// Those of both sides.
    Full,
}

/// An input of a join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinSide {
    /// The columns that must equal the other side's, one by one, by their index in the input. A `NULL` equals nothing.
    pub keys: Vec<usize>,
    /// The columns that go on, by their index in the input.
    pub columns: Vec<usize>,
}

/// What keeps the state of a join from growing for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinBound {
    /// Both rows lie in the same window: its bounds are among the keys. Rows without a partner are given when the
    /// window closes.
    Window {
        /// The left input's column of the window's end.
        left: usize,
        /// The right input's column of the window's end.
        right: usize,
    },
    /// The time of the left row minus that of the right one lies within these bounds, in milliseconds. Rows without a
    /// partner are given when none can come any more.
    Interval {
        /// The left input's column of time.
        left: usize,
        /// The right input's column of time.
        right: usize,
        /// The least difference.
        least_ms: i64,
        /// The greatest difference.
        most_ms: i64,
    },
    /// Neither: rows are kept, and pairs are taken back when their rows are.
    State(StateBound),
}

/// Each row of the left input with the row that a table has for its key, at its time or now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemporalJoin {
    /// Whether a row for which the table has none is given too.
    pub keeps_left: bool,
    /// The rows.
    pub left: JoinSide,
    /// The table: a source whose rows replace one another. Its keys are its primary key.
    pub right: JoinSide,
    /// What must hold beside the keys, over the joined row.
    pub condition: Option<Expression>,
    /// Which row of the table.
    pub versions: Versions,
}

/// Which row a table has for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versions {
    /// The one that was newest at the left row's time. Left rows wait until event time has passed them.
    AsOf {
        /// The left input's column of time.
        left: usize,
        /// The right input's column of time.
        right: usize,
    },
    /// The newest that has been read.
    Latest,
}

/// The rows of a source, each in place of the one before it of the same key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upsert {
    /// The primary key, by the columns' index in the input.
    pub keys: Vec<usize>,
    /// The columns that go on, by their index in the input.
    pub columns: Vec<usize>,
}

impl JoinKind {
    /// Whether rows of the left side without a partner are given.
    pub fn keeps_left(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full)
    }

    /// Whether rows of the right side without a partner are given.
    pub fn keeps_right(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }

    /// The name as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "INNER",
            JoinKind::Left => "LEFT",
            JoinKind::Right => "RIGHT",
            JoinKind::Full => "FULL",
        }
    }
}

impl Join {
    /// By how much the time of a column of the joined row may be behind the inputs' watermark, in milliseconds: the
    /// row that completes a pair may find one that is older by so much.
    pub fn delay_ms(&self) -> i64 {
        match self.bound {
            JoinBound::Interval { least_ms, most_ms, .. } => most_ms.max(least_ms.saturating_neg()).max(0),
            JoinBound::Window { .. } | JoinBound::State(_) => 0,
        }
    }
}
