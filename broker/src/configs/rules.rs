//! What a topic's configs come to: typed, for the places that act by them.

use logmill_record::{Codec, NO_TIMESTAMP};
use logmill_storage::{Cleanup, Compaction, Durability, LogOptions, Retention};

use super::{BrokerConfigs, ConfigSet};

/// What a batch may unpack to at most, whatever is configured, in bytes: it is held in memory meanwhile.
const UNPACK_LIMIT: usize = 64 << 20;

/// What a topic's configs say about batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRules {
    /// The largest batch, in bytes, header included.
    pub max_message_bytes: usize,
    /// The size at which a segment is closed, which a batch cannot be larger than.
    pub segment_bytes: usize,
    /// Whether the broker's clock stamps the records.
    pub log_append_time: bool,
    /// How far a timestamp may be behind the broker's clock, in ms.
    pub behind_ms: i64,
    /// How far a timestamp may be ahead of the broker's clock, in ms.
    pub ahead_ms: i64,
    /// Whether every record needs a key, because the log is compacted.
    pub keys_required: bool,
    /// The codec on disk; `None` leaves every batch as its producer made it.
    pub codec: Option<Codec>,
    /// The level of that codec; `None` for its default.
    pub level: Option<i32>,
    /// The most bytes a batch may unpack to where its records must be looked at.
    pub unpack_bytes: usize,
}

impl TopicRules {
    /// The rules of a topic for which this is set.
    #[must_use]
    pub fn of(topic: &ConfigSet, broker: &BrokerConfigs) -> Self {
        let text = |name| broker.topic_value(topic, name).unwrap_or_default();
        let number = |name| text(name).trim().parse::<i64>().unwrap_or_default();
        let bytes = |name| usize::try_from(number(name)).unwrap_or(usize::MAX);
        let codec = Codec::from_name(text("compression.type"));
        let level = match codec {
            Some(Codec::Gzip) => Some(number("compression.gzip.level")).filter(|level| *level != -1),
            Some(Codec::Zstd) => Some(number("compression.zstd.level")),
            _ => None,
        };
        Self {
            max_message_bytes: bytes("max.message.bytes"),
            segment_bytes: log_options(topic, broker).segment_bytes as usize,
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            behind_ms: number("message.timestamp.before.max.ms"),
            ahead_ms: number("message.timestamp.after.max.ms"),
            keys_required: super::definition::words(text("cleanup.policy")).any(|word| word == "compact"),
            codec,
            level: level.and_then(|level| i32::try_from(level).ok()),
            unpack_bytes: bytes("max.decompressed.message.bytes").min(UNPACK_LIMIT),
        }
    }

    /// Whether a record's timestamp is too far from the clock.
    #[must_use]
    pub fn is_out_of_time(&self, timestamp: i64, now: i64) -> bool {
        timestamp != NO_TIMESTAMP
            && (timestamp < now.saturating_sub(self.behind_ms)
                || timestamp > now.saturating_add(self.ahead_ms))
    }
}

