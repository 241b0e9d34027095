//! Rows in an order: rankings, and functions over the rows around a row.

use serde::{Deserialize, Serialize};

use super::{Aggregate, StateBound};
use crate::value::{DataType, Value};

/// What rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    /// The column of the input.
    pub column: usize,
    /// The greatest first.
    pub descending: bool,
    /// Rows without a value before all others.
    pub nulls_first: bool,
}

/// The first rows of each partition in an order. Its row: the input's columns, then the rank if it is asked for. Of
/// rows that are equal in the order the one that came first is first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// How rows are numbered.
    pub function: RankFunction,
    /// Rows of equal values here are ranked among one another, by their index in the input.
    pub partition: Vec<usize>,
    /// The order.
    pub order: Vec<SortKey>,
    /// Rows of a greater rank are left out.
    pub limit: u64,
    /// Whether the rank is a column.
    pub numbered: bool,
    /// When rows are given.
    pub mode: RankMode,
}

/// How the rows of a partition are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RankFunction {
    /// 1, 2, 3.
    RowNumber,
    /// Equal rows have one number, and the next has its place: 1, 1, 3.
    Rank,
    /// Equal rows have one number, and the next has the next: 1, 1, 2.
    DenseRank,
}

/// When the rows of a ranking are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RankMode {
    /// Once, when the window closes that the partition belongs to.
    Window {
        /// The column of the window's end, one of the partition's.
        end: usize,
    },
    /// The first row of each partition by event time, once: when the watermark passes it, so that none before it can
    /// come. Rows that come later are duplicates.
    First {
        /// The event time's column.
        time: usize,
        /// What keeps the partitions that were given from growing for ever.
        bound: StateBound,
    },
    /// The row of each partition that comes first, at once and once: by processing time none can come before it. Rows
    /// that come later are duplicates.
    Arrival {
        /// What keeps the partitions that were given from growing for ever.
        bound: StateBound,
    },
    /// At once, as changes.
    Changes {
        /// What keeps the state from growing for ever.
        bound: StateBound,
    },
}

/// Functions over the rows around each row of a partition. Its row: the input's columns, then the functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Over {
    /// Rows of equal values here are one partition, by their index in the input.
    pub partition: Vec<usize>,
    /// The order in a partition.
    pub order: Vec<SortKey>,
    /// The functions.
    pub functions: Vec<OverFunction>,
    /// When rows are given.
    pub mode: OverMode,
}

/// When the rows of a partition are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverMode {
    /// Once each, in the order of event time, when the watermark passes it.
    OnTime {
        /// The event time's column, the first of the order.
        time: usize,
        /// What keeps the state from growing for ever, where frames do not end by time.
        bound: Option<StateBound>,
    },
    /// Once, when the window closes that the partition belongs to.
    Window {
        /// The column of the window's end, one of the partition's.
        end: usize,
    },
    /// At once, as changes.
    Changes {
        /// What keeps the state from growing for ever.
        bound: StateBound,
    },
}

/// A function over the rows around a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverFunction {
    /// What is computed.
    pub kind: OverKind,
    /// How the script would write it.
    pub text: String,
}

/// What a function over the rows around a row computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OverKind {
    /// An aggregate of the rows of the frame.
    Aggregate {
        /// The aggregate.
        aggregate: Aggregate,
        /// The rows it is over.
        frame: Frame,
    },
    /// The value so many rows before: `LAG`.
    Lag {
        /// The column of the input.
        argument: usize,
        /// Its type.
        data_type: DataType,
        /// How many rows.
        offset: u64,
        /// The value where there is no such row.
        default: Value,
    },
    /// The value so many rows behind: `LEAD`.
    Lead {
        /// The column of the input.
        argument: usize,
        /// Its type.
        data_type: DataType,
        /// How many rows.
        offset: u64,
        /// The value where there is no such row.
        default: Value,
    },
    /// The row's number in the partition.
    Number(RankFunction),
}

/// The rows around a row that an aggregate is over. The row itself is among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// How its bounds are counted.
    pub unit: FrameUnit,
    /// How far before the row it begins; `None`: at the partition's first row.
    pub preceding: Option<u64>,
    /// How far behind the row it ends; `None`: at the partition's last row.
    pub following: Option<u64>,
}

/// How the bounds of a frame are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameUnit {
    /// In rows.
    Rows,
    /// In milliseconds of the order's first column. Rows that are equal in the order are all in the frame.
    Range,
}

impl OverFunction {
    /// The type of the result.
    pub fn data_type(&self) -> DataType {
        match &self.kind {
            OverKind::Aggregate { aggregate, .. } => aggregate.data_type(),
            OverKind::Lag { data_type, .. } | OverKind::Lead { data_type, .. } => *data_type,
            OverKind::Number(_) => DataType::BigInt,
        }
    }

    /// The columns of the input that it reads.
    pub fn columns(&self) -> Vec<usize> {
        match &self.kind {
            OverKind::Aggregate { aggregate, .. } => aggregate.columns().collect(),
            OverKind::Lag { argument, .. } | OverKind::Lead { argument, .. } => vec![*argument],
            OverKind::Number(_) => Vec::new(),
        }
    }

    /// Replaces the index of every column it reads.
    pub fn remap_columns(&mut self, new_index: impl Fn(usize) -> usize) {
        match &mut self.kind {
            OverKind::Aggregate { aggregate, .. } => aggregate.remap_columns(new_index),
            OverKind::Lag { argument, .. } | OverKind::Lead { argument, .. } => {
                *argument = new_index(*argument)
            }
            OverKind::Number(_) => {}
        }
    }

    /// Whether it reads rows behind the row that are not its equals in the order.
    pub fn looks_ahead(&self) -> bool {
        match &self.kind {
            OverKind::Aggregate { frame, .. } => frame.following != Some(0),
            OverKind::Lead { .. } => true,
            OverKind::Lag { .. } | OverKind::Number(_) => false,
        }
    }
}

impl RankFunction {
    /// The name as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            RankFunction::RowNumber => "ROW_NUMBER",
            RankFunction::Rank => "RANK",
            RankFunction::DenseRank => "DENSE_RANK",
        }
    }
}
