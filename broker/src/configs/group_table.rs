//! Every config of a group: Kafka 4.4's. Those of consumer groups act; there are no share and no streams
//! groups here, so theirs are kept and shown like every name that Kafka lists, and say that they do nothing.

use super::definition::Accepts::{Any, AtLeast, OneOf};
use super::definition::Role::{Acts, Inert};
use super::definition::{ConfigDefinition, topic};
use super::kind::ConfigType::{Boolean, Int, List, String as Text};

/// In the order of their names. What stands in brackets behind the role is the broker's config that gives a
/// group its value when it has none of its own.
#[rustfmt::skip]
pub const GROUP_CONFIGS: &[ConfigDefinition] = &[
    topic("consumer.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Acts, &["group.consumer.assignment.interval.ms"], "Least time between two assignments; changes that come in between wait for the first heartbeat after it."),
    topic("consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Acts, &["group.consumer.heartbeat.interval.ms"], "Heartbeat interval told to members."),
    topic("consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), Acts, &["group.consumer.session.timeout.ms"], "Session timeout of members."),
    topic("errors.deadletterqueue.copy.record.enable", Boolean, Some("false"), Any, Inert, &[], "Whether a dead letter has the whole record."),
    topic("errors.deadletterqueue.topic.name", Text, Some(""), Any, Inert, &[], "The topic for dead letters."),
    topic("share.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Inert, &["group.share.assignment.interval.ms"], "Least time between two assignments."),
    topic("share.auto.offset.reset", Text, Some("latest"), Any, Inert, &[], "Where a share group begins without an offset."),
    topic("share.delivery.count.limit", Int, Some("5"), AtLeast(2), Inert, &["group.share.delivery.count.limit"], "How often a record is delivered at most."),
    topic("share.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Inert, &["group.share.heartbeat.interval.ms"], "Heartbeat interval told to members."),
    topic("share.isolation.level", Text, Some("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), Inert, &[], "Whether records of open and aborted transactions are delivered."),
    topic("share.partition.max.record.locks", Int, Some("2000"), AtLeast(100), Inert, &["group.share.partition.max.record.locks"], "How many records of a partition may be locked."),
    topic("share.record.lock.duration.ms", Int, Some("30000"), AtLeast(1000), Inert, &["group.share.record.lock.duration.ms"], "How long a record stays locked."),
    topic("share.renew.acknowledge.enable", Boolean, Some("true"), Any, Inert, &[], "Whether a lock can be renewed."),
    topic("share.session.timeout.ms", Int, Some("45000"), AtLeast(1), Inert, &["group.share.session.timeout.ms"], "Session timeout of members."),
    topic("streams.assignment.interval.ms", Int, Some("1000"), AtLeast(0), Inert, &["group.streams.assignment.interval.ms"], "Least time between two assignments."),
    topic("streams.assignor.name", Text, None, Any, Inert, &[], "Which assignor shares out the tasks."),
    topic("streams.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1), Inert, &["group.streams.heartbeat.interval.ms"], "Heartbeat interval told to members."),
    topic("streams.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0), Inert, &["group.streams.initial.rebalance.delay.ms"], "How long an empty group waits for more members."),
    topic("streams.num.standby.replicas", Int, Some("0"), AtLeast(0), Inert, &["group.streams.num.standby.replicas"], "Standby replicas of each task."),
    topic("streams.rack.aware.assignment.tags", List, Some(""), Any, Inert, &["group.streams.rack.aware.assignment.tags"], "Client tags by which standby replicas are spread."),
    topic("streams.session.timeout.ms", Int, Some("45000"), AtLeast(1), Inert, &["group.streams.session.timeout.ms"], "Session timeout of members."),
];
