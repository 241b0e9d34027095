//! What members want to read: names, patterns, and the topics there are.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::record::StoredConsumerMember;
use super::refusal::Refusal;
use crate::groups::topics::{TopicInfo, TopicView};
use crate::pattern::compile_whole;
use crate::{ErrorCode, Str};

/// Refuses a pattern that is none.
pub(super) fn check_regex(pattern: &str) -> Result<(), Refusal> {
    compile_whole(pattern).map(drop).map_err(|error| {
        let message = format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {error}.");
        Refusal::new(ErrorCode::INVALID_REGULAR_EXPRESSION, message)
    })
}

impl Draft {
    /// The topics that a member wants to read, of those there are.
    pub(super) fn topics_of(
        &self,
        member: &StoredConsumerMember,
        topics: &dyn TopicView,
    ) -> BTreeMap<Str, TopicInfo> {
        self.wanted_names(member).filter_map(|name| Some((name.clone(), topics.topic(name)?))).collect()
    }

    fn wanted_names<'a>(&'a self, member: &'a StoredConsumerMember) -> impl Iterator<Item = &'a Str> {
        let regex = member.topic_regex.as_ref().and_then(|regex| self.group.regexes.get(regex));
        member.topic_names.iter().chain(regex.into_iter().flat_map(|resolved| &resolved.topics))
    }

    /// A fingerprint of all topics that some member wants to read: names, ids, numbers of partitions. It is
    /// not Kafka's own: there and back a group is assigned once more than needed.
    pub(super) fn metadata_hash(&self, topics: &dyn TopicView) -> i64 {
        let names: BTreeSet<&Str> =
            self.group.members.values().flat_map(|member| self.wanted_names(member)).collect();
        let mut hash = Fnv::new();
        let mut any = false;
        for name in names {
            let Some(info) = topics.topic(name) else { continue };
            any = true;
            hash.add(name.as_bytes());
            hash.add(&[0]);
            hash.add(info.id.as_bytes());
            hash.add(&info.partitions.to_be_bytes());
        }
        // 0 says that there are none.
        if any { (hash.0 | 1) as i64 } else { 0 }
    }
}

impl super::group::ConsumerGroup {
    /// Whether a member wants to read the topic.
    pub(in crate::groups) fn is_subscribed_to(&self, topic: &Str) -> bool {
        self.members.values().any(|member| {
            let regex = member.topic_regex.as_ref().and_then(|regex| self.regexes.get(regex));
            member.topic_names.contains(topic)
                || regex.is_some_and(|resolved| resolved.topics.contains(topic))
        })
    }
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
