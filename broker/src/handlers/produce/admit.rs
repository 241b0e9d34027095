//! The door for batches: what is checked before one may be sequenced.
//!
//! Every record is looked at once, also inside a compressed batch: what cannot be decoded would be met by
//! every reader of the partition, and none could get past it. From here on the batch is bytes.

use bytes::Bytes;
use logmill_record::{Batch, Codec, NO_TIMESTAMP, OpenBatch, Survey, TimestampType};
use logmill_wire::ErrorCode;

use super::refusal::Refusal;
use crate::blocking::blocking;
use crate::configs::TopicRules;

/// The first version whose clients may compress with zstd.
const ZSTD_FROM: i16 = 7;
/// Unpacking a larger batch takes so long that its worker's other tasks go elsewhere first.
const UNPACK_AT_ONCE: usize = 64 * 1024;

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
    let batch = Batch::validate(records).map_err(|error| Refusal::batch(&error))?;
    let header = *batch.header();
    if header.base_offset != 0 {
        let why = format!("a producer numbers its records from 0, not from {}", header.base_offset);
        return Err(Refusal::new(ErrorCode::INVALID_RECORD, why));
    }
    let codec = header.codec().map_err(|error| Refusal::batch(&error))?;
    if codec == Codec::Zstd && version < ZSTD_FROM {
        return Err(Refusal::new(
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            format!("zstd needs Produce version {ZSTD_FROM}, this is version {version}"),
        ));
    }
    check_size(&batch, rules)?;
    if header.timestamp_type() == TimestampType::LogAppendTime {
        let why = "a producer does not stamp its records with the time of the log";
        return Err(Refusal::new(ErrorCode::INVALID_TIMESTAMP, why));
    }
    let repack = rules.codec.filter(|wanted| *wanted != codec);
    let takes_long = repack.is_some() || codec.is_compressed() && batch.size() > UNPACK_AT_ONCE;
    let look_inside = || {
        let open = batch.open(rules.unpack_bytes).map_err(|error| Refusal::batch(&error))?;
        let largest = check_records(&open, rules, now)?;
        let repacked = repack.map(|wanted| open.repack(wanted, rules.level)).transpose();
        Ok((largest, repacked.map_err(|error| Refusal::batch(&error))?))
    };
    let (largest, repacked) = if takes_long { blocking(look_inside) } else { look_inside() }?;
    let batch = match repacked {
        Some(repacked) => {
            check_size(&repacked, rules)?;
            repacked
        }
        None => batch,
    };
    if rules.log_append_time {
        return Ok(Admitted { batch: batch.with_log_append_time(now), log_append_time: now });
    }
    // The time index trusts the header.
    let batch = if header.max_timestamp == largest { batch } else { batch.with_max_timestamp(largest) };
    Ok(Admitted { batch, log_append_time: -1 })
}

fn check_size(batch: &Batch, rules: &TopicRules) -> Result<(), Refusal> {
    let too_large = |code, limit: &str, bytes: usize| {
        Err(Refusal::new(code, format!("the batch has {} bytes, {limit} is {bytes}", batch.size())))
    };
    if batch.size() > rules.max_message_bytes {
        return too_large(ErrorCode::MESSAGE_TOO_LARGE, "max.message.bytes", rules.max_message_bytes);
    }
    if batch.size() > rules.segment_bytes {
        return too_large(ErrorCode::RECORD_LIST_TOO_LARGE, "segment.bytes", rules.segment_bytes);
    }
    Ok(())
}

/// Checks that every record can be decoded, and of each its offset, its time, and its key where the topic is compacted
/// (which keeps the last record of each key, so one without has no place there). Gives the largest timestamp.
fn check_records(open: &OpenBatch, rules: &TopicRules, now: i64) -> Result<i64, Refusal> {
    if let Some(Survey { times, keyed }) = open.survey()
        && (keyed || !rules.keys_required)
    {
        let (earliest, latest) = times.unwrap_or((NO_TIMESTAMP, NO_TIMESTAMP));
        let out_of_time = |time| !rules.log_append_time && rules.is_out_of_time(time, now);
        if !out_of_time(earliest) && !out_of_time(latest) {
            return Ok(latest.max(NO_TIMESTAMP));
        }
    }
    blame_records(open, rules, now)
}

/// Looks at the records one by one and names those that are to blame, with the reason.
fn blame_records(open: &OpenBatch, rules: &TopicRules, now: i64) -> Result<i64, Refusal> {
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
    use crate::configs::BrokerConfigs;

    const NOW: i64 = 1_700_000_000_000;

    fn batch(codec: Codec, keys: &[Option<&[u8]>]) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        for key in keys {
            builder.push(NOW, *key, Some(b"value"), &[]);
        }
        builder.build().into_bytes()
    }

    fn with(configs: &[(&str, &str)]) -> TopicRules {
        let set = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        TopicRules::of(&set, &BrokerConfigs::default())
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
        let stamped =
            admit(good, 9, &with(&[("message.timestamp.type", "LogAppendTime")]), NOW + 5).ok().unwrap();
        assert_eq!(stamped.log_append_time, NOW + 5);
        assert_eq!(stamped.batch.header().timestamp_type(), TimestampType::LogAppendTime);
    }

    #[test]
    fn timestamps_have_bounds_on_both_sides() {
        let rules = |before: &str, after: &str| {
            with(&[("message.timestamp.before.max.ms", before), ("message.timestamp.after.max.ms", after)])
        };
        for codec in [Codec::None, Codec::Gzip] {
            let good = batch(codec, &[None, None]);
            let refused = |rules: &TopicRules, now| {
                let refusal = admit(good.clone(), 9, rules, now).err()?.respond(0);
                Some((refusal.error_code, refusal.record_errors.len()))
            };
            let early = refused(&with(&[]), NOW - 4_000_000);
            assert_eq!(early, Some((ErrorCode::INVALID_TIMESTAMP, 2)));
            assert_eq!(refused(&rules("1000", "1000"), NOW + 1000), None);
            let late = refused(&rules("1000", "1000"), NOW + 1001);
            assert_eq!(late, Some((ErrorCode::INVALID_TIMESTAMP, 2)));
            assert_eq!(refused(&with(&[]), i64::MAX), None, "by default records may be as old as they are");
        }
        let mut none = BatchBuilder::new(BatchOptions::default());
        none.push(-1, None, Some(b"value"), &[]);
        assert_eq!(
            code(none.build().into_bytes(), 9, &rules("1000", "1000")),
            0,
            "no timestamp is none that is out of bounds"
        );
        let stamped = Batch::trusted(good_batch()).unwrap().with_log_append_time(NOW).into_bytes();
        assert_eq!(code(stamped, 9, &with(&[])), ErrorCode::INVALID_TIMESTAMP.0);
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
        let rules = with(&[]);
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
        let admitted = admit(wrong.into_bytes(), 9, &with(&[]), NOW).ok().unwrap();
        assert_eq!(admitted.batch.bytes(), right.bytes());
        assert_eq!(admitted.batch.header().max_timestamp, NOW - 1);
    }

    #[test]
    fn a_batch_fits_a_segment() {
        let rules = with(&[("internal.segment.bytes", "60")]);
        assert_eq!(code(good_batch(), 9, &rules), ErrorCode::RECORD_LIST_TOO_LARGE.0);
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
        assert_eq!(code(bomb, 9, &with(&[])), 0, "within what may be unpacked");
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
