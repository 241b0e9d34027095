//! Committing offsets for a group.

use std::collections::BTreeMap;
use std::time::Duration;

use logmill_wire::Str;
use logmill_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use super::Shared;
use super::assigned::Key;
use crate::admin::GroupOffset;
use crate::cluster::{Ask, Coordinated, Lane, To};
use crate::error::{Error, Result};
use crate::transport::backoff::Deadline;

/// Commits on behalf of a consumer.
pub(crate) struct Committer<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) group: &'a str,
    pub(crate) lane: Lane,
}

impl Committer<'_> {
    /// Commits those offsets that differ from the last ones committed.
    pub(crate) async fn commit_new(&self, offsets: &[(Key, i64)]) -> Result<()> {
        let new: Vec<(Key, i64)> = {
            let committed = self.shared.committed.lock();
            offsets.iter().filter(|(key, offset)| committed.get(key) != Some(offset)).cloned().collect()
        };
        if new.is_empty() { Ok(()) } else { self.commit(&new).await }
    }

    pub(crate) async fn commit(&self, offsets: &[(Key, i64)]) -> Result<()> {
        let member = self.shared.member.lock().clone();
        let operation = || format!("committing offsets of group {}", self.group);
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, partition), offset) in offsets {
            topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: *offset,
                committed_metadata: Some(Str::default()),
                ..OffsetCommitRequestPartition::default()
            });
        }
        let request = |version| OffsetCommitRequest {
            group_id: Str::from(self.group),
            generation_id_or_member_epoch: member.as_ref().map_or(-1, |member| member.generation),
            member_id: member.as_ref().map(|member| Str::from(&member.member_id)).unwrap_or_default(),
            group_instance_id: (version >= 7)
                .then(|| member.as_ref().and_then(|member| member.instance_id.as_ref().map(Str::from)))
                .flatten(),
            topics: topics
                .iter()
                .map(|(topic, partitions)| OffsetCommitRequestTopic {
                    name: Str::from(*topic),
                    partitions: partitions.clone(),
                    ..OffsetCommitRequestTopic::default()
                })
                .collect(),
            ..OffsetCommitRequest::default()
        };
        // Version 10 names topics by id.
        let ask =
            Ask::new(To::Coordinator(Coordinated::Group(self.group.to_owned()))).on(self.lane).at_most(9);
        let mut deadline = Deadline::new(operation(), Duration::from_secs(30));
        self.shared
            .cluster
            .ask(&ask, &mut deadline, request, |response, _| {
                let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
                for partition in partitions {
                    Error::check(partition.error_code, None, operation)?;
                }
                Ok(())
            })
            .await?;
        self.shared.committed.lock().extend(offsets.iter().cloned());
        Ok(())
    }
}

/// Committed offsets by topic and partition.
pub(crate) fn committed_by(offsets: &[GroupOffset]) -> BTreeMap<(&str, i32), i64> {
    offsets.iter().map(|offset| ((offset.topic.as_str(), offset.partition), offset.offset)).collect()
}
