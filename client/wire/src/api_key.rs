//! Which API a request calls.

use std::fmt;

/// Names, keys and first flexible versions of all APIs a client may call.
macro_rules! api_keys {
    ($($name:ident = $key:literal, flexible $flexible:expr;)*) => {
        /// An API of Kafka's. Whether and in which versions a broker serves it is another matter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[allow(missing_docs)] // The names are Kafka's own and all there is to say.
        pub enum ApiKey {
            $($name = $key,)*
        }

        impl ApiKey {
            /// Every API, by key.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name,)*];

            /// The API with this key, if there is one.
            pub fn from_code(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name of it.
            pub fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }

            /// The first version with compact lengths and tagged fields, in body and header.
            pub fn flexible_from(self) -> i16 {
                match self {
                    $(ApiKey::$name => $flexible,)*
                }
            }
        }
    };
}

/// No version of the API is flexible.
const NEVER: i16 = crate::schema::NEVER;

api_keys! {
    Produce = 0, flexible 9;
    Fetch = 1, flexible 12;
    ListOffsets = 2, flexible 6;
    Metadata = 3, flexible 9;
    OffsetCommit = 8, flexible 8;
    OffsetFetch = 9, flexible 6;
    FindCoordinator = 10, flexible 3;
    JoinGroup = 11, flexible 6;
    Heartbeat = 12, flexible 4;
    LeaveGroup = 13, flexible 4;
    SyncGroup = 14, flexible 4;
    DescribeGroups = 15, flexible 5;
    ListGroups = 16, flexible 3;
    SaslHandshake = 17, flexible NEVER;
    ApiVersions = 18, flexible 3;
    CreateTopics = 19, flexible 5;
    DeleteTopics = 20, flexible 4;
    DeleteRecords = 21, flexible 2;
    InitProducerId = 22, flexible 2;
    OffsetForLeaderEpoch = 23, flexible 4;
    AddPartitionsToTxn = 24, flexible 3;
    AddOffsetsToTxn = 25, flexible 3;
    EndTxn = 26, flexible 3;
    WriteTxnMarkers = 27, flexible 1;
    TxnOffsetCommit = 28, flexible 3;
    DescribeAcls = 29, flexible 2;
    CreateAcls = 30, flexible 2;
    DeleteAcls = 31, flexible 2;
    DescribeConfigs = 32, flexible 4;
    AlterConfigs = 33, flexible 2;
    AlterReplicaLogDirs = 34, flexible 2;
    DescribeLogDirs = 35, flexible 2;
    SaslAuthenticate = 36, flexible 2;
    CreatePartitions = 37, flexible 2;
    CreateDelegationToken = 38, flexible 2;
    RenewDelegationToken = 39, flexible 2;
    ExpireDelegationToken = 40, flexible 2;
    DescribeDelegationToken = 41, flexible 2;
    DeleteGroups = 42, flexible 2;
    ElectLeaders = 43, flexible 2;
    IncrementalAlterConfigs = 44, flexible 1;
    AlterPartitionReassignments = 45, flexible 0;
    ListPartitionReassignments = 46, flexible 0;
    OffsetDelete = 47, flexible NEVER;
    DescribeClientQuotas = 48, flexible 1;
    AlterClientQuotas = 49, flexible 1;
    DescribeUserScramCredentials = 50, flexible 0;
    AlterUserScramCredentials = 51, flexible 0;
    DescribeQuorum = 55, flexible 0;
    UpdateFeatures = 57, flexible 0;
    DescribeCluster = 60, flexible 0;
    DescribeProducers = 61, flexible 0;
    UnregisterBroker = 64, flexible 0;
    DescribeTransactions = 65, flexible 0;
    ListTransactions = 66, flexible 0;
    ConsumerGroupHeartbeat = 68, flexible 0;
    ConsumerGroupDescribe = 69, flexible 0;
    GetTelemetrySubscriptions = 71, flexible 0;
    PushTelemetry = 72, flexible 0;
    ListConfigResources = 74, flexible 0;
    DescribeTopicPartitions = 75, flexible 0;
    ShareGroupHeartbeat = 76, flexible 0;
    ShareGroupDescribe = 77, flexible 0;
    ShareFetch = 78, flexible 0;
    ShareAcknowledge = 79, flexible 0;
    AddRaftVoter = 80, flexible 0;
    RemoveRaftVoter = 81, flexible 0;
    InitializeShareGroupState = 83, flexible 0;
    ReadShareGroupState = 84, flexible 0;
    WriteShareGroupState = 85, flexible 0;
    DeleteShareGroupState = 86, flexible 0;
    ReadShareGroupStateSummary = 87, flexible 0;
    StreamsGroupHeartbeat = 88, flexible 0;
    StreamsGroupDescribe = 89, flexible 0;
    DescribeShareGroupOffsets = 90, flexible 0;
    AlterShareGroupOffsets = 91, flexible 0;
    DeleteShareGroupOffsets = 92, flexible 0;
    StreamsGroupTopologyDescriptionUpdate = 93, flexible 0;
    UnregisterController = 94, flexible 0;
}

impl ApiKey {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Version of the header in front of a request: 2 has tagged fields.
    pub fn request_header_version(self, version: i16) -> i16 {
        if version >= self.flexible_from() { 2 } else { 1 }
    }

    /// Version of the header in front of a response: 1 has tagged fields. An ApiVersions response never
    /// has them, so that a client can read it before it knows what the broker speaks (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != ApiKey::ApiVersions && version >= self.flexible_from())
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
