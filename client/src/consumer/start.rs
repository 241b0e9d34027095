//! Where reading begins.

use super::assigned::Start;
use crate::admin::OffsetSpec;

/// What to do in a partition where the group has no committed offset, or where that offset no longer exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reset {
    /// Begin with the oldest record there is.
    #[default]
    Earliest,
    /// Begin with what comes next.
    Latest,
    /// Give [`Error::NoOffset`](crate::Error::NoOffset) and leave the partition alone.
    Fail,
}

impl Reset {
    pub(super) fn spec(self) -> Option<OffsetSpec> {
        match self {
            Self::Earliest => Some(OffsetSpec::Earliest),
            Self::Latest => Some(OffsetSpec::Latest),
            Self::Fail => None,
        }
    }
}

/// Where a reader begins in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With the oldest record there is.
    Earliest,
    /// With what comes next.
    Latest,
    /// With this offset.
    Offset(i64),
    /// With the first record of this time or later, in milliseconds since the epoch.
    Timestamp(i64),
}

impl From<StartAt> for Start {
    fn from(start: StartAt) -> Self {
        match start {
            StartAt::Earliest => Self::Spec(OffsetSpec::Earliest),
            StartAt::Latest => Self::Spec(OffsetSpec::Latest),
            StartAt::Offset(offset) => Self::Offset(offset),
            StartAt::Timestamp(timestamp) => Self::Spec(OffsetSpec::Timestamp(timestamp)),
        }
    }
}
