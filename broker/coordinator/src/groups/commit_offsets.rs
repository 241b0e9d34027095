//! OffsetCommit.

use super::command::{CommitOffsets, TopicOffsets};
use super::consumer::{CommitBy, Permission};
use super::live::Live;
use super::record::{Record, StoredOffset};
use super::reply::{Committed, Reply};
use super::state::GroupState;
use super::turn::{Turn, can_hold_offsets};
use crate::limits::MAX_TOPIC_BYTES;
use crate::{ErrorCode, RequestId, Str};

/// From this version an unknown group is called that.
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;

impl Turn<'_> {
    pub(super) fn commit_offsets(&mut self, request: RequestId, commit: &CommitOffsets) {
        if let Some(consumer) = self.consumer_group(&commit.group) {
            let by = CommitBy::Request { version: commit.version };
            let instance_id = commit.instance_id.as_ref();
            let allowed = consumer.check_commit(&commit.member_id, instance_id, commit.generation, by);
            let topics = self.store_allowed_offsets(&commit.group, &commit.offsets, allowed, None);
            return self.reply(request, Reply::Committed(Committed { topics }));
        }
        let group = self.open(&commit.group);
        let verdict = self.check_commit(&group, commit);
        if verdict.is_ok() && matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance) {
            self.renew_session(&group, &commit.member_id);
        }
        self.close(group);
        let expire = (commit.retention_ms >= 0).then(|| self.now.saturating_add(commit.retention_ms));
        let topics = self.store_offsets(&commit.group, &commit.offsets, verdict, expire, None);
        self.reply(request, Reply::Committed(Committed { topics }));
    }

    fn check_commit(&self, group: &Live, commit: &CommitOffsets) -> Result<(), ErrorCode> {
        if !can_hold_offsets(&commit.group) {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        if self.is_owned(&commit.group) {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if !self.exists(&commit.group) && group.is_idle() && commit.generation >= 0 {
            return Err(match commit.version {
                GROUP_ID_NOT_FOUND_FROM.. => ErrorCode::GROUP_ID_NOT_FOUND,
                _ => ErrorCode::ILLEGAL_GENERATION,
            });
        }
        if commit.generation < 0 && group.state == GroupState::Empty {
            // An admin client, or a consumer that manages its partitions itself.
            return Ok(());
        }
        if commit.generation < 0 && commit.member_id.is_empty() && commit.instance_id.is_none() {
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        group.check_member(&commit.member_id, commit.instance_id.as_ref())?;
        if commit.generation != group.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if group.state == GroupState::CompletingRebalance {
            // It knows the generation and has no assignment in it: whatever it commits, it read before.
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        Ok(())
    }

    /// The same for a consumer group, which may allow some of the offsets.
    pub(super) fn store_allowed_offsets(
        &mut self,
        group: &Str,
        offsets: &[TopicOffsets],
        allowed: Result<Permission, ErrorCode>,
        producer: Option<(i64, i16)>,
    ) -> Vec<(Str, Vec<(i32, ErrorCode)>)> {
        let permission = match allowed {
            Ok(Permission::Everything) => return self.store_offsets(group, offsets, Ok(()), None, producer),
            Ok(permission) => permission,
            Err(error) => return self.store_offsets(group, offsets, Err(error), None, producer),
        };
        let mut offsets = offsets.to_vec();
        for TopicOffsets { topic, topic_id, partitions } in &mut offsets {
            let id = topic_id.or_else(|| self.topics.topic(topic).map(|topic| topic.id));
            for partition in partitions {
                let refusal = || permission.refusal(id, partition.partition);
                partition.refused = partition.refused.or_else(refusal);
            }
        }
        self.store_offsets(group, &offsets, Ok(()), None, producer)
    }

    /// Makes records of the offsets that may be stored, and says for each what became of it.
    pub(super) fn store_offsets(
        &mut self,
        group: &Str,
        offsets: &[TopicOffsets],
        verdict: Result<(), ErrorCode>,
        expire_timestamp: Option<i64>,
        producer: Option<(i64, i16)>,
    ) -> Vec<(Str, Vec<(i32, ErrorCode)>)> {
        let group = group.detached();
        let mut answers = Vec::with_capacity(offsets.len());
        let mut stored_any = false;
        for TopicOffsets { topic, topic_id, partitions } in offsets {
            let topic = topic.detached();
            let mut answer = Vec::with_capacity(partitions.len());
            for partition in partitions {
                let metadata = partition.metadata.as_deref().unwrap_or_default();
                let error = match (verdict, partition.refused) {
                    (Err(error), _) | (Ok(()), Some(error)) => error,
                    _ if topic.len() > MAX_TOPIC_BYTES => ErrorCode::INVALID_TOPIC_EXCEPTION,
                    _ if is_longer(metadata, self.settings.max_offset_metadata_bytes) => {
                        ErrorCode::OFFSET_METADATA_TOO_LARGE
                    }
                    _ => ErrorCode::NONE,
                };
                answer.push((partition.partition, error));
                if error != ErrorCode::NONE {
                    continue;
                }
                stored_any = true;
                self.record(Record::Offset {
                    group: group.clone(),
                    topic: topic.clone(),
                    partition: partition.partition,
                    value: Some(StoredOffset {
                        offset: partition.offset,
                        leader_epoch: if expire_timestamp.is_none() { partition.leader_epoch } else { -1 },
                        metadata: Str::from(metadata),
                        commit_timestamp: self.now,
                        expire_timestamp,
                        // Kafka has no version of the record with both.
                        topic_id: topic_id.filter(|_| expire_timestamp.is_none()),
                    }),
                    producer,
                });
            }
            answers.push((topic, answer));
        }
        if stored_any && (expire_timestamp.is_some() || self.settings.offsets_retention_ms.is_some()) {
            self.watch_expiry(&group);
        }
        answers
    }
}

/// Kafka's limit is said to be one of bytes and counts what Java calls characters. Where metadata was not text, each odd byte
/// has become one of three bytes by now, and counts as one still.
fn is_longer(text: &str, limit: usize) -> bool {
    text.len() > limit && text.encode_utf16().count() > limit
}
