//! What a source may leave out when its pipeline is behind.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Expression;
use super::explain::Style;

/// When a source sheds records, and which. Nothing is shed of a source that does not declare it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shed {
    /// What is held against the bounds.
    pub measure: LagMeasure,
    /// It begins when a partition is further behind than this, in milliseconds or records.
    pub above: i64,
    /// It ends when every partition is less behind than this; less than `above`.
    pub below: i64,
    /// Which records go.
    pub policy: ShedPolicy,
    /// Where they go to; `None` only counts them.
    pub topic: Option<String>,
}

/// How far behind a partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LagMeasure {
    /// By how many milliseconds the timestamp of the oldest record that is not read yet is behind the clock.
    Time,
    /// How many records, or offsets of them, are not read yet.
    Records,
}

/// Which records are shed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ShedPolicy {
    /// Any, by a hash of where they are and of the epoch's seed. They are not decoded.
    Random,
    /// Those whose key hashes low: whole keys go, the same ones each time.
    Hash {
        /// The key.
        key: Vec<Expression>,
    },
    /// The oldest: the partition is read on from where its lag is the lower bound. They are not read.
    Oldest,
    /// All but the last of each key in an epoch.
    Conflate {
        /// The key.
        key: Vec<Expression>,
    },
    /// Those with the lowest priority in the epoch; `NULL` is lowest of all, and of equals the older one.
    Priority {
        /// The priority, a `DOUBLE`.
        by: Expression,
    },
}

impl ShedPolicy {
    /// The policy as the script names it.
    pub fn name(&self) -> &'static str {
        match self {
            ShedPolicy::Random => "random",
            ShedPolicy::Hash { .. } => "hash",
            ShedPolicy::Oldest => "oldest",
            ShedPolicy::Conflate { .. } => "conflate",
            ShedPolicy::Priority { .. } => "priority",
        }
    }

    /// What it computes of a row.
    pub fn expressions(&self) -> &[Expression] {
        match self {
            ShedPolicy::Random | ShedPolicy::Oldest => &[],
            ShedPolicy::Hash { key } | ShedPolicy::Conflate { key } => key,
            ShedPolicy::Priority { by } => std::slice::from_ref(by),
        }
    }

    pub(crate) fn expressions_mut(&mut self) -> &mut [Expression] {
        match self {
            ShedPolicy::Random | ShedPolicy::Oldest => &mut [],
            ShedPolicy::Hash { key } | ShedPolicy::Conflate { key } => key,
            ShedPolicy::Priority { by } => std::slice::from_mut(by),
        }
    }

    /// Whether how much is shed is a share of the records, and not all that the policy can do without.
    pub fn has_level(&self) -> bool {
        matches!(self, ShedPolicy::Random | ShedPolicy::Hash { .. } | ShedPolicy::Priority { .. })
    }
}

impl fmt::Display for ShedPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let of: Vec<String> = self.expressions().iter().map(Expression::to_string).collect();
        match of.is_empty() {
            true => Ok(()),
            false => write!(f, "({})", of.join(", ")),
        }
    }
}

impl Shed {
    pub(super) fn text(&self, style: Style) -> String {
        let length = |length: i64| match self.measure {
            LagMeasure::Time => style.span(length).to_string(),
            LagMeasure::Records => format!("{length} records"),
        };
        let to = self.topic.as_ref().map_or_else(String::new, |topic| format!(" to={topic}"));
        format!("{} lag>{} until<{}{to}", self.policy, length(self.above), length(self.below))
    }
}

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Style::Readable))
    }
}
