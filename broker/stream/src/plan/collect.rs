//! The whole table that an `INSERT` with `'output' = 'complete'` writes.

use serde::{Deserialize, Serialize};

/// All rows that are there, given again after every epoch that changed them: in the order of some columns, then of all.
/// A table that has become empty is one row that is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// The columns they are ordered by first, by their index in the input.
    pub order: Vec<usize>,
}
