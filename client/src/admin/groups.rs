//! Consumer groups: who is in them, and what they have committed.

use logmill_wire::messages::describe_groups::DescribeGroupsRequest;
use logmill_wire::messages::list_groups::ListGroupsRequest;
use logmill_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use logmill_wire::{ErrorCode, Str};

use super::Admin;
use crate::cluster::{Ask, Cluster, Coordinated, Lane, To};
use crate::consumer::protocol;
use crate::error::{Error, Result};
use crate::transport::backoff::Deadline;

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// What its members are: `consumer`, `connect`, …; empty for a group that only has offsets.
    pub protocol_type: String,
    /// Its state, such as `Stable` or `Empty`; empty when the broker does not say.
    pub state: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// Its state, such as `Stable` or `Empty`; `Dead` when there is no such group.
    pub state: String,
    /// What its members are: `consumer`, `connect`, ….
    pub protocol_type: String,
    /// How partitions are shared out, such as `range`.
    pub protocol: String,
    /// Its members, by id.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    /// The id the coordinator gave it.
    pub member_id: String,
    /// The id its operator gave it.
    pub instance_id: Option<String>,
    /// The name of its client.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// What it reads, by topic and partition; empty if the group is not one of consumers.
    pub assignment: Vec<(String, i32)>,
}

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// What the consumer noted with it.
    pub metadata: String,
}

impl Admin {
    /// Every group, by id.
    ///
    /// # Errors
    /// When no broker answers in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let operation = || "listing groups".to_owned();
        let mut deadline = self.deadline(operation());
        // Every broker lists the groups it coordinates.
        let cluster = self.describe_cluster().await?;
        let mut groups = Vec::new();
        for broker in cluster.brokers {
            let listed = self
                .cluster
                .ask(
                    &Ask::new(To::Broker(broker.id)),
                    &mut deadline,
                    |_| ListGroupsRequest::default(),
                    |response, _| {
                        Error::check(response.error_code, None, operation)?;
                        Ok(response.groups)
                    },
                )
                .await?;
            groups.extend(listed.into_iter().map(|group| GroupListing {
                group: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
            }));
        }
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    /// One group. A group that does not exist is described as `Dead`, which is how Kafka has it.
    ///
    /// # Errors
    /// When its coordinator does not answer in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let operation = || format!("describing group {group}");
        let ask = Ask::new(To::Coordinator(Coordinated::Group(group.to_owned())));
        let request =
            |_| DescribeGroupsRequest { groups: vec![Str::from(group)], ..DescribeGroupsRequest::default() };
        self.cluster
            .ask(&ask, &mut self.deadline(operation()), request, |response, _| {
                let found = response.groups.into_iter().next().unwrap_or_default();
                let dead = found.error_code == ErrorCode::GROUP_ID_NOT_FOUND;
                if !dead {
                    Error::check(found.error_code, found.error_message.as_deref(), operation)?;
                }
                let consumers = *found.protocol_type == *protocol::PROTOCOL_TYPE;
                let mut members: Vec<MemberDescription> = found
                    .members
                    .iter()
                    .map(|member| MemberDescription {
                        member_id: member.member_id.to_string(),
                        instance_id: member.group_instance_id.as_deref().map(str::to_owned),
                        client_id: member.client_id.to_string(),
                        client_host: member.client_host.to_string(),
                        assignment: if consumers {
                            protocol::read_assignment(&member.member_assignment).unwrap_or_default()
                        } else {
                            Vec::new()
                        },
                    })
                    .collect();
                members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
                Ok(GroupDescription {
                    group: group.to_owned(),
                    state: if dead { "Dead".to_owned() } else { found.group_state.to_string() },
                    protocol_type: found.protocol_type.to_string(),
                    protocol: found.protocol_data.to_string(),
                    members,
                })
            })
            .await
    }

    /// Everything a group has committed, by topic and partition.
    ///
    /// # Errors
    /// When its coordinator does not answer in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn group_offsets(&self, group: &str) -> Result<Vec<GroupOffset>> {
        let mut deadline = self.deadline(format!("reading the offsets of group {group}"));
        committed_offsets(&self.cluster, Lane::GENERAL, group, None, &mut deadline).await
    }
}

/// What a group has committed: for the given partitions, or for all. Waits for transactions that are about to
/// commit offsets (KIP-447). Partitions without a committed offset are left out.
pub(crate) async fn committed_offsets(
    cluster: &Cluster,
    lane: Lane,
    group: &str,
    partitions: Option<&[(String, i32)]>,
    deadline: &mut Deadline,
) -> Result<Vec<GroupOffset>> {
    let operation = || format!("reading the offsets of group {group}");
    let by_topic = partitions.map(crate::consumer::by_topic);
    let request = |version| {
        let mut request = OffsetFetchRequest { require_stable: version >= 7, ..Default::default() };
        if version >= 8 {
            let topics = by_topic.as_ref().map(|topics| {
                let wanted = topics.iter().map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                    name: Str::from(*name),
                    partition_indexes: partition_indexes.clone(),
                    ..Default::default()
                });
                wanted.collect()
            });
            request.groups =
                vec![OffsetFetchRequestGroup { group_id: Str::from(group), topics, ..Default::default() }];
        } else {
            request.group_id = Str::from(group);
            request.topics = by_topic.as_ref().map(|topics| {
                let wanted = topics.iter().map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                    name: Str::from(*name),
                    partition_indexes: partition_indexes.clone(),
                });
                wanted.collect()
            });
        }
        request
    };
    // Version 10 names topics by id.
    let ask = Ask::new(To::Coordinator(Coordinated::Group(group.to_owned()))).on(lane).at_most(9);
    let mut offsets = cluster
        .ask(&ask, deadline, request, |response, version| {
            let (code, found) = offsets_in(response, version);
            Error::check(code, None, operation)?;
            let mut offsets = Vec::new();
            for (code, offset) in found {
                Error::check(code, None, operation)?;
                if offset.offset >= 0 {
                    offsets.push(offset);
                }
            }
            Ok(offsets)
        })
        .await?;
    offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(offsets)
}

fn offsets_in(response: OffsetFetchResponse, version: i16) -> (ErrorCode, Vec<(ErrorCode, GroupOffset)>) {
    let mut found = Vec::new();
    let mut add = |topic: &str, partition, code, offset, metadata: Option<Str>| {
        let metadata = metadata.as_deref().unwrap_or_default().to_owned();
        found.push((code, GroupOffset { topic: topic.to_owned(), partition, offset, metadata }));
    };
    if version >= 8 {
        let group = response.groups.into_iter().next().unwrap_or_default();
        for topic in group.topics {
            for p in topic.partitions {
                add(&topic.name, p.partition_index, p.error_code, p.committed_offset, p.metadata);
            }
        }
        (group.error_code, found)
    } else {
        for topic in response.topics {
            for p in topic.partitions {
                add(&topic.name, p.partition_index, p.error_code, p.committed_offset, p.metadata);
            }
        }
        (response.error_code, found)
    }
}
