//! The door for batches: what is checked before one may be sequenced.
//!
//! Every record is looked at once, also inside a compressed batch: what cannot be decoded would be met by
//! every reader of the partition, and none could get past it. From here on the batch is bytes.

use bytes::Bytes;
use logmill_record::{Batch, Codec, TimestampType};
use logmill_wire::ErrorCode;

use super::refusal::Refusal;
use crate::blocking::blocking;
use crate::topics::{Topic, Topics};

/// The first version whose clients may compress with zstd.
const ZSTD_FROM: i16 = 7;
/// The most bytes a compressed batch may unpack to.
const UNPACK_BUDGET: usize = 64 * 1024 * 1024;
/// Unpacking a larger batch takes so long that its worker's other tasks go elsewhere first.
const UNPACK_AT_ONCE: usize = 64 * 1024;
/// The timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;

/// What a topic's configs say about batches.
#[derive(Clone, Debug)]
pub(super) struct TopicRules {
    max_message_bytes: usize,
    segment_bytes: usize,
    log_append_time: bool,
    keys_required: bool,
    /// How far a timestamp may be behind the clock, in ms.
    behind_ms: i64,
    /// How far a timestamp may be ahead of the clock, in ms.
    ahead_ms: i64,
}

impl Default for TopicRules {
    fn default() -> Self {
        Self {
            max_message_bytes: 1_048_588,
            segment_bytes: 1 << 30,
            log_append_time: false,
            keys_required: false,
            behind_ms: i64::MAX,
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
        let bytes = |name: &str| number(name).and_then(|bytes| usize::try_from(bytes).ok());
        Self {
            max_message_bytes: bytes("max.message.bytes").unwrap_or(default.max_message_bytes),
            segment_bytes: bytes("segment.bytes").unwrap_or(default.segment_bytes),
            log_append_time: config("message.timestamp.type") == Some("LogAppendTime"),
            keys_required: config("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
            behind_ms: number("message.timestamp.before.max.ms").unwrap_or(default.behind_ms),
            ahead_ms: number("message.timestamp.after.max.ms").unwrap_or(default.ahead_ms),
        }
    }

    /// Whether a record's timestamp is too far from the clock.
    fn is_out_of_time(&self, timestamp: i64, now: i64) -> bool {
        timestamp != NO_TIMESTAMP
            && (timestamp < now.saturating_sub(self.behind_ms)
                || timestamp > now.saturating_add(self.ahead_ms))
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
    let compressed = header.codec() != Ok(Codec::None);
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
    if batch.size() > rules.segment_bytes {
        return Err(Refusal::new(
            ErrorCode::RECORD_LIST_TOO_LARGE,
            format!("the batch has {} bytes, segment.bytes is {}", batch.size(), rules.segment_bytes),
        ));
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        let why = "a producer does not stamp its records with the time of the log";
        return Err(Refusal::new(ErrorCode::INVALID_TIMESTAMP, why));
    }
    let largest = if compressed && batch.size() > UNPACK_AT_ONCE {
        blocking(|| check_records(&batch, rules, now))?
    } else {
        check_records(&batch, rules, now)?
    };
    if rules.log_append_time {
        return Ok(Admitted { batch: batch.with_log_append_time(now), log_append_time: now });
    }
    // The time index trusts the header.
    let batch = if header.max_timestamp == largest { batch } else { batch.with_max_timestamp(largest) };
    Ok(Admitted { batch, log_append_time: -1 })
}

/// Decodes every record, and checks of each its offset, its time, and its key where the topic is compacted (which keeps
/// the last record of each key, so one without has no place there). Gives the largest timestamp.
fn check_records(batch: &Batch, rules: &TopicRules, now: i64) -> Result<i64, Refusal> {
    let open = batch.open(UNPACK_BUDGET).map_err(|error| Refusal::batch(&error))?;
    let mut largest = NO_TIMESTAMP;
    let mut refused = Vec::new();
    let mut code = ErrorCode::INVALID_RECORD;
    for (index, record) in (0..).zip(open.records()) {
        let record = record.map_err(|error| Refusal::batch(&error))?;
        if record.header_count() > 0 {
            record
                .headers()
                .try_for_each(|header| header.map(drop))
                .map_err(|error| Refusal::batch(&error))?;
        }
        largest = largest.max(record.timestamp);
        if rules.keys_required && record.key.is_none() {
            refused.push((index, "Compacted topic cannot accept message without key".into()));
        } else if !rules.log_append_time && rules.is_out_of_time(record.timestamp, now) {
            code = ErrorCode::INVALID_TIMESTAMP;
            let (behind, ahead) = (rules.behind_ms, rules.ahead_ms);
            let why = format!(
                "timestamp {} is more than {behind} ms behind the broker's clock or more than {ahead} ms ahead of it",
                record.timestamp
            );
            refused.push((index, why.into()));
        } else if record.offset_delta != index {
            let why = format!("offset delta {} where {index} follows", record.offset_delta);
            refused.push((index, why.into()));
        }
    }
    if refused.is_empty() { Ok(largest) } else { Err(Refusal::records(code, refused)) }
}

#[cfg(test)]
mod tests {
    use logmill_record::{BatchBuilder, BatchOptions};

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
        let stamped = admit(good, 9, &with("message.timestamp.type", "LogAppendTime"), NOW + 5).ok().unwrap();
        assert_eq!(stamped.log_append_time, NOW + 5);
        assert_eq!(stamped.batch.header().timestamp_type(), TimestampType::LogAppendTime);
    }

    #[test]
    fn timestamps_have_bounds_on_both_sides() {
        let rules = |before: &'static str, after: &'static str| {
            TopicRules::read(|asked| match asked {
                "message.timestamp.before.max.ms" => Some(before),
                "message.timestamp.after.max.ms" => Some(after),
                _ => None,
            })
        };
        for codec in [Codec::None, Codec::Gzip] {
            let good = batch(codec, &[None, None]);
            let refused = |rules: &TopicRules, now| {
                let refusal = admit(good.clone(), 9, rules, now).err()?.respond(0);
                Some((refusal.error_code, refusal.record_errors.len()))
            };
            let early = refused(&TopicRules::default(), NOW - 4_000_000);
            assert_eq!(early, Some((ErrorCode::INVALID_TIMESTAMP, 2)));
            assert_eq!(refused(&rules("1000", "1000"), NOW + 1000), None);
            let late = refused(&rules("1000", "1000"), NOW + 1001);
            assert_eq!(late, Some((ErrorCode::INVALID_TIMESTAMP, 2)));
            assert_eq!(
                refused(&TopicRules::default(), i64::MAX),
                None,
                "by default records may be as old as they are"
            );
        }
        let mut none = BatchBuilder::new(BatchOptions::default());
        none.push(-1, None, Some(b"value"), &[]);
        assert_eq!(
            code(none.build().into_bytes(), 9, &rules("1000", "1000")),
            0,
            "no timestamp is none that is out of bounds"
        );
        let stamped = Batch::trusted(good_batch()).unwrap().with_log_append_time(NOW).into_bytes();
        assert_eq!(code(stamped, 9, &TopicRules::default()), ErrorCode::INVALID_TIMESTAMP.0);
    }

    fn good_batch() -> Bytes {
        batch(Codec::None, &[Some(b"a"), Some(b"b")])
    }

    /// A body that is not what the header promises, with a checksum that is right.
    fn with_body(original: &Bytes, body: &[u8]) -> Bytes {
        let mut bytes = original[..61].to_vec();
        bytes.extend_from_slice(body);
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let timestamp = Batch::trusted(bytes.into()).unwrap();
        let largest = timestamp.header().max_timestamp;
        timestamp.with_max_timestamp(largest).into_bytes()
    }

    #[test]
    fn what_no_reader_could_decode_is_refused() {
        let rules = TopicRules::default();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let good = batch(codec, &[Some(b"a"), Some(b"b")]);
            assert_eq!(code(good.clone(), 9, &rules), 0, "{codec}");
            let garbage = with_body(&good, b"nothing that could be a record of any kind");
            assert_eq!(code(garbage, 9, &rules), ErrorCode::INVALID_RECORD.0, "{codec}");
        }
        let good = good_batch();
        let mut longer = good[61..].to_vec();
        longer.push(0);
        assert_eq!(
            code(with_body(&good, &longer), 9, &rules),
            ErrorCode::INVALID_RECORD.0,
            "bytes behind the last record"
        );
        let record = (good.len() - 61) / 2;
        let twice = [&good[61..61 + record], &good[61..61 + record]].concat();
        let refusal = admit(with_body(&good, &twice), 9, &rules, NOW).err().unwrap().respond(0);
        assert_eq!(
            (refusal.error_code, refusal.record_errors[0].batch_index),
            (ErrorCode::INVALID_RECORD, 1)
        );
    }

    #[test]
    fn the_largest_timestamp_is_that_of_a_record() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for ago in [5, 1, 3] {
            builder.push(NOW - ago, None, Some(b"value"), &[]);
        }
        let right = builder.build();
        let wrong = right.clone().with_max_timestamp(NOW + 99);
        let admitted = admit(wrong.into_bytes(), 9, &TopicRules::default(), NOW).ok().unwrap();
        assert_eq!(admitted.batch.bytes(), right.bytes());
        assert_eq!(admitted.batch.header().max_timestamp, NOW - 1);
    }

    #[test]
    fn a_batch_fits_a_segment() {
        let rules = TopicRules::read(|asked| (asked == "segment.bytes").then_some("60"));
        assert_eq!(code(good_batch(), 9, &rules), ErrorCode::RECORD_LIST_TOO_LARGE.0);
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
