//! The authorisation table of the gRPC services: for each call, what its caller must be allowed to do.

use super::requirements::{Operation, Requirement, Resource};

/// A call of our own language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Their services' names say what they do.
pub enum Call {
    NodeStatus,
    NodeMetrics,
    PipelineRun,
    PipelineList,
    PipelineDescribe,
    PipelineStop,
    PipelineDelete,
    PipelineSetMemory,
    PipelineRescale,
    PipelineEvents,
    PipelineFinishInput,
    PipelineExplainUpgrade,
    PipelineUpgrade,
    SavepointMake,
    SavepointList,
    SavepointDelete,
    SavepointRestore,
    Query,
}

/// What the caller must be allowed to do.
///
/// Exhaustive on purpose, as the table of Kafka's APIs is: a call cannot be added without saying who may make it.
#[must_use]
pub fn needed_by(call: Call) -> &'static [Requirement] {
    match call {
        // What it reads may be in any topic that a pipeline writes.
        Call::Query => &[(Operation::Describe, Resource::Cluster), (Operation::Read, Resource::Topic)],
        Call::NodeStatus
        | Call::NodeMetrics
        | Call::PipelineList
        | Call::PipelineDescribe
        | Call::PipelineEvents
        | Call::PipelineExplainUpgrade
        | Call::SavepointList => &[(Operation::Describe, Resource::Cluster)],
        Call::PipelineRun
        | Call::PipelineStop
        | Call::PipelineDelete
        | Call::PipelineSetMemory
        | Call::PipelineRescale
        | Call::PipelineFinishInput
        | Call::PipelineUpgrade
        | Call::SavepointMake
        | Call::SavepointDelete
        | Call::SavepointRestore => &[(Operation::Alter, Resource::Cluster)],
    }
}
