//! What patterns stand for is found beside the machine: it asks, the driver searches all topics' names and comes back
//! with what it found. Meanwhile the group goes on without those topics; members get them with a later heartbeat.
//!
//! ```text
//! heartbeat ──► search_when_due ──► RegexSearch ──► driver: run, beside the lock
//!                                                      │
//! heartbeat ◄── new epoch, if they stand for other ◄── RegexesFound
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Draft;
use super::record::{ConsumerRecord, ResolvedRegex};
use crate::Str;
use crate::groups::topics::TopicView;
use crate::groups::turn::Turn;
use crate::pattern::compile_whole;

/// The least time between two searches for one group's patterns, in ms, as with Kafka: topics that come close together
/// cost one rebalance.
pub(super) const SEARCH_INTERVAL_MS: i64 = 10_000;

/// A group's patterns and the topics to search: what a machine asks its driver for.
#[derive(Debug, Clone)]
#[must_use = "the machine waits for what is found"]
pub struct RegexSearch {
    group: Str,
    regexes: Vec<Str>,
    topics: Arc<dyn TopicView>,
}

/// What was found for a group's patterns.
#[derive(Debug, Clone)]
pub struct RegexesFound {
    group: Str,
    /// Which topics match, sorted, by pattern.
    matching: BTreeMap<Str, Vec<Str>>,
    /// The topics that were searched.
    topics: Arc<dyn TopicView>,
}

impl RegexSearch {
    /// Matches every topic's name with every pattern. Takes long when there are many.
    #[must_use]
    pub fn run(self) -> RegexesFound {
        let matching = |regex: Str| {
            // A pattern that came in with another broker's log and is none here stands for nothing.
            let names = compile_whole(&regex).map_or_else(
                |_| Vec::new(),
                |compiled| {
                    self.topics.names().filter(|name| compiled.is_match(name)).map(Str::from).collect()
                },
            );
            (regex, names)
        };
        RegexesFound {
            group: self.group.clone(),
            matching: self.regexes.iter().cloned().map(matching).collect(),
            topics: self.topics.clone(),
        }
    }
}

impl RegexesFound {
    /// The topics that were searched.
    pub(in crate::groups) fn topics(&self) -> &Arc<dyn TopicView> {
        &self.topics
    }
}

/// Searches under way and done.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::groups) struct Searches {
    /// Asked for, and not yet with the driver: groups and their patterns.
    asked: Vec<(Str, Vec<Str>)>,
    /// Groups whose answer is still to come.
    pending: BTreeSet<Str>,
    /// The last answer for each group.
    done: BTreeMap<Str, Searched>,
}

/// When a group's patterns were last searched for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Searched {
    /// In ms.
    at: i64,
    /// By which version of the topics.
    version: i64,
}

impl Searches {
    /// The searches that were asked for since the last call.
    pub(in crate::groups) fn take(&mut self, topics: &Arc<dyn TopicView>) -> Vec<RegexSearch> {
        let asked = self.asked.drain(..);
        asked.map(|(group, regexes)| RegexSearch { group, regexes, topics: topics.clone() }).collect()
    }

    /// The group is gone; one that comes under its name does not wait because of it.
    pub(super) fn forget(&mut self, group: &Str) {
        self.done.remove(group);
    }
}

impl Turn<'_> {
    /// Asks for a search when it has been long enough since the last one, and there is a pattern that was not searched
    /// for yet or the topics have changed.
    pub(super) fn search_when_due(&mut self, draft: &Draft) {
        let used = draft.used_regexes();
        let searches = &mut self.waiting.searches;
        if used.is_empty() || searches.pending.contains(&draft.id) {
            return;
        }
        let done = searches.done.get(&draft.id).copied();
        // A machine that was just loaded has the times from its log, and does not know whether topics came since.
        let last = done
            .map(|done| done.at)
            .or_else(|| draft.last_search())
            .filter(|_| !draft.group.regexes.is_empty());
        let since = last.map(|last| self.now.saturating_sub(last));
        // A clock that was set back holds nobody up.
        if since.is_some_and(|since| (0..=SEARCH_INTERVAL_MS).contains(&since)) {
            return;
        }
        let is_current = done.is_some_and(|done| done.version == self.topics_version);
        if is_current && used.iter().all(|regex| draft.group.regexes.contains_key(regex)) {
            return;
        }
        searches.asked.push((draft.id.clone(), used.into_iter().collect()));
        searches.pending.insert(draft.id.clone());
    }

    /// Takes in what was found: a new epoch if the patterns stand for other topics than before. The target assignment
    /// follows with the next heartbeat.
    ///
    /// `current` says that the topics that were searched are those there are now.
    pub(in crate::groups) fn take_found(&mut self, found: &RegexesFound, current: bool) {
        let searches = &mut self.waiting.searches;
        searches.pending.remove(&found.group);
        let Some(consumer) = self.groups.get(&found.group).and_then(|group| group.consumer.clone()) else {
            return;
        };
        let version = self.topics_version - i64::from(!current);
        searches.done.insert(found.group.clone(), Searched { at: self.now, version });
        let mut draft = Draft::of(found.group.clone(), consumer);
        let used = draft.used_regexes();
        if used.is_empty() {
            return;
        }
        let mut wants_other = false;
        for (regex, topics) in found.matching.iter().filter(|(regex, _)| used.contains(*regex)) {
            let before = draft.group.regexes.get(regex);
            if before.is_some_and(|before| before.topics == *topics) {
                continue;
            }
            // Who reads by a pattern that is new holds what it read before. A topic that went is known to be gone.
            let there = |name: &&Str| self.topics.topic(name).is_some();
            let same = |before: &Arc<ResolvedRegex>| {
                before.topics.iter().filter(there).eq(topics.iter().filter(there))
            };
            wants_other |= !before.is_some_and(same);
            let value = Some(ResolvedRegex { topics: topics.clone(), version, timestamp: self.now });
            draft.write(ConsumerRecord::Regex { regex: regex.clone(), value });
        }
        self.follow_topics(&mut draft, wants_other);
        self.save(draft);
    }
}

impl Draft {
    /// The patterns of all members.
    pub(super) fn used_regexes(&self) -> BTreeSet<Str> {
        self.group.members.values().filter_map(|member| member.topic_regex.clone()).collect()
    }

    /// Patterns that nobody uses any more go.
    pub(super) fn drop_unused_regexes(&mut self) {
        if self.group.regexes.is_empty() {
            return;
        }
        let used = self.used_regexes();
        let unused: Vec<Str> =
            self.group.regexes.keys().filter(|regex| !used.contains(*regex)).cloned().collect();
        for regex in unused {
            self.write(ConsumerRecord::Regex { regex, value: None });
        }
    }

    /// When topics were last searched, by what the log says.
    fn last_search(&self) -> Option<i64> {
        self.group.regexes.values().map(|resolved| resolved.timestamp).max()
    }
}
