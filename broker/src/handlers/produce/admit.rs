//! The door for batches: what is checked before one may be sequenced.

use bytes::Bytes;
use logmill_record::{Batch, Codec, NO_TIMESTAMP, OpenBatch};
use logmill_wire::ErrorCode;

use super::refusal::Refusal;
use crate::configs::TopicRules;

/// The first version whose clients may compress with zstd.
const ZSTD_FROM: i16 = 7;

/// A batch that may be sequenced.
pub(super) struct Admitted {
    pub(super) batch: Batch,
    /// The time given to every record, -1 when they keep their producer's.
    pub(super) log_append_time: i64,
}

/// Checks one partition's bytes: exactly one good batch, by Kafka's rules and the topic's. What the topic
/// wants on disk in another codec is packed again.
pub(super) fn admit(records: Bytes, version: i16, rules: &TopicRules, now: i64) -> Result<Admitted, Refusal> {
    if records.is_empty() {
        return Err(Refusal::new(
            ErrorCode::INVALID_RECORD,
            "a produce has exactly one batch for each partition",
        ));
    }
    let mut batch = Batch::validate(records).map_err(|error| Refusal::batch(&error))?;
    let codec = batch.header().codec().map_err(|error| Refusal::batch(&error))?;
    if codec == Codec::Zstd && version < ZSTD_FROM {
        return Err(Refusal::new(
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            format!("zstd needs Produce version {ZSTD_FROM}, this is version {version}"),
        ));
    }
    check_size(&batch, rules)?;
    let checks_times = !rules.log_append_time
        && (rules.behind_ms != i64::MAX || batch.header().max_timestamp > now.saturating_add(rules.ahead_ms));
    let repack = rules.codec.filter(|wanted| *wanted != codec);
    if checks_times || rules.keys_required || repack.is_some() {
        let open = batch.open(rules.unpack_bytes).map_err(|error| Refusal::batch(&error))?;
        check_records(&open, rules, checks_times.then_some(now))?;
        if let Some(wanted) = repack {
            batch = open.repack(wanted, rules.level).map_err(|error| Refusal::batch(&error))?;
            check_size(&batch, rules)?;
        }
    }
    if rules.log_append_time {
        return Ok(Admitted { batch: batch.with_log_append_time(now), log_append_time: now });
    }
    Ok(Admitted { batch, log_append_time: -1 })
}

fn check_size(batch: &Batch, rules: &TopicRules) -> Result<(), Refusal> {
    if batch.size() <= rules.max_message_bytes {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::MESSAGE_TOO_LARGE,
        format!("the batch has {} bytes, max.message.bytes is {}", batch.size(), rules.max_message_bytes),
    ))
}

/// Walks the records: each must be readable, and the ones that the topic does not take are named.
fn check_records(open: &OpenBatch, rules: &TopicRules, now: Option<i64>) -> Result<(), Refusal> {
    let mut keyless = Vec::new();
    let mut untimely = Vec::new();
    for (index, record) in (0..).zip(open.records()) {
        let record = record.map_err(|error| Refusal::batch(&error))?;
        for header in record.headers() {
            header.map_err(|error| Refusal::batch(&error))?;
        }
        // Compaction keeps the last record of each key, so a record without one has no place there.
        if rules.keys_required && record.key.is_none() {
            keyless.push((index, "Compacted topic cannot accept message without key"));
        }
        if let Some(now) = now.filter(|_| record.timestamp != NO_TIMESTAMP) {
            let (earliest, latest) =
                (now.saturating_sub(rules.behind_ms), now.saturating_add(rules.ahead_ms));
            if !(earliest..=latest).contains(&record.timestamp) {
                untimely.push((
                    index,
                    "Timestamp is out of the range that message.timestamp.before.max.ms and \
                     message.timestamp.after.max.ms allow",
                ));
            }
        }
    }
    match (keyless.is_empty(), untimely.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(Refusal::records(ErrorCode::INVALID_RECORD, keyless)),
        (true, false) => Err(Refusal::records(ErrorCode::INVALID_TIMESTAMP, untimely)),
    }
}

#[cfg(test)]
mod tests {
    use logmill_record::{BatchBuilder, BatchOptions, TimestampType};

