//! Topics in a request that commits offsets: by name or by id, each refused here or answered by the group.

use logmill_coordinator::groups::{Committed, PartitionOffset, TopicOffsets};
use logmill_wire::{ErrorCode, Str};
use uuid::Uuid;

use crate::topics::Topics;

/// One topic as it was asked for; its partitions are not looked up yet.
pub(super) struct AskedTopic {
    pub(super) name: Str,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<PartitionOffset>,
}

/// The topics of one request, in its order.
pub(super) struct CommittedTopics {
    answers: Vec<TopicAnswer>,
    /// Where each of the offsets for the group has its answer.
    places: Vec<usize>,
}

/// What is said of one topic: its partitions with their codes.
pub(super) struct TopicAnswer {
    pub(super) name: Str,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<(i32, ErrorCode)>,
}

impl CommittedTopics {
    /// Looks the topics up, by id or by name. What is not there is answered here; the offsets of the rest are for the
    /// group.
    pub(super) fn look_up(
        topics: &Topics,
        by_id: bool,
        asked: impl Iterator<Item = AskedTopic>,
    ) -> (Self, Vec<TopicOffsets>) {
        let (mut answers, mut places, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for AskedTopic { name, id, mut partitions } in asked {
            let (found, unknown) = if by_id {
                (topics.by_id(id), ErrorCode::UNKNOWN_TOPIC_ID)
            } else {
                (topics.get(&name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
            };
            let refused = partitions.iter().map(|partition| (partition.partition, unknown)).collect();
            answers.push(TopicAnswer { name, id, partitions: refused });
            let Some(topic) = found else { continue };
            places.push(answers.len() - 1);
            for partition in &mut partitions {
                let exists = topic.partition(partition.partition).is_some();
                partition.refused = (!exists).then_some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            }
            offsets.push(TopicOffsets {
                topic: Str::from(&*topic.name),
                topic_id: Some(topic.id),
                partitions,
            });
        }
        (Self { answers, places }, offsets)
    }

    /// Every topic with what the group said of its offsets, or the error that holds for all of them.
    pub(super) fn answered(mut self, committed: Result<Committed, ErrorCode>) -> Vec<TopicAnswer> {
        match committed {
            Ok(committed) => {
                for (place, (_, partitions)) in self.places.into_iter().zip(committed.topics) {
                    self.answers[place].partitions = partitions;
                }
            }
            Err(code) => {
                for place in self.places {
                    self.answers[place].partitions.iter_mut().for_each(|(_, answer)| *answer = code);
                }
            }
        }
        self.answers
    }
}
