//! Topics, groups, transactions.

use std::collections::BTreeMap;

use logmill_coordinator::groups::{GroupCensus, GroupState};

use super::{Scraper, label, number};
use crate::partitions::Traffic;
use crate::telemetry::{Family, Value};
use crate::topics::Image;

/// The states that a group which exists can be in.
const STATES: [GroupState; 6] = [
    GroupState::Empty,
    GroupState::PreparingRebalance,
    GroupState::CompletingRebalance,
    GroupState::Stable,
    GroupState::Assigning,
    GroupState::Reconciling,
];

impl Scraper {
    pub(super) fn topics_and_groups(&self) -> Vec<Family> {
        let image = self.topics.image();
        let census = self.coordinators.census();
        let mut families = topics(&image);
        families.extend(groups(&census.groups, &image));
        families.push(self.lag_seconds(&census.groups, &image));
        let age = |began: i64| (self.clock.now_ms() - began).max(0) as f64 / 1000.0;
        let oldest = census.oldest_transaction.map_or(0.0, age);
        families.extend([
            Family::gauge("logmill_open_transactions", "Transactions that are open.")
                .of(census.open_transactions as u64),
            Family::gauge("logmill_oldest_transaction_seconds", "Age of the oldest open transaction; 0 when none is.")
                .with(Vec::new(), oldest),
            Family::gauge(
                "logmill_coordinators_unavailable",
                "Coordinators that are not loaded: their logs could not be read, or their last frame was refused.",
            )
            .of(census.resting as u64),
            Family::gauge("logmill_coordinators_loading", "Coordinators whose logs the start has still to read.")
                .of(self.coordinators.loading() as u64),
            Family::gauge(
                "logmill_coordinators_load_seconds",
                "Time it took to read the logs of all coordinators at the start; 0 before that is done.",
            )
            .with(Vec::new(), self.coordinators.load_time().as_secs_f64()),
        ]);
        families
    }

    /// Of each group and topic, the partition that is the furthest behind.
    fn lag_seconds(&self, groups: &[GroupCensus], image: &Image) -> Family {
        let mut family = Family::gauge(
            "logmill_group_lag_seconds",
            "Age of the oldest record of the topic that the group has not committed; 0 when there is none.",
        );
        let now = self.clock.now_ms();
        let mut unread = self.unread.lock();
        unread.begin();
        for group in groups {
            let mut oldest: BTreeMap<&str, i64> = BTreeMap::new();
            for (topic, partition, offset) in &group.offsets {
                let Some(found) = image.get(topic) else { continue };
                let Some(log) = found.partition(*partition) else { continue };
                let Some(age) = unread.age(found.id, log, *offset, now) else { continue };
                let oldest = oldest.entry(&**topic).or_default();
                *oldest = age.max(*oldest);
            }
            for (topic, age) in oldest {
                let labels = vec![("group", group.group.to_string()), ("topic", topic.to_owned())];
                family.push(labels, Value::Number(age as f64 / 1000.0));
            }
        }
        unread.end();
        family
    }
}

fn topics(image: &Image) -> Vec<Family> {
    let mut families = [
        Family::counter("logmill_produce_bytes_total", "Bytes of batches that clients produced."),
        Family::counter("logmill_produce_records_total", "Records in them."),
        Family::counter("logmill_fetch_bytes_total", "Bytes of batches sent to clients."),
        Family::counter("logmill_fetch_records_total", "Records in them."),
    ];
    let mut sizes = Family::gauge("logmill_log_bytes", "Bytes of batches in segments.");
    let mut unstable = Family::gauge(
        "logmill_last_stable_offset_lag_records",
        "Offsets between the last stable one and the high watermark, over the topic's partitions: what open transactions hold up for readers of committed records.",
    );
    let (mut count, mut partitions) = (0, 0);
    for topic in image.iter() {
        let traffic: Traffic = topic.partitions.iter().map(|partition| partition.traffic()).sum();
        let numbers = [
            traffic.produced_bytes,
            traffic.produced_records,
            traffic.fetched_bytes,
            traffic.fetched_records,
        ];
        for (family, count) in families.iter_mut().zip(numbers) {
            family.push(label("topic", &*topic.name), number(count));
        }
        let bytes = topic.partitions.iter().map(|partition| partition.size_bytes()).sum();
        sizes.push(label("topic", &*topic.name), number(bytes));
        let behind = topic.partitions.iter().map(|partition| {
            let published = partition.published();
            published.high_watermark.saturating_sub(published.last_stable_offset).max(0) as u64
        });
        unstable.push(label("topic", &*topic.name), number(behind.sum()));
        count += 1;
        partitions += topic.partitions.len() as u64;
    }
    let mut all = vec![
        Family::gauge("logmill_topics", "Topics, internal ones included.").of(count),
        Family::gauge("logmill_partitions", "Partitions, internal ones included.").of(partitions),
        sizes,
        unstable,
    ];
    all.extend(families);
    all
}

fn groups(groups: &[GroupCensus], image: &Image) -> Vec<Family> {
    let mut states = Family::gauge("logmill_groups", "Groups by protocol and state.");
    let mut members = Family::gauge("logmill_group_members", "Members of the group.");
    let mut rebalances = Family::counter(
        "logmill_group_rebalances_total",
        "Rebalances of the group since it was made: its generation, or its epoch.",
    );
    let mut lag = Family::gauge(
        "logmill_group_lag_records",
        "Records between what the group has committed and the end, over the topic's partitions.",
    );
    for (protocol, is_consumer) in [("classic", false), ("consumer", true)] {
        for state in STATES {
            let here = |group: &&GroupCensus| group.is_consumer == is_consumer && group.state == state;
            let count = groups.iter().filter(here).count() as u64;
            let labels = vec![("protocol", protocol.to_owned()), ("state", state.name().to_owned())];
            states.push(labels, number(count));
        }
    }
    for group in groups {
        members.push(label("group", &*group.group), number(group.members as u64));
        rebalances.push(label("group", &*group.group), number(group.rebalances.max(0) as u64));
        for (topic, behind) in lags(group, image) {
            let labels = vec![("group", group.group.to_string()), ("topic", topic.to_owned())];
            lag.push(labels, number(behind));
        }
    }
    vec![states, members, rebalances, lag]
}

/// How far a group is behind, by topic. Topics that are gone have no end to be behind of.
fn lags<'a>(group: &'a GroupCensus, image: &Image) -> BTreeMap<&'a str, u64> {
    let mut lags = BTreeMap::new();
    for (topic, partition, offset) in &group.offsets {
        let Some(found) = image.get(topic) else { continue };
        let Some(log) = found.partition(*partition) else { continue };
        let behind = log.published().high_watermark.saturating_sub(*offset).max(0) as u64;
        *lags.entry(&**topic).or_default() += behind;
    }
    lags
}
