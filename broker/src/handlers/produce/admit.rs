//! The door for batches: what is checked before one may be sequenced.

use bytes::Bytes;
use logmill_record::{Batch, Codec};
use logmill_wire::ErrorCode;

use super::refusal::Refusal;
use crate::topics::{Topic, Topics};

/// The first version whose clients may compress with zstd.
const ZSTD_FROM: i16 = 7;
/// The most bytes a compressed batch may unpack to when its keys must be looked at.
const UNPACK_BUDGET: usize = 64 * 1024 * 1024;

/// What a topic's configs say about batches.
#[derive(Clone, Debug)]
pub(super) struct TopicRules {
    max_message_bytes: usize,
    log_append_time: bool,
    keys_required: bool,
    /// How far a timestamp may be ahead of the clock, in ms.
    ahead_ms: i64,
}

impl Default for TopicRules {
    fn default() -> Self {
        Self {
            max_message_bytes: 1_048_588,
            log_append_time: false,
            keys_required: false,
            ahead_ms: 3_600_000,
        }
    }
}

impl TopicRules {
    pub(super) fn of(topics: &Topics, topic: &Topic) -> Self {
        let broker = &topics.defaults().configs;
        Self::read(|name| topic.configs.get(name).or_else(|| broker.get(name)).map(String::as_str))
    }

    fn read<'a>(config: impl Fn(&str) -> Option<&'a str>) -> Self {
        let default = Self::default();
        let number = |name: &str| config(name).and_then(|value| value.trim().parse::<i64>().ok());
        Self {
            max_message_bytes: number("max.message.bytes")
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.max_message_bytes),
            log_append_time: config("message.timestamp.type") == Some("LogAppendTime"),
            keys_required: config("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
            ahead_ms: number("message.timestamp.after.max.ms").unwrap_or(default.ahead_ms),
        }
    }
}

/// A batch that may be sequenced.
pub(super) struct Admitted {
    pub(super) batch: Batch,
    /// The time given to every record, -1 when they keep their producer's.
    pub(super) log_append_time: i64,
}

/// Checks one partition's bytes: exactly one good batch, by Kafka's rules and the topic's.
pub(super) fn admit(records: Bytes, version: i16, rules: &TopicRules, now: i64) -> Result<Admitted, Refusal> {
    if records.is_empty() {
        return Err(Refusal::new(
            ErrorCode::INVALID_RECORD,
            "a produce has exactly one batch for each partition",
        ));
    }
    let batch = Batch::validate(records).map_err(|error| Refusal::batch(&error))?;
    let header = *batch.header();
    if header.codec() == Ok(Codec::Zstd) && version < ZSTD_FROM {
        return Err(Refusal::new(
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            format!("zstd needs Produce version {ZSTD_FROM}, this is version {version}"),
        ));
    }
    if batch.size() > rules.max_message_bytes {
        return Err(Refusal::new(
            ErrorCode::MESSAGE_TOO_LARGE,
            format!("the batch has {} bytes, max.message.bytes is {}", batch.size(), rules.max_message_bytes),
        ));
    }
    if !rules.log_append_time && header.max_timestamp > now.saturating_add(rules.ahead_ms) {
        return Err(Refusal::new(
            ErrorCode::INVALID_TIMESTAMP,
            format!(
                "timestamp {} is more than {} ms ahead of the broker's clock",
                header.max_timestamp, rules.ahead_ms
            ),
        ));
    }
    if rules.keys_required {
        require_keys(&batch)?;
    }
    if rules.log_append_time {
        return Ok(Admitted { batch: batch.with_log_append_time(now), log_append_time: now });
    }
    Ok(Admitted { batch, log_append_time: -1 })
}

