//! Aggregates: what folds many rows into one value.

use serde::{Deserialize, Serialize};

use crate::value::DataType;

/// One aggregate of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// What is computed.
    pub function: AggregateFunction,
    /// Of which column of the input; `None` only for `COUNT(*)`.
    pub argument: Option<usize>,
    /// The argument's type; of `COUNT(*)` it says nothing.
    pub argument_type: DataType,
    /// `FILTER (WHERE ...)`: the `BOOLEAN` column of the input that says which rows count.
    pub filter: Option<usize>,
    /// `DISTINCT`: of equal values one counts.
    pub distinct: bool,
    /// How the script would write it.
    pub text: String,
}

impl Aggregate {
    /// The type of the result.
    pub fn data_type(&self) -> DataType {
        match self.function {
            AggregateFunction::Average => DataType::Double,
            AggregateFunction::Count => DataType::BigInt,
            AggregateFunction::Sum | AggregateFunction::Min | AggregateFunction::Max => self.argument_type,
        }
    }

    /// The columns of the input that it reads.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        [self.argument, self.filter].into_iter().flatten()
    }

    /// Replaces the index of every column it reads.
    pub fn remap_columns(&mut self, new_index: impl Fn(usize) -> usize) {
        self.argument = self.argument.map(&new_index);
        self.filter = self.filter.map(&new_index);
    }
}

/// The functions that fold many rows into one value. All but `COUNT(*)` pass over `NULL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// How many.
    Count,
    /// The sum, in the argument's type; exact for `BIGINT`, in record order for `DOUBLE`.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The mean, always a `DOUBLE`.
    Average,
}

impl AggregateFunction {
    /// The name as SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            AggregateFunction::Count => "COUNT",
            AggregateFunction::Sum => "SUM",
            AggregateFunction::Min => "MIN",
            AggregateFunction::Max => "MAX",
            AggregateFunction::Average => "AVG",
        }
    }
}