    use super::*;
    use crate::configs::BrokerConfigs;

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
        let rules = with(&[]);
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
        let rules = with(&[]);
        let zstd = batch(Codec::Zstd, &[None]);
        assert_eq!(code(zstd.clone(), 6, &rules), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE.0);
        assert_eq!(code(zstd, 7, &rules), 0);
    }

    fn with(configs: &[(&str, &str)]) -> TopicRules {
        let set = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicRules::of(&set, &BrokerConfigs::default())
    }

    #[test]
    fn a_topics_configs_are_obeyed() {
        let good = batch(Codec::None, &[None]);
        assert_eq!(
            code(good.clone(), 9, &with(&[("max.message.bytes", "60")])),
            ErrorCode::MESSAGE_TOO_LARGE.0
        );
        let compacted = with(&[("cleanup.policy", "compact,delete")]);
        assert_eq!(code(good.clone(), 9, &compacted), ErrorCode::INVALID_RECORD.0);
        let keyed = batch(Codec::Gzip, &[Some(b"a"), Some(b"b")]);
        assert_eq!(code(keyed, 9, &compacted), 0);
        let stamped = admit(good, 9, &with(&[("message.timestamp.type", "LogAppendTime")]), NOW + 5);
        let stamped = stamped.ok().unwrap();
        assert_eq!(stamped.log_append_time, NOW + 5);
        assert_eq!(stamped.batch.header().timestamp_type(), TimestampType::LogAppendTime);
    }

    #[test]
    fn timestamps_stay_within_the_topics_bounds_of_the_clock() {
        let bounded =
            with(&[("message.timestamp.before.max.ms", "1000"), ("message.timestamp.after.max.ms", "100")]);
        let at = |times: &[i64]| {
            let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Lz4, ..Default::default() });
            for time in times {
                builder.push(*time, None, Some(b"value"), &[]);
            }
            builder.build().into_bytes()
        };
        assert_eq!(code(at(&[NOW - 1000, NOW, NOW + 100]), 9, &bounded), 0);
        for (times, blamed) in [([NOW - 1001, NOW], 0), ([NOW, NOW + 101], 1)] {
            let refusal = admit(at(&times), 9, &bounded, NOW).err().unwrap().respond(0);
            assert_eq!(refusal.error_code, ErrorCode::INVALID_TIMESTAMP);
            assert_eq!(refusal.record_errors[0].batch_index, blamed);
        }
        assert_eq!(code(at(&[NO_TIMESTAMP]), 9, &bounded), 0, "a record without a time is not judged by it");
        let stamped = with(&[("message.timestamp.type", "LogAppendTime")]);
        assert_eq!(code(at(&[NOW + 100_000_000]), 9, &stamped), 0);
        assert_eq!(code(at(&[NOW + 3_600_001]), 9, &with(&[])), ErrorCode::INVALID_TIMESTAMP.0);
        assert_eq!(code(at(&[0]), 9, &with(&[])), 0);
    }

    #[test]
    fn batches_are_packed_again_where_the_topic_has_a_codec() {
        for wanted in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
            let rules = with(&[("compression.type", wanted)]);
            for codec in Codec::ALL {
                let produced = batch(codec, &[Some(b"a"), None]);
                let before = Batch::validate(produced.clone()).unwrap();
                let after = admit(produced, 9, &rules, NOW).ok().unwrap().batch;
                assert_eq!(after.header().codec().unwrap(), Codec::from_name(wanted).unwrap());
                assert_eq!(after.records(10_000).unwrap(), before.records(10_000).unwrap());
                if codec == after.header().codec().unwrap() {
                    assert_eq!(after.bytes(), before.bytes(), "left as it is");
                }
                Batch::validate(after.into_bytes()).unwrap();
            }
        }
        let stamped = with(&[("compression.type", "zstd"), ("message.timestamp.type", "LogAppendTime")]);
        let after = admit(batch(Codec::None, &[None]), 9, &stamped, NOW + 9).ok().unwrap().batch;
        assert_eq!(after.records(1000).unwrap()[0].timestamp, NOW + 9);
    }

    #[test]
    fn a_bomb_costs_its_sender_the_produce_and_nobody_memory() {
        let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Zstd, ..Default::default() });
        builder.push(NOW, None, Some(&vec![0; 5 << 20]), &[]);
        let bomb = builder.build().into_bytes();
        assert!(bomb.len() < 2000);
        let tight = with(&[("compression.type", "lz4"), ("max.decompressed.message.bytes", "1000000")]);
        assert_eq!(code(bomb.clone(), 9, &tight), ErrorCode::MESSAGE_TOO_LARGE.0);
        let unpacked = with(&[("compression.type", "uncompressed")]);
        assert_eq!(code(bomb.clone(), 9, &unpacked), ErrorCode::MESSAGE_TOO_LARGE.0, "too large afterwards");
        assert_eq!(code(bomb, 9, &with(&[])), 0, "nobody has to look inside");
    }

    #[test]
    fn records_that_cannot_be_read_are_not_packed_again() {
        let good = Batch::validate(batch(Codec::None, &[Some(b"k")])).unwrap();
        // The record's length is cut by one and the checksum made to fit.
        let mut bytes = good.bytes().to_vec();
        bytes[logmill_record::BATCH_HEADER_LEN] -= 2;
        let bytes = Batch::with_log_append_time(Batch::trusted(bytes.into()).unwrap(), NOW).into_bytes();
        assert_eq!(code(bytes.clone(), 9, &with(&[])), 0, "its bytes are the client's affair");
        let packed = with(&[("compression.type", "gzip")]);
        assert_eq!(code(bytes, 9, &packed), ErrorCode::INVALID_RECORD.0);
    }

    #[test]
    fn records_to_blame_are_named() {
        let rules = with(&[("cleanup.policy", "compact")]);
        let mixed = batch(Codec::Snappy, &[Some(b"a"), None, Some(b"b"), None]);
        let refusal = admit(mixed, 9, &rules, NOW).err().unwrap().respond(3);
        let blamed: Vec<i32> = refusal.record_errors.iter().map(|error| error.batch_index).collect();
        assert_eq!(blamed, [1, 3]);
        assert_eq!(refusal.index, 3);
    }
}