/// What the log of a topic for which this is set is opened with.
pub(crate) fn log_options(topic: &ConfigSet, broker: &BrokerConfigs) -> LogOptions {
    let number = |name| broker.topic_value(topic, name).and_then(|value| value.trim().parse::<i64>().ok());
    let size = |name, otherwise| number(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(otherwise);
    let default = LogOptions::default();
    let says = |wanted: &str| {
        let policy = broker.topic_value(topic, "cleanup.policy").unwrap_or_default();
        super::definition::words(policy).any(|word| word == wanted)
    };
    let ratio = broker.topic_value(topic, "min.cleanable.dirty.ratio");
    let rules = default.compaction;
    LogOptions {
        segment_bytes: size("internal.segment.bytes", size("segment.bytes", default.segment_bytes)),
        segment_ms: number("segment.ms").unwrap_or(default.segment_ms),
        segment_jitter_ms: number("segment.jitter.ms").unwrap_or(default.segment_jitter_ms),
        index_interval_bytes: size("index.interval.bytes", default.index_interval_bytes),
        index_max_bytes: size("segment.index.bytes", default.index_max_bytes),
        durability: match broker.topic_value(topic, "logmill.durability") {
            Some("page-cache") => Durability::PageCache,
            _ => Durability::Disk,
        },
        cleanup: Cleanup { delete: says("delete"), compact: says("compact") },
        retention: Retention {
            ms: number("retention.ms").filter(|ms| *ms >= 0),
            bytes: number("retention.bytes").and_then(|bytes| u64::try_from(bytes).ok()),
        },
        compaction: Compaction {
            min_dirty_ratio: ratio
                .and_then(|ratio| ratio.trim().parse().ok())
                .unwrap_or(rules.min_dirty_ratio),
            min_lag_ms: number("min.compaction.lag.ms").unwrap_or(rules.min_lag_ms),
            max_lag_ms: number("max.compaction.lag.ms").unwrap_or(rules.max_lag_ms),
            delete_retention_ms: number("delete.retention.ms").unwrap_or(rules.delete_retention_ms),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(configs: &[(&str, &str)]) -> ConfigSet {
        configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn without_anything_set_the_rules_are_kafkas_defaults() {
        let rules = TopicRules::of(&ConfigSet::new(), &BrokerConfigs::default());
        let expected = TopicRules {
            max_message_bytes: 1_048_588,
            segment_bytes: 1 << 30,
            log_append_time: false,
            behind_ms: i64::MAX,
            ahead_ms: 3_600_000,
            keys_required: false,
            codec: None,
            level: None,
            unpack_bytes: UNPACK_LIMIT,
        };
        assert_eq!(rules, expected);
        let week = Retention { ms: Some(7 * 24 * 3_600_000), bytes: None };
        let expected = LogOptions { retention: week, ..LogOptions::default() };
        assert_eq!(log_options(&ConfigSet::new(), &BrokerConfigs::default()), expected);
    }

    #[test]
    fn levels_belong_to_the_codec_that_is_set() {
        let rules = |configs: &[(&str, &str)]| {
            let rules = TopicRules::of(&set(configs), &BrokerConfigs::default());
            (rules.codec, rules.level)
        };
        assert_eq!(rules(&[("compression.type", "gzip")]), (Some(Codec::Gzip), None));
        let gzip = [("compression.type", "gzip"), ("compression.gzip.level", "9")];
        assert_eq!(rules(&gzip), (Some(Codec::Gzip), Some(9)));
        let zstd = [("compression.type", "zstd"), ("compression.zstd.level", "-5")];
        assert_eq!(rules(&zstd), (Some(Codec::Zstd), Some(-5)));
        let lz4 = [("compression.type", "lz4"), ("compression.gzip.level", "9")];
        assert_eq!(rules(&lz4), (Some(Codec::Lz4), None));
        assert_eq!(rules(&[("compression.type", "uncompressed")]), (Some(Codec::None), None));
    }

    #[test]
    fn logs_are_opened_with_what_is_set_nearest() {
        let mut broker = BrokerConfigs::new([("log.segment.bytes", "3000000".to_owned())]);
        broker.cluster = set(&[("log.roll.ms", "77"), ("logmill.durability", "page-cache")]);
        let options = log_options(&set(&[("index.interval.bytes", "10")]), &broker);
        assert_eq!((options.segment_bytes, options.segment_ms), (3_000_000, 77));
        assert_eq!((options.index_interval_bytes, options.durability), (10, Durability::PageCache));
        let compacted = set(&[
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", "9"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("min.compaction.lag.ms", "1"),
            ("max.compaction.lag.ms", "2"),
            ("delete.retention.ms", "3"),
            ("segment.jitter.ms", "4"),
        ]);
        let options = log_options(&compacted, &broker);
        assert_eq!(options.cleanup, Cleanup { delete: true, compact: true });
        assert_eq!(options.retention, Retention { ms: None, bytes: Some(9) });
        let expected =
            Compaction { min_dirty_ratio: 0.25, min_lag_ms: 1, max_lag_ms: 2, delete_retention_ms: 3 };
        assert_eq!((options.compaction, options.segment_jitter_ms), (expected, 4));
        let small = log_options(&set(&[("internal.segment.bytes", "100")]), &broker);
        assert_eq!(small.segment_bytes, 100);
    }
}