/// Compaction keeps the last record of each key, so a record without one has no place there.
fn require_keys(batch: &Batch) -> Result<(), Refusal> {
    let open = batch.open(UNPACK_BUDGET).map_err(|error| Refusal::batch(&error))?;
    let mut keyless = Vec::new();
    for (index, record) in (0..).zip(open.records()) {
        if record.map_err(|error| Refusal::batch(&error))?.key.is_none() {
            keyless.push((index, "Compacted topic cannot accept message without key"));
        }
    }
    if keyless.is_empty() { Ok(()) } else { Err(Refusal::records(keyless)) }
}

#[cfg(test)]
mod tests {
    use logmill_record::{BatchBuilder, BatchOptions, TimestampType};

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn batch(codec: Codec, keys: &[Option<&[u8]>]) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        for key in keys {
            builder.push(NOW, *key, Some(b"value"), &[]);
        }
        builder.build().into_bytes()
    }

    fn code(records: Bytes, version: i16, rules: &TopicRules) -> i16 {
        match admit(records, version, rules, NOW) {
            Ok(_) => 0,
            Err(refusal) => refusal.respond(0).error_code.0,
        }
    }

    #[test]
    fn one_good_batch_and_nothing_else() {
        let rules = TopicRules::default();
        let good = batch(Codec::None, &[None, Some(b"k")]);
        assert_eq!(code(good.clone(), 9, &rules), 0);
        assert_eq!(code(Bytes::new(), 9, &rules), ErrorCode::INVALID_RECORD.0);
        let two = [good.clone(), good.clone()].concat();
        assert_eq!(code(two.into(), 9, &rules), ErrorCode::INVALID_RECORD.0);
        let mut torn = good.to_vec();
        torn.pop();
        assert_eq!(code(torn.into(), 9, &rules), ErrorCode::CORRUPT_MESSAGE.0);
        let mut rotten = good.to_vec();
        *rotten.last_mut().unwrap() ^= 1;
        assert_eq!(code(rotten.into(), 9, &rules), ErrorCode::CORRUPT_MESSAGE.0);
        let mut old = good.to_vec();
        old[16] = 1;
        assert_eq!(code(old.into(), 9, &rules), ErrorCode::INVALID_RECORD.0);
    }

    #[test]
    fn zstd_needs_a_version_that_knows_it() {
        let rules = TopicRules::default();
        let zstd = batch(Codec::Zstd, &[None]);
        assert_eq!(code(zstd.clone(), 6, &rules), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.0);
        assert_eq!(code(zstd, 7, &rules), 0);
    }

    #[test]
    fn a_topics_configs_are_obeyed() {
        let with = |name: &'static str, value: &'static str| {
            TopicRules::read(|asked| (asked == name).then_some(value))
        };
        let good = batch(Codec::None, &[None]);
        assert_eq!(code(good.clone(), 9, &with("max.message.bytes", "60")), ErrorCode::MESSAGE_TOO_LARGE.0);
        let compacted = with("cleanup.policy", "compact,delete");
        assert_eq!(code(good.clone(), 9, &compacted), ErrorCode::INVALID_RECORD.0);
        let keyed = batch(Codec::Gzip, &[Some(b"a"), Some(b"b")]);
        assert_eq!(code(keyed, 9, &compacted), 0);
        let stamped =
            admit(good.clone(), 9, &with("message.timestamp.type", "LogAppendTime"), NOW + 5).ok().unwrap();
        assert_eq!(stamped.log_append_time, NOW + 5);
        assert_eq!(stamped.batch.header().timestamp_type(), TimestampType::LogAppendTime);
        let early = admit(good, 9, &TopicRules::default(), NOW - 4_000_000);
        assert_eq!(early.err().unwrap().respond(0).error_code, ErrorCode::INVALID_TIMESTAMP);
    }

    #[test]
    fn records_to_blame_are_named() {
        let rules = TopicRules { keys_required: true, ..TopicRules::default() };
        let mixed = batch(Codec::Snappy, &[Some(b"a"), None, Some(b"b"), None]);
        let refusal = admit(mixed, 9, &rules, NOW).err().unwrap().respond(3);
        let blamed: Vec<i32> = refusal.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(blamed, [1, 3]);
        assert_eq!(refusal.index, 3);
    }
}
