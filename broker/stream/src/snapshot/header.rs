//! What a snapshot is of.

use serde::{Deserialize, Serialize};

use crate::pipeline::Progress;
use crate::plan::Plan;

/// The version of the snapshot format this release writes, and the only one it reads.
pub const SNAPSHOT_VERSION: u16 = 1;

/// What a snapshot is of. Stored as JSON, so that people can read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The snapshot's format version.
    pub version: u16,
    /// The progress record of the epoch: the pipeline's name and generation, the plan's fingerprint, positions,
    /// watermarks and counters.
    pub progress: Progress,
    /// The offset of that record in the progress log.
    pub progress_offset: i64,
    /// What tells the pipeline's changelog from another one of the same name.
    pub changelog: String,
    /// The offset behind the last record of the changelog that is in the snapshot.
    pub changelog_end: i64,
    /// The pipeline's script.
    pub script: String,
    /// The operators whose state it holds.
    pub operators: Vec<SnapshotOperator>,
    /// When it was made, in milliseconds since the epoch.
    pub created_ms: i64,
}

/// An operator whose state a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotOperator {
    /// Its identity; see [`Plan::identities`].
    pub identity: u32,
    /// Its name.
    pub operator: String,
}

impl SnapshotOperator {
    /// The operators of a plan that keep state.
    pub fn of(plan: &Plan) -> Vec<SnapshotOperator> {
        let states = plan.states().into_iter();
        states
            .map(|state| SnapshotOperator { identity: state.identity, operator: state.operator.to_owned() })
            .collect()
    }
}
