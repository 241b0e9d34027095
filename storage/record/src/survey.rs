//! One pass over a batch's records that says whether every one is sound, and what they have in common.
//!
//! It makes no views and no errors: who is told that something is wrong walks [`OpenBatch::records`], which names the
//! record and the reason. A thousand small records are most of what a produced batch costs otherwise.

use crate::header::{BatchHeader, NO_TIMESTAMP, TimestampType};
use crate::record::{MIN_HEADER_LEN, OpenBatch};
use crate::varint;

/// What the records of a sound batch have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Smallest and largest timestamp (ms since the epoch) of the records that have one (not -1), if any has.
    pub times: Option<(i64, i64)>,
    /// Whether every record has a key.
    pub keyed: bool,
}

impl OpenBatch {
    /// Surveys the records: `Some` when each can be decoded, headers included, their offset deltas are 0, 1, 2 and so on,
    /// and nothing follows the last; `None` when any of that is not so.
    pub fn survey(&self) -> Option<Survey> {
        survey(self.header(), self.body())
    }
}

fn survey(header: &BatchHeader, body: &[u8]) -> Option<Survey> {
    if header.count.checked_sub(1)? > header.last_offset_delta {
        return None;
    }
    let mut at = 0;
    let mut keyed = true;
    let (mut earliest, mut latest) = (i64::MAX, i64::MIN);
    for index in 0..header.count {
        let length = read_i32(body, &mut at)?;
        let end = at + usize::try_from(length).ok()?;
        // What is read or skipped only moves `at` forward: a field that reaches beyond the record is seen at its end.
        at += 1;
        let timestamp = header.base_timestamp.wrapping_add(read_i64(body, &mut at)?);
        if timestamp != NO_TIMESTAMP {
            earliest = earliest.min(timestamp);
            latest = latest.max(timestamp);
        }
        if read_i32(body, &mut at)? != index {
            return None;
        }
        keyed &= skip_nullable(body, &mut at)?;
        skip_nullable(body, &mut at)?;
        let headers = read_i32(body, &mut at)?;
        if headers != 0 {
            skip_headers(body, &mut at, headers, end)?;
        }
        if at != end {
            return None;
        }
    }
    if at != body.len() {
        return None;
    }
    if header.timestamp_type() == TimestampType::LogAppendTime && header.count > 0 {
        (earliest, latest) = match header.max_timestamp {
            NO_TIMESTAMP => (i64::MAX, i64::MIN),
            stamped => (stamped, stamped),
        };
    }
    Some(Survey { times: (earliest <= latest).then_some((earliest, latest)), keyed })
}

#[cold]
fn skip_headers(body: &[u8], at: &mut usize, count: i32, end: usize) -> Option<()> {
    let count = usize::try_from(count).ok()?;
    if count > end.checked_sub(*at)? / MIN_HEADER_LEN {
        return None;
    }
    for _ in 0..count {
        // The key of a header is never null.
        if !skip_nullable(body, at)? {
            return None;
        }
        skip_nullable(body, at)?;
    }
    Some(())
}

/// Moves behind a field; says whether there is one (its length is not -1).
#[inline(always)]
fn skip_nullable(body: &[u8], at: &mut usize) -> Option<bool> {
    let length = read_i32(body, at)?;
    if length < 0 {
        return (length == -1).then_some(false);
    }
    *at += length as usize;
    Some(true)
}

#[inline(always)]
fn read_i32(body: &[u8], at: &mut usize) -> Option<i32> {
    if let Some(short) = read_short(body, at)? {
        return Some(varint::unzigzag32(short));
    }
    let mut rest = &body[*at..];
    let value = varint::read_i32(&mut rest).ok()?;
    *at = body.len() - rest.len();
    Some(value)
}

#[inline(always)]
fn read_i64(body: &[u8], at: &mut usize) -> Option<i64> {
    if let Some(short) = read_short(body, at)? {
        return Some(i64::from(varint::unzigzag32(short)));
    }
    let mut rest = &body[*at..];
    let value = varint::read_i64(&mut rest).ok()?;
    *at = body.len() - rest.len();
    Some(value)
}

