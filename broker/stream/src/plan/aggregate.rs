//! Aggregates: what folds many rows into one value.

use serde::{Deserialize, Serialize};

use crate::decimal::MAX_PRECISION;
use crate::functions::UserFunction;
use crate::value::{DataType, Value};

/// Digits after the point that the mean of decimals has at least.
const MEAN_SCALE: u8 = 6;

/// So many aggregates has a group at most: in the state a byte says which of them a value is of.
pub(crate) const MAX_AGGREGATES: usize = 256;

/// One aggregate of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// What is computed.
    pub function: AggregateFunction,
    /// Of [`AggregateFunction::User`]: by whom.
    #[serde(default)]
    pub user: Option<UserFunction>,
    /// Of which column of the input; `None` only for `COUNT(*)`.
    pub argument: Option<usize>,
    /// The argument's type; of `COUNT(*)` it says nothing.
    pub argument_type: DataType,
    /// A constant beside the argument: what stands between joined texts, which quantile. `NULL` where there is none.
    pub parameter: Value,
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
        use AggregateFunction as Is;
        if let Some(user) = &self.user {
            return user.signature().result();
        }
        match (self.function, self.argument_type) {
            (Is::Sum, DataType::Decimal { scale, .. }) => {
                DataType::Decimal { precision: MAX_PRECISION, scale }
            }
            (Is::Average, DataType::Decimal { scale, .. }) => {
                DataType::Decimal { precision: MAX_PRECISION, scale: scale.max(MEAN_SCALE) }
            }
            (Is::Average | Is::ApproximateQuantile, _) => DataType::Double,
            (function, _) if function.is_spread() => DataType::Double,
            (Is::Count | Is::ApproximateCount, _) => DataType::BigInt,
            (Is::Join, _) => DataType::String,
            (Is::Every | Is::Some, _) => DataType::Boolean,
            (_, argument_type) => argument_type,
        }
    }

    /// The name as SQL writes it.
    pub fn name(&self) -> &str {
        self.user.as_ref().map_or(self.function.name(), UserFunction::name)
    }

    /// Whether a row that was taken can be taken back.
    pub fn can_take_back(&self) -> bool {
        use AggregateFunction::{ApproximateCount, First, Join, Last};
        match &self.user {
            Some(user) => user.takes_back(),
            None => !matches!(self.function, First | Last | Join | ApproximateCount),
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
    /// The mean: a `DECIMAL` of decimals, else a `DOUBLE`.
    Average,
    /// The first in record order; where windows overlap, of their earliest part.
    First,
    /// The last in record order; where windows overlap, of their latest part.
    Last,
    /// Any of them.
    Any,
    /// Texts end to end, with a separator between them, in record order.
    Join,
    /// Whether all are true.
    Every,
    /// Whether one is true.
    Some,
    /// The mean square of the distances from the mean.
    VariancePopulation,
    /// The same over one less than how many there are.
    VarianceSample,
    /// The root of the variance.
    DeviationPopulation,
    /// The root of the sample's variance.
    DeviationSample,
    /// About how many different ones there are, with a standard error of 1.6 %.
    ApproximateCount,
    /// About which one stands at a part of the way through their order, within 0.4 % of its value.
    ApproximateQuantile,
    /// What a function of the user's own computes.
    User,
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
            AggregateFunction::First => "FIRST_VALUE",
            AggregateFunction::Last => "LAST_VALUE",
            AggregateFunction::Any => "ANY_VALUE",
            AggregateFunction::Join => "STRING_AGG",
            AggregateFunction::Every => "BOOL_AND",
            AggregateFunction::Some => "BOOL_OR",
            AggregateFunction::VariancePopulation => "VAR_POP",
            AggregateFunction::VarianceSample => "VAR_SAMP",
            AggregateFunction::DeviationPopulation => "STDDEV_POP",
            AggregateFunction::DeviationSample => "STDDEV_SAMP",
            AggregateFunction::ApproximateCount => "APPROX_COUNT_DISTINCT",
            AggregateFunction::ApproximateQuantile => "APPROX_PERCENTILE",
            AggregateFunction::User => "a function of the user's own",
        }
    }

    /// Whether it says how far values are from their mean.
    pub fn is_spread(self) -> bool {
        use AggregateFunction::{DeviationPopulation, DeviationSample, VariancePopulation, VarianceSample};
        matches!(self, VariancePopulation | VarianceSample | DeviationPopulation | DeviationSample)
    }
}
