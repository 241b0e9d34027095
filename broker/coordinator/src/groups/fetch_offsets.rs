//! OffsetFetch. Who asks is of no matter in the classic protocol; in the new one a member has to be up to
//! date, or it would go on from where somebody else was.

use super::command::FetchOffsets;
use super::durable::Group;
use super::reply::{Fetched, FetchedOffset, Reply};
use super::turn::Turn;
use crate::{ErrorCode, RequestId, Str};

impl Turn<'_> {
    pub(super) fn fetch_offsets(&mut self, request: RequestId, fetch: &FetchOffsets) {
        let durable = self.groups.get(&fetch.group);
        if let Some(consumer) = durable.and_then(|durable| durable.consumer.as_ref())
            && let Err(error) = consumer.check_fetch(fetch.member_id.as_ref(), fetch.member_epoch)
        {
            return self.reply(request, Reply::Fetched(Fetched { error, topics: Vec::new() }));
        }
        let one = |topic: &Str, partition: i32| fetch_one(durable, topic, partition, fetch.require_stable);
        let topics = match &fetch.topics {
            Some(topics) => topics
                .iter()
                .map(|(topic, partitions)| {
                    (topic.clone(), partitions.iter().map(|partition| one(topic, *partition)).collect())
                })
                .collect(),
            None => {
                let mut topics: Vec<(Str, Vec<FetchedOffset>)> = Vec::new();
                for (topic, partition) in durable.map(Group::partitions).unwrap_or_default() {
                    let fetched = one(&topic, partition);
                    // A partition with nothing but a pending offset is only of interest to those who wait.
                    if fetched.stored.is_none() && fetched.error == ErrorCode::NONE {
                        continue;
                    }
                    match topics.last_mut().filter(|(last, _)| *last == topic) {
                        Some((_, partitions)) => partitions.push(fetched),
                        None => topics.push((topic, vec![fetched])),
                    }
                }
                topics
            }
        };
        self.reply(request, Reply::Fetched(Fetched { error: ErrorCode::NONE, topics }));
    }
}

fn fetch_one(durable: Option<&Group>, topic: &Str, partition: i32, require_stable: bool) -> FetchedOffset {
    let Some(durable) = durable else {
        return FetchedOffset { partition, stored: None, error: ErrorCode::NONE };
    };
    if require_stable && durable.is_pending(topic, partition) {
        return FetchedOffset { partition, stored: None, error: ErrorCode::UNSTABLE_OFFSET_COMMIT };
    }
    FetchedOffset { partition, stored: durable.offset(topic, partition).cloned(), error: ErrorCode::NONE }
}