/// The bits of an integer that takes one or two bytes, as those of ordinary records do. `Some(None)`: it takes more.
#[inline(always)]
fn read_short(body: &[u8], at: &mut usize) -> Option<Option<u32>> {
    let first = u32::from(*body.get(*at)?);
    if first < 0x80 {
        *at += 1;
        return Some(Some(first));
    }
    let second = u32::from(*body.get(*at + 1)?);
    if second < 0x80 {
        *at += 2;
        return Some(Some(first & 0x7f | second << 7));
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::header::{BATCH_HEADER_LEN, LOG_OVERHEAD};
    use crate::{Batch, BatchBuilder, BatchOptions};

    /// What a walk of the views says in the survey's words.
    fn walked(open: &OpenBatch) -> Option<Survey> {
        let mut survey = Survey { times: None, keyed: true };
        for (index, record) in (0..).zip(open.records()) {
            let record = record.ok()?;
            if record.offset_delta != index || record.headers().any(|header| header.is_err()) {
                return None;
            }
            survey.keyed &= record.key.is_some();
            let time = record.timestamp;
            if time != NO_TIMESTAMP {
                let (earliest, latest) = survey.times.unwrap_or((time, time));
                survey.times = Some((earliest.min(time), latest.max(time)));
            }
        }
        Some(survey)
    }

    fn with_body(header: &BatchHeader, body: &[u8]) -> Option<OpenBatch> {
        let length = i32::try_from(BATCH_HEADER_LEN + body.len() - LOG_OVERHEAD).unwrap();
        let header = BatchHeader { length, ..*header };
        let bytes = [&header.encode()[..], body].concat();
        Batch::trusted(Bytes::from(bytes)).unwrap().open(0).ok()
    }

    type Field = Option<Vec<u8>>;
    type Input = (i64, Field, Field, Vec<(Vec<u8>, Field)>);

    fn record() -> impl Strategy<Value = Input> {
        let bytes = || prop_oneof![4 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 60..200)];
        let time = prop_oneof![Just(-1), 1_000..1_100_000i64, any::<i64>()];
        let headers = prop_oneof![Just(Vec::new()), vec((bytes(), option::of(bytes())), 0..4)];
        (time, option::of(bytes()), option::of(bytes()), headers)
    }

    fn build(records: &[Input]) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for (time, key, value, headers) in records {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
            builder.push(*time, key.as_deref(), value.as_deref(), &headers);
        }
        builder.build()
    }

    proptest! {
        #[test]
        fn a_survey_says_of_good_records_what_a_walk_does(records in vec(record(), 1..80), stamp in option::of(-2..9i64)) {
            let batch = build(&records);
            let batch = match stamp {
                Some(now) => batch.with_log_append_time(now),
                None => batch,
            };
            let open = batch.open(0).unwrap();
            prop_assert!(open.survey().is_some());
            prop_assert_eq!(open.survey(), walked(&open));
        }

        #[test]
        fn a_survey_sees_whatever_damage_a_walk_does(
            records in vec(record(), 1..8),
            damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..3),
            count in -1..2i32,
            last in -1..2i32,
        ) {
            let batch = build(&records);
            let mut body = batch.body().to_vec();
            for (at, byte, how) in damage {
                match (how, at.index(body.len() + 1)) {
                    (0, at) => body.insert(at, byte),
                    (1, at) if body.len() > 1 => drop(body.remove(at.min(body.len() - 1))),
                    (2, at) => body.truncate(at),
                    (_, at) if at < body.len() => body[at] = byte,
                    _ => {}
                }
            }
            let header = *batch.header();
            let header = BatchHeader {
                count: header.count + count,
                last_offset_delta: header.last_offset_delta + last,
                ..header
            };
            if let Some(open) = with_body(&header, &body) {
                prop_assert_eq!(open.survey(), walked(&open));
            }
        }

        #[test]
        fn a_survey_takes_what_a_walk_does_of_small_numbers(body in vec(0..12u8, 7..40), count in 1..4i32) {
            let header = *build(&[(5, None, None, Vec::new())]).header();
            let header = BatchHeader { count, last_offset_delta: count - 1, ..header };
            if let Some(open) = with_body(&header, &body) {
                prop_assert_eq!(open.survey(), walked(&open));
            }
        }
    }

    #[test]
    fn integers_may_be_padded_but_not_wide() {
        let header = *build(&[(5, None, None, Vec::new())]).header();
        let good: &[&[u8]] = &[&[12, 0, 0, 0, 1, 1, 0], &[18, 0, 0x80, 0x80, 0, 0x80, 0, 1, 1, 0]];
        let bad: &[&[u8]] =
            &[&[28, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2, 0, 1, 1, 0], &[0x80; 9]];
        for body in good {
            let open = with_body(&header, body).unwrap();
            assert_eq!(open.survey(), Some(Survey { times: Some((5, 5)), keyed: false }));
            assert_eq!(open.survey(), walked(&open));
        }
        for body in bad {
            let open = with_body(&header, body).unwrap();
            assert_eq!((open.survey(), walked(&open)), (None, None));
        }
    }
}
