//! The authorisation table: for each API, what its caller must be allowed to do.

use logmill_wire::ApiKey;

/// What can be done to a resource, with Kafka's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
#[allow(missing_docs)] // Kafka's own names.
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

/// What something can be done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Each topic that the request names.
    Topic,
    /// Each group that the request names.
    Group,
    /// The transactional id that the request names.
    TransactionalId,
    /// The broker as a whole.
    Cluster,
}

impl Resource {
    /// Everything that can be done to such a resource.
    #[must_use]
    pub fn operations(self) -> &'static [Operation] {
        use Operation::{
            Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite,
            Read, Write,
        };
        match self {
            Self::Topic => &[Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs],
            Self::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
            Self::TransactionalId => &[Describe, Write],
            Self::Cluster => {
                &[Create, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, Alter, Describe]
            }
        }
    }
}

/// One thing that must be allowed.
pub type Requirement = (Operation, Resource);

/// What the caller of an API must be allowed to do, to every resource of the kind that the request names.
///
/// Exhaustive on purpose: an API cannot be added without saying who may call it.
#[must_use]
pub fn requirements(api: ApiKey) -> &'static [Requirement] {
    use ApiKey as Api;
    use Operation::{
        Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read,
        Write,
    };
    use Resource::{Cluster, Group, Topic, TransactionalId};
    match api {
        Api::ApiVersions | Api::SaslHandshake | Api::SaslAuthenticate => &[],
        Api::GetTelemetrySubscriptions | Api::PushTelemetry => &[],

        Api::Produce => &[(Write, Topic), (Write, TransactionalId)],
        Api::Fetch | Api::ShareFetch | Api::ShareAcknowledge => &[(Read, Topic)],
        Api::ListOffsets | Api::OffsetForLeaderEpoch | Api::Metadata => &[(Describe, Topic)],
        Api::DescribeTopicPartitions => &[(Describe, Topic)],
        Api::DescribeProducers => &[(Read, Topic)],
        Api::CreateTopics => &[(Create, Topic)],
        Api::DeleteTopics => &[(Delete, Topic)],
        Api::DeleteRecords => &[(Delete, Topic)],
        Api::CreatePartitions => &[(Alter, Topic)],

        Api::FindCoordinator => &[(Describe, Group), (Describe, TransactionalId)],
        Api::JoinGroup | Api::SyncGroup | Api::Heartbeat | Api::LeaveGroup => &[(Read, Group)],
        Api::ConsumerGroupHeartbeat | Api::ShareGroupHeartbeat | Api::StreamsGroupHeartbeat => {
            &[(Read, Group)]
        }
        Api::OffsetCommit => &[(Read, Group), (Read, Topic)],
        Api::OffsetFetch => &[(Describe, Group), (Describe, Topic)],
        Api::OffsetDelete => &[(Delete, Group), (Read, Topic)],
        Api::DescribeGroups | Api::ListGroups => &[(Describe, Group)],
        Api::ConsumerGroupDescribe | Api::ShareGroupDescribe | Api::StreamsGroupDescribe => {
            &[(Describe, Group)]
        }
        Api::StreamsGroupTopologyDescriptionUpdate => &[(Read, Group)],
        Api::DescribeShareGroupOffsets => &[(Describe, Group), (Describe, Topic)],
        Api::AlterShareGroupOffsets => &[(Read, Group), (Read, Topic)],
        Api::DeleteShareGroupOffsets => &[(Delete, Group), (Read, Topic)],
        Api::DeleteGroups => &[(Delete, Group)],

        Api::InitProducerId => &[(Write, TransactionalId), (IdempotentWrite, Cluster)],
        Api::AddPartitionsToTxn => &[(Write, TransactionalId), (Write, Topic)],
        Api::AddOffsetsToTxn => &[(Write, TransactionalId), (Read, Group)],
        Api::EndTxn => &[(Write, TransactionalId)],
        Api::TxnOffsetCommit => &[(Write, TransactionalId), (Read, Group), (Read, Topic)],
        Api::DescribeTransactions | Api::ListTransactions => &[(Describe, TransactionalId)],

        Api::DescribeConfigs => &[(DescribeConfigs, Topic), (DescribeConfigs, Cluster)],
        Api::AlterConfigs | Api::IncrementalAlterConfigs => &[(AlterConfigs, Topic), (AlterConfigs, Cluster)],
        Api::ListConfigResources => &[(DescribeConfigs, Cluster)],

        Api::DescribeCluster
        | Api::DescribeAcls
        | Api::DescribeLogDirs
        | Api::ListPartitionReassignments
        | Api::DescribeUserScramCredentials
        | Api::DescribeDelegationToken
        | Api::DescribeQuorum => &[(Describe, Cluster)],
        Api::DescribeClientQuotas => &[(DescribeConfigs, Cluster)],
        Api::AlterClientQuotas => &[(AlterConfigs, Cluster)],
        Api::CreateAcls
        | Api::DeleteAcls
        | Api::AlterReplicaLogDirs
        | Api::ElectLeaders
        | Api::AlterPartitionReassignments
        | Api::AlterUserScramCredentials
        | Api::UpdateFeatures
        | Api::UnregisterBroker
        | Api::UnregisterController
        | Api::AddRaftVoter
        | Api::RemoveRaftVoter => &[(Alter, Cluster)],
        Api::CreateDelegationToken | Api::RenewDelegationToken | Api::ExpireDelegationToken => {
            &[(Create, Cluster)]
        }
        Api::WriteTxnMarkers
        | Api::InitializeShareGroupState
        | Api::ReadShareGroupState
        | Api::WriteShareGroupState
        | Api::DeleteShareGroupState
        | Api::ReadShareGroupStateSummary => &[(ClusterAction, Cluster)],
    }
}

/// What allows a call as well, in place of its whole row: an administrator may abort transactions, though the request
/// is one of brokers.
fn alternative(api: ApiKey) -> Option<Requirement> {
    match api {
        ApiKey::WriteTxnMarkers => Some((Operation::Alter, Resource::Cluster)),
        _ => None,
    }
}

/// Whether somebody may call an API who is allowed what `allows` says.
pub(super) fn is_admitted(api: ApiKey, allows: impl Fn(Requirement) -> bool) -> bool {
    requirements(api).iter().all(|&requirement| allows(requirement)) || alternative(api).is_some_and(allows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_and_a_broker_may_write_markers_and_nobody_else() {
        let with = |held: Operation| {
            is_admitted(ApiKey::WriteTxnMarkers, |(operation, resource)| {
                operation == held && resource == Resource::Cluster
            })
        };
        assert!(with(Operation::Alter) && with(Operation::ClusterAction));
        assert!(!with(Operation::Describe) && !is_admitted(ApiKey::WriteTxnMarkers, |_| false));
        assert!(!is_admitted(ApiKey::AlterPartitionReassignments, |_| false));
    }

    #[test]
    fn every_requirement_is_one_its_resource_knows() {
        for &api in ApiKey::ALL {
            for (operation, resource) in requirements(api) {
                assert!(resource.operations().contains(operation), "{api}: {operation:?} on {resource:?}");
            }
        }
    }
}
