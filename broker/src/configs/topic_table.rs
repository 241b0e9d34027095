//! Every topic config: Kafka 4.4's, and one of our own.

use super::definition::Accepts::{
    Any, AtLeast, Between, GzipLevel as GZIP_LEVEL, OneOf, Replicas as REPLICAS,
};
use super::definition::Role::{Acts, Hidden, Inert};
use super::definition::{Accepts, CODECS, ConfigDefinition, topic};
use super::kind::ConfigType::{Boolean, Double, Int, List, Long, String as Text};

const FRACTION: Accepts = Accepts::Fraction;

/// In the order of their names. What stands in brackets behind the role are the broker's configs that give
/// a topic its value when it has none of its own, the first that is set.
#[rustfmt::skip]
pub const TOPIC_CONFIGS: &[ConfigDefinition] = &[
    topic("cleanup.policy", List, Some("delete"), OneOf(&["compact", "delete"]), Acts, &["log.cleanup.policy"], "What happens to old segments: delete, compact, both, or nothing."),
    topic("compression.gzip.level", Int, Some("-1"), GZIP_LEVEL, Acts, &["compression.gzip.level"], "Level for recompression with gzip."),
    topic("compression.lz4.level", Int, Some("9"), Between(1, 17), Inert, &["compression.lz4.level"], "Level for recompression with lz4, which has one level here."),
    topic("compression.type", Text, Some("producer"), OneOf(CODECS), Acts, &["compression.type"], "The codec on disk; producer keeps what the producer chose."),
    topic("compression.zstd.level", Int, Some("3"), Between(-131_072, 22), Acts, &["compression.zstd.level"], "Level for recompression with zstd."),
    topic("delete.retention.ms", Long, Some("86400000"), AtLeast(0), Acts, &["log.cleaner.delete.retention.ms"], "How long tombstones stay after compaction."),
    topic("errors.deadletterqueue.group.enable", Boolean, Some("false"), Any, Inert, &[], "Whether share groups may use the topic for dead letters."),
    topic("file.delete.delay.ms", Long, Some("60000"), AtLeast(0), Inert, &["log.segment.delete.delay.ms"], "How long a deleted segment's file stays; whoever reads it keeps it anyway."),
    topic("flush.messages", Long, Some("9223372036854775807"), AtLeast(1), Inert, &["log.flush.interval.messages"], "Records after which a log is flushed; acknowledged ones are on the device already."),
    topic("flush.ms", Long, Some("9223372036854775807"), AtLeast(0), Inert, &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"], "Time after which a log is flushed; acknowledged records are on the device already."),
    topic("follower.replication.throttled.replicas", List, Some(""), REPLICAS, Inert, &[], "Replicas whose followers are throttled, as partition:broker, or * for all."),
    topic("index.interval.bytes", Int, Some("4096"), AtLeast(0), Acts, &["log.index.interval.bytes"], "Bytes of log between two entries of an index."),
    topic("internal.segment.bytes", Int, None, Any, Hidden, &[], "The size at which a segment is closed, without a lower bound; for tests."),
    topic("leader.replication.throttled.replicas", List, Some(""), REPLICAS, Inert, &[], "Replicas whose leaders are throttled, as partition:broker, or * for all."),
    topic("local.retention.bytes", Long, Some("-2"), AtLeast(-2), Inert, &["log.local.retention.bytes"], "How many bytes stay here when there is tiered storage."),
    topic("local.retention.ms", Long, Some("-2"), AtLeast(-2), Inert, &["log.local.retention.ms"], "How long records stay here when there is tiered storage."),
    topic("logmill.durability", Text, Some("disk"), OneOf(&["disk", "page-cache"]), Acts, &["logmill.durability"], "When a produce is acknowledged: after the bytes are on the device, or in the page cache as with Apache Kafka."),
    topic("max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1), Acts, &["log.cleaner.max.compaction.lag.ms"], "The longest a record may stay uncompacted."),
    topic("max.decompressed.message.bytes", Int, Some("2147483639"), Between(1, 2_147_483_639), Acts, &["max.decompressed.message.bytes"], "The most bytes a batch may unpack to; never more than 64 MiB."),
    topic("max.message.bytes", Int, Some("1048588"), AtLeast(0), Acts, &["message.max.bytes"], "The largest record batch."),
    topic("message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0), Acts, &["log.message.timestamp.after.max.ms"], "How far a record's timestamp may be ahead of the broker's clock."),
    topic("message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0), Acts, &["log.message.timestamp.before.max.ms"], "How far a record's timestamp may be behind the broker's clock."),
    topic("message.timestamp.type", Text, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Acts, &["log.message.timestamp.type"], "Whose clock stamps the records."),
    topic("min.cleanable.dirty.ratio", Double, Some("0.5"), FRACTION, Acts, &["log.cleaner.min.cleanable.ratio"], "The share of uncompacted bytes from which on the log is compacted."),
    topic("min.compaction.lag.ms", Long, Some("0"), AtLeast(0), Acts, &["log.cleaner.min.compaction.lag.ms"], "The shortest time a record stays uncompacted."),
    topic("min.insync.replicas", Int, Some("1"), AtLeast(1), Inert, &["min.insync.replicas"], "Replicas that must be up to date for acks=all; the one there is always is."),
    topic("preallocate", Boolean, Some("false"), Any, Inert, &["log.preallocate"], "Whether segments get their full size when they are made."),
    topic("remote.copy.lag.bytes", Long, Some("-1"), AtLeast(-1), Inert, &["log.remote.copy.lag.bytes"], "How many bytes behind the end tiered storage copies."),
    topic("remote.copy.lag.ms", Long, Some("0"), AtLeast(-1), Inert, &["log.remote.copy.lag.ms"], "How long tiered storage waits before it copies a segment."),
    topic("remote.log.copy.disable", Boolean, Some("false"), Any, Inert, &[], "Whether tiered storage stops copying."),
    topic("remote.log.delete.on.disable", Boolean, Some("false"), Any, Inert, &[], "Whether records in tiered storage go when it is switched off."),
    topic("remote.storage.enable", Boolean, Some("false"), Any, Inert, &[], "Whether the topic is in tiered storage; there is none, so it is not."),
    topic("retention.bytes", Long, Some("-1"), Any, Acts, &["log.retention.bytes"], "How many bytes a partition keeps; -1 for all."),
    topic("retention.ms", Long, Some("604800000"), AtLeast(-1), Acts, &["log.retention.ms", "log.retention.minutes", "log.retention.hours"], "How long records are kept; -1 for ever."),
    topic("segment.bytes", Int, Some("1073741824"), AtLeast(1_048_576), Acts, &["log.segment.bytes"], "The size at which a segment is closed."),
    topic("segment.index.bytes", Int, Some("10485760"), AtLeast(4), Acts, &["log.index.size.max.bytes"], "The size at which a segment's index is full and the segment closed."),
    topic("segment.jitter.ms", Long, Some("0"), AtLeast(0), Acts, &["log.roll.jitter.ms", "log.roll.jitter.hours"], "Spreads the closing of segments by age."),
    topic("segment.ms", Long, Some("604800000"), AtLeast(1), Acts, &["log.roll.ms", "log.roll.hours"], "The age at which a segment is closed."),
    topic("unclean.leader.election.enable", Boolean, Some("false"), Any, Inert, &["unclean.leader.election.enable"], "Whether a replica that is behind may lead; there is only one."),
];
