//! What the broker speaks: the one table of APIs and versions.
//!
//! Only what is implemented and correct stands here. Versions outside the table cost the caller its
//! connection, except that an unknown version of ApiVersions is answered (KIP-511).

use std::ops::RangeInclusive;

use logmill_wire::ApiKey;

/// Every API that is served, with its versions, by key.
pub const ADVERTISED: &[(ApiKey, RangeInclusive<i16>)] = &[
    (ApiKey::Produce, 3..=13),
    (ApiKey::Fetch, 4..=18),
    (ApiKey::ListOffsets, 1..=11),
    (ApiKey::Metadata, 0..=13),
    (ApiKey::OffsetCommit, 2..=10),
    (ApiKey::OffsetFetch, 1..=10),
    (ApiKey::FindCoordinator, 0..=6),
    (ApiKey::JoinGroup, 0..=9),
    (ApiKey::Heartbeat, 0..=4),
    (ApiKey::LeaveGroup, 0..=5),
    (ApiKey::SyncGroup, 0..=5),
    (ApiKey::DescribeGroups, 0..=6),
    (ApiKey::ListGroups, 0..=5),
    (ApiKey::ApiVersions, 0..=5),
    (ApiKey::CreateTopics, 2..=7),
    (ApiKey::DeleteTopics, 1..=6),
    (ApiKey::DeleteRecords, 0..=2),
    (ApiKey::InitProducerId, 0..=5),
    (ApiKey::OffsetForLeaderEpoch, 2..=4),
    (ApiKey::AddPartitionsToTxn, 0..=3),
    (ApiKey::AddOffsetsToTxn, 0..=4),
    (ApiKey::EndTxn, 0..=5),
    (ApiKey::WriteTxnMarkers, 1..=2),
    (ApiKey::TxnOffsetCommit, 0..=6),
    (ApiKey::DescribeAcls, 1..=3),
    (ApiKey::CreateAcls, 1..=3),
    (ApiKey::DeleteAcls, 1..=3),
    (ApiKey::DescribeConfigs, 1..=4),
    (ApiKey::AlterConfigs, 0..=2),
    (ApiKey::AlterReplicaLogDirs, 1..=2),
    (ApiKey::DescribeLogDirs, 1..=5),
    (ApiKey::CreatePartitions, 0..=3),
    (ApiKey::CreateDelegationToken, 1..=3),
    (ApiKey::RenewDelegationToken, 1..=2),
    (ApiKey::ExpireDelegationToken, 1..=2),
    (ApiKey::DescribeDelegationToken, 1..=3),
    (ApiKey::DeleteGroups, 0..=3),
    (ApiKey::ElectLeaders, 0..=2),
    (ApiKey::IncrementalAlterConfigs, 0..=1),
    (ApiKey::AlterPartitionReassignments, 0..=1),
    (ApiKey::ListPartitionReassignments, 0..=0),
    (ApiKey::OffsetDelete, 0..=0),
    (ApiKey::DescribeClientQuotas, 0..=1),
    (ApiKey::AlterClientQuotas, 0..=1),
    (ApiKey::DescribeUserScramCredentials, 0..=0),
    (ApiKey::AlterUserScramCredentials, 0..=0),
    (ApiKey::DescribeQuorum, 0..=2),
    (ApiKey::UpdateFeatures, 0..=2),
    (ApiKey::DescribeCluster, 0..=2),
    (ApiKey::DescribeProducers, 0..=0),
    (ApiKey::UnregisterBroker, 0..=0),
    (ApiKey::DescribeTransactions, 0..=0),
    (ApiKey::ListTransactions, 0..=2),
    (ApiKey::ConsumerGroupHeartbeat, 0..=1),
    (ApiKey::ConsumerGroupDescribe, 0..=1),
    (ApiKey::ListConfigResources, 0..=1),
    (ApiKey::DescribeTopicPartitions, 0..=0),
];

/// The lowest version that is *said* to be served.
///
/// Produce says 0 although 3 is the lowest: librdkafka before 2025 otherwise silently gives up
/// compression (KAFKA-18659).
#[must_use]
pub fn lowest_said(api: ApiKey, lowest: i16) -> i16 {
    if api == ApiKey::Produce { 0 } else { lowest }
}

/// What becomes of a request, by key and version alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is decoded and handled.
    Serve(ApiKey),
    /// It is answered with the versions that are known, without being looked at any further.
    TellVersions,
    /// It costs its sender the connection.
    Refuse,
}

/// Decides by the rules of Kafka's negotiation.
#[must_use]
pub fn negotiate(api_key: i16, version: i16) -> Verdict {
    let Some(api) = ApiKey::from_code(api_key) else { return Verdict::Refuse };
    let is_served = ADVERTISED.iter().any(|(served, versions)| *served == api && versions.contains(&version));
    match api {
        _ if is_served => Verdict::Serve(api),
        ApiKey::ApiVersions => Verdict::TellVersions,
        _ => Verdict::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_without_repetition() {
        assert!(ADVERTISED.windows(2).all(|pair| pair[0].0.code() < pair[1].0.code()));
    }

    #[test]
    fn only_produce_says_more_than_it_does() {
        for (api, versions) in ADVERTISED {
            let said = lowest_said(*api, *versions.start());
            assert_eq!(said != *versions.start(), *api == ApiKey::Produce);
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_refused_and_unknown_api_versions_are_told() {
        assert_eq!(negotiate(0, 3), Verdict::Serve(ApiKey::Produce));
        for (key, version) in [(0, 2), (0, 14), (0, -1), (24, 4), (17, 0), (4, 0), (-1, 0), (i16::MAX, 0)] {
            assert_eq!(negotiate(key, version), Verdict::Refuse, "{key} {version}");
        }
        assert_eq!(negotiate(18, 5), Verdict::Serve(ApiKey::ApiVersions));
        for version in [6, 99, i16::MAX, -1] {
            assert_eq!(negotiate(18, version), Verdict::TellVersions);
        }
    }
}
